"""Who belongs to whom: for each formula its functions, tests, mutants, notebooks and figures.

All of it is read from where it is written: the table of course/notation.py, the names of tests, the
registry of mutants, the text of notebooks. Only the figures are listed here.
"""

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from ..checks.gradient_cases import OpCase, block_cases, op_cases
from ..checks.mutants import MUTANTS
from ..checks.mutation import Mutant, find
from ..course.notation import FORMULAS, Formula
from ..course.notebook_files import SOLUTIONS
from ..errors import InputError

PACKAGE = Path(__file__).parents[1]
LIBRARY = PACKAGE.name  # numpylm

ACROSS = {  # pages that are no module, and how they are called
    "index": "Contents",
    "formulas": "Formulas",
    "notation": "Notation",
    "walk": "Walk",
    "mistakes": "Mistakes",
    "tests": "Tests",
    "notebooks": "Notebooks",
}

PARTS = {  # the reading order
    "The mathematics, and a model of one matrix": "ops attention_lm gradcheck",
    "GPT, and how it learns": "model blocks gpt optim training",
    "Its relatives": "llama llama_blocks blockwise_attention bert bert_heads transformer "
    "objectives low_rank watching",
    "From text to batches": "tokenizers unicode_text languages corpora encodings batches",
    "From logits to text and scores": "sampling translate metrics answers",
    "Runs, files and options": "train_config divergence reports runs trained log_files logs "
    "recipes signals files locks terminals checkpoints config arguments arrays errors",
    "Behind the gradient check": "callables gradient_verdicts gradient_questions "
    "gradient_of_models gradient_evidence gradient_judge gradient_hidden",
    "Several workers": "parallel processes allocator",
    "To and from Hugging Face": "chat huggingface huggingface_layouts huggingface_text gguf_files "
    "pretrained sentence_embeddings",
    "Pictures and the command line": "figures labels drawings commands course_commands __main__",
    "Is it right?": "checks checks.gradient_cases checks.second_formulas "
    "checks.second_formulas_llama checks.second_formulas_objectives checks.dual_numbers "
    "checks.invariants checks.invariants_models checks.invariants_llama "
    "checks.invariants_objectives checks.recurrences checks.oracles "
    "checks.contracts checks.contenders checks.contender_calls checks.contender_weights "
    "checks.verdicts checks.contract_trials checks.contract_causality "
    "checks.contract_independence checks.contract_reading checks.contract_numbers "
    "checks.contract_training checks.contract_targets checks.contract_heldout",
    "See inside": "inside inside.explain inside.terms inside.traces inside.texts "
    "inside.interventions inside.flow inside.heads "
    "inside.attribution inside.planted inside.judged inside.pages",
    "Wrong on purpose": "checks.mutation checks.mutants_ops checks.mutants_models "
    "checks.mutants_llama "
    "checks.mutants_optim checks.mutants_numbers checks.mutants_objectives checks.mutants",
    "What went wrong?": "checks.raised checks.relations checks.diagnose_sizes "
    "checks.diagnose_cases checks.diagnose_compare checks.diagnose_students "
    "checks.diagnose_suspects checks.diagnose_products checks.diagnose_factors "
    "checks.diagnose_words checks.diagnose_behaviour checks.diagnose",
    "The course": "course course.notation course.cards course.graphs course.exercises "
    "course.stages course.problems course.problems.way_in course.problems.lines "
    "course.problems.heads "
    "course.problems.counting course.problems.one_matrix course.problems.checking "
    "course.problems.learning course.problems.repairs course.problems.writing "
    "course.problems.reading course.problems.translating course.problems.listing "
    "course.problems.outgrowing course.problems.llama course.problems.finding "
    "course.problems.long_texts course.problems.real_model "
    "course.problems.transferring course.problems.rewarding "
    "course.ladder course.heads course.llama_parts "
    "course.induction course.bug course.bug_symptoms course.bug_functions course.bug_reasons "
    "course.bug_levels course.schematics course.course_figures course.notebook_files "
    "course.links course.grading course.grading_worker",
    "The four tasks": "tasks tasks.run tasks.translation tasks.generation tasks.sentiment "
    "tasks.question_answering tasks.compositions tasks.tools",
    "After pre-training": "post post.enumeration post.rollouts post.programs "
    "post.transfer post.scaling",
    "The book": "book book.write book.text book.index book.pages book.overview "
    "book.notebook_pages book.walk",
}

# Where F1 is a mean of precision and recall.
SCORES = ("metrics", "tasks.run", "tasks.sentiment", "tasks.question_answering")

FIGURES = {  # what is drawn in figures/, and the formulas that it shows
    "one_matrix": ("F1 F2 F3 F4 F5", "The one-matrix model, forward and backward"),
    "attention": ("F2 F3", "Attention with its numbers: S3 reads S1, S2 and itself"),
    "heads": ("F20", "Two heads side by side"),
    "block": ("F13 F20 F21", "A block of GPT, forward and backward"),
    "gpt": ("F18 F20 F21", "GPT: a decoder"),
    "bert": ("F20 F24", "BERT: an encoder"),
    "encoder_decoder": ("F19 F20 F23", "The Transformer: encoder and decoder"),
    "key_value_cache": ("F20", "The key/value cache: a new token costs one row"),
    "four_paths": ("F1 F2 F3 F4 F5", "The four parts of dE on S1 S2 S3"),
    "topics_attention": ("F3", "Who reads whom in a sentence of topics"),
    "topics_embeddings": ("F1", "The embeddings of all words of topics"),
    "topics_loss": ("F5", "The loss on topics while it is trained"),
    "three_masks": ("F3 F20", "One function, three masks"),
    "induction_head": ("F20", "The attention of two layers that repeat a text"),
    "ladder": ("F5", "What each model can learn of each toy language"),
}


@dataclass(frozen=True)
class Test:
    """A test whose name carries the ID of a formula."""

    __test__ = False  # it is none itself

    file: str
    name: str
    source: str
    ids: frozenset[str]

    @property
    def address(self) -> str:
        return f"tests.html#{self.name}"


@dataclass(frozen=True)
class Section:
    """A heading of a notebook, and what stands below it."""

    notebook: str  # its file without .ipynb
    title: str
    heading: str
    text: str

    @property
    def address(self) -> str:
        return f"notebook_{self.notebook}.html#{slug(self.heading)}"


class Index:
    """Reads the library, and the tests, notebooks and figures in the folder around it.

    Raises InputError where the folder holds none of these: an installed package has only code.
    """

    def __init__(self, root: Path = PACKAGE.parent):
        for folder in ("tests", "notebooks", "figures"):
            if not (root / folder).is_dir():
                raise InputError(
                    f"there is no {folder}/ in {root}: the book is made where the whole project is"
                )
        self.root = root

    @cached_property
    def modules(self) -> dict[str, ModuleType]:
        """All modules of the library by name, in reading order; those of no part come last.

        "ops" is ops.py, "tasks" tasks/__init__.py and "tasks.tools" tasks/tools.py.
        """
        ordered = " ".join(PARTS.values()).split()
        paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
        there = sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)
        there.remove("__init__")
        names = [n for n in ordered if n in there] + [n for n in there if n not in ordered]
        return {name: importlib.import_module(f"{LIBRARY}.{name}") for name in names}

    def file(self, module: str) -> str:
        """Its path from the folder of the library: "checks/oracles.py"."""
        return Path(self.modules[module].__file__ or "").relative_to(PACKAGE).as_posix()

    def address(self, thing: Any) -> str:
        """Where a function, a class or a method of the library stands in the book, or ""."""
        module = getattr(thing, "__module__", None) or ""
        name = getattr(thing, "__qualname__", "")
        if not isinstance(module, str) or not module.startswith(f"{LIBRARY}."):
            return ""
        if not name or "<" in name:  # made inside another function
            return ""
        return f"{page_of(module.removeprefix(f'{LIBRARY}.'))}#{name}"

    def link(self, module: str, word: str) -> str:
        """The address of an ID, of a file, or of a name as `module` knows it; "" for any other."""
        if word in FORMULAS and not (word == "F1" and module in SCORES):
            return f"formulas.html#{word}"
        if word.endswith(".py"):
            return self._page_of_file(module, word)
        owner = self.modules.get(module)
        name, *path = word.split(".")
        thing = vars(owner).get(name) if owner else None
        if thing is None and owner and "_" in word and not path:
            thing = vars(owner).get(f"{word}_forward") or self._by_name.get(word)
        for part in path:
            thing = getattr(thing, part, None)
        return self.address(thing) if inspect.isroutine(thing) or inspect.isclass(thing) else ""

    def _page_of_file(self, module: str, file: str) -> str:
        """A file is first sought beside `module`, then from the top: "checks/oracles.py"."""
        package = self.modules[module].__package__ if module in self.modules else LIBRARY
        name = file.removesuffix(".py").replace("/", ".")
        for full in (f"{package}.{name}", f"{LIBRARY}.{name}"):
            if (found := full.removeprefix(f"{LIBRARY}.")) in self.modules:
                return page_of(found)
        return ""

    @cached_property
    def _by_name(self) -> dict[str, Any]:
        """Functions and classes whose name is nowhere used twice."""
        found: dict[str, list[Any]] = {}
        for name, module in self.modules.items():
            for word, thing in vars(module).items():
                if getattr(thing, "__module__", "") == f"{LIBRARY}.{name}":
                    found.setdefault(word, []).append(thing)
        return {word: things[0] for word, things in found.items() if len(things) == 1}

    def defined_in(self, module: str) -> list[Any]:
        """The functions and classes that a module defines, and the methods of the classes."""
        found: list[Any] = []
        for thing in vars(self.modules[module]).values():
            if getattr(thing, "__module__", "") != f"{LIBRARY}.{module}":
                continue
            if inspect.isfunction(thing):
                found.append(thing)
            elif inspect.isclass(thing):
                found += [thing, *filter(inspect.isfunction, vars(thing).values())]
        file = self.modules[module].__file__  # the methods of a dataclass come from elsewhere
        return [
            thing
            for thing in found
            if inspect.isclass(thing)
            or (thing.__code__.co_filename == file and thing.__name__ != "<lambda>")
        ]

    # ---- tests -------------------------------------------------------------------------------

    @cached_property
    def tests(self) -> list[Test]:
        return [test for path in sorted((self.root / "tests").glob("test_*.py"))
                for test in _tests_in(path)]  # fmt: skip

    def tests_of(self, f: Formula) -> list[Test]:
        return [test for test in self.tests if f.id in test.ids]

    @cached_property
    def cases(self) -> list[OpCase]:
        return [*op_cases(), *block_cases()]

    def cases_of(self, f: Formula) -> list[OpCase]:
        """The inputs on which the gradients of its functions are checked."""
        return [case for case in self.cases if f.gradient and case.forward in f.code]

    # ---- mutants -----------------------------------------------------------------------------

    def mutants_of(self, f: Formula) -> list[Mutant]:
        """The mistakes in the code of a formula: those that name it."""
        return [mutant for mutant in MUTANTS if f.id in ids_in(mutant.formula)]

    def mutants_in(self, function: Any) -> list[Mutant]:
        name = getattr(function, "__qualname__", "")
        return [m for m in MUTANTS if m.target == name and find(m.target) == function]

    # ---- notebooks ---------------------------------------------------------------------------

    @cached_property
    def notebooks(self) -> list[Path]:
        return sorted((self.root / "notebooks").glob("*.ipynb"))

    @cached_property
    def solutions(self) -> list[Path]:
        return sorted((self.root / SOLUTIONS).glob("*.ipynb"))

    @cached_property
    def sections(self) -> list[Section]:
        return [section for path in self.notebooks for section in _sections_of(path)]

    def sections_of(self, f: Formula) -> list[Section]:
        """Where notebooks speak of a formula: its ID, or a card of it or of its functions."""
        names = "|".join(function.__name__ for function in (*f.code, *f.backwards))
        pattern = re.compile(rf"\b{f.id}\b|\bcard\((?:\w+\.)*(?:{names})\)")
        return [section for section in self.sections if pattern.search(section.text)]

    # ---- figures -----------------------------------------------------------------------------

    @cached_property
    def figures(self) -> list[Path]:
        return [p for p in sorted((self.root / "figures").glob("*.png")) if p.stem in FIGURES]

    def figures_of(self, f: Formula) -> list[tuple[str, str]]:
        """Name and words of each."""
        return [
            (path.stem, FIGURES[path.stem][1])
            for path in self.figures
            if f.id in FIGURES[path.stem][0].split()
        ]


def page_of(module: str) -> str:
    """ops -> ops.html, checks.oracles -> checks.oracles.html; formulas.html is no module's."""
    return f"{module}.html"


def ids_in(text: str) -> set[str]:
    """F3 and all other IDs of a text, those between two also: F14–F16."""
    found = set(re.findall(r"\bF\d+\b", text))
    for first, last in re.findall(r"\bF(\d+)–F?(\d+)\b", text):
        found |= {f"F{n}" for n in range(int(first), int(last) + 1)}
    return found


def ids_of_test(name: str) -> set[str]:
    """test_f14_to_f16_and_f22_... -> F14, F15, F16, F22"""
    return ids_in(re.sub(r"(f\d+)_to_(f\d+)", r"\1–\2", name).replace("_", " ").upper())


def slug(words: str) -> str:
    """Words as the end of an address: "The loss, twice" -> "the-loss-twice"."""
    return re.sub(r"[^\w]+", "-", words.lower()).strip("-")


def _tests_in(path: Path) -> Iterator[Test]:
    text = path.read_text(encoding="utf-8")
    known = set(FORMULAS) - ({"F1"} if path.stem.removeprefix("test_") in SCORES else set())
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and (ids := ids_of_test(node.name) & known):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            source = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
            yield Test(path.stem, node.name, source, frozenset(ids))


def plain(heading: str) -> str:
    """A heading without the marks of Markdown."""
    return re.sub(r"[`*$]", "", heading)


def headings(markdown: str) -> list[tuple[int, str]]:
    """Level and words of each heading, in order; a comment in a block of code is none."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    return [(len(m[1]), m[2]) for m in re.finditer(r"^(#+) (.*)$", text, re.MULTILINE)]


def _sections_of(path: Path) -> Iterator[Section]:
    """A section for each heading; what stands before the first belongs to the title."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, heading, text = path.stem, "", ""
    for cell in cells:
        source = "".join(cell["source"])
        found = headings(source) if cell["cell_type"] == "markdown" else []
        for line in source.splitlines():
            if found and line.startswith("#") and line.lstrip("# ") == found[0][1].lstrip("# "):
                if heading:
                    yield Section(path.stem, title, heading, text)
                level, heading = found.pop(0)
                title, text = heading if level == 1 else title, ""
            text += f"{line}\n"
    yield Section(path.stem, title, heading or title, text)
