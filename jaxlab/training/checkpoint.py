"""Checkpoints that are never silently wrong: written in one motion, read back only when every byte is as it was.

What does not match its digest is set aside with a warning, and the newest sound checkpoint is used. A checkpoint is a
file of our own (`_checkpoint_files.py`), and beside it, where several processes share arrays, what orbax wrote
(`_checkpoint_arrays.py`). Both hold the state as it is whatever the devices, so a run of one process goes on with what
several wrote, and the other way round.
"""

import json
import pathlib
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlab.core import InputError, MachineError
from jaxlab.training import _checkpoint_arrays as arrays
from jaxlab.training import _checkpoint_files as files
from jaxlab.training._checkpoint_files import Damaged, OtherFormat
from jaxlab.training._processes import together

_FILE, _ARRAYS = "state", "arrays"


class _Writer:
    """One thread that writes for the whole process: what was saved first is on the disk first.

    After a write that failed nothing is written until somebody was told. So arms that are saved together stay within
    one step of each other, and have a step in common to go on from.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._failure: Exception | None = None

    def submit(self, action: Callable[[], None]) -> Future:
        """Do it when all before is done."""
        return self._thread.submit(self._do, action)

    def _do(self, action: Callable[[], None]) -> None:
        if self._failure is None:
            try:
                action()
            except Exception as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Until all is written that was submitted, by a fit that was interrupted too."""
        self._thread.submit(lambda: None).result()

    def forget(self) -> None:
        """The failure was told; what waited behind it is not written any more."""
        self.wait()
        self._failure = None


_WRITER = _Writer()


class Restored(NamedTuple):
    """What a checkpoint held: the state, its step, and the small facts saved beside it."""

    state: Any
    step: int
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of one arm, in one folder.

    Args:
      directory: created when missing. Several processes must all see it.
      identity: says which run this is (a digest of its config); a checkpoint of another is refused.
      keep: how many of the newest to keep, at least 1.

    Example:
      >>> import tempfile
      >>> checkpoints = Checkpoints(tempfile.mkdtemp())
      >>> checkpoints.save(100, {"w": np.zeros(3)}, {"losses": [2.5, float("inf")]})
      >>> checkpoints.restore({"w": np.ones(3)}).facts
      {'losses': [2.5, inf]}
    """

    def __init__(self, directory: str | pathlib.Path, *, identity: str = "", keep: int = 2):
        if keep < 1:
            raise InputError(f"keep is {keep}: it must be at least 1")
        self._directory = pathlib.Path(directory).absolute()
        self._identity, self._keep = identity, keep
        self._writing: Future | None = None

    def save(self, step: int, state: Any, facts: dict[str, Any] | None = None) -> None:
        """Begin to write the state of one step; on return it is safe to give the state away.

        One process writes in the background; several write at once and wait for each other.

        Args:
          step: at least 0.
          state: pytree of arrays, random keys and numbers.
          facts: anything that JSON can hold; NaN and infinities too, and every float comes back exactly.

        Raises:
          MachineError: the disk is full or cannot be written, now or when the checkpoint before was written; those
            already there are untouched.
        """
        self.close()
        step = int(step)
        paths, leaves = _flatten(state)
        plain = {_name(number): files.plain(leaf) for number, leaf in enumerate(leaves)}
        spread = {name: leaf for name, leaf in plain.items() if arrays.is_spread(leaf)}
        header = {
            "identity": self._identity,
            "step": step,
            "paths": paths,
            "kinds": [files.kind(leaf) for leaf in leaves],
            "keys": [files.key_kind(leaf) for leaf in leaves],
            "spread": sorted(spread),
            "facts": json.dumps(facts or {}),  # now: they may change before they are written
        }
        held = files.copies([leaf for name, leaf in plain.items() if name not in spread])
        self._create(step)
        if jax.process_count() == 1:
            self._writing = _WRITER.submit(lambda: self._write(step, header, held, spread))
        else:
            self._write(step, header, held, spread)

    @property
    def newest(self) -> int | None:
        """The step of the newest checkpoint, sound or not; None when there is none."""
        _WRITER.wait()
        return max(self._steps(), default=None)

    def peek(self) -> dict[str, Any]:
        """The facts of the newest checkpoint, which may still turn out to be damaged; none when there is none."""
        newest = self.newest
        try:
            return json.loads(files.read_header(self._directory / str(newest) / _FILE)["facts"])
        except (Damaged, OtherFormat, OSError, ValueError, KeyError, TypeError):
            return {}

    def restore(self, abstract: Any, *, at_most: int | None = None) -> Restored | None:
        """The newest sound checkpoint, of those up to step `at_most` if given; None when there is none.

        A damaged one is renamed to `damaged-<step>` with a warning that says what is wrong.

        Args:
          abstract: the state's structure, as arrays or `ShapeDtypeStruct`s; shardings are followed.
          at_most: a step.

        Raises:
          ValueError: a sound checkpoint of this run holds a state of another structure, or was written by another
            version of the library: the code has changed.
        """
        _WRITER.forget()
        while True:
            steps = [step for step in self._steps() if at_most is None or step <= at_most]
            if not steps:
                return None
            try:
                return self._load(steps[-1], abstract)
            except Damaged as error:
                self._set_aside(steps[-1], str(error), last=len(steps) == 1)

    def close(self) -> None:
        """Wait for what is being written; more can be saved afterwards.

        Raises:
          MachineError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing:
            try:
                writing.result()
            except Exception:
                _WRITER.forget()
                raise

    def _steps(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        names = (path.name for path in self._directory.iterdir())
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def _create(self, step: int) -> None:
        """At once, so that a place that cannot be written is known before the next chunk."""
        try:
            together(lambda: self._directory.mkdir(parents=True, exist_ok=True), OSError)
        except OSError as error:
            raise self._failure(step, error) from error

    def _write(
        self, step: int, header: dict[str, Any], held: list[np.ndarray], spread: dict[str, Any]
    ) -> None:
        scratch = self._directory / f"{step}.tmp"
        first = jax.process_index() == 0
        try:
            together(lambda: first and (self._sweep(), scratch.mkdir()), OSError)
            digests = arrays.save(scratch / _ARRAYS, spread) if spread else {}
            header = {**header, "digests": digests}
            together(lambda: first and files.write(scratch / _FILE, header, held), OSError)
            together(lambda: first and self._commit(scratch, step), OSError)
        except OSError as error:
            if first:
                shutil.rmtree(scratch, ignore_errors=True)
            raise self._failure(step, error) from error

    def _failure(self, step: int, error: OSError) -> MachineError:
        return MachineError(
            f"cannot write the checkpoint of step {step} under {self._directory}: {files.line(error)}"
        )

    def _commit(self, scratch: pathlib.Path, step: int) -> None:
        """Put a written folder in its place, and remove those that are too old."""
        final = self._directory / str(step)
        if final.exists():  # the same step again
            final.rename(final.with_name(f"{step}.old.tmp"))
        files.sync(scratch)
        scratch.rename(final)
        files.sync(self._directory)
        older = [other for other in self._steps() if other < step]
        for other in older[: max(len(older) - self._keep + 1, 0)]:
            (self._directory / str(other)).rename(self._directory / f"{other}.old.tmp")
        self._sweep()

    def _sweep(self) -> None:
        """Remove what is on its way in or out: a kill can leave it, and a step in its place is always whole."""
        for path in self._directory.glob("[0-9]*.tmp"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _load(self, step: int, abstract: Any) -> Restored:
        folder = self._directory / str(step)
        paths, leaves = _flatten(abstract)
        try:
            header = _sound(folder)
        except OtherFormat:
            raise InputError(
                f"the checkpoints in {self._directory} are of another version of the code; start over with --fresh"
            ) from None
        if header["step"] != step:
            raise Damaged(f"it says it is step {header['step']}")
        if header["identity"] != self._identity:
            raise Damaged("it belongs to another run")
        self._check_structure(header, paths, [files.kind(leaf) for leaf in leaves])
        try:
            found = together(lambda: _read(folder, header, leaves), OSError)
        except OSError as error:
            raise MachineError(f"cannot read the checkpoint {folder}: {files.line(error)}") from error
        return Restored(
            jax.tree.unflatten(jax.tree.structure(abstract), found), step, json.loads(header["facts"])
        )

    def _check_structure(self, header: dict[str, Any], paths: list[str], kinds: list[str]) -> None:
        saved = dict(zip(header["paths"], header["kinds"]))
        wanted = dict(zip(paths, kinds))
        for path in sorted(saved.keys() | wanted.keys()):
            if saved.get(path) != wanted.get(path):
                raise InputError(
                    f"the checkpoints in {self._directory} are of another version of the code: "
                    f"{path or 'the state'} is {wanted.get(path, 'absent')} now and {saved.get(path, 'absent')} there; "
                    "start over with --fresh"
                )

    def _set_aside(self, step: int, reason: str, *, last: bool) -> None:
        damaged = self._directory / str(step)
        number = 0
        while (aside := self._directory / f"damaged-{step}{f'-{number}' if number else ''}").exists():
            number += 1
        together(lambda: jax.process_index() == 0 and damaged.rename(aside), OSError)
        after = "starting over" if last else "using the one before"
        warnings.warn(f"checkpoint {damaged} is damaged ({reason}); {after}", stacklevel=3)


def _sound(folder: pathlib.Path) -> dict[str, Any]:
    """The header of a checkpoint whose every byte was checked, each process its share of the files."""
    index, count = jax.process_index(), jax.process_count()
    own = folder / _FILE
    if not own.exists() and (folder / "_CHECKPOINT_METADATA").exists():  # of the time when orbax wrote all
        raise OtherFormat
    together(lambda: index == 0 and files.check(own), Damaged)
    header = together(lambda: files.read_header(own), Damaged)
    digests = header["digests"]
    share = sorted(digests)[index::count]
    together(lambda: [files.check(folder / _ARRAYS / name, digests[name]) for name in share], Damaged)
    return header


def _read(folder: pathlib.Path, header: dict[str, Any], leaves: list[Any]) -> list[Any]:
    likes = {_name(number): leaf for number, leaf in enumerate(leaves)}
    spread = {name: files.wanted_sharding(likes[name]) for name in header["spread"]}
    held = {name: like for name, like in likes.items() if name not in spread}
    found = dict(zip(held, files.read(folder / _FILE, header["begin"], list(held.values()))))
    if spread:
        found |= arrays.restore(folder / _ARRAYS, spread)
    return [files.alike(like, found[name], key) for (name, like), key in zip(likes.items(), header["keys"])]


def _name(number: int) -> str:
    """What an array is called in orbax's files."""
    return f"{number:05d}"


def _flatten(tree: Any) -> tuple[list[str], list[Any]]:
    with_paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path) for path, _ in with_paths], [leaf for _, leaf in with_paths]
