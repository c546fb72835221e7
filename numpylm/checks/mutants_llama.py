"""Mistakes in Llama's parts and in blocks of attention: part of the registry, mutants.py."""

from .mutation import Mutant, edit, mistakes, scaled, zero

_DX_NORM = "dx = (dx_hat - x_hat * (row_dot(dx_hat, x_hat) / C)) / rho"
RMS_NORM = [
    *mistakes(
        "rms_norm_backward",
        "F27",
        (
            "ρ is a constant",
            "dx lacks the way through ρ: − x̂ mean(dx̂ x̂) is missing",
            edit(_DX_NORM, "dx = dx_hat / rho"),
        ),
        (
            "the mean of layer normalisation as well",
            "dx has − mean(dx̂), which belongs to layer normalisation: here no mean is subtracted",
            edit(_DX_NORM, _DX_NORM + "\n    dx -= dx_hat.mean(axis=-1, keepdims=True) / rho"),
        ),
        (
            "sum in place of mean",
            "− x̂ mean(dx̂ x̂) has a sum in place of the mean",
            edit("x_hat) / C)", "x_hat))"),
        ),
        (
            "gain behind the mean",
            "mean(dx̂ x̂) is taken of dy in place of dx̂ = gain dy",
            edit("row_dot(dx_hat, x_hat)", "row_dot(dy, x_hat)"),
        ),
        ("not divided by ρ", "dx is not divided by ρ", edit("/ C)) / rho", "/ C))")),
        ("the gain missing in dx", "dx̂ is dy, without the gain", edit("gain * dy", "dy")),
        (
            "dgain by x",
            "dgain = Σ dy x̂ has x in place of x̂",
            edit("column_dot(dy, x_hat)", "column_dot(dy, x_hat * rho)"),
        ),
        (
            "dgain of the first text",
            "dgain adds up the rows of the first text alone",
            edit("column_dot(dy, x_hat)", "column_dot(dy[:1], x_hat[:1])"),
        ),
    ),
    *mistakes(
        "rms_norm_forward",
        "F27",
        (
            "the mean subtracted",
            "ρ is the standard deviation: the mean of x must stay",
            edit("row_dot(x, x) / C", "(row_dot(x, x) / C - x.mean(axis=-1, keepdims=True) ** 2)"),
        ),
        (
            "eps outside the root",
            "eps is added to ρ, not to mean(x²)",
            edit("np.sqrt(row_dot(x, x) / C + eps)", "np.sqrt(row_dot(x, x) / C) + eps"),
        ),
        (
            "sum in place of mean",
            "ρ² is a sum, not a mean",
            edit("row_dot(x, x) / C", "row_dot(x, x)"),
        ),
    ),
]

ROTARY = [
    *mistakes(
        "rotary_backward",
        "F28",
        (
            "turned on, not back",
            "dx is turned by the angle itself: the transpose of a rotation is by the opposite one",
            edit("-turn.sin", "turn.sin"),
        ),
        (
            "not turned",
            "dx is dy, not turned back",
            edit("return _turned(dy, turn.cos, -turn.sin, interleaved)", "return dy.copy()"),
        ),
        (
            "the other layout",
            "the backward pairs the columns in the other layout",
            edit(", interleaved)", ", not interleaved)"),
        ),
    ),
    *mistakes(
        "_turned",
        "F28",
        (
            "a reflection",
            "y_r' has a minus where a plus belongs: that reflects, and does not turn",
            edit("x[one] * sin + x[other] * cos", "x[one] * sin - x[other] * cos"),
        ),
        (
            "sine and cosine exchanged",
            "cos and sin are exchanged: position 0 is turned, too",
            edit("    half = ", "    cos, sin = sin, cos\n    half = "),
        ),
    ),
    *mistakes(
        "rotation",
        "F28",
        (
            "positions from 1",
            "θ_tr counts positions from 1",
            edit("np.asarray(positions)[", "(1 + np.asarray(positions))["),
        ),
        (
            "clocks by D/2",
            "the exponent is −2r/D with r up to D/2; here every clock is squared",
            edit("np.arange(0, D, 2) / D", "2 * np.arange(0, D, 2) / D"),
        ),
        (
            "one clock for all pairs",
            "every pair of columns turns at the same rate",
            edit("np.arange(0, D, 2) / D", "0 * np.arange(0, D, 2)"),
        ),
    ),
]

GATED = [
    *mistakes(
        "silu_backward",
        "F29",
        (
            "no slope of σ",
            "dx lacks x σ': it is dy σ alone",
            edit("    slope *= x\n", "    slope *= 0\n"),
        ),
        (
            "σ' is σ",
            "σ' = σ (1 − σ) lacks 1 − σ",
            edit("slope = 1.0 - s", "slope = np.ones_like(s)"),
        ),
        (
            "the upstream gradient ignored",
            "the upstream gradient dy is left out",
            edit("    slope *= dy\n", ""),
        ),
        ("x missing", "the term x σ' of the slope lacks its x", edit("    slope *= x\n", "")),
    ),
    *mistakes(
        "silu_forward",
        "F29",
        (
            "tanh x in place of tanh x/2",
            "σ(x) = (1 + tanh(x/2))/2 has x in place of x/2",
            edit("x * 0.5", "x * 1.0"),
        ),
    ),
    *mistakes(
        "gated_feed_forward_backward",
        "F30",
        (
            "no way through the gate",
            "dg is 0: the gate learns nothing",
            edit("silu_backward(dm * cache.up, cache.silu)", "0 * dm"),
        ),
        (
            "no way through the content",
            "du is 0: the content learns nothing",
            edit("dm * cache.gate]", "0 * dm]"),
        ),
        (
            "gate and content exchanged",
            "dg and du are exchanged",
            edit("[dg, dm * cache.gate]", "[dm * cache.gate, dg]"),
        ),
        (
            "the gate's slope forgotten",
            "dg lacks the slope silu'(g)",
            edit("silu_backward(dm * cache.up, cache.silu)", "dm * cache.up"),
        ),
        (
            "du by the content",
            "du is dm u, and must be dm silu(g)",
            edit("dm * cache.gate]", "dm * cache.up]"),
        ),
        ("dg without the content", "dg lacks the factor u", edit("dm * cache.up, ", "dm, ")),
    ),
    *mistakes(
        "gated_feed_forward_forward",
        "F30",
        (
            "silu on the content",
            "silu is on u, and g is the plain factor",
            edit("g, up = hidden[", "up, g = hidden["),
        ),
    ),
]


GROUPED = [
    *mistakes(
        "grouped_query_backward",
        "F31",
        (
            "keys: mean over the group",
            "dk is the mean over the heads of a group, not the sum",
            scaled(1, 0.5),
        ),
        (
            "values: mean over the group",
            "dv is the mean over the heads of a group, not the sum",
            scaled(2, 0.5),
        ),
        (
            "queries stacked the other way",
            "the heads of dq are in another order than those of q",
            edit(
                "merge_heads(_unstack(dq, heads))",
                "merge_heads(_unstack(dq, heads)[..., ::-1, :, :])",
            ),
        ),
        ("no gradient for the keys", "the gradient of the keys, dk, is 0", zero(1)),
        ("no gradient for the values", "the gradient of the values, dv, is 0", zero(2)),
    ),
    *mistakes(
        "grouped_query_forward",
        "F31",
        (
            "scale of all heads",
            "scale is (H D)^(−1/2), not D^(−1/2)",
            edit("q.shape[-1] ** -0.5", "(heads * q.shape[-1]) ** -0.5"),
        ),
    ),
    *mistakes(
        "_stack",
        "F31",
        (
            "heads dealt out in turn",
            "head h has the keys of group h mod G, not of ⌊h G/H⌋",
            edit(
                "return x.reshape(",
                "x = x.reshape(*lead, H // groups, groups, T, D).swapaxes(-4, -3)\n"
                "    return x.reshape(",
            ),
        ),
    ),
    *mistakes(
        "grouped_self_attention_backward",
        "F28, F31",
        (
            "queries not turned back",
            "dq is not turned back before it meets w_qkv",
            edit("    dq = _turn_heads(dq, dq.shape[-1] // D, back)\n", ""),
        ),
        (
            "keys not turned back",
            "dk is not turned back before it meets w_qkv",
            edit("_turn_heads(dk, groups, back)", "dk"),
        ),
        (
            "values turned as well",
            "dv is turned back, and values were never turned",
            edit("back), dv]", "back), _turn_heads(dv, groups, back)]"),
        ),
        (
            "turned the wrong way",
            "dq and dk are turned on, not back",
            edit("-cache.turn.sin", "cache.turn.sin"),
        ),
    ),
    *mistakes(
        "rotated_qkv",
        "F28, F31",
        (
            "values turned",
            "values are turned by their positions; only queries and keys are",
            edit(
                "_turn_heads(k, groups, turn), v",
                "_turn_heads(k, groups, turn), _turn_heads(v, groups, turn)",
            ),
        ),
    ),
]

_TIED = 'grads["E"] += ops.embedding_backward'
LLAMA = [
    *mistakes(
        "Llama.backward",
        "F1–F5",
        (
            "the tie is lost",
            "dE is that of the embedding alone: the output is missing",
            edit(_TIED, 'grads["E"] = ops.embedding_backward'),
        ),
        (
            "the embedding is missing",
            "dE is that of the output alone",
            edit('        grads["E"] += ops.embedding_backward(dh, cache.embedding)\n', ""),
        ),
        (
            "blocks in the order of the forward",
            "the blocks are walked from the first to the last",
            edit(
                "reversed([*zip(_blocks(self.config), cache.blocks, strict=True)])",
                "zip(_blocks(self.config), cache.blocks, strict=True)",
            ),
        ),
    ),
    *mistakes(
        "Llama._block_backward",
        "F20–F31",
        (
            "no residual path round the feed-forward",
            "dh is dy: the way round is missing",
            edit("dh = dh + dy", "dh = dy"),
        ),
        (
            "no residual path round the attention",
            "dh' is missing in what is returned",
            edit("return dh + dy", "return dy"),
        ),
        (
            "the attention gets dh'",
            "attention is given the gradient before the feed-forward's was added",
            edit(
                "dh = dh + dy\n        dy, *dw = llama_blocks.grouped_self_attention_backward(dh,",
                "before, dh = dh, dh + dy\n"
                "        dy, *dw = llama_blocks.grouped_self_attention_backward(before,",
            ),
        ),
    ),
    Mutant(
        "no rotation",
        "queries and keys are not turned: the order of words is lost but for the mask",
        "F28",
        (
            (
                "Llama._turn",
                edit(
                    "return llama_blocks.rotation(positions,",
                    "return llama_blocks.rotation(0 * positions,",
                ),
            ),
        ),
    ),
    Mutant(
        "norms without eps",
        "the norms have their default eps, not that of the config",
        "F27",
        (("Llama._norm", edit(", self.config.eps", "")),),
    ),
]

BLOCKWISE = [
    *mistakes(
        "causal_attention_backward",
        "F32",
        (
            "keys of the last block",
            "dk is that of the last block that read a key: = for +=",
            edit("dk[seen] += dk_part", "dk[seen] = dk_part"),
        ),
        (
            "values of the last block",
            "dv is that of the last block that read it: = for +=",
            edit("dv[seen] += dv_part", "dv[seen] = dv_part"),
        ),
        (
            "queries of the first block",
            "every block is given the first rows of dc",
            edit("dc[..., start:stop, :]", "dc[..., : stop - start, :]"),
        ),
    ),
    *mistakes(
        "causal_attention_forward",
        "F32",
        (
            "no mask inside a block",
            "a query sees what comes later in its own block",
            edit("v[seen], mask, scale)", "v[seen], None, scale)"),
        ),
    ),
    *mistakes(
        "online_attention_forward",
        "F33",
        (
            "the sum is not scaled down",
            "λ is added up without exp(μ − μ')",
            edit("total[rows] = kept * total[rows] +", "total[rows] = total[rows] +"),
        ),
        (
            "the context is not scaled down",
            "c is added up without exp(μ − μ')",
            edit("c[rows] = kept * c[rows] +", "c[rows] = c[rows] +"),
        ),
        (
            "the maximum of the block alone",
            "μ' is the maximum of one block, not of all",
            edit("np.maximum(top[rows], row_max(s))", "row_max(s)"),
        ),
    ),
    *mistakes(
        "online_attention_backward",
        "F33",
        ("weights not divided", "a_ij is not divided by λ_i", edit(" / total[rows]", "")),
        ("no sum over the row", "ds_ij lacks − dc_i·c_i", edit(" - along[rows]", "")),
        ("scale missing", "ds_ij lacks the scale", edit("along[rows]) * scale", "along[rows])")),
        (
            "queries of the last block",
            "dq is that of the last block of keys: = for +=",
            edit("dq[rows] += ds", "dq[rows] = ds"),
        ),
    ),
    *mistakes(
        "_scores",
        "F33",
        (
            "one step into the future",
            "a query sees the key behind its own",
            edit("j <= i[:, None]", "j <= i[:, None] + 1"),
        ),
    ),
]

LLAMAS = [*RMS_NORM, *ROTARY, *GATED, *GROUPED, *LLAMA, *BLOCKWISE]
