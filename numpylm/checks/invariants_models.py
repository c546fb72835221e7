"""The invariants of the models: symmetries of the loss, and what they make of its gradient."""

from copy import deepcopy
from typing import Any

import numpy as np

from ..ops import IGNORE
from .gradient_cases import ModelCase
from .invariants import Pairs, of_cases, subject_of

BERTS = ("BERTForMaskedLM", "BERTForClass", "BERTForSpan")
MODELS = ("AttentionLM", "GPT", "Llama", *BERTS, "Transformer")
OF_WORDS = ("E", "U", "predict.b")  # parameters with a row for each word


def learn(case: ModelCase, model: Any = None, ids: Any = None, targets: Any = None) -> Any:
    """The loss and the gradients of a case, or of one that differs from it."""
    model = case.model if model is None else model
    batch = deepcopy(case.batch)
    batch = (batch[0] if ids is None else ids, batch[1] if targets is None else targets, *batch[2:])
    loss, cache = model.loss(*batch)
    return loss, model.loss_backward(cache)


@of_cases("AttentionLM")
def turning_all_embeddings_moves_nothing(case: ModelCase) -> Pairs:
    """=>   Eᵀ∇E + Pᵀ∇P + Uᵀ∇U is symmetric; with projections, which fix the axes, it need not be"""
    if not case.model.config.projections:
        _, grads = learn(case)
        turn = sum(x.T @ grads[name] for name, x in case.model.params.items())
        yield turn, turn.T


@of_cases("AttentionLM")
def query_and_key_projections_share_their_scale(case: ModelCase) -> Pairs:
    """W_q times t, W_k by t   =>   Σ W_q dW_q = Σ W_k dW_k"""
    if case.model.config.projections:
        _, grads = learn(case)
        of_q, of_k = (np.sum(case.model.params[w] * grads[w]) for w in ("W_q", "W_k"))
        yield of_q, of_k


@of_cases(*MODELS)
def relabelling_the_vocabulary_relabels_the_gradient(case: ModelCase) -> Pairs:
    """Words that have a meaning (padding, begin and end, the first three) keep their label."""
    V, fixed = case.model.config.vocab_size, 3 if hasattr(case.model.config, "end_id") else 0
    label = np.append(
        np.arange(fixed), fixed + np.random.default_rng(11).permutation(V - fixed)
    )  # word w becomes label[w]
    ids, targets, *_ = case.batch
    twin = case.model.astype(np.float64)
    words = [name for name in twin.params if name in OF_WORDS]
    for name in words:
        twin.params[name][label] = case.model.params[name]
    loss, grads = learn(case)
    if subject_of(case) not in ("BERTForClass", "BERTForSpan"):  # whose targets are not words
        targets = np.where(targets == IGNORE, IGNORE, label[np.maximum(targets, 0)])
    twin_loss, twin_grads = learn(case, twin, label[ids], targets)
    yield twin_loss, loss
    for name in grads:
        yield (twin_grads[name][label] if name in words else twin_grads[name]), grads[name]


@of_cases(*MODELS)
def biases_of_keys_and_values(case: ModelCase) -> Pairs:
    """Softmax does not see b_k, and Σ_j a_ij = 1   =>   db_k = 0, db_v = w_out db_out"""
    p, (_, grads) = case.model.params, learn(case)
    for name, db in grads.items():
        part, _, last = name.rpartition(".")
        if last in ("b_qkv", "b_kv"):
            db_k, db_v = np.split(db, 3 if last == "b_qkv" else 2)[-2:]
            yield db_k, np.zeros_like(db_k)
            yield db_v, p[f"{part}.w_out"] @ grads[f"{part}.b_out"]


@of_cases(*BERTS)
def words_segments_and_positions_share_a_shift(case: ModelCase) -> Pairs:
    """E + t, P − t: h is the same, all logits shift alike   =>   Σ_w dE_w = Σ_g dG_g = Σ_t dP_t
    The norm behind them takes out t (1, …, 1)            =>   each row of dP and dG sums to 0"""
    _, grads = learn(case)
    for name in ("E", "G"):
        yield grads[name].sum(axis=0), grads["P"].sum(axis=0)
    for name in ("P", "G"):
        yield grads[name].sum(axis=1), np.zeros(len(grads[name]))


@of_cases("BERTForMaskedLM", "BERTForClass")
def padding_teaches_nothing(case: ModelCase) -> Pairs:
    """Other words where nobody may look leave loss and gradients as they are."""
    ids, *_, attend = case.batch
    others = np.where(attend, ids, (ids + 2) % case.model.config.vocab_size)
    loss, grads = learn(case)
    loss_of_others, grads_of_others = learn(case, ids=others)
    yield loss_of_others, loss
    yield grads_of_others.flat, grads.flat


@of_cases("AttentionLM", "GPT")
def a_batch_learns_what_its_texts_learn(case: ModelCase) -> Pairs:
    """The gradient is the mean over the predicted tokens of all texts, so also of each text's."""
    if len(case.batch) > 2:  # dropout draws otherwise for other shapes
        return
    ids, targets, *_ = case.batch
    last = getattr(case.model.config, "context", "all") == "last"
    counts = (targets[:, -1:] if last else targets) != IGNORE
    _, grads = learn(case)
    parts = [learn(case, None, ids[b], targets[b])[1].flat for b in range(len(ids))]
    weights = counts.sum(axis=1) / counts.sum()
    yield grads.flat, sum(w * part for w, part in zip(weights, parts, strict=True))


@of_cases("AttentionLM", "GPT")
def what_is_not_yet_read_has_no_gradient(case: ModelCase) -> Pairs:
    """If only the target at i counts, the words after i have no gradient but as outputs, and its
    positions none at all. So with E apart from its use as output: by the difference of two texts
    that differ after i alone."""
    config = case.model.config
    if getattr(config, "context", "all") == "last" or not getattr(config, "causal", True):
        return
    if len(case.batch) > 2:
        return
    ids, targets, *_ = case.batch
    for i in (0, 2):
        only = np.full_like(targets, IGNORE)
        only[:, i] = np.maximum(targets[:, i], 0)
        later = ids.copy()
        later[:, i + 1 :] = (ids[:, i + 1 :] + 3) % config.vocab_size
        loss, grads = learn(case, targets=only)
        later_loss, later_grads = learn(case, ids=later, targets=only)
        yield later_loss, loss
        yield later_grads.flat, grads.flat


@of_cases("AttentionLM", "GPT")
def no_gradient_for_positions_nobody_stands_at(case: ModelCase) -> Pairs:
    _, grads = learn(case)
    if "P" in grads:
        rest = grads["P"][case.batch[0].shape[-1] :]
        yield rest, np.zeros_like(rest)


@of_cases("GPT")
def a_shift_between_words_and_positions_moves_nothing(case: ModelCase) -> Pairs:
    """E + t, P − t: h is the same and all logits shift alike   =>   Σ_w dE_w = Σ_t dP_t"""
    _, grads = learn(case)
    yield grads["E"].sum(axis=0), grads["P"].sum(axis=0)


@of_cases("GPT")
def a_shift_of_h_is_taken_out_by_every_norm(case: ModelCase) -> Pairs:
    """h + t (1, …, 1) stays so along the residual path   =>   each row of dP sums to 0"""
    if not case.model.config.dropout:
        _, grads = learn(case)
        yield grads["P"].sum(axis=1), np.zeros(len(grads["P"]))


@of_cases("GPT")
def a_norm_and_the_matrix_behind_it_share_their_scale(case: ModelCase) -> Pairs:
    """Σ gain dgain + Σ bias dbias = Σ w dw"""
    _, grads = learn(case)
    products = {name: np.sum(x * grads[name]) for name, x in case.model.params.items()}
    for i in range(case.model.config.layers):
        for norm, w in (("norm1", "attention.w_qkv"), ("norm2", "feed_forward.w_in")):
            bias = products.get(f"block{i}.{norm}.bias", 0.0)
            yield products[f"block{i}.{norm}.gain"] + bias, products[f"block{i}.{w}"]
