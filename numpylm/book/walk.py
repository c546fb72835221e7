"""The walk: the one-matrix model on one sentence, one formula at a time, forward and backward.

The page is written here, its arithmetic in files/walk.js: the same formulas once more, so that
a reader can change a number of E and see everything follow.
"""

import json
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..attention_lm import AttentionLM, AttentionLMConfig
from ..corpora import CorpusConfig, load_corpus
from ..course.cards import source_of
from ..course.notation import FORMULAS, resolve
from ..errors import InputError
from ..training import train
from .index import Index
from .pages import page
from .text import code, typeset

LIMIT = 1000  # the largest number that E may hold in the page: exp of any score is then defined


@dataclass(frozen=True)
class WalkStep:
    """One formula: what it computes, in words, and the line of code that is it.

    picks    (ID, "latex" or "gradient", number of the line), one or more
    code     a function, and what its lines hold that are lit
    numbers  the arrays that appear
    """

    id: str
    words: str
    picks: tuple[tuple[str, str, int], ...]
    code: str
    lit: tuple[str, ...]
    numbers: tuple[str, ...]


STEPS = (
    WalkStep(
        "e",
        "Each word of the text fetches its row of E. A word that occurs twice fetches it twice.",
        (("F1", "latex", 0),),
        "ops.embedding_forward",
        ("return table.take(ids",),
        ("e",),
    ),
    WalkStep(
        "s",
        "Every word is compared with itself and with those before it: the dot product of two rows "
        "of e. Query, key and value are all e here, and scale is 1.",
        (("F3", "latex", 0),),
        "ops.attention_forward",
        ("* q) @ k",),
        ("s",),
    ),
    WalkStep(
        "a",
        "Scores become shares: each row adds to 1. What comes later in the text gets exactly 0.",
        (("F3", "latex", 1),),
        "ops.softmax_forward",
        ("np.exp(a, out=a)", "a /= or_one"),
        ("a",),
    ),
    WalkStep(
        "c",
        "Each word reads the average of what it looks at. Only the last row goes on.",
        (("F2", "latex", 0),),
        "ops.attention_forward",
        ("c = a @ v",),
        ("c",),
    ),
    WalkStep(
        "z",
        "The last context is compared with every word of the vocabulary, by the same E.",
        (("F4", "latex", 0),),
        "ops.output_forward",
        ("return product(c, table.T)",),
        ("z",),
    ),
    WalkStep(
        "p",
        "Softmax makes probabilities of them.",
        (("F4", "latex", 1),),
        "ops.cross_entropy_forward",
        ("np.exp(p, out=p)", "p /= total"),
        ("p",),
    ),
    WalkStep(
        "L",
        "The loss is small where the word that follows was thought likely. In nats; N is 1.",
        (("F5", "latex", 0),),
        "ops.cross_entropy_forward",
        ("nats = ", "return nats"),
        ("L",),
    ),
    WalkStep(
        "dz",
        "Now backwards. The prediction minus the truth: 1 is subtracted at the word that follows. "
        "In the code dz is called dlogits.",
        (("F5", "gradient", 0),),
        "ops.cross_entropy_backward",
        ("dlogits = p * weight", "] -= weight"),
        ("dz",),
    ),
    WalkStep(
        "dc",
        "Each logit pulls the context towards its word's row. Only the last context predicted, so "
        "the others get nothing.",
        (("F4", "gradient", 0),),
        "ops.output_backward",
        ("return product(dlogits, table)",),
        ("dc",),
    ),
    WalkStep(
        "output",
        "E is used four times, and its gradient has four parts. The first: it was the output "
        "table. Every word is moved, for every word was compared with c.",
        (("F4", "gradient", 1),),
        "ops.output_backward",
        ("return product(dlogits, table)",),
        ("output",),
    ),
    WalkStep(
        "da",
        "How much would it help to look more at j? As much as its value points along dc.",
        (("F2", "gradient", 1),),
        "ops.attention_backward",
        ("ds = dc @ v",),
        ("da",),
    ),
    WalkStep(
        "ds",
        "A share that grows takes from the others: the average, weighted by a, is subtracted. Each "
        "row adds to 0.",
        (("F3", "gradient", 0),),
        "ops.attention_backward",
        ("ds -= ", "ds *= a\n"),
        ("ds",),
    ),
    WalkStep(
        "query",
        "The second part: E as query. Row i of de collects over the keys j; then each occurrence "
        "of a word adds to its row of dE.",
        (("F3", "gradient", 1), ("F1", "gradient", 0)),
        "ops.attention_backward",
        ("return ds @ k",),
        ("dq", "query"),
    ),
    WalkStep(
        "key",
        "The third: E as key, by the columns of ds.",
        (("F3", "gradient", 2), ("F1", "gradient", 0)),
        "ops.attention_backward",
        ("return ds @ k",),
        ("dk", "key"),
    ),
    WalkStep(
        "value",
        "The fourth: E as value. What was read gets dc, in the shares in which it was read.",
        (("F2", "gradient", 0), ("F1", "gradient", 0)),
        "ops.attention_backward",
        ("dv = a.mT",),
        ("dv", "value"),
    ),
    WalkStep(
        "dE",
        "The gradient of E is the sum of the four. One step against it makes the loss smaller.",
        (("F1", "gradient", 0), ("F4", "gradient", 1)),
        "attention_lm.AttentionLM.backward",
        ("de = from_q", 'grads["E"] +='),
        ("dE",),
    ),
)

TITLES = {  # of the arrays, in LaTeX
    "e": "e", "s": "s", "a": "a", "c": "c", "z": "z", "p": "p", "L": "L",
    "dz": "dz", "dc": "dc", "output": "dE", "da": "da", "ds": "ds", "dq": "dq", "query": "dE",
    "dk": "dk", "key": "dE", "dv": "dv", "value": "dE", "dE": "dE",
}  # fmt: skip
BY_WAY_OF = ("output", "query", "key", "value")


def walk_page(index: Index) -> str:
    steps = "".join(_step(index, n, step) for n, step in enumerate(STEPS))
    forward = [x for step in STEPS[:7] for x in step.numbers]
    backward = [x for step in STEPS[7:] for x in step.numbers]
    return page(
        "walk",
        "The walk",
        f"""<h1>The walk</h1>
<p>The one-matrix model reads a sentence and predicts the next word: forward to the loss, then
backward to the gradient of E. Change any number of E: everything follows.</p>
<noscript><p>The numbers need JavaScript. The formulas and their lines stand below.</p></noscript>
<form class="choose" id="choose">
<label>Sentence <select id="example"></select></label>
<label>Next word, y <select id="target"></select></label>
<button type="reset" id="reset">Reset E</button>
</form>
<div class="walk">
<div class="told">
<div class="move"><button type="button" id="back">← back</button>
<span id="where" role="status"></span>
<button type="button" id="next">next →</button></div>
<ol class="steps" aria-label="Steps">{_buttons()}</ol>
{steps}
</div>
<div class="board" id="board">
<section aria-labelledby="of-E"><h2 id="of-E">{_title("E")}: yours to change</h2>
<p id="refused" role="alert"></p><div id="table-E" class="scroll"></div></section>
<section aria-labelledby="forward"><h2 id="forward">Forward</h2>
<div class="numbers">{_places(forward)}</div></section>
<section aria-labelledby="backward"><h2 id="backward">Backward</h2>
<div class="numbers">{_places(backward)}</div></section>
</div>
</div>""",
        ("walk_data.js", "walk.js"),
    )


def _title(latex: str) -> str:
    return typeset(latex, "the walk", 16)


def _buttons() -> str:
    return "".join(
        f'<li><button type="button" data-step="{n}">{_title(TITLES[step.numbers[-1]])}'
        f"{_way(step.id)}</button></li>"
        for n, step in enumerate(STEPS)
    )


def _way(id: str) -> str:
    return f" <small>{id}</small>" if id in BY_WAY_OF else ""


def _places(names: list[str]) -> str:
    return "".join(
        f'<figure id="number-{name}"><figcaption>{_title(TITLES[name])}{_way(name)}</figcaption>'
        f'<div class="scroll" id="table-{name}"></div></figure>'
        for name in names
    )


def _step(index: Index, n: int, step: WalkStep) -> str:
    maths = "".join(_formula(*pick) for pick in step.picks)
    function = resolve(step.code)
    module = step.code.split(".")[0]
    source = source_of(function)
    for text in step.lit:
        if text not in f"{source}\n":
            raise InputError(f"the walk, step {step.id}: no line of {step.code} holds {text!r}")
    shown = code(source, lambda word: index.link(module, word), lit=step.lit)
    return (
        f'<section class="step" id="step-{step.id}" data-numbers="{" ".join(step.numbers)}">'
        f"<h2>{n + 1}. {_title(TITLES[step.numbers[-1]])}{_way(step.id)}</h2>"
        f'<p>{step.words}</p>{maths}<p class="from"><a href="{index.address(function)}">'
        f"<code>{function.__qualname__}</code></a></p>{shown}</section>"
    )


def _formula(id: str, side: str, n: int) -> str:
    line = getattr(FORMULAS[id], side)[n]
    return (
        f'<p class="formula"><a class="id" href="formulas.html#{id}" title="'
        f'{escape(FORMULAS[id].name)}">{id}</a> {typeset(line, id)}</p>'
    )


# ---- the sentences ---------------------------------------------------------------------------


def walk_script() -> str:
    """The examples, as JavaScript."""
    given = {"limit": LIMIT, "examples": examples(), "steps": [step.id for step in STEPS]}
    return f"const WALK = {json.dumps(given)};\n"


def examples() -> list[dict[str, Any]]:
    """Each a name, the words of the vocabulary, E (V, C), the ids of a text, and of the next."""
    from ..course.course_figures import s1_s2_s3

    model, ids, targets = s1_s2_s3()
    return [
        {
            "name": "S1 S2 S3",
            "words": ["S1", "S2", "S3"],
            "E": model.params["E"].tolist(),
            "ids": ids.tolist(),
            "target": int(targets[-1]),
        },
        _topics(),
    ]


def _topics(width: int = 3, tokens: int = 5, steps: int = 400) -> dict[str, Any]:
    """A held-out sentence of `topics`, and a small E that was trained on others."""
    config = AttentionLMConfig(vocab_size=48, context_length=7, width=width, init_std=0.5)
    corpus = load_corpus(CorpusConfig(), config.context_length)
    rng = np.random.default_rng(0)
    model = AttentionLM(config, rng, np.float64)
    options: dict[str, Any] = {"schedule": "constant", "clip": 0, "eval_every": steps}
    train(model, corpus, steps, 0.03, 64, rng=rng, progress=False, **options)
    sentence = corpus.heldout[0, : tokens + 1].tolist()
    words = corpus.tokenizer.symbols
    return {
        "name": " ".join(words[i] for i in sentence[:-1]),
        "words": list(words),
        "E": (np.round(model.params["E"], 1) + 0.0).tolist(),  # without -0
        "ids": sentence[:-1],
        "target": sentence[-1],
    }
