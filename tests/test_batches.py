from types import SimpleNamespace

import numpy as np
import pytest

from numpylm.batches import (
    Examples,
    InTurn,
    Windows,
    arguments,
    batch_size_for,
    check_fit,
    every_batch,
    held_out,
    obstacle,
    sample_batch,
    source_of,
    sweep,
)
from numpylm.errors import InputError

T = 4


def stream(n):
    """Ids that are their own positions: a batch then shows where it was cut."""
    return np.arange(n)


def table(N):
    return np.arange(N * (T + 1)).reshape(N, T + 1)


@pytest.mark.parametrize("data", [stream(30), table(6)])
def test_targets_are_the_next_tokens(data):
    batches = [sample_batch(np.random.default_rng(0), data, 3, T), *sweep(data, 3, T)]
    for x, y in batches:
        np.testing.assert_array_equal(y, x + 1)
        np.testing.assert_array_equal(np.diff(x, axis=1), 1)


@pytest.mark.parametrize("data", [stream(30), table(6)])
def test_a_batch_has_b_rows_of_t(data):
    x, y = sample_batch(np.random.default_rng(0), data, 3, T)
    assert x.shape == y.shape == (3, T)
    assert x.dtype == y.dtype == data.dtype


def test_random_windows_start_anywhere_and_stay_inside():
    x, y = sample_batch(np.random.default_rng(0), stream(10), 1000, T)
    assert set(x[:, 0]) == set(range(10 - T))
    assert set(y[:, -1]) == set(range(T, 10))


def test_a_stream_of_one_window_gives_that_window():
    x, y = sample_batch(np.random.default_rng(0), stream(T + 1), 2, T)
    np.testing.assert_array_equal(x, [[0, 1, 2, 3]] * 2)
    np.testing.assert_array_equal(y, [[1, 2, 3, 4]] * 2)


def test_random_rows_are_whole_sentences():
    data = table(6)
    x, y = sample_batch(np.random.default_rng(0), data, 100, T)
    rows = {(*a, b) for a, b in zip(x.tolist(), y[:, -1].tolist(), strict=True)}
    assert {(*a, b) for *a, b in data.tolist()} == rows


@pytest.mark.parametrize("data", [stream(30), table(6)])
def test_sampling_is_settled_by_the_generators_state(data):
    rng = np.random.default_rng(3)
    sample_batch(rng, data, 5, T)
    state = rng.bit_generator.state
    first = sample_batch(rng, data, 5, T)
    following = sample_batch(rng, data, 5, T)
    rng.bit_generator.state = state
    np.testing.assert_array_equal(sample_batch(rng, data, 5, T), first)
    assert not np.array_equal(following, first)


@pytest.mark.parametrize("n", range(T + 1, 30))
@pytest.mark.parametrize("B", [1, 2, 5, 100])
def test_a_sweep_predicts_every_token_of_a_stream_but_the_first_once(n, B):
    batches = list(sweep(stream(n), B, T))
    targets = np.concatenate([y.ravel() for _, y in batches])
    np.testing.assert_array_equal(targets, np.arange(1, n))
    inputs = np.concatenate([x.ravel() for x, _ in batches])
    np.testing.assert_array_equal(inputs, np.arange(n - 1))


def test_a_sweep_ends_with_the_shorter_window_alone():
    shapes = [x.shape for x, _ in sweep(stream(23), 3, T)]
    assert shapes == [(3, 4), (2, 4), (1, 2)]
    assert [x.shape for x, _ in sweep(stream(21), 3, T)] == [(3, 4), (2, 4)]


@pytest.mark.parametrize("B", [1, 4, 6, 100])
def test_a_sweep_reads_every_sentence_once(B):
    data = table(6)
    batches = list(sweep(data, B, T))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), data[:, :-1])
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), data[:, 1:])
    assert all(len(x) <= B for x, _ in batches)


def test_windows_of_two_parts_of_one_text_never_meet():
    train, heldout = np.split(stream(100), [90])
    seen = {p for xy in sample_batch(np.random.default_rng(0), train, 500, T) for p in xy.flat}
    judged = {p for batch in sweep(heldout, 3, T) for xy in batch for p in xy.flat}
    assert seen == set(range(90)) and judged == set(range(90, 100))


@pytest.mark.parametrize(
    "cut", [sweep, lambda *args: sample_batch(np.random.default_rng(0), *args)]
)
@pytest.mark.parametrize(
    ("data", "B", "T", "message"),
    [
        (stream(4), 1, 4, r"shape \(4,\) has no window of T = 4"),
        (stream(0), 1, 4, "no window"),
        (table(3), 1, 3, r"shape \(3, 5\) has no window of T = 3"),
        (table(3), 1, 5, "no window"),
        (np.zeros((0, 5), int), 1, 4, "no window"),
        (np.zeros((2, 3, 5), int), 1, 4, "no window"),
        (np.array(3), 1, 4, "no window"),
        (stream(9), 0, 4, "B, the batch size, .* not 0"),
        (stream(9), 1.5, 4, "B, the batch size, .* not 1.5"),
        (stream(9), 1, 0, "T, the context length, .* not 0"),
        (stream(9), 1, -1, "T, the context length, .* not -1"),
        (stream(9) / 2, 1, 4, "integer ids, not one of float64"),
        ([1, 2, 3, 4, 5, 6], 1, 4, "integer ids, not a list"),
    ],
)
def test_what_cannot_be_cut_is_an_error_at_once(cut, data, B, T, message):
    with pytest.raises(InputError, match=message):
        cut(data, B, T)


# ---- batches for any loss --------------------------------------------------------------------


def rng(seed=0):
    return np.random.default_rng(seed)


class Sized:
    """What source_of asks of a model."""

    class config:
        context_length = T
        vocab_size = 100


class Halves:
    """A corpus of a reader's own: two parts and nothing else."""

    train, heldout = stream(30), 30 + stream(12)


@pytest.mark.parametrize("data", [stream(30), list(range(30)), table(6), Halves()])
def test_ids_and_a_corpus_are_drawn_from_in_windows(data):
    source = source_of(data, 3, Sized())
    x, y = source(rng())
    assert x.shape == (3, T) and (y == x + 1).all()
    expected = sample_batch(rng(), getattr(data, "train", np.array(data)), 3, T)
    np.testing.assert_array_equal(x, expected[0])


def test_sentences_shorter_than_the_context_are_read_whole():
    x, _ = source_of(table(6)[:, :3], 2, Sized())(rng())
    assert x.shape == (2, 2)


@pytest.mark.parametrize("named", [True, False])
def test_every_example_comes_once_before_any_comes_again(named):
    arrays = np.arange(7), 10 * np.arange(7)
    examples = Examples(dict(zip(("ids", "targets"), arrays, strict=True)) if named else arrays, 3)
    draw, batches = rng(), []
    for _ in range(6):
        ordered, by_name = arguments(examples(draw))
        ids, targets = by_name.values() if named else ordered
        assert (targets == 10 * ids).all() and list(by_name) == ["ids", "targets"][: 2 * named]
        batches.append(ids)
    assert [len(ids) for ids in batches] == [3, 3, 1, 3, 3, 1]
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:])
    assert sorted(first) == sorted(second) == list(range(7)) and list(first) != list(second)


@pytest.mark.parametrize(
    "make", [lambda: Examples((np.arange(7),), 3), lambda: InTurn([1, 2, 3])], ids=["rows", "list"]
)
def test_a_source_goes_on_where_its_state_was_taken(make):
    first, again = make(), make()
    draw = rng()
    for _ in range(4):
        first(draw)
    state, later = first.state(), rng(5)
    wanted = [first(later) for _ in range(5)]
    again.load_state(state)
    later = rng(5)
    for batch in wanted:
        np.testing.assert_array_equal(again(later), batch)


def test_the_batches_of_a_list_are_taken_in_turn():
    source = source_of(["a", "b", "c"], 3, Sized())
    assert [source(rng()) for _ in range(5)] == ["a", "b", "c", "a", "b"]


def test_an_iterable_is_walked_again_but_a_generator_ends():
    class Twice:
        def __iter__(self):
            return iter("ab")

    source = source_of(Twice(), 3, Sized())
    assert [source(rng()) for _ in range(5)] == ["a", "b", "a", "b", "a"]
    source = source_of((letter for letter in "ab"), 3, Sized())
    source(rng()), source(rng())
    with pytest.raises(InputError, match="have come to an end"):
        source(rng())


def test_a_function_of_an_rng_is_its_own_source():
    def batches(rng):
        return rng.integers(5)

    assert source_of(batches, 3, Sized()) is batches


@pytest.mark.parametrize(
    ("heldout", "sizes"),
    [
        (Halves(), [2, 1]),  # eleven predictions in windows of four: 4 + 4, then 3
        (stream(9), [2]),
        ({"ids": np.arange(5)}, [2, 2, 1]),
        ((np.arange(5),), [2, 2, 1]),
        ([{"ids": stream(4)}], [4]),
    ],
)
def test_every_batch_of_what_is_held_out_comes_once(heldout, sizes):
    batches = [arguments(batch) for batch in every_batch(heldout, 2, Sized())]
    assert [len([*ordered, *named.values()][0]) for ordered, named in batches] == sizes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("a text", r"not a str: make a corpus of it with Corpus\.from_text"),
        (3, "not a int"),
        (stream(4), "4 tokens to train on are too few for a window of context_length = 4"),
        (table(3)[:, :1], "no window of T = 0|must be an integer of at least 1"),
        (np.arange(30) / 2, "must be an array of integer ids"),
        (np.zeros((3, 9), int), "sentences of 9 tokens need a model with context_length 8 or more"),
        ({}, "one row for each example"),
        ({"ids": np.arange(3), "targets": np.arange(4)}, r"\[\(3,\), \(4,\)\]"),
        ([], "batches are empty"),
    ],
)
def test_what_holds_no_batches_is_named(wrong, words):
    with pytest.raises(InputError, match=words):
        source_of(wrong, 3, Sized())


def test_a_batch_that_is_neither_a_tuple_nor_a_dict_is_named():
    with pytest.raises(InputError, match=r"tuple of the arguments of model\.loss.*not a ndarray"):
        arguments(stream(3))


def test_a_batch_has_no_more_windows_than_there_are():
    assert batch_size_for(stream(10), Sized(), None) == 6  # starts 0 to 5
    assert batch_size_for(stream(100), Sized(), None) == 32
    assert batch_size_for(table(5), Sized(), 5) == 5
    assert batch_size_for({"ids": stream(3)}, Sized(), None) == 32
    assert batch_size_for({"ids": stream(3)}, Sized(), 7) == 7
    with pytest.raises(InputError, match=f"{T} tokens to train on are too few"):
        batch_size_for(stream(T), Sized(), None)
    with pytest.raises(InputError, match="batch_size 7 is more than the 6 windows"):
        batch_size_for(stream(10), Sized(), 7)


class Fits(Sized):
    params = loss = loss_backward = None


def test_a_vocabulary_that_is_too_small_is_told_before_any_work():
    class Wide(Halves):
        class tokenizer:
            vocab_size = 101

    class Exact(Halves):
        class tokenizer:
            vocab_size = 100

    check_fit(Fits(), Halves())
    check_fit(Fits(), Exact())
    with pytest.raises(InputError, match=r"heldout must lie in"):
        check_fit(Fits(), SimpleNamespace(train=stream(9), heldout=stream(101)))
    with pytest.raises(InputError, match=r"has 101 symbols.*vocab_size is 100.*corpus\.tokenizer"):
        check_fit(Fits(), Wide())
    with pytest.raises(InputError, match=r"train must lie in \[0, 100\).*found 100"):
        check_fit(Fits(), stream(101))
    with pytest.raises(InputError, match=r"heldout must lie in \[0, 100\).*found 100"):
        check_fit(Fits(), Halves(), stream(101))


@pytest.mark.parametrize("model", [Fits, Sized(), None, "GPT"])
def test_what_is_no_model_is_named(model):
    with pytest.raises(InputError, match="model must have params, loss and loss_backward"):
        check_fit(model, Halves())


def test_a_stream_is_named_and_goes_on_where_its_iterable_says():
    class Counting:
        at = 0

        def __iter__(self):
            while self.at < 4:
                self.at += 1
                yield self.at

        def state(self):
            return self.at

        def load_state(self, state):
            self.at = state

    source = source_of(Counting(), 3, Sized())
    source(rng()), source(rng())
    kept, after = source.state(), source(rng())
    again = source_of(Counting(), 3, Sized())
    again.load_state(kept)
    assert again(rng()) == after == 3 and repr(again) == "the batches of a Counting"
    assert obstacle("batches", again) == ""


def test_a_window_has_as_many_tokens_as_it_predicts():
    assert Windows(stream(30), 3, T).tokens == 3 * T


def test_examples_come_as_many_at_a_time_as_are_asked_for():
    assert len(source_of({"ids": stream(9)}, 4, Sized())(rng())["ids"]) == 4


def test_what_is_evaluated_on_again_and_again_is_kept():
    corpus = Halves()
    assert held_out(corpus, None, 2, Sized()) is corpus
    assert held_out(stream(30), None, 2, Sized()) is None
    assert held_out(corpus, (letter for letter in "ab"), 2, Sized()) == ["a", "b"]
    with pytest.raises(InputError, match="tokens held out are too few"):
        held_out(corpus, stream(T), 2, Sized())
    with pytest.raises(InputError, match="what to evaluate on"):
        held_out(corpus, "text", 2, Sized())


def test_half_of_a_pair_of_methods_does_not_resume():
    class Half:
        def state(self):
            return 0

    class Other:
        def load_state(self, state):
            pass

    assert "Half" in obstacle("optimizer", Half()) and "Other" in obstacle("optimizer", Other())


def test_what_cannot_be_resumed_says_why():
    class Silent:
        def step(self, grads, learning_rate):
            pass

    assert obstacle("optimizer", Silent()) == (
        "its optimizer, a Silent, has no state() and load_state(state)"
    )
    assert "batches, a generator" in obstacle("batches", source_of((b for b in "ab"), 3, Sized()))
    for source in (Windows(stream(9), 2, T), InTurn([1]), Examples((stream(3),), 2), lambda rng: 0):
        assert obstacle("batches", source) == ""
