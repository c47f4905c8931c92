"""Several processes that act as one: what fails in one fails in all, and nobody waits for a process that gave up."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

T = TypeVar("T")


def together(action: Callable[[], T], failure: type[Exception]) -> T:
    """Do something in every process; where it fails in one, it fails in all, with `failure` in the others."""
    found, error = None, None
    try:
        found = action()
    except Exception as problem:
        error = problem
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        if not multihost_utils.process_allgather(np.asarray(error is None)).all() and error is None:
            error = failure("another process says why")
    if error is not None:
        raise error
    return found


def gather(found: dict[str, Any]) -> dict[str, Any]:
    """The entries of every process, in every process; values that JSON can hold."""
    from jax.experimental import multihost_utils

    text = json.dumps(found).encode()
    longest = int(np.max(multihost_utils.process_allgather(np.int32(len(text)))))
    padded = np.frombuffer(text.ljust(longest), np.uint8)
    rows = np.reshape(multihost_utils.process_allgather(padded), (-1, longest))
    return {key: value for row in rows for key, value in json.loads(row.tobytes()).items()}
