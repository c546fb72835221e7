"""What a reader may choose: frozen dataclasses whose fields carry their own help and bounds.

The command line's flags and the JSON of a checkpoint both come from these fields, so an option is
written once.
"""

import dataclasses
import difflib
import inspect
import math
import numbers
import operator
import typing
from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .arguments import HOLDS
from .errors import InputError

MOST, LARGEST = 10**9, 1e30  # of whole numbers and of others, where an option says nothing else
SEEDS = 2**63 - 1


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: Iterable[str] = (),
    flag: bool = True,
) -> Any:
    """A dataclass field that knows its help and its bounds (`above`, `below` are exclusive).

    flag=False keeps it off the command line: its value follows from something else. A number has an
    upper bound in any case, so that no option can ask for more than can be built.
    """
    if maximum is None and below is None and not isinstance(default, bool):
        maximum = {int: MOST, float: LARGEST}.get(type(default))
    bounds = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "bounds": {words: bound for words, bound in bounds.items() if bound is not None},
            "choices": tuple(choices),
            "flag": flag,
        },
    )


ELSEWHERE = {  # how others call what is an option here
    **dict.fromkeys(("d_model", "n_embd", "hidden_size", "embed_dim", "embedding_dim"), "width"),
    **dict.fromkeys(("block_size", "max_len", "seq_len", "n_positions", "n_ctx"), "context_length"),
    **dict.fromkeys(("depth", "n_layer", "num_layers", "num_hidden_layers"), "layers"),
    **dict.fromkeys(("n_head", "num_heads", "nhead", "num_attention_heads"), "heads"),
    **dict.fromkeys(("d_ff", "dim_feedforward", "intermediate_size"), "hidden"),
    **dict.fromkeys(("lr", "max_lr"), "learning_rate"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every config: names, types and bounds are checked when one is made.

    A field is an `option`, or plain: `width: int = 32` has neither help nor bounds.
    """

    def __new__(cls, *args: Any, **values: Any) -> typing.Self:
        known = [field.name for field in dataclasses.fields(cls)]
        if plain := [name for name in inspect.get_annotations(cls) if name not in known]:
            raise InputError(
                f"{cls.__name__} has no field {plain[0]!r} yet: write @dataclass(frozen=True) "
                "above the class"
            )
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(ELSEWHERE.get(name, name), known, cutoff=0.7)
                guess = f" (did you mean {' or '.join(near)}?)" if near else ""
                raise InputError(
                    f"{cls.__name__} has no option {name!r}{guess}; it has {', '.join(known)}"
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        types = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            value = _as_type(field.name, given, types[field.name])
            object.__setattr__(self, field.name, value)
            for words, bound in field.metadata.get("bounds", {}).items():
                if not HOLDS[words.replace(" ", "_")](value, bound):
                    raise InputError(f"{field.name} must be {words} {bound}, not {_shown(value)}")
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise InputError(f"{field.name} must be one of {', '.join(choices)}, not {value!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> typing.Self:
        """The config that these names and values describe; a name it does not know is an error."""
        if not isinstance(values, Mapping):
            raise InputError(f"{cls.__name__} needs names and values, not {values!r:.60}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The values by name, ready for JSON."""
        return dataclasses.asdict(self)


def _shown(value: Any) -> str:
    """A number as it is, unless nobody could read it: Python writes at most 4,300 digits."""
    return (
        f"a number of {value.bit_length():,} bits"
        if isinstance(value, int) and (value.bit_length() > 200)
        else str(value)
    )


def _as_type(name: str, value: Any, kind: type) -> Any:
    """`value` as `kind` where nothing is lost (2 may stand for 2.0); otherwise an error."""
    try:
        if kind is bool or isinstance(value, bool | np.bool):  # True would count as 1
            fits = kind is bool and isinstance(value, bool)
        elif kind is int:
            value, fits = operator.index(value), True
        elif kind is float:
            fits = isinstance(value, numbers.Real) and math.isfinite(value)
            value = float(value) if fits else value
        else:
            fits = isinstance(value, kind)
    except (TypeError, OverflowError):
        fits = False
    if not fits:
        type_name = getattr(kind, "__name__", kind)
        wanted = "a finite number" if kind is float else f"of type {type_name}"
        raise InputError(f"{name} must be {wanted}, not {value!r}")
    return value


def add_flags(parser: ArgumentParser, defaults: Config) -> None:
    """One flag for each option of `defaults`. A flag not given leaves no trace in the result."""
    title = (type(defaults).__doc__ or "").split("\n")[0]
    group = parser.add_argument_group(title)
    types = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        if not field.metadata.get("flag", True):
            continue
        settings: dict[str, Any] = {"default": SUPPRESS}
        if types[field.name] is bool:
            settings["action"] = BooleanOptionalAction
        elif field.metadata.get("choices"):
            settings["choices"] = field.metadata["choices"]
        else:
            settings["type"] = types[field.name]
            settings["metavar"] = types[field.name].__name__.upper()
        default = getattr(defaults, field.name)
        shown = "none" if default == "" else default
        help = f"{field.metadata.get('help', '')} (default: {shown})".strip().replace("%", "%%")
        group.add_argument(f"--{field.name.replace('_', '-')}", help=help, **settings)


ConfigT = typing.TypeVar("ConfigT", bound=Config)


def from_flags(defaults: ConfigT, flags: Mapping[str, Any]) -> ConfigT:
    """`defaults`, changed where a parsed flag says so; flags of other configs are passed over."""
    return dataclasses.replace(defaults, **{k: v for k, v in flags.items() if hasattr(defaults, k)})
