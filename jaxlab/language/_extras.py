"""Packages that only some functions need, imported when they are called."""

import importlib
from typing import Any

from jaxlab.core import MissingPackage


def require(module: str) -> Any:
    """The module, or one line that says how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise MissingPackage(f'{package} is not installed: pip install "jaxlab[language]"') from None
