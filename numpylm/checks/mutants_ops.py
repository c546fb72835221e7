"""Mistakes in ops.py and blocks.py, in their order: part of the registry, mutants.py."""

from .mutation import edit, mistakes, result, scaled, transposed, zero

ADD_ALL = "return sum_by_id(de, ids, V)"
NONE = "dtable = np.zeros((V, C), de.dtype)\n"
EMBEDDING = mistakes(
    "embedding_backward",
    "F1",
    (
        "a repeated word keeps its last row",
        "a word that occurs twice gets only its last gradient, as `dtable[ids] += de` does: "
        "every occurrence must add",
        edit(ADD_ALL, f"{NONE}    dtable[ids] += de\n    return dtable"),
    ),
    (
        "a repeated word keeps its first row",
        "a word that occurs twice gets only its first gradient: every occurrence must add",
        edit(
            ADD_ALL,
            f"{NONE}    dtable[ids.ravel()[::-1]] += as_rows(de)[::-1]\n    return dtable",
        ),
    ),
    (
        "a repeated word gets the mean",
        "the gradients of a word that occurs twice are averaged: they must be added",
        edit(ADD_ALL, f"{ADD_ALL} / or_one(np.bincount(ids.ravel(), minlength=V))[:, None]"),
    ),
    (
        "word 0 learns nothing",
        "the row of word 0 is cleared, as if it were padding: it is a word like the others",
        edit("sum_by_id(de, ids, V)", "sum_by_id(de * (ids != 0)[..., None], ids, V)"),
    ),
    (
        "only the first text teaches",
        "dtable holds only the gradient of the first text: all texts of the batch must add",
        edit("sum_by_id(de, ids, V)", "sum_by_id(de[:1], ids[:1], V)"),
    ),
)

DW = "dw = as_rows(x).T @ as_rows(dy)"
LINEAR = mistakes(
    "linear_backward",
    "F12",
    (
        "dw has the shape of its transpose",
        "dw is the right one transposed: dyᵀ x in place of xᵀ dy",
        edit(DW, "dw = as_rows(dy).T @ as_rows(x)"),
    ),
    (
        "dw transposed",
        "dw holds dyᵀ x, poured into the shape of w; it should be xᵀ dy",
        edit(DW, "dw = (as_rows(dy).T @ as_rows(x)).reshape(w.shape)"),
    ),
    (
        "dw of the first sample",
        "dw holds only the first sample of the batch: all rows must add",
        edit(DW, "dw = as_rows(x[:1]).T @ as_rows(dy[:1])"),
    ),
    (
        "dw averaged",
        "dw is divided by the number of rows: the rows must be added, not averaged",
        edit(DW, f"{DW} / len(as_rows(dy))"),
    ),
    (
        "dw one part in 10^9 too large",
        "dw is one part in 10^9 too large",
        scaled(1, 1 + 1e-9),
    ),
    (
        "dx with w reshaped",
        "dx uses w poured into the shape of wᵀ; it should be dy wᵀ, with a true transpose",
        edit("product(dy, w.T)", "product(dy, w.reshape(w.shape[::-1]))"),
    ),
    (
        "db over one axis only",
        "db is summed over one axis only: it must be summed over every axis but the last",
        edit("column_sum(dy) if", "dy.sum(axis=0) if"),
    ),
    (
        "db of the first sample",
        "db holds only the first sample of the batch: all rows must add",
        edit("column_sum(dy) if", "column_sum(dy[:1]) if"),
    ),
    (
        "db averaged",
        "db is the mean over the rows; it should be their sum",
        edit("column_sum(dy) if", "as_rows(dy).mean(axis=0) if"),
    ),
    (
        "a gradient for a bias that is not there",
        "there is a db where there was no b; it should be None",
        edit("column_sum(dy) if has_bias else None", "column_sum(dy)"),
    ),
)

SUM = "row_dot(a, da)"
SOFTMAX = [
    *mistakes(
        "softmax_backward",
        "F3",
        (
            "without the sum",
            "the term −Σ_l a_l da_l is missing from ds_j = a_j (da_j − Σ_l a_l da_l)",
            edit(SUM, "0"),
        ),
        (
            "sum over the rows",
            "Σ_l a_l da_l runs over the wrong axis: it belongs to the last one, the keys",
            edit(SUM, "(a * da).sum(axis=-2, keepdims=True)"),
        ),
        (
            "sum over everything",
            "Σ_l a_l da_l runs over all rows together: every row has a sum of its own",
            edit(SUM, "(a * da).sum()"),
        ),
        (
            "the mean of da",
            "the mean of da is subtracted in place of its mean weighted by a, Σ_l a_l da_l",
            edit(SUM, "da.mean(axis=-1, keepdims=True)"),
        ),
        (
            "the sum is not multiplied by a",
            "Σ_l a_l da_l is subtracted after the product with a_j: it belongs into the bracket",
            edit(f"a * (da - {SUM})", f"a * da - {SUM}"),
        ),
        (
            "the diagonal alone",
            "ds_j = a_j (1 − a_j) da_j is the slope of a sigmoid: the terms −a_j a_l da_l of the "
            "other l are missing",
            edit(f"a * (da - {SUM})", "a * (1 - a) * da"),
        ),
        (
            "divided by the rows",
            "ds is divided by the number of rows: only the loss is a mean",
            result(0, lambda ds: ds / len(ds)),
        ),
        (
            "a causal mask of its own",
            "the backward masks although the forward did not: a already says what was allowed",
            edit("ds: Array = a * (da", "ds: Array = np.tri(*a.shape) * a * (da"),
        ),
        (
            "the mask leaks gradient",
            "masked scores get a gradient: their weight a is 0, so their ds is 0",
            edit("ds: Array = a * (da", "ds: Array = np.where(a == 0, 1 / a.shape[-1], a) * (da"),
        ),
    ),
    *mistakes(
        "softmax_forward",
        "F3",
        (
            "a blind row is uniform",
            "a row in which nothing is allowed gets equal weights: it must be 0 everywhere",
            edit("return a, a", "a[a.sum(axis=-1) == 0] = 1 / a.shape[-1]\n    return a, a"),
        ),
        (
            "not shifted by the maximum",
            "exp runs over for large scores: subtract the maximum of the row first",
            edit("below_max(masked(s, check_mask(mask, s.shape)))", "masked(s, mask) + 0"),
        ),
        (
            "shifted by the maximum of all rows",
            "a row far below the others runs under: every row is shifted by its own maximum",
            edit(
                "below_max(masked(s, check_mask(mask, s.shape)))",
                "masked(s, mask) - s.real.max(keepdims=True)",
            ),
        ),
        (
            "the mask adds -10000",
            "the mask adds a large finite number, which a larger score overrules: set −∞",
            edit(
                "masked(s, check_mask(mask, s.shape))",
                "s + (0 if mask is None else np.where(mask, 0, s.real.dtype.type(-1e4)))",
            ),
        ),
        (
            "weights in float64",
            "float32 scores give float64 weights, which costs time from here on",
            edit("return a, a", "a = a * np.ones(1)\n    return a, a"),
        ),
    ),
]

DS_SUM = "ds -= row_dot(dc, c)"
RETURN = "return ds @ k, ds.mT @ q, dv"
ATTENTION = [
    *mistakes(
        "attention_backward",
        "F3",
        ("no query path", "the query path is missing: dq is 0", zero(0)),
        ("no key path", "the key path is missing: dk is 0", zero(1)),
        ("no value path", "the value path is missing: dv is 0", zero(2)),
        (
            "dk not transposed back",
            "dk equals the right one without its transpose: its last two axes are exchanged and "
            "the numbers poured into the shape of k",
            transposed(1),
        ),
        (
            "dv by a, not aᵀ",
            "dv uses a poured into the shape of aᵀ; it should be dv = aᵀ dc, with a true transpose",
            edit(
                "dv = a.mT @ dc",
                "dv = a.reshape(*a.shape[:-2], a.shape[-1], a.shape[-2]) @ dc",
            ),
        ),
        (
            "scale missing in dq",
            "dq lacks the factor scale",
            edit(RETURN, "return ds @ k / scale, ds.mT @ q, dv"),
        ),
        (
            "scale missing in dk",
            "dk lacks the factor scale",
            edit(RETURN, "return ds @ k, ds.mT @ q / scale, dv"),
        ),
        (
            "scale missing in both",
            "dq and dk lack the factor scale",
            edit("    ds *= scale\n", ""),
        ),
        (
            "scale twice",
            "dq and dk have the factor scale twice",
            edit("    ds *= scale\n", "    ds *= scale * scale\n"),
        ),
        (
            "scale in dv as well",
            "dv has the factor scale, which belongs to the scores alone: in dq and dk",
            edit(RETURN, "return ds @ k, ds.mT @ q, dv * scale"),
        ),
        (
            "without the sum",
            "the term −Σ_l a_il da_il of the softmax is missing: ds_ij = a_ij (da_ij − Σ_l …)",
            edit(DS_SUM, "pass"),
        ),
        (
            "sum over the queries",
            "Σ_l a_il da_il runs over the queries i: it belongs to the keys l",
            edit(DS_SUM, "ds -= (a * ds).sum(axis=-2, keepdims=True)"),
        ),
        (
            "the sum of dc, not of dc c",
            "Σ dc_i is subtracted in place of dc_i·c_i",
            edit(DS_SUM, "ds -= dc.sum(axis=-1, keepdims=True)"),
        ),
        (
            "the sum is not multiplied by a",
            "Σ_l a_il da_il is subtracted after the product with a_ij: it belongs into the bracket",
            edit(f"{DS_SUM}\n    ds *= a", "ds *= a\n    ds -= ds.sum(axis=-1, keepdims=True)"),
        ),
        (
            "no softmax",
            "ds = da: the step back through the softmax is missing",
            edit(f"{DS_SUM}\n    ds *= a\n", "pass\n"),
        ),
        (
            "a causal mask of its own",
            "the backward masks although the forward did not: a_ij already says who looked at whom",
            edit("ds *= a\n", "ds *= a * np.tri(*a.shape[-2:], a.shape[-1] - a.shape[-2])\n"),
        ),
        (
            "the mask leaks gradient",
            "masked pairs get a gradient: their weight a_ij is 0, so their ds_ij is 0",
            edit("ds *= a\n", "ds *= np.where(a == 0, 1 / a.shape[-1], a)\n"),
        ),
        (
            "weights normalised again",
            "a_ij is divided by Σ_j a_ij, which is 0/0 where nothing is allowed",
            edit("ds *= a\n", "ds *= a / a.sum(axis=-1, keepdims=True)\n"),
        ),
        (
            "axes counted from the front",
            "v.swapaxes(1, 2) exchanges other axes as soon as there are heads: count from the end",
            edit("dc @ v.mT", "dc @ v.swapaxes(1, 2)"),
        ),
        (
            "dq one part in 1000 too large",
            "dq is one part in a thousand too large",
            scaled(0, 1.001),
        ),
    ),
    *mistakes(
        "causal_mask",
        "F3",
        (
            "sees the next token",
            "query i may look at key i + 1, which is what it must predict",
            edit("np.tri(T, S, S - T, dtype=bool)", "np.tri(T, S, S - T + 1, dtype=bool)"),
        ),
        (
            "counts from the front",
            "with a past, query i must see all earlier keys: count both from the end of the text",
            edit("np.tri(T, S, S - T, dtype=bool)", "np.tri(T, S, dtype=bool)"),
        ),
    ),
    *mistakes(
        "attention_forward",
        "F3",
        (
            "the mask is forgotten",
            "the mask is not handed on to the softmax: everybody sees everything",
            edit("softmax_forward(s, mask)", "softmax_forward(s)"),
        ),
    ),
]

DTABLE = "as_rows(dlogits).T @ as_rows(c)"
OUTPUT = mistakes(
    "output_backward",
    "F4",
    (
        "dtable transposed",
        "dtable holds cᵀ dz, poured into the shape of the table; it should be dzᵀ c",
        edit(DTABLE, "(as_rows(c).T @ as_rows(dlogits)).reshape(table.shape)"),
    ),
    (
        "dtable of the last position",
        "dtable holds only the last position of each text: all positions must add",
        edit(DTABLE, "as_rows(dlogits[:, -1]).T @ as_rows(c[:, -1])"),
    ),
    (
        "dc with the table reshaped",
        "dc uses the table as if its rows were dimensions; it should be dz E, row w for word w",
        edit("product(dlogits, table)", "product(dlogits, table.T.reshape(table.shape))"),
    ),
)

WEIGHT = "(counted * (dL / N))"
TARGET_TERM = "dlogits[np.arange(len(y)), y] -= weight"
CROSS_ENTROPY = [
    *mistakes(
        "cross_entropy_backward",
        "F5",
        (
            "divided by N twice",
            "the gradient is divided by N twice: once for the mean is enough",
            edit(WEIGHT, "(counted * (dL / N / N))"),
        ),
        (
            "not divided by N",
            "the gradient is N times too large: the loss is a mean over N targets",
            edit(WEIGHT, "(counted * dL * 1.0)"),
        ),
        (
            "divided by B",
            "the gradient is divided by B; it should be by the number N of targets that count",
            edit(WEIGHT, "(counted * (dL / shape[0]))"),
        ),
        (
            "divided by T",
            "the gradient is divided by T; it should be by the number N of targets that count",
            edit(WEIGHT, "(counted * (dL / shape[1]))"),
        ),
        (
            "ignored targets in N",
            "ignored targets are counted in N: only those that are predicted count",
            edit(WEIGHT, "(counted * (dL / len(y)))"),
        ),
        (
            "ignored targets teach",
            "an ignored target has a gradient: its row must be 0",
            edit(WEIGHT, "(np.ones(len(y)) * (dL / N))"),
        ),
        (
            "without the −1",
            "the −1 at the target is missing: dz = p − 1[w = y]",
            edit(TARGET_TERM, "pass"),
        ),
        (
            "−1 at the next word",
            "the −1 stands at word y + 1: it belongs to the target y",
            edit(TARGET_TERM, "dlogits[np.arange(len(y)), (y + 1) % shape[-1]] -= weight"),
        ),
        (
            "−1 in the next row",
            "the −1 stands in another row than its target: the targets are shifted by one",
            edit(TARGET_TERM, "dlogits[np.arange(len(y)), np.roll(y, 1)] -= np.roll(weight, 1)"),
        ),
        (
            "−1 in every row of a target",
            "dlogits[:, y] −= 1 reaches every row: pair each row with its own target",
            edit(TARGET_TERM, "dlogits[:, y] -= weight"),
        ),
        (
            "upstream ignored",
            "the upstream gradient dL is ignored",
            edit(WEIGHT, "(counted * (1.0 / N))"),
        ),
        ("the sign", "the sign is wrong: dz = p − 1[w = y], not the reverse", scaled(0, -1.0)),
    ),
    *mistakes(
        "cross_entropy_forward",
        "F5",
        (
            "not shifted by the maximum",
            "exp runs over for large logits: subtract the maximum of the row first",
            edit("below_max(as_rows(logits))", "+as_rows(logits)"),
        ),
        (
            "logarithm of the probability",
            "log p underflows for an unlikely target: log Σ exp(z) − z_y does not",
            edit("np.log(total[:, 0]) - z_y", "-np.log(p[n, y])"),
        ),
    ),
    *mistakes(
        "check_targets",
        "F5",
        (
            "ignored targets in N, both ways",
            "the loss is a mean over all targets, also the ignored ones",
            edit("int(np.count_nonzero(counted))", "counted.size"),
        ),
    ),
    *mistakes(
        "nll_backward",
        "F5",
        (
            "upstream ignored",
            "the upstream gradient dL is ignored",
            edit("-dL / N / p_y", "-1.0 / N / p_y"),
        ),
        ("the sign", "the sign is wrong: L = −log p", scaled(0, -1.0)),
        (
            "without 1/p",
            "the derivative of the logarithm, 1/p, is missing",
            edit("-dL / N / p_y", "-dL / N"),
        ),
    ),
    *mistakes(
        "nll_forward",
        "F5",
        (
            "log(p + 1e-9)",
            "the forward computes log(p + 1e-9), and the backward the slope of log p",
            edit("np.log(p_y)", "np.log(p_y + 1e-9)"),
        ),
    ),
    *mistakes(
        "smoothed_cross_entropy_backward",
        "F23",
        (
            "no smoothing",
            "the gradient is that of cross-entropy without smoothing",
            edit(
                "    rows[np.arange(len(y)), y] += weight\n"
                "    rows -= weight[:, None] / rows.shape[-1]\n",
                "",
            ),
        ),
        (
            "nothing for the others",
            "ε is taken from the target, but ε/V is not given to the words",
            edit("    rows -= weight[:, None] / rows.shape[-1]\n", ""),
        ),
        (
            "shared by V − 1 words",
            "ε is shared by the V − 1 other words: in F23 every word, also the target, gets ε/V",
            edit("rows.shape[-1]", "(rows.shape[-1] - 1)"),
        ),
        (
            "upstream ignored",
            "the smoothing ignores the upstream gradient dL",
            edit("(dL / N * smoothing)", "(1.0 / N * smoothing)"),
        ),
        (
            "ignored targets are smoothed",
            "an ignored target has a gradient: its row must be 0",
            edit("(counted * (dL / N * smoothing))", "(np.ones(len(y)) * dL / N * smoothing)"),
        ),
    ),
]

MEAN_TERM = "    dx -= row_mean(dx)\n"
VARIANCE_TERM = "    dx -= x_hat * along\n"
LAYER_NORM = [
    *mistakes(
        "layer_norm_backward",
        "F13",
        (
            "without the mean term",
            "the term −mean(dx̂), by way of the mean of x, is missing from dx",
            edit(MEAN_TERM, ""),
        ),
        (
            "without the variance term",
            "the term −x̂ mean(dx̂ x̂), by way of the deviation σ, is missing from dx",
            edit(VARIANCE_TERM, ""),
        ),
        (
            "mean and deviation constant",
            "dx treats μ and σ as constants: both of its mean terms are missing",
            edit(MEAN_TERM + VARIANCE_TERM, ""),
        ),
        (
            "gain outside the sums",
            "the gain is applied after the sums over the row: it belongs inside, dx̂ = gain dy",
            edit(
                f"    dx = dy * gain  # so far dx̂\n    along = row_dot(dx, x_hat) / C\n"
                f"{MEAN_TERM}{VARIANCE_TERM}    dx /= sigma\n",
                f"    dx = dy + 0\n    along = row_dot(dx, x_hat) / C\n"
                f"{MEAN_TERM}{VARIANCE_TERM}    dx *= gain / sigma\n",
            ),
        ),
        (
            "gain left out",
            "the gain is missing from dx: dx̂ = gain dy",
            edit("dx = dy * gain", "dx = dy + 0"),
        ),
        (
            "divided by C − 1",
            "the variance term is divided by C − 1, and the forward divides by C",
            edit(
                "along = row_dot(dx, x_hat) / C",
                "along = row_dot(dx, x_hat) / (C - 1)",
            ),
        ),
        (
            "eps left out",
            "dx is divided by σ without ε: the forward divided by √(variance + ε)",
            edit("dx /= sigma", "dx /= sigma * np.sqrt((x_hat**2).mean(axis=-1, keepdims=True))"),
        ),
        (
            "divided by the variance",
            "dx is divided by σ²; it should be once by σ",
            edit("dx /= sigma", "dx /= sigma * sigma"),
        ),
        (
            "not divided by σ",
            "the division of dx by σ is missing",
            edit("    dx /= sigma\n", ""),
        ),
        (
            "sums over the batch",
            "the means run over the rows, as in batch normalisation: they belong to the last axis",
            edit(MEAN_TERM, "    dx -= dx.mean(axis=0, keepdims=True)\n"),
        ),
        (
            "dgain without x̂",
            "dgain is the sum of dy; it should be Σ dy x̂",
            edit("column_dot(dy, x_hat)", "column_sum(dy)"),
        ),
        (
            "dgain over one axis only",
            "dgain is summed over one axis only: it must be summed over every axis but the last",
            edit("column_dot(dy, x_hat)", "(dy * x_hat).sum(axis=0)"),
        ),
        (
            "dbias averaged",
            "dbias is the mean over the rows; it should be their sum",
            edit("column_sum(dy) if", "as_rows(dy).mean(axis=0) if"),
        ),
        (
            "a gradient for a bias that is not there",
            "there is a dbias where there was no bias; it should be None",
            edit("column_sum(dy) if has_bias else None", "column_sum(dy)"),
        ),
    ),
    *mistakes(
        "layer_norm_forward",
        "F13",
        (
            "variance by C − 1",
            "the forward divides the variance by C − 1, and the backward assumes C",
            edit(
                "row_dot(x_hat, x_hat) / C",
                "row_dot(x_hat, x_hat) / (C - 1)",
            ),
        ),
        (
            "the eps asked for is ignored",
            "ε is always 1e-5, whatever is asked for",
            edit("/ C + eps", "/ C + 1e-5"),
        ),
    ),
]

ACTIVATIONS = [
    *mistakes(
        "gelu_backward",
        "F14",
        (
            "the slope of the other GELU",
            "this is the slope of F15, x Φ(x): F14, the tanh form, has its own",
            edit(
                "return slope",
                "return dy * ((1 + erf(x * 0.5**0.5)) / 2 + x * np.exp(-x * x / 2) / "
                "math.sqrt(2 * math.pi))",
            ),
        ),
        (
            "the cubic's 3 is missing",
            "the inner derivative of 0.044715 x³ lacks its 3: u' = √(2/π) (1 + 3·0.044715 x²)",
            edit("3 * TANH_CUBIC", "TANH_CUBIC"),
        ),
        (
            "the cubic is constant",
            "the inner derivative of the cubic is missing: u' = √(2/π) (1 + 3·0.044715 x²)",
            edit("slope *= 2 * TANH_SCALE * 3 * TANH_CUBIC", "slope *= 0"),
        ),
        (
            "h for h (1 − h)",
            "the slope of the logistic function h is h (1 − h), not h",
            edit("    slope *= 1.0 - h\n", ""),
        ),
        (
            "half of the product rule",
            "the term x h' of the product rule is missing",
            edit("slope *= 1.0 - h", "slope *= 0"),
        ),
        (
            "u' for u",
            "the factor √(2/π) of u' is missing",
            edit(
                "slope *= 2 * TANH_SCALE * 3 * TANH_CUBIC\n    slope += 2 * TANH_SCALE",
                "slope *= 2 * 3 * TANH_CUBIC\n    slope += 2.0",
            ),
        ),
    ),
    *mistakes(
        "gelu_forward",
        "F14",
        (
            "the cubic added, not multiplied",
            "the forward computes √(2/π) (x + 0.044715 x²): the cubic lacks an x",
            edit("h = squared(x)  #", "h = x + 0  #"),
        ),
    ),
    *mistakes(
        "gelu_exact_backward",
        "F15",
        (
            "the slope of the other GELU",
            "this is the slope of F14, the tanh form: F15, x Φ(x), has its own",
            edit(
                "return slope",
                "return gelu_backward(dy, gelu_forward(x)[1])",
            ),
        ),
        (
            "half of the product rule",
            "the term x Φ'(x) of the product rule is missing",
            edit("slope *= x\n", "slope *= 0\n"),
        ),
        (
            "exp(−x²) for exp(−x²/2)",
            "the normal density is exp(−x²/2)/√(2π): the half in the exponent is missing",
            edit("slope *= -0.5", "slope *= -1.0"),
        ),
        (
            "the density not normalised",
            "the factor 1/√(2π) of the normal density is missing",
            edit("slope *= 1 / math.sqrt(2 * math.pi)", "pass"),
        ),
    ),
    *mistakes(
        "relu_backward",
        "F16",
        (
            "everything passes",
            "dy passes everywhere: where x ≤ 0 it must be 0",
            edit("return np.where(positive, dy, 0)", "return dy * 1"),
        ),
        (
            "positive dy passes",
            "dy passes where dy itself is positive; it should pass where x is positive",
            edit("np.where(positive, dy", "np.where(dy > 0, dy"),
        ),
    ),
    *mistakes(
        "relu_forward",
        "F16",
        (
            "negative numbers leak",
            "negative x passes the forward, as x.real, which the complex step takes for a constant",
            edit("np.where(positive, x, 0)", "np.where(positive, x, x.real)"),
        ),
    ),
    *mistakes(
        "tanh_backward",
        "F22",
        (
            "1 − y for 1 − y²",
            "the slope of tanh is 1 − y², not 1 − y",
            edit("y * y", "y"),
        ),
        (
            "the slope at y",
            "the slope is taken at y instead of x: y is already tanh x",
            edit("y = cache", "y = np.tanh(cache)"),
        ),
    ),
    *mistakes(
        "tanh_forward",
        "F22",
        (
            "rounded, straight through",
            "y is rounded to two digits, and slope and complex step pass by the rounding",
            edit("return y, y", "return y + (np.round(y.real, 2) - y.real), y"),
        ),
    ),
]

DROPOUT = [
    *mistakes(
        "dropout_backward",
        "F17",
        (
            "nothing dropped",
            "dy passes as if nothing had been dropped: dx = m dy",
            edit("dy * m", "dy * 1"),
        ),
        (
            "without 1/(1 − p)",
            "the factor 1/(1 − p) of what was kept is missing: dx = m dy, and m holds it",
            edit("dy * m", "dy * (m > 0)"),
        ),
        (
            "a fresh mask",
            "the backward drops others than the forward did: keep the mask",
            edit("dy * m", "dy * np.random.default_rng(8).permuted(m)"),
        ),
        (
            "scaled in evaluation",
            "dx is scaled although nothing was dropped",
            edit("return dy if", "return dy * 0.6 if"),
        ),
    ),
    *mistakes(
        "dropout_forward",
        "F17",
        (
            "without 1/(1 − p), both ways",
            "what is kept is not scaled by 1/(1 − p), so training and evaluation differ in size",
            edit("    m /= 1 - rate\n", ""),
        ),
        (
            "the rate is what is kept",
            "the share `rate` is kept, and it should be dropped",
            edit(">= rate)", "< rate)"),
        ),
    ),
]

POSITIONS = [
    *mistakes(
        "positions_backward",
        "F18",
        (
            "not summed over the batch",
            "dtable holds only the first text: it must be summed over the batch",
            edit("dy.reshape(-1, T, C).sum(axis=0)", "dy.reshape(-1, T, C)[0]"),
        ),
        (
            "averaged over the batch",
            "dtable is the mean over the batch; it should be the sum",
            edit("dy.reshape(-1, T, C).sum(axis=0)", "dy.reshape(-1, T, C).mean(axis=0)"),
        ),
        (
            "counted from the end",
            "dtable fills the last rows: the first token stands at position 0",
            edit("dtable[:T]", "dtable[-T:]"),
        ),
        ("nothing for e", "de is 0: y = e + table hands dy on as it is", zero(0)),
    ),
    *mistakes(
        "positions_forward",
        "F18",
        (
            "position 0 for all",
            "every token gets the first row of the table: token t stands at position t",
            edit("table[:T]", "table[:1]"),
        ),
    ),
]

# ---- blocks.py -------------------------------------------------------------------------------

BLOCKS = [
    *mistakes(
        "multi_head_backward",
        "F20",
        (
            "dc split without exchanging axes",
            "dc is poured into (H, T, D): heads and time are mixed: split, then exchange",
            edit("split_heads(dc, heads)", "dc.reshape(cache.c.shape)"),
        ),
        (
            "dk merged without exchanging axes",
            "dk is poured into (S, A): heads and time are mixed. Exchange the axes, then merge",
            edit("merge_heads(dk)", "dk.reshape(merge_heads(dk).shape)"),
        ),
        (
            "head width and heads exchanged",
            "the columns are read as D parts of H: they are H parts of D",
            edit(
                "merge_heads(dq)",
                "np.moveaxis(dq, -3, -1).reshape(*dc.shape[:-1], -1)",
            ),
        ),
        (
            "dk and dv exchanged",
            "dk and dv are exchanged: first the keys'",
            edit("merge_heads(dk), merge_heads(dv)", "merge_heads(dv), merge_heads(dk)"),
        ),
    ),
    *mistakes(
        "multi_head_forward",
        "F20",
        (
            "scaled by 1/D, both ways",
            "scores are divided by D; it should be √D",
            edit("(A // heads) ** -0.5", "(A // heads) ** -1.0"),
        ),
        (
            "the mask is forgotten",
            "the mask is not handed on to the heads: everybody sees everything",
            edit("v, mask, (A", "v, None, (A"),
        ),
        (
            "a mask is taken for granted",
            "without a mask the forward fails: None means that everybody sees everything",
            edit(
                "v, mask, (A",
                "v, mask & True, (A",
            ),
        ),
        (
            "scaled by the whole width",
            "scores are divided by √A; it should be by √D, the width of a head",
            edit("(A // heads) ** -0.5", "A**-0.5"),
        ),
    ),
    *mistakes(
        "self_attention_backward",
        "F20",
        (
            "keys before queries",
            "dq and dk are put together in the wrong order: w_qkv holds q, k, v",
            edit(
                "np.concatenate(multi_head_backward(dc, cache.attention), axis=-1)",
                "np.roll(np.concatenate(multi_head_backward(dc, cache.attention), axis=-1), "
                "dc.shape[-1], axis=-1)",
            ),
        ),
        (
            "dx by the values alone",
            "dx lacks the ways by query and key",
            edit(
                "return *ops.linear_backward(dqkv, cache.to_qkv), dw_out, db_out",
                "dx, dw, db = ops.linear_backward(dqkv, cache.to_qkv)\n"
                "    dqkv[..., : -dc.shape[-1]] = 0\n"
                "    return ops.linear_backward(dqkv, cache.to_qkv)[0], dw, db, dw_out, db_out",
            ),
        ),
        (
            "no db_qkv",
            "db_qkv is 0: only the part of the keys is",
            result(2, lambda db: None if db is None else db * 0),
        ),
        (
            "biases taken for granted",
            "the backward fails where there are no biases: their gradient is None",
            result(4, lambda db: db * 1.0),
        ),
    ),
    *mistakes(
        "cross_attention_backward",
        "F20",
        (
            "keys without memory",
            "dmemory lacks the way by the keys",
            edit(
                "dx, dw_q, db_q = ops.linear",
                "dkv = np.concatenate([0 * dk, dv], axis=-1)\n"
                "    dmemory = ops.linear_backward(dkv, cache.to_kv)[0]\n"
                "    dx, dw_q, db_q = ops.linear",
            ),
        ),
        (
            "values before keys",
            "dk and dv are put together in the wrong order: w_kv holds k, v",
            edit("np.concatenate([dk, dv], axis=-1)", "np.concatenate([dv, dk], axis=-1)"),
        ),
        ("no memory path", "dmemory is 0: the encoder would learn nothing", zero(1)),
        (
            "keys without bias",
            "db_kv is 0: the half that belongs to the values has a gradient",
            result(5, lambda db: None if db is None else db * 0),
        ),
        (
            "biases taken for granted",
            "the backward fails where there are no biases: their gradient is None",
            result(7, lambda db: db * 1.0),
        ),
    ),
    *mistakes(
        "feed_forward_backward",
        "F21",
        (
            "activation skipped",
            "the step back through the activation is missing",
            edit("ACTIVATIONS[cache.name][1](dactive, cache.activation)", "dactive"),
        ),
        (
            "always ReLU",
            "the slope is that of ReLU, whatever the activation",
            edit(
                "ACTIVATIONS[cache.name][1](dactive, cache.activation)",
                "dactive * (cache.out[0] > 0)",
            ),
        ),
        (
            "biases taken for granted",
            "the backward fails where there are no biases: their gradient is None",
            result(4, lambda db: db * 1.0),
        ),
        (
            "always tanh GELU",
            "the slope is that of the tanh GELU, whatever the activation",
            edit(
                "ACTIVATIONS[cache.name][1](dactive, cache.activation)",
                "ops.gelu_backward(dactive, ops.gelu_forward(ops.linear_forward("
                "cache.to_hidden[0], cache.to_hidden[1])[0])[1]) if cache.name != 'gelu' else "
                "ops.gelu_backward(dactive, cache.activation)",
            ),
        ),
    ),
]

OPS = [
    *EMBEDDING,
    *LINEAR,
    *SOFTMAX,
    *ATTENTION,
    *OUTPUT,
    *CROSS_ENTROPY,
    *LAYER_NORM,
    *ACTIVATIONS,
    *DROPOUT,
    *POSITIONS,
    *BLOCKS,
]
