"""What a config may say: names from a table, numbers in a range; every mistake is one line."""

import importlib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from jaxlab.core import InputError

T = TypeVar("T")


def choose(key: str, name: str, table: Mapping[str, T]) -> T:
    """What `name` stands for, in a table or, written `module:function`, among what is the user's own.

    `key` is where it was written.
    """
    if is_own(name):
        return own(key, name)
    check_name(key, name, table)
    return table[name]


def is_own(name: str) -> bool:
    """Whether a name leads to the user's code."""
    return ":" in name


def own(key: str, name: str) -> Any:
    """What stands in a module of the user's, `module:function`."""
    path, _, called = name.partition(":")
    if not all(part.isidentifier() for part in (*path.split("."), called)):
        raise InputError(f"{key} is {name!r}: what is yours is written module:function")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not f"{path}.".startswith(f"{error.name}."):  # it is there, and lacks something itself
            raise
        raise InputError(f"{key} is {name!r}: there is no module {path}") from None
    if not hasattr(module, called):
        raise InputError(f"{key} is {name!r}: {path} has no {called}")
    return getattr(module, called)


def check_name(key: str, name: str, allowed: Collection[str]) -> None:
    """A name is one of those there are."""
    if name not in allowed:
        raise InputError(f"{key} is {name!r}: it must be one of {', '.join(allowed)}")


def check_arms(arms: ConfigDict, choices: Mapping[str, Collection[str]]) -> None:
    """There are arms, and what each says under a key of `choices` is one of the names allowed there.

    A `method` may be the user's, `module:function`.
    """
    if not arms:
        raise InputError("arms is empty: a comparison needs at least one")
    for name, arm in arms.items():
        for key, allowed in choices.items():
            if key == "method" and is_own(arm[key]):
                own(f"arm {name}: {key}", arm[key])
            else:
                check_name(f"arm {name}: {key}", arm[key], allowed)


def check_counts(config: ConfigDict, *keys: str) -> None:
    """What stands under these keys is at least 1."""
    for key in keys:
        if config[key] < 1:
            raise InputError(f"{key} is {config[key]}: it must be at least 1")


def check_between(key: str, value: Any, most: int, what: str = "", *, least: int = 1) -> None:
    """A number is between `least` and `most`, of which there are so many `what`."""
    if not least <= value <= most:
        raise InputError(
            f"{key} is {value}: it must be between {least} and {f'the {most} {what}' if what else most}"
        )
