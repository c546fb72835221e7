"""F6 and the classifier's metrics, against closed forms and counts made by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.errors import InputError
from numpylm.metrics import (
    Evaluation,
    accuracy,
    bleu,
    confusion_matrix,
    evaluate,
    exact_match,
    normalise_answer,
    perplexity,
    precision_recall_f1,
    token_f1,
    token_nats,
)
from numpylm.ops import IGNORE, cross_entropy_forward
from numpylm.tokenizers import WordTokenizer

# A few hundred float64 numbers near 1 are added up, in an order that may differ.
ROUNDING = 1e-12
V, T = 7, 5


def model(context="all"):
    config = AttentionLMConfig(
        vocab_size=V, context_length=T, width=4, context=context, init_std=1.0
    )
    return AttentionLM(config, np.random.default_rng(0), np.float64)


def corpus(samples=24):
    """Windows (samples, T) and targets, of which some are IGNORE, unevenly over the samples."""
    rng = np.random.default_rng(1)
    ids, targets = rng.integers(V, size=(2, samples, T))
    targets[rng.random(targets.shape) < np.linspace(0, 0.8, samples)[:, None]] = IGNORE
    return ids, targets


def batches(ids, targets, size):
    return [(ids[i : i + size], targets[i : i + size]) for i in range(0, len(ids), size)]


# ---- F6 --------------------------------------------------------------------------------------


def test_f6_guessing_among_v_words_has_perplexity_v():
    nats, counted = token_nats(np.zeros((3, V)), [0, 2, 6])
    assert perplexity(nats.sum(), counted.sum()) == pytest.approx(V, rel=ROUNDING)


def test_f6_perplexity_divides_totals_and_is_infinite_where_exp_overflows():
    assert perplexity(0.0, 5) == 1.0
    assert perplexity(6 * math.log(3), 6) == pytest.approx(3, rel=ROUNDING)
    assert perplexity(1e4, 1) == math.inf


@pytest.mark.parametrize("nats", [[1.0, 2.0], np.ones(2), "3", None, math.nan, -1.0])
def test_f6_perplexity_of_what_is_no_total_is_rejected(nats):
    with pytest.raises(InputError, match="nats must be"):
        perplexity(nats, 2)
    with pytest.raises(InputError, match="tokens must be"):
        perplexity(1.0, nats)


def test_f6_perplexity_of_certainty_is_one_though_rounding_goes_below():
    assert perplexity(-1e-12, 3) == pytest.approx(1, abs=1e-11)
    assert perplexity(np.float32(2), np.int8(1)) == pytest.approx(math.exp(2), rel=ROUNDING)


@pytest.mark.parametrize("tokens", [0, -1, math.nan])
def test_f6_perplexity_of_nothing_is_rejected(tokens):
    with pytest.raises(InputError, match="tokens"):
        perplexity(1.0, tokens)


@pytest.mark.parametrize("context", ["all", "last"])
@pytest.mark.parametrize("size", [1, 5, 7, 24])
def test_f6_perplexity_does_not_depend_on_the_batch_size(context, size):
    ids, targets = corpus()
    whole = evaluate(model(context), [(ids, targets)])
    parts = evaluate(model(context), batches(ids, targets, size))
    assert (parts.tokens, parts.correct) == (whole.tokens, whole.correct)
    assert parts.nats == pytest.approx(whole.nats, rel=ROUNDING)
    assert parts.perplexity == pytest.approx(whole.perplexity, rel=ROUNDING)


def test_f6_the_mean_of_batch_perplexities_would_depend_on_it():
    """The corpus above can tell: its batches differ in what they hold and in how much counts."""
    ids, targets = corpus()
    whole = evaluate(model(), [(ids, targets)]).perplexity
    mean = np.mean([evaluate(model(), [batch]).perplexity for batch in batches(ids, targets, 5)])
    assert abs(mean - whole) > 0.1


# ---- token by token --------------------------------------------------------------------------


def test_f5_nats_are_minus_the_log_of_the_probability():
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    nats, counted = token_nats(np.log(p) + 11.0, [1, 2])  # a shift of all logits changes nothing
    assert nats == pytest.approx([math.log(4), -math.log(0.7)], rel=ROUNDING)
    assert counted.tolist() == [True, True]


def test_f5_nats_do_not_overflow_or_underflow():
    nats, _ = token_nats(np.array([[1e4, 0.0], [-1e4, 0.0]]), [1, 1])
    assert nats.tolist() == [1e4, 0.0]


def test_f5_an_ignored_target_has_no_nats():
    logits = np.random.default_rng(2).normal(size=(2, 3, V))
    nats, counted = token_nats(logits, [[1, IGNORE, 2], [IGNORE, IGNORE, 0]])
    assert counted.tolist() == [[True, False, True], [False, False, True]]
    assert ((nats > 0) == counted).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f5_nats_are_computed_in_float64_and_leave_the_logits_unchanged(dtype):
    logits = np.random.default_rng(3).normal(size=(4, V)).astype(dtype)
    before = logits.copy()
    nats, _ = token_nats(logits, [0, 1, 2, 3])
    exact, _ = token_nats(before.astype(np.float64), [0, 1, 2, 3])
    assert nats.dtype == np.float64
    assert np.array_equal(nats, exact)
    assert np.array_equal(logits, before)


def test_f5_the_mean_of_the_nats_is_the_loss_that_is_trained():
    ids, targets = corpus()
    logits, _ = model().forward(ids)
    loss, _ = cross_entropy_forward(logits, targets)
    nats, counted = token_nats(logits, targets)
    assert nats.sum() / counted.sum() == pytest.approx(loss, rel=ROUNDING)


def test_f5_targets_that_do_not_fit_are_rejected():
    with pytest.raises(InputError, match="shape"):
        token_nats(np.zeros((2, V)), [1, 2, 3])
    with pytest.raises(InputError, match="targets"):
        token_nats(np.zeros((2, V)), [1, V])


def test_f5_logits_that_are_no_numbers_are_rejected_and_impossible_words_cost_infinity():
    inf = math.inf
    nats, _ = token_nats(np.array([[0.0, -inf], [0.0, -inf]]), [0, 1])
    assert nats.tolist() == [0, inf]
    assert token_nats([[0, 0]], [1])[0] == pytest.approx(math.log(2), rel=ROUNDING)
    for bad in ([math.nan, 0.0], [inf, 0.0], [-inf, -inf]):
        with pytest.raises(InputError, match=r"logits\[1\] are nan, or have no finite maximum"):
            token_nats(np.array([[0.0, 0.0], bad]), [0, 1])
        assert token_nats(np.array([[0.0, 0.0], bad]), [0, IGNORE])[0][1] == 0
    for bad in (np.float64(3), [["a", "b"]], np.zeros((1, 2), bool)):
        with pytest.raises(InputError, match="logits must be numbers"):
            token_nats(bad, [0])


# ---- evaluate --------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["all", "last"])
def test_evaluate_measures_the_loss_of_the_model(context):
    ids, targets = corpus()
    targets[0, -1] = 1
    loss, _ = model(context).loss(ids, targets)
    assert evaluate(model(context), [(ids, targets)]).loss == pytest.approx(loss, rel=ROUNDING)


def test_evaluate_counts_what_the_likeliest_word_got_right():
    """Each target is the model's first choice, but for one wrong and two ignored."""
    ids, _ = corpus(samples=4)
    targets = model().forward(ids)[0].argmax(axis=-1)
    targets[0, 0] = (targets[0, 0] + 1) % V
    targets[1, :2] = IGNORE
    result = evaluate(model(), [(ids, targets)])
    assert (result.correct, result.tokens) == (17, 18)
    assert result.accuracy == 17 / 18


def test_evaluate_takes_an_ignored_target_for_no_word_not_for_word_0():
    """A batch with padding: word 0 is the likeliest everywhere, also where nothing is predicted."""

    class Zero:
        def forward(self, ids):
            return np.where(np.arange(V) == 0, 1.0, 0.0) + np.zeros((*np.shape(ids), 1)), None

    ids = np.array([[3, 4, 5, 1], [2, 1, 0, 0]])
    targets = np.array([[4, 0, 1, IGNORE], [0, IGNORE, IGNORE, IGNORE]])
    result = evaluate(Zero(), [(ids, targets)])
    assert (result.correct, result.tokens) == (2, 4)
    z = math.log(math.e + V - 1)
    assert result.nats == pytest.approx(4 * z - 2, rel=ROUNDING)
    assert evaluate(Zero(), [(ids[:1], targets[:1]), (ids[1:], targets[1:])]) == result


def test_evaluate_with_the_last_context_counts_the_last_targets_only():
    ids, targets = corpus(samples=6)
    targets[:, -1] = [0, 1, IGNORE, 3, 4, 5]
    assert evaluate(model("last"), [(ids, targets)]).tokens == 5
    assert evaluate(model("last"), [(ids, targets)]) == evaluate(
        model("last"), [(ids, targets[:, -1])]
    )


def test_an_evaluation_derives_its_figures_from_the_totals():
    result = Evaluation(nats=8 * math.log(5), tokens=8, correct=6)
    assert result.loss == pytest.approx(math.log(5), rel=ROUNDING)
    assert result.perplexity == pytest.approx(5, rel=ROUNDING)
    assert result.accuracy == 0.75


class Watched:
    """A model of a reader's own, which writes down how many texts it is shown at a time."""

    def __init__(self):
        self.config, self.sizes = model().config, []

    def forward(self, ids=None, *, words=None):
        ids = words if ids is None else ids
        self.sizes.append(len(ids))
        return np.zeros((*ids.shape, V)), None


@pytest.mark.parametrize(
    "options, sizes",
    [({}, [64, 6]), ({"batch_size": 30}, [30, 30, 10]), ({"batch_size": 8, "windows": 15}, [8, 8])],
)
def test_evaluate_takes_as_many_windows_at_a_time_and_in_all_as_it_is_told(options, sizes):
    watched = Watched()
    found = evaluate(watched, np.random.default_rng(0).integers(V, size=(70, T + 1)), **options)
    assert watched.sizes == sizes and found.tokens == sum(sizes) * T


def test_evaluate_hands_batches_over_by_name_and_asks_a_model_for_its_pairs():
    ids, targets = corpus()
    plain = evaluate(Watched(), [(ids, targets)])
    assert evaluate(Watched(), [{"targets": targets, "words": ids}]) == plain
    with pytest.raises(InputError, match="logits_and_targets"):
        evaluate(Watched(), [{"labels": targets, "words": ids}])

    class Pairs(Watched):
        def logits_and_targets(self, first, *, labels):
            return self.forward(first)[0], labels

    class Ordered(Pairs):
        def logits_and_targets(self, first, labels):
            return self.forward(first)[0], labels

    assert evaluate(Pairs(), [{"first": ids, "labels": targets}]) == plain
    assert evaluate(Ordered(), [(ids, targets)]) == plain


def test_evaluate_needs_a_target_that_counts():
    ids, targets = corpus(samples=2)
    with pytest.raises(InputError, match="batches"):
        evaluate(model(), [])
    with pytest.raises(InputError, match="batches"):
        evaluate(model(), [(ids, np.full_like(targets, IGNORE))])
    with pytest.raises(InputError, match=r"give \(ids, targets\)"):
        evaluate(model(), [(None, targets)])
    with pytest.raises(InputError, match="nothing was predicted"):
        Evaluation(nats=0.0, tokens=0, correct=0)


@pytest.mark.parametrize("windows", [0, -1, 2.5, "all"])
def test_evaluate_takes_some_windows_or_all(windows):
    ids, targets = corpus(samples=2)
    with pytest.raises(InputError, match="windows must be"):
        evaluate(model(), [(ids, targets)], windows=windows)


# ---- classification --------------------------------------------------------------------------


TARGETS = [0, 0, 0, 0, 1, 1, 2, 2, 2, IGNORE]
PREDICTIONS = [0, 0, 1, 2, 1, 0, 2, 2, 2, 1]


def test_accuracy_is_the_share_of_targets_that_were_predicted():
    assert accuracy(PREDICTIONS, TARGETS) == 6 / 9
    assert accuracy([[1, 2], [3, 4]], [[1, 0], [3, IGNORE]]) == 2 / 3


def test_the_confusion_matrix_has_a_row_for_each_true_class():
    counts = confusion_matrix(PREDICTIONS, TARGETS, 3)
    assert counts.tolist() == [[2, 1, 1], [1, 1, 0], [0, 0, 3]] and counts.dtype == np.int64
    assert confusion_matrix([0, 0], [0, IGNORE], 1).tolist() == [[1]]


def test_precision_recall_f1_by_hand():
    """Class 0: 2 of 3 predicted, 2 of 4 found. Class 1: 1 of 2, 1 of 2. Class 2: 3 of 4, 3 of 3."""
    precision = (2 / 3 + 1 / 2 + 3 / 4) / 3
    recall = (2 / 4 + 1 / 2 + 3 / 3) / 3
    f1 = (4 / 7 + 1 / 2 + 6 / 7) / 3
    got = precision_recall_f1(PREDICTIONS, TARGETS, 3)
    assert got == pytest.approx((precision, recall, f1), rel=ROUNDING)


def test_micro_precision_recall_and_f1_are_the_accuracy():
    got = precision_recall_f1(PREDICTIONS, TARGETS, 3, average="micro")
    assert got == (6 / 9, 6 / 9, 6 / 9)


def test_nothing_over_nothing_is_zero():
    """Class 1 is never predicted, class 2 never occurs, class 3 neither: it still weighs 1/4."""
    precision, recall, f1 = precision_recall_f1([0, 0, 2], [0, 1, 0], 4)
    assert precision == pytest.approx((1 / 2) / 4, rel=ROUNDING)
    assert recall == pytest.approx((1 / 2) / 4, rel=ROUNDING)
    assert f1 == pytest.approx((1 / 2) / 4, rel=ROUNDING)


def test_a_perfect_classifier_scores_one():
    assert precision_recall_f1([0, 1, 2, 1], [0, 1, 2, 1], 3) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_precision_recall_f1_agree_with_scikit_learn(average):
    sklearn = pytest.importorskip("sklearn.metrics")
    predictions, targets = np.random.default_rng(4).integers(5, size=(2, 60))
    targets[targets == 3] = 2  # a class that never occurs
    want = sklearn.precision_recall_fscore_support(
        targets, predictions, labels=range(5), average=average, zero_division=0
    )[:3]
    got = precision_recall_f1(predictions, targets, 5, average)
    assert got == pytest.approx(want, rel=ROUNDING)


@pytest.mark.parametrize(
    ("average", "want"),
    [
        ("macro", (0.41666666666666663, 0.4083333333333333, 0.408008658008658)),
        ("micro", (7 / 12,) * 3),
    ],
)
def test_precision_recall_f1_are_the_figures_of_scikit_learn(average, want):
    """Stored from scikit-learn 1.9.1, with labels=range(4) and zero_division=0; no class is 3."""
    predictions, targets = (
        [0, 2, 1, 1, 0, 2, 2, 0, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 2, 0, 0, 2, 1, 2, 0],
    )
    got = precision_recall_f1(predictions, targets, 4, average)
    assert got == pytest.approx(want, rel=ROUNDING)


@pytest.mark.parametrize(
    "measure",
    [accuracy, lambda p, t: confusion_matrix(p, t, 3), lambda p, t: precision_recall_f1(p, t, 3)],
)
def test_pairs_that_cannot_be_compared_are_rejected(measure):
    with pytest.raises(InputError, match="same shape"):
        measure([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="nothing to measure"):
        measure([], [])
    with pytest.raises(InputError, match="nothing to measure"):
        measure([1], [IGNORE])


def test_a_class_out_of_range_is_rejected():
    with pytest.raises(InputError, match="predictions"):
        precision_recall_f1([0, 3], [0, 1], 3)
    with pytest.raises(InputError, match="targets"):
        precision_recall_f1([0, 1], [0, -1], 3)
    with pytest.raises(InputError, match="predictions"):
        precision_recall_f1([0.5, 1.0], [0, 1], 3)
    with pytest.raises(InputError, match="average"):
        precision_recall_f1([0, 1], [0, 1], 3, average="weighted")


# ---- answers that are texts ------------------------------------------------------------------

CORPUS = (
    [
        "the cat sat on the mat",
        "there is a dog in the old garden",
        "a bird sings",
        "the the the the the the the",
    ],
    [
        "the cat sat on the mat",
        ["a dog is in the old garden", "there is a dog in a garden"],
        ["the small bird sings a song", "one bird sings"],
        ["the cat is on the mat", "there is a cat on the mat"],
    ],
)
NO_LONG_RUNS = (
    ["equus magnus", "ranam vidit puella alba"],
    ["equi magni ranam viderunt", "puella alba ranam vidit"],
)


def random_corpus(rng):
    """Texts of up to 8 of 4 words, with 1 to 3 references each: n-grams match often, or never."""

    def text(least):
        return " ".join(rng.choice(list("abcd"), rng.integers(least, 9)))

    n, r = rng.integers(1, 5), rng.integers(1, 4)
    return [text(0) for _ in range(n)], [[text(1) for _ in range(r)] for _ in range(n)]


def test_exact_match_is_the_share_of_equal_texts():
    assert exact_match(["a b", "a  b", "B", ""], ["a b", "a b", "b", ""]) == 2 / 4


@pytest.mark.parametrize(
    ("corpus", "smoothing", "want"),
    [
        (CORPUS, "none", 0.6167896277000207),
        (CORPUS, "exp", 0.6167896277000207),
        (NO_LONG_RUNS, "none", 0.0),
        (NO_LONG_RUNS, "exp", 0.2722230298303347),
    ],
)
def test_bleu_is_the_figure_of_sacrebleu(corpus, smoothing, want):
    """Stored from sacrebleu 2.6.0: smooth_method as here, tokenize="none"."""
    assert bleu(*corpus, smoothing) == pytest.approx(want, rel=ROUNDING)


def test_bleu_agrees_with_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    rng = np.random.default_rng(5)
    for smoothing in ("none", "exp") * 100:
        predictions, references = random_corpus(rng)
        streams = [list(stream) for stream in zip(*references, strict=True)]
        options = {"smooth_method": smoothing, "tokenize": "none", "force": True}
        want = sacrebleu.corpus_bleu(predictions, streams, **options).score / 100
        assert bleu(predictions, references, smoothing) == pytest.approx(want, abs=ROUNDING)


def test_bleu_counts_a_repeated_word_as_often_as_a_reference_has_it():
    """Papineni et al. 2002, section 2.1: of seven "the", two are matched."""
    text, reference = "the the the the the the the", "the cat is on the mat"
    # p_1 = 2/7; the others are 0, and count as (1/2)/6, (1/4)/5 and (1/8)/4
    want = (2 / 7 / 2 / 6 / 4 / 5 / 8 / 4) ** (1 / 4)
    assert bleu([text], [reference], "exp") == pytest.approx(want, rel=ROUNDING)
    assert bleu([text], [reference]) == 0


def test_bleu_punishes_what_is_too_short_and_not_what_is_too_long():
    reference = "a b c d e f"
    assert bleu(["a b c d"], [reference]) == pytest.approx(math.exp(1 - 6 / 4), rel=ROUNDING)
    p = [6 / 8, 5 / 7, 4 / 6, 3 / 5]
    want = math.prod(p) ** (1 / 4)
    assert bleu([reference + " x y"], [reference]) == pytest.approx(want, rel=ROUNDING)


def test_bleu_measures_the_length_by_the_nearest_reference_and_the_shorter_of_two():
    text, longer, shorter = "a b c d e", "a b c d e f g", "a b c"
    far = bleu([text], [[longer]])
    assert far == pytest.approx(math.exp(1 - 7 / 5), rel=ROUNDING)
    assert bleu([text], [[longer, shorter]]) == pytest.approx(1, rel=ROUNDING)


def test_bleu_adds_up_the_corpus_before_it_divides():
    texts, references = ["a b c d", "x"], ["a b c d", "y"]
    assert bleu(texts, references) == pytest.approx((4 / 5) ** (1 / 4), rel=ROUNDING)


@pytest.mark.parametrize("smoothing", ["none", "exp"])
@pytest.mark.parametrize(
    ("texts", "references"),
    [
        ([""], ["a b c d"]),
        (["a b c"], ["a b c"]),
        (["a b c d"], ["w x y z"]),
        (["a b c d"], [""]),
    ],
    ids=["empty", "shorter than four", "nothing matches", "empty reference"],
)
def test_bleu_without_matches_or_four_grams_is_zero(texts, references, smoothing):
    assert bleu(texts, references, smoothing) == 0


CHINESE = ["我喜欢喝茶，也喜欢猫。", "今天天气很好", "他在图书馆看书"]
CHINESE_RIGHT = ["我喜欢喝茶和咖啡，也爱猫。", "今天的天气很好", "她在图书馆里看书"]
UNSPACED = [
    "我喜欢吃苹果和香蕉",
    "私は東京でコーヒーを飲みます",
    "ฉันชอบกินข้าวผัดที่ตลาด",
    "ខ្ញុំចូលចិត្តអានសៀវភៅ",
    "ຂ້ອຍມັກກິນເຂົ້າ",
    "ကျွန်တော်ထမင်းစားချင်တယ်",
]


@pytest.mark.parametrize("measure", [bleu, token_f1])
@pytest.mark.parametrize("text", UNSPACED)
def test_white_space_is_not_taken_to_cut_what_has_none(measure, text):
    """Identical texts of a script without spaces had BLEU 0, and no two words were ever shared."""
    with pytest.raises(InputError, match=r'without spaces.*tokenise="characters".*lists of tokens'):
        measure([text], [text])
    with pytest.raises(InputError, match="references hold"):
        measure(["plain words and more"], [text])
    for tokenise in ("characters", WordTokenizer.split, list):
        assert measure([text], [text], tokenise=tokenise) == pytest.approx(1, rel=ROUNDING)
    cut = " ".join(text)  # the reader says that it is cut
    assert measure([cut], [cut], tokenise="spaces") == pytest.approx(1, rel=ROUNDING)
    assert measure([list(text)], [list(text)]) == pytest.approx(1, rel=ROUNDING)


def test_scripts_with_spaces_are_cut_by_them():
    for text in (
        "a b c d",
        "오늘 아침에 우리는 간다",
        "आज सुबह हम यहाँ हैं",
        "من هر روز می\u200cخوانم",
    ):
        assert bleu([text], [text]) == pytest.approx(1, rel=ROUNDING)
        assert token_f1([text], [text]) == 1


def test_characters_are_those_of_sacrebleu_and_for_chinese_its_zh():
    sacrebleu = pytest.importorskip("sacrebleu")
    options = {"smooth_method": "exp", "force": True}
    for name in ("char", "zh"):
        want = sacrebleu.corpus_bleu(CHINESE, [CHINESE_RIGHT], tokenize=name, **options).score / 100
        found = bleu(CHINESE, CHINESE_RIGHT, "exp", "characters")
        assert found == pytest.approx(want, abs=ROUNDING)
    rng = np.random.default_rng(6)
    for _ in range(50):
        texts, right = (
            ["".join(rng.choice([*"ab我们。 "], 12)) + "x" for _ in "..."] for _ in ".."
        )
        want = sacrebleu.corpus_bleu(texts, [right], tokenize="char", **options).score / 100
        assert bleu(texts, right, "exp", "characters") == pytest.approx(want, abs=ROUNDING)


def test_characters_of_chinese_stored():
    """Stored from sacrebleu 2.6.0, tokenize="zh", smooth_method="exp"."""
    want = 0.41980282003275277
    assert bleu(CHINESE, CHINESE_RIGHT, "exp", "characters") == pytest.approx(want, rel=ROUNDING)


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abc"), max_size=7),
            st.lists(st.lists(st.sampled_from("abc"), max_size=7), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_texts_tokens_and_ids_have_the_same_scores(pairs):
    """Also as tuples, and as arrays; and one reference may stand alone or in a list."""
    predictions, references = ([*part] for part in zip(*pairs, strict=True))
    texts = [" ".join(p) for p in predictions]
    right = [[" ".join(r) for r in several] for several in references]
    number = {"a": 7, "b": 8, "c": 9}
    ids = [np.array([number[w] for w in p], np.int32) for p in predictions]
    right_ids = [[tuple(number[w] for w in r) for r in several] for several in references]
    for measure in (exact_match, lambda p, r: bleu(p, r, "exp")):
        want = measure(texts, right)
        assert measure(predictions, references) == want == measure(ids, right_ids)
    first = [several[0] for several in references]
    assert bleu(predictions, first) == bleu(predictions, [[one] for one in first])
    assert token_f1(ids, right_ids) == token_f1(predictions, references)


def test_the_best_of_several_right_answers_counts():
    found, right = ["Paris", "a dog", 4], [["paris", "Paris"], "a cat", [3, 4]]
    assert exact_match(found, right) == 2 / 3
    several = [["the old cellar", "kitchen"], ["attic"]]
    assert token_f1(["cellar", "kitchen"], several) == pytest.approx((2 / 3 + 0) / 2, rel=ROUNDING)
    assert token_f1(["", "x"], [["x", ""], ["y"]]) == 1 / 2


def test_exact_match_of_arrays_of_ids_is_one_number():
    one = np.array([[1, 2, 3], [4, 5, 6]])
    assert exact_match([np.array([1, 2])], [np.array([1, 2])]) == 1.0
    assert exact_match(one, [[1, 2, 3], [4, 5, 7]]) == exact_match(one[:, 2], [3, 7]) == 1 / 2
    assert exact_match([np.array([1, 2])], [np.array([1, 2, 3])]) == 0
    assert exact_match([one[0]], [[one[1], one[0]]]) == 1
    assert type(exact_match(one, one)) is float
    assert exact_match((text for text in ["a", "b"]), iter(["a", "c"])) == 1 / 2
    assert exact_match([[], ["a"]], [[], [[], ["a"]]]) == 1


@pytest.mark.parametrize("measure", [exact_match, bleu, token_f1])
def test_answers_that_could_never_be_equal_are_refused(measure):
    for found, right in (
        ([3], ["3"]),
        (["3"], [3]),
        ([["a"]], ["a"]),
        (["a"], [[["a"]]]),
        ([[1, 2]], [["1", "2"]]),
        ([None], [None]),
        ([math.nan], [math.nan]),
        ([[1.0, math.nan]], [[1.0, math.nan]]),
        ([b"a"], [b"a"]),
        ([{"a": 1}], [{"a": 1}]),
        ([[["a"]]], [[["a"]]]),
    ):
        with pytest.raises(InputError, match=r"predictions|references"):
            measure(found, right)
    for answers in ("abc", b"abc", {"a": "b"}, {"a"}, 5, None, np.array(5), math.nan):
        with pytest.raises(InputError, match="predictions must be a list of answers"):
            measure(answers, ["a"])
        with pytest.raises(InputError, match="references must be a list of answers"):
            measure(["a"], answers)


def test_bleu_and_token_f1_refuse_what_has_no_tokens():
    for measure in (bleu, token_f1):
        with pytest.raises(InputError, match="predictions must hold texts or lists of tokens"):
            measure([3], [3])
        with pytest.raises(InputError, match="tokenise must be one of spaces, characters"):
            measure(["a b"], ["a b"], tokenise="words")


@pytest.mark.parametrize(
    ("predictions", "targets", "message"),
    [
        (["1"], [1], "both be numbers, or both strings, not <U1 and int64"),
        ([1], ["1"], "both be numbers, or both strings"),
        ([math.nan], [0], "predictions hold nan"),
        ([0.0], [math.nan], "targets hold nan"),
        ([[0.2, 0.8]], [1], r"argmax\(axis=-1\)"),
        ([[1, 2], [3]], [[1, 2], [3]], "rows of equal length"),
        ([None], [None], "both be numbers"),
        (3, [3], "same shape"),
    ],
)
def test_classes_that_cannot_be_compared_are_rejected(predictions, targets, message):
    with pytest.raises(InputError, match=message):
        accuracy(predictions, targets)


def test_classes_may_be_named_and_of_any_integer_type():
    assert accuracy(["cat", "dog"], ["cat", "cow"]) == 1 / 2
    for dtype in (np.uint8, np.int8, ">u2", np.uint64):
        classes = np.array([0, 1, 2, 1], dtype)
        assert accuracy(classes, classes.astype(np.int64)) == 1
        assert confusion_matrix(classes, classes, 3).tolist() == np.diag([1, 2, 1]).tolist()
    for n_classes in (0, -1, 2.5, "3", None):
        with pytest.raises(InputError, match="n_classes must be a whole number"):
            confusion_matrix([0], [0], n_classes)


def test_answers_are_compared_without_case_articles_punctuation_and_spare_spaces():
    assert normalise_answer(" The  Kitchen, of\tAnna's theatre! ") == "kitchen of annas theatre"
    assert normalise_answer("a An THE") == ""


def test_token_f1_by_hand():
    """The second: 2 common tokens of 3 and 4; the third: "b" is common twice, of 3 and 2."""
    found = ["The kitchen", "old back yard", "b b b", "garden", ""]
    wanted = ["kitchen.", "the back yard behind it", "b b", "cellar", "office"]
    want = (1 + 2 * 2 / 7 + 2 * 2 / 5 + 0 + 0) / 5
    assert token_f1(found, wanted) == pytest.approx(want, rel=ROUNDING)


def test_token_f1_of_no_answer_where_there_is_none_is_one():
    assert token_f1(["", "the", "x"], ["", "", ""]) == pytest.approx(2 / 3, rel=ROUNDING)


@pytest.mark.parametrize("measure", [exact_match, bleu, token_f1])
def test_texts_that_cannot_be_compared_are_rejected(measure):
    with pytest.raises(InputError, match="2 predictions and 1 references"):
        measure(["a", "b"], ["a"])
    with pytest.raises(InputError, match="nothing to measure"):
        measure([], [])
    with pytest.raises(InputError, match="predictions must be a list"):
        measure("abc", ["a", "b", "c"])
    with pytest.raises(InputError, match="references must be a list"):
        measure(["a", "b", "c"], "abc")


def test_bleu_refuses_a_text_without_references_and_an_unknown_smoothing():
    with pytest.raises(InputError, match="'a b', has no reference"):
        bleu(["a b"], [[]])
    with pytest.raises(InputError, match="smoothing must be one of none, exp, not 'floor'"):
        bleu(["a"], ["a"], "floor")
