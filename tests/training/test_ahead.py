"""Arms compile in the background while others train: once each, from shapes alone, and only those with steps left."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.stages import Lowered

from jaxlab.core import Learner, computed
from jaxlab.training import Arm, Workdir, fit, trial
from jaxlab.training._ahead import Programs
from jaxlab.training._program import CompiledProgram
from jaxlab.training.run import PreemptedRun, run
from tests.training import toy


def counted(traces: list, name: str, rate: float = 0.1) -> Learner:
    """The toy's learner, which notes when it is traced."""
    base = toy.learner(rate)

    def update(state, batch, key, context):
        traces.append(name)
        return base.update(state, batch, key, context)

    return Learner(base.init, update)


def go(folder, experiment, **kwargs):
    workdir = Workdir(folder, {"toy": 1})
    with workdir.opened():
        return run({"": experiment}, toy.plan(), workdir, **kwargs)


def test_every_arm_is_traced_once_and_a_finished_one_never(tmp_path):
    traces = []
    arms = {name: Arm(counted(traces, name), steps=60) for name in ("first", "second")}
    result = go(tmp_path, toy.experiment(**arms))
    assert sorted(traces) == ["first", "second"]
    again = go(tmp_path, toy.experiment(**arms))
    assert sorted(traces) == ["first", "second"]
    assert again["arms"] == result["arms"]


def test_it_changes_no_number(tmp_path):
    """25 steps in chunks of 10 end with a shorter one, which nobody compiled ahead."""
    traces = []
    result = go(
        tmp_path,
        toy.experiment(only=Arm(counted(traces, "only"), steps=25), other=Arm(toy.learner(), steps=10)),
    )
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


def test_what_fails_to_trace_fails_as_itself_before_the_first_step(tmp_path):
    def update(state, batch, key, context):
        raise ValueError("rows is 7: it must be even")

    broken = Learner(toy.learner().init, update)
    with pytest.raises(ValueError, match="rows is 7: it must be even"):
        go(tmp_path, toy.experiment(sound=Arm(toy.learner(), steps=20), broken=Arm(broken, steps=20)))
    assert not (tmp_path / "checkpoints").exists()


def test_a_stop_does_not_wait_for_arms_that_will_not_run(tmp_path, monkeypatch):
    """What is being compiled ends, what waits for a thread is forgotten."""
    stopped, compiled, compile_one = threading.Event(), [], CompiledProgram._compile

    def slow(self, key):
        if self.group.names[0].startswith("late"):
            stopped.wait(60)
            compiled.append(1)
        return compile_one(self, key)

    monkeypatch.setattr(CompiledProgram, "_compile", slow)
    arms = {"first": Arm(toy.learner(), steps=60)} | {
        f"late{n}": Arm(toy.learner(), steps=60) for n in range(8)
    }
    with pytest.raises(PreemptedRun, match="step 10 of first"):
        go(tmp_path, toy.experiment(**arms), stop=lambda: stopped.set() or True)
    assert len(compiled) < 3 * 8


def test_arms_compile_before_the_stage_that_they_begin_from_has_trained():
    base = toy.learner()

    def begin(key, context):
        return base.init(key, context)._replace(params=context["warm"])

    experiment = dataclasses.replace(
        toy.experiment(only=Arm(Learner(begin, base.update), steps=20), other=Arm(base, steps=20)),
        prepare={"warm": Arm(base, steps=20, export=toy.params_of)},
    )
    programs = Programs({"": experiment}, toy.plan())
    try:
        program, data = programs.take("only"), programs.data[""]
        context = program.place_context({"warm": {"w": jnp.ones((3, 4))}})
        train = program.place_data(data)["train"]
        state = program.init(context, train)
        state, trace = program.advance(state, context, train, 0, 10)
    finally:
        programs.close()
    assert trace["loss"].shape == (3, 1, 10)
    assert jax.tree.leaves(state)[0].shape[0] == 3


def test_arms_that_start_alike_share_the_program_that_does_so(monkeypatch):
    """And others do not, though they differ in a constant alone."""
    base = toy.learner()
    noise = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)

    def elsewhere(number):
        begin = lambda key, context: base.init(key, context)._replace(
            params={"w": jnp.asarray(noise[number])}
        )
        return Arm(Learner(begin, base.update), steps=20)

    compiled, compile_one = [], Lowered.compile
    monkeypatch.setattr(
        Lowered,
        "compile",
        lambda self, *args, **options: compiled.append(self.as_text()) or compile_one(self, *args, **options),
    )
    arms = {f"adam{rate}": Arm(toy.learner(rate), steps=20) for rate in (0.1, 0.2)} | {
        "at0": elsewhere(0),
        "at1": elsewhere(1),
    }
    programs = Programs({"": toy.experiment(**arms)}, toy.plan())
    try:
        taken = {name: programs.take(name) for name in arms}
        train = next(iter(taken.values())).place_data(programs.data[""])["train"]
        starts = {name: program.init({}, train).params["w"] for name, program in taken.items()}
    finally:
        programs.close()
    assert sum("module @jit_init" in text for text in compiled) == 3
    np.testing.assert_array_equal(starts["adam0.1"], starts["adam0.2"])
    for number in range(2):
        np.testing.assert_array_equal(starts[f"at{number}"][0], noise[number])


def test_tasks_of_other_sizes_start_by_programs_of_their_own(tmp_path):
    """The state of step 0 does not look at the data, but is called with them."""
    whole = toy.experiment(first=Arm(toy.learner(), steps=20), second=Arm(toy.learner(0.1), steps=20))
    half = dataclasses.replace(
        whole,
        data={name: jax.tree.map(lambda x: x[: len(x) // 2], split) for name, split in whole.data.items()},
    )
    workdir = Workdir(tmp_path, {"toy": 1})
    with workdir.opened():
        result = run({"whole": whole, "half": half}, toy.plan(), workdir)
    assert set(result["arms"]) == {"whole/first", "whole/second", "half/first", "half/second"}


def test_a_trial_says_what_there_is_and_trains_nothing():
    experiment = dataclasses.replace(
        toy.experiment(
            first=toy.arm(0.1),
            second=toy.arm(0.2),
            solved=Arm(computed(lambda k, c, train: {"w": train[0][0]})),
        ),
        claims=(),
        evaluate=lambda state, split, context: {"mse": toy.mse(getattr(state, "params", state), split)},
        summarise=lambda history: {"best": history["val/mse"].min(axis=0)},
    )
    found = trial(experiment, toy.plan())
    assert set(found) == {"first", "second", "solved"}
    assert all(metrics == {"val/mse", "test/mse", "best"} for metrics in found.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "test/msee"}, "fast has no metric 'test/msee', it has"),
        ({"arm": "fats"}, "speaks of 'fats': the arms are fast, slow"),
        ({"needs": ("roomy",)}, "needs 'roomy': there is no premise or room claim"),
    ],
)
def test_a_misspelt_claim_is_refused_before_the_first_step(tmp_path, changes, message):
    (claim,) = toy.experiment().claims
    wrong = lambda: dataclasses.replace(toy.experiment(), claims=(dataclasses.replace(claim, **changes),))
    with pytest.raises(ValueError, match=message):
        go(tmp_path, wrong())
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda s, b, k, c: (s[:1], {"loss": 0.0}), r"is int32\[\] before and absent after"),
        (
            lambda s, b, k, c: ((s[0].astype("bfloat16"), s[1]), {"loss": 0.0}),
            r"float32\[2\] before and bfloat16\[2\] after",
        ),
        (lambda s, b, k, c: (s, {"loss": s[0]}), r"metric 'loss' has the shape \(2,\): metrics are scalars"),
    ],
)
def test_what_does_not_fit_together_is_one_line(update, message):
    learner = Learner(lambda key, context: (jnp.zeros(2), jnp.int32(0)), update)
    evaluate = lambda state, split, context: {"mse": 0.0}
    with pytest.raises(ValueError, match=message):
        trial(toy.experiment(fast=Arm(learner, steps=10, evaluate=evaluate)), toy.plan())


GENERATOR = np.random.default_rng(0)
FIXED = np.arange(8.0, dtype=np.float32)


def by_numpy(train, key):
    """A batch from a generator of the host: traced once, the same for ever."""
    rows = GENERATOR.integers(0, 400, 8)
    return train[0][rows], train[1][rows]


def by_slice(train, key):
    """The same with numbers that no array holds."""
    row = int(GENERATOR.integers(0, 100))
    return train[0][row : row + 8], train[1][row : row + 8]


def from_outside(train, key):
    """A loader of one's own: an array that neither the data nor the key decides."""
    return toy.draw(train, key)[0], jnp.asarray(FIXED)


def whole(train, key):
    """All rows, and a mask that is the same at every step: a full-batch method."""
    return train[0], train[1] + 0 * jnp.ones(len(train[1]))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (by_numpy, "draw takes other numbers from outside each time: it is traced once"),
        (by_slice, "draw takes other numbers from outside each time: it is traced once"),
        (from_outside, r"draw: the batch\[1\] depends on neither the data nor the key"),
    ],
)
def test_a_batch_that_would_never_change_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        trial(dataclasses.replace(toy.experiment(fast=toy.arm(), slow=toy.arm(0.2)), draw=draw), toy.plan())
    with pytest.raises(ValueError, match=message):
        fit(toy.learner(), data=toy.data(), draw=draw, steps=4, plan=toy.plan())


def test_full_batches_are_no_mistake():
    assert trial(
        dataclasses.replace(toy.experiment(fast=toy.arm(), slow=toy.arm(0.2)), draw=whole), toy.plan()
    )


def test_arms_that_start_from_different_stages_do_not_share_a_program():
    """The stages are of one size, so that only which argument is read tells the programs apart."""
    base = toy.learner()

    def from_stage(name):
        begin = lambda key, context: base.init(key, context)._replace(params=context[name])
        return Arm(Learner(begin, base.update), steps=20)

    stage = Arm(base, steps=20, export=toy.params_of)
    experiment = dataclasses.replace(
        toy.experiment(**{f"from_{name}": from_stage(name) for name in ("one", "two")}),
        prepare={"one": stage, "two": stage},
    )
    programs = Programs({"": experiment}, toy.plan())
    try:
        for number, name in enumerate(("one", "two")):
            program, data = programs.take(f"from_{name}"), programs.data[""]
            left = {"one": {"w": jnp.full((3, 4), 0.0)}, "two": {"w": jnp.full((3, 4), 1.0)}}
            started = program.init(program.place_context(left), program.place_data(data)["train"])
            np.testing.assert_array_equal(started.params["w"], np.full((3, 4), number))
    finally:
        programs.close()
