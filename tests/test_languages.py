"""The computed entropy against closed forms, brute force, and what sentences really cost."""

import dataclasses
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from numpylm.errors import InputError
from numpylm.languages import LANGUAGES, SHARED, TOPICS, recall

LENGTH = 9
EXACT = 1e-12  # sums of a few thousand float64 terms of order 1
FIVE_SIGMA = 5  # of a fixed draw: a wrong law is off by tens, a right one practically never


def sentences(name, n=2000, length=LENGTH):
    return LANGUAGES[name]().sample(np.random.default_rng(0), n, length)


def law(language, length):
    """Brute force: the probability of every sentence, by walking every path of the machine."""
    paths = {((), state): p for state, p in language.start.items()}
    for _ in range(length):
        longer = defaultdict(float)
        for (past, state), p in paths.items():
            for q, symbol, after in language.step(state):
                longer[(*past, symbol), after] += p * q
        paths = longer
    total = defaultdict(float)
    for (sentence, _), p in paths.items():
        total[sentence] += p
    return total


def block_entropy(language, length):
    return -math.fsum(p * math.log(p) for p in law(language, length).values() if p > 0)


@pytest.mark.parametrize("name", LANGUAGES)
def test_entropy_agrees_with_the_probabilities_of_all_sentences(name):
    # H(x_{t+1} | x_1..x_t) = H(x_1..x_{t+1}) − H(x_1..x_t): no belief is needed for this.
    language = LANGUAGES[name]()
    blocks = [block_entropy(language, t) for t in range(1, 6)]
    np.testing.assert_allclose(language.entropy_by_position(5), np.diff(blocks), atol=EXACT)
    assert language.entropy(5) == pytest.approx((blocks[-1] - blocks[0]) / 4, abs=EXACT)


@pytest.mark.parametrize("name", LANGUAGES)
def test_sentences_cost_their_entropy_under_the_true_law(name):
    language = LANGUAGES[name]()
    costs = []
    for sentence in sentences(name):
        belief, nats = language.start, []
        for symbol in sentence:
            p, belief = language.read(belief)[symbol]
            nats.append(-math.log(p))
        costs.append(np.mean(nats[1:]))
    error = np.std(costs) / math.sqrt(len(costs))
    assert abs(np.mean(costs) - language.entropy(LENGTH)) <= FIVE_SIGMA * error + EXACT


@pytest.mark.parametrize("name", LANGUAGES)
def test_sentences_are_as_frequent_as_the_law_says(name):
    n = 20_000
    seen = Counter(tuple(sentence) for sentence in sentences(name, n, length=2))
    expected = law(LANGUAGES[name](), 2)
    assert seen.keys() <= expected.keys()
    for sentence, p in expected.items():
        # + 1: a count is no Gaussian where almost nothing is expected
        assert abs(seen[sentence] - n * p) <= FIVE_SIGMA * math.sqrt(n * p * (1 - p)) + 1


@pytest.mark.parametrize("name", LANGUAGES)
def test_predictions_sum_to_one_over_known_symbols(name):
    language = LANGUAGES[name]()
    belief = language.start
    for symbol in sentences(name, 1, 20)[0]:
        predicted = language.read(belief)
        assert set(predicted) <= set(language.symbols)
        assert math.fsum(p for p, _ in predicted.values()) == pytest.approx(1, abs=EXACT)
        belief = predicted[symbol][1]
        assert math.fsum(belief.values()) == pytest.approx(1, abs=EXACT)


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_symbol_is_used(name):
    language = LANGUAGES[name]()
    assert {symbol for sentence in sentences(name) for symbol in sentence} == set(language.symbols)


@pytest.mark.parametrize("name", LANGUAGES)
def test_sampling_is_settled_by_the_generator(name):
    assert sentences(name, 20) == sentences(name, 20)
    other = LANGUAGES[name]().sample(np.random.default_rng(1), 20, LENGTH)
    assert other != sentences(name, 20)


def test_closed_forms_by_position():
    def nats(name):
        return LANGUAGES[name]().entropy_by_position(LENGTH)

    ln4, ln5, ln8 = math.log(4), math.log(5), math.log(8)
    np.testing.assert_allclose(nats("random"), [ln8] * 8, atol=EXACT)
    np.testing.assert_allclose(nats("topics"), [ln8] * 8, atol=EXACT)
    np.testing.assert_allclose(nats("order2"), [ln5] + [0] * 7, atol=EXACT)
    np.testing.assert_allclose(nats("copy"), [ln4] * 3 + [0] * 4 + [ln4], atol=EXACT)
    np.testing.assert_allclose(nats("abab"), [0] * 8, atol=EXACT)
    np.testing.assert_allclose(nats("cycle"), [0] * 8, atol=EXACT)


def test_recall_costs_a_letter_every_time_and_a_digit_the_first_time():
    nats = LANGUAGES["recall"]().entropy_by_position(LENGTH)
    np.testing.assert_allclose(nats[1::2], [math.log(6)] * 4, atol=EXACT)
    new = (5 / 6) ** np.arange(4)  # the probability that none of the letters before was this one
    np.testing.assert_allclose(nats[0::2], new * math.log(8), atol=EXACT)


def test_counting_alike_states_as_one_changes_no_entropy():
    language = recall(letters="abc", digits="01")
    one_by_one = dataclasses.replace(language, alike=lambda state: state)
    np.testing.assert_allclose(
        language.entropy_by_position(11), one_by_one.entropy_by_position(11), atol=EXACT
    )


def test_order2_costs_ln_5_over_the_context():
    for T in (1, 2, 8, 33):
        assert LANGUAGES["order2"]().entropy(T + 1) == pytest.approx(math.log(5) / T, abs=EXACT)


def test_markov_costs_its_entropy_rate_everywhere():
    language = LANGUAGES["markov"]()
    P = np.array([[p for p, _, _ in language.step(x)] for x in range(6)])
    values, vectors = np.linalg.eig(P.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    rate = -(stationary[:, None] * P * np.log(P)).sum()
    np.testing.assert_allclose(language.entropy_by_position(LENGTH), [rate] * 8, atol=EXACT)
    assert 0.9 < rate < 1.1


def test_brackets_cost_what_a_walk_between_depth_0_and_4_costs():
    up = np.array([1, 0.5, 0.5, 0.5, 0])
    # Up costs ln 2 for the kind of bracket; in the middle up or down costs ln 2 more.
    cost = up * math.log(2) + np.array([0, 1, 1, 1, 0]) * math.log(2)
    depth = np.array([0.0, 1, 0, 0, 0])  # after the first bracket, which is given
    expected = []
    for _ in range(LENGTH - 1):
        expected.append(depth @ cost)
        depth = np.append(0, (depth * up)[:-1]) + np.append((depth * (1 - up))[1:], 0)
    found = LANGUAGES["brackets"]().entropy_by_position(LENGTH)
    np.testing.assert_allclose(found, expected, atol=EXACT)


def test_a_shared_word_leaves_the_topic_open():
    language = LANGUAGES["senses"]()
    _, after_bank = language.read(language.start)["bank"]
    assert after_bank == pytest.approx({"money": 0.5, "river": 0.5}, abs=EXACT)
    p, after_loan = language.read(after_bank)["loan"]
    assert p == pytest.approx(1 / 16, abs=EXACT) and after_loan == {"money": 1.0}
    # After a word of one topic: ln 8. After a shared word: 14 words of 1/16, and itself of 1/8.
    shared = 14 / 16 * math.log(16) + math.log(8) / 8
    expected = 7 / 8 * math.log(8) + 1 / 8 * shared
    assert language.entropy_by_position(2) == pytest.approx([expected], abs=EXACT)


def test_cycles_go_round():
    for name, n in (("abab", 2), ("cycle", 5)):
        order = LANGUAGES[name]().symbols
        found = {"".join(sentence) for sentence in sentences(name)}
        expected = {"".join(order[(i + t) % n] for t in range(LENGTH)) for i in range(n)}
        assert found == expected


def test_order2_obeys_its_rule():
    for sentence in sentences("order2"):
        x = [int(symbol) for symbol in sentence]
        assert all(x[t] == (x[t - 1] - x[t - 2]) % 5 for t in range(2, LENGTH))


def test_copy_says_everything_twice():
    for sentence in sentences("copy", length=16):
        assert sentence[0:4] == sentence[4:8] and sentence[8:12] == sentence[12:16]
    assert len({tuple(sentence[:4]) for sentence in sentences("copy")}) == 4**4


def test_brackets_are_nested_and_at_most_four_deep():
    deepest = 0
    for sentence in sentences("brackets", length=20):
        due = []
        for symbol in sentence:
            if symbol in "([":
                due.append(")" if symbol == "(" else "]")
            else:
                assert symbol == due.pop()
            deepest = max(deepest, len(due))
    assert deepest == 4


def test_a_sentence_keeps_to_its_topic():
    lists = [set(line.split()) for line in TOPICS.values()]
    assert sum(map(len, lists)) == len(set.union(*lists)) == 48
    for sentence in sentences("topics"):
        assert sum(set(sentence) <= words for words in lists) == 1


def test_senses_share_three_words_between_two_topics_each():
    lists = [{SHARED.get(word, word) for word in line.split()} for line in TOPICS.values()]
    uses = Counter(word for words in lists for word in words)
    assert {word for word, n in uses.items() if n > 1} == {"bank", "pitch", "plant"}
    assert max(uses.values()) == 2
    for sentence in sentences("senses"):
        assert any(set(sentence) <= words for words in lists)


def test_the_first_token_is_given_so_one_alone_has_no_entropy():
    with pytest.raises(InputError, match="length must be at least 2"):
        LANGUAGES["random"]().entropy(1)
