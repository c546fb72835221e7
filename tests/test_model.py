"""model.py: parameters stay views of one vector, and a checkpoint is whole or is refused."""

import copy
import inspect
import json
import os
import pickle
import struct
import textwrap
import tracemalloc
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from numpylm import ops
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.bert import BERTForMaskedLM
from numpylm.bert_heads import BERTForClass, BERTForSpan
from numpylm.checkpoints import load_checkpoint, save_checkpoint, write_whole
from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.gradcheck import check_model
from numpylm.model import Model, ModelConfig, NonFinite, Parameters, first_non_finite
from numpylm.optim import SGD
from numpylm.transformer import Transformer

SHAPES = {"E": (5, 3), "gain": (3,), "scale": (), "U": (3, 2)}


@pytest.fixture
def params():
    params = Parameters(SHAPES, np.float64)
    params.flat[:] = np.arange(params.flat.size)
    return params


# ---- the loss --------------------------------------------------------------------------------


def test_f5_the_loss_and_its_gradient_never_hold_three_arrays_of_all_logits():
    config = AttentionLMConfig(vocab_size=20_000, context_length=8, width=2)
    model = AttentionLM(config, np.random.default_rng(0))
    ids = np.random.default_rng(1).integers(20_000, size=(16, 8))
    logits = 4 * ids.size * config.vocab_size
    tracemalloc.start()
    try:
        _, cache = model.loss(ids, ids)
        forward = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        model.loss_backward(cache)
        backward = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 2 * logits <= forward < 2.5 * logits and 2 * logits <= backward < 2.5 * logits


# ---- making one ------------------------------------------------------------------------------

KINDS = (AttentionLM, GPT, BERTForMaskedLM, BERTForClass, BERTForSpan, Transformer)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_default_and_may_be_given_by_its_name(kind):
    assert kind().config == kind.Config()
    config = kind.Config(vocab_size=9, context_length=5)
    models = [
        kind(vocab_size=9, context_length=5),
        kind(config),
        kind(config, np.random.default_rng(0), np.float32),
        kind(kind.Config(vocab_size=9), context_length=5),
        kind(vocab_size=9, context_length=5, rng=np.random.default_rng(0)),
    ]
    for model in models:
        assert model.config == config and model.params.flat.dtype == np.float32
        np.testing.assert_array_equal(model.params.flat, models[0].params.flat)
    other = kind(config, np.random.default_rng(1), np.float64)
    assert other.params.flat.dtype == np.float64
    assert not np.allclose(other.params.flat, models[0].params.flat)


@pytest.mark.parametrize(
    ("args", "fields", "message"),
    [
        (
            (),
            {"layer": 2},
            r"GPTConfig .* 'layer' \(did you mean layers\?\); it has vocab_size",
        ),
        ((), {"n_embd": 8}, r"no option 'n_embd' \(did you mean width\?\)"),
        ((GPTConfig(),), {"dropuot": 0.1}, r"no option 'dropuot' \(did you mean dropout\?\)"),
        ((), {"width": 30}, "width 30 cannot be shared by 4 heads"),
        ((65,), {}, r"config must be a GPTConfig, not 65: .* GPT\(vocab_size=65\)"),
        ((AttentionLMConfig(),), {}, "config must be a GPTConfig, not AttentionLMConfig"),
        ((GPTConfig(), 0), {}, r"rng must be like numpy.random.default_rng\(0\), not 0"),
        ((GPTConfig(), np.random), {}, "rng must be like"),
        ((), {"dtype": int}, "dtype must be of floats, as numpy.float32, not int64"),
    ],
)
def test_what_makes_no_model_is_refused_by_name(args, fields, message):
    with pytest.raises(InputError, match=message):
        GPT(*args, **fields)


def test_a_model_says_its_sizes_and_what_differs_from_the_defaults():
    assert repr(GPT(layers=2, vocab_size=65)) == (
        "GPT(vocab_size=65, context_length=64, layers=2, heads=4, width=128, "
        "413,312 parameters, float32)"
    )
    assert repr(AttentionLM(context="last", dtype=np.float64)) == (
        "AttentionLM(vocab_size=64, context_length=8, width=32, context='last', "
        "2,048 parameters, float64)"
    )


# ---- a model of the reader's own -------------------------------------------------------------


def of_the_docstring():
    """The model that the docstring of Model shows, made from its text."""
    lines = inspect.getdoc(Model).splitlines()
    start = lines.index("    class Bigram(Model):")
    stop = lines.index("            return grads") + 1
    made = {"Model": Model, "ops": ops}
    exec(textwrap.dedent("\n".join(lines[start:stop])), made)
    assert stop - start <= 12
    return made["Bigram"]


Bigram = of_the_docstring()


class Unlike(Bigram):
    """Made from something else than a config."""

    def __init__(self, words):
        super().__init__(vocab_size=len(words), dtype=np.float64)
        self.words = words


@dataclass(frozen=True)
class NormedConfig(ModelConfig):
    """with a field of its own, and a deviation"""

    width: int = 3
    init_std: float = 1.0


class Normed(Model):
    """p(w) = softmax(norm(E[x]) U): vectors, and a Config of its own"""

    Config = NormedConfig

    @staticmethod
    def shapes(config):
        V, C = config.vocab_size, config.width
        return {"E": (V, C), "norm.gain": (C,), "norm.bias": (C,), "U": (C, V), "b": (V,)}

    def forward(self, ids, rng=None):
        p = self.params
        e, embedding = ops.embedding_forward(p["E"], ids)
        y, norm = ops.layer_norm_forward(e, p["norm.gain"], p["norm.bias"])
        logits, linear = ops.linear_forward(y, p["U"], p["b"])
        return logits, (embedding, norm, linear)

    def backward(self, dlogits, cache):
        embedding, norm, linear = cache
        grads = self.params.like()
        dy, grads["U"], grads["b"] = ops.linear_backward(dlogits, linear)
        de, grads["norm.gain"], grads["norm.bias"] = ops.layer_norm_backward(dy, norm)
        grads["E"] = ops.embedding_backward(de, embedding)
        return grads


OWN_IDS, OWN_TARGETS = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]]), np.array([[6, 1, 2, 4, 1]] * 2)


@pytest.mark.parametrize("kind", [Bigram, Normed])
def test_the_smallest_model_of_a_readers_own_passes_the_checks_and_learns(kind):
    model = kind(vocab_size=7, dtype=np.float64)
    report = check_model(order_one(model.astype(np.float64)), (OWN_IDS, OWN_TARGETS))
    assert report.passed, f"\n{report}"
    optimizer, losses = SGD(model.params), []
    for _ in range(50):
        loss, cache = model.loss(OWN_IDS, OWN_TARGETS)
        optimizer.step(model.loss_backward(cache), 1.0)
        losses.append(loss)
    assert losses[-1] < 0.7 * losses[0]
    assert model.next_logits(OWN_IDS).shape == (2, 7)
    assert model.attention_maps(model.forward(OWN_IDS)[1]) == {}


def test_a_model_made_in_its_own_way_is_checked_and_copied_like_any_other():
    model = order_one(Unlike(list("abcdefg")))
    assert check_model(model, (OWN_IDS, OWN_TARGETS)).passed
    twin = model.astype(np.float32)
    assert twin.words is model.words and twin.params.flat.dtype == np.float32
    np.testing.assert_allclose(twin.params.flat, model.params.flat, rtol=1e-6)


@pytest.mark.parametrize("kind", [AttentionLM, Transformer, Bigram])
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copied_or_pickled_parameters_are_views_of_a_vector_of_their_own(kind, copied):
    params = kind(vocab_size=7).params
    twin = copied(params)
    np.testing.assert_array_equal(twin.flat, params.flat)
    assert twin.shapes == params.shapes
    twin.flat += 1
    for name, view in twin.items():
        np.testing.assert_allclose(view, params[name] + 1, rtol=1e-6)
    model = copy.deepcopy(kind(vocab_size=7))
    model.params.flat[...] = 0
    assert not any(view.any() for view in model.params.values())


def test_a_shape_that_is_no_tuple_is_refused_by_name():
    with pytest.raises(InputError, match=r"the shape of b must be a tuple, as \(3,\)"):
        Parameters({"E": (2, 3), "b": 3})


def test_a_wrong_backward_of_a_readers_own_is_seen():
    class Wrong(Bigram):
        def backward(self, dlogits, cache):
            return super().backward(2 * dlogits, cache)

    model = order_one(Wrong(vocab_size=7, dtype=np.float64))
    assert not check_model(model, (OWN_IDS, OWN_TARGETS)).passed


def test_parameters_are_drawn_by_what_they_are_where_a_model_does_not_say_how():
    model = Normed(vocab_size=300, width=40)
    p, table = model.params, Bigram(vocab_size=300).params["table"]
    assert (p["norm.gain"] == 1).all() and not p["norm.bias"].any() and not p["b"].any()
    assert p["U"].std() == pytest.approx(1.0, rel=0.05)
    assert table.std() == pytest.approx(0.02, rel=0.05) and abs(table.mean()) < 1e-3


# ---- parameters ------------------------------------------------------------------------------


def test_parameters_say_their_sizes():
    assert repr(AttentionLM().params) == "Parameters(2,048 numbers, float32, 1 array: E (64, 32))"
    assert repr(Parameters(SHAPES)) == (
        "Parameters(25 numbers, float32, 4 arrays: E (5, 3), gain (3,), scale (), U (3, 2))"
    )
    assert repr(GPT(layers=2, vocab_size=65).params) == (
        "Parameters(413,312 numbers, float32, 28 arrays: "
        "E (65, 128), P (64, 128), …, norm.bias (128,))"
    )


def test_every_parameter_is_a_view_into_the_vector_in_the_order_of_the_names(params):
    assert params.flat.tolist() == list(range(15 + 3 + 1 + 6))
    assert list(params) == list(SHAPES)
    assert len(params) == 4
    assert params.shapes == SHAPES
    assert params["E"].tolist() == np.arange(15).reshape(5, 3).tolist()
    assert params["scale"] == 18
    params.flat *= 2
    assert params["U"].tolist() == [[38, 40], [42, 44], [46, 48]]
    params["gain"][1] = -1
    assert params.flat[16] == -1


@pytest.mark.parametrize("name", SHAPES)
def test_setting_a_parameter_copies_into_the_view_and_never_rebinds_it(name, params):
    view, value = params[name], np.full(SHAPES[name], 7.0)
    params[name] = value
    assert params[name] is view
    assert np.shares_memory(params[name], params.flat)
    assert not np.shares_memory(params[name], value)
    assert np.sum(params.flat == 7.0) >= value.size
    assert (view == 7.0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_adding_in_place_reaches_the_vector_once(name, params):
    view, before = params[name], params[name].copy()
    params[name] += 0.5
    assert params[name] is view
    np.testing.assert_array_equal(view, before + 0.5)
    assert params.flat.sum() == sum(range(25)) + 0.5 * before.size


@pytest.mark.parametrize("value", [np.zeros((3, 5)), np.zeros(3), np.zeros((1, 5, 3)), 1.0])
def test_a_value_of_another_shape_is_refused_and_nothing_is_broadcast(value, params):
    before = params.flat.copy()
    with pytest.raises(InputError) as error:
        params["E"] = value
    assert str(error.value) == f"E has shape (5, 3); it cannot take {np.shape(value)}"
    np.testing.assert_array_equal(params.flat, before)


def test_a_name_that_is_not_there_is_a_key_error(params):
    with pytest.raises(KeyError):
        params["W"]
    with pytest.raises(KeyError):
        params["W"] = np.zeros(3)


def test_a_twin_has_the_same_layout_and_zeros_of_its_own(params):
    twin = params.like()
    assert twin.shapes == params.shapes
    assert twin.flat.dtype == params.flat.dtype
    assert not twin.flat.any()
    twin.flat[:] = 1
    assert params.flat[0] == 0
    assert Parameters(SHAPES).like().flat.dtype == np.float32


def test_loading_copies_every_tensor_in_whatever_order_and_dtype_they_come(params):
    views = dict(params)
    params.load({name: np.full(SHAPES[name], 3, np.float32) for name in reversed(SHAPES)})
    assert (params.flat == 3).all()
    assert all(params[name] is view for name, view in views.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("gain"), r"lacks the tensors \['gain'\]"),
        (lambda t: t.update(W=np.zeros(2)), r"unknown to this model: \['W'\]"),
        (lambda t: t.update(U=np.zeros((2, 3))), r"U has shape \(2, 3\).* needs \(3, 2\)"),
        (lambda t: t.update(scale=np.zeros(1)), r"scale has shape \(1,\).* needs \(\)"),
    ],
)
def test_loading_takes_all_or_nothing(change, words, params):
    tensors = {name: np.full(shape, -1.0) for name, shape in SHAPES.items()}
    change(tensors)
    before = params.flat.copy()
    with pytest.raises(InputError, match=words):
        params.load(tensors)
    np.testing.assert_array_equal(params.flat, before)


# ---- models ----------------------------------------------------------------------------------


def a_model(dtype=np.float64):
    config = AttentionLMConfig(vocab_size=7, width=4, tied=False)
    return AttentionLM(config, np.random.default_rng(0), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_a_model_in_another_dtype_has_the_same_numbers_and_its_own_memory(dtype):
    model = a_model()
    twin = model.astype(dtype)
    assert twin.params.flat.dtype == dtype
    assert twin.config is model.config
    np.testing.assert_array_equal(twin.params.flat, model.params.flat.astype(dtype))
    assert not np.shares_memory(twin.params.flat, model.params.flat)


def test_f5_a_model_of_equal_embeddings_costs_log_v():
    model = a_model()
    model.params.flat[:] = 0.3
    assert model.loss([1, 2, 3], [2, 3, 4])[0] == pytest.approx(np.log(7))


# ---- the first number that is not finite -----------------------------------------------------


class Step(NamedTuple):
    scores: np.ndarray
    weights: np.ndarray


def test_the_first_number_that_is_not_finite_is_found_by_name_and_index():
    fine, bad = np.zeros((2, 3)), np.zeros((2, 3))
    bad[1, 2], bad[1, 0] = np.nan, -np.inf
    assert first_non_finite({"E": fine, "U": bad}) == NonFinite("U", (1, 0), -np.inf)
    assert first_non_finite(bad, "loss") == NonFinite("loss", (1, 0), -np.inf)
    tree = (fine, {"step": Step(scores=fine, weights=bad)}, bad)
    assert first_non_finite(tree, "cache")[:2] == ("cache.1.step.weights", (1, 0))
    tree = (fine, Step(scores=bad, weights=bad), bad)  # the first one in order, not just any
    assert first_non_finite(tree)[0] == "1.scores"


def test_numbers_that_are_finite_and_things_that_are_no_floats_are_passed_over():
    assert first_non_finite({"ids": np.array([1, 2]), "E": np.ones(2), "n": (3, None, "x")}) is None
    assert first_non_finite(()) is None


def test_a_nan_in_a_parameter_shows_in_the_cache_where_it_first_acts():
    model = a_model()
    model.params["U"][2, 1] = np.nan
    assert first_non_finite(model.params)[:2] == ("U", (2, 1))
    _, cache = model.forward([1, 2, 3])
    assert first_non_finite(cache)[:2] == ("output.1", (2, 1))
    model.params["E"][2, 3] = np.nan
    assert first_non_finite(model.forward([1, 2, 3])[1])[:2] == ("attention.q", (1, 3))


# ---- checkpoints -----------------------------------------------------------------------------

TENSORS = {
    "E": np.random.default_rng(0).normal(size=(5, 3)),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "scalar": np.array(2.5),
    "step": np.array([7]),
    "empty": np.zeros((0, 3)),
}
ABOUT = {"model": "AttentionLM", "config": {"width": 3, "scale": 0.1}, "text": "中文 é", "step": 7}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_a_checkpoint_gives_back_what_was_saved(path):
    save_checkpoint(path, TENSORS, ABOUT)
    tensors, about = load_checkpoint(path)
    assert about == ABOUT
    assert set(tensors) == set(TENSORS)
    for name, tensor in tensors.items():
        assert (tensor.shape, tensor.dtype) == (TENSORS[name].shape, TENSORS[name].dtype)
        np.testing.assert_array_equal(tensor, TENSORS[name])


def test_saving_and_loading_a_model_changes_no_bit_of_its_logits(path):
    model, other = a_model(np.float32), a_model(np.float32)
    save_checkpoint(path, model.params, {})
    other.params.flat[:] = 0
    other.params.load(load_checkpoint(path)[0])
    np.testing.assert_array_equal(other.forward([1, 2, 3])[0], model.forward([1, 2, 3])[0])


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_else(path):
    written = []
    for tensors in (TENSORS, TENSORS, dict(reversed(TENSORS.items()))):
        save_checkpoint(path, tensors, ABOUT)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(share, path):
    save_checkpoint(path, TENSORS, ABOUT)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="not a whole safetensors file") as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("data", [b"S1 S2 S3\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(99), bytes(64)])
def test_a_file_of_another_kind_is_refused(data, path):
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated or of another kind"):
        load_checkpoint(path)


@pytest.mark.parametrize("header", [None, {"format": "pt"}, {"numpylm": "[1, 2]"}])
def test_safetensors_that_numpylm_did_not_write_are_refused(header, path):
    save_file({"weight": np.ones(3)}, path, header)
    with pytest.raises(InputError, match=r"was not written by numpylm"):
        load_checkpoint(path)


def test_foreign_safetensors_in_a_dtype_numpy_lacks_are_refused_in_the_same_words(path):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(InputError, match=r"was not written by numpylm"):
        load_checkpoint(path)


def test_a_header_that_is_no_json_is_refused(path):
    save_file({"weight": np.ones(3)}, path, {"numpylm": "{"})
    with pytest.raises(InputError, match="truncated or of another kind"):
        load_checkpoint(path)


def test_a_directory_or_a_path_to_nothing_is_refused(path):
    for wrong in (path, path.parent, path / "below"):
        with pytest.raises(InputError, match=r"^no checkpoint at ") as error:
            load_checkpoint(wrong)
        assert str(wrong) in str(error.value)


def full_disk(*_):
    raise OSError(28, "No space left on device")


class FullDisk:
    """A file that takes half of what is written to it."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        full_disk()


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(failing, path, monkeypatch):
    save_checkpoint(path, TENSORS, ABOUT)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        if failing == "write":
            cls, right = type(path), type(path).open
            patch.setattr(cls, "open", lambda self, *mode: FullDisk(right(self, *mode)))
        else:
            patch.setattr(os, failing, full_disk)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, {"E": np.zeros(1000)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    assert load_checkpoint(path)[1] == ABOUT


def test_the_new_content_is_on_the_disk_before_it_takes_the_old_ones_place(path, monkeypatch):
    path.write_bytes(b"old")
    order, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(number):
        order.append(("fsync", os.fstat(number).st_size, path.read_bytes()))
        fsync(number)

    def noted_replace(source, target):
        order.append(("replace", source.stat().st_size, target.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_whole(path, b"newer")
    assert order[:2] == [("fsync", 5, b"old"), ("replace", 5, b"old")]
    assert [call for call, _, _ in order[2:]] == ["fsync"] * (os.name == "posix")  # of the folder
    assert path.read_bytes() == b"newer"


def test_where_nothing_can_be_written_the_error_is_that_of_the_system(path):
    with pytest.raises(FileNotFoundError):
        save_checkpoint(path.parent / "none" / "model.safetensors", TENSORS, ABOUT)
    path.mkdir()
    with pytest.raises(OSError):
        write_whole(path, b"data")
    assert list(path.parent.iterdir()) == [path]
