"""From logits to text: choose a token, append it, look again.

    logits --temperature, top-k, top-p--> p --one random number--> token --append--> ids

Probabilities are float64 and sum to 1, whatever the dtype of the model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import as_ids, check_ids, generator, real_array
from .arrays import Array, ArrayLike, Rng
from .config import SEEDS, Config, option
from .errors import InputError
from .metrics import token_nats

SUM_TOLERANCE = 1e-6  # a p of float32 sums to 1 within about this
AGAIN = 8  # tokens
UNFINISHED = "\ufffd"  # how a decoder shows the first bytes of a character


@dataclass(frozen=True)
class GenerateConfig(Config):
    """how to choose each token"""

    tokens: int = option(200, "how many tokens to generate", minimum=0, maximum=10**7)
    temperature: float = option(
        1.0, "below 1 prefers likely tokens, above 1 evens out; 0 takes the likeliest", minimum=0
    )
    top_k: int = option(0, "choose among the k likeliest tokens; 0 is all of them", minimum=0)
    top_p: float = option(
        1.0, "choose among the fewest tokens that hold this much probability", above=0, maximum=1
    )
    seed: int = option(0, "seed of the random numbers", minimum=0, maximum=SEEDS)


@dataclass(frozen=True)
class Generated:
    """New tokens, without the prompt, and how likely the model found each of them.

    ids (n,)   probabilities (n,): the model's own p(w), at temperature 1 and with nothing cut off
    """

    ids: Array
    probabilities: Array


def next_probabilities(
    logits: Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Array:
    """The distribution to draw the next token from.   logits (V,)  ->  p (V,), float64

    In this order:

        temperature   p(w) ∝ exp(z_w / temperature); 0 puts all on the largest z
        top-k         keep the k likeliest tokens (0: all)
        top-p         of what is left, keep the fewest likeliest that together reach top_p

    and renormalise after each. One token is always kept. Of equally likely tokens the lower id goes
    first, in every rule, so exactly k are kept and a tie at temperature 0 has one answer.

    Source: top-k Fan et al. 2018, Hierarchical Neural Story Generation; top-p Holtzman et al. 2020,
    The Curious Case of Neural Text Degeneration, section 3.1.
    Raises InputError for logits that are not finite or not (V,), and for an option out of range.
    """
    config = GenerateConfig(temperature=temperature, top_k=top_k, top_p=top_p)  # checks the three
    z = _finite(logits)
    return _to_draw_from(z, _softmax(z), config)


def _finite(logits: ArrayLike) -> Array:
    """The logits (V,) in float64."""
    logits = real_array("logits", logits)
    if logits.ndim != 1 or not logits.size or not np.isfinite(logits).all():
        raise InputError(
            f"logits must be finite numbers of shape (V,), not {logits.shape} with "
            f"{np.count_nonzero(~np.isfinite(logits))} that are not finite: has the model diverged?"
        )
    return logits.astype(np.float64)


def _softmax(z: Array, temperature: float = 1.0) -> Array:
    with np.errstate(over="ignore"):  # a tiny temperature may send a difference to −∞: exp gives 0
        p: Array = np.exp((z - z.max()) / temperature)
    p /= p.sum()
    return p


def _to_draw_from(z: Array, p: Array, config: GenerateConfig) -> Array:
    """The distribution (V,) that the options make of the logits and of the model's own p(w).

    Sorting a large vocabulary costs more than a layer of the model, so only those are sorted that
    may be kept: for top-p none below (1 − top_p)/V, which together hold less than 1 − top_p.
    """
    if config.temperature == 0:
        kept, p_kept = np.array([z.argmax()]), np.ones(1)
    elif config.top_k:
        kept = _sorted(z, np.flatnonzero(z >= _kth_largest(z, config.top_k)))[: config.top_k]
        p_kept = _softmax(z[kept], config.temperature)
    else:
        p = p if config.temperature == 1 else _softmax(z, config.temperature)
        if config.top_p == 1:
            return p
        kept = _sorted(z, np.flatnonzero(p >= (1 - config.top_p) / len(p)))
        p_kept = p[kept]
    if config.top_p < 1:
        enough = np.searchsorted(np.cumsum(p_kept), config.top_p) + 1
        kept, p_kept = kept[:enough], p_kept[:enough] / p_kept[:enough].sum()
    result = np.zeros_like(z)
    result[kept] = p_kept
    return result


def _kth_largest(z: Array, k: int) -> Any:
    return z.min() if k >= len(z) else np.partition(z, len(z) - k)[len(z) - k]


def _sorted(z: Array, tokens: Array) -> Array:
    """tokens, in ascending order, from the likeliest to the least likely; a tie stays in order."""
    result: Array = tokens[np.argsort(-z[tokens], kind="stable")]
    return result


def sample_token(p: Array, rng: Rng) -> int:
    """Draw w with probability p(w): the first w whose cumulative probability exceeds a random u.

    p (V,). Takes one number from rng. Raises InputError unless p is non-negative and sums to 1.
    """
    p, rng = real_array("p", p), generator("rng", rng)
    if p.ndim != 1 or not np.all(p >= 0) or not abs(p.sum() - 1) <= SUM_TOLERANCE:
        raise InputError(
            f"p must be probabilities of shape (V,) that sum to 1; it has shape {p.shape} and "
            f"sums to {p.sum()}: use next_probabilities"
        )
    cumulative = np.cumsum(p, dtype=np.float64)
    u = rng.random() * cumulative[-1]  # below the last sum, also where that is not quite 1
    return int(np.searchsorted(cumulative, u, side="right"))


def _check_text(name: str, ids: ArrayLike, model: Any) -> Array:
    ids = as_ids(name, ids)
    if ids.ndim != 1 or not ids.size:
        raise InputError(f"{name} must be one text of at least one token, not of shape {ids.shape}")
    return check_ids(name, ids, model.config.vocab_size)


def _reader(model: Any, padding: Array) -> Callable[[Array], Array]:
    """A function: texts (B, n) so far -> logits (B, V) of what follows. Each call's texts continue
    those of the call before; padding (B,) counts the tokens on the left that are no text.

    A model with a key/value cache (`start`, `extend`) reads every token once, as long as the texts
    fit into its context. Beyond that the last context_length tokens are read anew for each token,
    because all their positions have changed.
    """
    N = model.config.context_length
    if not hasattr(model, "extend"):
        return lambda ids: np.stack(
            [model.next_logits(row[pad:][-N:]) for row, pad in zip(ids, padding, strict=True)]
        )
    past = model.start(len(padding), padding)

    def read(ids: Array) -> Array:
        beyond = ids.shape[1] - N
        new, window = ids[:, past.length :], past
        if beyond > 0:
            new, window = ids[:, -N:], model.start(len(padding), np.maximum(padding - beyond, 0))
        logits: Array = model.extend(new, window)[:, -1]
        return logits

    return read


def generate(
    model: Any,
    corpus: Any,
    prompt: str = "",
    tokens: int = 200,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    rng: Rng | None = None,
) -> str:
    """The prompt, and how a model continues it: text in, text out.

    corpus: what the model was trained on, or its tokenizer. The options are those of
    GenerateConfig; an rng takes the place of the seed. Raises InputError for an empty prompt, and
    where model and tokenizer differ.
    """
    tokenizer = getattr(corpus, "tokenizer", corpus)
    if not (hasattr(tokenizer, "decode") and isinstance(prompt, str)) or isinstance(corpus, bytes):
        raise InputError(
            "generate takes a model, a corpus or a tokenizer, and a text to continue, not a "
            f"{type(corpus).__name__} and a {type(prompt).__name__}: for ids use generate_ids"
        )
    config = GenerateConfig(tokens, temperature, top_k, top_p, seed)
    ids = tokenizer.encode(prompt)
    if not len(ids):
        raise InputError("prompt is empty: give a text to continue")
    rng = np.random.default_rng(config.seed) if rng is None else rng
    result = generate_ids(model, ids, config, rng)
    text: str = tokenizer.decode(np.concatenate([ids, result.ids]))
    return text


def generate_ids(model: Any, prompt_ids: Any, config: GenerateConfig, rng: Rng) -> Generated:
    """Continue prompt_ids (n,) by config.tokens tokens, each drawn given all before it.

    Once the text is longer than the model's context_length, the model sees the last context_length
    tokens: older ones are forgotten, and a model with positions counts them from the first it sees.
    Raises InputError for an empty prompt, an id outside the vocabulary, and logits not finite.
    """
    return generate_batch(model, [prompt_ids], config, [rng])[0]


def stream_ids(
    model: Any, prompt_ids: Any, config: GenerateConfig, rng: Rng
) -> Iterator[tuple[int, float]]:
    """What generate_ids gives, one token after another as they are drawn: (w, p(w))."""
    steps = _drawn(model, [prompt_ids], config, [rng])
    return ((int(ids[0]), float(p[0])) for ids, p in steps)


def generate_batch(
    model: Any,
    prompts: Sequence[Any],
    config: GenerateConfig,
    rngs: Sequence[Rng],
) -> list[Generated]:
    """`generate_ids` for several prompts at once, of any lengths, which are read as one batch.

    rngs: one generator for each prompt, so that a text does not depend on its neighbours.
    """
    steps = [*_drawn(model, prompts, config, rngs)]
    ids = np.array([ids for ids, _ in steps], np.intp).reshape(-1, len(prompts))
    p = np.array([p for _, p in steps]).reshape(-1, len(prompts))
    return [Generated(ids[:, b], p[:, b]) for b in range(len(prompts))]


def _drawn(
    model: Any, prompts: Sequence[Any], config: GenerateConfig, rngs: Sequence[Rng]
) -> Iterator[tuple[Array, Array]]:
    """For each step the tokens (B,) that were drawn, and their p(w); prompts are checked first."""
    if not prompts:
        raise InputError("prompts are empty: give at least one")
    if len(rngs) != len(prompts):
        raise InputError(f"give one rng for each prompt, not {len(rngs)} for {len(prompts)}")
    rngs = [generator("rng", rng) for rng in rngs]
    prompts = [_check_text("prompt_ids", prompt, model) for prompt in prompts]
    n = max(map(len, prompts))
    padding = np.array([n - len(prompt) for prompt in prompts])
    ids = np.zeros((len(prompts), n + config.tokens), dtype=np.intp)
    for row, prompt in zip(ids, prompts, strict=True):
        row[n - len(prompt) : n] = prompt
    read = _reader(model, padding)

    def steps() -> Iterator[tuple[Array, Array]]:
        probabilities = np.zeros(len(rngs))
        for i in range(n, ids.shape[1]):
            for b, logits in enumerate(read(ids[:, :i])):
                z = _finite(logits)
                p = _softmax(z)
                ids[b, i] = sample_token(_to_draw_from(z, p, config), rngs[b])
                probabilities[b] = p[ids[b, i]]
            yield ids[:, i].copy(), probabilities.copy()

    return steps()


def text_pieces(tokenizer: Any, before: Sequence[int], ids: Iterable[int]) -> Iterator[str]:
    """The text of ids as they come, which follow `before`: "".join(pieces) is what they add.

    A piece may wait for the token that completes a character. Few tokens back are decoded again, as
    whether a space stands before a word depends on what it follows.
    """
    known = [int(i) for i in before[-AGAIN:]]
    shown = tokenizer.decode(known)
    for i in ids:
        known.append(int(i))
        text = tokenizer.decode(known)
        if not text.endswith(UNFINISHED) or len(known) > 2 * AGAIN:
            yield text[len(shown) :]
            known = known[-AGAIN:]
            shown = tokenizer.decode(known)
    yield tokenizer.decode(known)[len(shown) :]


def score(model: Any, ids: ArrayLike) -> Array:
    """−log p of each token of a text given those before it.   ids (n,)  ->  nats (n − 1,), float64

    The first token has nothing before it and gets no score. The model sees what it would see in
    generate_ids, which takes n − 1 calls of it.
    Raises InputError for an empty text or an id outside the vocabulary.
    """
    ids = _check_text("ids", ids, model)
    read = _reader(model, np.zeros(1, int))
    nats = np.zeros(len(ids) - 1)
    for i in range(1, len(ids)):
        nats[i - 1], _ = token_nats(read(ids[None, :i])[0], ids[i])
    return nats
