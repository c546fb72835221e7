"""From logits to text: the distribution, the draw, and what the model gets to see."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.corpora import Corpus
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.sampling import (
    GenerateConfig,
    generate,
    generate_batch,
    generate_ids,
    next_probabilities,
    sample_token,
    score,
)

# A sum of up to a thousand float64 probabilities, each rounded to within 1.1e-16 of itself.
ROUNDING = 1e-15
# exp, log and a division on numbers near 1.
NEAR = 1e-12
# 2 in 32,000 draws of a normal number lie beyond four standard deviations; the seed is fixed.
SIGMAS = 4

P = np.array([0.1, 0.4, 0.05, 0.3, 0.15])  # likeliest first: 1, 3, 4, 0, 2
LOGITS = np.log(P) + 3.0


class Recorder:
    """A model that writes down what it is shown. The likeliest next token is the last one + 1."""

    def __init__(self, vocab_size=6, context_length=4):
        self.config = SimpleNamespace(vocab_size=vocab_size, context_length=context_length)
        self.seen = []

    def next_logits(self, ids):
        self.seen.append(list(ids))
        logits = np.zeros(self.config.vocab_size)
        logits[(ids[-1] + 1) % self.config.vocab_size] = 1.0
        return logits


def attention_lm(context="all"):
    config = AttentionLMConfig(
        vocab_size=7, context_length=5, width=4, context=context, init_std=1.0
    )
    return AttentionLM(config, np.random.default_rng(0))


# ---- next_probabilities ----------------------------------------------------------------------


def test_f4_temperature_1_is_the_softmax():
    np.testing.assert_allclose(next_probabilities(LOGITS), P, rtol=NEAR)


@pytest.mark.parametrize("temperature", [0.3, 0.7, 2.0])
def test_temperature_is_a_power_of_the_probabilities(temperature):
    want = P ** (1 / temperature) / (P ** (1 / temperature)).sum()
    np.testing.assert_allclose(next_probabilities(LOGITS, temperature), want, rtol=NEAR)


def test_a_high_temperature_tends_to_all_tokens_alike():
    np.testing.assert_allclose(next_probabilities(LOGITS, 1e12), 1 / 5, rtol=1e-11)


@pytest.mark.parametrize("temperature", [0.0, 1e-4, 1e-320])
def test_a_low_temperature_tends_to_the_likeliest_token(temperature):
    """1e-320 divides differences of logits beyond the largest float64."""
    assert next_probabilities(LOGITS, temperature).tolist() == [0, 1, 0, 0, 0]


def test_temperature_0_takes_the_lowest_id_of_a_tie():
    logits = np.array([1.0, 2.0, 2.0, 0.0, 2.0], np.float32)
    assert next_probabilities(logits, temperature=0).tolist() == [0, 1, 0, 0, 0]
    assert next_probabilities(logits, 0, top_k=3, top_p=0.9).tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("top_k", "kept"),
    [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (5, range(5)), (9, range(5)), (0, range(5))],
)
def test_top_k_keeps_the_k_likeliest_in_their_proportions(top_k, kept):
    want = np.zeros(5)
    want[list(kept)] = P[list(kept)] / P[list(kept)].sum()
    np.testing.assert_allclose(next_probabilities(LOGITS, top_k=top_k), want, rtol=NEAR)


def test_top_k_keeps_exactly_k_of_a_tie_the_lowest_ids_first():
    logits = np.array([0.0, 5.0, 5.0, 7.0, 5.0])
    assert np.flatnonzero(next_probabilities(logits, top_k=3)).tolist() == [1, 2, 3]
    many = np.random.default_rng(8).integers(3, size=1000).astype(np.float64)
    first = sorted(range(1000), key=lambda w: (-many[w], w))[:500]
    assert np.flatnonzero(next_probabilities(many, top_k=500)).tolist() == sorted(first)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1e-9, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [1, 3, 4]),
        (0.86, [0, 1, 3, 4]),
        (0.96, range(5)),
        (math.nextafter(1, 0), range(5)),
        (1.0, range(5)),
    ],
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it_in_their_proportions(top_p, kept):
    want = np.zeros(5)
    want[list(kept)] = P[list(kept)] / P[list(kept)].sum()
    np.testing.assert_allclose(next_probabilities(LOGITS, top_p=top_p), want, rtol=NEAR)


def test_top_p_is_reached_by_equality():
    """Four equal logits give exactly 1/4 each: 1/2 takes two of them, the lowest ids first."""
    p = next_probabilities(np.zeros(4), top_p=0.5)
    assert p.tolist() == [0.5, 0.5, 0, 0]


def test_top_p_1_keeps_tokens_too_unlikely_to_change_a_sum():
    assert next_probabilities(np.array([0.0, -50.0]), top_p=1.0)[1] > 0


def test_the_order_is_temperature_then_top_k_then_top_p():
    # Of the two likeliest, 4/7 and 3/7, one reaches 0.55; of all five, 0.4 would not.
    assert np.flatnonzero(next_probabilities(LOGITS, top_k=2, top_p=0.55)).tolist() == [1]
    # At temperature 1/2 the likeliest holds 0.16/0.285 = 0.56; at 1 it holds 0.4.
    assert np.flatnonzero(next_probabilities(LOGITS, 0.5, top_p=0.55)).tolist() == [1]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.3}, {"top_k": 50}, {"top_p": 0.9}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_sum_to_1_in_float64_and_leave_the_logits_unchanged(options, dtype):
    logits = np.random.default_rng(1).normal(0, 3, size=1000).astype(dtype)
    before = logits.copy()
    p = next_probabilities(logits, **options)
    assert p.dtype == np.float64
    assert abs(p.sum() - 1) <= ROUNDING
    assert np.array_equal(logits, before)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
    ],
)
def test_an_option_out_of_range_is_rejected_by_name(options, name):
    with pytest.raises(InputError, match=name):
        next_probabilities(LOGITS, **options)
    with pytest.raises(InputError, match=name):
        GenerateConfig(**options)


@pytest.mark.parametrize(
    "logits",
    [
        np.array([0.0, math.nan]),
        np.array([0.0, math.inf]),
        np.array([0.0, -math.inf]),
        np.zeros((1, 3)),
        np.zeros(0),
    ],
)
def test_logits_that_are_not_a_finite_vector_are_rejected(logits):
    with pytest.raises(InputError, match="logits"):
        next_probabilities(logits)


# ---- sample_token ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 2.0}, {"top_k": 3}, {"top_p": 0.8}])
def test_tokens_are_drawn_as_often_as_their_probability_says(options):
    p = next_probabilities(LOGITS, **options)
    rng = np.random.default_rng(2)
    draws = 20_000
    counts = np.bincount([sample_token(p, rng) for _ in range(draws)], minlength=5)
    assert (np.abs(counts - draws * p) <= SIGMAS * np.sqrt(draws * p * (1 - p))).all()


class Fixed(np.random.Generator):
    def __init__(self, u):
        super().__init__(np.random.PCG64())
        self.u = u

    def random(self):
        return self.u


def test_the_draw_is_the_first_token_whose_cumulative_probability_exceeds_u():
    p = np.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    drawn = [sample_token(p, Fixed(u)) for u in (0.0, 0.2, 0.25, 0.74, 0.75, math.nextafter(1, 0))]
    assert drawn == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("total", [1 - 1e-9, 1 + 1e-9])
def test_a_sum_that_is_not_quite_1_draws_no_impossible_token(total):
    p = np.array([0.5, 0.5, 0.0]) * total
    assert sample_token(p, Fixed(math.nextafter(1, 0))) == 1


@pytest.mark.parametrize(
    "p",
    [
        np.array([0.5, 0.4]),
        np.array([1.5, -0.5]),
        np.array([math.nan, 1.0]),
        np.array([[1.0]]),
        np.zeros(0),
    ],
)
def test_what_is_no_distribution_is_rejected(p):
    with pytest.raises(InputError, match="probabilities"):
        sample_token(p, np.random.default_rng(0))


# ---- generate --------------------------------------------------------------------------------


def test_the_model_sees_the_last_context_length_tokens():
    model = Recorder(vocab_size=6, context_length=4)
    config = GenerateConfig(tokens=5, temperature=0)
    generated = generate_ids(model, [0, 1], config, np.random.default_rng(0))
    assert generated.ids.tolist() == [2, 3, 4, 5, 0]
    assert model.seen == [[0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]


def test_a_prompt_longer_than_the_context_is_cropped_from_the_left():
    model = Recorder(vocab_size=6, context_length=4)
    generate_ids(model, [5, 4, 3, 2, 1, 0], GenerateConfig(tokens=1), np.random.default_rng(0))
    assert model.seen == [[3, 2, 1, 0]]


@pytest.mark.parametrize("context", ["all", "last"])
def test_temperature_0_follows_the_argmax_of_the_model(context):
    model = attention_lm(context)
    config = GenerateConfig(tokens=8, temperature=0)
    ids = [3, 1]
    for _ in range(8):
        ids.append(int(model.next_logits(ids[-5:]).argmax()))
    generated = generate_ids(model, [3, 1], config, np.random.default_rng(0))
    assert generated.ids.tolist() == ids[2:]


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    config = GenerateConfig(tokens=30, temperature=1.5)
    first, again, other = (
        generate_ids(attention_lm(), [3, 1], config, np.random.default_rng(seed))
        for seed in (4, 4, 5)
    )
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.ids, other.ids)


def test_recorded_probabilities_are_the_model_s_own_whatever_the_options():
    """The token drawn has e/(e + 5) or 1/(e + 5) in the Recorder; temperature and top-k do not
    enter."""
    model = Recorder(vocab_size=6)
    config = GenerateConfig(tokens=40, temperature=3.0, top_k=4)
    generated = generate_ids(model, [0], config, np.random.default_rng(6))
    follows = generated.ids == (np.append(0, generated.ids[:-1]) + 1) % 6
    assert follows.any() and not follows.all()
    want = np.where(follows, math.e, 1.0) / (math.e + 5)
    np.testing.assert_allclose(generated.probabilities, want, rtol=NEAR)


def test_no_tokens_are_a_valid_wish():
    generated = generate_ids(Recorder(), [1], GenerateConfig(tokens=0), np.random.default_rng(0))
    assert generated.ids.shape == generated.probabilities.shape == (0,)


def test_the_prompt_is_left_unchanged():
    prompt = np.array([1, 2, 3])
    generate_ids(Recorder(), prompt, GenerateConfig(tokens=3), np.random.default_rng(0))
    assert prompt.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "prompt_ids"), ([[1, 2]], "prompt_ids"), ([1, 6], "prompt_ids"), ([0.5], "integers")],
)
def test_a_prompt_that_is_no_text_of_the_model_is_rejected(prompt, message):
    with pytest.raises(InputError, match=message):
        generate_ids(Recorder(), prompt, GenerateConfig(), np.random.default_rng(0))


def test_a_negative_number_of_tokens_is_rejected():
    with pytest.raises(InputError, match="tokens"):
        GenerateConfig(tokens=-1)


# ---- score -----------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["all", "last"])
def test_score_finds_the_probabilities_that_generate_recorded(context):
    """Over twice the context length, so that the crop is the same in both."""
    model = attention_lm(context)
    generated = generate_ids(model, [3, 1], GenerateConfig(tokens=12), np.random.default_rng(7))
    nats = score(model, [3, 1, *generated.ids])
    assert nats.shape == (13,)
    np.testing.assert_allclose(nats[1:], -np.log(generated.probabilities), rtol=NEAR)


def test_score_of_one_token_is_empty_and_of_none_an_error():
    assert score(Recorder(), [2]).shape == (0,)
    with pytest.raises(InputError, match="ids"):
        score(Recorder(), [])
    with pytest.raises(InputError, match="ids"):
        score(Recorder(), [0, 6])


# ---- the key/value cache ---------------------------------------------------------------------

CACHE_TOLERANCE = 1e-12  # float64; the sums run in another order with the cache


def small_gpt() -> GPT:
    """A GPT of order 1 in float64 that sees 6 tokens."""
    config = GPTConfig(vocab_size=11, context_length=6, layers=2, heads=2, width=8, init_std=0.5)
    return GPT(config, np.random.default_rng(5), np.float64)


class WithoutCache:
    """The same model, asked without its cache."""

    def __init__(self, model: GPT):
        self.config, self.next_logits = model.config, model.next_logits


@pytest.mark.parametrize("tokens", [3, 12])
def test_with_the_cache_the_tokens_are_those_without_it_also_beyond_the_context(tokens):
    model, config = small_gpt(), GenerateConfig(tokens=tokens)
    for prompt in ([3], [1, 2, 3, 4], list(range(9))):
        one = generate_ids(model, prompt, config, np.random.default_rng(1))
        other = generate_ids(WithoutCache(model), prompt, config, np.random.default_rng(1))
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_allclose(
            one.probabilities, other.probabilities, rtol=0, atol=CACHE_TOLERANCE
        )


@pytest.mark.parametrize("longest", [4, 8])  # the context is 6
def test_prompts_of_different_lengths_in_one_batch_are_continued_as_if_alone(longest):
    model, config = small_gpt(), GenerateConfig(tokens=10, top_k=9, top_p=0.7)
    prompts = [[4], [1, 2, 3], [9, 8, 7, 6, 5, 4, 3, 2][:longest]]
    together = generate_batch(model, prompts, config, [np.random.default_rng(n) for n in range(3)])
    for n, prompt in enumerate(prompts):
        alone = generate_ids(model, prompt, config, np.random.default_rng(n))
        np.testing.assert_array_equal(together[n].ids, alone.ids)
        np.testing.assert_allclose(
            together[n].probabilities, alone.probabilities, rtol=0, atol=CACHE_TOLERANCE
        )


@pytest.mark.parametrize("options", [{}, {"positions": True}, {"context": "last"}])
def test_a_model_without_a_cache_reads_no_padding_of_the_shorter_prompts(options):
    """The one-matrix model looks at every token it is given: id 0 on the left would be a word."""
    config = AttentionLM.Config(vocab_size=5, context_length=8, width=6, init_std=1.0, **options)
    model = AttentionLM(config, np.random.default_rng(0), np.float64)
    prompts = [[4], [1, 2, 3], [3, 1, 4, 2, 4, 3, 2]]
    rngs = [np.random.default_rng(n) for n in range(3)]
    together = generate_batch(model, prompts, GenerateConfig(tokens=5), rngs)
    for n, prompt in enumerate(prompts):
        text = list(prompt)
        for id, probability in zip(together[n].ids, together[n].probabilities, strict=True):
            p = next_probabilities(model.next_logits(np.array(text[-8:])))
            assert probability == pytest.approx(p[id], rel=1e-12)
            text.append(int(id))


def test_each_token_is_read_once_while_the_text_fits():
    model = small_gpt()
    sizes = []
    extend = model.extend
    model.extend = lambda ids, past: sizes.append(ids.shape[1]) or extend(ids, past)
    generate_ids(model, [1, 2], GenerateConfig(tokens=7), np.random.default_rng(0))
    assert sizes == [2, 1, 1, 1, 1, 6, 6]


def test_score_is_the_same_with_and_without_the_cache():
    model, ids = small_gpt(), np.arange(10)
    np.testing.assert_allclose(
        score(model, ids), score(WithoutCache(model), ids), rtol=0, atol=CACHE_TOLERANCE
    )


def test_top_p_of_a_batch_keeps_the_likeliest_alone():
    """So small a share that one token is kept is temperature 0."""
    model, rngs = small_gpt(), [np.random.default_rng(n) for n in range(2)]
    few = generate_batch(model, [[1], [2, 3]], GenerateConfig(tokens=9, top_p=1e-9), rngs)
    greedy = generate_batch(model, [[1], [2, 3]], GenerateConfig(tokens=9, temperature=0), rngs)
    assert [one.ids.tolist() for one in few] == [one.ids.tolist() for one in greedy]


def test_score_starts_with_the_second_token():
    model = small_gpt()
    logits = model.next_logits(np.array([3]))
    assert score(model, [3, 5, 7])[0] == pytest.approx(-np.log(next_probabilities(logits)[5]))


def test_a_batch_needs_one_rng_for_each_prompt():
    with pytest.raises(InputError, match="one rng for each prompt"):
        generate_batch(small_gpt(), [[1], [2]], GenerateConfig(), [np.random.default_rng(0)])


# ---- text in, text out -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def written():
    corpus = Corpus.from_text("the cat sat on the mat. " * 10)
    return AttentionLM(vocab_size=corpus.tokenizer.vocab_size, width=4), corpus


def test_a_prompt_is_continued_as_its_ids_would_be(written):
    model, corpus = written
    config = GenerateConfig(12, 0.7, 5, 0.9, 3)
    ids = corpus.tokenizer.encode("the c")
    new = generate_ids(model, ids, config, np.random.default_rng(3)).ids
    expected = "the c" + corpus.tokenizer.decode(new)
    for source in (corpus, corpus.tokenizer):
        assert generate(model, source, "the c", 12, 0.7, 5, 0.9, 3) == expected
    assert generate(model, corpus, "the c", 12, seed=1) != generate(model, corpus, "the c", 12)
    assert len(generate(model, corpus, "the c")) == 205
    plain = generate_ids(model, ids, GenerateConfig(40), np.random.default_rng(0)).ids
    assert generate(model, corpus, "the c", 40) == "the c" + corpus.tokenizer.decode(plain)


def test_what_generate_cannot_continue_is_named(written):
    model, corpus = written
    with pytest.raises(InputError, match="prompt is empty"):
        generate(model, corpus, "")
    with pytest.raises(InputError, match=r"not a Corpus and a list: for ids use generate_ids"):
        generate(model, corpus, [1, 2])
    with pytest.raises(InputError, match="not a str and a str"):
        generate(model, "the c", "the c")
    with pytest.raises(InputError, match="temperature must be at least 0"):
        generate(model, corpus, "the", temperature=-1.0)
