"""The two tasks in which a model writes: a translation, and sentences of a language."""

from collections.abc import Callable, Sequence
from itertools import islice
from math import isfinite, isinf

import numpy as np

from ..gpt import GPT, GPTConfig
from ..metrics import (
    bleu,
    evaluate,
    exact_match,
    perplexity,
)
from ..ops import IGNORE, Array
from ..sampling import GenerateConfig, generate_batch
from ..transformer import Transformer, TransformerConfig
from ..translate import greedy
from .baselines import (
    Ngram,
    look_up,
    word_by_word,
)
from .corpora import (
    END,
    SENTENCE_LENGTH,
    agreement,
    agreement_corpus,
    law_nats,
    sentences,
    trained,
    until_end,
)
from .pairs import latin_corpus, names_corpus
from .tools import (
    BEGIN,
    PADDING,
    SPECIAL,
    STOP,
    Answer,
    Outcome,
    TaskConfig,
    TranslationConfig,
    Vocabulary,
    chosen,
    fit,
    longest,
    mean_heads,
    table,
)

# ---- translation -----------------------------------------------------------------------------


def translation(config: TranslationConfig, rng: np.random.Generator) -> Outcome:
    """English to Latin; or dates and names, to another language."""
    sizes = config.examples, config.heldout_examples
    split = names_corpus(rng, *sizes, config.locale) if config.locale else latin_corpus(rng, *sizes)
    texts = [text for part in split for pair in part for text in pair]
    vocabulary, context = Vocabulary(texts), longest(texts) + 8  # a wrong one may be longer
    source = table([vocabulary.encode(pair.source) for pair in split.train])
    target = table([[BEGIN, *vocabulary.encode(pair.target), STOP] for pair in split.train])
    model = Transformer(
        TransformerConfig(vocab_size=len(vocabulary), context_length=context, **config.size()), rng
    )
    fit(model, {"source": source, "target": target}, config, rng)

    sources, references = zip(*split.heldout, strict=True)
    found = translate(model, vocabulary, sources)
    dictionary = word_by_word(split.train)
    scores = {
        "Transformer": translation_scores(found, references),
        "word by word": translation_scores(
            [look_up(dictionary, text) for text in sources], references
        ),
    }

    def answer(n: int) -> Answer:
        """Rows are the words found, and the end; row t shows what was read to find word t."""
        words = [vocabulary.ids[word] for word in found[n].split()]
        _, cache = model.forward(vocabulary.encode(sources[n]), [BEGIN, *words])
        lines = [sources[n], f"-> {found[n]}", f"   {references[n]}"]
        readers = [*found[n].split(), SPECIAL[STOP]]
        a = mean_heads(block.cross.attention.a for block in cache.decoder.blocks)
        return Answer(found[n] == references[n], lines, readers, sources[n].split(), a)

    right = [one == other for one, other in zip(found, references, strict=True)]
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


def translate(model: Transformer, vocabulary: Vocabulary, sources: Sequence[str]) -> list[str]:
    """The likeliest words, one after another. Raises InputError for an empty or unknown text."""
    source = table([vocabulary.encode(text) for text in sources])
    most = model.config.context_length - 1  # so that begin_id and the words fit in again
    return [" ".join(vocabulary.decode(one.ids)) for one in greedy(model, source, most)]


def translation_scores(found: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """right words: exact match where the order does not count."""
    bags = [[sorted(text.split()) for text in texts] for texts in (found, references)]
    return {
        "exact match": exact_match(found, references),
        "right words": exact_match(*bags),
        "BLEU": bleu(found, references),
    }


# ---- generation ------------------------------------------------------------------------------


def generation(config: TaskConfig, rng: np.random.Generator) -> Outcome:
    """Sentences whose verb agrees with a subject far away."""
    split = agreement_corpus(rng, config.examples, config.heldout_examples)
    known = list(islice(sentences(agreement(trained), rng), config.heldout_examples))
    vocabulary = Vocabulary(agreement().symbols)
    context = SENTENCE_LENGTH - 1
    model = GPT(GPTConfig(vocab_size=len(vocabulary), context_length=context, **config.size()), rng)
    fit(model, next_words(vocabulary, split.train), config, rng)

    def row(nats: Callable[[list], float], written: list[list[str]]) -> dict[str, float]:
        """What the method pays for sentences, and what it writes, as scores."""
        costs = {
            name: perplexity(nats(part), sum(len(text) - 1 for text in part))
            for name, part in (("perplexity", known), ("perplexity, new trios", split.heldout))
        }
        return costs | writing_scores(written)

    N, laws = config.heldout_examples, (agreement(), agreement(trained))
    written = write(model, vocabulary, N, rng)
    scores = {"GPT": row(lambda part: model_nats(model, vocabulary, part), written)}
    for n in (2, 4):
        counts = Ngram(split.train, n)
        drawn = [counts.sample(END, END, SENTENCE_LENGTH, rng) for _ in range(N)]
        scores[f"{n} words in a row"] = row(counts.nats, drawn)
    scores["the law itself"] = row(
        lambda part: sum(min(law_nats(law, text) for law in laws) for text in part),
        [*islice(sentences(laws[0], rng), N)],
    )

    def answer(n: int) -> Answer:
        """Row t shows what was read to find the word after word t."""
        text = written[n]
        _, cache = model.forward(vocabulary.encode(" ".join(text[:-1])))
        a = mean_heads(block.attention.attention.a for block in cache.blocks)
        return Answer(right[n], ["-> " + described(text)], text[:-1], text[:-1], a)

    right = [bool(isfinite(law_nats(laws[0], text))) for text in written]
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


def next_words(vocabulary: Vocabulary, texts: Sequence[list[str]]) -> dict[str, Array]:
    """ids and targets (N, T) for GPT; what is behind the end of a sentence is not predicted."""
    rows = table([vocabulary.encode(" ".join(text)) for text in texts])
    return {"ids": rows[:, :-1], "targets": np.where(rows == PADDING, IGNORE, rows)[:, 1:]}


def model_nats(model: GPT, vocabulary: Vocabulary, texts: Sequence[list[str]]) -> float:
    """−log p of the sentences, but for the first token of each."""
    examples = next_words(vocabulary, texts)
    return evaluate(model, [(examples["ids"], examples["targets"])]).nats


def write(model: GPT, vocabulary: Vocabulary, n: int, rng: np.random.Generator) -> list[list[str]]:
    """n sentences, each token drawn with the probability that the model gives it."""
    begin, draw = vocabulary.encode(END), GenerateConfig(tokens=SENTENCE_LENGTH - 1)
    drawn = generate_batch(model, [begin] * n, draw, rng.spawn(n))
    return [until_end([END, *vocabulary.decode(one.ids)]) for one in drawn]


def writing_scores(written: Sequence[list[str]]) -> dict[str, float]:
    """in the language: it could have been said.   new trios: and was not in training."""
    could = [text for text in written if isfinite(law_nats(agreement(), text)) and text[-1] == END]
    new = [text for text in could if isinf(law_nats(agreement(trained), text))]
    return {"in the language": len(could) / len(written), "new trios": len(new) / len(written)}


def described(text: list[str]) -> str:
    """The sentence, with a bar before the first word that could not stand there."""
    good = next((n for n in range(len(text)) if isinf(law_nats(agreement(), text[: n + 1]))), None)
    return " ".join(text) if good is None else " ".join([*text[:good], "|", *text[good:]])
