"""What users can name: what a room exports, and what the modules of its papers define."""

import importlib
import inspect
import pkgutil
from typing import Any


def paper_modules(room: str) -> list[str]:
    """Names of a family's public modules, `jaxlab.semi_supervised.rail` for instance; `core.check` and the engine's
    are no papers'."""
    if room in ("jaxlab.core", "jaxlab.training"):
        return []
    found = pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}.")
    return [
        each.name for each in found if not each.ispkg and not each.name.rpartition(".")[2].startswith("_")
    ]


def public(room: str) -> dict[str, Any]:
    """Values by dotted name; what the room exports itself goes by the room's name alone."""
    module = importlib.import_module(room)
    found = {f"{room}.{name}": getattr(module, name) for name in module.__all__}
    found = {name: value for name, value in found.items() if not inspect.ismodule(value)}
    exported = {id(value) for value in found.values()}
    for paper in paper_modules(room):
        for name, value in vars(importlib.import_module(paper)).items():
            own = getattr(value, "__module__", "") == paper and not name.startswith("_")
            if own and id(value) not in exported:
                found[f"{paper}.{name}"] = value
    return found
