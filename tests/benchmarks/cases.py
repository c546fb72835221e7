"""What is measured: the same task for numpylm and for PyTorch, from the same initial numbers.

Each function returns a step: call it, and it learns from one batch and returns the loss before. The
optional import of PyTorch stands inside the functions that need it.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from numpylm.allocator import keep_freed_memory
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.batches import sample_batch
from numpylm.gpt import GPT, GPTConfig
from numpylm.model import Model
from numpylm.optim import Adam
from numpylm.sampling import GenerateConfig, generate_ids
from numpylm.training import Training

from .peers import PlainGPT, jax_learner
from .twins import TWINS, TorchGPT

Step = Callable[[], float]


class Case(NamedTuple):
    """A model, its sizes, and B."""

    title: str
    kind: type[Model]
    config: Any
    batch_size: int


CASES = {
    "one matrix": Case(
        "the one-matrix model: V 64, C 32, T 16, B 32",
        AttentionLM,
        AttentionLMConfig(vocab_size=64, context_length=16, width=32),
        32,
    ),
    "nanoGPT": Case(
        "nanoGPT's CPU configuration: 4 layers, width 128, T 64, B 12",
        GPT,
        GPTConfig(vocab_size=65, context_length=64, layers=4, heads=4, width=128, bias=False),
        12,
    ),
    "listing": Case(
        "the article's listing: V 10,000, width 512, 8 heads, 6 layers, T 64, B 4",
        GPT,
        GPTConfig(vocab_size=10_000, context_length=64, layers=6, heads=8, width=512),
        4,
    ),
}

CONTEXTS = {  # the same tokens a step: what grows with T is attention
    T: Case(
        f"T {T}, B {2048 // T}",
        GPT,
        GPTConfig(vocab_size=256, context_length=T, layers=4, heads=8, width=256, bias=False),
        2048 // T,
    )
    for T in (64, 128, 256, 512, 1024, 2048)
}

VOCABULARIES = {
    V: Case(
        f"V {V:,}",
        GPT,
        GPTConfig(vocab_size=V, context_length=64, layers=2, heads=4, width=128, bias=False),
        8,
    )
    for V in (256, 4096, 50_257)
}

GPT2 = GPTConfig(vocab_size=50_257, context_length=1024, layers=12, heads=12, width=768)


def tokens(V: int) -> np.ndarray:
    return np.random.default_rng(1).integers(V, size=20_000)


def numpylm_step(case: Case, workers: int, keep: bool = True, recompute: bool = False) -> Step:
    """The trainer's own step, one BLAS thread for each worker."""
    if keep:
        keep_freed_memory()
    threadpool_limits(1)
    if recompute:
        case = case._replace(config=replace(case.config, recompute=True))
    model = case.kind(case.config, np.random.default_rng(0))
    data = tokens(case.config.vocab_size)
    rng, B = np.random.default_rng(2), case.batch_size
    training = Training(model, data, Adam, 1e-3, batch_size=B, rng=rng, workers=workers)
    return lambda: training.step()["loss"]


def torch_step(case: Case, threads: int, fused: bool = True, compiled: bool = False) -> Step:
    """PyTorch with fused attention; its fused Adam is its fastest, not its default."""
    import torch

    torch.set_num_threads(threads)
    model = case.kind(case.config, np.random.default_rng(0))
    twin = TWINS[case.kind](model)
    del model
    loss_of = torch.compile(twin.loss) if compiled else twin.loss
    weights = list(twin.parameters())
    optimizer = torch.optim.Adam(weights, 1e-3, fused=fused)
    data, rng = tokens(case.config.vocab_size), np.random.default_rng(2)
    B, T = case.batch_size, case.config.context_length

    def step() -> float:
        x, y = (torch.from_numpy(ids.copy()) for ids in sample_batch(rng, data, B, T))
        loss = loss_of(x, y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        return loss.item()

    return step


def jax_step(case: Case, threads: int) -> Step:
    """JAX, with all of a step in one compiled function; on `threads` of the machine's cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:threads]))
    return _peer_step(case, jax_learner)


def plain_step(case: Case, threads: int) -> Step:
    """NumPy as it is mostly written."""
    threadpool_limits(threads)
    return _peer_step(case, lambda model: PlainGPT(model).learn)


def _peer_step(case: Case, learner: Callable[[Any], Callable[[Any, Any], float]]) -> Step:
    learn = learner(case.kind(case.config, np.random.default_rng(0)))
    data, rng = tokens(case.config.vocab_size), np.random.default_rng(2)
    B, T = case.batch_size, case.config.context_length
    return lambda: learn(*sample_batch(rng, data, B, T))


NEW_TOKENS, PROMPT = 16, np.arange(16)


def numpylm_generation(threads: int) -> Step:
    """NEW_TOKENS likeliest tokens after PROMPT; the last of them is returned."""
    threadpool_limits(threads)
    model = GPT(GPT2, np.random.default_rng(0))
    config = GenerateConfig(tokens=NEW_TOKENS, temperature=0)
    return lambda: float(generate_ids(model, PROMPT, config, np.random.default_rng(0)).ids[-1])


def torch_generation(threads: int) -> Step:
    import torch

    torch.set_num_threads(threads)
    twin = TorchGPT(GPT(GPT2, np.random.default_rng(0)))
    return lambda: float(twin.generate(PROMPT, NEW_TOKENS)[-1])


def reading(threads: int) -> Step:
    """The time to read every weight of GPT-2 once for each new token: the floor of generation."""
    threadpool_limits(threads)
    unread = GPT2.context_length * GPT2.width  # the table of positions
    sizes = [int(np.prod(shape)) for shape in GPT.shapes(GPT2).values()]
    weights = np.ones(sum(sizes) - unread, np.float32)
    return lambda: float(sum(weights @ weights for _ in range(NEW_TOKENS)) * 0)


def gemm_step(case: Case) -> Step:
    """Only the matrix products of a step of GPT, each with its two products of the backward."""
    keep_freed_memory()
    threadpool_limits(1)
    config, rng = case.config, np.random.default_rng(0)
    V, T, B, C, H = (
        config.vocab_size,
        config.context_length,
        case.batch_size,
        config.width,
        config.heads,
    )

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    layer = [(C, 3 * C), (C, C), (C, 4 * C), (4 * C, C)]
    maps = [(normal(B * T, i), normal(i, o), normal(B * T, o)) for i, o in layer]
    q, k, v, dc = (normal(B, T, H, C // H).swapaxes(1, 2) for _ in range(4))
    a = normal(B, H, T, T)
    y, table, dlogits = normal(B * T, C), normal(V, C), normal(B * T, V)

    def step() -> float:
        for _ in range(config.layers):
            for x, w, dy in maps:
                x @ w, dy @ w.T, x.T @ dy
            q @ k.swapaxes(-1, -2), a @ v
            a.swapaxes(-1, -2) @ dc, dc @ v.swapaxes(-1, -2), a @ k, a.swapaxes(-1, -2) @ q
        y @ table.T, dlogits @ table, dlogits.T @ y
        return 0.0

    return step
