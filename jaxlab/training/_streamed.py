"""Rows of data that stay in their files: read by a thread, one chunk ahead, each process its own part."""

import os
import queue
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, TimeoutError, wait
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.core.check import InputError, called
from jaxlab.training._placed import Layout, Split
from jaxlab.training._processes import together
from jaxlab.training.experiment import Streamed

_SLOW_S = 30.0  # when a person is told that training waits

Rows = dict[str, np.ndarray]


class Feed:
    """The rows of a program's chunks: while one trains, a thread reads and places the next.

    Args:
      streamed: the training data.
      seeds: of the plan.
      data_key: `seed -> key` of its batches.
      chunk: steps of a chunk.
      steps: of the whole training.
      layout: where the rows go; None leaves them on the host.
    """

    def __init__(
        self,
        streamed: Streamed,
        seeds: tuple[int, ...],
        data_key: Callable[[jax.Array], jax.Array],
        *,
        chunk: int,
        steps: int,
        layout: Layout | None = None,
    ):
        self._streamed, self._chunk, self._steps, self._layout = streamed, chunk, steps, layout
        lanes = np.asarray(seeds, np.uint32)
        self._seeds = lanes if layout is None else np.asarray(layout.pad_seeds(lanes))
        one = lambda seed, step: streamed.rows(data_key(seed), step)
        self._rows = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
        self._batch = _batch_size(jax.eval_shape(one, _like(np.uint32), _like(np.uint32)))
        if layout is not None:
            _check_divides(layout.mesh, self._batch)
        self._mapped = _MappedFiles(streamed.source)
        self._example = {name: _canonical(value) for name, value in self._read(np.zeros(1, np.int32)).items()}
        self._pending: dict[tuple[int, int], Future] = {}
        self._jobs: queue.SimpleQueue | None = None

    def shapes(self, count: int) -> Split:
        """A chunk in shapes, which know their places."""
        lead = (len(self._seeds), count, self._batch)
        return _as_split(
            {
                name: jax.ShapeDtypeStruct(lead + one.shape[1:], one.dtype, sharding=self._sharding)
                for name, one in {**self._example, "index": np.zeros(1, np.int32)}.items()
            }
        )

    def chunk(self, start: int, count: int) -> Split:
        """The rows of `count` steps from `start`, leaves `[S, count, B, ...]`.

        Raises:
          InputError: they cannot be read, or not in time. In several processes where one cannot, all raise.
        """
        return together(lambda: self._take(start, count), InputError)

    def close(self) -> None:
        """Wait for what is being read, but not for what does not come."""
        wait(self._pending.values(), timeout=5)
        self._pending = {}
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None

    def _take(self, start: int, count: int) -> Split:
        pending = self._pending.pop((start, count), None) or self._begin(start, count)
        found = self._awaited(pending, start, count)
        if (after := start + count) < self._steps:
            ahead = (after, min(self._chunk, self._steps - after))
            self._pending = {ahead: self._begin(*ahead)}
        return found

    def _begin(self, start: int, count: int) -> Future:
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            # One thread, whose memory the allocator can use again; a daemon, since a read may never end.
            threading.Thread(target=_work, args=(self._jobs,), name="rows", daemon=True).start()
        future: Future = Future()
        self._jobs.put((future, lambda: self.read(start, count)))
        return future

    def _awaited(self, pending: Future, start: int, count: int) -> Split:
        limit, what = self._streamed.timeout_s, f"the rows of steps {start + 1} to {start + count}"
        try:
            return pending.result(min(_SLOW_S, limit))
        except TimeoutError:
            if pending.done():  # the reader's own error of this kind
                raise
        try:
            if limit > _SLOW_S:
                warnings.warn(f"training waits for {what}: not read in {_SLOW_S:.0f} s", stacklevel=2)
                return pending.result(limit - _SLOW_S)
        except TimeoutError:
            if pending.done():
                raise
        raise InputError(f"data['train']: {what} were not read in {limit:g} s")

    def read(self, start: int, count: int) -> Split:
        """Read the part of this process and put it on the mesh, now."""
        index = self._index(start, count)
        lanes, rows = self._own(index.shape)
        own = index[lanes][:, :, rows]
        found = self._read(own.reshape(-1))
        found = {name: value.reshape(own.shape + value.shape[1:]) for name, value in found.items()}
        found["index"] = own
        if self._sharding is not None:
            place = jax.make_array_from_process_local_data
            shape = lambda value: index.shape + value.shape[3:]
            found = {name: place(self._sharding, value, shape(value)) for name, value in found.items()}
        return _as_split(found)

    def _index(self, start: int, count: int) -> np.ndarray:
        """Which rows, `[S, count, B]`: computed on a CPU, where they do not wait for the step that trains."""
        steps = np.uint32(start) + np.arange(self._chunk, dtype=np.uint32)  # one program for all counts
        index = np.asarray(self._rows(*jax.device_put((self._seeds, steps), _cpu())))[:, :count]
        size = len(self._streamed.source)
        if index.size and not 0 <= index.min() <= index.max() < size:
            wrong = index.min() if index.min() < 0 else index.max()
            raise InputError(f"Streamed: rows gives {wrong}: the source has the rows 0 to {size - 1}")
        return index

    def _own(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The seeds and the places in the batch that this process' devices hold."""
        if self._sharding is None:
            return np.arange(shape[0]), np.arange(shape[2])
        held = self._sharding.addressable_devices_indices_map(shape).values()
        along = lambda axis: np.unique(np.concatenate([np.arange(shape[axis])[part[axis]] for part in held]))
        return along(0), along(2)

    @property
    def _sharding(self) -> NamedSharding | None:
        if self._layout is None:
            return None
        lanes = self._layout.over_seeds
        return NamedSharding(self._layout.mesh, P(lanes[0] if len(lanes) else None, None, "data"))

    def _read(self, index: np.ndarray) -> Rows:
        self._mapped.check()
        found = read_rows(self._streamed, index)
        return {name: value.astype(_canonical(value).dtype, copy=False) for name, value in found.items()}


class _MappedFiles:
    """Files that a set of Hugging Face's maps into memory: a page that is gone would end the process by a signal."""

    def __init__(self, source: Any):
        paths = [file["filename"] for file in getattr(source, "cache_files", ())]
        self._sizes = {path: os.path.getsize(path) for path in paths}

    def check(self) -> None:
        """Refuse a file that has become shorter; one that was removed stays as long as it is mapped."""
        for path, size in self._sizes.items():
            if os.path.exists(path) and (found := os.path.getsize(path)) < size:
                raise InputError(f"{path} is cut short: {found:,} bytes of {size:,}")


def _work(jobs: queue.SimpleQueue) -> None:
    while (job := jobs.get()) is not None:
        future, read = job
        try:
            future.set_result(read())
        except BaseException as error:
            future.set_exception(error)
        del job, future, read  # the rows are the taker's


def read_rows(streamed: Streamed, index: np.ndarray) -> Rows:
    """Some examples, stacked; what a source raises comes as one line."""
    source, decode = streamed.source, streamed.decode
    if hasattr(source, "stacked") and decode is None:
        return _checked(_asked(index, source.stacked, index), index)
    if hasattr(source, "__getitems__"):
        examples = list(_asked(index, source.__getitems__, index.tolist()))
    else:
        examples = [_asked([row], source.__getitem__, row) for row in index.tolist()]
    if isinstance(examples[0], bytes) and b"" in examples:  # array_record gives it for a file that was cut
        raise InputError(
            f"data['train']: row {index[examples.index(b'')]} is empty: its file may be cut short"
        )
    if decode is not None:
        examples = [_asked([row], decode, example) for row, example in zip(index.tolist(), examples)]
    return _stacked(examples, index)


def _asked(index: Any, read: Callable[[Any], Any], what: Any) -> Any:
    try:
        return read(what)
    except InputError:
        raise
    except Exception as error:
        which = (
            f"row {index[0]}" if len(index) == 1 else f"{len(index)} rows, of which the first is {index[0]},"
        )
        reason = " ".join(str(error).split()) or "no reason given"
        raise InputError(
            f"data['train']: {which} cannot be read ({type(error).__name__}: {reason:.300})"
        ) from error


def _stacked(examples: list[Any], index: np.ndarray) -> Rows:
    first = examples[0]
    if not isinstance(first, Mapping):
        raise InputError(
            f"data['train']: row {index[0]} is {called(first)}: an example is a dict of arrays; give Streamed decode="
        )
    made: Rows = {}
    for name in first:
        values = []
        for example, row in zip(examples, index.tolist()):
            if name not in example:
                raise InputError(f"data['train']: row {row} has no {name!r}")
            value = np.asarray(example[name])
            if values and value.shape != values[0].shape:
                raise InputError(
                    f"data['train']: {name!r} of row {row} has the shape {value.shape}, that of row {index[0]} "
                    f"{values[0].shape}"
                )
            values.append(value)
        made[name] = np.stack(values)
    return _checked(made, index)


def _checked(found: Rows, index: np.ndarray) -> Rows:
    for name, value in found.items():
        if value.dtype.kind not in "biufc" and value.dtype.name not in ("bfloat16",):
            raise InputError(
                f"data['train']: {name!r} of row {index[0]} is no array of numbers but {value.dtype}; "
                "give Streamed decode="
            )
        if value.shape[:1] != (len(index),):
            raise InputError(f"data['train']: {name!r} of {len(index)} rows has the shape {value.shape}")
    if "index" in found:
        raise InputError("data['train']: a batch's 'index' is the row that was read; rename that field")
    return found


def _as_split(rows: dict[str, Any]) -> Split:
    leaves, tree = jax.tree.flatten(rows)
    return Split(leaves, [], tree, (True,) * len(leaves))


def _canonical(value: np.ndarray) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(value.shape, jax.dtypes.canonicalize_dtype(value.dtype))


def _like(dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), dtype)


def _batch_size(rows: Any) -> int:
    shape = rows.shape if hasattr(rows, "shape") else None
    if shape is None or len(shape) != 1 or not jnp.issubdtype(rows.dtype, jnp.integer):
        given = called(rows) if shape is None else f"{rows.dtype}{list(shape)}"
        raise InputError(f"Streamed: rows gives {given}: it must be integers [B], the rows of one batch")
    return shape[0]


def _check_divides(mesh: Mesh, batch: int) -> None:
    if batch % mesh.shape["data"]:
        raise InputError(
            f"mesh.data is {mesh.shape['data']}: it must divide the batch, which has {batch} rows"
        )


def _cpu() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to have none
        return jax.local_devices()[0]
