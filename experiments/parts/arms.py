"""Arms from a config: what `method` says is a name in the driver's table of functions of settings."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.parts.checks import check_name
from jaxlab.training import Arm


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
