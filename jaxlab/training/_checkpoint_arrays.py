"""The arrays of a state that no process holds whole: orbax writes and reads them, each process its parts.

Orbax's handlers are called without its `Checkpointer`, whose barriers leave the others waiting when one process fails.
That a folder is whole or not there is seen to by `checkpoint.py`, for our file and orbax's alike. Orbax is imported
where it is needed: a run of one process does not pay for it.
"""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxlab.training import _checkpoint_files as files
from jaxlab.training._processes import gather, together

_REFUSED = ("uint2", "uint4", "float8_e4m3")  # dtypes that orbax cannot write


def is_spread(array: Any) -> bool:
    """Whether orbax is to write it: it lies on devices of several processes, and orbax does not refuse it."""
    far = isinstance(array, jax.Array) and not array.is_fully_addressable
    return far and array.size > 0 and str(array.dtype) not in _REFUSED


def save(folder: pathlib.Path, arrays: dict[str, jax.Array]) -> dict[str, str]:
    """Write arrays, each process its parts; on return they are on the disk.

    Returns:
      In the first process, the digest of every file by its path below the folder.

    Raises:
      OSError: in every process, when one could not write.
    """
    index = jax.process_index()
    together(lambda: index == 0 and folder.mkdir(), OSError)
    together(lambda: _write(folder, arrays), OSError)
    together(lambda: index == 0 and _merge(folder), OSError)
    # A process has just written its own folder: to it these bytes are near.
    own = gather(together(lambda: _digests(folder, f"ocdbt.process_{index}/", {}), OSError))
    return together(lambda: _digests(folder, "", own) if index == 0 else own, OSError)


def restore(folder: pathlib.Path, shardings: dict[str, Any]) -> dict[str, Any]:
    """Read arrays whose files were checked; where the sharding is None, as an array on the host.

    Raises:
      OSError: they cannot be read.
    """
    import orbax.checkpoint as ocp

    host = ocp.RestoreArgs(restore_type=np.ndarray)
    wanted = {
        name: host if sharding is None else ocp.ArrayRestoreArgs(sharding=sharding)
        for name, sharding in shardings.items()
    }
    with _orbax() as handler:
        return handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=wanted))


def _write(folder: pathlib.Path, arrays: dict[str, jax.Array]) -> None:
    import orbax.checkpoint as ocp

    with _orbax() as handler:
        handler.save(folder, args=ocp.args.PyTreeSave(arrays))


def _merge(folder: pathlib.Path) -> None:
    with _orbax() as handler:
        handler.finalize(folder)


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Orbax's handler, without its log: it has a line for every step, and tracebacks of what is raised here anyway."""
    import orbax.checkpoint as ocp

    kinds = ocp.type_handlers
    # Without its metadata of arrays, for whose folder the other processes would wait ten minutes if the first failed.
    known = kinds.create_type_handler_registry(
        (jax.Array, kinds.ArrayHandler(array_metadata_store=None, enable_write_sharding_file=False)),
        (np.ndarray, kinds.NumpyHandler()),
    )
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        # With no limit on the bytes in flight all of a process is one transaction, which fails as one: of writes that
        # fail one by one, all but the first print a traceback when orbax has stopped listening.
        inner = ocp.BasePyTreeCheckpointHandler(save_concurrent_bytes=None, type_handler_registry=known)
        yield ocp.PyTreeCheckpointHandler(type_handler_registry=known, handler_impl=inner)
    except Exception as error:
        raise OSError(f"orbax: {files.line(error)}") from error
    finally:
        log.setLevel(level)


def _digests(folder: pathlib.Path, below: str, known: dict[str, str]) -> dict[str, str]:
    """The digest of every file below, of a known one without reading; all of them are on the disk afterwards."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        name = path.relative_to(folder).as_posix()
        if f"{name}/".startswith(below):
            files.sync(path)
            if path.is_file():
                found[name] = known.get(name) or files.digest(path)
    return known | found
