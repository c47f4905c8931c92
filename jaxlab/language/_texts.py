"""Several texts, where a single one would pass for a sequence of its letters."""

from collections.abc import Mapping
from typing import Any


def check_texts(texts: Any, name: str = "texts") -> list[str]:
    """Several texts as a list; a single one, which is a sequence of its letters, is refused."""
    if isinstance(texts, (str, bytes, Mapping)):
        raise ValueError(f"{name} must be a list of texts, got {texts!r:.80}; one text is a list of one")
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{name} must be a list of texts, got {text!r:.80} as number {row}")
    return texts
