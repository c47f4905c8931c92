"""Label augmentation from its config: a run, what every arm passes through its net, whose rows are whose."""

import json

import jax
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.self_supervised import augment_labels
from tests.experiments.arms import make_all, programs
from tests.experiments.command import ROOT, changed

PATH = "configs/self_supervised/sla.py"


def test_the_smoke_run_reports_every_arm(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--config={PATH}:smoke", f"--workdir={tmp_path}"]) == 0
    arms = json.loads((tmp_path / "result.json").read_text())["arms"]
    found = {name: own["metrics"] for name, own in arms.items()}
    assert set(found) == {"baseline", "da", "sla", "sla_sd"}
    assert len({tuple(own["test/accuracy_by_four"]) for own in found.values()}) > 2
    assert np.mean(found["baseline"]["test/accuracy"]) > 0.1
    assert all("val/late_change" in own for own in found.values())


def test_labels_validation_and_test_are_different_images_and_the_seeds_own():
    built = augment_labels.build(load(f"{PATH}:smoke").config)
    rows = lambda name, seed: set(np.asarray(built.data[name]["row"].make(jax.random.key(seed))).tolist())
    train, val = rows("train", 0), rows("val", 0)
    assert (len(train), len(val)) == (30, 200)
    assert not train & val
    assert rows("train", 0) != rows("train", 1)
    label = np.asarray(built.data["train"]["label"])[sorted(train)]
    np.testing.assert_array_equal(np.bincount(label), np.full(10, 3))
    flat = lambda name: {image.tobytes() for image in np.asarray(built.data[name]["image"])}
    shared = len(flat("train") & flat("test"))
    assert shared == 0
    tuning = augment_labels.build(load(f"{PATH}:tune").config)
    assert "test" not in tuning.data
    assert not {image.tobytes() for image in np.asarray(tuning.data["train"]["image"])} & flat("train")


def test_arms_of_one_method_share_a_program():
    built = augment_labels.build(load(f"{PATH}:tune").config)
    make_all(built)
    assert programs(built) == {"": (32, 4)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"data__source": "cats"}, "data.source is 'cats': it must be one of digits, fashion_mnist"),
        ({"data__part": "all"}, "data.part is 'all': it must be one of tuning, rest"),
        ({"labels_per_class": 500}, "labels_per_class is 500: it must be between 1 and the 6"),
        ({"data__val": 700}, "data.val is 700: it must be between 1 and"),
        ({"arms__da__method": "mixup"}, "arm da: method is 'mixup': it must be one of plain"),
        ({"steps": 0}, "steps is 0: it must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_one_line(flags, message):
    with pytest.raises(ValueError, match=message):
        augment_labels.build(changed(PATH, **flags))
