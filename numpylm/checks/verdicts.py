"""What a contract answers, and the table of several answers."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

STATES = KEPT, BROKEN, UNDECIDED, NOT_APPLICABLE = "kept", "broken", "undecided", "does not apply"
PAGE = 100  # columns


@dataclass(frozen=True)
class Verdict:
    """One contract and one model: the state, why, and the numbers behind it; prints as a sentence.

    kept             nothing against it was found; `says` names what was tried and what was not
    broken           `says` names where it was seen, how large it is and its usual cause
    undecided        it could not be told; `says` names what is missing
    does not apply   the promise is none that a model of this kind makes

    `passed`, and the verdict in an `assert`, is true only for "kept".
    """

    contract: str
    state: str
    says: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.state == KEPT

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        text = f"{self.state:<10}{self.contract}: {self.says}"
        return textwrap.fill(text, PAGE, subsequent_indent=" " * 10)


@dataclass(frozen=True)
class Contracts:
    """The verdicts on one model; prints as a table with a sentence for each.

    `passed`, and the report in an `assert`, is true where nothing is broken or undecided and at
    least one contract is kept.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return not self.broken and any(verdict.passed for verdict in self.verdicts)

    @property
    def broken(self) -> list[str]:
        """The contracts that are broken or undecided."""
        return [v.contract for v in self.verdicts if v.state in (BROKEN, UNDECIDED)]

    def __getitem__(self, contract: str) -> Verdict:
        return {verdict.contract: verdict for verdict in self.verdicts}[contract]

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        first = max(len("contract"), *(len(v.contract) for v in self.verdicts)) + 2
        second = max(map(len, STATES)) + 2
        lines = [f"{'contract':{first}}{'verdict':{second}}because"]
        for verdict in self.verdicts:
            because = textwrap.wrap(verdict.says, PAGE - first - second)
            lines.append(f"{verdict.contract:{first}}{verdict.state:{second}}{because[0]}")
            lines += [" " * (first + second) + line for line in because[1:]]
        return "\n".join(lines)
