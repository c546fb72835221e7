"""Find the bug: a mistake is slipped into the library, and only its symptoms are shown.

    bug = Bug(level=1, seed=7)       a mistake of the registry, the same for everyone with this seed
    print(bug)                       what is known at first, and eight candidates
    print(bug.ask("loss"))           each of these is evidence, and is counted
    print(bug.ask("check linear"))   one function alone, by every oracle of the library
    print(bug.guess("3"))            by number, by function or formula, or in words
    print(bug.answer())              what it is, and why each symptom does or does not show it

LEVELS in bug_symptoms.py says what makes a level; bug_levels.py which mistake was found to have it.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterator

import numpy as np

from ..arguments import whole
from ..checks.mutation import Mutant
from ..errors import InputError
from .bug_functions import contradictions, differences, without_lines
from .bug_levels import known, of_level
from .bug_reasons import reasons
from .bug_symptoms import (
    LEVELS,
    Met,
    entropy,
    right_training,
    sample_of,
    symptoms_of,
)

CHOICES = 8


class Bug:
    """One round. `looks` counts the evidence asked for, `guesses` the guesses.

    Raises InputError for a level that is none of LEVELS, or a seed below 0.
    """

    def __init__(self, level: int = 1, seed: int = 0) -> None:
        self.level = whole("level", level, at_least=1, at_most=len(LEVELS))
        self.seed = whole("seed", seed, at_least=0)
        rng = np.random.default_rng([self.seed, self.level])
        chosen = of_level(self.level)
        self._seen = symptoms_of(chosen[rng.integers(len(chosen))])
        self.candidates = self._candidates(rng)
        self.looks, self.guesses, self.found = 0, 0, False
        self.evidence: dict[str, Callable[[], str]] = {
            "loss": self.loss_curve,
            "samples": self.samples,
            "contracts": self.contracts,
            "gradients": self.gradients,
        }

    @property
    def _mutant(self) -> Mutant:
        return self._seen.met.mutant

    def _candidates(self, rng: np.random.Generator) -> tuple[Met, ...]:
        """The mistake, up to three others of its function, and mistakes of other functions."""
        others = [known()[i] for i in rng.permutation(len(known()))]
        others.remove(self._seen.met)
        near = [met for met in others if met.mutant.target == self._mutant.target][:3]
        far = [met for met in others if met.mutant.target != self._mutant.target]
        chosen = [self._seen.met, *near, *far][:CHOICES]
        return tuple(chosen[i] for i in rng.permutation(len(chosen)))

    def __repr__(self) -> str:
        return (
            f"Level {self.level}, {LEVELS[self.level].says}.\n{self.symptoms()}\n{self.choices()}"
        )

    # ---- evidence ----------------------------------------------------------------------------

    def symptoms(self) -> str:
        """What is shown before anything is asked for; not counted."""
        trained, kind = self._seen.trained, self._seen.met.kind
        steps = f"{len(trained.losses)} of {len(right_training(kind).losses)} steps"
        lines = [
            f"A {kind} has been trained for {steps} with a mistake in it.",
            (f"Last loss {trained.losses[-1]:.3f} nats; " if trained.losses else "")
            + f"entropy of the language {entropy():.3f}.",
        ]
        if trained.stopped:
            lines.append(f"The training stopped: {trained.stopped}")
        return "\n".join(lines)

    def choices(self) -> str:
        """The numbered list of what it may be; not counted."""
        return "\n".join(f"{i}. {met.mutant}" for i, met in enumerate(self.candidates, 1))

    def ask(self, what: str) -> str:
        """Evidence by name: loss, samples, contracts, gradients, or `check` and a function.

        Raises InputError for any other.
        """
        words = str(what).split()
        if words[:1] == ["check"]:
            return self.check(" ".join(words[1:]))
        if " ".join(words) not in self.evidence:
            names = ", ".join(self.evidence)
            raise InputError(f"there is no evidence {what!r}: {names}, or check and a function")
        return self.evidence[words[0]]()

    def loss_curve(self) -> str:
        """Mean loss of every 20 steps, with the mistake and without."""
        self.looks += 1
        right, wrong = right_training(self._seen.met.kind).losses, self._seen.trained.losses
        lines = ["  steps   this code  right code"]
        for i in range(0, len(right), 20):
            here = f"{np.mean(wrong[i : i + 20]):.3f}" if wrong[i : i + 20] else "-"
            lines.append(f"{i + 1:3}-{i + 20:3}  {here:>10}  {np.mean(right[i : i + 20]):>10.3f}")
        return "\n".join([*lines, f"entropy  {entropy():>21.3f}"])

    def samples(self) -> str:
        self.looks += 1
        right = sample_of(right_training(self._seen.met.kind).model)
        return f"this code   {self._seen.sample}\nright code  {right}"

    def contracts(self) -> str:
        self.looks += 1
        return str(self._seen.contracts)

    def gradients(self) -> str:
        """Every array's gradient beside its central difference."""
        self.looks += 1
        return without_lines(str(self._seen.gradients))

    def check(self, function: str) -> str:
        """One function of the candidates, alone: what each oracle of the library has against it,
        and the gradients that are wrong, array by array.

        Raises InputError for a function that no candidate is about.
        """
        about = {
            _plain(name): met
            for met in reversed(self.candidates)
            for name in (met.mutant.subject, met.mutant.target)
        }
        if _plain(function) not in about:
            known = sorted({met.mutant.target for met in self.candidates})
            raise InputError(f"check needs one of {', '.join(known)}, not {function!r}")
        self.looks += 1
        subjects = about[_plain(function)].subjects
        against = self._seen.with_it(lambda: contradictions(subjects))
        if not any(against.values()):
            return f"nothing contradicts {', '.join(subjects)}"
        lines = [f"{oracle}: {'; '.join(names)}" for oracle, names in against.items() if names]
        silent = [oracle for oracle, names in against.items() if not names]
        where = self._seen.with_it(lambda: differences(subjects))
        return "\n".join([*lines, f"silent: {', '.join(silent)}", where]).rstrip()

    # ---- guesses -----------------------------------------------------------------------------

    def guess(self, text: str) -> str:
        """Whether the text names the mistake: a number of `choices`, its name, or nearly.

        A function or a formula that several of the list share is half of it, and is said to be
        right or wrong. Raises InputError for a text that names nothing of the list.
        """
        named = self._named(str(text))
        self.guesses += 1
        if named == [self._mutant]:
            self.found = True
            asked = f"{_count(self.looks, 'look')} and {_count(self.guesses, 'guess')}"
            return f"Right, after {asked}. {self.answer()}"
        if self._mutant in named:
            return "The place is right; now say which mistake it is."
        return "No."

    def _named(self, text: str) -> list[Mutant]:
        """The candidates that a text may mean."""
        mutants = [met.mutant for met in self.candidates]
        if re.fullmatch(r"\s*\d+\.?\s*", text):
            number = whole("guess", int(text.strip(" .\n\t")), at_least=1)
            if number > len(mutants):
                raise InputError(f"guess {number} is not among 1 to {len(mutants)}")
            return [mutants[number - 1]]
        words = _plain(text)
        for mutant in mutants:
            if words and words in map(_plain, (mutant.name, str(mutant), mutant.sentence)):
                return [mutant]
        if places := [mutant for mutant in mutants if words in _places(mutant)]:
            return places
        near = difflib.get_close_matches(words, [_plain(mutant.name) for mutant in mutants], 1, 0.6)
        if not near:
            raise InputError(f"guess {text!r} names no mistake of the list: give its number")
        return [next(mutant for mutant in mutants if _plain(mutant.name) == near[0])]

    def answer(self) -> str:
        """What it is, and why each symptom does or does not show it."""
        mutant = self._mutant
        heading = [f"{mutant} ({mutant.formula})", mutant.sentence + "."]
        return "\n".join([*heading, *reasons(self._seen)])


def _count(n: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{n} {noun if n == 1 else plural}"


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _places(mutant: Mutant) -> set[str]:
    return {_plain(place) for place in (mutant.target, mutant.subject, mutant.formula)}


# ---- in a terminal ---------------------------------------------------------------------------

HELP = (
    "Evidence: loss, samples, contracts, gradients, check FUNCTION. list: the candidates. "
    "give up: the answer.\nAnything else is a guess: a number, a name."
)


def play(bug: Bug) -> None:
    """Ask until it is found or given up. The end of the input ends the round without an answer."""
    print(bug, HELP, sep="\n")
    for words in _lines():
        if words.casefold() == "give up":
            print(bug.answer())
            return
        try:
            print(_reply(bug, words))
        except InputError as error:
            print(error)
        if bug.found:
            return
    print(f"The input has ended, and the mistake was not found; seed {bug.seed} makes it again.")


def _reply(bug: Bug, words: str) -> str:
    first = words.casefold().split()[0]
    if words.casefold() in ("list", "help", "?"):
        return f"{bug.choices()}\n{HELP}"
    if first in bug.evidence or first == "check":
        return bug.ask(words.casefold())
    return bug.guess(words)


def _lines() -> Iterator[str]:
    """What is typed, without empty lines; what comes from a pipe or a file is shown."""
    typed = sys.stdin is not None and sys.stdin.isatty()
    while True:
        try:
            words = input("> " if typed else "").strip()
        except (EOFError, RuntimeError):  # input() of a lost stdin
            if typed:
                print()
            return
        if words:
            if not typed:
                print(f"> {words}")
            yield words
