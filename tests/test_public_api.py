"""Every public name: documented with shapes and source, an example that runs, and a test of its room that names it."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil

import pytest

import jaxlab
from tests.public import public

TESTS = pathlib.Path(__file__).parent
ROOMS = sorted(
    module.name.removeprefix("jaxlab.")
    for module in pkgutil.walk_packages(jaxlab.__path__, "jaxlab.")
    if module.ispkg
)
LIBRARY = [room for room in ROOMS if room != "training"]
# What moves data or builds learners has no source of its own.
PLUMBING = frozenset(("computed", "gradient_learner", "mixed_rows", "pass_rows", "until"))


def things(room):
    """Name and value of everything that a room and the modules of its papers make public."""
    return [(name.rpartition(".")[2], value) for name, value in public(f"jaxlab.{room}").items()]


@pytest.mark.parametrize("room", ROOMS)
def test_all_is_complete(room):
    module = importlib.import_module(f"jaxlab.{room}")
    assert len(set(module.__all__)) == len(module.__all__)
    names = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith("jaxlab")
    }
    assert names <= set(module.__all__)
    assert module.__doc__


@pytest.mark.parametrize("room", ROOMS)
def test_documented(room):
    for name, value in things(room):
        if not callable(value):
            continue
        text = inspect.getdoc(value) or ""
        assert text, f"{name} has no docstring"
        assert text.splitlines()[0].rstrip().endswith("."), f"{name}: the first line is a sentence"
        if inspect.isfunction(value) and inspect.signature(value).parameters:
            assert "Args:" in text, f"{name} says nothing of its arguments"


@pytest.mark.parametrize("room", LIBRARY)
def test_functions_have_an_example_and_a_source(room):
    for name, value in things(room):
        if inspect.isfunction(value):
            text = inspect.getdoc(value)
            assert ">>>" in text, f"{name} has no example"
            assert ("Reference" in text) != (name in PLUMBING), f"{name}: a source, or a place in PLUMBING"


@pytest.mark.parametrize("room", ROOMS)
def test_a_test_of_the_room_speaks_of_it(room):
    own = TESTS / room.replace(".", "/")
    text = "".join(path.read_text() for path in [*own.rglob("*.py"), *TESTS.glob("*.py")])
    assert [name for name, _ in things(room) if name not in text] == []


@pytest.mark.wide
@pytest.mark.parametrize("room", ROOMS)
def test_examples_run(room):
    folder = pathlib.Path(importlib.import_module(f"jaxlab.{room}").__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            module = importlib.import_module(f"jaxlab.{room}.{path.stem}")
            assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0, module
