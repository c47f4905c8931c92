"""Arms from a config: what `method` says is a name in the driver's table, or the user's own."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from experiments.parts.checks import check_name, is_own, own
from jaxlab.training import Arm

T = TypeVar("T")


def methods_of(
    table: Mapping[str, T], arms: ConfigDict, make: Callable[[T], Callable] = lambda entry: entry
) -> dict[str, Callable]:
    """A function of settings for every name that `method` may be: one of the table, or `module:function` of the user's.

    Args:
      table: of the driver. What the user has stands for an entry of it, and is called alike.
      arms: settings by name, each with a `method`.
      make: what makes such a function of an entry.
    """
    theirs = sorted({arm.method for arm in arms.values() if is_own(arm.method)})
    known = {**table, **{name: own("method", name) for name in theirs}}
    return {name: make(entry) for name, entry in known.items()}


def make_arms(
    arms: ConfigDict,
    methods: Mapping[str, Callable],
    steps: int,
    *,
    steps_of: Mapping[str, int] | None = None,
    **options: Any,
) -> dict[str, Arm]:
    """The arms of a config by name; those of one method share its function, and with it their programs.

    Args:
      arms: settings by name, each with a `method`.
      methods: a function of settings for every name that `method` may be.
      steps: of an arm.
      steps_of: steps by method where they are others, 0 for what is computed at once.
      options: of every `Arm`.
    """
    made = {}
    for name, arm in arms.items():
        key = f"arm {name}: method"
        check_name(key, arm.method, methods)
        method = methods[arm.method]
        made[name] = Arm(method, arm.to_dict(), (steps_of or {}).get(arm.method, steps), **options)
    return made
