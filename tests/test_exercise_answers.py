"""Every exercise, answered as students answer: right in several styles, and wrong in many ways,
each of which must be told its own reason. The longer answers stand in students.py."""

import importlib
import json
import math
import pkgutil
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import students as s

from numpylm.course import problems
from numpylm.course.exercises import Exercise, check
from numpylm.course.notebook_files import SOLUTIONS
from numpylm.course.problems import (
    checking,
    counting,
    finding,
    heads,
    learning,
    listing,
    llama,
    long_texts,
    one_matrix,
    outgrowing,
    reading,
    real_model,
    repairs,
    rewarding,
    transferring,
    translating,
    way_in,
    writing,
)

exp, log = np.exp, np.log
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

EXERCISES = {
    f"{name}.{word}": exercise
    for _, name, _ in pkgutil.iter_modules(problems.__path__)
    for word, exercise in vars(importlib.import_module(f"{problems.__name__}.{name}")).items()
    if isinstance(exercise, Exercise)
}


def softmax(z):
    return exp(z) / exp(z).sum(axis=-1, keepdims=True)


def central(up, down, over):
    return s.quotient(up, down, over)


RIGHT = {
    heads.SPLIT: [
        lambda x, h: np.stack(np.split(x, h, axis=1)),
        lambda x, h: np.einsum("thd->htd", x.reshape(len(x), h, -1)),
        lambda x, h: [x[:, i * x.shape[1] // h : (i + 1) * x.shape[1] // h] for i in range(h)],
    ],
    heads.MERGE: [
        np.hstack,
        lambda x: np.concatenate([*x], axis=-1),
        lambda x: [[n for part in x for n in part[t]] for t in range(x.shape[1])],
    ],
    heads.MULTI_HEAD: [
        s.heads_loop,
        s.heads_einsum,
        lambda q, k, v, h: s.heads_loop(np.float64(q), np.float64(k), np.float64(v), int(h)),
    ],
    way_in.PRODUCT: [
        s.product_loops,
        lambda x, w: np.einsum("ni,io->no", x, w),
        lambda x, w: [[row.dot(column) for column in w.T] for row in x],
    ],
    way_in.CHAIN: [
        lambda a, b, c: (2 * (a * b + c) * b, 2 * (a * b + c) * a, 2 * (a * b + c)),
        lambda a, b, c: 2 * (a * b + c) * np.array([b, a, 1]),
        lambda a, b, c: np.array([2 * a * b**2 + 2 * b * c, 2 * b * a**2 + 2 * a * c,
                                  2 * a * b + 2 * c]),
    ],
    way_in.USED_TWICE: [
        lambda x: (1 + x) * math.exp(x),
        lambda x: exp(x) + x * exp(x),
        lambda x: math.e**x * (x + 1),
    ],
    counting.BIGRAM: [s.bigram_loop, s.bigram_bincount, s.bigram_one_hot],
    counting.ENTROPY: [
        s.entropy_loop,
        lambda p: float(np.sum(np.where(p > 0, -p * log(np.where(p > 0, p, 1)), 0))),
        lambda p: -(p[p != 0] @ log(p[p != 0])),
        lambda p: np.float32(s.entropy_loop(p)),
        lambda p: -np.nansum(p * log(p)),
    ],
    counting.PERPLEXITY: [
        s.perplexity_loop,
        lambda nats, tokens: exp(nats.mean() / tokens.mean()),
        lambda n, t: math.exp(sum(n) / sum(t)),
    ],
    counting.TRIGRAM: [s.trigram_loop, s.trigram_counter, s.trigram_einsum],
    one_matrix.SCORES: [
        s.scores_loop,
        lambda e: np.einsum("ic,jc->ij", e, e),
        lambda e: [[a.dot(b) for b in e] for a in e],
    ],
    one_matrix.SOFTMAX: [
        s.softmax_rows,
        lambda x: exp(x - np.log(exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
                      - x.max(-1, keepdims=True)),
        lambda x: np.apply_along_axis(lambda r: exp(r - r.max()) / exp(r - r.max()).sum(), -1, x),
    ],
    one_matrix.CONTEXTS: [s.contexts_loop, s.contexts_big_negative, s.contexts_renormalised],
    one_matrix.MODEL: [s.model_loop, s.model_all, lambda E, ids: s.model_from(
        E, softmax(E[ids] @ E[ids[-1]]) @ E[ids])],
    one_matrix.DZ: [
        s.dz_list,
        lambda p, y: p - np.eye(len(p))[y],
        lambda p, y: np.where(np.arange(len(p)) == y, p - 1, p),
    ],
    checking.CENTRAL_DIFFERENCE: [s.central_flat, s.central_nditer, central(1, 1, lambda h: 2 * h)],
    checking.COMPLEX_STEP: [s.complex_flat, s.complex_basis, s.complex_of(lambda y, h: y.imag / h)],
    checking.GRADIENT_ERROR: [
        s.error_loop,
        lambda a, n: np.linalg.norm((a - n).ravel(), np.inf) / (np.abs(n).max() + 1e-3),
        lambda a, n: max(abs(a - n).ravel()) / (max(abs(n).ravel()) + 0.001),
    ],
    learning.LARGEST_RATE: [
        lambda c: 2.0 / max(c),
        lambda c: min(2 / x for x in c),
        lambda c: (2 / np.sort(c))[-1],
    ],
    learning.ADAM: [
        s.adam_arrays,
        s.adam_powers,
        s.adam(lambda m, v, t: -(m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)),
    ],
    learning.CLIP: [
        s.clip_if,
        s.clip_loop,
        lambda g, max_norm: g / max(1, np.sqrt(np.sum(g**2)) / max_norm),
    ],
    learning.RATE: [
        s.rate(s.up, s.half_cosine),
        s.rate(s.up, lambda x: math.cos(math.pi * x / 2) ** 2),
        s.rate(s.up, lambda x: np.float64(1 - math.sin(math.pi * x / 2) ** 2)),
    ],
    repairs.FIRST_LOSS: [
        s.first_loss_loop,
        s.first_loss_probabilities,
        s.first_loss(lambda p, n: -log(p[range(n), [*range(1, n), 0]]).sum() / n),
    ],
    repairs.VALUE_MAP: [
        lambda E, Z: np.linalg.solve(E, np.linalg.solve(E, Z.T).T),
        lambda E, Z: np.linalg.inv(E) @ Z @ np.linalg.inv(E.T),
        lambda E, Z: np.linalg.pinv(E).dot(Z).dot(np.linalg.pinv(E).T),
    ],
    writing.TEMPERATURE: [
        lambda z, T: exp(z / T - (z / T).max()) / exp(z / T - (z / T).max()).sum(),
        lambda z, T: [1 / sum(math.exp(min((b - a) / T, 700)) for b in z) for a in z],
        lambda z, T: (lambda p: p ** (1 / T) / (p ** (1 / T)).sum())(softmax(z - z.max())),
    ],
    writing.TOP_P: [s.top_p_loop, s.top_p_searched, s.top_p(lambda t, q: (t < q).sum() + 1)],
    writing.MASK: [
        lambda T, S: [[j <= S - T + i for j in range(S)] for i in range(T)],
        lambda T, S: np.tril(np.ones((S, S)))[S - T :],
        lambda T, S: np.tril(np.ones((T, S), bool), k=S - T),
    ],
    writing.INDUCTION: [s.induction_loop, s.induction_list, lambda ids: next(
        (int(b) for a, b in zip(ids[-2::-1], ids[:0:-1], strict=True) if a == ids[-1]), -1)],
    reading.INPUTS: [
        s.inputs_loop,
        s.inputs_indexed,
        lambda ids, c, f, d, m: np.select([~c, f < 0.8, f < 0.9], [ids, m, d], ids),
    ],
    reading.TWO_SIDES: [
        lambda law, a, b: law[a] * law.T[b] / (law @ law)[a, b],
        lambda law, a, b: [law[a, w] * law[w, b] / (law[a] @ law[:, b]) for w in range(len(law))],
        lambda law, a, b: (lambda p: p / p.sum())(np.einsum("w,w->w", law[a], law[:, b])),
    ],
    reading.SPAN: [s.span_loop, s.span_running, lambda start, end: np.unravel_index(
        np.where(np.tri(len(end)).T > 0, start[:, None] + end, -np.inf).argmax(),
        (len(end), len(end)))],
    reading.SCORES: [s.prf, s.prf_sets, lambda f, t: s.prf([*map(int, f)], [*map(int, t)])],
    translating.DECODER_MASK: [
        s.mask_loop,
        lambda t, p: np.tril(np.ones((t.shape[1],) * 2)) * (t != p)[:, None],
        lambda t, p: np.array([np.tri(len(x), dtype=bool) & (x != p) for x in t]),
    ],
    translating.SMOOTHED_TARGETS: [
        s.smoothed_loop,
        s.smoothed_filled,
        lambda y, V, e: (np.arange(V) == y[:, None]) * (1 - e) + e / V,
    ],
    translating.RATE: [
        lambda n, C, w: 1 / math.sqrt(C) * min(1 / math.sqrt(n), n / w**1.5),
        lambda n, C, w: C**-0.5 * (n * w**-1.5 if n < w else n**-0.5),
        lambda n, C, w: np.min([(n * C) ** -0.5, n / math.sqrt(C * w**3)]),
    ],
    translating.BEAM: [s.beam_lists, s.beam_logs, lambda first, then, width: max(
        ((a, b) for a in np.argsort(-first)[:width] for b in range(len(then))),
        key=lambda ab: first[ab[0]] * then[ab])],
    listing.TARGETS: [s.targets_loop, s.targets_copy, lambda t: np.where(t == 0, -100, t)[:, 1:]],
    listing.LOSS: [s.loss_loop, s.loss_one_hot, s.loss()],
    listing.PARAMETERS: [
        s.parameters_summed,
        lambda V, C, L, N: C * (V + N + 2 + L * (12 * C + 13)),
        lambda V, C, L, N: float(V * C + N * C + 2 * C + L * (12 * C**2 + 9 * C + 4 * C)),
    ],
    listing.SEES_THE_FUTURE: [
        s.future_pairs,
        s.future_rows,
        s.future(lambda T: range(T), lambda j: (slice(None), slice(0, j))),
    ],
    llama.SIZE: [
        lambda x: np.sqrt((x**2).mean(-1, keepdims=True)),
        lambda x: np.linalg.norm(x, axis=-1)[..., None] / np.sqrt(x.shape[-1]),
        lambda x: np.sqrt(np.einsum("...c,...c->...", x, x) / x.shape[-1]).reshape(
            *x.shape[:-1], 1
        ),
    ],
    llama.TURN: [
        lambda p, t: np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) @ p,
        lambda p, t: (lambda z: [z.real, z.imag])((p[0] + 1j * p[1]) * np.exp(1j * t)),
        lambda p, t: (p[0] * math.cos(t) - p[1] * math.sin(t),
                      p[0] * math.sin(t) + p[1] * math.cos(t)),
    ],
    llama.CACHE: [
        lambda L, G, D, T: 2 * L * G * D * T,
        lambda L, G, D, T: sum(2 * G * D for _ in range(L) for _ in range(T)),
        lambda L, G, D, T: np.prod([2, L, G, D, T]),
    ],
    finding.FACTOR: [
        lambda a, n: c if np.allclose(a, (c := np.vdot(n, a) / np.vdot(n, n)) * n) else 0,
        lambda a, n: (lambda r: r[0] if np.ptp(r) < 1e-9 else 0)(a[n != 0] / n[n != 0]),
        s.factor_loop,
    ],
    finding.REMAINING: [
        lambda shows, seen: ((shows == seen) | (seen == -1)).all(1),
        lambda shows, seen: [
            not any(x != y and y >= 0 for x, y in zip(row, seen, strict=True)) for row in shows
        ],
        lambda shows, seen: (np.abs(shows - seen) * (seen >= 0)).sum(axis=1) == 0,
    ],
    finding.WORTH: [
        lambda shows: np.sum(
            [-p * log(p + (p == 0)) for p in (shows.mean(0), 1 - shows.mean(0))], axis=0
        ),
        lambda shows: [
            -sum(p * math.log(p) for p in (row.mean(), 1 - row.mean()) if p) for row in shows.T
        ],
        lambda shows: (lambda p: -(p * log(p + (p == 0)) + (1 - p) * log(1 - p + (p == 1))))(
            shows.sum(axis=0) / len(shows)
        ),
    ],
    real_model.PARAMETERS: [
        lambda V, C, L, H, G, F: C * (V + 1 + L * (2 + C + 3 * F + (H + 2 * G) * (C // H))),
        lambda V, C, L, H, G, F: V * C + C + sum(
            C * C + 2 * C * G * C / H + C * C + C * 2 * F + F * C + C + C for _ in range(L)),
        lambda V, C, L, H, G, F: sum([
            V * C, *[C + C * (H * (C // H) + 2 * G * (C // H)) + C**2] * L,
            *[C + C * 2 * F + F * C] * L, C]),
    ],
    real_model.PREVIOUS: [
        lambda a: np.mean([a[t, t - 1] for t in range(1, len(a))]),
        lambda a: np.trace(a, offset=-1) / (len(a) - 1),
        lambda a: a[np.arange(1, len(a)), np.arange(len(a) - 1)].mean(),
    ],
    real_model.LENS: [
        lambda h, gain, E, eps: np.einsum(
            "tc,vc->tv", h * gain / np.sqrt(np.mean(h**2, -1, keepdims=True) + eps), E),
        lambda h, gain, E, eps: [
            E @ (gain * row / math.sqrt(row @ row / len(row) + eps)) for row in h],
        lambda h, gain, E, eps: (h @ (gain * E).T) / np.sqrt((h**2).mean(axis=1) + eps)[:, None],
    ],
    long_texts.SCORES: [
        lambda T, N: N * N * (T // N) * (T // N + 1) // 2,
        lambda T, N: sum((i // N + 1) * N for i in range(T)),
        lambda T, N: float(np.kron(np.tri(T // N), np.ones((N, N))).sum()),
    ],
    long_texts.ONLINE_SUM: [
        lambda s: (s.max(), exp(s - s.max()).sum()),
        lambda s: [float(max(s)), sum(math.exp(x - max(s)) for x in s)],
        lambda s: (lambda m: np.array([m, exp(np.logaddexp.reduce(s) - m)]))(s.max()),
    ],
    long_texts.WEIGHTS: [
        lambda s, m, t: exp(s - m) / t,
        lambda s, m, t: [math.exp(x - m - math.log(t)) for x in s],
        lambda s, m, t: exp(s - (m + log(t))),
    ],
    transferring.EXCESS: [
        lambda law, n: ((law > 0).sum() - len(law)) / (2 * n),
        lambda law, n: sum(np.count_nonzero(row) - 1 for row in law) / n / 2,
        lambda law, n: np.mean((law != 0).sum(axis=1) - 1) * len(law) * 0.5 / n,
    ],
    transferring.SHARE: [
        lambda i, o, r: r * (i + o) / (i * o),
        lambda i, o, r: (np.zeros((i, r)).size + np.zeros((r, o)).size) / np.zeros((i, o)).size,
        lambda i, o, r: r / o + r / i,
    ],
    transferring.MERGED: [
        lambda w, u, v, s: w + s * u @ v,
        lambda w, u, v, s: w + np.einsum("ir,ro->io", u, s * v),
        lambda w, u, v, s: w + sum(s * np.outer(u[:, r], v[r]) for r in range(len(v))),
    ],
    rewarding.ADVANTAGES: [
        lambda r: [r[n] - np.delete(r, n).mean() for n in range(len(r))],
        lambda r: (r - r.mean()) * len(r) / (len(r) - 1),
        lambda r: r - (1 - np.eye(len(r))) @ r / (len(r) - 1),
    ],
    rewarding.KL: [
        lambda p, q: exp(q) / exp(p) - 1 - (q - p),
        lambda p, q: np.expm1(q - p) + p - q,
        lambda p, q: [math.exp(b - a) - 1 + a - b for a, b in zip(p, q, strict=True)],
    ],
    rewarding.BEST: [
        lambda p, r, b: b * np.logaddexp.reduce(log(p) + r / b),
        lambda p, r, b: max(r) + b * log(p @ exp((r - max(r)) / b)),
        lambda p, r, b: max(r) + b * math.log(
            sum(x * math.exp((y - max(r)) / b) for x, y in zip(p, r, strict=True))
        ),
    ],
    outgrowing.AVERAGE: [
        s.average_loop,
        lambda g, n: np.average(g, axis=0, weights=n),
        lambda g, n: (g * n[:, None]).sum(0) / n.sum(),
    ],
    outgrowing.W_QKV: [
        s.qkv_filled,
        lambda q, k, v: np.concatenate([q, k, v]).T,
        lambda q, k, v: np.hstack([q.T, k.T, v.T]),
    ],
    outgrowing.MULTIPLICATIONS: [
        s.products,
        lambda V, C, L, B, T: 3 * (B * T) * C * (V + L * (12 * C + 2 * T)),
        lambda V, C, L, B, T: 3.0 * (B * T * V * C + L * (B * T * 12 * C * C + 2 * B * T * T * C)),
    ],
    outgrowing.SUM_OF_PATHS: [
        s.paths_loop,
        lambda which, parts, n: np.eye(n)[which].T @ parts,
        lambda which, parts, n: np.array([parts[which == i].sum(axis=0) for i in range(n)]),
    ],
}  # fmt: skip

WRONG = {
    heads.SPLIT: [
        (lambda x, h: x.reshape(h, len(x), -1), "rows are cut"),
        (lambda x, h: x.reshape(len(x), h, -1), "behind the positions"),
        (lambda x, h: np.stack([x[:, i::h] for i in range(h)]), "H-th column"),
        (lambda x, h: np.stack(np.split(x, h, axis=1))[::-1], "reverse"),
        (lambda x, h: x.reshape(len(x), h, -1).transpose(1, 2, 0), "transposed"),
    ],
    heads.MERGE: [
        (lambda x: x.reshape(x.shape[1], -1), "below one another"),
        (lambda x: x.transpose(1, 2, 0).reshape(x.shape[1], -1), "alternate"),
        (lambda x: sum(x), "added up"),
        (lambda x: x.mean(0), "mean"),
        (lambda x: np.hstack(x).T, "transpose"),
    ],
    heads.MULTI_HEAD: [
        (lambda q, k, v, h: s.heads_loop(q, k, v, h, scale=q.shape[1] ** -0.5), "√A"),
        (lambda q, k, v, h: s.heads_loop(q, k, v, h, scale=1), "scale 1/√D is missing"),
        (lambda q, k, v, h: s.heads_loop(q, k, v, 1), "one head over all columns"),
        (lambda q, k, v, h: -s.heads_loop(q, k, v, h), "sign"),
        (lambda q, k, v, h: np.mean(np.split(s.heads_loop(q, k, v, h), h, axis=1), axis=0),
         "averaged"),
    ],
    way_in.PRODUCT: [
        (lambda x, w: w @ x, "columns of the right one"),
        (lambda x, w: (x @ w).T, "transposed"),
        (lambda x, w: np.diag(x @ w), "diagonal"),
        (lambda x, w: x @ w / x.shape[1], "averaged"),
        (lambda x, w: -(x @ w), "sign"),
    ],
    way_in.CHAIN: [
        (lambda a, b, c: (a * b + c) * np.array([b, a, 1.0]), "the 2 is missing"),
        (lambda a, b, c: 2 * (a * b + c) * np.array([a, b, 1.0]), "exchanged"),
        (lambda a, b, c: (b, a, 1.0), "slopes of v² are missing"),
        (lambda a, b, c: (a * b + c) ** 2, "itself"),
        (lambda a, b, c: -2 * (a * b + c) * np.array([b, a, 1.0]), "sign"),
    ],
    way_in.USED_TWICE: [
        (lambda x: exp(x), "only the first use"),
        (lambda x: x * exp(x), "only the second use"),
        (lambda x: exp(x) - x * exp(x), "subtracted"),
        (lambda x: x * exp(2 * x), "multiplied"),
        (lambda x: -(1 + x) * exp(x), "sign"),
    ],
    counting.BIGRAM: [
        (s.bigram_set, "counts once"),
        (s.bigram_unsmoothed, "one is not added"),
        (s.bigram_short, "the last pair is missing"),
        (s.bigram_no_return, "`return` missing"),
        (s.bigram_beyond, "IndexError in line"),
        (lambda ids, V: s.bigram_bincount(ids, V).T, "transposed"),
        (lambda ids, V: s.bigram_bincount(ids[::-1], V), "the word is the row"),
        (lambda ids, V: np.log(s.bigram_bincount(ids, V)), "np.log too many"),
    ],
    counting.ENTROPY: [
        (s.entropy_bits, "to base 2"),
        (lambda p: -np.sum(p * np.log10(p, where=p > 0, out=np.zeros_like(p))), "base 10"),
        (lambda p: np.sum(p[p > 0] * log(p[p > 0])), "sign is wrong"),
        (lambda p: -np.sum(p * log(p)), "0 log 0"),
        (lambda p: -np.mean(p * log(np.maximum(p, 1e-300))), "mean over the words"),
        (lambda p: np.sum(p[p > 0] * np.log2(p[p > 0])), "sign is wrong"),
        (lambda p: -np.sum(p * log(p + 1e-9)), "small number"),
        (lambda p: exp(s.entropy_loop(p)), "perplexity"),
    ],
    counting.PERPLEXITY: [
        (lambda n, t: 2 ** (n.sum() / t.sum()), "2 is raised"),
        (lambda n, t: exp((n / t).mean()), "averaged"),
        (s.perplexity_mean_of, "perplexities are averaged"),
        (lambda n, t: n.sum() / t.sum(), "np.exp is missing"),
        (lambda n, t: exp(-n.sum() / t.sum()), "sign"),
        (lambda n, t: exp(n / t), "one number for each batch"),
        (lambda n, t: 2 * exp(n.sum() / t.sum()), "2 times too large"),
    ],
    counting.TRIGRAM: [
        (s.trigram_backwards, "reversed"),
        (lambda ids, V: np.array(s.trigram_counter(ids, V)).swapaxes(0, 1), "u and v"),
        (lambda ids, V: s.trigram_loop(ids[:-1], V), "last triple is missing"),
        (lambda ids, V: 2 * s.trigram_loop(ids, V), "2 times too large"),
        (lambda ids, V: s.trigram_loop(ids, V).sum(axis=0), "shape (2, 2)"),
    ],
    one_matrix.SCORES: [
        (lambda e: e.T @ e, "dimension by dimension"),
        (lambda e: e @ e, "is a transpose missing? e.T @ e or e @ e.T would fit"),
        (lambda e: np.dot(e, e), "is a transpose missing?"),
        (lambda e: e @ e.T / len(e[0]) ** 0.5, "√C"),
        (lambda e: softmax(e @ e.T), "softmax is one step too many"),
        (lambda e: 2 * e @ e.T, "2 times too large"),
        (lambda e: np.sum(e * e, axis=1), "each word with itself"),
    ],
    one_matrix.SOFTMAX: [
        (softmax, "subtract the largest"),
        (s.softmax_2d, "line"),
        (s.softmax_in_place, "changes its argument s"),
        (lambda x: exp(x - x.max()) / exp(x - x.max()).sum(), "the whole table sums to 1"),
        (lambda x: exp(x - x.max(-1, keepdims=True)), "division is missing"),
        (lambda x: exp(x - x.max(0)) / exp(x - x.max(0)).sum(0), "columns sum to 1"),
        (lambda x: 1 / (1 + exp(-x)), "logistic"),
    ],
    one_matrix.CONTEXTS: [
        (s.contexts_after, "after softmax"),
        (s.contexts_open, "nobody is masked"),
        (s.contexts_strict, "j ≤ i, not j < i"),
        (s.contexts_scaled, "√C"),
        (s.contexts_zero, "−∞"),
        (lambda e: s.contexts_loop(e)[-1], "last position"),
        (lambda e: np.cumsum(e, 0) / np.arange(1, len(e) + 1)[:, None], "plain means"),
    ],
    one_matrix.MODEL: [
        (s.model_every_position, "every position"),
        (s.model_first, "first context"),
        (lambda E, ids: E @ np.array(s.contexts_loop(E[ids]))[-1], "softmax is missing"),
        (lambda E, ids: s.model_from(E, E[ids[-1]]), "last word alone"),
        (lambda E, ids: s.model_from(E, E[ids].mean(0)), "plain mean"),
        (lambda E, ids: log(s.model_loop(E, ids)), "log p"),
        (lambda E, ids: softmax(E @ E[ids]), "E is (3, 2)"),
    ],
    one_matrix.DZ: [
        (s.dz_in_place, "changes its argument p"),
        (lambda p, y: np.eye(len(p))[y] - p, "sign"),
        (lambda p, y: p - 1, "everywhere"),
        (lambda p, y: p[y] - 1, "all of dz"),
        (lambda p, y: p, "nothing is subtracted"),
        (lambda p, y: p - np.eye(len(p))[y - 1], "word before"),
    ],
    checking.CENTRAL_DIFFERENCE: [
        (central(1, 0, lambda h: h), "one-sided"),
        (central(0, 1, lambda h: h), "one-sided"),
        (central(1, 1, lambda h: h), "2 is missing"),
        (central(-1, -1, lambda h: 2 * h), "sign"),
        (central(1, 1, lambda h: 2 / h), "2*h multiplies"),
        (s.central_changes_x, "changes its argument x"),
        (lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / (2 * h), "all entries are moved at once"),
        (lambda f, x, h=1e-5: s.central_flat(f, x), "h is not used"),
    ],
    checking.COMPLEX_STEP: [
        (s.complex_of(lambda y, h: y.real / h), "imaginary part is expected"),
        (s.complex_of(lambda y, h: y.imag), "not divided by h"),
        (s.complex_of(lambda y, h: y.imag / (2 * h)), "2h"),
        (s.complex_of(lambda y, h: y / h), "complex"),
        (s.complex_by_difference, "difference"),
        (lambda f, x, h=1e-30: f(x + 1j * h).imag / h, "at once"),
        (lambda f, x, h=1e-30: s.central_flat(f, x, h), "must be imaginary"),
    ],
    checking.GRADIENT_ERROR: [
        (lambda a, n: np.abs(a - n).mean() / (np.abs(n).max() + 0.001), "mean of the differences"),
        (lambda a, n: np.abs(a - n).max() / np.abs(n).max(), "0.001 is missing"),
        (lambda a, n: np.abs(a - n).max() / (np.abs(a).max() + 0.001), "analytic"),
        (lambda a, n: (np.abs(a - n) / (np.abs(n) + 0.001)).max(), "entry by entry"),
        (lambda a, n: (a - n).max() / (np.abs(n).max() + 0.001), "np.abs is missing"),
        (lambda a, n: np.abs(a - n).max() / (n.max() + 0.001), "absolute value"),
    ],
    checking.A_CHECK: [
        (lambda backward: 1, "it calls everything right"),
        (lambda backward: 0, "wrong"),
        (lambda backward: int(np.allclose(
            backward(np.ones((2, 3)), np.full((2, 3), 1 / 3)), 0)), "it survives"),
        (lambda backward: int(np.allclose(
            np.sum(backward(np.eye(3), softmax(np.eye(3))), axis=-1), 0)), "it survives"),
        (lambda backward: None, "None"),
    ],
    learning.LARGEST_RATE: [
        (lambda c: 2 / c.min(), "flattest"),
        (lambda c: 1 / c.max(), "1/max"),
        (lambda c: 2 / c.mean(), "mean"),
        (lambda c: c.max() / 2, "upside down"),
        (lambda c: 2 / c, "one rate for each"),
        (lambda c: -2 / c.max(), "sign"),
    ],
    learning.ADAM: [
        (lambda gs, r: -s.adam_powers(gs, r), "sign is wrong"),
        (s.adam(lambda m, v, t: -m / (v**0.5 + 1e-8)), "corrections m̂ and v̂ are missing"),
        (s.adam(lambda m, v, t: -m / (1 - 0.9**t) / (v**0.5 + 1e-8)), "correction of v is missing"),
        (s.adam(lambda m, v, t: -(m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t) + 1e-8)),
         "within the root"),
        (s.adam(lambda m, v, t: -(m / (1 - 0.9 ** (t - 1))) / (v**0.5 + 1e-8)), "divides by 0"),
        (s.adam(lambda m, v, t: -m / (1 - 0.9**t) / (v / (1 - 0.999**t) + 1e-8)), "root is"),
        (s.adam(lambda m, v, t: -m), "momentum"),
        (lambda gs, r: -r * sum(gs), "plain gradient descent"),
    ],
    learning.CLIP: [
        (s.clip_in_place, "changes its argument g"),
        (lambda g, m: g * m / np.linalg.norm(g), "stretched"),
        (lambda g, m: np.clip(g, -m, m), "each entry is clipped"),
        (lambda g, m: g * min(1, m / np.abs(g).sum()), "sum of |g|"),
        (lambda g, m: g * min(1, m / (g**2).sum()), "root is missing"),
        (lambda g, m: g * max(1, m / np.linalg.norm(g)), "largest of 1"),
        (lambda g, m: g * min(1, m / (np.linalg.norm(g) + 1e-6)), "small number"),
    ],
    learning.RATE: [
        (s.rate(s.up, lambda x: 1 - x), "straight line"),
        (s.rate(lambda s, w: s / w, s.half_cosine), "0 at the first step"),
        (s.rate(lambda s, w: (s + 1) / w, s.half_cosine), "too early"),
        (s.rate(s.up, lambda x: math.cos(x * math.pi / 2)), "quarter"),
        (s.rate(s.up, lambda x: (1 + math.cos(x)) / 2), "π is missing"),
        (lambda s_, p, w, t: p * s.half_cosine(s_ / t), "no warm-up"),
        (s.rate(lambda s, w: s / w, lambda x: 1 - x), "straight line leads down"),
    ],
    repairs.FIRST_LOSS: [
        (s.first_loss(lambda p, n: -log(np.diag(p)).mean()), "word itself"),
        (s.first_loss(lambda p, n: -np.log2(np.diag(np.roll(p, -1, 1))).mean()), "base 2"),
        (s.first_loss(lambda p, n: -log(np.diag(np.roll(p, -1, 1))).sum()), "added up"),
        (s.first_loss(lambda p, n: log(np.diag(np.roll(p, -1, 1))).mean()), "sign"),
        (s.first_loss(lambda p, n: -log(np.diag(p, 1)).mean()), "last word is left out"),
        (s.first_loss(lambda p, n: -log(np.diag(np.roll(p, -1, 1)).mean())), "before the log"),
    ],
    repairs.VALUE_MAP: [
        (lambda E, Z: np.linalg.inv(E) @ Z @ np.linalg.inv(E), "transposed"),
        (lambda E, Z: E.T @ Z @ E, "taken for the inverse"),
        (lambda E, Z: E @ Z @ E.T, "must be inverted"),
        (lambda E, Z: np.linalg.solve(E, Z), "only E on the left"),
        (lambda E, Z: np.linalg.inv(E) @ Z.T @ np.linalg.inv(E).T, "transposed"),
    ],
    writing.TEMPERATURE: [
        (lambda z, T: softmax(z - z.max()) / T, "probabilities are divided"),
        (lambda z, T: softmax((z - z.max()) * T), "multiplied"),
        (lambda z, T: softmax(z / T), "subtract the largest"),
        (lambda z, T: exp((z - z.max()) / T), "not divided by their sum"),
        (lambda z, T: softmax(z - z.max()), "no effect"),
        (lambda z, T: log(softmax((z - z.max()) / T)), "logarithms"),
    ],
    writing.TOP_P: [
        (s.top_p(lambda t, q: max(1, (t <= q).sum())), "one"),
        (s.top_p(lambda t, q: (t < q).sum()), "last one is missing"),
        (s.top_p(lambda t, q: (t < q).sum() + 1, shared=False), "divide by its sum"),
        (s.top_p(lambda t, q: (t < q).sum() + 1, falling=False), "unlikeliest"),
        (s.top_p(lambda t, q: (t <= q).sum() + 1), "exactly share"),
        (lambda p, q: np.sort(s.top_p_loop(p, q))[::-1], "sorted"),
    ],
    writing.MASK: [
        (lambda T, S: np.tril(np.ones((T, S))), "past is left out"),
        (lambda T, S: np.tril(np.ones((T, S)), S - T - 1), "look at itself"),
        (lambda T, S: np.triu(np.ones((T, S)), S - T), "what comes"),
        (lambda T, S: np.ones((T, S)), "everybody"),
        (lambda T, S: 1 - np.tril(np.ones((T, S)), S - T), "reversed"),
        (lambda T, S: np.where(np.tri(T, S, S - T), 0, -np.inf), "−∞"),
    ],
    writing.INDUCTION: [
        (s.induction_first, "first place"),
        (s.induction_silent, "`return` missing"),
        (s.induction_itself, "line"),
        (lambda ids: np.append(-1, np.flatnonzero(ids[:-1] == ids[-1]))[-1], "this is the place"),
        (lambda ids: max(0, s.induction_loop(ids)), "0 stands for"),
    ],
    reading.INPUTS: [
        (s.inputs_in_place, "changes its argument ids"),
        (s.inputs(lambda f: f <= 0.8, lambda f: (f > 0.8) & (f < 0.9)), "exactly 0.8"),
        (s.inputs(lambda f: f < 0.9, lambda f: f < 0), "mask takes all below 0.9"),
        (s.inputs(lambda f: f < 0.8, lambda f: f >= 0.8), "from 0.9 on the token stays"),
        (s.inputs(lambda f: f < 0.8, lambda f: f < 0), "no random word"),
        (lambda ids, c, f, d, m: np.where(f < 0.8, m, np.where(f < 0.9, d, ids)), "all tokens"),
    ],
    reading.TWO_SIDES: [
        (lambda law, a, b: law[a] * law[b] / (law[a] * law[b]).sum(), "the column"),
        (lambda law, a, b: law[a] * law[:, b], "not divided by its sum"),
        (lambda law, a, b: (law[a] + law[:, b]) / (law[a] + law[:, b]).sum(), "multiply"),
        (lambda law, a, b: law[a], "only the left side"),
        (lambda law, a, b: law[:, b] / law[:, b].sum(), "only the right side"),
    ],
    reading.SPAN: [
        (s.span_end_first, "best end is taken first"),
        (s.span_start_first, "best start is taken first"),
        (lambda start, end: (start.argmax(), end.argmax()), "before the start"),
        (s.span_from_zero, "negative"),
        (s.span_strict, "single token"),
        (lambda start, end: s.span_loop(start, end)[::-1], "end, start"),
    ],
    reading.SCORES: [
        (lambda f, t: s.prf(t, f), "exchanged"),
        (lambda f, t: s.prf(f, t, lambda p, r: (p + r) / 2), "plain mean"),
        (lambda f, t: s.prf(f, t, lambda p, r: p * r / (p + r) if p else 0), "2 is missing"),
        (lambda f, t: s.prf(1 - f, 1 - t), "class 0"),
        (lambda f, t: np.full(3, (f == t).mean()), "accuracy"),
        (lambda f, t: s.prf(f, t)[:2], "shape (2,)"),
    ],
    translating.DECODER_MASK: [
        (lambda t, p: np.tri(t.shape[1])[None] * np.ones((len(t), 1, 1)), "padding is not masked"),
        (lambda t, p: np.tri(t.shape[1]) * (t != p)[:, :, None], "rows of padding"),
        (lambda t, p: (t != p)[:, None, :] * np.ones((1, t.shape[1], 1)), "what comes"),
        (lambda t, p: np.tri(t.shape[1], k=-1) * (t != p)[:, None], "look at itself"),
        (lambda t, p: np.tri(t.shape[1]) * (t != 0)[:, None], "taken to be 0"),
        (lambda t, p: np.tri(t.shape[1]), "one mask for all texts"),
    ],
    translating.SMOOTHED_TARGETS: [
        (lambda y, V, e: np.where(np.eye(V)[y] > 0, 1 - e, e / (V - 1)), "V − 1"),
        (lambda y, V, e: np.where(np.eye(V)[y] > 0, 1 - e, e / V), "lacks its share"),
        (lambda y, V, e: np.eye(V)[y] + e / V, "keeps 1"),
        (lambda y, V, e: np.eye(V)[y] * (1 - e) + e, "divided by V"),
        (lambda y, V, e: np.eye(V)[y], "nothing is smoothed"),
        (lambda y, V, e: np.eye(V)[y] * (1 - e), "epsilon/V is missing"),
    ],
    translating.RATE: [
        (lambda n, C, w: C**-0.5 * max(n**-0.5, n * w**-1.5), "larger"),
        (lambda n, C, w: C**0.5 * min(n**-0.5, n * w**-1.5), "C^0.5"),
        (lambda n, C, w: min(n**-0.5, n * w**-1.5), "width is left out"),
        (lambda n, C, w: C**-0.5 * min(n**-0.5, n * w**-0.5), "w^−0.5"),
        (lambda n, C, w: C**-0.5 * min((n + 1) ** -0.5, (n + 1) * w**-1.5), "counted from 1"),
    ],
    translating.BEAM: [
        (s.beam_greedy, "only the likeliest"),
        (s.beam_exhaustive, "whatever the width"),
        (s.beam_second_alone, "second word's probability alone"),
        (lambda f, t, w: s.beam_lists(f, t, w)[::-1], "second, first"),
        (lambda f, t, w: s.beam_lists(f, t.T, w), "row and the column"),
    ],
    listing.TARGETS: [
        (lambda t: t[:, 1:], "padding counts"),
        (lambda t: np.where(t == 0, -100, t)[:, :-1], "word itself"),
        (lambda t: np.where(t[:, 1:] == 0, -1, t[:, 1:]), "−1"),
        (s.targets_in_place, "changes its argument texts"),
        (lambda t: np.where(t == 0, -100, t), "T + 1"),
    ],
    listing.LOSS: [
        (s.loss(axis=1), "over the positions"),
        (s.loss(axis=0), "over the texts"),
        (s.loss(end=np.sum), "added up"),
        (s.loss(end=lambda x: x), "each position"),
        (s.loss(end=lambda x: -x.mean()), "sign"),
        (s.loss(end=lambda x: x.mean() / log(2)), "base 2"),
        (lambda z, y: -np.take_along_axis(z, y[..., None], -1).mean(), "log Σ exp is missing"),
    ],
    listing.PARAMETERS: [
        (lambda V, C, L, N: L * 12 * C**2 + (V + N + 2) * C, "biases"),
        (lambda V, C, L, N: L * (12 * C**2 + 13 * C) + (V + N) * C, "last norm is missing"),
        (lambda V, C, L, N: L * (12 * C**2 + 13 * C) + (V + 2) * C, "P is missing"),
        (lambda V, C, L, N: L * (12 * C**2 + 13 * C + (V + N + 2) * C), "exist once"),
        (lambda V, C, L, N: 12 * C**2 + 13 * C + (V + N + 2) * C, "L is missing"),
        (lambda V, C, L, N: L * (12 * C**2 + 13 * C) + (2 * V + N + 2) * C, "twice"),
    ],
    listing.SEES_THE_FUTURE: [
        (s.future(lambda T: [T - 1], lambda j: (slice(None), slice(0, j))), "only the last word"),
        (s.future(lambda T: range(T), lambda j: (slice(None), slice(0, j + 1))), "itself"),
        (s.future(lambda T: range(1, T), lambda j: (slice(None), slice(None))), "all logits"),
        (s.future(lambda T: range(1, T), lambda j: (0, slice(0, j))), "first text"),
        (s.future(lambda T: range(1, T), lambda j: (slice(None), j - 1)), "just before"),
        (s.future_changes_ids, "changes its argument ids"),
        (lambda f, ids, V: False, "always says False"),
    ],
    llama.SIZE: [
        (lambda x: np.linalg.norm(x, axis=-1, keepdims=True), "sum of squares"),
        (lambda x: np.sqrt(x.var(-1, keepdims=True)), "mean is subtracted"),
        (lambda x: np.sqrt((x * x).mean(-1)), "keepdims"),
        (lambda x: (x * x).mean(-1, keepdims=True), "root is missing"),
        (lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True)), "size is asked for"),
        (lambda x: np.sqrt((x * x).mean()), "axis=-1"),
    ],
    llama.TURN: [
        (lambda p, t: np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) @ p, "other way"),
        (lambda p, t: np.array([[np.cos(t), np.sin(t)], [np.sin(t), np.cos(t)]]) @ p, "plus"),
        (lambda p, t: llama.TURN.solution(p, t * math.pi / 180), "degrees"),
        (lambda p, t: p * np.cos(t), "partner"),
        (lambda p, t: np.array([[np.sin(t), -np.cos(t)], [np.cos(t), np.sin(t)]]) @ p, "exchanged"),
    ],
    llama.CACHE: [
        (lambda L, G, D, T: L * G * D * T, "values as well"),
        (lambda L, G, D, T: 3 * L * G * D * T, "queries"),
        (lambda L, G, D, T: 2 * G * D * T, "one layer"),
        (lambda L, G, D, T: 2 * L * G * D, "one token"),
        (lambda L, G, D, T: 2 * L * G * D * T * 4, "bytes"),
    ],
    finding.FACTOR: [
        (lambda a, n: np.vdot(a, n) / np.vdot(n, n), "not every entry"),
        (lambda a, n: np.linalg.norm(a) / np.linalg.norm(n), "same size"),
        (lambda a, n: a / n, "one number"),
        (lambda a, n: (a / n).mean(), "mean of the ratios"),
        (lambda a, n: a.ravel()[0] / n.ravel()[0], "one entry"),
    ],
    finding.REMAINING: [
        (lambda shows, seen: (shows == seen).all(axis=1), "not asked"),
        (lambda shows, seen: ((shows == seen) | (seen < 0)).any(axis=1), "all must fit"),
        (lambda shows, seen: ((shows == seen) | (seen < 1)).all(axis=1), "silence is not used"),
        (lambda shows, seen: np.where(((shows == seen) | (seen < 0)).all(axis=1))[0], "indices"),
        (lambda shows, seen: ((shows != seen) & (seen >= 0)).any(axis=1), "drop out"),
    ],
    finding.WORTH: [
        (lambda shows: finding.WORTH.solution(shows) / log(2), "bits"),
        (lambda shows: shows.mean(axis=0), "share"),
        (lambda shows: shows.var(axis=0), "variance"),
        (lambda shows: -(p := shows.mean(0)) * log(p) - (1 - p) * log(1 - p), "0 log 0"),
        (lambda shows: int(finding.WORTH.solution(shows).argmax()), "best question"),
    ],
    real_model.PARAMETERS: [
        (lambda V, C, L, H, G, F: V * C + L * (4 * C * C + 3 * C * F + 2 * C) + C, "for each head"),
        (lambda V, C, L, H, G, F: real_model.PARAMETERS.solution(V, C, L, H, G, F) + V * C,
         "counted twice"),
        (lambda V, C, L, H, G, F: V * C + L * (C * (H + 2 * G) * C // H + C * C + 3 * C * F),
         "gains"),
        (lambda V, C, L, H, G, F: C + V * C + L * (
            C * (H + 2 * G) * C // H + C * C + 2 * C * F + 2 * C), "three"),
        (lambda V, C, L, H, G, F: V * C + C * (H + 2 * G) * C // H + C * C + 3 * C * F + 3 * C,
         "one block"),
    ],
    real_model.PREVIOUS: [
        (lambda a: np.trace(a) / len(a), "one below"),
        (lambda a: np.trace(a, offset=-1), "sum"),
        (lambda a: np.trace(a, offset=-1) / len(a), "T − 1"),
        (lambda a: np.trace(a, offset=1) / (len(a) - 1), "above"),
        (lambda a: np.mean([a[t, 0] for t in range(1, len(a))]), "first token"),
    ],
    real_model.LENS: [
        (lambda h, gain, E, eps: h @ E.T, "norm is missing"),
        (lambda h, gain, E, eps: h / np.sqrt((h * h).mean(-1, keepdims=True) + eps) @ E.T,
         "gain"),
        (lambda h, gain, E, eps: gain * h / np.sqrt((h * h).mean(-1, keepdims=True)) @ E.T, "eps"),
        (lambda h, gain, E, eps: gain * h / np.sqrt((h * h).mean() + eps) @ E.T, "over all rows"),
        (lambda h, gain, E, eps: real_model.LENS.solution(
            h - h.mean(-1, keepdims=True), gain, E, eps), "mean is subtracted"),
    ],
    long_texts.SCORES: [
        (lambda T, N: T**2, "whole square"),
        (lambda T, N: (T + 1) * T // 2, "mask lets live"),
        (lambda T, N: sum(N * n for n in range(0, T, N)), "its own"),
        (lambda T, N: sum(n for n in range(N, T + 1, N)), "one row"),
        (lambda T, N: T * T / 2, "half of the square"),
    ],
    long_texts.ONLINE_SUM: [
        (lambda s: (max(s), exp(s).sum()), "subtract the largest"),
        (lambda s: exp(s - s.max()).sum(), "λ alone"),
        (lambda s: (exp(s - s.max()).sum(), s.max()), "other order"),
        (lambda s: np.logaddexp.reduce(s), "log Σ exp"),
        (lambda s: (s.max(), log(exp(s - s.max()).sum())), "logarithm of the sum"),
    ],
    long_texts.WEIGHTS: [
        (lambda s, m, t: exp(s - m), "not divided"),
        (lambda s, m, t: exp(s) / t, "not subtracted"),
        (lambda s, m, t: s - m - log(t), "logarithms"),
        (lambda s, m, t: exp(s - m - t), "inside exp"),
        (lambda s, m, t: exp(s) / exp(m) / t, "subtract first"),
    ],
    transferring.EXCESS: [
        (lambda law, n: (law > 0).sum() / (2 * n), "minus 1"),
        (lambda law, n: ((law > 0).sum() - len(law)) / n, "2 is missing"),
        (lambda law, n: (law.size - len(law)) / (2 * n), "impossible"),
        (lambda law, n: (law > 0).sum() - len(law), "this is k"),
        (lambda law, n: ((law > 0).sum() - len(law)) / (2 * n * len(law)), "mean over the words"),
    ],
    transferring.SHARE: [
        (lambda i, o, r: r * (i + o), "number"),
        (lambda i, o, r: r * i / (i * o), "second"),
        (lambda i, o, r: i * o / (r * (i + o)), "upside down"),
        (lambda i, o, r: r * r / (i * o), "R²"),
        (lambda i, o, r: (i + o) / (i * o), "rank is missing"),
    ],
    transferring.MERGED: [
        (lambda w, u, v, s: w + u @ v, "scale is missing"),
        (lambda w, u, v, s: s * u @ v, "W is missing"),
        (lambda w, u, v, s: w - s * u @ v, "subtracted"),
        (lambda w, u, v, s: s * (w + u @ v), "W is scaled"),
        (lambda w, u, v, s: w + s * s * u @ v, "twice"),
    ],
    rewarding.ADVANTAGES: [
        (lambda r: r - r.mean(), "in its baseline"),
        (lambda r: r, "no baseline"),
        (lambda r: r.mean() - r, "in its baseline"),
        (lambda r: (r - r.mean()) / (r.std() + 1e-8), "GRPO"),
        (lambda r: 2 * r - r.sum(), "their mean"),
        (lambda r: r - (r.sum() - r) / r.size, "N − 1"),
    ],
    rewarding.KL: [
        (lambda p, q: p - q, "k1"),
        (lambda p, q: (q - p) ** 2 / 2, "k2"),
        (lambda p, q: exp(p - q) - 1 - (p - q), "exchanged"),
        (lambda p, q: exp(q - p) + p - q, "−1 is missing"),
        (lambda p, q: (exp(q - p) - 1 + p - q).mean(), "each text"),
    ],
    rewarding.BEST: [
        (lambda p, r, b: log(p @ exp(r / b)), "in front of the logarithm"),
        (lambda p, r, b: b * log(p @ exp(r * b)), "divide"),
        (lambda p, r, b: b * log(exp(r / b).sum()), "reference is left out"),
        (lambda p, r, b: p @ r, "mean reward"),
        (lambda p, r, b: r.max(), "largest reward"),
    ],
    outgrowing.AVERAGE: [
        (lambda g, n: g.mean(axis=0), "every share counts the same"),
        (lambda g, n: n @ g, "do not sum to 1"),
        (lambda g, n: g.sum(axis=0), "without weights"),
        (lambda g, n: (g / n[:, None]).sum(0), "1/counts"),
        (lambda g, n: (g * n / n.sum()).sum(0), "not the shares: counts[:, None]"),
    ],
    outgrowing.W_QKV: [
        (lambda q, k, v: np.hstack([q, k, v]), "not transposed"),
        (lambda q, k, v: np.vstack([q.T, k.T, v.T]), "on top of one another"),
        (lambda q, k, v: np.hstack([k.T, q.T, v.T]), "key comes first"),
        (lambda q, k, v: np.stack([q.T, k.T, v.T]), "new axis"),
        (lambda q, k, v: np.concatenate([q, k, v]), "on top of one another"),
    ],
    outgrowing.MULTIPLICATIONS: [
        (lambda V, C, L, B, T: B * T * (12 * L * C**2 + 2 * L * T * C + V * C), "backward"),
        (lambda V, C, L, B, T: 3 * B * T * (12 * L * C**2 + V * C), "2 T C"),
        (lambda V, C, L, B, T: 3 * B * T * L * (12 * C**2 + 2 * T * C), "output is missing"),
        (lambda V, C, L, B, T: 3 * B * T * (12 * C**2 + 2 * T * C + V * C), "L is missing"),
        (lambda V, C, L, B, T: 6 * B * T * (12 * L * C**2 + 2 * L * T * C + V * C), "as two"),
    ],
    outgrowing.SUM_OF_PATHS: [
        (s.paths_fancy, "forgets repeats"),
        (s.paths_assigned, "only the last counts"),
        (lambda w, p, n: np.eye(n)[w].T @ p / len(w), "averaged"),
        (lambda w, p, n: s.paths_fancy(w, p, w.max() + 1), "n"),
        (lambda w, p, n: -np.eye(n)[w].T @ p, "subtracted"),
    ],
}  # fmt: skip


def name_of(exercise):
    return next(name for name, other in EXERCISES.items() if other is exercise)


def rows(table):
    return [
        pytest.param(exercise, answer, id=f"{name_of(exercise)}-{i}")
        for exercise, answers in table.items()
        for i, answer in enumerate(answers)
    ]


@pytest.mark.parametrize("exercise, answer", rows(RIGHT))
def test_a_right_answer_in_any_style_is_right(exercise, answer):
    assert check(answer, exercise).passed, check(answer, exercise)


@pytest.mark.parametrize("exercise, answer", rows(WRONG))
def test_a_wrong_answer_is_told_its_own_mistake(exercise, answer):
    function, words = answer
    verdict = check(function, exercise)
    assert verdict.state == "wrong"
    assert words in verdict.says, verdict.says


def test_every_exercise_is_answered_right_and_wrong():
    asked = {name for name in EXERCISES}
    assert {name_of(exercise) for exercise in WRONG} == asked
    assert {name_of(exercise) for exercise in RIGHT} == asked - {"checking.A_CHECK"}
    assert all(len(answers) >= 3 for answers in RIGHT.values())
    assert all(len(answers) >= 5 for answers in WRONG.values())


@pytest.mark.parametrize("name", EXERCISES)
def test_every_mistake_of_an_exercise_is_told_by_its_own_sentence(name):
    exercise = EXERCISES[name]
    assert check(exercise.solution, exercise).passed
    for sentence, mistaken in islice(exercise.wrong(), len(exercise.mistakes)):
        says = check(mistaken, exercise).says
        assert f"The reason: {sentence}." in says, says


def test_two_mistakes_at_once_are_both_told():
    def bits_with_a_plus(p):
        return np.sum(p[p > 0] * np.log10(p[p > 0]))

    says = check(bits_with_a_plus, counting.ENTROPY).says
    assert "the logarithm is to base 10" in says and "the sign is wrong" in says


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebooks_ask_these_exercises_and_the_solutions_answer_them(path):
    def asked(notebook):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells)
        module = re.search(r"from numpylm.course.problems.(\w+) import", source)
        names = re.findall(r"^check\((my_\w+), (\w+)\)", source, re.MULTILINE)
        return [(mine, f"{module[1]}.{name}") for mine, name in names] if module else []

    assert asked(path) == asked(path.parents[1] / SOLUTIONS / path.name)
    assert {name for _, name in asked(path)} <= set(EXERCISES)
