"""Which mistake has which level, as measured; so a seed means the same mistake on every machine.

    python -m numpylm.course.bug_levels        measure again (ten minutes): differences, or none

A mistake is left out where the training of neither model calls its function.
"""

from functools import cache

from ..checks.mutants import MUTANTS
from .bug_symptoms import LEVELS, Met, Symptoms, pool

MEASURED = """
2 GPT embedding_backward: a repeated word keeps its last row
2 GPT embedding_backward: a repeated word keeps its first row
2 GPT embedding_backward: a repeated word gets the mean
2 GPT embedding_backward: word 0 learns nothing
2 GPT embedding_backward: only the first text teaches
1 GPT linear_backward: dw has the shape of its transpose
1 GPT linear_backward: dw transposed
1 GPT linear_backward: dw of the first sample
2 GPT linear_backward: dw averaged
4 GPT linear_backward: dw one part in 10^9 too large
1 GPT linear_backward: dx with w reshaped
1 GPT linear_backward: db over one axis only
2 GPT linear_backward: db of the first sample
2 GPT linear_backward: db averaged
3 GPT linear_backward: a gradient for a bias that is not there
3 GPT softmax_forward: a blind row is uniform
4 GPT softmax_forward: not shifted by the maximum
4 GPT softmax_forward: shifted by the maximum of all rows
2 GPT softmax_forward: the mask adds -10000
4 GPT softmax_forward: weights in float64
1 GPT attention_backward: no query path
1 GPT attention_backward: no key path
1 GPT attention_backward: no value path
1 GPT attention_backward: dk not transposed back
1 GPT attention_backward: dv by a, not aᵀ
2 GPT attention_backward: scale missing in dq
2 GPT attention_backward: scale missing in dk
1 GPT attention_backward: scale missing in both
2 GPT attention_backward: scale twice
2 GPT attention_backward: scale in dv as well
1 GPT attention_backward: without the sum
1 GPT attention_backward: sum over the queries
1 GPT attention_backward: the sum of dc, not of dc c
1 GPT attention_backward: the sum is not multiplied by a
1 GPT attention_backward: no softmax
3 GPT attention_backward: a causal mask of its own
1 GPT attention_backward: the mask leaks gradient
3 GPT attention_backward: weights normalised again
1 GPT attention_backward: axes counted from the front
2 GPT attention_backward: dq one part in 1000 too large
1 GPT causal_mask: sees the next token
2 GPT causal_mask: counts from the front
1 GPT attention_forward: the mask is forgotten
1 GPT output_backward: dtable transposed
1 GPT output_backward: dtable of the last position
1 GPT output_backward: dc with the table reshaped
2 GPT cross_entropy_backward: divided by N twice
2 GPT cross_entropy_backward: not divided by N
2 GPT cross_entropy_backward: divided by B
2 GPT cross_entropy_backward: divided by T
3 GPT cross_entropy_backward: ignored targets in N
3 GPT cross_entropy_backward: ignored targets teach
1 GPT cross_entropy_backward: without the −1
1 GPT cross_entropy_backward: −1 at the next word
1 GPT cross_entropy_backward: −1 in the next row
1 GPT cross_entropy_backward: −1 in every row of a target
3 GPT cross_entropy_backward: upstream ignored
1 GPT cross_entropy_backward: the sign
4 GPT cross_entropy_forward: not shifted by the maximum
4 GPT cross_entropy_forward: logarithm of the probability
4 GPT check_targets: ignored targets in N, both ways
2 GPT layer_norm_backward: without the mean term
1 GPT layer_norm_backward: without the variance term
1 GPT layer_norm_backward: mean and deviation constant
2 GPT layer_norm_backward: gain outside the sums
2 GPT layer_norm_backward: gain left out
2 GPT layer_norm_backward: divided by C − 1
2 GPT layer_norm_backward: eps left out
1 GPT layer_norm_backward: divided by the variance
2 GPT layer_norm_backward: not divided by σ
1 GPT layer_norm_backward: sums over the batch
2 GPT layer_norm_backward: dgain without x̂
1 GPT layer_norm_backward: dgain over one axis only
2 GPT layer_norm_backward: dbias averaged
3 GPT layer_norm_backward: a gradient for a bias that is not there
2 GPT layer_norm_forward: variance by C − 1
4 GPT layer_norm_forward: the eps asked for is ignored
2 GPT gelu_backward: the slope of the other GELU
2 GPT gelu_backward: the cubic's 3 is missing
2 GPT gelu_backward: the cubic is constant
1 GPT gelu_backward: h for h (1 − h)
1 GPT gelu_backward: half of the product rule
2 GPT gelu_backward: u' for u
2 GPT gelu_forward: the cubic added, not multiplied
3 GPT dropout_backward: nothing dropped
3 GPT dropout_backward: without 1/(1 − p)
3 GPT dropout_backward: a fresh mask
1 GPT dropout_backward: scaled in evaluation
4 GPT dropout_forward: without 1/(1 − p), both ways
4 GPT dropout_forward: the rate is what is kept
1 GPT positions_backward: not summed over the batch
2 GPT positions_backward: averaged over the batch
2 GPT positions_backward: counted from the end
2 GPT positions_backward: nothing for e
1 GPT positions_forward: position 0 for all
1 GPT multi_head_backward: dc split without exchanging axes
1 GPT multi_head_backward: dk merged without exchanging axes
2 GPT multi_head_backward: head width and heads exchanged
1 GPT multi_head_backward: dk and dv exchanged
1 GPT multi_head_forward: scaled by 1/D, both ways
1 GPT multi_head_forward: the mask is forgotten
3 GPT multi_head_forward: a mask is taken for granted
4 GPT multi_head_forward: scaled by the whole width
1 GPT self_attention_backward: keys before queries
1 GPT self_attention_backward: dx by the values alone
2 GPT self_attention_backward: no db_qkv
3 GPT self_attention_backward: biases taken for granted
1 GPT feed_forward_backward: activation skipped
2 GPT feed_forward_backward: always ReLU
3 GPT feed_forward_backward: biases taken for granted
3 GPT feed_forward_backward: always tanh GELU
2 GPT GPT.backward: tie lost: no input path
1 GPT GPT.backward: tie lost: no output path
2 GPT GPT.backward: only the last block learns
1 GPT GPT.backward: blocks in forward order
1 GPT GPT.backward: final norm skipped
1 GPT GPT.backward: P one position late
2 GPT GPT.backward: divided by B again
2 GPT GPT.backward: P one part in 1000 too large
1 GPT GPT._block_backward: residual past feed-forward dropped
1 GPT GPT._block_backward: residual past attention dropped
1 GPT GPT._block_backward: no way through feed-forward
1 GPT GPT._block_backward: no way through attention
1 GPT GPT._block_backward: norm1 with the cache of norm2
1 GPT GPT._block_backward: norm skipped
2 GPT GPT._block_backward: the bias of q, k, v as k, q, v
3 GPT GPT._block_backward: biases taken for granted
4 GPT GPT._block_backward: dropout masks exchanged
1 GPT GPT.forward: no mask
1 Llama rms_norm_backward: ρ is a constant
1 Llama rms_norm_backward: the mean of layer normalisation as well
1 Llama rms_norm_backward: sum in place of mean
1 Llama rms_norm_backward: gain behind the mean
1 Llama rms_norm_backward: not divided by ρ
1 Llama rms_norm_backward: the gain missing in dx
2 Llama rms_norm_backward: dgain by x
1 Llama rms_norm_backward: dgain of the first text
2 Llama rms_norm_forward: the mean subtracted
2 Llama rms_norm_forward: eps outside the root
1 Llama rms_norm_forward: sum in place of mean
1 Llama _turned: a reflection
1 Llama _turned: sine and cosine exchanged
4 Llama rotation: positions from 1
1 Llama rotation: clocks by D/2
1 Llama rotation: one clock for all pairs
2 Llama silu_backward: no slope of σ
2 Llama silu_backward: σ' is σ
1 Llama silu_backward: the upstream gradient ignored
2 Llama silu_backward: x missing
2 Llama silu_forward: tanh x in place of tanh x/2
1 Llama gated_feed_forward_backward: no way through the gate
1 Llama gated_feed_forward_backward: no way through the content
1 Llama gated_feed_forward_backward: gate and content exchanged
1 Llama gated_feed_forward_backward: the gate's slope forgotten
1 Llama gated_feed_forward_backward: du by the content
1 Llama gated_feed_forward_backward: dg without the content
1 Llama gated_feed_forward_forward: silu on the content
2 Llama grouped_query_backward: keys: mean over the group
1 Llama grouped_query_backward: values: mean over the group
2 Llama grouped_query_backward: queries stacked the other way
1 Llama grouped_query_backward: no gradient for the keys
1 Llama grouped_query_backward: no gradient for the values
4 Llama grouped_query_forward: scale of all heads
3 Llama _stack: heads dealt out in turn
1 Llama grouped_self_attention_backward: queries not turned back
1 Llama grouped_self_attention_backward: keys not turned back
1 Llama grouped_self_attention_backward: values turned as well
1 Llama grouped_self_attention_backward: turned the wrong way
2 Llama rotated_qkv: values turned
1 Llama Llama.backward: the tie is lost
1 Llama Llama.backward: the embedding is missing
1 Llama Llama.backward: blocks in the order of the forward
1 Llama Llama._block_backward: no residual path round the feed-forward
1 Llama Llama._block_backward: no residual path round the attention
1 Llama Llama._block_backward: the attention gets dh'
1 Llama Llama._turn: no rotation
4 Llama Llama._norm: norms without eps
1 GPT layer_norm_backward: σ is a constant, both ways
1 GPT Adam.update: no bias correction
1 GPT Adam.update: no bias correction of v
1 GPT Adam.update: steps counted from 0
4 GPT Adam.update: eps inside the root
1 GPT Adam.update: no root
4 GPT Adam.update: moments shared between tensors
4 GPT Adam.update: v with beta1
1 GPT Adam.update: v of g, not g²
1 GPT Adam.update: uphill
1 GPT Optimizer._begin: decay inside the gradient
1 GPT Optimizer._begin: decay without the learning rate
4 GPT Optimizer._begin: everything decays
1 GPT Optimizer._begin: a step is not counted
4 GPT clip_by_global_norm: a norm for each tensor
4 GPT clip_by_global_norm: short gradients lengthened
4 GPT clip_by_global_norm: entries clipped
4 GPT clip_by_global_norm: divided by the squared norm
1 GPT learning_rate_at: warm-up from 0
4 GPT learning_rate_at: the floor is forgotten
4 GPT learning_rate_at: warm-up counted in the cosine
"""


@cache
def known() -> tuple[Met, ...]:
    """The mistakes of the table, in its order; one that has left the registry is left out."""
    registry = {str(mutant): mutant for mutant in MUTANTS}
    return tuple(Met(registry[name], kind) for _, kind, name in _rows() if name in registry)


def of_level(level: int) -> tuple[Met, ...]:
    """Those of one level."""
    names = {name for n, _, name in _rows() if n == level}
    return tuple(met for met in known() if str(met.mutant) in names)


def _rows() -> list[tuple[int, str, str]]:
    rows = [line.split(" ", 2) for line in MEASURED.strip().splitlines()]
    return [(int(level), kind, name) for level, kind, name in rows]


def measured(met: Met) -> str:
    """The row of a mistake, or "" if it has no level."""
    seen = Symptoms(met)
    first = next((n for n, level in LEVELS.items() if level.holds(seen)), 0)
    return f"{first} {met.kind} {met.mutant}" if first else ""


if __name__ == "__main__":
    rows = MEASURED.strip().splitlines()
    found = [row for met in pool() if (row := measured(met))]
    print(*(f"- {row}" for row in rows if row not in found), sep="\n")
    print(*(f"+ {row}" for row in found if row not in rows), sep="\n")
