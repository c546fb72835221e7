"""translate.py: greedy and beam search against plain recursion, and the length penalty."""

import math
from itertools import product
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.ops import cross_entropy_forward
from numpylm.transformer import Transformer, TransformerConfig
from numpylm.translate import Translation, beam_search, greedy, target_nats

ROUNDING = 1e-12  # sums of a few float64 logarithms, computed in batches of other sizes

PAD, BEGIN, END = 0, 1, 2
SOURCE = np.array([[4, 3, 4, 3, 5], [5, 5, 2, 0, 0], [3, 5, 5, 1, 0], [0, 0, 0, 0, 0]])
SEEDS = range(8)


def a_model(seed=2, vocab_size=6, scale=0.5, **options):
    """A model of chance, unsure enough (scale) that beams have something to choose from."""
    sizes = {"context_length": 8, "layers": 1, "heads": 2, "width": 4, "hidden": 9}
    config = TransformerConfig(vocab_size=vocab_size, **sizes | options)
    model = order_one(Transformer(config, np.random.default_rng(0), np.float64))
    model.params.flat[:] = np.random.default_rng(seed).normal(0, scale, model.params.flat.size)
    return model


def log_p(model, source, text):
    """log p of every token after begin_id and `text`, one pair at a time."""
    z = model.next_logits(source, np.array([BEGIN, *text]))
    return z - math.log(np.exp(z).sum())


def greedy_by_hand(model, source, limit):
    text, nats = [], 0.0
    while len(text) < limit:
        row = log_p(model, source, text)
        token = max((w for w in range(len(row)) if w not in (PAD, BEGIN)), key=lambda w: row[w])
        nats -= row[token]
        if token == END:
            return text, nats, True
        text.append(token)
    return text, nats, False


def all_targets(model, source, limit):
    """Every target of at most `limit` tokens: those that end, and those that have no room to."""
    words = [w for w in range(model.config.vocab_size) if w not in (PAD, BEGIN, END)]
    for n in range(limit + 1):
        for text in product(words, repeat=n):
            nats = -sum(log_p(model, source, text[:t])[text[t]] for t in range(n))
            if n < limit:
                ended = nats - log_p(model, source, text)[END]
                yield Translation(np.array(text, int), ended, True)
            else:
                yield Translation(np.array(text, int), nats, False)


def beam_by_hand(model, source, width, limit, length_penalty):
    """The best of what a beam ends with, and of greedy; tries are (nats, text), open or ended."""
    tries, ended = [(0.0, [])], []
    for _ in range(limit):
        longer = []
        for nats, text in tries:
            row = log_p(model, source, text)
            words = (w for w in range(len(row)) if w not in (PAD, BEGIN))
            longer += [(nats - row[w], [*text, w]) for w in words]
        kept = sorted(longer)[: width - len(ended)]
        ended += [Translation(np.array(t[:-1], int), n, True) for n, t in kept if t[-1] == END]
        tries = [(nats, text) for nats, text in kept if text[-1] != END]
    ended += [Translation(np.array(text, int), nats, False) for nats, text in tries]
    likeliest = Translation(*map_first(np.array, greedy_by_hand(model, source, limit)))
    return max([*ended, likeliest], key=lambda one: one.score(length_penalty))


def map_first(f, parts):
    return f(parts[0]), *parts[1:]


def same(one, other):
    assert one.ids.tolist() == other.ids.tolist()
    assert one.finished == other.finished
    assert one.nats == pytest.approx(other.nats, abs=ROUNDING)


# ---- F26 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_f26_the_score_is_log_p_over_a_power_of_the_length(alpha):
    ended, cut = Translation(np.arange(4), 3.0, True), Translation(np.arange(4), 3.0, False)
    assert ended.score(alpha) == pytest.approx(-3.0 / (10 / 6) ** alpha)
    assert cut.score(alpha) == pytest.approx(-3.0 / (9 / 6) ** alpha)
    assert ended.score() == -3.0


def test_f26_the_penalty_favours_longer_targets():
    short, long = Translation(np.arange(1), 2.0, True), Translation(np.arange(5), 2.5, True)
    assert short.score() > long.score()
    assert short.score(1.0) < long.score(1.0)


# ---- greedy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_takes_the_likeliest_token_each_time(seed):
    model = a_model(seed)
    for found, source in zip(greedy(model, SOURCE), SOURCE, strict=True):
        same(found, Translation(*map_first(np.array, greedy_by_hand(model, source, 8))))


def test_greedy_neither_always_ends_nor_never():
    ends = [one.finished for seed in SEEDS for one in greedy(a_model(seed), SOURCE)]
    assert 0 < sum(ends) < len(ends)


def test_greedy_stops_at_the_limit():
    for limit in (1, 3):
        for one in greedy(a_model(), SOURCE, max_tokens=limit):
            assert len(one.ids) + one.finished <= limit


@pytest.mark.parametrize("find", [greedy, beam_search])
def test_one_source_moves_no_other_and_the_model_is_left_alone(find):
    model = a_model()
    before, together = model.params.flat.copy(), find(model, SOURCE)
    for one, source in zip(together, SOURCE, strict=True):
        same(find(model, source[None])[0], one)
    np.testing.assert_array_equal(model.params.flat, before)


@pytest.mark.parametrize("find", [greedy, beam_search])
def test_padding_a_source_changes_no_translation(find):
    model = a_model()
    for one, other in zip(
        find(model, SOURCE), find(model, np.pad(SOURCE, ((0, 0), (0, 3)))), strict=True
    ):
        same(one, other)


# ---- beam search -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_width_1_is_greedy(seed, length_penalty):
    model = a_model(seed)
    for one, other in zip(
        beam_search(model, SOURCE, 1, length_penalty), greedy(model, SOURCE), strict=True
    ):
        same(one, other)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", [0.0, 4.0])
def test_a_beam_is_its_definition_in_plain_loops(seed, width, length_penalty):
    """Two words and an end: tries end at every length. A penalty of 4 makes long ones count."""
    model, sources = a_model(seed, vocab_size=5, scale=0.5), SOURCE % 5
    for source, found in zip(
        sources, beam_search(model, sources, width, length_penalty), strict=True
    ):
        same(found, beam_by_hand(model, source, width, 8, length_penalty))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", [0.0, 0.6])
def test_a_beam_never_scores_below_greedy(seed, width, length_penalty):
    model = a_model(seed)
    for one, other in zip(
        beam_search(model, SOURCE, width, length_penalty), greedy(model, SOURCE), strict=True
    ):
        assert one.score(length_penalty) >= other.score(length_penalty)


class Trap:
    """After 3, all goes on as evenly as it can but surely ends; after 4, it dwindles.

    p: 3 0.4, 4 0.35, 5 0.25;  3 then 3 0.34, 4 0.33, 5 0.33;  4 then 3 0.5, 4 0.5. After two tokens
    the end is sure behind a 3 at the front; elsewhere 3, 4 and 5 are equally likely, forever.
    """

    P = MappingProxyType(
        {
            (): (0.4, 0.35, 0.25),
            (3,): (0.34, 0.33, 0.33),
            (4,): (0.5, 0.5, 0.0),
        }
    )
    config = SimpleNamespace(
        vocab_size=6, context_length=6, padding_id=PAD, begin_id=BEGIN, end_id=END
    )

    def check_pair(self, source, target_in):
        pass

    def encode(self, source):
        return np.zeros((*source.shape, 1)), None

    def decode(self, target_in, memory, source_real):
        logits = np.full((*target_in.shape, 6), -1e3)
        for n, text in enumerate(target_in[:, 1:].tolist()):
            if text[0:1] == [3] and len(text) >= 2:
                logits[n, -1, END] = 0.0
            else:
                p = np.array(self.P.get(tuple(text), (1 / 3, 1 / 3, 1 / 3)))
                logits[n, -1, 3:] = np.log(np.maximum(p, 1e-300))
        return logits, None


def test_a_beam_that_loses_the_greedy_target_on_its_way_still_answers_with_it():
    """Of width 2, the beam keeps 4 3 and 4 4 (0.175 each) and drops 3 3 (0.136), which ends."""
    found = beam_search(Trap(), SOURCE[:1], 2, 0.0)[0]
    same(found, greedy(Trap(), SOURCE[:1])[0])
    assert found.ids.tolist() == [3, 3]
    assert math.exp(-found.nats) == pytest.approx(0.136)


def test_a_beam_often_scores_above_greedy():
    gains = [
        one.score() - other.score()
        for seed in SEEDS
        for one, other in zip(
            beam_search(a_model(seed), SOURCE, 4, 0.0), greedy(a_model(seed), SOURCE), strict=True
        )
    ]
    assert np.mean(np.array(gains) > 0.01) > 0.2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
def test_a_beam_wide_enough_for_all_finds_the_best_of_all(seed, length_penalty):
    model = a_model(seed, vocab_size=5)
    for source, found in zip(
        SOURCE[1:3] % 5,
        beam_search(model, SOURCE[1:3] % 5, 10**4, length_penalty, max_tokens=3),
        strict=True,
    ):
        every = all_targets(model, source, 3)
        same(found, max(every, key=lambda one: one.score(length_penalty)))


def test_the_target_is_never_padding_or_begin():
    model = a_model()
    model.params["E"][[PAD, BEGIN]] = 3 * model.params["E"][[4, 5]]  # tempting
    for find in (greedy, beam_search):
        for one in find(model, SOURCE):
            assert not np.isin(one.ids, [PAD, BEGIN, END]).any()


@pytest.mark.parametrize("find", [greedy, beam_search])
def test_huge_logits_do_not_overflow(find):
    model = a_model()
    model.params["E"] *= 1e6
    assert all(np.isfinite(one.nats) for one in find(model, SOURCE))


def test_nats_are_those_of_teacher_forcing():
    model = a_model(smoothing=0.3)
    for find in (greedy, beam_search):
        for one, source in zip(find(model, SOURCE), SOURCE, strict=True):
            target = [BEGIN, *one.ids, *[END] * one.finished]
            assert target_nats(model, source[None], [target])[0] == pytest.approx(one.nats)


def test_f5_target_nats_are_the_unsmoothed_loss_in_total():
    model = a_model(smoothing=0.3)
    target = np.array([[1, 3, 4, 2], [1, 5, 2, 0], [1, 2, 0, 0], [1, 3, 3, 3]])
    logits, _ = model.forward(SOURCE, target[:, :-1])
    for n, total in enumerate(target_nats(model, SOURCE, target)):
        real = target[n, 1:] != PAD
        loss, _ = cross_entropy_forward(logits[n][real], target[n, 1:][real])
        assert total == pytest.approx(loss * real.sum(), abs=ROUNDING)


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("find", [greedy, beam_search])
@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (SOURCE[0], {}, r"source must be \(B, S\).*\(5,\)"),
        (SOURCE[:, :0], {}, "source .*empty"),
        (np.full((2, 9), 3), {}, r"source \(2, 9\) must have 1 to 8 tokens"),
        (SOURCE + 3, {}, "source must lie in .*found"),
        (SOURCE, {"max_tokens": 0}, "max_tokens must be at least 1 and at most 8, not 0"),
        (SOURCE, {"max_tokens": 9}, "max_tokens must be at least 1 and at most 8, not 9"),
    ],
)
def test_sources_that_do_not_fit_are_named(find, source, options, message):
    with pytest.raises(InputError, match=message):
        find(a_model(), source, **options)


@pytest.mark.parametrize(
    ("width", "length_penalty"), [(0, 0.6), (2, -0.1), (2, math.nan), (2, math.inf)]
)
def test_a_beam_without_width_or_with_a_penalty_below_0_is_refused(width, length_penalty):
    with pytest.raises(InputError, match=r"^(width|length_penalty) must be "):
        beam_search(a_model(), SOURCE, width, length_penalty)
