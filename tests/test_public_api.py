"""Every public name: documented with shapes and source, with an example that runs, and touched by a test."""

import doctest
import importlib
import inspect
import pathlib

import pytest

ROOMS = (
    "core",
    "nets",
    "data",
    "distillation",
    "language",
    "language.tasks",
    "merging",
    "metrics",
    "post_training",
    "ranking",
    "self_supervised",
    "semi_supervised",
    "training",
)
TESTS = pathlib.Path(__file__).parent
LOSS_ROOMS = (
    "core",
    "nets",
    "data",
    "distillation",
    "language",
    "language.tasks",
    "merging",
    "metrics",
    "post_training",
    "ranking",
    "self_supervised",
    "semi_supervised",
)


def names(rooms=ROOMS):
    return [(room, name) for room in rooms for name in importlib.import_module(f"jaxlab.{room}").__all__]


def thing(room, name):
    return getattr(importlib.import_module(f"jaxlab.{room}"), name)


@pytest.mark.parametrize("room", ROOMS)
def test_all_is_complete(room):
    module = importlib.import_module(f"jaxlab.{room}")
    assert len(set(module.__all__)) == len(module.__all__)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith("jaxlab")
    }
    assert public <= set(module.__all__)
    assert module.__doc__


@pytest.mark.parametrize(("room", "name"), names())
def test_documented(room, name):
    value = thing(room, name)
    if not callable(value):
        return
    text = inspect.getdoc(value) or ""
    assert text, "no docstring"
    assert text.splitlines()[0].rstrip().endswith("."), "the first line is a sentence"
    if inspect.isfunction(value) and inspect.signature(value).parameters:
        assert "Args:" in text
    if room in LOSS_ROOMS and inspect.isfunction(value):
        assert "Reference" in text, "no source"
        assert ">>>" in text, "no example"


@pytest.mark.parametrize(("room", "name"), names())
def test_a_test_speaks_of_it(room, name):
    own = TESTS / {"data": "data_sources"}.get(room, room.replace(".", "/"))
    text = "".join(path.read_text() for path in [*own.rglob("*.py"), *TESTS.glob("*.py")])
    assert name in text


MODULES = [
    f"jaxlab.{path.relative_to(TESTS.parent / 'jaxlab').with_suffix('').as_posix().replace('/', '.')}"
    for path in sorted((TESTS.parent / "jaxlab").rglob("*.py"))
    if path.name != "__init__.py"
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0
