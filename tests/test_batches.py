import numpy as np
import pytest

from numpylm.batches import sample_batch, sweep
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
