"""config.py: an option is checked when it is made, and reads the same from flags and from JSON."""

import copy
import json
import pickle
from argparse import ArgumentParser
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import numpy as np
import pytest

from numpylm.config import ELSEWHERE, Config, add_flags, from_flags, option
from numpylm.errors import InputError
from numpylm.model import ModelConfig
from numpylm.runs import TrainConfig
from numpylm.transformer import TransformerConfig


@dataclass(frozen=True)
class Brew(Config):
    """how tea is made

    The first line names the group of flags.
    """

    cups: int = option(2, "how many cups", minimum=1, maximum=12)
    heat: float = option(0.9, "share of boiling, at most 100 %", above=0, below=1)
    leaf: str = option("green", "which tea", choices=("green", "black"))
    label: str = option("", "what is written on the pot")
    milk: bool = option(False, "pour milk")
    pot_size: int = option(4, "follows from the pot", flag=False)


@dataclass(frozen=True)
class Table(Config):
    """another group"""

    chairs: int = option(4, "how many chairs")


# ---- types, bounds, choices ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cups": 2.0}, "cups must be of type int, not 2.0"),
        ({"cups": "2"}, "cups must be of type int, not '2'"),
        ({"cups": True}, "cups must be of type int, not True"),
        ({"cups": np.True_}, "cups must be of type int, not np.True_"),
        ({"cups": None}, "cups must be of type int, not None"),
        ({"heat": "0.5"}, "heat must be a finite number, not '0.5'"),
        ({"heat": b"0.5"}, "heat must be a finite number, not b'0.5'"),
        ({"heat": True}, "heat must be a finite number, not True"),
        ({"heat": np.True_}, "heat must be a finite number, not np.True_"),
        ({"heat": None}, "heat must be a finite number, not None"),
        ({"heat": float("nan")}, "heat must be a finite number, not nan"),
        ({"heat": float("inf")}, "heat must be a finite number, not inf"),
        ({"heat": 1j}, "heat must be a finite number, not 1j"),
        ({"heat": 10**309}, f"heat must be a finite number, not {10**309}"),
        ({"milk": 1}, "milk must be of type bool, not 1"),
        ({"milk": "yes"}, "milk must be of type bool, not 'yes'"),
        ({"label": 3}, "label must be of type str, not 3"),
        ({"label": True}, "label must be of type str, not True"),
        ({"cups": 0}, "cups must be at least 1, not 0"),
        ({"cups": 13}, "cups must be at most 12, not 13"),
        ({"heat": 0}, "heat must be above 0, not 0.0"),
        ({"heat": 1}, "heat must be below 1, not 1.0"),
        ({"leaf": "mint"}, "leaf must be one of green, black, not 'mint'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(values, message):
    for make in (lambda: Brew(**values), lambda: Brew.from_dict(values)):
        with pytest.raises(InputError) as error:
            make()
        assert str(error.value) == message


def test_the_bounds_themselves_are_in_or_out_as_they_say():
    assert Brew(cups=1).cups == 1
    assert Brew(cups=12).cups == 12
    assert Brew(heat=1e-300).heat == 1e-300
    assert Brew(leaf="black").leaf == "black"


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("cups", np.int64(3), 3),
        ("cups", np.uint8(3), 3),
        ("heat", np.float32(0.5), 0.5),
        ("heat", np.float64(0.5), 0.5),
    ],
)
def test_numbers_of_numpy_become_those_of_python(name, given, kept):
    value = getattr(Brew(**{name: given}), name)
    assert value == kept
    assert type(value) is type(kept)


def test_a_whole_number_may_stand_for_a_float():
    @dataclass(frozen=True)
    class Scale(Config):
        factor: float = option(1.0, "factor")

    for whole in (2, np.int32(2)):
        assert type(Scale(factor=whole).factor) is float
        assert Scale(factor=whole) == Scale(factor=2.0)


def test_a_config_cannot_be_changed_past_its_checks():
    with pytest.raises(FrozenInstanceError):
        Brew().cups = 0


# ---- names, JSON -----------------------------------------------------------------------------


def test_a_name_it_does_not_know_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(InputError) as error:
        Brew.from_dict({"cups": 3, "sugar": 2})
    assert str(error.value) == (
        "Brew has no option 'sugar'; it has cups, heat, leaf, label, milk, pot_size"
    )


@dataclass(frozen=True)
class Plain(ModelConfig):
    width: int = 5
    name: str = "plain"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("widht", "width"), ("d_model", "width"), ("n_embd", "width"), ("block_size", "context_len")],
)
@pytest.mark.parametrize(
    "make", [lambda v: Plain(**v), Plain.from_dict, lambda v: replace(Plain(), **v)]
)
def test_a_name_that_is_nearly_right_or_used_elsewhere_is_answered_with_ours(wrong, right, make):
    with pytest.raises(InputError, match=rf"no option '{wrong}' \(did you mean {right}"):
        make({wrong: 3})


def test_every_name_used_elsewhere_stands_for_an_option_of_some_config():
    kinds = (TransformerConfig, TrainConfig)
    assert {*ELSEWHERE.values()} <= {field.name for kind in kinds for field in fields(kind)}


def test_fields_may_be_plain():
    config = Plain(vocab_size=9, width=np.int64(3))
    assert [*config.to_dict().values()] == [9, 8, 3, "plain"]
    assert type(config.width) is int
    with pytest.raises(InputError, match="width must be of type int, not 'a'"):
        Plain(width="a")
    parser = ArgumentParser()
    add_flags(parser, Plain())
    assert vars(parser.parse_args(["--width", "4"])) == {"width": 4}
    assert "--width INT" in parser.format_help() and "(default: 5)" in parser.format_help()


def test_a_config_without_its_decorator_is_told_so():
    class Bare(ModelConfig):
        width: int = 5

    with pytest.raises(InputError, match=r"Bare has no field 'width' yet: write @dataclass"):
        Bare(width=3)


def test_configs_can_be_copied_and_pickled():
    config = Plain(width=3)
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == replace(config) == config


def test_a_config_survives_json():
    config = Brew(cups=np.int64(5), heat=0.1, leaf="black", label="中", milk=True, pot_size=9)
    assert Brew.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert list(config.to_dict()) == ["cups", "heat", "leaf", "label", "milk", "pot_size"]


# ---- flags -----------------------------------------------------------------------------------


def parse(words, *defaults):
    parser = ArgumentParser(exit_on_error=False)
    for config in defaults:
        add_flags(parser, config)
    return vars(parser.parse_args(words))


def test_a_flag_that_is_not_given_leaves_no_trace():
    assert parse([], Brew()) == {}
    assert parse(["--cups", "3"], Brew()) == {"cups": 3}


def test_flags_change_the_defaults_and_nothing_else():
    words = ["--cups", "3", "--heat", "0.25", "--leaf", "black", "--label", "pot", "--milk"]
    defaults = Brew(cups=7, pot_size=9)
    flags = parse(words, defaults)
    assert from_flags(defaults, flags) == Brew(3, 0.25, "black", "pot", True, pot_size=9)
    assert from_flags(defaults, {}) == defaults
    assert from_flags(Brew(milk=True), parse(["--no-milk"], Brew())) == Brew(milk=False)


def test_flags_of_two_configs_part_again():
    flags = parse(["--chairs", "6", "--cups", "3"], Brew(), Table())
    assert from_flags(Brew(), flags) == Brew(cups=3)
    assert from_flags(Table(), flags) == Table(chairs=6)


def test_flags_are_checked_like_everything_else():
    with pytest.raises(InputError, match="cups must be at least 1, not -3"):
        from_flags(Brew(), parse(["--cups", "-3"], Brew()))
    with pytest.raises(InputError, match="heat must be a finite number, not nan"):
        from_flags(Brew(), parse(["--heat", "nan"], Brew()))


def test_a_value_that_follows_from_something_else_has_no_flag():
    parser = ArgumentParser()
    add_flags(parser, Brew())
    assert "--pot-size" not in parser.format_help()
    assert "--cups" in parser.format_help()


def test_the_help_shows_each_option_with_its_default():
    parser = ArgumentParser()
    add_flags(parser, Brew(cups=7))
    help = " ".join(parser.format_help().split())  # argparse breaks lines as it likes
    for words in (
        "how tea is made:",
        "--cups INT how many cups (default: 7)",
        "--heat FLOAT share of boiling, at most 100 % (default: 0.9)",
        "--leaf {green,black} which tea (default: green)",
        "what is written on the pot (default: none)",
        "--milk, --no-milk pour milk (default: False)",
    ):
        assert words in help
