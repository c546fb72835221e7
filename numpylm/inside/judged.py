"""Which method finds a mechanism that is known to be there, and which does not.

    python -c "from numpylm.inside.judged import table; print(table())"

Of positions: the largest shares must be those that decide. Of heads: the heads without which the
model cannot do it must be exactly those with more than a tenth of the largest share.
"""

from collections.abc import Callable

import numpy as np

from ..arrays import Array
from .attribution import direct_logits, gradient_times, integrated, path_effect, rollout
from .flow import record
from .heads import head_names
from .interventions import intervene, patch, zero
from .planted import PLANTED, Planted

SHARE = 0.1  # of the largest: what counts as found


def _positions(shares: Array) -> set[int]:
    """Those with more than a tenth of the largest share."""
    size = np.abs(shares)
    return {int(t) for t in np.flatnonzero(size > SHARE * size.max())}


def _heads(shares: dict[str, float]) -> set[str]:
    top = max(map(abs, shares.values()))
    return {name for name, share in shares.items() if abs(share) > SHARE * top}


def _end(planted: Planted) -> int:
    return len(planted.text) - 1


def _foil(planted: Planted) -> Array:
    """The text with another token everywhere but at the end: where to start from."""
    return planted.changed(range(len(planted.text) - (planted.name != "brackets")))


def by_weights(planted: Planted) -> bool:
    """The mean attention of the last block: positions."""
    maps = planted.model.attention_maps(planted.model.forward(planted.text)[1])
    return _positions([*maps.values()][-1].mean(axis=0)[-1]) == set(planted.reads)


def by_rollout(planted: Planted) -> bool:
    return _positions(rollout(planted.model, planted.text).weights[-1]) == set(planted.reads)


def by_gradient(planted: Planted) -> bool:
    asked = planted.model, planted.text, _foil(planted), _end(planted), planted.token
    shares = np.array([*gradient_times(*asked).shares.values()])
    return bool(shares.any()) and _positions(shares) == set(planted.reads)


def by_integrated(planted: Planted) -> bool:
    asked = planted.model, planted.text, _foil(planted), _end(planted), planted.token
    return _positions(np.array([*integrated(*asked, most=24).shares.values()])) == set(
        planted.reads
    )


def by_patching_positions(planted: Planted) -> bool:
    """The embedding of one position after another from another text."""
    model, text, end = planted.model, planted.text, _end(planted)
    before, foil = model.forward(text)[0][end], _foil(planted)
    after = [
        intervene(model, patch("embedding", foil, at=t)).forward(text)[0][end]
        for t in range(len(text))
    ]
    return _positions((np.array(after) - before)[:, planted.token]) == set(planted.reads)


def by_direct_logits(planted: Planted) -> bool:
    shares = direct_logits(planted.model, planted.text, _end(planted), planted.token).shares
    return _heads({n: shares[n] for n in head_names(planted.model)}) == set(planted.heads)


def by_ablation(planted: Planted) -> bool:
    model, text, end = planted.model, planted.text, _end(planted)
    before = model.forward(text)[0][end, planted.token]
    lost = {
        name: float(before - intervene(model, zero(name)).forward(text)[0][end, planted.token])
        for name in head_names(model)
    }
    return _heads(lost) == set(planted.heads)


def by_paths(planted: Planted) -> bool:
    """Each head directly, and each head of an earlier block by way of the later attentions."""
    model, text, foil = planted.model, planted.text, planted.changed(planted.reads)
    shares = {}
    for name in head_names(model):
        block = int(name[5 : name.index(".")])
        later = [f"block{i}.attention" for i in range(block + 1, model.config.layers)]
        ways = [["logits"], *([later] if later else [])]
        effects = [
            path_effect(model, text, foil, name, way, _end(planted), planted.token) for way in ways
        ]
        shares[name] = max(effects, key=abs)
    return _heads(shares) == set(planted.heads)


METHODS: dict[str, Callable[[Planted], bool]] = {
    "positions: attention weights": by_weights,
    "positions: rollout": by_rollout,
    "positions: gradient times activation": by_gradient,
    "positions: integrated gradients": by_integrated,
    "positions: patching each": by_patching_positions,
    "heads: direct logit attribution": by_direct_logits,
    "heads: ablation": by_ablation,
    "heads: path patching": by_paths,
}


def judge() -> dict[str, dict[str, bool]]:
    """method -> planted model -> whether it finds exactly what is there."""
    models = {name: make() for name, make in PLANTED.items()}
    return {m: {name: by(p) for name, p in models.items()} for m, by in METHODS.items()}


def table() -> str:
    """`judge`, as Markdown."""
    found = judge()
    lines = [f"| | {' | '.join(PLANTED)} |", "|---" * (len(PLANTED) + 1) + "|"]
    for method, row in found.items():
        lines.append(f"| {method} | {' | '.join('yes' if x else 'no' for x in row.values())} |")
    return "\n".join(lines)


def says(planted: Planted) -> bool:
    """Whether the model does what it was built for, on its text."""
    return int(record(planted.model, planted.text)["logits"][-1].argmax()) == planted.token
