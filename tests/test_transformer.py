"""transformer.py: against PyTorch, what each side sees, padding, and bad input.

The case of gradient_cases.py has dropout and smoothing. Greedy and beam search
are in test_translate.py.
"""

import math
from itertools import product

import numpy as np
import pytest
from right_slopes import checked

from numpylm.checks.gradient_cases import model_cases, order_one
from numpylm.errors import InputError
from numpylm.ops import IGNORE, cross_entropy_forward
from numpylm.optim import Adam
from numpylm.transformer import Transformer, TransformerConfig

PARITY = 1e-10  # what is promised; 1e-13 is seen
ROUNDING = 1e-12  # two orders of the same few thousand float64 operations on numbers of order 1
SIGMAS = 4  # 6 in 100,000 means of as many draws lie beyond; the seeds are fixed

B, S, T, V, C, H, F, L = 3, 5, 4, 11, 6, 2, 9, 2
SOURCE = np.array([[4, 9, 4, 3, 5], [5, 10, 2, 0, 0], [3, 6, 6, 1, 0]])
TARGET = np.array([[1, 3, 9, 2, 0], [1, 2, 0, 0, 0], [1, 8, 6, 10, 2]])
TARGET_IN = TARGET[:, :-1]
COUNTED = TARGET[:, 1:] != 0


def a_model(dtype=np.float64, **options):
    sizes = {"vocab_size": V, "context_length": 8, "layers": L, "heads": H, "width": C, "hidden": F}
    config = TransformerConfig(**sizes | options)
    return order_one(Transformer(config, np.random.default_rng(2), np.float64)).astype(dtype)


def loss_and_grads(model, source=SOURCE, target=TARGET, rng=None):
    loss, cache = model.loss(source, target, rng)
    return loss, model.loss_backward(cache)


def close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def floats(tree):
    """Every array of floating point numbers in a cache."""
    if isinstance(tree, np.ndarray):
        return [tree] if tree.dtype.kind in "fc" else []
    return [x for part in tree for x in floats(part)] if isinstance(tree, tuple) else []


def padded(array, n):
    return np.pad(array, ((0, 0), (0, n)))


# ---- PyTorch, if it is there -----------------------------------------------------------------

OWN = {
    "in_proj_weight": "w_qkv",
    "in_proj_bias": "b_qkv",
    "out_proj.weight": "w_out",
    "out_proj.bias": "b_out",
}
FEED = {
    "linear1.weight": "feed_forward.w_in",
    "linear1.bias": "feed_forward.b_in",
    "linear2.weight": "feed_forward.w_out",
    "linear2.bias": "feed_forward.b_out",
}


def torch_weights(torch, p, block, norms, side):
    """The state of one of PyTorch's layers, made of differentiable tensors p in our layout."""
    state = {f"self_attn.{theirs}": p[f"{block}.attention.{ours}"] for theirs, ours in OWN.items()}
    state |= {theirs: p[f"{block}.{ours}"] for theirs, ours in FEED.items()}
    for n in range(1, norms + 1):
        state |= {f"norm{n}.weight": p[f"{block}.norm{n}.gain"]}
        state |= {f"norm{n}.bias": p[f"{block}.norm{n}.bias"]}
    if side == "decoder":
        cross = {ours: p[f"{block}.cross.{ours}"] for ours in ("w_out", "b_out")}
        for x in "wb":
            parts = p[f"{block}.cross.{x}_q"], p[f"{block}.cross.{x}_kv"]
            cross[f"{x}_qkv"] = torch.cat(parts, -1)
        state |= {f"multihead_attn.{theirs}": cross[ours] for theirs, ours in OWN.items()}
    return {name: x.T if x.ndim == 2 else x for name, x in state.items()}


def torch_logits(torch, p, source, target_in):
    """torch.nn's own layers, called with tensors of ours in the place of their weights."""
    options = {"dropout": 0.0, "batch_first": True, "dtype": torch.float64}
    layers = {
        "encoder": torch.nn.TransformerEncoderLayer(C, H, F, **options),
        "decoder": torch.nn.TransformerDecoderLayer(C, H, F, **options),
    }

    def embed(ids):
        t = torch.arange(ids.shape[1], dtype=torch.float64)[:, None]
        angle = t / 10000 ** (torch.arange(0, C, 2, dtype=torch.float64) / C)
        positions = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        return p["E"][ids] * C**0.5 + positions

    def run(side, i, norms, *inputs, **masks):
        state = torch_weights(torch, p, f"{side}{i}", norms, side)
        return torch.func.functional_call(layers[side], state, inputs, masks)

    memory, padding = embed(source), source == 0
    for i in range(L):
        memory = run("encoder", i, 2, memory, src_key_padding_mask=padding)
    h, future = embed(target_in), torch.ones(T, T).triu(1).bool()
    masks = {
        "tgt_mask": future,
        "tgt_key_padding_mask": target_in == 0,
        "memory_key_padding_mask": padding,
    }
    for i in range(L):
        h = run("decoder", i, 3, h, memory, **masks)
    return h @ p["E"].T


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_loss_and_all_gradients_are_those_of_pytorch(smoothing):
    torch = pytest.importorskip("torch")
    model = a_model(smoothing=smoothing)
    p = {name: torch.tensor(x, requires_grad=True) for name, x in model.params.items()}
    torch_z = torch_logits(torch, p, torch.tensor(SOURCE), torch.tensor(TARGET_IN))
    torch_loss = torch.nn.functional.cross_entropy(
        torch_z.flatten(0, 1),
        torch.tensor(TARGET[:, 1:]).flatten(),
        ignore_index=0,
        label_smoothing=smoothing,
    )
    torch_loss.backward()
    close(model.forward(SOURCE, TARGET_IN)[0], torch_z.detach().numpy(), PARITY)
    loss, grads = loss_and_grads(model)
    close(loss, torch_loss.item(), PARITY)
    for name, x in p.items():
        np.testing.assert_allclose(
            grads[name], x.grad.numpy(), rtol=PARITY, atol=PARITY, err_msg=name
        )


# ---- gradients -------------------------------------------------------------------------------


def test_the_gradients_are_the_numerical_ones():
    (case,) = (case for case in model_cases() if isinstance(case.model, Transformer))
    report = checked(case)
    assert report.passed, f"\n{report}"


# ---- what each side sees ---------------------------------------------------------------------


def test_the_encoder_sees_both_directions():
    model = a_model()
    memory, _ = model.encode(SOURCE[:1])
    for j in range(S):
        changed = SOURCE[:1].copy()
        changed[0, j] = 7
        assert (np.abs(model.encode(changed)[0] - memory).max(axis=-1) > 1e-3).all()


def test_a_target_token_changes_nothing_before_it_and_all_from_there_on():
    model, target = a_model(), np.array([[1, 3, 9, 8, 5, 6]])
    logits, _ = model.forward(SOURCE[:1], target)
    for j in range(target.shape[1]):
        changed = target.copy()
        changed[0, j] = 7
        after, _ = model.forward(SOURCE[:1], changed)
        np.testing.assert_array_equal(after[0, :j], logits[0, :j])
        assert (np.abs(after[0, j:] - logits[0, j:]).max(axis=-1) > 1e-3).all()


def test_every_target_token_sees_every_source_token():
    model = a_model()
    logits, _ = model.forward(SOURCE[:1], TARGET_IN[2:])
    for j in range(S):
        changed = SOURCE[:1].copy()
        changed[0, j] = 7
        after, _ = model.forward(changed, TARGET_IN[2:])
        assert (np.abs(after - logits).max(axis=-1) > 1e-3).all()


def test_the_order_of_the_source_is_seen():
    model = a_model()
    logits, _ = model.forward(SOURCE[:1], TARGET_IN[2:])
    assert np.abs(model.forward(SOURCE[:1, ::-1], TARGET_IN[2:])[0] - logits).max() > 1e-3


def test_changing_one_pair_moves_no_other():
    model, source, target = a_model(), SOURCE.copy(), TARGET_IN.copy()
    source[1], target[1] = [7, 7, 8, 3, 3], [1, 9, 9, 4]
    logits, after = model.forward(SOURCE, TARGET_IN)[0], model.forward(source, target)[0]
    np.testing.assert_array_equal(after[[0, 2]], logits[[0, 2]])
    assert np.abs(after[1] - logits[1]).max() > 1e-3


def test_adding_padding_to_either_side_changes_neither_logits_nor_loss_nor_gradient():
    model = a_model(smoothing=0.1)
    logits, _ = model.forward(SOURCE, TARGET_IN)
    loss, grads = loss_and_grads(model)
    for source, target in (
        (padded(SOURCE, 3), TARGET),
        (SOURCE, padded(TARGET, 3)),
        (padded(SOURCE, 2), padded(TARGET, 1)),
    ):
        more, _ = model.forward(source, target[:, :-1])
        close(more[:, :T][COUNTED], logits[COUNTED])
        padded_loss, padded_grads = loss_and_grads(model, source, target)
        close(padded_loss, loss)
        close(padded_grads.flat, grads.flat)


def test_a_source_that_is_all_padding_leaves_a_language_model_of_the_target():
    model, source = a_model(), SOURCE.copy()
    source[1] = 0
    logits, cache = model.forward(source, TARGET_IN)
    for block in cache.decoder.blocks:
        assert not block.cross.attention.a[1].any()
    np.testing.assert_array_equal(logits[[0, 2]], model.forward(SOURCE, TARGET_IN)[0][[0, 2]])
    for length in (1, 3, 8):
        empty = np.zeros((1, length), int)
        close(model.forward(empty, TARGET_IN[1:2])[0], logits[1:2])
    assert np.isfinite(loss_and_grads(model, source)[1].flat).all()


def test_a_pair_that_is_all_padding_adds_nothing():
    model = a_model(smoothing=0.1)
    loss, grads = loss_and_grads(model)
    more = loss_and_grads(model, *(np.pad(x, ((0, 1), (0, 0))) for x in (SOURCE, TARGET)))
    close(more[0], loss)
    close(more[1].flat, grads.flat)


def test_one_pair_needs_no_batch():
    model = a_model()
    close(model.forward(SOURCE[1], TARGET_IN[1])[0], model.forward(SOURCE, TARGET_IN)[0][1])
    close(model.loss(SOURCE[1], TARGET[1])[0], model.loss(SOURCE[1:2], TARGET[1:2])[0])
    np.testing.assert_array_equal(
        model.next_logits(SOURCE, TARGET_IN), model.forward(SOURCE, TARGET_IN)[0][:, -1]
    )


# ---- the loss and the parameters -------------------------------------------------------------


def test_f23_each_token_is_predicted_from_the_true_ones_before_it():
    model = a_model()
    nats = []
    for source, target in zip(SOURCE, TARGET, strict=True):
        for t in range(1, len(target)):
            if target[t] != 0:
                z = model.next_logits(source, target[:t])
                nats.append(math.log(np.exp(z).sum()) - z[target[t]])
    close(model.loss(SOURCE, TARGET)[0], sum(nats) / len(nats))


def test_f23_smoothing_is_in_the_loss_and_its_gradient_alone():
    plain, smooth = a_model(), a_model(smoothing=0.2)
    logits, _ = smooth.forward(SOURCE, TARGET_IN)
    np.testing.assert_array_equal(logits, plain.forward(SOURCE, TARGET_IN)[0])
    everywhere = [np.where(COUNTED, w, IGNORE) for w in range(V)]
    even = np.mean([cross_entropy_forward(logits, targets)[0] for targets in everywhere])
    close(smooth.loss(SOURCE, TARGET)[0], 0.8 * plain.loss(SOURCE, TARGET)[0] + 0.2 * even)
    assert np.abs(loss_and_grads(smooth)[1].flat - loss_and_grads(plain)[1].flat).max() > 1e-3


def test_the_table_embeds_source_and_target_and_predicts():
    """A word of the source alone, one of the target's input alone, and one that is nowhere."""
    _, grads = loss_and_grads(a_model())
    for word in (4, 8, 7):
        assert np.abs(grads["E"][word]).max() > 1e-3


def test_dropout_is_drawn_from_the_generator_and_only_in_training():
    model, sure = a_model(dropout=0.5), a_model()
    logits = model.forward(SOURCE, TARGET_IN)[0]
    np.testing.assert_array_equal(logits, sure.forward(SOURCE, TARGET_IN)[0])
    first, again, other = (
        model.forward(SOURCE, TARGET_IN, np.random.default_rng(seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != logits).any()
    trained = model.loss(SOURCE, TARGET, np.random.default_rng(0))[0]
    assert trained == cross_entropy_forward(first, np.where(COUNTED, TARGET[:, 1:], IGNORE))[0]


def test_dropout_follows_both_embeddings_and_every_part_of_every_block():
    _, cache = a_model(dropout=0.5).forward(SOURCE, TARGET_IN, np.random.default_rng(0))
    parts = [cache.encoder.embed, cache.decoder.embed]
    for block in cache.encoder.blocks:
        parts += [block.norm1, block.norm2]
    for block in cache.decoder.blocks:
        parts += [block.norm1, block.norm2, block.norm3]
    for part in parts:
        assert set(np.unique(part.dropout)) == {0.0, 2.0}


def test_a_cache_serves_twice_and_the_model_is_left_alone():
    model, before = a_model(), a_model().params.flat
    _, cache = model.loss(SOURCE, TARGET)
    first = model.loss_backward(cache)
    np.testing.assert_array_equal(model.loss_backward(cache).flat, first.flat)
    np.testing.assert_array_equal(model.params.flat, before)


def test_a_loss_that_weighs_half_has_half_of_the_gradient():
    model = a_model()
    _, cache = model.loss(SOURCE, TARGET)
    close(model.loss_backward(cache, 0.5).flat, model.loss_backward(cache).flat / 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f19_the_positions_are_as_exact_as_the_parameters(dtype):
    model = a_model(dtype)
    assert model.positions.dtype == model.params.flat.dtype == dtype


def test_float32_stays_float32_in_results_caches_and_gradients():
    model = a_model(np.float32, dropout=0.3, smoothing=0.1)
    loss, cache = model.loss(SOURCE, TARGET, np.random.default_rng(0))
    grads, (logits, _) = model.loss_backward(cache), model.forward(SOURCE, TARGET_IN)
    assert loss.dtype == np.float32
    assert {x.dtype for x in floats((logits, cache, grads.flat))} == {np.dtype(np.float32)}


def test_the_start_has_the_variances_of_glorot_and_bengio_and_logits_near_1():
    config = TransformerConfig(vocab_size=300, width=64, heads=2, layers=1)
    model = Transformer(config, np.random.default_rng(0))
    for name, x in model.params.items():
        if name.endswith("gain"):
            assert (x == 1).all()
        elif x.ndim == 1:
            assert not x.any()
        else:
            std = (1 / 64 if name == "E" else 2 / sum(x.shape)) ** 0.5
            assert abs(x.std() / std - 1) < SIGMAS / (2 * x.size) ** 0.5, name
    logits, _ = model.forward(np.arange(3, 9)[None], np.arange(1, 7)[None])
    assert 0.5 < logits.std() < 2


def test_descending_the_gradient_learns_to_reverse():
    rng = np.random.default_rng(0)
    config = TransformerConfig(vocab_size=7, context_length=6, layers=1, heads=2, width=16)
    model, words = Transformer(config, rng), rng.permutation(list(product(range(3, 7), repeat=3)))
    ones = np.ones((64, 1), int)
    target = np.hstack([ones, words[:, ::-1], 2 * ones])
    optimizer = Adam(model.params)
    for _ in range(150):
        optimizer.step(loss_and_grads(model, words[:54], target[:54])[1], 0.01)
    assert model.loss(words[54:], target[54:])[0] < 0.1 < math.log(4)


# ---- bad input -------------------------------------------------------------------------------

LONG = np.full((B, 9), 5)


@pytest.mark.parametrize(
    ("source", "target_in", "message"),
    [
        (SOURCE[:2], TARGET_IN, r"source \(2, 5\) and target \(3, 4\).*one target for each"),
        (SOURCE, TARGET_IN[0], r"source \(3, 5\) and target \(4,\)"),
        (np.array(3), np.array(1), r"source \(\) and target \(\)"),
        (np.array(3), TARGET_IN[0], r"source \(\) and target \(4,\)"),
        (SOURCE[:, :0], TARGET_IN, "^source .*empty"),
        (SOURCE, TARGET_IN[:, :0], "^target .*empty"),
        (LONG, TARGET_IN, r"source \(3, 9\) must have 1 to 8 tokens"),
        (SOURCE, LONG, r"target \(3, 9\) must have 1 to 8 tokens"),
        (SOURCE + 1, TARGET_IN, "source must lie in .*found 11"),
        (SOURCE, TARGET_IN - 1, "target must lie in .*found -1"),
        (SOURCE * 1.0, TARGET_IN, "source must be integers, not float64"),
    ],
)
def test_texts_that_do_not_fit_are_named(source, target_in, message):
    with pytest.raises(InputError, match=message):
        a_model().forward(source, target_in)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TARGET[:2], r"source \(3, 5\) and target \(2, 4\)"),
        (TARGET[:, :1], "^target .*empty"),
        (TARGET + 9, "target must lie in .*found 1"),
        (TARGET * 0, "every target is ignored"),
        (padded(TARGET, 5), r"target \(3, 9\) must have 1 to 8 tokens"),
    ],
)
def test_targets_that_cannot_be_predicted_are_named(target, message):
    with pytest.raises(InputError, match=message):
        a_model().loss(SOURCE, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 6, "heads": 4}, "width 6 cannot be shared by 4 heads"),
        ({"smoothing": 1.0}, "smoothing must be below 1"),
        ({"padding_id": 2}, r"\(2, 1, 2\) must be three different ids below vocab_size"),
        ({"vocab_size": 7, "end_id": 7}, r"\(0, 1, 7\) must be three different.*vocab_size 7"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(InputError, match=message):
        TransformerConfig(**options)


def test_other_special_ids_relabel_the_vocabulary():
    """Word w becomes label[w]: the model of the relabelled table says the same of the same text."""
    label = np.array([9, 0, 4, 3, 8, 5, 6, 7, 2, 1, 10])
    model = a_model()
    other = a_model(padding_id=9, begin_id=0, end_id=4)
    other.params.flat[:] = model.params.flat
    other.params["E"][label] = model.params["E"]
    loss, grads = loss_and_grads(model)
    other_loss, other_grads = loss_and_grads(other, label[SOURCE], label[TARGET])
    close(other_loss, loss)
    close(other_grads["E"][label], grads["E"])


def test_rows_of_different_lengths_are_named():
    for name, texts in (("source", ([[4, 5], [4]], TARGET)), ("target", (SOURCE, [[1], [1, 2]]))):
        with pytest.raises(InputError, match=f"^{name} must be rows of equal length"):
            a_model().forward(*texts)
