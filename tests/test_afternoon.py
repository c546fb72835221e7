"""The eight files that a reader has time for in an afternoon stay that short."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "numpylm"
AFTERNOON = (
    "ops", "attention_lm", "gradcheck", "model", "blocks", "gpt", "optim", "training",
)  # fmt: skip
WORDS = 14_000


def test_the_afternoon_has_less_than_14_000_words():
    """Words as `wc -w` counts them. What does not fit belongs into a file beside them."""
    texts = {name: (PACKAGE / f"{name}.py").read_text(encoding="utf-8") for name in AFTERNOON}
    words = {name: len(text.split()) for name, text in texts.items()}
    assert sum(words.values()) < WORDS, words


def test_the_mathematics_begins_with_the_first_formula():
    text = (PACKAGE / "ops.py").read_text(encoding="utf-8")
    first = re.search(r"^(?:def|class) (\w+)", text, re.MULTILINE)
    assert first and first.group(1) == "embedding_forward"
