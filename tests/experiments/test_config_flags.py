"""Flags over a config's lists: words and numbers as they are typed, and one line for what does not fit."""

import pytest

from experiments._config import keys_of, load
from jaxlab.core import InputError

CONFIG = """
from ml_collections import ConfigDict
VARIANTS = ()
def get_config(variant=None):
    return ConfigDict({
        "targets": ("q", "v"), "sizes": (1, 2), "rates": (0.1, 0.2), "pairs": ((1, 2), (3, 4)), "any": (),
        "first_seed": 0, "weight": 1.0, "max_grad_norm": 1.0,
        "flags": (True,), "arm": {"domains": ("a",)}, "claims": ({"arm": "x"},), "rate": 0.1, "steps": 3,
    })
"""


@pytest.fixture
def given(tmp_path):
    file = tmp_path / "c.py"
    file.write_text(CONFIG)
    return lambda *flags: load(str(file), [f"--config.{flag}" for flag in flags]).config


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("targets=q,k,v", ("q", "k", "v")),
        ("targets=q", ("q",)),
        ("targets=(q, k)", ("q", "k")),
        ("targets=[q,k]", ("q", "k")),
        ("targets=('q', 'k')", ("q", "k")),
        ('targets=["all-linear"]', ("all-linear",)),
        ("targets=all-linear", ("all-linear",)),
        ("targets=1,2", ("1", "2")),
        ("targets=", ()),
        ("targets=()", ()),
        ("arm.domains=x,y", ("x", "y")),
        ("sizes=3,4", (3, 4)),
        ("sizes=(8,)", (8,)),
        ("sizes=8", (8,)),
        ("sizes=[8, 16]", (8, 16)),
        ("rates=1,0.5", (1.0, 0.5)),
        ("rates=1e-3", (0.001,)),
        ("pairs=((5,6),)", ((5, 6),)),
        ("any=a,b", ("a", "b")),
        ("any=1,2", (1, 2)),
        ("flags=True,False", (True, False)),
    ],
)
def test_a_list_is_what_was_typed(given, flag, value):
    config = given(flag)
    node = config
    for key in flag.partition("=")[0].split("."):
        node = node[key]
    assert node == value
    assert [type(entry) for entry in node] == [type(entry) for entry in value]


def test_two_flags_and_the_rest_stays(given):
    config = given("targets=k", "sizes=5", "steps=4")
    assert given("claims=()").claims == ()
    assert given("first_seed=4294967295").first_seed == 2**32 - 1
    assert given("weight=-1").weight == -1
    assert (config.targets, config.sizes, config.rates, config.steps) == (("k",), (5,), (0.1, 0.2), 4)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("sizes=a,b", "config.sizes is 'a,b': it must be a list a,b,c of whole numbers"),
        ("sizes=(8,a)", r"config.sizes is '\(8,a\)': it must be a list a,b,c of whole numbers"),
        ("sizes=1.5", "config.sizes is '1.5': it must be a list a,b,c of whole numbers"),
        ("rates=fast", "config.rates is 'fast': it must be a list a,b,c of numbers"),
        ("rates=nan", "config.rates is 'nan': it must be a list a,b,c of numbers"),
        ("pairs=1,2", "config.pairs is '1,2': it must be a list a,b,c of lists"),
        (
            "claims=foo",
            r"config.claims is 'foo': claims are written in the config's file; --config.claims=\(\) leaves",
        ),
        ("claims={}", "config.claims is '{}': claims are written"),
        ("rate=inf", "config.rate is 'inf': it must be a number"),
        ("max_grad_norm=-1", "config.max_grad_norm is -1.0: it must be at least 0"),
        ("rate=-0.1", "config.rate is -0.1: it must be at least 0"),
        ("steps=-1", r"config.steps is -1: it must be at least 0 and below 2\*\*31"),
        ("steps=999999999999", r"config.steps is 999999999999: it must be at least 0 and below 2\*\*31"),
        ("first_seed=-1", r"config.first_seed is -1: it must be at least 0 and below 2\*\*32"),
        ("rate=nan", "config.rate is 'nan': it must be a number"),
        ("steps=2.0", "config.steps is '2.0': it must be a whole number"),
    ],
)
def test_what_does_not_fit_is_one_line(given, flag, message):
    with pytest.raises(InputError, match=message) as info:
        given(flag)
    assert "\n" not in str(info.value)


FAMILIES = ("self_supervised/barlow_twins", "post_training/grpo", "continual/refresh_learning", "ranking/dla",
            "semi_supervised/mean_teacher")  # fmt: skip
WRONG = {
    int: ("-1", "1.5", "nan", "", "many", "1e3", "99999999999"),
    float: ("nan", "inf", "", "fast", "None"),
    bool: ("maybe", "2", ""),
    tuple: ("(", "[1", "1,,2"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_flag_refuses_what_is_not_of_its_kind(name):
    file = f"configs/{name}.py:smoke"
    keys = keys_of(load(file).config)
    # Of the keys of arms that are called alike, one.
    for key, kind in {key.rpartition(".")[2]: (key, type(value)) for key, value in keys.items()}.values():
        for value in WRONG.get(kind, ()):
            try:
                found = keys_of(load(file, [f"--config.{key}={value}"]).config)[key]
            except InputError as error:
                assert f"config.{key} is " in str(error)
                assert "\n" not in str(error)
                assert len(str(error)) < 250
            else:  # words in a list need no quotes
                assert kind is tuple, (key, value, found)
                assert all(isinstance(word, str) for word in found)
