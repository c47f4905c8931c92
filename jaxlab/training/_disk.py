"""What the disk refuses, in one line."""

import contextlib
import os
from collections.abc import Iterator

from jaxlab.core import MachineError


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Within the block an OSError becomes a `MachineError` that names the path."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror or error}") from error
