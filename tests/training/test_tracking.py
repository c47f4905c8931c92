"""Trackers are told every number, the config, the report and the pictures, and nothing leaves the machine."""

import json
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from matplotlib.image import imsave

from jaxlab.core import InputError, MissingPackage
from jaxlab.training import tracking
from jaxlab.training.metrics import MetricLog
from jaxlab.training.tracking import trackers

ROWS = (
    {"arm": "t/kd", "step": 10, "train/loss": [0.25, 0.75], "seconds": 3.0},
    {"arm": "t/kd", "step": 20, "train/loss": [0.5, None]},
    {"arm": "t/pld", "step": 10, "train/loss": [1.0, 3.0], "samples": [{"text": "<a>", "reward": 1.0}]},
)


def tell(names, folder):
    """A short run as `training.run` tells it."""
    log = MetricLog(None, trackers=trackers(names, folder, name="pld-smoke", config={"seeds": 2}))
    for row in ROWS:
        log.write(row)
    imsave(folder / "curves.png", np.zeros((4, 4, 3)))
    log.finish("# report <1>", {"curves": folder / "curves.png"})
    log.close()


class Told:
    """A tracker of one's own."""

    def __init__(self):
        self.rows, self.end = [], []

    def write(self, row):
        self.rows.append(row)

    def finish(self, report, pictures):
        self.end.append((report, set(pictures)))

    def close(self):
        self.end.append("closed")


def test_a_tracker_of_ones_own_is_told_all_beside_others(tmp_path):
    pytest.importorskip("tensorboardX")
    told = Told()
    tell(["tensorboard", told], tmp_path)
    assert told.rows == list(ROWS)
    assert told.end == [("# report <1>", {"curves"}), "closed"]
    assert any(b"<a>" in path.read_bytes() for path in (tmp_path / "tensorboard/t/pld").glob("events*"))
    runs = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("events*")}
    seeds = {f"tensorboard/t/{arm}/{seed}" for arm in ("kd", "pld") for seed in (0, 1)}
    assert runs == {"tensorboard", "tensorboard/t/kd", "tensorboard/t/pld", *seeds}


class Library(types.ModuleType):
    """As much of wandb and trackio as is used."""

    def __init__(self):
        super().__init__("library")
        self.begun, self.logged, self.ended = {}, [], 0

    def init(self, **options):
        self.begun = options
        return self

    def define_metric(self, *args, **options):
        pass

    def log(self, numbers, step=None):
        self.logged.append((numbers.get("step", step), numbers))

    def finish(self):
        self.ended += 1

    def Image(self, path):
        return pathlib.Path(path).name

    def Html(self, text):
        return text


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_one_run_has_means_over_seeds_and_every_seed(name, tmp_path, monkeypatch):
    library = Library()
    monkeypatch.setitem(sys.modules, name, library)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tell([name], tmp_path)
    assert library.begun["config"] == {"seeds": 2}
    assert library.begun.get("mode") == ("offline" if name == "wandb" else None)
    (first, numbers), (_, second), (_, third), (last, end) = library.logged
    assert (first, last) == (10, 20)
    expected = {"t/kd/train/loss": 0.5, "t/kd/train/loss/seed_0": 0.25, "t/kd/train/loss/seed_1": 0.75}
    assert numbers.items() >= {**expected, "t/kd/seconds": 3.0}.items()
    assert second["t/kd/train/loss"] == 0.5
    assert "t/kd/train/loss/seed_1" not in second
    assert (end["curves"], end["report"]) == ("curves.png", "<pre># report &lt;1&gt;</pre>")
    assert third["t/pld/samples"] == "<pre>    text: &lt;a&gt;\n    reward: 1.0</pre>"
    assert library.ended == 1


SCRIPT = """
import pathlib, sys
from tests.training.test_tracking import tell
tell([sys.argv[1]], pathlib.Path(sys.argv[2]))
"""


@pytest.mark.wide
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_library_itself_takes_it_offline(name, tmp_path):
    pytest.importorskip(name)
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, tmp_path], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert any(path.is_file() for path in (tmp_path / name).rglob("*"))
    if name == "trackio":
        import sqlite3

        (base,) = (tmp_path / name).glob("*.db")
        with sqlite3.connect(base) as file:
            found = [json.loads(row[0]) for row in file.execute("select metrics from metrics")]
        assert any(numbers.get("t/kd/train/loss") == 0.5 for numbers in found)


def test_what_cannot_be_told_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match="^track is 'mlflow': it must be one of tensorboard, wandb, trackio$"
    ):
        trackers(["mlflow"], tmp_path, name="x", config={})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackage, match="^--track=wandb needs wandb: pip install wandb$"):
        trackers(["wandb"], tmp_path, name="x", config={})


def test_every_seed_has_its_place():
    assert tracking.by_seed(ROWS[1]) == {"train/loss": [("0", 0.5)]}
