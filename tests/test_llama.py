"""llama.py: against an independent Llama in PyTorch, and what a decoder must hold."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from right_slopes import checked

from numpylm import ops
from numpylm.checks.contracts import check_contracts
from numpylm.checks.gradient_cases import model_cases, order_one
from numpylm.errors import InputError
from numpylm.llama import Llama, LlamaConfig
from numpylm.ops import IGNORE

PARITY = 1e-10  # two float64 computations of one network; 1e-14 is seen
CACHE_ROUNDING = 1e-12  # the same sums in products of other sizes

V, N, L, H, C, F = 11, 8, 2, 4, 16, 24
SMALL = LlamaConfig(
    vocab_size=V, context_length=N, layers=L, heads=H, width=C, hidden=F, base=500.0, eps=1e-6
)
IDS = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 10]])
TARGETS = np.array([[6, 1, 2, 4, 1], [1, IGNORE, 0, 10, 6]])


def small(dtype=np.float64, **options):
    """A Llama with parameters of order 1, so that every part of it matters."""
    return order_one(Llama(replace(SMALL, **options), np.random.default_rng(0), dtype))


# ---- parity: the same network written in PyTorch, in which autograd finds the gradients ------


def torch_llama(torch, p, ids, config):
    """Logits of Llama from tensors p; the rotation as a product of complex numbers."""
    functional = torch.nn.functional
    H, G = config.heads, config.groups or config.heads
    B, T = ids.shape
    D = config.width // H

    def norm(h, name):
        return functional.rms_norm(h, (config.width,), p[f"{name}.gain"], config.eps)

    def turned(x):
        clock = config.base ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
        angle = torch.arange(T, dtype=torch.float64)[:, None] * clock
        z = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([z.real, z.imag], dim=-1)

    h = functional.embedding(ids, p["E"])
    for i in range(config.layers):
        qkv = norm(h, f"block{i}.norm1") @ p[f"block{i}.attention.w_qkv"]
        q, k, v = qkv.split([H * D, G * D, G * D], dim=-1)
        q, k, v = (x.view(B, T, -1, D).transpose(1, 2) for x in (q, k, v))
        c = functional.scaled_dot_product_attention(
            turned(q), turned(k), v, is_causal=True, enable_gqa=True
        )
        h = h + c.transpose(1, 2).reshape(B, T, -1) @ p[f"block{i}.attention.w_out"]
        gate, up = (norm(h, f"block{i}.norm2") @ p[f"block{i}.feed_forward.w_in"]).chunk(2, dim=-1)
        h = h + (functional.silu(gate) * up) @ p[f"block{i}.feed_forward.w_out"]
    return norm(h, "norm") @ p["E" if config.tied else "U"].T


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 0])
def test_llama_computes_what_llama_computes(groups, tied):
    torch = pytest.importorskip("torch")
    model = small(groups=groups, tied=tied)
    p = {name: torch.tensor(x, requires_grad=True) for name, x in model.params.items()}
    expected = torch_llama(torch, p, torch.tensor(IDS), model.config)
    expected_loss = torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.tensor(TARGETS).flatten(), ignore_index=IGNORE
    )
    expected_loss.backward()

    logits, _ = model.forward(IDS)
    loss, cache = model.loss(IDS, TARGETS)
    grads = model.loss_backward(cache)
    assert np.abs(logits - expected.detach().numpy()).max() < PARITY
    assert abs(loss - expected_loss.item()) < PARITY
    assert set(p) == set(grads)
    for name, tensor in p.items():
        assert np.abs(grads[name] - tensor.grad.numpy()).max() < PARITY, name


# ---- gradients, contracts, the cache -----------------------------------------------------------


@pytest.mark.parametrize(
    "case", [c for c in model_cases() if c.name.startswith("Llama")], ids=lambda case: case.name
)
def test_the_gradients_are_the_numerical_ones(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


def test_llama_keeps_the_contracts():
    report = check_contracts(small(groups=2, base=10000.0))
    assert report.passed, f"\n{report}"


@pytest.mark.parametrize("groups", [1, 2, 0])
@pytest.mark.parametrize("cuts", [[5], [1, 1, 1, 1, 1], [3, 2], [2, 3]])
def test_the_cache_changes_nothing(groups, cuts):
    model = small(groups=groups)
    past = model.start(2)
    assert past.keys.shape == (L, 2, N, (groups or H) * C // H)
    starts = np.cumsum([0, *cuts])
    parts = [model.extend(IDS[:, a:b], past) for a, b in pairwise(starts)]
    expected, _ = model.forward(IDS)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=CACHE_ROUNDING)


def test_a_padded_prompt_gives_the_logits_of_the_prompt_alone():
    model = small(groups=2)
    past = model.start(2, [0, 2])
    logits = model.extend(IDS, past)[1]
    alone, _ = model.forward(IDS[1, 2:])
    np.testing.assert_allclose(logits[2:], alone, atol=CACHE_ROUNDING)


def test_only_distances_matter():
    """With the mask alone between them, a text is the same behind padding that nobody sees."""
    model = small(groups=2)
    past = model.start(1, [3])
    logits = model.extend(np.array([[0, 0, 0, *IDS[0]]]), past)[0, 3:]
    np.testing.assert_allclose(logits, model.forward(IDS[0])[0], atol=CACHE_ROUNDING)


def test_no_parameter_depends_on_the_context_length():
    model = small()
    longer = Llama(replace(model.config, context_length=50), np.random.default_rng(1), np.float64)
    longer.params.load(model.params)
    np.testing.assert_array_equal(longer.forward(IDS)[0], model.forward(IDS)[0])
    assert longer.forward(np.zeros((1, 50), int))[0].shape == (1, 50, V)


# ---- sizes -----------------------------------------------------------------------------------


def test_the_default_hidden_width_costs_what_gpts_does():
    config = LlamaConfig(width=96, heads=4)
    assert config.hidden_width == 256
    F, C = config.hidden_width, config.width
    assert 3 * F * C == 8 * C * C


def test_groups_save_keys_and_values_alone():
    def size(groups):
        return Llama(replace(SMALL, groups=groups), np.random.default_rng(0)).params.flat.size

    assert size(0) == size(4)
    assert size(4) - size(1) == L * C * 2 * 3 * (C // H)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": 3}, "width 16 cannot be shared by 3 heads"),
        ({"heads": 16}, "head of width 1 has a column without a partner"),
        ({"groups": 3}, "4 heads cannot be shared by 3 groups"),
        ({"groups": -1}, "groups must be at least 0"),
        ({"base": 1.0}, "base must be above 1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(options, words):
    with pytest.raises(InputError, match=words):
        replace(SMALL, **options)


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(InputError, match="ids have 9 tokens, and the model sees 1 to 8"):
        small().forward(np.zeros(9, int))


def test_float32_trains_in_float32():
    model = small(np.float32, groups=2)
    loss, cache = model.loss(IDS, TARGETS)
    assert model.forward(IDS)[0].dtype == np.float32
    assert model.loss_backward(cache).flat.dtype == np.float32
    assert np.asarray(loss).dtype == np.float32
    assert ops.IGNORE in TARGETS
