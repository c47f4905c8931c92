"""Dense prediction from few labels, from its configs: the smoke runs, the figure, and settings that make no sense."""

import json

import pytest

from experiments._config import load
from experiments.semi_supervised import segment
from tests.experiments.command import changed, finish

EV_WSSS, RAIL = "configs/semi_supervised/ev_wsss.py", "configs/semi_supervised/rail.py"
METRICS = {EV_WSSS: ("miou", "miou_b", "recall_bar"), RAIL: ("dice", "dice_one", "boundary_dice", "recall")}


@pytest.mark.slow
@pytest.mark.parametrize("config", METRICS)
def test_the_smoke_run_reports_every_arm_and_draws_examples(tmp_path, config):
    status, _, error = finish(tmp_path / "run", config=f"{config}:smoke")
    assert status == 0, error
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = load(f"{config}:smoke").config
    assert set(result["arms"]) == set(expected.arms)
    for arm in result["arms"].values():
        for metric in METRICS[config]:
            assert all(0 <= value <= 1 for value in arm["metrics"][f"test/{metric}"])
    assert len(result["claims"]) == len(expected.claims) > 0
    assert (tmp_path / "run" / "examples.png").read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (EV_WSSS, {"task__source": "photos"}, "task.source is 'photos': it must be one of event_scenes"),
        (EV_WSSS, {"steps": 0}, "steps is 0"),
        (EV_WSSS, {"arms": {}}, "arms is empty"),
        (RAIL, {"arms__rail__learning_rate": 0.0}, "arms.rail.learning_rate is 0.0"),
        (RAIL, {"optimizer": "lion"}, "optimizer is 'lion'"),
        (RAIL, {"task__dims": 4}, "task.dims is 4"),
    ],
)
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        segment.build(changed(path, **changes))
