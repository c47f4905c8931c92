"""The code that a config names: its driver, and what else of the user's trains with it."""

import importlib
import pathlib
import re
import sys
import types
from collections.abc import Mapping

from ml_collections import ConfigDict

from experiments._config import Loaded, keys_of
from jaxlab.core import InputError
from jaxlab.training import Experiment

OWN = re.compile(
    r"([A-Za-z_][\w.]*):[A-Za-z_]\w*"
)  # `module:function`, see `experiments.parts.checks.choose`


def find_driver(loaded: Loaded) -> types.ModuleType:
    """The module that `config.experiment` names: one of ours, or by its dotted path one of the user's.

    The user's is found where Python looks and beside the config.
    """
    called = loaded.config.experiment
    if not all(part.isidentifier() for part in called.split(".")):
        raise InputError(f"config.experiment is {called!r}: it must be the dotted path of a module")
    _look_beside(loaded)
    for name in (f"experiments.{called}", called):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):  # the driver is there, and lacks something itself
                raise
    raise InputError(
        f"config.experiment is {called!r}: there is no module experiments.{called}, and none of yours of that name"
    )


def _look_beside(loaded: Loaded) -> None:
    folder = str(pathlib.Path(loaded.module.__file__).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def build(driver: types.ModuleType, config: ConfigDict, download: bool) -> Mapping[str, Experiment]:
    """Its experiments by task; a single one is that of the task ""."""
    if not hasattr(driver, "build"):
        raise InputError(f"{driver.__name__} has no build(config, *, download)")
    built = driver.build(config, download=download)
    return {"": built} if isinstance(built, Experiment) else built


def packages_of(driver: types.ModuleType, config: ConfigDict) -> tuple[str, ...]:
    """The top-level modules whose code trains: the library, the driver's, and those of what the config names."""
    said = [value for value in keys_of(config).values() if isinstance(value, str)]
    theirs = [found[1] for value in said if (found := OWN.fullmatch(value)) and found[1] in sys.modules]
    top = [name.partition(".")[0] for name in (driver.__name__, *theirs)]
    return tuple(dict.fromkeys(("jaxlab", "experiments", *top)))
