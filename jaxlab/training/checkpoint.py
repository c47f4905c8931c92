"""Checkpoints that are never silently wrong: orbax writes them, a fingerprint of every leaf vouches for them.

Orbax makes each save atomic, but reads a flipped bit back as a wrong number and lists a half-copied folder as a
step. So each checkpoint carries an exact 64-bit fingerprint of every array, computed where the array lives. What
does not match is set aside with a warning, and the newest sound one is used.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import logging
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every save there


class Restored(NamedTuple):
    """What a checkpoint held: the state, its step, and the small facts saved beside it."""

    state: Any
    step: int
    facts: dict[str, Any]


class Damaged(Exception):
    """A checkpoint that cannot be trusted; the message is one line."""


def fingerprint(leaves: list[Any]) -> np.ndarray:
    """An exact 64-bit fingerprint of each array, the same on any number of devices.

    Two sums, modulo 2^32, of the array's 32-bit words, each word times an odd number drawn from its position. An
    odd multiplier makes every single flipped bit change both sums; longer damage escapes with a chance of 2^-64.

    Args:
      leaves: arrays of any shape; floats, integers, booleans or typed PRNG keys, sharded or not.

    Returns:
      `[len(leaves), 2]` uint32.

    Example:
      >>> a, b = fingerprint([jnp.zeros(3), jnp.zeros(3).at[1].set(1e-30)])
      >>> bool((a == b).any())
      False
    """
    if not leaves:
        return np.zeros((0, 2), np.uint32)
    return np.asarray(_fingerprint(leaves))


@jax.jit
def _fingerprint(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([_sums(_words(leaf)) for leaf in leaves])


def _words(leaf: jax.Array) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if leaf.dtype == jnp.bool_:
        return leaf.astype(jnp.uint32)
    bits = leaf.dtype.itemsize * 8
    if bits > 32:
        return jax.lax.bitcast_convert_type(leaf, jnp.uint32)
    return jax.lax.bitcast_convert_type(leaf, jnp.dtype(f"uint{bits}")).astype(jnp.uint32)


def _sums(words: jax.Array) -> jax.Array:
    position = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        position = position * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    sums = []
    for salt in (0x9E3779B9, 0x85EBCA6B):
        mixed = (position + jnp.uint32(salt)) * jnp.uint32(0xCC9E2D51)
        mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x1B873593)
        mixed = mixed ^ (mixed >> 13)
        sums.append(jnp.sum(words * (mixed | 1), dtype=jnp.uint32))
    return jnp.stack(sums)


class Checkpoints:
    """The checkpoints of one arm, in one folder.

    Args:
      directory: created when missing.
      identity: says which run this is (a digest of its config); a checkpoint of another is refused.
      keep: how many of the newest to keep.
    """

    def __init__(self, directory: str | pathlib.Path, *, identity: str = "", keep: int = 2):
        self._directory = pathlib.Path(directory).absolute()
        self._identity, self._keep = identity, keep

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._keep, cleanup_tmp_directories=True, create=True, enable_async_checkpointing=True
        )
        return ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, state: Any, facts: dict[str, Any] | None = None) -> None:
        """Write the state of one step; on return it is safe to give the state away.

        Raises:
          OSError: the disk is full or cannot be written; checkpoints already there are untouched.
        """
        paths, leaves = _flatten(state)
        content = {
            "identity": self._identity,
            "step": step,
            "paths": paths,
            "kinds": [_kind(leaf) for leaf in leaves],
            "fingerprints": fingerprint(leaves).tolist(),
            "facts": facts or {},
        }
        record = {"content": content, "sha256": _digest(content)}
        items = {"state": ocp.args.StandardSave(_numbered(leaves)), "record": ocp.args.JsonSave(record)}
        try:
            done = self._manager.save(step, args=ocp.args.Composite(**items), force=True)
            if jax.default_backend() == "cpu":
                # A host array may share memory with the state, which the next chunk overwrites.
                self._manager.wait_until_finished()
        except Exception as error:
            raise OSError(
                f"cannot write the checkpoint of step {step} under {self._directory}: {_line(error)}"
            ) from error
        if not done:
            raise OSError(f"checkpoint of step {step} under {self._directory} was not written")

    @property
    def newest(self) -> int | None:
        """The step of the newest checkpoint, sound or not; None when there is none."""
        return max(self._steps(), default=None)

    def restore(self, abstract: Any, *, at_most: int | None = None) -> Restored | None:
        """The newest sound checkpoint, of those up to step `at_most` if given; None when there is none.

        A damaged one is renamed to `damaged-<step>` with a warning that says what is wrong.

        Args:
          abstract: the state's structure, as arrays or `ShapeDtypeStruct`s; shardings are followed.
          at_most: a step.

        Raises:
          ValueError: a sound checkpoint of this run holds a state of another structure: the code has changed.
        """
        while True:
            steps = [step for step in self._steps() if at_most is None or step <= at_most]
            if not steps:
                return None
            try:
                return self._load(steps[-1], abstract)
            except Damaged as error:
                self._set_aside(steps[-1], str(error), last=len(steps) == 1)

    def close(self) -> None:
        """Wait for what is being written."""
        if "_manager" in self.__dict__:
            try:
                self._manager.wait_until_finished()
                self._manager.close()
            except Exception as error:
                raise OSError(f"cannot write a checkpoint under {self._directory}: {_line(error)}") from error

    def _steps(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        names = (path.name for path in self._directory.iterdir())
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def _load(self, step: int, abstract: Any) -> Restored:
        record = self._record(step)
        paths, leaves = _flatten(abstract)
        _check_structure(self._directory, record, paths, [_kind(leaf) for leaf in leaves])
        try:
            items = ocp.args.Composite(state=ocp.args.StandardRestore(_numbered(leaves)))
            with _loops_close_when_all_has_ended():
                numbered = self._manager.restore(step, args=items)["state"]
        except Exception as error:
            raise Damaged(_line(error)) from error
        found = [numbered[name] for name in _numbered(leaves)]
        wrong = (fingerprint(found) != np.asarray(record["fingerprints"], np.uint32)).any(axis=1)
        if wrong.any():
            raise Damaged(f"{int(wrong.sum())} of {len(paths)} arrays differ from what was saved")
        return Restored(jax.tree.unflatten(jax.tree.structure(abstract), found), step, record["facts"])

    def _record(self, step: int) -> dict[str, Any]:
        try:
            items = ocp.args.Composite(record=ocp.args.JsonRestore())
            with _loops_close_when_all_has_ended():
                record = self._manager.restore(step, args=items)["record"]
            content, digest = record["content"], record["sha256"]
        except Exception as error:
            raise Damaged(f"its record cannot be read: {_line(error)}") from error
        if digest != _digest(content):
            raise Damaged("its record does not match its checksum")
        if content["step"] != step:
            raise Damaged(f"it says it is step {content['step']}")
        if content["identity"] != self._identity:
            raise Damaged("it belongs to another run")
        return content

    def _set_aside(self, step: int, reason: str, *, last: bool) -> None:
        damaged = self._directory / str(step)
        number = 0
        while (aside := self._directory / f"damaged-{step}{f'-{number}' if number else ''}").exists():
            number += 1
        if jax.process_index() == 0:
            damaged.rename(aside)
        after = "starting over" if last else "using the one before"
        warnings.warn(f"checkpoint {damaged} is damaged ({reason}); {after}", stacklevel=3)
        if "_manager" in self.__dict__:
            self._manager.close()
            del self.__dict__["_manager"]


@contextlib.contextmanager
def _loops_close_when_all_has_ended() -> Iterator[None]:
    """Event loops opened inside wait for every task before they close.

    Orbax closes its loop at the first array that cannot be read. Each other read then prints a traceback of its
    own, at any time later, where the user is owed one line.
    """
    fresh = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loop = fresh()
        close = loop.close

        def wait_and_close() -> None:
            if not loop.is_running() and not loop.is_closed() and (left := asyncio.all_tasks(loop)):
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            close()

        loop.close = wait_and_close
        return loop

    with mock.patch.object(asyncio, "new_event_loop", new_event_loop):
        yield


def _flatten(tree: Any) -> tuple[list[str], list[Any]]:
    with_paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path) for path, _ in with_paths], [leaf for _, leaf in with_paths]


def _numbered(leaves: list[Any]) -> dict[str, Any]:
    return {f"{number:05d}": leaf for number, leaf in enumerate(leaves)}


def _kind(leaf: Any) -> str:
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return f"{leaf.dtype}{list(leaf.shape)}"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _check_structure(
    directory: pathlib.Path, record: dict[str, Any], paths: list[str], kinds: list[str]
) -> None:
    saved = dict(zip(record["paths"], record["kinds"]))
    wanted = dict(zip(paths, kinds))
    for path in sorted(saved.keys() | wanted.keys()):
        if saved.get(path) != wanted.get(path):
            raise ValueError(
                f"the checkpoints in {directory} are of another version of the code: {path or 'the state'} is "
                f"{wanted.get(path, 'absent')} now and {saved.get(path, 'absent')} there; start over with --fresh"
            )
