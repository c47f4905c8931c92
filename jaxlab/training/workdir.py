"""The folder of one run: whose it is, who may write in it, and where each thing lies."""

import contextlib
import difflib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import IO, Any

import jax
import numpy as np

from jaxlab.core import InputError
from jaxlab.training.code import changed, pack, unpack
from jaxlab.training.metrics import write_atomically


class WorkdirError(InputError):
    """A folder that cannot be used; the message is one line that says why and what to do."""


# Keys of a config that decide nothing about what is trained.
_TEXTS = frozenset(("mesh", "claims", "paper", "minutes", "checkpoint_minutes", "scale", "open_edges", "map"))


class Workdir:
    """Paths of one run, and what tells it from others.

    Args:
      path: the folder.
      config: the run's full config as plain JSON values; what is compared when a folder is used again. Devices
        ("mesh"), claims and texts are not, and of the arms (entries of a dict called "arms") only those that both
        have: a run may go on with other devices, other claims, one more arm, and more "seeds", a number.

    Attributes:
      earlier_seeds: once opened, how many seeds the folder holds if that is fewer than the config says; else None.
    """

    def __init__(self, path: str | os.PathLike, config: dict[str, Any]):
        self.path = pathlib.Path(path).absolute()
        self.config = config
        self.identity = _digest(_comparable(config))
        self.earlier_seeds: int | None = None

    def identity_of(self, name: str) -> str:
        """A digest of all that decides what an arm or stage trains: of the arms' settings its own alone.

        Args:
          name: "arm", or "task/arm" where the config has a dict "tasks".
        """
        task, _, arm = name.rpartition("/")
        return _digest(_of_arm(_comparable(self.config), task, arm))

    def of_seeds(self, count: int, *, after: int = 0) -> "Workdir":
        """The run of `count` of the seeds: the first ones, in this folder, or those after `after`, in one inside it."""
        first = self.config.get("first_seed", 0) + after
        config = {**self.config, "seeds": count}
        if not after:
            return Workdir(self.path, config)
        return Workdir(self.path / f"seeds-{first}-{first + count - 1}", {**config, "first_seed": first})

    def now_holds_all_seeds(self) -> None:
        """Say so in the folder."""
        self.earlier_seeds = None
        self._describe(self.config)

    def checkpoints(self, arm: str) -> pathlib.Path:
        """Where the checkpoints of one arm or stage lie."""
        return self.path / "checkpoints" / arm

    def keep_code(self, now: Mapping[str, str], *, accept: bool = False) -> list[dict[str, Any]]:
        """Compare the code that trained here with today's; the first run, and one that accepts, leaves a copy.

        Args:
          now: from `training.code.sources`.
          accept: go on though it differs.

        Returns:
          One entry per version, oldest first: `digest`, and `changed`, the files that differ from the one before.

        Raises:
          WorkdirError: it differs in what it computes, and `accept` is False.
        """
        archives = sorted(self.path.glob("code-[0-9]*.zip"))
        versions = [_unpacked(path) for path in archives]
        differing = changed(versions[-1], now) if versions else []
        if differing and not accept:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise WorkdirError(
                f"{self.path} was trained with other code ({', '.join(differing[:3])}{more}): "
                "start over with --fresh, or go on with --accept_code"
            )
        if differing or not versions:
            versions.append(dict(now))
            write_atomically(self.path / f"code-{len(versions):02d}.zip", pack(now))
        steps = zip([{}, *versions], versions)
        return [
            {"digest": _digest(dict(new)), "changed": changed(old, new) if old else []} for old, new in steps
        ]

    @property
    def metrics(self) -> pathlib.Path:
        """The log: one JSON line per arm and log step."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> pathlib.Path:
        """The result, written when all arms have ended."""
        return self.path / "result.json"

    @contextlib.contextmanager
    def opened(self, *, fresh: bool = False) -> Iterator[None]:
        """Take the folder for the time of the block: create it, lock it, and check that the run in it is ours.

        Args:
          fresh: remove what an earlier run of jaxlab left there.

        Raises:
          WorkdirError: cannot be written, in use by another process, holds another config's run, or holds files
            that are not a run's.
        """
        if jax.process_index() != 0:
            _all_agree(True, self.path)
            yield
            return
        try:
            lock = self._lock(fresh)
        except Exception:
            _all_agree(False, self.path)
            raise
        with lock:
            _all_agree(True, self.path)
            yield

    def _lock(self, fresh: bool) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a")
        except OSError as error:
            raise WorkdirError(f"cannot write in {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._claim(fresh)
        except BlockingIOError:
            lock.close()
            raise WorkdirError(
                f"another run is using {self.path}: wait for it or give another --workdir"
            ) from None
        except Exception:
            lock.close()
            raise
        return lock

    def _claim(self, fresh: bool) -> None:
        saved = self.path / "config.json"
        others = [path for path in self.path.iterdir() if path.name not in (".lock", "config.json.tmp")]
        if others and not saved.exists():
            raise WorkdirError(
                f"{self.path} holds files that are not a run's: give an empty or new --workdir"
            )
        if fresh:
            for path in others:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif saved.exists():
            self._compare(saved)
        self._describe({**self.config, "seeds": self.earlier_seeds} if self.earlier_seeds else self.config)

    def _describe(self, config: dict[str, Any]) -> None:
        write_atomically(self.path / "config.json", json.dumps(config, indent=1, sort_keys=True) + "\n")

    def _compare(self, saved: pathlib.Path) -> None:
        try:
            before = json.loads(saved.read_text())
        except ValueError:
            raise WorkdirError(f"{saved} cannot be read: start over with --fresh") from None
        before, now = _in_both(_comparable(before), _comparable(self.config))
        seeds = before.get("seeds"), now.get("seeds")
        if all(isinstance(number, int) for number in seeds) and 0 < seeds[0] < seeds[1]:
            self.earlier_seeds = before["seeds"]
            before["seeds"] = now["seeds"]
        if before != now:
            changes = "; ".join(differences(before, now))
            raise WorkdirError(
                f"{self.path} holds a run of another config ({changes}): give another --workdir, or --fresh"
            )


def _unpacked(path: pathlib.Path) -> dict[str, str]:
    try:
        return unpack(path.read_bytes())
    except InputError as error:
        raise WorkdirError(f"{path} is damaged ({error}): start over with --fresh") from error


def _all_agree(fine: bool, path: pathlib.Path) -> None:
    """The processes of one run wait for the first to take the folder, and leave together when it cannot."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    if not multihost_utils.process_allgather(np.asarray(fine)).all() and fine:
        raise WorkdirError(f"the first process cannot use {path}: it says why")


def _digest(config: Any) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _TEXTS}


def _of_arm(config: Any, task: str, arm: str) -> Any:
    """The part of a config that concerns one arm."""
    if not isinstance(config, dict):
        return config
    own = {"arms": arm, "tasks": task}
    kept = {}
    for key, value in config.items():
        if key in own and isinstance(value, dict) and (key == "arms" or task in value):
            value = {name: one for name, one in value.items() if name == own[key]}
        kept[key] = _of_arm(value, task, arm)
    return kept


def _in_both(before: Any, now: Any) -> tuple[Any, Any]:
    """Two configs without the arms that only one of them has."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return before, now
    before, now = dict(before), dict(now)
    for key in before.keys() & now.keys():
        one, other = before[key], now[key]
        if key == "arms" and isinstance(one, dict) and isinstance(other, dict):
            one, other = (
                {name: own[name] for name in one if name in one and name in other} for own in (one, other)
            )
        before[key], now[key] = _in_both(one, other)
    return before, now


def differences(before: Any, after: Any, *, prefix: str = "", most: int = 4) -> list[str]:
    """The keys in which two nested dicts differ, as `key: old -> new`.

    Args:
      before, after: nested dicts of plain values.
      prefix: put before every key.
      most: name at most so many, then how many more.
    """
    flat_before, flat_after = _flat(before), _flat(after)
    keys = [key for key in sorted(flat_before | flat_after) if flat_before.get(key) != flat_after.get(key)]
    named = [
        f"{prefix}{key}: {flat_before.get(key, 'absent')} -> {flat_after.get(key, 'absent')}" for key in keys
    ]
    return named[:most] + ([f"and {len(named) - most} more"] if len(named) > most else [])


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict) and tree:
        return {
            k: v
            for key, item in tree.items()
            for k, v in _flat(item, f"{path}.{key}" if path else key).items()
        }
    return {path: tree}


def suggest(name: str, known: list[str]) -> str:
    """`; did you mean ...?` with the nearest known names, or the whole list when it is short.

    Paths share much that says nothing, so a name must come close to the nearest one to be worth mentioning.
    """
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    likeness = lambda other: difflib.SequenceMatcher(None, other, name).ratio()
    near = [other for other in near if likeness(other) > likeness(near[0]) - 0.15]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known: {', '.join(known)}" if len(known) <= 20 else ""
