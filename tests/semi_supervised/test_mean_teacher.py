"""The learner with an averaged teacher: a step by hand, the warm-up, what is remembered, and what gets no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.semi_supervised import TeacherMemory, mean_teacher_learner
from jaxlab.training import Plan, fit


def _init(key, context):
    return jnp.zeros(()), {"seen": jnp.int32(0), "scale": jnp.ones(())}


def _loss(params, teacher, memory, batch, step, key, context):
    memory = memory | {"seen": memory["seen"] + 1}
    return memory["scale"] * (params - batch) ** 2, (memory, {"teacher": teacher, "step": jnp.float32(step)})


def _run(learner, batches):
    state, rows = learner.init(jax.random.key(0), {}), []
    update = jax.jit(learner.update)
    for batch in batches:
        state, metrics = update(state, jnp.float32(batch), jax.random.key(1), {})
        rows.append({name: float(value) for name, value in metrics.items()})
    return state, rows


def test_two_steps_by_hand():
    # Rate 1/2 on (p - b)^2 jumps to the batch: 4, then 8, then 0. The average has decay 0, 1/2, then 2/3 cut to 0.6:
    # 4, then 6, then 0.6 * 6 = 3.6. A loss sees the teacher of the step before.
    learner = mean_teacher_learner(_init, _loss, optax.sgd(0.5), decay=0.6)
    state, rows = _run(learner, [4, 8, 0])
    assert isinstance(state.memory, TeacherMemory)
    np.testing.assert_allclose(state.memory.teacher.value, 3.6, rtol=1e-6)
    assert [row["teacher"] for row in rows] == [0, 4, 6]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert [row["loss"] for row in rows] == [16, 16, 64]
    assert state.memory.own["seen"] == 3
    assert state.memory.own["scale"] == 1
    assert state.step == 3


def test_during_the_warm_up_the_teacher_is_the_student():
    learner = mean_teacher_learner(_init, _loss, optax.sgd(0.5), decay=0.9, warm_up=2)
    for steps, expected in ((1, 4.0), (2, 8.0), (3, 2.0), (4, 3.0)):
        # After it the mean of what followed: 2 alone, then 2 and 4.
        state, _ = _run(learner, [4, 8, 2, 4][:steps])
        np.testing.assert_allclose(state.memory.teacher.value, expected, rtol=1e-6)


def test_neither_teacher_nor_memory_gets_gradient():
    # The loss pulls the teacher and the scale as hard as the student; only the student may move.
    def loss(params, teacher, memory, batch, step, key, context):
        return (params - teacher * memory["scale"] - 1) ** 2, (memory, {})

    state, _ = _run(mean_teacher_learner(_init, loss, optax.sgd(0.5)), [0])
    assert (state.params, state.memory.own["scale"]) == (1, 1)


def test_the_engine_runs_it_over_seeds():
    learner = mean_teacher_learner(
        lambda key, context: (jax.random.normal(key), {}),
        lambda p, teacher, memory, batch, step, key, context: ((p - batch) ** 2, (memory, {})),
        optax.sgd(0.1),
    )
    done = fit(
        learner, data={"train": jnp.array(3.0)}, draw=lambda data, key: data, steps=60,
        plan=Plan(seeds=(0, 1), log_every=30),
    )  # fmt: skip
    np.testing.assert_allclose(done.state.params, [3.0, 3.0], atol=1e-3)
    # A plain mean lags: it still holds the way there.
    assert (np.abs(np.asarray(done.state.memory.teacher.value) - 3) > 1e-2).all()


@pytest.mark.parametrize(
    ("options", "message"), [({"decay": 1.5}, "decay must"), ({"warm_up": -1}, "warm_up is -1")]
)
def test_options_outside_their_range(options, message):
    with pytest.raises(ValueError, match=message):
        mean_teacher_learner(_init, _loss, optax.sgd(0.1), **options)
