"""jaxlab: teachers and students in JAX.

Pure functions on arrays, grouped by family: `jaxlab.core`, `jaxlab.distillation`, and the engine that runs
them, `jaxlab.training`. A room loads when it is first named, `import jaxlab; jaxlab.distillation.kd_loss`;
importing `jaxlab` alone loads nothing heavy.
"""

import importlib
import pkgutil
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = tuple(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its rooms are {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
