"""arguments.py: what is passed is converted, or named; and ids are np.intp wherever they enter."""

import math
from copy import deepcopy

import numpy as np
import pytest

from numpylm import arguments, arrays, blocks, ops
from numpylm.arguments import (
    array,
    as_ids,
    as_texts,
    check_ids,
    check_mask,
    generator,
    number,
    shaped,
    whole,
)
from numpylm.attention_lm import AttentionLM
from numpylm.bert import BERTForMaskedLM, mask_tokens
from numpylm.bert_heads import best_span
from numpylm.checks.gradient_cases import block_cases, op_cases
from numpylm.corpora import bigram_nats, unigram_nats
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.metrics import evaluate, token_nats
from numpylm.model import Parameters
from numpylm.ops import IGNORE
from numpylm.optim import SGD, Adam
from numpylm.sampling import (
    GenerateConfig,
    generate_ids,
    next_probabilities,
    sample_token,
    score,
)
from numpylm.transformer import Transformer
from numpylm.translate import beam_search, target_nats

CASES = [*op_cases(), *block_cases()]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


# ---- arrays of numbers -----------------------------------------------------------------------


def test_an_array_of_the_right_dtype_is_passed_on_as_it_is():
    for dtype in (np.float32, np.float64, np.complex64, np.complex128):
        x = np.ones((2, 3), dtype)
        assert array("x", x) is x and array("x", x, (2, 3)) is x


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1, 2], np.float64),
        ([[1.5, 2]], np.float64),
        ((1j, 2), np.complex128),
        (3, np.float64),
        (np.float32(3), np.float32),
        (np.array([1, 2], np.uint8), np.float64),
        (np.array([1, 2], ">f4"), np.float32),
        (np.array([1, 2], ">c16"), np.complex128),
    ],
)
def test_lists_whole_numbers_and_foreign_byte_orders_are_converted(value, dtype):
    x = array("x", value)
    assert type(x) is np.ndarray and x.dtype == dtype and x.dtype.isnative
    np.testing.assert_array_equal(x, np.asarray(value))


WRONG = {
    "text": ("abc", "x must be an array of numbers, not of dtype <U3"),
    "booleans": (np.array([True]), "x must be an array of numbers, not of dtype bool"),
    "nothing": (None, "x must be an array of numbers, not NoneType"),
    "an object": (object(), "x must be an array of numbers, not object"),
    "a dict": ({"a": 1}, "x must be an array of numbers, not dict"),
    "ragged": ([[1.0, 2.0], [3.0]], "x must be rows of equal length: cut or pad them"),
    "half": (np.ones(2, np.float16), "x is float16: use float32 to train, float64 to check"),
    "masked": (
        np.ma.masked_array([1.0, 2.0], [True, False]),
        "x is a masked array, whose mask would be ignored: pass x.filled(...)",
    ),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "x must be an array of numbers, not of dtype"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_be_misread_is_named(kind):
    value, message = WRONG[kind]
    with pytest.raises(InputError) as error:
        array("x", value)
    assert str(error.value).startswith(message)
    if value is not None:
        with pytest.raises(InputError) as error:
            shaped("op: y (C), x (C)", np.ones(2), value)
        assert str(error.value).startswith(message)


def test_another_shape_is_named():
    with pytest.raises(InputError, match=r"^dy has shape \(2, 3\); expected \(3, 2\)$"):
        array("dy", np.ones((2, 3)), (3, 2))


SIGNATURE = "op: x (..., I), w (I, O), b (O) or None"


@pytest.mark.parametrize(
    "shapes",
    [
        ((3,), (3, 4), (4,)),
        ((2, 5, 3), (3, 4), (4,)),
        ((2, 3), (3, 4), None),
        ((0, 3), (3, 1), (1,)),
    ],
)
def test_shapes_that_fit_are_passed_on(shapes):
    values = [None if shape is None else np.ones(shape) for shape in shapes]
    for _ in range(2):  # the second time from memory
        assert all(a is b for a, b in zip(shaped(SIGNATURE, *values), values, strict=True))


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 4), (3, 4), (4,)),
        ((2, 3), (3, 4), (3,)),
        ((), (3, 4), None),
        ((2, 3), (3,), None),
        ((2, 3), (1, 3, 4), None),
        ((2, 3), (3, 4), (1, 4)),
        ((2, 0), (0, 4), None),
        ((2, 3), (3, 0), None),
        (None, (3, 4), None),
        ((2, 3), None, None),
    ],
)
def test_shapes_that_do_not_fit_are_shown_with_what_was_expected(shapes):
    values = [None if shape is None else np.ones(shape) for shape in shapes]
    for _ in range(2):
        with pytest.raises(InputError) as error:
            shaped(SIGNATURE, *values)
        given = ", ".join(f"{n} {s}" for n, s in zip("xwb", shapes, strict=True))
        assert str(error.value) == f"op: {given} do not fit; expected {SIGNATURE[4:]}"


def test_leading_axes_are_the_same_for_all():
    signature = "op: q (..., T, D), k (..., S, D)"
    shaped(signature, np.ones((2, 3, 4)), np.ones((2, 5, 4)))
    for other in ((5, 4), (1, 5, 4), (3, 5, 4), (2, 2, 5, 4)):
        with pytest.raises(InputError, match="do not fit"):
            shaped(signature, np.ones((2, 3, 4)), np.ones(other))


# ---- masks and numbers -----------------------------------------------------------------------


def test_a_mask_may_be_a_list_of_booleans_and_nothing_else():
    assert check_mask(None, (2, 3)) is None
    assert check_mask([True, False, True], (2, 3)).dtype == bool
    for wrong in ([1, 0, 1], np.ones(3), "abc", [], np.ma.masked_array([True] * 3, [1, 0, 0])):
        with pytest.raises(InputError, match=r"^mask "):
            check_mask(wrong, (2, 3))
    for shape in ((2,), (1, 2, 3), (3, 3), (2, 2)):
        with pytest.raises(InputError, match=r"must broadcast to the scores \(2, 3\)"):
            check_mask(np.ones(shape, bool), (2, 3))


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.array(0.5), np.int64(1)])
def test_a_number_is_any_real_number(value):
    assert number("x", value, at_least=0, at_most=1) == value
    assert type(number("x", value)) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, True, None, "1", [1.0], np.ones(1), 1j])
def test_what_is_no_finite_number_is_named(value):
    with pytest.raises(InputError, match=r"^x must be a finite number, not "):
        number("x", value)


def test_a_number_out_of_its_bounds_is_told_all_of_them():
    with pytest.raises(InputError, match=r"^x must be above 0 and below 1, not 1\.0$"):
        number("x", 1.0, above=0, below=1)
    with pytest.raises(InputError, match=r"^n must be at least 1, not 0$"):
        whole("n", 0, at_least=1)
    assert whole("n", np.uint8(200), at_least=1) + 100 == 300
    for wrong in (1.0, "1", None, True, [1]):
        with pytest.raises(InputError, match=r"^n must be an integer, not "):
            whole("n", wrong)


def test_a_seed_is_no_generator():
    with pytest.raises(InputError, match=r"^rng must be a numpy.random.Generator"):
        generator("rng", 0)
    with pytest.raises(InputError, match=r"^rng must be a numpy.random.Generator"):
        ops.dropout_forward(np.ones(3), 0.5, 0)


# ---- every op and every block ----------------------------------------------------------------


def floats_of(case):
    return [i for i, arg in enumerate(case.args) if is_float(arg)]


def is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


@every_case
def test_an_op_takes_lists_and_gives_what_it_gives_for_arrays(case):
    y, cache = case.forward(*deepcopy(case.args))
    lists = [a.tolist() if isinstance(a, np.ndarray) else deepcopy(a) for a in case.args]
    y_of_lists, cache_of_lists = case.forward(*lists)
    np.testing.assert_array_equal(y_of_lists, y)
    dy = np.random.default_rng(0).normal(size=np.shape(y))[()]
    expected, found = case.backward(dy, cache), case.backward(dy.tolist(), cache_of_lists)
    np.testing.assert_equal(found, expected)


@every_case
def test_whole_numbers_give_what_they_give_as_floats(case):
    args = deepcopy(case.args)
    rounded = [np.rint(3 * abs(a) + 1) if is_float(a) else a for a in args]
    whole_numbers = [a.astype(np.int16) if is_float(a) else deepcopy(a) for a in rounded]
    np.testing.assert_array_equal(case.forward(*whole_numbers)[0], case.forward(*rounded)[0])


@every_case
@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "nothing"])
def test_what_an_op_would_misread_is_an_input_error(case, kind):
    for i in floats_of(case):
        args = deepcopy(list(case.args))
        args[i] = deepcopy(WRONG[kind][0])
        if kind in ("half", "masked"):
            args[i] = case.args[i].astype(np.float16)
            if kind == "masked":
                args[i] = np.ma.masked_array(case.args[i], case.args[i] > 0)
        with pytest.raises(InputError):
            case.forward(*args)


ELEMENTWISE = ("gelu", "gelu_exact", "relu", "tanh", "dropout", "silu")


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.op not in ELEMENTWISE], ids=lambda case: case.name
)
def test_a_shape_that_does_not_fit_is_an_input_error(case):
    """A column less, twice the columns, one number, rows of nothing."""
    floats = floats_of(case)
    for i in floats:
        x = case.args[i]
        others = [np.float64(0.5), x[..., :0]]
        if i == 0 and len(floats) > 1:  # alone, or as the last, it may have any width
            others += [x[..., :-1], np.concatenate([x, x], axis=-1)]
        for other in others:
            args = [*deepcopy(case.args[:i]), other, *deepcopy(case.args[i + 1 :])]
            with pytest.raises(InputError):
                case.forward(*args)


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.variant != "evaluation" and c.op != "rotary"],  # these take any batch
    ids=lambda case: case.name,
)
def test_an_upstream_gradient_of_another_shape_or_kind_is_an_input_error(case):
    y, cache = case.forward(*deepcopy(case.args))
    dy = np.ones(np.shape(y))
    wrong = ["dy", None, {}, dy[..., None], np.ma.masked_array(dy, dy > 0) if dy.ndim else [1, 2]]
    if dy.ndim:
        wrong += [dy[:1], dy[..., :1], np.float64(1), dy.astype(np.float16)]
        wrong += [dy.ravel()] if dy.ndim > 1 else []
    for other in wrong:
        with pytest.raises(InputError):
            case.backward(other, cache)


@every_case
def test_an_option_of_another_kind_is_an_input_error(case):
    for i, arg in enumerate(case.args):
        if isinstance(arg, int | float) and not isinstance(arg, bool):
            negative = -1
            for wrong in (None, "1", [1], 1j, math.nan, negative, np.ones(2)):
                scale = "attention" in case.op or case.op == "low_rank"
                if scale and isinstance(arg, float) and wrong is negative:
                    continue  # a scale may have any sign
                with pytest.raises(InputError):
                    case.forward(*case.args[:i], wrong, *case.args[i + 1 :])
        if isinstance(arg, str):
            for wrong in (None, "no such", [arg], 1):
                with pytest.raises(InputError, match=r"^\w+ must be one of"):
                    case.forward(*case.args[:i], wrong, *case.args[i + 1 :])


# ---- ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">u2", ">i8"])
def test_ids_of_every_integer_dtype_become_intp(dtype):
    ids = as_ids("ids", np.array([[1, 100], [2, 3]], dtype))
    assert ids.dtype == np.intp and ids.dtype.isnative and type(ids) is np.ndarray
    assert ids.tolist() == [[1, 100], [2, 3]]


def test_ids_may_be_lists_numbers_and_files(tmp_path):
    np.array([1, 2, 65_000], np.uint16).tofile(tmp_path / "ids.bin")
    memmap = np.memmap(tmp_path / "ids.bin", np.uint16, "r")
    for ids in (memmap, [1, 2, 65_000], (1, 2, 65_000), [np.int8(1), 2, 65_000]):
        found = as_ids("ids", ids)
        assert found.dtype == np.intp and found.tolist() == [1, 2, 65_000]
    assert as_ids("ids", 3).shape == ()
    assert as_ids("ids", []).dtype == np.intp
    same = np.array([1, 2], np.intp)
    assert as_ids("ids", same) is same


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.0, 2.0], "ids must be integers, not float64$"),
        ([True, False], "ids must be integers, not bool$"),
        ("abc", "ids must be integers, not <U3: encode text with a tokenizer$"),
        (["S1", "S2"], "ids must be integers, not <U2: encode text"),
        (None, "ids must be integers, not object"),
        ([1, None], "ids must be integers, not object"),
        ([[1, 2], [3]], "ids must be rows of equal length: cut or pad them$"),
        ([2**70], "ids must be integers, not object"),
        (np.array([2**63], np.uint64), f"ids must be ids of a vocabulary; found {2**63}$"),
        (np.ma.masked_array([1, 2], [True, False]), "ids is a masked array"),
        (1j, "ids must be integers, not complex128$"),
    ],
)
def test_what_is_no_ids_is_named(ids, message):
    with pytest.raises(InputError, match=f"^{message}"):
        as_ids("ids", ids)


def test_a_text_has_an_axis():
    with pytest.raises(InputError, match=r"not 3$"):
        as_texts(3)


def test_ids_in_a_range_or_equal_to_the_one_that_is_ignored():
    assert check_ids("ids", [0, 6, -5], 7, ignore=-5).tolist() == [0, 6, -5]
    for wrong, shown in (([0, 7], 7), ([-1, 0], -1), ([-6, -5], -6)):
        with pytest.raises(InputError, match=rf"\[0, 7\), the kinds; found {shown}$"):
            check_ids("ids", wrong, 7, -5, "the kinds")
    with pytest.raises(InputError, match=r"ids are empty, of shape \(2, 0\)"):
        check_ids("ids", np.zeros((2, 0), int), 7)


# ---- where ids enter -------------------------------------------------------------------------

NARROW = ["u1", "i1", "u2", ">u2", "i4", "u8", ">i8"]
narrow = pytest.mark.parametrize("dtype", NARROW)
V = 100


@pytest.fixture(params=["as on this machine", "as with 32 bits"])
def width(request, monkeypatch):
    """np.intp has 32 bits on 32-bit platforms, WebAssembly among them."""
    if request.param == "as with 32 bits":
        monkeypatch.setattr(arguments, "IDS", np.dtype(np.int32))
        monkeypatch.setattr(arguments, "UNSIGNED", np.dtype(np.uint32))


def ids_of(shape=(3, 6), seed=0):
    return np.random.default_rng(seed).integers(3, V, shape)


def model_of(kind, **options):
    return kind(kind.Config(vocab_size=V, **options), np.random.default_rng(0), np.float64)


@narrow
def test_the_models_see_the_same_ids_in_every_dtype(dtype, width):
    ids, targets = ids_of(), ids_of(seed=1)
    targets[0, :2] = IGNORE if "u" not in dtype else 4
    for model in (
        model_of(AttentionLM, context_length=6, width=4),
        model_of(GPT, context_length=6, width=8, heads=2, layers=1),
        model_of(BERTForMaskedLM, context_length=6, width=8, heads=2, layers=1),
    ):
        expected, cache = model.loss(ids, targets)
        signed = dtype if "u" in dtype else dtype.replace("i1", "i2")
        loss, narrow_cache = model.loss(ids.astype(dtype), targets.astype(signed))
        assert loss == expected
        np.testing.assert_array_equal(
            model.loss_backward(narrow_cache).flat, model.loss_backward(cache).flat
        )


@narrow
def test_the_sentinel_of_a_translation_does_not_wrap(dtype, width):
    """In uint8 −100 is 156, a word of the vocabulary."""
    model = Transformer(
        Transformer.Config(vocab_size=200, context_length=5, width=8, layers=1, heads=2),
        np.random.default_rng(0),
    )
    source = np.array([[5, 6, 7, 0], [4, 5, 0, 0]], dtype)
    target = np.array([[1, 5, 6, 2, 0], [1, 4, 2, 0, 0]], dtype)
    assert float(model.loss(source, target)[0]) == pytest.approx(5.378, abs=5e-4)
    nats = target_nats(model, source, target)
    np.testing.assert_array_equal(nats, target_nats(model, source.tolist(), target.tolist()))
    assert nats.sum() / 5 == pytest.approx(5.378, abs=5e-4)  # 3 + 2 tokens are predicted
    found = beam_search(model, source, width=2, max_tokens=3)
    assert [f.ids.tolist() for f in found] == [
        f.ids.tolist() for f in beam_search(model, source.tolist(), width=2, max_tokens=3)
    ]


@narrow
def test_counts_and_scores_do_not_wrap(dtype, width):
    train, heldout = ids_of((500,)), ids_of((60,), 1)
    for nats in (unigram_nats, bigram_nats):
        expected = nats(train, heldout, V)
        assert nats(train.astype(dtype), heldout.astype(dtype), V) == expected
    large = np.array([50_303, 50_302, 50_303, 1], np.uint16)
    pairs = bigram_nats(large, large, 50_304)
    assert pairs == bigram_nats(large.astype(np.int64), large.astype(np.int64), 50_304)
    model = model_of(GPT, context_length=6, width=8, heads=2, layers=1)
    text = ids_of((6,))
    np.testing.assert_array_equal(score(model, text.astype(dtype)), score(model, text))
    logits, targets = np.random.default_rng(0).normal(size=(3, V)), ids_of((3,))
    for a, b in zip(
        token_nats(logits, targets.astype(dtype)), token_nats(logits, targets), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    batch, same = (ids_of(), ids_of(seed=1)), (ids_of().astype(dtype), ids_of(seed=1).astype(dtype))
    assert evaluate(model, [same]) == evaluate(model, [batch])


def test_ids_index_as_intp(monkeypatch):
    """Where addresses have 32 bits NumPy's take and bincount refuse int64."""
    seen = []
    right = arrays.sum_by_id

    def watched(x, ids, size):
        seen.append(ids.dtype)
        return right(x, ids, size)

    monkeypatch.setattr(ops, "sum_by_id", watched)
    _, cache = ops.embedding_forward(np.ones((300, 2)), np.array([1, 2], np.int64))
    ops.embedding_backward(np.ones((2, 2)), cache)
    _, cache = ops.embedding_forward(np.ones((300, 2)), np.array([1, 2], np.uint16))
    ops.embedding_backward(np.ones((2, 2)), cache)
    _, cache = ops.cross_entropy_forward(np.ones((2, 3)), np.array([1, 2], np.uint8))
    assert {*seen, cache.y.dtype} == {np.dtype(np.intp)}


# ---- options of what is made of the ops ------------------------------------------------------

IDS = np.array([[1, 2, 3], [4, 5, 6]])
RNG = np.random.default_rng


def transformer():
    return model_of(Transformer, context_length=6, width=4, heads=2, layers=1)


DOORS = {
    "width": lambda x: beam_search(transformer(), IDS, x),
    "length_penalty": lambda x: beam_search(transformer(), IDS, 2, x),
    "max_tokens": lambda x: beam_search(transformer(), IDS, 2, 0.6, x),
    "rate": lambda x: mask_tokens(IDS, RNG(0), 8, 9, (), x),
    "vocab_size": lambda x: mask_tokens(IDS, RNG(0), 8, x),
    "vocab_size of pairs": lambda x: bigram_nats(IDS, IDS, x),
    "mask_id": lambda x: mask_tokens(IDS, RNG(0), x, 9),
    "rng": lambda x: mask_tokens(IDS, x, 8, 9),
    "rng of a prompt": lambda x: generate_ids(transformer(), [1], GenerateConfig(tokens=1), x),
    "rng of a token": lambda x: sample_token(np.ones(1), x),
    "p": lambda x: sample_token(x, RNG(0)),
    "logits": next_probabilities,
    "logits of a span": best_span,
    "state": lambda x: Adam(Parameters({"w": (2,)})).load_state(x),
    "decayed": lambda x: SGD(Parameters({"w": (2,)}), decayed=x),
    "dtype": lambda x: ops.sinusoidal_positions(3, 4, x),
    "T": lambda x: ops.causal_mask(x),
    "B": lambda x: blocks.KeyValueCache(1, x, 4, 6, np.float32),
    "padding": lambda x: blocks.KeyValueCache(1, 2, 4, 6, np.float32, x),
    "heads": lambda x: blocks.check_heads(4, x),
    "target": lambda x: target_nats(transformer(), IDS, x),
    "source": lambda x: transformer().encode(x),
}


@pytest.mark.parametrize(
    "wrong", ["no", 2.5, 1j, [], [[1], [2, 3]], {1: 2}, -1, math.nan, object()]
)
@pytest.mark.parametrize("door", DOORS)
def test_a_wrong_kind_is_named_at_every_door(door, wrong):
    if door == "length_penalty" and wrong == 2.5:
        return
    if door == "decayed" and wrong == []:
        return
    with pytest.raises(InputError) as error:
        DOORS[door](wrong)
    assert "\n" not in str(error.value)
