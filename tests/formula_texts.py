"""Every line of LaTeX in notation.py, and the same in the docstring of its function.

Neither may be changed without the other: test_notation.py compares both with this list. Spaces do
not count. The docstrings say "table" for E and P, and spell the names of the arguments.
"""

SAID = {
    "F1": {
        r"e_i = E_{x_i}": "e_i = table[x_i]",
        r"dE_w = \sum_{i: x_i = w} de_i": "dtable_w = Σ_{i: x_i = w} de_i",
    },
    "F2": {
        r"c_i = \sum_j a_{ij} v_j": "c_i = Σ_j a_ij v_j",
        r"dv_j = \sum_i a_{ij} dc_i": "dv_j = Σ_i a_ij dc_i",
        r"da_{ij} = dc_i \cdot v_j": "da_ij = dc_i·v_j",
    },
    "F3": {
        r"s_{ij} = \mathrm{scale} \cdot q_i \cdot k_j": "s_ij = scale q_i·k_j",
        r"a_{ij} = \frac{\exp(s_{ij})}{\sum_l \exp(s_{il})}": "a_ij = softmax_j(s_ij)",
        r"ds_{ij} = a_{ij} \left( da_{ij} - \sum_l a_{il} da_{il} \right)": (
            "ds_ij = a_ij (da_ij − Σ_l a_il da_il)"
        ),
        r"dq_i = \mathrm{scale} \cdot \sum_j ds_{ij} k_j": "dq_i = scale Σ_j ds_ij k_j",
        r"dk_j = \mathrm{scale} \cdot \sum_i ds_{ij} q_i": "dk_j = scale Σ_i ds_ij q_i",
        r"a_j = \frac{\exp(s_j)}{\sum_l \exp(s_l)}": "a_j = exp(s_j) / Σ_l exp(s_l)",
        r"ds_j = a_j \left( da_j - \sum_l a_l da_l \right)": "ds_j = a_j (da_j − Σ_l a_l da_l)",
    },
    "F4": {
        r"z_w = c \cdot e_w": "z_w = c·e_w",
        r"p(w) = \frac{\exp(z_w)}{\sum_{w'} \exp(z_{w'})}": "p(w) = exp(z_w) / Σ_w' exp(z_w')",
        r"dc_n = \sum_w dz_{nw} e_w": "dc_n = Σ_w dz_nw e_w",
        r"dE_w = \sum_n dz_{nw} c_n": "dtable_w = Σ_n dz_nw c_n",
    },
    "F5": {
        r"L = -\frac{1}{N} \sum_n \log p_n(y_n)": "L = 1/N Σ_n −log",
        r"dz_{nw} = \frac{dL}{N} \left( p_n(w) - 1[w = y_n] \right)": (
            "dz_nw = dL/N (p_nw − 1[w = y_n])"
        ),
        r"dp_n(w) = -\frac{dL}{N} \cdot \frac{1[w = y_n]}{p_n(y_n)}": (
            "dp_nw = −dL/N 1[w = y_n] / p_ny"
        ),
    },
    "F6": {
        r"\mathrm{perplexity} = \exp \left( -\frac{1}{N} \sum_n \log p_n(y_n) \right)": (
            "exp(total nats / total tokens)"
        ),
    },
    "F7": {
        r"u \leftarrow \mu u + g": "u ← μ u + g",
        r"p \leftarrow p - \eta u": "p ← p − η u",
    },
    "F8": {
        r"m \leftarrow \beta_1 m + (1 - \beta_1) g": "m ← β1 m + (1 − β1) g",
        r"v \leftarrow \beta_2 v + (1 - \beta_2) g^2": "v ← β2 v + (1 − β2) g²",
        r"\hat{m} = \frac{m}{1 - \beta_1^t} \quad \hat{v} = \frac{v}{1 - \beta_2^t}": (
            "m̂ = m / (1 − β1^t)",
            "v̂ = v / (1 − β2^t)",
        ),
        r"p \leftarrow p - \eta \frac{\hat{m}}{\sqrt{\hat{v}} + \epsilon}": (
            "p ← p − η m̂ / (√v̂ + ε)"
        ),
    },
    "F9": {r"p \leftarrow (1 - \eta \lambda) p": "p ← (1 − η λ) p"},
    "F10": {
        r"g \leftarrow g \cdot \min \left( 1, \frac{\mathrm{max\_norm}}{|g|} \right)": (
            "g ← g max_norm / |g| if |g| > max_norm"
        ),
    },
    "F11": {
        r"\eta = \mathrm{peak} \cdot \frac{s + 1}{\mathrm{warmup} + 1}"
        r" \quad (s < \mathrm{warmup})": ("η = peak (s + 1) / (warmup + 1) s < warmup"),
        r"\eta = \mathrm{floor} + (\mathrm{peak} - \mathrm{floor}) \cdot \frac{1}{2} \left( 1 + "
        r"\cos \left( \pi \frac{s - \mathrm{warmup}}{\mathrm{total} - \mathrm{warmup}} \right) "
        r"\right)": "η = floor + (peak − floor) (1 + cos(π (s − warmup) / (total − warmup))) / 2",
        r"\eta = \mathrm{floor} \quad (s \geq \mathrm{total})": "η = floor s ≥ total",
    },
    "F12": {
        r"y = x W + b": "y = x w + b",
        r"dx = dy W^T": "dx_nr = Σ_r' dy_nr' w_rr'",
        r"dW = x^T dy": "dw_rr' = Σ_n x_nr dy_nr'",
        r"db = \sum_n dy_n": "db_r' = Σ_n dy_nr'",
    },
    "F13": {
        r"\sigma = \sqrt{\mathrm{mean}((x - \mathrm{mean}(x))^2) + \mathrm{eps}}": (
            "σ² = mean((x − mean(x))²) + eps"
        ),
        r"\hat{x} = \frac{x - \mathrm{mean}(x)}{\sigma}": "x̂_r = (x_r − mean(x))/σ",
        r"y = \mathrm{gain} \cdot \hat{x} + \mathrm{bias}": "y_r = gain_r x̂_r + bias_r",
        r"d\hat{x} = \mathrm{gain} \cdot dy": "dx̂_r = gain_r dy_r",
        r"dx = \frac{1}{\sigma} \left( d\hat{x} - \mathrm{mean}(d\hat{x}) - \hat{x} \cdot "
        r"\mathrm{mean}(d\hat{x} \cdot \hat{x}) \right)": (
            "dx_r = (dx̂_r − mean(dx̂) − x̂_r mean(dx̂ x̂))/σ"
        ),
    },
    "F14": {
        r"y = x \cdot h \quad h = \frac{1}{2} \left( 1 + \tanh u \right)": (
            "h = (1 + tanh u)/2",
            "y = x h",
        ),
        r"u = \sqrt{\frac{2}{\pi}} \left( x + 0.044715 \cdot x^3 \right)": (
            "u = √(2/π) (x + 0.044715 x³)"
        ),
        r"dx = dy \left( h + x \cdot h' \right) \quad h' = 2 u' \cdot h (1 - h)": (
            "h' = 2 u' h (1 − h)",
            "dx = dy (h + x h')",
        ),
        r"u' = \sqrt{\frac{2}{\pi}} \left( 1 + 3 \cdot 0.044715 \cdot x^2 \right)": (
            "u' = √(2/π) (1 + 3·0.044715 x²)"
        ),
    },
    "F15": {
        r"y = x \cdot \Phi(x)": "y = x Φ(x)",
        r"\Phi(x) = \frac{1}{2} \left( 1 + \mathrm{erf} \left( \frac{x}{\sqrt{2}} \right)"
        r" \right)": ("Φ(x) = (1 + erf(x/√2))/2"),
        r"dx = dy \left( \Phi(x) + x \cdot \Phi'(x) \right)": "dx = dy (Φ(x) + x Φ'(x))",
        r"\Phi'(x) = \frac{\exp(-x^2 / 2)}{\sqrt{2 \pi}}": "Φ' = exp(−x²/2)/√(2π)",
    },
    "F16": {
        r"y = \max(x, 0)": "y = max(x, 0)",
        r"dx = dy \cdot 1[x > 0]": "dx = dy where x > 0, else 0",
    },
    "F17": {
        r"y = m \cdot x": "y = m x",
        r"m = 0 \quad \mathrm{with\ probability\ rate}": "m = 0 at probability `rate`",
        r"m = \frac{1}{1 - \mathrm{rate}} \quad \mathrm{otherwise}": "1/(1 − rate) otherwise",
        r"dx = m \cdot dy": "dx = m dy",
    },
    "F18": {
        r"y_t = e_t + P_t": "y_t = e_t + table[t]",
        r"de_t = dy_t": "de_nt = dy_nt",
        r"dP_t = \sum_n dy_{nt}": "dtable_t = Σ_n dy_nt",
    },
    "F19": {
        r"P_{t, 2r} = \sin \left( \frac{t}{10000^{2r/C}} \right)": (
            "table[t, 2r] = sin(t / 10000^(2r/C))"
        ),
        r"P_{t, 2r+1} = \cos \left( \frac{t}{10000^{2r/C}} \right)": (
            "table[t, 2r + 1] = cos(t / 10000^(2r/C))"
        ),
    },
    "F20": {
        r"c^h = \mathrm{attention}(q^h, k^h, v^h), \quad \mathrm{scale} = D^{-1/2}": (
            "c^h = attention(q^h, k^h, v^h), scale D**-0.5"
        ),
        r"c = [c^1 \quad c^2 \ldots c^H]": "c = [c¹ … c^H]",
        r"y = c W_{\mathrm{out}} + b_{\mathrm{out}}": "y = c w_out + b_out",
        r"dc = dy W_{\mathrm{out}}^T = [dc^1 \quad dc^2 \ldots dc^H]": (
            "dc = dy w_outᵀ = [dc¹ … dc^H]"
        ),
        r"dq^h, dk^h, dv^h = \mathrm{attention\_backward}(dc^h)": (
            "dq = merge(attention_backward(split(dc)).dq)"
        ),
    },
    "F21": {
        r"u = x W_{\mathrm{in}} + b_{\mathrm{in}}": "f(x w_in + b_in)",
        r"y = f(u) W_{\mathrm{out}} + b_{\mathrm{out}}": "y = f(x w_in + b_in) w_out + b_out",
        r"du = f'(u) \cdot dy W_{\mathrm{out}}^T": "du = f'(u) dy w_outᵀ",
        r"dx = du W_{\mathrm{in}}^T": "dx = du w_inᵀ",
    },
    "F22": {r"y = \tanh x": "y = tanh x", r"dx = dy (1 - y^2)": "dx = dy (1 − y²)"},
    "F23": {
        r"L = -\frac{1}{N} \sum_n \sum_w \bar{y}_{nw} \log p_n(w)": (
            "L = 1/N Σ_n −Σ_w ȳ_nw log softmax(z_n)[w]"
        ),
        r"\bar{y}_{nw} = (1 - \epsilon) 1[w = y_n] + \frac{\epsilon}{V}": (
            "ȳ_nw = (1 − ε) 1[w = y_n] + ε/V"
        ),
        r"dz_{nw} = \frac{dL}{N} \left( p_n(w) - \bar{y}_{nw} \right)": "= dL/N (p_nw − ȳ_nw)",
    },
    "F24": {
        r"y_i = x_i \quad \mathrm{where\ chosen}, \quad \mathrm{with\ probability\ rate}": (
            "targets = ids where chosen, IGNORE elsewhere",
            "chosen with probability `rate`",
        ),
        r"x_i \leftarrow \mathrm{mask}\ (0.8), \quad \mathrm{random}\ (0.1), \quad x_i\ (0.1)": (
            "80 % become mask_id, 10 % a random token, 10 % stay as they are"
        ),
    },
    "F25": {
        r"\eta = C^{-1/2} \min \left( n^{-1/2}, n \cdot w^{-3/2} \right)": (
            "η = C^−½ min(n^−½, n w^−3/2)"
        ),
    },
    "F26": {
        r"\mathrm{score} = \frac{\log p(y)}{\left( (5 + |y|) / 6 \right)^\alpha}": (
            "log p(y) / ((5 + |y|)/6)^α"
        ),
    },
    "F27": {
        r"\rho = \sqrt{\mathrm{mean}(x^2) + \mathrm{eps}}": "ρ = √(mean(x²) + eps)",
        r"\hat{x} = \frac{x}{\rho}": "x̂ = x / ρ",
        r"y = \mathrm{gain} \cdot \hat{x}": "y = gain x̂",
        r"d\hat{x} = \mathrm{gain} \cdot dy": "dx̂ = gain dy",
        r"dx = \frac{1}{\rho} \left( d\hat{x} - \hat{x} \cdot \mathrm{mean}(d\hat{x} \cdot"
        r" \hat{x}) \right)": "dx = (dx̂ − x̂ mean(dx̂ x̂)) / ρ",
    },
    "F28": {
        r"\theta_{tr} = t \cdot \mathrm{base}^{-2r/D}": "θ_tr = t base^(−2r/D)",
        r"y_r = x_r \cos \theta_{tr} - x_{r'} \sin \theta_{tr}": (
            "y_r = x_r cos θ_tr − x_r' sin θ_tr"
        ),
        r"y_{r'} = x_r \sin \theta_{tr} + x_{r'} \cos \theta_{tr}": (
            "y_r' = x_r sin θ_tr + x_r' cos θ_tr"
        ),
        r"dx_r = dy_r \cos \theta_{tr} + dy_{r'} \sin \theta_{tr}": (
            "dx_r = dy_r cos θ_tr + dy_r' sin θ_tr"
        ),
        r"dx_{r'} = -dy_r \sin \theta_{tr} + dy_{r'} \cos \theta_{tr}": (
            "dx_r' = −dy_r sin θ_tr + dy_r' cos θ_tr"
        ),
    },
    "F29": {
        r"y = x \cdot \sigma(x)": "y = x σ(x)",
        r"\sigma(x) = \frac{1}{1 + \exp(-x)}": "σ(x) = 1/(1 + exp(−x))",
        r"dx = dy \left( \sigma + x \cdot \sigma' \right) \quad \sigma' = \sigma (1 - \sigma)": (
            "σ' = σ (1 − σ)",
            "dx = dy (σ + x σ')",
        ),
    },
    "F30": {
        r"[g \quad u] = x W_{\mathrm{in}}": "[g u] = x w_in",
        r"y = \left( \mathrm{silu}(g) \cdot u \right) W_{\mathrm{out}}": "y = (silu(g) u) w_out",
        r"dm = dy W_{\mathrm{out}}^T": "dm = dy w_outᵀ",
        r"dg = \mathrm{silu}'(g) \cdot dm \cdot u \quad du = dm \cdot \mathrm{silu}(g)": (
            "dg = silu'(g) (dm u)",
            "du = dm silu(g)",
        ),
        r"dx = [dg \quad du] W_{\mathrm{in}}^T": "dx = [dg du] w_inᵀ",
    },
    "F31": {
        r"c^h = \mathrm{attention}(q^h, k^g, v^g), \quad g = \lfloor hG/H \rfloor": (
            "c^h = attention(q^h, k^g, v^g), g = ⌊h G/H⌋"
        ),
        r"y = c W_{\mathrm{out}}": "y = c w_out",
        r"dk^g = \sum_h dk^h, \quad dv^g = \sum_h dv^h": "dk^g = Σ_h dk^h, dv^g = Σ_h dv^h",
        r"dc = dy W_{\mathrm{out}}^T": "dc = dy w_outᵀ",
    },
    "F32": {
        r"c_i = \sum_{j \leq i} a_{ij} v_j": "c_i = Σ_{j ≤ i} a_ij v_j",
        r"dk_j = \sum_{\mathrm{blocks}} dk_j, \quad dv_j = \sum_{\mathrm{blocks}} dv_j": (
            "dk_j = Σ_blocks dk_j, dv_j = Σ_blocks dv_j"
        ),
    },
    "F33": {
        r"\mu' = \max(\mu, \max_j s_{ij})": "μ' = max(μ, max_j s_ij)",
        r"\lambda' = \exp(\mu - \mu') \lambda + \sum_j \exp(s_{ij} - \mu')": (
            "λ' = exp(μ − μ') λ + Σ_j exp(s_ij − μ')"
        ),
        r"c' = \exp(\mu - \mu') c + \sum_j \exp(s_{ij} - \mu') v_j": (
            "c' = exp(μ − μ') c + Σ_j exp(s_ij − μ') v_j"
        ),
        r"c_i = \frac{c}{\lambda}": "c_i = c / λ",
        r"a_{ij} = \frac{\exp(s_{ij} - \mu_i)}{\lambda_i}": "a_ij = exp(s_ij − μ_i) / λ_i",
        r"ds_{ij} = a_{ij} \left( dc_i \cdot v_j - dc_i \cdot c_i \right)": (
            "ds_ij = a_ij (dc_i·v_j − dc_i·c_i)"
        ),
    },
    "F34": {
        r"\ell_n = \sum_t \log p_{nt}(y_{nt})": "ℓ_n = Σ_t log softmax(z_nt)[y_nt]",
        r"dz_{ntw} = d\ell_n \left( 1[w = y_{nt}] - p_{ntw} \right)": (
            "dz_ntw = dℓ_n (1[w = y_nt] − p_ntw)"
        ),
    },
    "F35": {r"y_t = x_{t+1} \quad (t \geq s)": "y_t = x_{t+1} if t ≥ s, else IGNORE"},
    "F36": {
        r"L = -\frac{1}{N} \sum_n a_n \ell_n": "L = −1/N Σ_n a_n ℓ_n",
        r"d\ell_n = -\frac{dL}{N} a_n": "dℓ_n = −dL/N a_n",
    },
    "F37": {
        r"a_n = r_n - \frac{1}{N - 1} \sum_{j \neq n} r_j": "a_n = r_n − 1/(N − 1) Σ_{j ≠ n} r_j"
    },
    "F38": {
        r"\rho_n = \exp \left( \ell_n - \ell_n^{\mathrm{old}} \right)": "ρ_n = exp(ℓ_n − old_n)",
        r"L = -\frac{1}{N} \sum_n \min \left( \rho_n a_n, "
        r"\mathrm{clip}(\rho_n, 1 - \epsilon, 1 + \epsilon) a_n \right)": (
            "L = −1/N Σ_n min(ρ_n a_n, clip(ρ_n, 1 − ε, 1 + ε) a_n)"
        ),
        r"d\ell_n = -\frac{dL}{N} \rho_n a_n 1[\rho_n\ \mathrm{is\ not\ clipped}]": (
            "dℓ_n = −dL/N ρ_n a_n 1[ρ_n is not clipped]"
        ),
    },
    "F39": {
        r"\delta_n = \ell_n - \ell_n^{\mathrm{ref}}": "δ_n = ℓ_n − ref_n",
        r"k1_n = \delta_n \quad k2_n = \delta_n^2 / 2 \quad "
        r"k3_n = \exp(-\delta_n) - 1 + \delta_n": (
            "k1_n = δ_n k2_n = δ_n²/2 k3_n = exp(−δ_n) − 1 + δ_n"
        ),
        r"L = \frac{1}{N} \sum_n k_n": "L = 1/N Σ_n k_n",
        r"k1: d\ell_n = \frac{dL}{N} \quad k2: d\ell_n = \frac{dL}{N} \delta_n \quad "
        r"k3: d\ell_n = \frac{dL}{N} \left( 1 - \exp(-\delta_n) \right)": (
            "k1: dℓ_n = dL/N k2: dℓ_n = dL/N δ_n k3: dℓ_n = dL/N (1 − exp(−δ_n))"
        ),
    },
    "F40": {
        r"\mathrm{KL}_n = \sum_w p_{nw} \left( \log p_{nw} - \log q_{nw} \right)": (
            "KL_n = Σ_w p_nw (log p_nw − log q_nw)"
        ),
        r"L = \frac{1}{N} \sum_n \mathrm{KL}_n": "L = 1/N Σ_n KL_n",
        r"dz_{nw} = \frac{dL}{N} p_{nw} \left( \delta_{nw} - \mathrm{KL}_n \right)": (
            "dz_nw = dL/N p_nw (δ_nw − KL_n)"
        ),
    },
    "F41": {
        r"J^* = \beta \log \sum_n \exp \left( \ell_n^{\mathrm{ref}} + r_n / \beta \right)": (
            "J* = β log Σ_n exp(ref_n + r_n/β)"
        ),
        r"\ell_n^* = \ell_n^{\mathrm{ref}} + r_n / \beta - J^* / \beta": (
            "ℓ*_n = ref_n + r_n/β − J*/β"
        ),
    },
    "F42": {
        r"m_n = \left( \ell_n - \ell_n^{\mathrm{ref}} \right)_{\mathrm{preferred}} - "
        r"\left( \ell_n - \ell_n^{\mathrm{ref}} \right)_{\mathrm{rejected}}": (
            "m_n = (ℓ_n − ref_n) of the preferred − (ℓ_n − ref_n) of the rejected"
        ),
        r"L = -\frac{1}{N} \sum_n \log \sigma(\beta m_n)": "L = −1/N Σ_n log σ(β m_n)",
        r"d\ell_n = -\frac{dL}{N} \beta \sigma(-\beta m_n)": "dℓ_n = −dL/N β σ(−β m_n)",
    },
    "F43": {
        r"W' = W + \mathrm{scale} \cdot u v": "W' = W + scale u v",
        r"dW = dW' \quad du = \mathrm{scale} \cdot dW' v^T \quad "
        r"dv = \mathrm{scale} \cdot u^T dW'": ("dW = dW' du = scale dW' vᵀ dv = scale uᵀ dW'"),
    },
}
