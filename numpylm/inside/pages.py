"""One self-contained page on one text: who reads whom, and whose doing the next word is.

    numpylm look RUN --text "the cat sat on"

The page holds everything it shows: no script and no picture is fetched, so it opens without a
network. Whatever a token holds is escaped, and stands in an element that keeps its own direction.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..bert import BERT
from ..errors import InputError
from ..files import write_whole
from ..ops import softmax_forward
from ..unicode_text import printable
from .attribution import direct_logits, integrated, logit_lens, rollout
from .texts import read_text

CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem }
bdi { white-space: pre-wrap; border-radius: 3px; padding: 1px 2px }
table { border-collapse: collapse } td, th { padding: 2px 6px; text-align: right }
td.word, th.word { text-align: left; white-space: pre }
.map { display: inline-block; margin: 0 1.5rem 1.5rem 0; vertical-align: top }
.map td { width: 1.1rem; height: 1.1rem; padding: 0; border: 1px solid #fff }
.map th { font-weight: normal; font-size: .75rem; padding: 0 4px }
.map thead th { writing-mode: vertical-rl; text-align: left; max-height: 6rem }
.warning { border-left: 4px solid #d55e00; padding-left: .8rem }
details { margin: .6rem 0 } figcaption { font-weight: 600 }
"""
MOST_MAPS = 64  # heads that are drawn; a larger model shows its first ones
SHOWN = 8  # of the likeliest tokens


def look_page(model: Any, words: Sequence[str], ids: Array, title: str = "") -> str:
    """The page, as text. words: the symbols of the vocabulary; ids (T,): one text."""
    tokens = [words[i] for i in ids]
    logits, cache = model.forward(ids)
    last = len(ids) - 1
    p = softmax_forward(np.atleast_2d(logits).astype(np.float64))[0][-1]
    best = int(p.argmax())
    parts = [
        f"<h1>{_text(title) or 'One text, seen from inside'}</h1>",
        "<h2>What it predicts</h2>",
        f"<p>{''.join(_word(token) for token in tokens)}</p>",
        _likeliest(p, words, names_hidden=isinstance(model, BERT)),
        *_on_words(model, ids, tokens, last, best, words),
        *_shares(model, ids, last, best, words),
        *_lens(model, ids, words),
        *_attention(model, ids, cache, tokens),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(title) or 'Look inside'} · numpylm</title><style>{CSS}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def _text(text: str) -> str:
    """Text as HTML: what would steer a terminal or a browser is written out."""
    return escape(printable(text))


def _word(token: str, weight: float = 0.0, note: str = "") -> str:
    """A token on a ground that is orange where it speaks for, blue where against."""
    colour = "230,159,0" if weight > 0 else "86,180,233"
    style = f' style="background:rgba({colour},{min(abs(weight), 1):.3f})"' if weight else ""
    title = f' title="{escape(note)}"' if note else ""
    return f"<bdi{style}{title}>{_text(token)}</bdi>"


def _likeliest(p: Array, words: Sequence[str], names_hidden: bool) -> str:
    what = "The token at the last place is" if names_hidden else "After it comes"
    rows = "".join(
        f'<tr><td>{p[w]:.3f}</td><td class="word">{_word(words[w])}</td></tr>'
        for w in np.argsort(-p, kind="stable")[:SHOWN]
    )
    return f"<p>{what}, with these probabilities:</p><table>{rows}</table>"


def _on_words(
    model: Any, ids: Array, tokens: list[str], last: int, best: int, words: Sequence[str]
) -> list[str]:
    """Integrated gradients, from a text that repeats its last token."""
    found = integrated(model, ids, np.full_like(ids, ids[-1]), last, best, most=96)
    shares = np.array([*found.shares.values()])
    top = np.abs(shares).max() or 1.0
    marked = "".join(
        _word(token, share / top, f"{share:+.4f}")
        for token, share in zip(tokens, shares, strict=True)
    )
    return [
        f"<h2>Which words speak for {_word(words[best])}</h2>",
        f"<p>{marked}</p>",
        "<p>Integrated gradients, from the same text with its last token at every place: orange "
        f"speaks for it, blue against. Together {shares.sum():+.4f}; the logit rises by "
        f"{found.total:+.4f} (quadrature: {found.nodes} nodes, error {found.error:.0e}).</p>",
    ]


def _shares(model: Any, ids: Array, last: int, best: int, words: Sequence[str]) -> list[str]:
    try:
        found = direct_logits(model.astype(np.float64), ids, last, best)
    except InputError:  # a model whose logits are no sum
        return []
    rows = "".join(
        f'<tr><td class="word">{escape(name)}</td><td>{share:+.4f}</td></tr>'
        for name, share in sorted(found.shares.items(), key=lambda row: -abs(row[1]))
    )
    total = f'<tr><th class="word">the logit</th><th>{found.total:+.4f}</th></tr>'
    return [
        f"<h2>Which parts write {_word(words[best])}</h2>",
        "<p>What each part adds directly to its logit, the last norm held fixed. The shares add up "
        f"to it.</p><table>{rows}{total}</table>",
    ]


def _lens(model: Any, ids: Array, words: Sequence[str]) -> list[str]:
    try:
        found = logit_lens(model, ids)
    except InputError:
        return []
    rows = "".join(
        f'<tr><td class="word">{name}</td><td class="word">{_word(words[w])}</td>'
        f"<td>{p[w]:.3f}</td></tr>"
        for name, p in ((n, softmax_forward(z)[0][-1]) for n, z in found.items())
        for w in [int(p.argmax())]
    )
    return [
        "<h2>If it ended there</h2>",
        "<p>The likeliest token after each block, through the last norm and the table.</p>"
        f"<table>{rows}</table>",
    ]


def _attention(model: Any, ids: Array, cache: Any, tokens: list[str]) -> list[str]:
    """Every head: the text with the weights of its last token, and the whole map."""
    maps = [
        (f"{name}, head {h}", a[h])
        for name, a in model.attention_maps(cache).items()
        for h in range(len(a))
    ]
    if not maps:
        return []
    parts = ["<h2>Who reads whom</h2>", "<p>A row is a token that reads; dark is much.</p>"]
    for name, a in maps[:MOST_MAPS]:
        line = "".join(
            _word(token, float(x), f"{x:.3f}") for token, x in zip(tokens, a[-1], strict=True)
        )
        parts.append(
            f"<details open><summary>{escape(name)}: the last token reads {line}</summary>"
            f'<div class="map">{_map(a, tokens)}</div></details>'
        )
    if len(maps) > MOST_MAPS:
        parts.append(f"<p>{len(maps) - MOST_MAPS} more heads are not drawn.</p>")
    if warning := rollout(model, ids).warning:
        parts.append(f'<p class="warning">Attention is not influence: {escape(warning)}.</p>')
    return parts


def _map(a: Array, tokens: list[str]) -> str:
    head = "".join(f"<th>{_word(token)}</th>" for token in tokens)
    rows = "".join(
        f'<tr><th class="word">{_word(token)}</th>'
        + "".join(
            f'<td title="{x:.3f}" style="background:rgba(0,114,178,{x:.3f})"></td>' for x in row
        )
        + "</tr>"
        for token, row in zip(tokens, a, strict=True)
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def write_look(run: Path | str, text: str | None, path: Path | str) -> Path:
    """Write the page of a text, as the model of a run reads it; whole or not at all."""
    model, words, ids = read_text(run, text)
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file for the page, such as look.html")
    page = look_page(model, words, ids, f"{type(model).__name__} of {Path(run).name}")
    write_whole(path, page.encode("utf-8"))
    return path
