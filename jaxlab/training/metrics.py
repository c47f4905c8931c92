"""Metrics on disk: one JSON line per arm and log step, which trackers are told as well."""

import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.training._disk import writing
from jaxlab.training.tracking import Tracker

Row = dict[str, Any]


def to_json(value: Any) -> Any:
    """The nearest thing that strict JSON can hold: arrays become lists, numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def read_rows(path: str | os.PathLike) -> list[Row]:
    """The rows of a metrics file, without the torn last line that a killed process may leave.

    Args:
      path: a `metrics.jsonl`; a file that is not there has no rows.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "arm" in row and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


class MetricLog:
    """`metrics.jsonl` of a run, and `samples.jsonl` beside it; a path of None keeps the rows in memory alone."""

    def __init__(self, path: str | os.PathLike | None, *, trackers: Sequence[Tracker] = ()):
        self._path = pathlib.Path(path) if path else None
        self._samples = self._path and self._path.with_name("samples.jsonl")
        self.rows = read_rows(self._path) if self._path else []
        self._trackers = trackers

    def rewind(self, arm: str, step: int) -> None:
        """Forget what `arm` logged after `step`: a run that resumes there will say it again.

        The file is replaced in one motion, so a kill at any moment leaves the old rows or the new ones.
        """
        self.rows = [row for row in self.rows if row["arm"] != arm or row["step"] <= step]
        if self._path:
            text = "".join(json.dumps(row) + "\n" for row in self.rows)
            write_atomically(self._path, text)
        if self._samples and self._samples.exists():
            kept = [row for row in read_rows(self._samples) if row["arm"] != arm or row["step"] <= step]
            write_atomically(self._samples, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Row) -> None:
        """Append one row: at least `arm` and `step`; metrics are numbers or lists with one number per seed.

        Its `samples`, if it has any, go to `samples.jsonl`, a line each.
        """
        row = to_json(row)
        numbers = {name: value for name, value in row.items() if name != "samples"}
        where = {"arm": row["arm"], "step": row["step"]}
        self.rows.append(numbers)
        if self._path:
            _append(self._samples, [{**where, **sample, **where} for sample in row.get("samples", ())])
            _append(self._path, [numbers])
        for tracker in self._trackers:
            with writing(self._path or pathlib.Path()):
                tracker.write(row)

    def of(self, arm: str) -> list[Row]:
        """The rows of one arm, by step."""
        return [row for row in self.rows if row["arm"] == arm]

    def finish(self, report: str, pictures: Mapping[str, pathlib.Path]) -> None:
        """Hand on what a run that has ended leaves, see `Tracker`."""
        for tracker in self._trackers:
            tracker.finish(report, pictures)

    def close(self) -> None:
        """Flush what is buffered."""
        for tracker in self._trackers:
            tracker.close()


def _append(path: pathlib.Path, rows: Sequence[Row]) -> None:
    if rows:
        with writing(path), path.open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Replace a file in one motion: a reader, or a kill, meets the old content or the new one, never a part."""
    path = pathlib.Path(path)
    scratch = path.with_name(path.name + ".tmp")
    with writing(path):
        with scratch.open("w" if isinstance(content, str) else "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)


def series(rows: list[Row], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps `[T]` and values `[T, S]` of one metric, from the rows of one arm that carry it."""
    points = list(_points(rows, metric))
    return np.asarray([step for step, _ in points]), np.asarray([values for _, values in points], float)


def _points(rows: list[Row], metric: str) -> Iterator[tuple[int, list]]:
    for row in rows:
        if metric in row:
            values = row[metric] if isinstance(row[metric], list) else [row[metric]]
            yield row["step"], values
