"""Dense prediction from few labels, from its configs: the smoke runs, the figure, and settings that make no sense."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments._config import load
from experiments.semi_supervised import segment
from experiments.semi_supervised._volume_losses import METHODS, Seen
from jaxlab.semi_supervised import rail
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


def test_the_released_restraint_is_all_that_differs():
    config, rows = changed(RAIL), 2
    arm = config.arms.rail
    released = ConfigDict(arm.to_dict() | {"authors_code": True})
    logits = jax.random.normal(jax.random.key(0), (5, 2 * rows, 4, 4, 2))
    batch = {"label": jax.random.bernoulli(jax.random.key(1), shape=(rows, 4, 4)).astype(int)}
    seen = Seen(batch, logits[:2], logits[:4], logits[4:, rows:], jnp.int32(1), jnp.float32(1.0))
    loss = lambda arm: METHODS["rail"].loss(config, arm, seen, 0)
    restraint = lambda code: rail.confidence_restraint_loss(
        logits[0, rows:], logits[1, rows:].argmax(-1), authors_code=code
    ).mean()
    expected = 2 * arm.weight * arm.restraint_weight * (restraint(True) - restraint(False))
    np.testing.assert_allclose(loss(released) - loss(arm), expected, rtol=1e-3)
    assert abs(expected) > 0.01
