"""Students beyond a loss on logits: the smoke runs of the dual head and of features, and what every arm shares."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.distillation import _classifiers, train_student
from experiments.parts.images import seeded_images
from tests.experiments.arms import compiled, data_of, make_all, method, start, untrained
from tests.experiments.command import ROOT

DHKD, ND, ALL = (f"configs/distillation/{name}.py" for name in ("dhkd", "nd_loss", "all"))
TASK = {DHKD: "hierarchy", ND: "narrow", ALL: "digits"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """`config -> (result, lines of metrics)` of its smoke run, each run once."""

    @functools.cache
    def of(path):
        workdir = tmp_path_factory.mktemp("run")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            assert run.main([f"--config={path}:smoke", f"--workdir={workdir}"]) == 0
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        return json.loads((workdir / "result.json").read_text()), lines

    return of


@pytest.mark.slow
@pytest.mark.parametrize("path", TASK)
def test_the_smoke_run_reports_every_arm(smoke, path):
    result, _ = smoke(path)
    config = load(f"{path}:smoke").config
    assert set(result["arms"]) == {f"{TASK[path]}/{name}" for name in config.tasks[TASK[path]].arms}
    for arm in result["arms"].values():
        assert len(arm["metrics"]["test/accuracy"]) == 2
        assert all(0 <= value <= 1 for value in arm["metrics"]["test/accuracy"])
    assert len(result["claims"]) == len(config.claims) > 0


def _logged(lines, arm, metric):
    """`[lines, seeds]`."""
    return np.array([line[metric] for line in lines if line["arm"] == arm and metric in line])


@pytest.mark.slow
def test_the_two_losses_meet_in_the_backbone_alone(smoke):
    _, lines = smoke(DHKD)
    for arm in ("two_heads", "aligned"):
        np.testing.assert_array_equal(_logged(lines, f"{TASK[DHKD]}/{arm}", "train/classifier_agreement"), 0)
        assert (
            (_logged(lines, f"{TASK[DHKD]}/{arm}", "train/body_agreement") != 0).any(0).all()
        )  # a net may die
    assert (_logged(lines, f"{TASK[DHKD]}/one_head", "train/classifier_agreement") != 0).all()


@pytest.mark.slow
def test_kd_warms_up_and_the_class_means_are_a_stage(smoke):
    result, lines = smoke(ND)
    assert set(result["prepare"]) == {"narrow/teacher", "narrow/means"}
    assert all(0 <= value <= 1 for value in result["prepare"]["narrow/means"]["metrics"]["test/accuracy"])
    # Six steps, the first twelfth of which is over after half of one: 0 at first, then 1. Means of three steps.
    ramps = [line["train/ramp"] for line in lines if line["arm"] == "narrow/kd" and "train/ramp" in line]
    np.testing.assert_allclose(ramps, [[2 / 3, 2 / 3], [1.0, 1.0]], rtol=1e-5)
    norms = result["arms"]["narrow/kd_norm"]["metrics"]["test/feature_norm"]
    assert len(norms) == 2
    assert all(value > 0 for value in norms)


@functools.cache
def _experiment(path):
    return train_student.build(load(f"{path}:smoke").config)[TASK[path]]


@functools.cache
def _context(path):
    return untrained(_experiment(path), jax.random.key(1))


@functools.cache
def _states(path):
    """`{arm: initial state}` for one seed and an untrained teacher."""
    experiment = _experiment(path)
    return {name: start(experiment, name, jax.random.key(2), _context(path)) for name in experiment.arms}


@pytest.mark.parametrize("path", [DHKD, ND])
def test_every_arm_starts_from_the_same_student(path):
    first, *others = (state.params.get("net", state.params) for state in _states(path).values())
    for other in others:
        chex.assert_trees_all_equal(first, other)


def test_the_class_means_are_those_of_the_teachers_vectors():
    context, experiment = _context(ND), _experiment(ND)
    config = load(f"{ND}:smoke").config
    task = _classifiers.make_task(config.tasks.narrow, seeded_images(config.tasks.narrow.data, False))
    train = data_of(experiment, jax.random.key(1))["train"]  # of the seed whose context it is
    vectors = task.teacher.apply(context["teacher"], train.image, return_features=True)[1][-1]
    for label in range(3):
        own = np.asarray(vectors)[np.asarray(train.label) == label].mean(0)
        np.testing.assert_allclose(context["means"][label], own, rtol=1e-4, atol=1e-5)


def test_a_projector_comes_with_a_feature_loss_between_different_widths():
    heads = {name: set(state.params) for name, state in _states(ND).items()}
    assert heads == {"kd": {"net"}, "kd_norm": {"net", "projector"}, "kd_nd": {"net", "projector"}}
    assert _states(ND)["kd_nd"].params["projector"]["params"]["classifier"]["kernel"].shape == (8, 16)


def _batch(path):
    experiment = _experiment(path)
    return experiment.draw(data_of(experiment, jax.random.key(2))["train"], jax.random.key(3))


def _stepped(path, arm, **changes):
    """Parameters before and after one step of `arm`, some of its settings changed, and the metrics."""
    experiment = _changed(path, arm, changes)
    update, begun = jax.jit(method(experiment, arm).learner.update), _begun(experiment, arm, path)
    state, metrics = update(begun, _batch(path), jax.random.key(4), _context(path))
    return begun.params, state.params, metrics


def _changed(path, arm, changes):
    config = load(f"{path}:smoke").config
    settings = config.tasks[TASK[path]].arms[arm]
    with settings.unlocked():
        settings.update(changes)
    return train_student.build(config)[TASK[path]]


def _begun(experiment, arm, path):
    return start(experiment, arm, jax.random.key(2), _context(path))


def test_alignment_changes_the_step_only_where_the_gradients_disagree():
    _, plain, metrics = _stepped(DHKD, "two_heads", weight=1.0)
    _, aligned, _ = _stepped(DHKD, "aligned", weight=1.0)
    same = jax.tree.map(lambda a, b: jnp.allclose(a, b, rtol=1e-4, atol=1e-6), plain, aligned)
    assert all(jax.tree.leaves(same)) == bool(metrics["body_agreement"] >= 0)


def test_one_head_with_two_gradients_steps_as_the_sum_of_the_losses():
    weights = {"weight": 0.5, "ce_weight": 1.0}
    begun, apart, _ = _stepped(DHKD, "one_head", **weights)
    same, together, _ = _stepped(DHKD, "one_head", method="binary_kl_norm", **weights)
    chex.assert_trees_all_equal(same, begun["net"])
    chex.assert_trees_all_close(together, apart["net"], atol=1e-5)


@pytest.mark.parametrize(
    ("path", "arm", "changes", "message"),
    [
        (
            DHKD,
            "one_head",
            {"method": "triple"},
            "arm one_head: method is 'triple': it must be one of ce, kd",
        ),
        (DHKD, "one_head", {"heads": 3}, "heads is 3: it must be 1 or 2"),
        (DHKD, "one_head", {"loss": "kl"}, "loss is 'kl': it must be one of ce, kd"),
        (ND, "kd_nd", {"feature_loss": "hint"}, "feature_loss is 'hint': it must be one of none, direction"),
        (ND, "kd_nd", {"warm_up": 20.0}, r"warm_up is 20.0: a fraction of the steps, it must be in \[0, 1\]"),
    ],
)
def test_settings_that_make_no_sense_are_named(path, arm, changes, message):
    with pytest.raises(ValueError, match=message):
        make_all({"": _changed(path, arm, changes)})


def test_settings_that_differ_in_numbers_alone_are_one_program():
    """DHKD's search: a program for each of its six arms."""
    assert compiled(train_student.build(load(f"{DHKD}:tune").config)) == {"hierarchy": 6}
