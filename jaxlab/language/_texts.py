"""Several texts, where a single one would pass for a sequence of its letters."""

from collections.abc import Mapping
from typing import Any

from jaxlab.core.check import InputError


def check_list(values: Any, name: str) -> list[Any]:
    """Several of something as a list; a text is refused."""
    if isinstance(values, (str, bytes, Mapping)):
        raise InputError(f"{name} must be a list, got {values!r:.80}; a single one is a list of one")
    return list(values)


def check_texts(texts: Any, name: str = "texts") -> list[str]:
    """Several texts as a list."""
    texts = check_list(texts, name)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{name} must be a list of texts, got {text!r:.80} as number {row}")
    return texts
