"""Merging models and ranking from clicks, from their configs: the smoke runs, and settings that make no sense."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.merging import merge_models
from experiments.ranking import rank_from_clicks
from tests.experiments.arms import compiled, data_of, make_all, method, start
from tests.experiments.command import changed

ADAMERGING, DLA = "configs/merging/adamerging.py", "configs/ranking/dla.py"
DRIVERS = {ADAMERGING: merge_models, DLA: rank_from_clicks}


@pytest.fixture(scope="module", params=DRIVERS)
def smoke(request, tmp_path_factory):
    """Path of the config, and what its smoke run left."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    assert run.main([f"--config={request.param}:smoke", f"--workdir={workdir}"]) == 0
    return request.param, json.loads((workdir / "result.json").read_text()), workdir


@pytest.mark.slow
def test_the_smoke_run_reports_every_arm_and_claim(smoke):
    path, result, _ = smoke
    config = load(f"{path}:smoke").config
    arms = [
        f"{name}/{arm}" for name, task in config.tasks.items() for arm in task.get("arms", config.get("arms"))
    ]
    assert set(result["arms"]) == set(arms)
    metric = "test/accuracy" if path == ADAMERGING else "test/ndcg_10"
    for arm in result["arms"].values():
        assert len(arm["metrics"][metric]) == 2
        assert all(0 <= value <= 1 for value in arm["metrics"][metric])
    assert len(result["claims"]) == len(config.claims) * len(config.tasks) > 0


@pytest.mark.slow
def test_entropy_is_logged_under_the_name_of_its_inputs(smoke):
    path, _, workdir = smoke
    if path == DLA:
        pytest.skip("of merging")
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    logged = {row["arm"]: set(row) for row in rows}
    assert "train/transductive_entropy" in logged["overlapping/layer_wise_transductive"]
    assert "train/disjoint_entropy" not in logged["overlapping/layer_wise_transductive"]


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (ADAMERGING, {"steps": 0}, "steps is 0"),
        (ADAMERGING, {"tasks__overlapping__domains": ("top_left", "attic")}, "domains has 'attic'"),
        (ADAMERGING, {"tasks__overlapping__domains": ("top", "top")}, "at least two different ones"),
        (ADAMERGING, {"tasks__overlapping__canvas": 7}, "canvas is 7: it must hold the digits' 8 pixels"),
        (
            ADAMERGING,
            {"tasks__overlapping__arms__ties_labels__vectors": "best"},
            "arm ties_labels: vectors is 'best'",
        ),
        (
            ADAMERGING,
            {"tasks__overlapping__arms__ties_labels__per": "layer"},
            "arm ties_labels: per is 'layer' and method is 'search'",
        ),
        (
            ADAMERGING,
            {"tasks__overlapping__arms__ties_labels__inputs": "transductive"},
            "a search reads labels",
        ),
        (DLA, {"batch_size": 0}, "batch_size is 0"),
        (DLA, {"tasks__eta1__user": "bot"}, "task eta1: user is 'bot': it must be one of position"),
        (DLA, {"arms__dla__method": "guess"}, "arm dla: method is 'guess'"),
        (DLA, {"arms__dla__max_weight": 0.5}, "arm dla: max_weight is 0.5"),
        (DLA, {"data__initial_quality": 2.0}, r"initial_quality must be in \[0, 1\]"),
    ],
)
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_all(DRIVERS[path].build(changed(path, **changes)))


def test_the_inputs_of_entropy_are_apart_from_the_scored_ones_unless_the_arm_says_so():
    built = merge_models.build(changed(ADAMERGING))["overlapping"]
    splits, images = (
        data_of(built, jax.random.key(0)),
        lambda split: {x.tobytes() for x in np.asarray(split.image)},
    )
    rows, scored = {name: images(split) for name, split in splits["train"].items()}, images(splits["test"])
    assert rows["transductive"] == scored
    assert not rows["disjoint"] & scored
    assert not rows["train"] & (scored | rows["disjoint"])
    # While tuning, the scored images are those of validation, and the test split is nowhere.
    tuned = merge_models.build(changed(ADAMERGING, test=False))["overlapping"]
    splits = data_of(tuned, jax.random.key(0))
    assert set(splits) == {"train", "val"}
    assert images(splits["train"]["transductive"]) == images(splits["val"])


def test_every_arm_sees_the_same_clicks_and_begins_with_the_same_ranker():
    built = rank_from_clicks.build(changed(DLA))["eta1"]
    train = data_of(built, jax.random.key(0))["train"]
    batch, again = (built.draw(train, jax.random.key(0)) for _ in range(2))
    np.testing.assert_array_equal(batch["click"], again["click"])
    begin = lambda arm: start(built, arm, jax.random.key(0), {}).params["ranker"]
    first, second = begin("ipw_true"), begin("dla")
    chex.assert_trees_all_equal(first, second)


def test_one_step_of_dual_learning_moves_both_models_and_no_other_arm_its_propensities():
    built = rank_from_clicks.build(changed(DLA))["eta1"]
    batch = built.draw(data_of(built, jax.random.key(0))["train"], jax.random.key(0))
    for arm, moves in (("ipw_true", False), ("dla", True)):
        state = start(built, arm, jax.random.key(0), {})
        after, _ = jax.jit(method(built, arm).learner.update)(state, batch, jax.random.key(1), {})
        assert bool(jnp.any(after.params["propensity"] != 0)) == moves
        assert jnp.any(after.params["ranker"]["params"]["classifier"]["kernel"]
                       != state.params["ranker"]["params"]["classifier"]["kernel"])  # fmt: skip


def test_settings_that_differ_in_numbers_alone_are_one_program():
    """How much TIES keeps is the size of a selection, and no number that a program is given."""
    merged = compiled(merge_models.build(load(f"{ADAMERGING}:tune").config))
    assert merged == {
        "apart": 13,
        "overlapping": 13,
    }  # seven methods, five more shares for one and one for another
    assert compiled(rank_from_clicks.build(load(f"{DLA}:tune").config)) == {"eta1": 5, "eta2": 5}
