"""From evidence to a verdict: what a gradient check says, and when.

    what is seen                                              verdict
    --------------------------------------------------------------------------------------------
    two forwards at one point differ                          random: pass a generator
    dy, an argument or the cache is changed; a(−1024 dy)      WRONG, with what is changed,
      is not −1024 a(dy); a has another shape, or no a        or how it depends on dy
    a, c and z agree                                          ok
    a and c agree, z does not, or the forward fails on it     ok, by central alone
    a and z agree, and c is too inaccurate to object          ok
    a − z scatters when x moves in its last digits, or        ok, to the size of that
      shrinks with the digits of long doubles
    a ≠ c by more than c can be off                           WRONG, with the worst entry
    right here, and not where a gain is not 1 everywhere      WRONG, with the direction
    left and right slope differ at an entry                   corner: ask at another point
    a, c and z are 0 or below the rounding of the result      shows nothing
    a is None                                                 not differentiated
    anything else                                             cannot be checked, because …

a is the analytic gradient, c the central difference, whose error is estimated from two steps or
more, z the complex step. c has the last word: it is made of the numbers that the reader's code will
meet, and a forward can hide things from z (abs, .real, rounding). By central alone, what is right
is right to 1e-7. "anything else" is a gradient that comes in float32, a count of gradients that
does not fit the arguments, a result without a slope, an infinite slope, rounding that swallows the
gradient, and a difference that is steady and too small for c to decide.
"""

from dataclasses import dataclass, field
from enum import StrEnum

TOLERANCES = {
    "central": 1e-7,  # rounding: about 1e-10 is seen
    "complex": 1e-12,  # rounding: about 1e-15 is seen
}


class GradientVerdict(StrEnum):
    """What is said of one array."""

    OK = "ok"
    WRONG = "WRONG"
    CORNER = "corner"
    RANDOM = "random"
    NOTHING = "shows nothing"
    DATA = "not differentiated"
    CANNOT = "cannot be checked"


SPARED = (GradientVerdict.OK, GradientVerdict.DATA)

ROW = "{:<38} {:<27} {:<9} {:>8} {:>8}  {}"  # of the table: what, array, shape, errors, verdict


@dataclass(frozen=True)
class Check:
    """One array's gradient: its verdict, the reason in words, and its error by each method."""

    subject: str
    name: str
    shape: tuple[int, ...]
    errors: dict[str, float] = field(default_factory=dict)
    verdict: GradientVerdict = GradientVerdict.OK
    words: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict is GradientVerdict.OK

    @property
    def problem(self) -> str:
        """Why it did not pass; "" if it did, or need not."""
        return "" if self.verdict in SPARED else self.words

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        errors = [f"{self.errors[m]:.1e}" if m in self.errors else "" for m in TOLERANCES]
        joint = ", " if self.passed else ": "
        verdict = self.verdict + (joint + self.words if self.words else "")
        return ROW.format(self.subject, self.name, shape, *errors, verdict)


@dataclass(frozen=True, repr=False)
class Report:
    """The checks of one subject or of many; prints as a table, and is true if it passed.

    assert check_op(…)             fails with the table (pytest shows it; `raise_if_wrong` always)
    report["dx"].errors            {"central": …, "complex": …}, and .verdict, .words
    """

    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Some gradient was verified, and all others are, or are declared to be data."""
        return any(check.passed for check in self.checks) and all(
            check.verdict in SPARED for check in self.checks
        )

    @property
    def errors(self) -> dict[str, dict[str, float]]:
        """The relative error of each array by each method."""
        return {check.name: check.errors for check in self.checks}

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, name: str) -> Check:
        return {check.name: check for check in self.checks}[name]

    def __str__(self) -> str:
        limits = " and ".join(f"{tolerance:.0e}" for tolerance in TOLERANCES.values())
        head = ROW.format(
            "what", "gradient", "shape", *TOLERANCES, f"verdict: errors below {limits}?"
        )
        return "\n".join([head, *map(str, self.checks)])

    __repr__ = __str__

    def raise_if_wrong(self) -> None:
        """AssertionError with the table, unless it passed."""
        if not self.passed:
            raise AssertionError(f"not verified\n{self}")


class Finding(Exception):
    """The verdict on an array, as soon as it is certain."""

    def __init__(self, verdict: GradientVerdict, words: str):
        super().__init__(words)
        self.verdict, self.words = verdict, words


RANDOM_WORDS = (
    "two forwards at the same point differ: pass the randomness in, as a numpy Generator among the "
    "arguments or the batch, or fix its seed"
)
