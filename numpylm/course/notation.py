r"""Every formula once, typeset: its LaTeX, its functions, its source; and what each letter means.

    FORMULAS["F3"].latex      the lines of the formula         a_{ij} = \frac{...}{...}
    FORMULAS["F3"].gradient   the same, differentiated         ds_{ij} = ...
    FORMULAS["F3"].code       the functions that compute it    attention_forward, softmax_forward

In the docstring of each of these functions the same formula stands in Unicode. The LaTeX keeps to
what MathJax, ziamath and matplotlib all understand: no environments and no macros.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..errors import InputError

Lines = tuple[str, ...]


@dataclass(frozen=True)
class Formula:
    """One formula.

    latex, gradient   lines of LaTeX; gradient is empty where nothing is differentiated
    names             "module.function" or "module.Class.method" of those that compute it, the one
                      to read first in front. The partner of f_forward is f_backward
    source            where it was first written, as far as we know
    parts             by name, the lines of a function that computes only a part, or has a gradient
                      of its own
    """

    id: str
    name: str
    latex: Lines
    gradient: Lines
    names: tuple[str, ...]
    source: str
    parts: Mapping[str, tuple[Lines, Lines]] = field(default_factory=dict)

    @property
    def code(self) -> tuple[Callable[..., Any], ...]:
        """The functions themselves."""
        return tuple(map(resolve, self.names))

    @property
    def backwards(self) -> tuple[Callable[..., Any], ...]:
        """Their partners, in the same order; none where there is no gradient."""
        return tuple(resolve(backward_name(name)) for name in self.names if self.gradient)

    def lines_of(self, function: Callable[..., Any]) -> Lines:
        """The lines that a forward or a backward computes; none if it has no part in this."""
        for name in self.names:
            latex, gradient = self.parts.get(name, (self.latex, self.gradient))
            if function == resolve(name):
                return latex
            if self.gradient and function == resolve(backward_name(name)):
                return gradient
        return ()


def backward_name(name: str) -> str:
    return name.removesuffix("_forward") + "_backward"


def resolve(name: str) -> Any:
    """ "ops.attention_forward" -> the function; "optim.Adam.update" -> the method."""
    module, *path = name.split(".")
    found: Any = import_module(f"numpylm.{module}")
    for part in path:
        found = getattr(found, part)
    return found


def formula(id: str) -> Formula:
    """The formula of this ID. Raises InputError where there is none."""
    if id not in FORMULAS:
        raise InputError(f"there is no formula {id!r}; there are {', '.join(FORMULAS)}")
    return FORMULAS[id]


def formulas_of(function: Callable[..., Any]) -> list[Formula]:
    """The formulas that a forward computes, or whose gradient a backward computes."""
    return [f for f in FORMULAS.values() if f.lines_of(function)]


_ARTICLE = "the article, section 4"
_VASWANI = "Vaswani et al. 2017, Attention Is All You Need"

_TABLE = (
    Formula(
        "F1",
        "embedding",
        (r"e_i = E_{x_i}",),
        (r"dE_w = \sum_{i: x_i = w} de_i",),
        ("ops.embedding_forward",),
        _ARTICLE,
    ),
    Formula(
        "F2",
        "context",
        (r"c_i = \sum_j a_{ij} v_j",),
        (r"dv_j = \sum_i a_{ij} dc_i", r"da_{ij} = dc_i \cdot v_j"),
        ("ops.attention_forward",),
        _ARTICLE,
    ),
    Formula(
        "F3",
        "attention weights",
        (
            r"s_{ij} = \mathrm{scale} \cdot q_i \cdot k_j",
            r"a_{ij} = \frac{\exp(s_{ij})}{\sum_l \exp(s_{il})}",
        ),
        (
            r"ds_{ij} = a_{ij} \left( da_{ij} - \sum_l a_{il} da_{il} \right)",
            r"dq_i = \mathrm{scale} \cdot \sum_j ds_{ij} k_j",
            r"dk_j = \mathrm{scale} \cdot \sum_i ds_{ij} q_i",
        ),
        ("ops.attention_forward", "ops.softmax_forward"),
        f"{_ARTICLE}; with scale, {_VASWANI}, section 3.2.1",
        {
            "ops.softmax_forward": (
                (r"a_j = \frac{\exp(s_j)}{\sum_l \exp(s_l)}",),
                (r"ds_j = a_j \left( da_j - \sum_l a_l da_l \right)",),
            )
        },
    ),
    Formula(
        "F4",
        "output",
        (r"z_w = c \cdot e_w", r"p(w) = \frac{\exp(z_w)}{\sum_{w'} \exp(z_{w'})}"),
        (r"dc_n = \sum_w dz_{nw} e_w", r"dE_w = \sum_n dz_{nw} c_n"),
        ("ops.output_forward",),
        _ARTICLE,
    ),
    Formula(
        "F5",
        "cross-entropy",
        (r"L = -\frac{1}{N} \sum_n \log p_n(y_n)",),
        (r"dz_{nw} = \frac{dL}{N} \left( p_n(w) - 1[w = y_n] \right)",),
        ("ops.cross_entropy_forward", "ops.nll_forward"),
        "named in the article, section 3",
        {
            "ops.nll_forward": (
                (r"L = -\frac{1}{N} \sum_n \log p_n(y_n)",),
                (r"dp_n(w) = -\frac{dL}{N} \cdot \frac{1[w = y_n]}{p_n(y_n)}",),
            )
        },
    ),
    Formula(
        "F6",
        "perplexity",
        (r"\mathrm{perplexity} = \exp \left( -\frac{1}{N} \sum_n \log p_n(y_n) \right)",),
        (),
        ("metrics.perplexity",),
        "named in the article, section 9",
    ),
    Formula(
        "F7",
        "gradient descent with momentum",
        (r"u \leftarrow \mu u + g", r"p \leftarrow p - \eta u"),
        (),
        ("optim.SGD.update",),
        "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
    ),
    Formula(
        "F8",
        "Adam",
        (
            r"m \leftarrow \beta_1 m + (1 - \beta_1) g",
            r"v \leftarrow \beta_2 v + (1 - \beta_2) g^2",
            r"\hat{m} = \frac{m}{1 - \beta_1^t} \quad \hat{v} = \frac{v}{1 - \beta_2^t}",
            r"p \leftarrow p - \eta \frac{\hat{m}}{\sqrt{\hat{v}} + \epsilon}",
        ),
        (),
        ("optim.Adam.update",),
        "Kingma and Ba 2015, Adam, Algorithm 1",
    ),
    Formula(
        "F9",
        "decoupled weight decay",
        (r"p \leftarrow (1 - \eta \lambda) p",),
        (),
        ("optim.Optimizer._begin",),
        "Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization",
    ),
    Formula(
        "F10",
        "clipping by the global norm",
        (r"g \leftarrow g \cdot \min \left( 1, \frac{\mathrm{max\_norm}}{|g|} \right)",),
        (),
        ("optim.clip_by_global_norm",),
        "Pascanu, Mikolov and Bengio 2013, On the difficulty of training RNNs, Algorithm 1",
    ),
    Formula(
        "F11",
        "learning rate: warm-up, then a cosine",
        (
            r"\eta = \mathrm{peak} \cdot \frac{s + 1}{\mathrm{warmup} + 1}"
            r" \quad (s < \mathrm{warmup})",
            r"\eta = \mathrm{floor} + (\mathrm{peak} - \mathrm{floor}) \cdot \frac{1}{2}"
            r" \left( 1 + \cos \left( \pi \frac{s - \mathrm{warmup}}"
            r"{\mathrm{total} - \mathrm{warmup}} \right) \right)",
            r"\eta = \mathrm{floor} \quad (s \geq \mathrm{total})",
        ),
        (),
        ("optim.learning_rate_at",),
        "Loshchilov and Hutter 2017, SGDR, equation 5, without restarts",
    ),
    Formula(
        "F12",
        "linear map",
        (r"y = x W + b",),
        (r"dx = dy W^T", r"dW = x^T dy", r"db = \sum_n dy_n"),
        ("ops.linear_forward",),
        "as on paper: W is (in, out)",
    ),
    Formula(
        "F13",
        "layer normalisation",
        (
            r"\sigma = \sqrt{\mathrm{mean}((x - \mathrm{mean}(x))^2) + \mathrm{eps}}",
            r"\hat{x} = \frac{x - \mathrm{mean}(x)}{\sigma}",
            r"y = \mathrm{gain} \cdot \hat{x} + \mathrm{bias}",
        ),
        (
            r"d\hat{x} = \mathrm{gain} \cdot dy",
            r"dx = \frac{1}{\sigma} \left( d\hat{x} - \mathrm{mean}(d\hat{x})"
            r" - \hat{x} \cdot \mathrm{mean}(d\hat{x} \cdot \hat{x}) \right)",
        ),
        ("ops.layer_norm_forward",),
        "Ba, Kiros and Hinton 2016, Layer Normalization, section 3",
    ),
    Formula(
        "F14",
        "GELU, tanh form",
        (
            r"y = x \cdot h \quad h = \frac{1}{2} \left( 1 + \tanh u \right)",
            r"u = \sqrt{\frac{2}{\pi}} \left( x + 0.044715 \cdot x^3 \right)",
        ),
        (
            r"dx = dy \left( h + x \cdot h' \right) \quad h' = 2 u' \cdot h (1 - h)",
            r"u' = \sqrt{\frac{2}{\pi}} \left( 1 + 3 \cdot 0.044715 \cdot x^2 \right)",
        ),
        ("ops.gelu_forward",),
        "Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2",
    ),
    Formula(
        "F15",
        "GELU",
        (
            r"y = x \cdot \Phi(x)",
            r"\Phi(x) = \frac{1}{2} \left( 1 + \mathrm{erf} \left( \frac{x}{\sqrt{2}} \right)"
            r" \right)",
        ),
        (
            r"dx = dy \left( \Phi(x) + x \cdot \Phi'(x) \right)",
            r"\Phi'(x) = \frac{\exp(-x^2 / 2)}{\sqrt{2 \pi}}",
        ),
        ("ops.gelu_exact_forward",),
        "Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2",
    ),
    Formula(
        "F16",
        "ReLU",
        (r"y = \max(x, 0)",),
        (r"dx = dy \cdot 1[x > 0]",),
        ("ops.relu_forward",),
        "Nair and Hinton 2010, Rectified Linear Units",
    ),
    Formula(
        "F17",
        "dropout",
        (
            r"y = m \cdot x",
            r"m = 0 \quad \mathrm{with\ probability\ rate}",
            r"m = \frac{1}{1 - \mathrm{rate}} \quad \mathrm{otherwise}",
        ),
        (r"dx = m \cdot dy",),
        ("ops.dropout_forward",),
        "Srivastava et al. 2014, Dropout, section 10",
    ),
    Formula(
        "F18",
        "learned positions",
        (r"y_t = e_t + P_t",),
        (r"de_t = dy_t", r"dP_t = \sum_n dy_{nt}"),
        ("ops.positions_forward",),
        "Gehring et al. 2017, Convolutional Sequence to Sequence Learning, section 3.1",
    ),
    Formula(
        "F19",
        "sinusoidal positions",
        (
            r"P_{t, 2r} = \sin \left( \frac{t}{10000^{2r/C}} \right)",
            r"P_{t, 2r+1} = \cos \left( \frac{t}{10000^{2r/C}} \right)",
        ),
        (),
        ("ops.sinusoidal_positions",),
        f"{_VASWANI}, section 3.5",
    ),
    Formula(
        "F20",
        "multi-head attention",
        (
            r"c^h = \mathrm{attention}(q^h, k^h, v^h), \quad \mathrm{scale} = D^{-1/2}",
            r"c = [c^1 \quad c^2 \ldots c^H]",
            r"y = c W_{\mathrm{out}} + b_{\mathrm{out}}",
        ),
        (
            r"dc = dy W_{\mathrm{out}}^T = [dc^1 \quad dc^2 \ldots dc^H]",
            r"dq^h, dk^h, dv^h = \mathrm{attention\_backward}(dc^h)",
        ),
        (
            "blocks.self_attention_forward",
            "blocks.multi_head_forward",
            "blocks.cross_attention_forward",
        ),
        f"{_VASWANI}, sections 3.2.1 and 3.2.2",
        {
            "blocks.multi_head_forward": (
                (
                    r"c^h = \mathrm{attention}(q^h, k^h, v^h), \quad \mathrm{scale} = D^{-1/2}",
                    r"c = [c^1 \quad c^2 \ldots c^H]",
                ),
                (r"dq^h, dk^h, dv^h = \mathrm{attention\_backward}(dc^h)",),
            )
        },
    ),
    Formula(
        "F21",
        "feed-forward",
        (
            r"u = x W_{\mathrm{in}} + b_{\mathrm{in}}",
            r"y = f(u) W_{\mathrm{out}} + b_{\mathrm{out}}",
        ),
        (r"du = f'(u) \cdot dy W_{\mathrm{out}}^T", r"dx = du W_{\mathrm{in}}^T"),
        ("blocks.feed_forward_forward",),
        f"{_VASWANI}, section 3.3, with f = ReLU",
    ),
    Formula(
        "F22",
        "tanh",
        (r"y = \tanh x",),
        (r"dx = dy (1 - y^2)",),
        ("ops.tanh_forward",),
        "the pooler of Devlin et al. 2019, BERT",
    ),
    Formula(
        "F23",
        "cross-entropy with label smoothing",
        (
            r"L = -\frac{1}{N} \sum_n \sum_w \bar{y}_{nw} \log p_n(w)",
            r"\bar{y}_{nw} = (1 - \epsilon) 1[w = y_n] + \frac{\epsilon}{V}",
        ),
        (r"dz_{nw} = \frac{dL}{N} \left( p_n(w) - \bar{y}_{nw} \right)",),
        ("ops.smoothed_cross_entropy_forward",),
        "Szegedy et al. 2016, Rethinking the Inception Architecture, section 7",
    ),
    Formula(
        "F24",
        "hidden tokens",
        (
            r"y_i = x_i \quad \mathrm{where\ chosen}, \quad \mathrm{with\ probability\ rate}",
            r"x_i \leftarrow \mathrm{mask}\ (0.8), \quad \mathrm{random}\ (0.1),"
            r" \quad x_i\ (0.1)",
        ),
        (),
        ("bert.mask_tokens",),
        "Devlin et al. 2019, BERT, section 3.1 and appendix A.1",
    ),
    Formula(
        "F25",
        "learning rate: the Transformer's",
        (r"\eta = C^{-1/2} \min \left( n^{-1/2}, n \cdot w^{-3/2} \right)",),
        (),
        ("optim.transformer_rate",),
        f"{_VASWANI}, section 5.3, equation 3",
    ),
    Formula(
        "F26",
        "length penalty",
        (r"\mathrm{score} = \frac{\log p(y)}{\left( (5 + |y|) / 6 \right)^\alpha}",),
        (),
        ("translate.Translation.score",),
        "Wu et al. 2016, Google's Neural Machine Translation System, equation 14",
    ),
    Formula(
        "F27",
        "root mean square normalisation",
        (
            r"\rho = \sqrt{\mathrm{mean}(x^2) + \mathrm{eps}}",
            r"\hat{x} = \frac{x}{\rho}",
            r"y = \mathrm{gain} \cdot \hat{x}",
        ),
        (
            r"d\hat{x} = \mathrm{gain} \cdot dy",
            r"dx = \frac{1}{\rho} \left( d\hat{x} - \hat{x} \cdot \mathrm{mean}(d\hat{x} \cdot"
            r" \hat{x}) \right)",
        ),
        ("llama_blocks.rms_norm_forward",),
        "Zhang and Sennrich 2019, Root Mean Square Layer Normalization, equation 4",
    ),
    Formula(
        "F28",
        "rotary positions",
        (
            r"\theta_{tr} = t \cdot \mathrm{base}^{-2r/D}",
            r"y_r = x_r \cos \theta_{tr} - x_{r'} \sin \theta_{tr}",
            r"y_{r'} = x_r \sin \theta_{tr} + x_{r'} \cos \theta_{tr}",
        ),
        (
            r"dx_r = dy_r \cos \theta_{tr} + dy_{r'} \sin \theta_{tr}",
            r"dx_{r'} = -dy_r \sin \theta_{tr} + dy_{r'} \cos \theta_{tr}",
        ),
        ("llama_blocks.rotary_forward",),
        "Su et al. 2021, RoFormer, section 3.2, equation 34",
    ),
    Formula(
        "F29",
        "SiLU",
        (r"y = x \cdot \sigma(x)", r"\sigma(x) = \frac{1}{1 + \exp(-x)}"),
        (r"dx = dy \left( \sigma + x \cdot \sigma' \right) \quad \sigma' = \sigma (1 - \sigma)",),
        ("llama_blocks.silu_forward",),
        "Elfwing et al. 2018, Sigmoid-Weighted Linear Units, section 2",
    ),
    Formula(
        "F30",
        "gated feed-forward",
        (
            r"[g \quad u] = x W_{\mathrm{in}}",
            r"y = \left( \mathrm{silu}(g) \cdot u \right) W_{\mathrm{out}}",
        ),
        (
            r"dm = dy W_{\mathrm{out}}^T",
            r"dg = \mathrm{silu}'(g) \cdot dm \cdot u \quad du = dm \cdot \mathrm{silu}(g)",
            r"dx = [dg \quad du] W_{\mathrm{in}}^T",
        ),
        ("llama_blocks.gated_feed_forward_forward",),
        "Shazeer 2020, GLU Variants Improve Transformer, equation 6",
    ),
    Formula(
        "F31",
        "grouped-query attention",
        (
            r"c^h = \mathrm{attention}(q^h, k^g, v^g), \quad g = \lfloor hG/H \rfloor",
            r"y = c W_{\mathrm{out}}",
        ),
        (
            r"dk^g = \sum_h dk^h, \quad dv^g = \sum_h dv^h",
            r"dc = dy W_{\mathrm{out}}^T",
        ),
        (
            "llama_blocks.grouped_self_attention_forward",
            "llama_blocks.grouped_query_forward",
        ),
        "Ainslie et al. 2023, GQA, section 2.2",
    ),
    Formula(
        "F32",
        "causal attention in blocks of queries",
        (r"c_i = \sum_{j \leq i} a_{ij} v_j",),
        (r"dk_j = \sum_{\mathrm{blocks}} dk_j, \quad dv_j = \sum_{\mathrm{blocks}} dv_j",),
        ("blockwise_attention.causal_attention_forward",),
        "F2 and F3, of which the part above the diagonal is left out",
    ),
    Formula(
        "F33",
        "attention over blocks of keys",
        (
            r"\mu' = \max(\mu, \max_j s_{ij})",
            r"\lambda' = \exp(\mu - \mu') \lambda + \sum_j \exp(s_{ij} - \mu')",
            r"c' = \exp(\mu - \mu') c + \sum_j \exp(s_{ij} - \mu') v_j",
            r"c_i = \frac{c}{\lambda}",
        ),
        (
            r"a_{ij} = \frac{\exp(s_{ij} - \mu_i)}{\lambda_i}",
            r"ds_{ij} = a_{ij} \left( dc_i \cdot v_j - dc_i \cdot c_i \right)",
        ),
        ("blockwise_attention.online_attention_forward",),
        "Milakov and Gimelshein 2018, Online normalizer calculation for softmax, algorithm 3; "
        "Dao et al. 2022, FlashAttention, algorithm 1",
    ),
    Formula(
        "F34",
        "log-probability of a text",
        (r"\ell_n = \sum_t \log p_{nt}(y_{nt})",),
        (r"dz_{ntw} = d\ell_n \left( 1[w = y_{nt}] - p_{ntw} \right)",),
        ("objectives.text_logp_forward",),
        "the chain rule of probability",
    ),
    Formula(
        "F35",
        "fine-tuning with the prompt masked",
        (r"y_t = x_{t+1} \quad (t \geq s)",),
        (),
        ("objectives.answer_targets",),
        "Radford et al. 2018, Improving Language Understanding by Generative Pre-Training, "
        "section 3.2",
    ),
    Formula(
        "F36",
        "policy gradient",
        (r"L = -\frac{1}{N} \sum_n a_n \ell_n",),
        (r"d\ell_n = -\frac{dL}{N} a_n",),
        ("objectives.policy_gradient_forward",),
        "Williams 1992, Simple Statistical Gradient-Following Algorithms, theorem 1",
    ),
    Formula(
        "F37",
        "advantage over the group",
        (r"a_n = r_n - \frac{1}{N - 1} \sum_{j \neq n} r_j",),
        (),
        ("objectives.group_advantages",),
        "Kool et al. 2019, Buy 4 REINFORCE Samples, Get a Baseline for Free!; "
        "Shao et al. 2024, DeepSeekMath, section 4.1.2",
    ),
    Formula(
        "F38",
        "clipped policy gradient",
        (
            r"\rho_n = \exp \left( \ell_n - \ell_n^{\mathrm{old}} \right)",
            r"L = -\frac{1}{N} \sum_n \min \left( \rho_n a_n, "
            r"\mathrm{clip}(\rho_n, 1 - \epsilon, 1 + \epsilon) a_n \right)",
        ),
        (r"d\ell_n = -\frac{dL}{N} \rho_n a_n 1[\rho_n\ \mathrm{is\ not\ clipped}]",),
        ("objectives.clipped_forward",),
        "Schulman et al. 2017, Proximal Policy Optimization Algorithms, equation 7",
    ),
    Formula(
        "F39",
        "KL, estimated from samples",
        (
            r"\delta_n = \ell_n - \ell_n^{\mathrm{ref}}",
            r"k1_n = \delta_n \quad k2_n = \delta_n^2 / 2 \quad "
            r"k3_n = \exp(-\delta_n) - 1 + \delta_n",
            r"L = \frac{1}{N} \sum_n k_n",
        ),
        (
            r"k1: d\ell_n = \frac{dL}{N} \quad k2: d\ell_n = \frac{dL}{N} \delta_n \quad "
            r"k3: d\ell_n = \frac{dL}{N} \left( 1 - \exp(-\delta_n) \right)",
        ),
        ("objectives.kl_estimate_forward",),
        "Schulman 2020, Approximating KL Divergence; Shao et al. 2024, DeepSeekMath, equation 4",
    ),
    Formula(
        "F40",
        "KL, summed exactly",
        (
            r"\mathrm{KL}_n = \sum_w p_{nw} \left( \log p_{nw} - \log q_{nw} \right)",
            r"L = \frac{1}{N} \sum_n \mathrm{KL}_n",
        ),
        (r"dz_{nw} = \frac{dL}{N} p_{nw} \left( \delta_{nw} - \mathrm{KL}_n \right)",),
        ("objectives.kl_forward",),
        "Kullback and Leibler 1951, On Information and Sufficiency",
    ),
    Formula(
        "F41",
        "the best value",
        (
            r"J^* = \beta \log \sum_n \exp \left( \ell_n^{\mathrm{ref}} + r_n / \beta \right)",
            r"\ell_n^* = \ell_n^{\mathrm{ref}} + r_n / \beta - J^* / \beta",
        ),
        (),
        ("objectives.best_policy",),
        "Peters, Mülling and Altün 2010, Relative Entropy Policy Search",
    ),
    Formula(
        "F42",
        "direct preference optimisation",
        (
            r"m_n = \left( \ell_n - \ell_n^{\mathrm{ref}} \right)_{\mathrm{preferred}} - "
            r"\left( \ell_n - \ell_n^{\mathrm{ref}} \right)_{\mathrm{rejected}}",
            r"L = -\frac{1}{N} \sum_n \log \sigma(\beta m_n)",
        ),
        (r"d\ell_n = -\frac{dL}{N} \beta \sigma(-\beta m_n)",),
        ("objectives.preference_forward",),
        "Rafailov et al. 2023, Direct Preference Optimization, equation 7",
    ),
    Formula(
        "F43",
        "low-rank adaptation",
        (r"W' = W + \mathrm{scale} \cdot u v",),
        (
            r"dW = dW' \quad du = \mathrm{scale} \cdot dW' v^T \quad "
            r"dv = \mathrm{scale} \cdot u^T dW'",
        ),
        ("low_rank.low_rank_forward",),
        "Hu et al. 2021, LoRA, section 4.1",
    ),
)

FORMULAS: dict[str, Formula] = {f.id: f for f in _TABLE}


# ---- what each letter means ------------------------------------------------------------------

SIZES = {
    "B": "batch: texts side by side",
    "T": "queries: tokens that read",
    "S": "keys: tokens that are read",
    "C": "width: numbers that stand for a token",
    "H": "heads",
    "D": "width of a query and of a key, in a head",
    "A": "width of all heads together, H D",
    "G": "groups of heads that share their keys and values",
    "K": "width of all keys together, G D",
    "M": "width of queries, keys and values together, A + 2 K",
    "F": "hidden width of feed-forward",
    "I": "width of what goes in, where it need not be C",
    "O": "width of what comes out, where it need not be C",
    "R": "rank of what is added to a matrix",
    "V": "vocabulary: how many words",
    "N": "how many are counted, of whatever n counts",
}

MODEL = {
    "i": "a position, of a query where there are two",
    "j": "a position, of a key",
    "l": "a position, of all the keys in a sum",
    "t": "a position, as time goes by",
    "n": "counts predictions, or rows of a batch",
    "w": "a word of the vocabulary; w' is any of them in a sum",
    "h": "a head",
    "r": "a column, of those that make up a width; in F19 a pair of them. r' is any in a sum",
    "x": "what goes in: the words of a text, the array of a function",
    "y": "what comes out, or should: the array of a function, the word to be predicted",
    r"\bar{y}": "the word to be predicted, not quite certain",
    "E": "the table of embeddings (V, C), a row for each word",
    "P": "the table of positions, a row for each",
    "W": "weights (in, out); in the code w, w_in, w_out, ...",
    "b": "bias",
    "e": "embedding: of position i, e_i, or of word w, e_w",
    "q": "query: what a position asks",
    "k": "key: what a position answers to",
    "v": "value: what a position says",
    "s": "score: how well a key answers a query",
    "a": "attention weight: how much of position j goes into i",
    "c": "context: what a position has read",
    "z": "logits: a number for each word, before softmax",
    "p": "probability",
    "L": "loss, in nats per predicted token",
    "d": "dz is dL/dz, with the shape of z",
    "u": "what goes into an activation",
    "f": "an activation",
    "g": "what opens a gate; of heads, the group",
    r"\mu": "the largest score of a row, so far",
    r"\lambda": "the sum of a row's exponentials, so far",
    r"\theta": "the angle by which a pair of columns is turned",
    r"\rho": "the size of a row, its root mean square",
    "m": "what dropout multiplies by",
    r"\hat{x}": "x, with mean 0 and variance 1",
    r"\sigma": "standard deviation of a row",
    r"\Phi": "the normal distribution",
    r"\epsilon": "smoothing: the share that is spread over all words",
    r"\alpha": "length penalty",
    r"\pi": "3.14159...",
    "1": "1[...] is 1 where ... holds, else 0",
}

INDICES = "ijltnwhr"  # the letters that count; of the others, y counts too: z_ny

OPTIMIZER = {
    "p": "parameters",
    "g": "their gradient",
    "u": "velocity",
    "m": "running mean of g",
    "v": "running mean of g squared",
    r"\hat{m}": "m, made up for its start at 0",
    r"\hat{v}": "v, made up for its start at 0",
    "t": "number of the step, from 1",
    "s": "number of the step, from 0",
    "n": "number of the step, from 1, as the paper of the Transformer writes it",
    "w": "warm-up: steps until the learning rate is reached",
    r"\eta": "learning rate",
    r"\mu": "momentum",
    r"\beta": "how slowly a running mean moves",
    r"\epsilon": "what keeps a quotient finite",
    r"\lambda": "weight decay",
    r"\pi": "3.14159...",
}

AFTERWARDS = {
    "n": "a text, of those drawn for a prompt",
    "j": "another text of the same group",
    "t": "a position in a text, from 1",
    "w": "a word of the vocabulary",
    "x": "the words of prompt and answer",
    "s": "how many of them are the prompt",
    "y": "the words to be predicted",
    "z": "logits",
    "p": "probability under the policy, which is trained",
    "q": "probability under the reference, which is frozen",
    r"\ell": "log-probability of a text, in nats",
    "r": "reward of a text",
    "a": "advantage: how much better than expected",
    r"\rho": "how much likelier a text is than when it was drawn",
    r"\epsilon": "how far that may go: the clip",
    r"\delta": "how much likelier than under the reference, in nats",
    "k": "an estimate of KL from one text",
    "m": "margin: by how much the preferred text has gained on the rejected one",
    r"\sigma": "1/(1 + exp(−u)), the probability of being preferred",
    r"\beta": "what a nat of KL costs",
    "J": "reward minus β KL; J* the most that it can be",
    "L": "loss, which is to fall",
    "d": "dz is dL/dz",
    "W": "a matrix of weights",
    "u": "the first thin factor of what is added to W",
    "v": "the second one",
    "1": "1[...] is 1 where ... holds, otherwise 0",
}


def letters_of(formula: Formula) -> dict[str, str]:
    """The meaning of every letter that may stand in a formula.

    An optimizer sees one long vector, and neither words nor attention: its letters are its own. So
    are those of what follows pre-training, where a text has a reward.
    """
    return SIZES | own_letters(formula)


def own_letters(formula: Formula) -> dict[str, str]:
    """The table that belongs to a formula, beside SIZES."""
    tables = {"optim": OPTIMIZER, "objectives": AFTERWARDS, "low_rank": AFTERWARDS}
    return tables.get(formula.names[0].partition(".")[0], MODEL)


def notation_table() -> str:
    """All letters as a table in Markdown."""
    lines = ["| | letter | meaning |", "|---|---|---|"]
    tables = {"sizes": SIZES, "model": MODEL, "optimizer": OPTIMIZER, "afterwards": AFTERWARDS}
    for where, letters in tables.items():
        lines += [f"| {where} | ${letter}$ | {means} |" for letter, means in letters.items()]
    return "\n".join(lines)
