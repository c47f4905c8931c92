"""Arms compile in the background while others train: once each, from shapes alone, and only those with steps left."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import Learner
from jaxlab.training import Arm, Workdir, fit
from jaxlab.training._ahead import Programs
from jaxlab.training.run import PreemptedRun, run
from tests.training import toy


def counted(traces: list, name: str, rate: float = 0.1) -> Learner:
    """The toy's learner, which notes when it is traced."""
    base = toy.learner(rate)

    def update(state, batch, key):
        traces.append(name)
        return base.update(state, batch, key)

    return Learner(base.init, update)


def go(folder, experiment, **kwargs):
    workdir = Workdir(folder, {"toy": 1})
    with workdir.opened():
        return run({"": experiment}, toy.plan(), workdir, **kwargs)


def test_every_arm_is_traced_once_and_a_finished_one_never(tmp_path):
    traces = []
    arms = {name: Arm(counted(traces, name), 60) for name in ("first", "second")}
    result = go(tmp_path, toy.experiment(**arms))
    assert sorted(traces) == ["first", "second"]
    again = go(tmp_path, toy.experiment(**arms))
    assert sorted(traces) == ["first", "second"]
    assert again["arms"] == result["arms"]


def test_it_changes_no_number(tmp_path):
    """25 steps in chunks of 10 end with a shorter one, which nobody compiled ahead."""
    traces = []
    result = go(tmp_path, toy.experiment(only=Arm(counted(traces, "only"), 25), other=Arm(toy.learner(), 10)))
    assert traces == ["only"] * 2
    alone = fit(
        toy.learner(0.1),
        data=toy.data(),
        draw=toy.draw,
        steps=25,
        plan=toy.plan(),
        evaluate=toy.evaluate,
    )
    np.testing.assert_array_equal(result["arms"]["only"]["metrics"]["test/mse"], alone.final["test/mse"])


def test_what_fails_to_trace_fails_at_its_arm_as_itself(tmp_path):
    def update(state, batch, key):
        raise ValueError("rows is 7: it must be even")

    broken = Learner(toy.learner().init, update)
    with pytest.raises(ValueError, match="rows is 7: it must be even"):
        go(tmp_path, toy.experiment(sound=Arm(toy.learner(), 20), broken=Arm(broken, 20)))
    assert (tmp_path / "checkpoints" / "sound" / "20").is_dir()


def test_a_stop_does_not_wait_for_arms_that_will_not_run(tmp_path):
    """What is being compiled ends, what waits for a thread is forgotten."""
    stopped, traced = threading.Event(), []
    base = toy.learner()

    def late(state, batch, key):
        stopped.wait(60)
        traced.append(1)
        return base.update(state, batch, key)

    arms = {"first": Arm(base, 60)} | {f"late{n}": Arm(Learner(base.init, late), 60) for n in range(40)}
    with pytest.raises(PreemptedRun, match="step 10 of first"):
        go(tmp_path, toy.experiment(**arms), stop=lambda: stopped.set() or True)
    assert len(traced) < 40


def test_arms_compile_before_the_stage_that_they_begin_from_has_trained():
    base = toy.learner()

    def begin(key, context):
        return base.init(key, context)._replace(params=context["warm"])

    experiment = dataclasses.replace(
        toy.experiment(only=Arm(Learner(begin, base.update), 20), other=Arm(base, 20)),
        prepare={"warm": Arm(base, 20, export=toy.params_of)},
    )
    asked = []
    programs = Programs({"": experiment}, toy.plan(), lambda name, steps: asked.append((name, steps)) or True)
    try:
        assert asked == [("warm", 20), ("only", 20), ("other", 20)]
        program = programs.take("only")
        context = program.place_by_seed({"warm": {"w": jnp.ones((3, 4))}})
        state = program.init(context)
        data = program.place(toy.data()["train"])
        state, trace = program.advance(state, data, 0, 10)
    finally:
        programs.close()
    assert trace["loss"].shape == (3, 10)
    assert jax.tree.leaves(state)[0].shape[0] == 3
