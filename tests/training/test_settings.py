"""Settings as an axis: one program for arms that differ in numbers, one checkpoint for each of them."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.core import Learner, gradient_learner, until
from jaxlab.training import Arm, Experiment, Workdir
from jaxlab.training._method import Settings, groups_of
from jaxlab.training._placed import Layout, PlacedData
from jaxlab.training._program import make_program
from jaxlab.training.loop import Lane, train
from jaxlab.training.mesh import make_mesh
from jaxlab.training.metrics import read_rows
from jaxlab.training.run import PreemptedRun, run
from tests.training import toy

RATES = {"slow": 0.003, "middle": 0.03, "fast": 0.1}


def go(folder, experiment, plan=None, **kwargs):
    workdir = Workdir(folder, {"toy": 1})
    with workdir.opened():
        return run({"": experiment}, plan or toy.plan(), workdir, **kwargs)


def finals(result):
    return {name: np.asarray(facts["metrics"]["test/mse"]) for name, facts in result["arms"].items()}


def trained(experiment, plan=None):
    """What `run` would find for the arms of each group, without a folder: the last evaluation by arm."""
    plan, found = plan or toy.plan(), {}
    data = PlacedData(experiment.data, plan.seeds)
    for group in groups_of(experiment):
        lanes = [Lane() for _ in group.names]
        ends = train(make_program(group, plan), lanes, experiment, plan, data=data)
        assert all(np.shape(row["train/loss"]) == (len(plan.seeds),) for lane in lanes for row in lane.rows)
        found |= {name: end.final["test/mse"] for name, end in zip(group.names, ends)}
    return found


def three(**options):
    return toy.experiment(**{name: toy.arm(rate, **options) for name, rate in RATES.items()})


def alone(rate):
    """The same arm as a learner of its own, which nothing shares a program with."""
    return Arm(toy.method(Settings(rate=rate, shrink=0.0, nan_at=0.0)), steps=60)


def test_what_shares_a_program():
    names = lambda **arms: [group.names for group in groups_of(toy.experiment(**arms))]
    assert names(a=toy.arm(0.1), b=toy.arm(0.2), c=toy.arm(0.1, shrink=0.5)) == [("a", "b", "c")]
    assert names(a=toy.arm(0.1), b=toy.arm(0.2, steps=50)) == [("a",), ("b",)]
    assert names(a=toy.arm(0.1), b=toy.arm(0.2, static=("rate",))) == [("a",), ("b",)]
    assert names(a=toy.arm(0.1), b=alone(0.1)) == [("a",), ("b",)]
    whole, none = toy.arm(0.1, shrink=1), toy.arm(0.1, shrink=None)
    assert names(a=toy.arm(0.1), b=whole, c=none, d=toy.arm(0.3)) == [("a", "d"), ("b",), ("c",)]
    assert names(a=toy.arm(0.1), b=toy.arm(0.2, evaluate=toy.evaluate)) == [("a",), ("b",)]


def test_one_program_gives_what_each_arm_gives_alone():
    together, apart = (
        trained(three()),
        trained(toy.experiment(**{name: alone(rate) for name, rate in RATES.items()})),
    )
    for name in RATES:
        np.testing.assert_allclose(together[name], apart[name], rtol=1e-5)
    assert len({round(float(value.mean()), 6) for value in together.values()}) == 3


def test_it_is_traced_once_and_twice_with_the_numbers_at_their_ends(tmp_path):
    seen = []

    def method(settings):
        learner = toy.method(settings)

        def update(state, batch, key, context):
            seen.append(settings.rate)
            return learner.update(state, batch, key, context)

        return Learner(learner.init, update)

    arms = {name: dataclasses.replace(toy.arm(rate), method=method) for name, rate in RATES.items()}
    go(tmp_path, toy.experiment(**arms))
    assert seen[:2] == [0.003, 0.1]
    assert len(seen) == 3
    assert isinstance(seen[2], jax.core.Tracer)


def test_a_check_of_values_sees_every_setting(tmp_path):
    def method(settings):
        if not isinstance(settings.rate, jax.Array) and settings.rate <= 0:
            raise ValueError(f"rate is {settings.rate}: it must be above 0")
        return toy.method(settings)

    arms = {
        name: dataclasses.replace(toy.arm(rate), method=method)
        for name, rate in {"a": 0.1, "b": -1.0}.items()
    }
    with pytest.raises(ValueError, match=r"rate is -1.0: it must be above 0"):
        go(tmp_path, toy.experiment(**arms))


@pytest.mark.parametrize(
    ("changes", "by_settings"),
    [
        ({"seeds_by": "map"}, False),
        ({"seeds_by": "map", "settings_by": "vmap", "mesh": {"seed": 3}}, False),
        ({"mesh": {"seed": 2, "data": 2}}, True),
        ({"mesh": {"seed": 8}, "settings_by": "map"}, True),
    ],
)
def test_devices_and_mappings_do_not_matter(changes, by_settings):
    """Three seeds on two devices: the three settings are spread instead, and one lane is padding."""
    plan = toy.plan(**changes)
    assert Layout.of(make_mesh(plan.mesh), plan.seeds, 3).by_settings == by_settings
    expected, found = trained(three()), trained(three(), plan)
    for name in RATES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize("devices", [2, 4])
def test_seeds_that_the_devices_do_not_divide_are_padded(devices):
    """Five seeds of one arm: nothing of the padding is logged, evaluated or returned."""
    seeds, experiment = (0, 1, 2, 5, 9), toy.experiment(only=alone(0.1))
    expected = trained(experiment, toy.plan(seeds=seeds))["only"]
    found = trained(experiment, toy.plan(seeds=seeds, mesh={"seed": devices}))["only"]
    assert found.shape == (5,)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_stopping_anywhere_changes_no_bit(tmp_path):
    """One arm of the group diverges on the way; the run is stopped after every chunk."""
    experiment = toy.experiment(
        slow=toy.arm(0.003, steps=40),
        broken=toy.arm(0.03, nan_at=13.0, steps=40),
        fast=toy.arm(0.1, steps=40),
    )
    plan = toy.plan(checkpoint_every=20)
    expected = go(tmp_path / "straight", experiment, plan)
    assert expected["arms"]["broken"]["diverged"] == {"step": 13, "seed": 0, "metric": "loss"}
    stops = 0
    while True:
        asked = iter(range(100))
        try:
            found = go(tmp_path / "stopped", experiment, plan, stop=lambda: next(asked) == 0)  # noqa: B023
            break
        except PreemptedRun:
            stops += 1
    assert stops == 3
    assert found["arms"] == expected["arms"]
    for arm in experiment.arms:
        straight, stopped = (
            [row for row in read_rows(tmp_path / folder / "metrics.jsonl") if row["arm"] == arm]
            for folder in ("straight", "stopped")
        )
        assert straight == stopped


def test_a_lane_that_diverges_leaves_the_others_as_they_are(tmp_path):
    make = lambda nan_at: toy.experiment(
        slow=toy.arm(0.003, steps=20),
        middle=toy.arm(0.03, nan_at=nan_at, steps=20),
        fast=toy.arm(0.1, nan_at=1e9, steps=20),
    )
    broken, sound = go(tmp_path / "a", make(5.0)), go(tmp_path / "b", make(1e8))
    assert "diverged" in broken["arms"]["middle"]
    for name in ("slow", "fast"):
        assert broken["arms"][name] == sound["arms"][name]


@pytest.mark.parametrize("lost", [("slow",), ("slow", "middle"), ("slow", "middle", "fast")])
def test_killed_between_the_saves_of_one_step(tmp_path, lost):
    """Some arms of the group have their last checkpoint, others only the one before: all go on from that one."""
    expected = go(tmp_path, three())
    for name in lost:
        shutil.rmtree(tmp_path / "checkpoints" / name / "60")
    again = go(tmp_path, three())
    assert again["arms"] == expected["arms"]


def test_another_arm_trains_alone(tmp_path):
    """Arms that are done are not trained again beside a new one, and keep their numbers."""
    two = toy.experiment(slow=toy.arm(0.003), fast=toy.arm(0.1))
    before = go(tmp_path, two)
    kept = (tmp_path / "checkpoints" / "slow" / "60").stat().st_mtime_ns
    after = go(tmp_path, three())
    assert (tmp_path / "checkpoints" / "slow" / "60").stat().st_mtime_ns == kept
    assert {name: after["arms"][name] for name in ("slow", "fast")} == before["arms"]
    np.testing.assert_allclose(finals(after)["middle"], trained(three())["middle"], rtol=1e-5)


def test_traced_numbers_promote_as_python_numbers_do(tmp_path):
    """Half-precision parameters stay so when the rate is an axis."""

    def method(settings):
        loss = lambda p, memory, batch, step, key, context: (
            jnp.sum((p - 1) ** 2).astype(jnp.float32),
            (memory, {}),
        )
        start = lambda key, context: (jnp.zeros(2, jnp.bfloat16), None)
        return gradient_learner(start, loss, optax.sgd(settings.rate))

    evaluate = lambda state, split, context: {
        "mse": jnp.sum(state.params),
        "half": state.params.dtype == jnp.bfloat16,
    }
    arms = {name: Arm(method, {"rate": rate}, steps=20, evaluate=evaluate) for name, rate in RATES.items()}
    result = go(tmp_path, toy.experiment(**arms))
    assert result["arms"]["fast"]["metrics"]["test/half"] == [1.0, 1.0, 1.0]
    assert result["arms"]["fast"]["metrics"]["test/mse"][0] > 1.9


def test_a_method_may_bring_its_evaluation():
    def method(settings):
        learner = toy.method(settings)
        return learner, lambda state, split, context: {"mse": settings.rate * jnp.ones(())}, None

    arms = {name: dataclasses.replace(toy.arm(rate), method=method) for name, rate in RATES.items()}
    found = trained(toy.experiment(**arms))
    for name, rate in RATES.items():
        np.testing.assert_allclose(found[name], rate, rtol=1e-6)


def test_nested_settings_are_read_by_name():
    def method(settings):
        assert settings.options.kind == "plain"
        assert settings["options"]["kind"] == "plain"
        with pytest.raises(AttributeError, match="no setting 'wrong': there are options"):
            _ = settings.wrong
        return toy.method(Settings(rate=settings.options.rate, shrink=0.0, nan_at=0.0))

    arms = {
        name: Arm(method, {"options": {"rate": rate, "kind": "plain"}}, steps=60)
        for name, rate in RATES.items()
    }
    assert [group.names for group in groups_of(toy.experiment(**arms))] == [tuple(RATES)]
    expected = trained(three())
    for name, value in trained(toy.experiment(**arms)).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6)


def test_settings_end_together():
    """A target that one setting meets at the third step and another at the thirtieth, in chunks of ten."""

    def method(settings):
        count = Learner(lambda key, context: jnp.float32(0), lambda x, *_: (x + 1, {"loss": x + 1}))
        return until(count, lambda running: running["loss"] >= settings.target, ("loss",), decay=0.0)

    arms = {str(target): Arm(method, {"target": target}, steps=500) for target in (3.0, 30.0)}
    experiment = Experiment(
        {"train": jnp.zeros(1), "test": jnp.zeros(1)},
        arms=arms,
        evaluate=lambda state, *_: {"at": state.inner},
    )
    (group,), plan = groups_of(experiment), toy.plan()
    lanes = [Lane() for _ in arms]
    ends = train(
        make_program(group, plan), lanes, experiment, plan, data=PlacedData(experiment.data, plan.seeds)
    )
    assert [[row["step"] for row in lane.rows] for lane in lanes] == [[10, 20, 500]] * 2
    assert [end.final["test/at"].tolist() for end in ends] == [[3.0] * 3, [30.0] * 3]
