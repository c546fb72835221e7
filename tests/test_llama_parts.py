"""course/llama_parts.py: the gradients of the variants, what is equal, and that all of it runs."""

import numpy as np
import pytest

from numpylm.checks.gradient_cases import order_one
from numpylm.course.llama_parts import COMPARISONS, PostNorm, Ungated, cache_bytes, made, told
from numpylm.gpt import GPT, GPTConfig
from numpylm.gradcheck import check_model
from numpylm.llama import Llama, LlamaConfig
from numpylm.sampling import GenerateConfig, generate_ids


@pytest.mark.parametrize("kind", [PostNorm, Ungated])
def test_the_gradients_of_the_variants_are_right(kind):
    options = {"vocab_size": 7, "context_length": 5, "layers": 1, "heads": 2, "width": 4}
    config = LlamaConfig(**options, groups=1) if kind is Ungated else GPTConfig(**options)
    model = order_one(kind(config, np.random.default_rng(0), np.float64))
    ids = np.random.default_rng(1).integers(7, size=(3, 6))
    report = check_model(model, (ids[:, :-1], ids[:, 1:]))
    assert report, report


def test_behind_each_sum_the_last_block_leaves_rows_of_one_size():
    model = PostNorm(GPTConfig(vocab_size=7, context_length=4, layers=2, heads=2, width=8))
    seen = {}
    model.forward(np.array([[1, 2, 3]]), watch=seen.__setitem__)
    size = np.sqrt((seen["block1"] ** 2).mean(axis=-1))
    np.testing.assert_allclose(size, 1, atol=1e-3)


def test_gate_and_gelu_have_equally_many_numbers():
    gated, gelu = (
        made(entry, 5, 8, 0).params.flat.size for entry in COMPARISONS["gate"].entries.values()
    )
    assert gated == gelu


def test_the_cache_of_a_token_shrinks_with_the_groups():
    models = [made(entry, 5, 16, 0) for entry in COMPARISONS["groups"].entries.values()]
    assert [cache_bytes(model) for model in models] == [2 * 2 * 32 * 4 // n for n in (1, 2, 4)]


def test_the_variants_write_without_the_cache_of_others():
    for kind, config in ((PostNorm, GPTConfig), (Ungated, LlamaConfig)):
        model = kind(config(vocab_size=7, context_length=4, layers=1, heads=2, width=8))
        assert not hasattr(model, "extend") and isinstance(model, GPT | Llama)
        generate_ids(model, [1, 2], GenerateConfig(tokens=4), np.random.default_rng(0))


def test_every_comparison_trains_and_is_told(monkeypatch):
    for name, asked in COMPARISONS.items():
        few = dict([*asked.entries.items()][:2])
        monkeypatch.setitem(COMPARISONS, name, asked._replace(entries=few))
    lines = told(seeds=1, steps=2, sentences=64).splitlines()
    assert len(lines) == 9
    assert all(float(line.split()[-1]) > 0 for line in lines if line.startswith("    "))
