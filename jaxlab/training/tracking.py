"""Where else the numbers of a run go: TensorBoard, Weights & Biases, Trackio, or whatever takes rows.

All of them write to the run's folder and to no other machine unless the environment says so (WANDB_MODE,
TRACKIO_SPACE_ID).
"""

import html
import importlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

from jaxlab.core import InputError, MissingPackage

Row = Mapping[str, Any]


class Tracker(Protocol):
    """What is told of a run as it goes."""

    def write(self, row: Row) -> None:
        """Take a row of metrics.jsonl: `arm`, `step`, and metrics with one number, or one for every seed.

        Where an experiment has `samples`, a row may have them too, dicts of plain values.
        """

    def finish(self, report: str, pictures: Mapping[str, pathlib.Path]) -> None:
        """Take what a run that has ended leaves: its report, and its pictures by name."""

    def close(self) -> None:
        """Let go of files and threads; the run may have ended early."""


def trackers(
    wanted: Sequence[str | Tracker], folder: pathlib.Path, *, name: str, config: Mapping[str, Any]
) -> list[Tracker]:
    """The trackers of a run.

    Args:
      wanted: "tensorboard", "wandb", "trackio", or trackers of one's own.
      folder: of the run; each writes to a folder in it that is called like itself.
      name: of the run.
      config: what was run, as plain values.

    Raises:
      InputError: a name that is none of these.
      MissingPackage: the package is not installed.
    """
    for one in wanted:
        if isinstance(one, str) and one not in TRACKERS:
            raise InputError(f"track is {one!r}: it must be one of {', '.join(TRACKERS)}")
    return [TRACKERS[one](folder / one, name, config) if isinstance(one, str) else one for one in wanted]


def _package(name: str, tracker: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingPackage(f"--track={tracker} needs {name}: pip install {name}") from None


def by_seed(row: Row) -> dict[str, list[tuple[str, float]]]:
    """The numbers of a row by metric, each with the place of its seed, or with "" where all seeds share it."""
    found = {}
    for metric, values in row.items():
        if metric not in ("arm", "step", "samples"):
            several = isinstance(values, list)
            places = map(str, range(len(values))) if several else ("",)
            own = zip(places, values if several else [values])
            found[metric] = [(place, value) for place, value in own if value is not None]
    return found


class _TensorBoard:
    """A TensorBoard run for every arm and seed."""

    def __init__(self, folder: pathlib.Path, name: str, config: Mapping[str, Any]):
        self._make = _package("tensorboardX", "tensorboard").SummaryWriter
        self._folder, self._writers = folder, {}
        self._writer("").add_text("config", _as_text(config))

    def write(self, row: Row) -> None:
        for metric, values in by_seed(row).items():
            for place, value in values:
                self._writer(f"{row['arm']}/{place}".rstrip("/")).add_scalar(metric, value, row["step"])
        if "samples" in row:
            self._writer(row["arm"]).add_text("samples", _samples_as_text(row), row["step"])

    def finish(self, report: str, pictures: Mapping[str, pathlib.Path]) -> None:
        from matplotlib.image import imread

        whole = self._writer("")
        whole.add_text("report", report)
        for name, path in pictures.items():
            whole.add_image(name, imread(path)[..., :3], dataformats="HWC")

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            self._writers[run] = self._make(str(self._folder / run))
        return self._writers[run]

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _OneRun:
    """A run of Weights & Biases or of Trackio: `<arm>/<metric>` is the mean over seeds, `.../seed_0` a seed's own.

    Args:
      library: either of them; their interfaces agree on pictures and texts.
      log: `(numbers, step)`.
      end: of the run.
    """

    def __init__(
        self, library: ModuleType, log: Callable[[dict[str, Any], int], Any], end: Callable[[], Any]
    ):
        self._library, self._log, self._end, self._last = library, log, end, 0

    def write(self, row: Row) -> None:
        numbers: dict[str, Any] = {}
        for metric, values in by_seed(row).items():
            name = f"{row['arm']}/{metric}"
            if values:
                numbers[name] = sum(value for _, value in values) / len(values)
            numbers |= {f"{name}/seed_{place}": value for place, value in values if place}
        if "samples" in row:
            numbers[f"{row['arm']}/samples"] = self._html(_samples_as_text(row))
        self._last = max(self._last, row["step"])
        self._log(numbers, row["step"])

    def finish(self, report: str, pictures: Mapping[str, pathlib.Path]) -> None:
        shown = {name: self._library.Image(str(path)) for name, path in pictures.items()}
        self._log({"report": self._html(report), **shown}, self._last)

    def _html(self, text: str) -> Any:
        return self._library.Html(f"<pre>{html.escape(text)}</pre>")

    def close(self) -> None:
        self._end()


def _wandb(folder: pathlib.Path, name: str, config: Mapping[str, Any]) -> Tracker:
    library = _package("wandb", "wandb")
    folder.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE", "offline")
    run = library.init(project="jaxlab", name=name, config=dict(config), dir=str(folder), mode=mode)
    run.define_metric("*", step_metric="step")  # arms run one after another, each from step 0
    return _OneRun(library, lambda numbers, step: run.log({**numbers, "step": step}), run.finish)


def _trackio(folder: pathlib.Path, name: str, config: Mapping[str, Any]) -> Tracker:
    os.environ.setdefault("TRACKIO_DIR", str(folder))  # read when it is imported
    library = _package("trackio", "trackio")
    run = library.init(project="jaxlab", name=name, config=dict(config), embed=False)
    return _OneRun(library, lambda numbers, step: run.log(numbers, step=step), run.finish)


def _as_text(config: Mapping[str, Any]) -> str:
    return "\n".join(f"    {key}: {value}" for key, value in config.items())


def _samples_as_text(row: Row) -> str:
    """A paragraph for every sample, a line for each of its values."""
    lines = ["\n".join(f"    {name}: {value}" for name, value in sample.items()) for sample in row["samples"]]
    return "\n\n".join(lines)


TRACKERS: dict[str, Callable[[pathlib.Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _wandb,
    "trackio": _trackio,
}
