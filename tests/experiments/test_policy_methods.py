"""What methods of policies do to a batch: which policy samples, who is helped, what is posed, what is remembered."""

import functools

import jax
import numpy as np
import pytest

from experiments._config import load
from experiments.post_training import train_policy
from jaxlab.core import InputError
from tests.experiments.arms import method, programs, start, untrained
from tests.experiments.command import changed

FOLDER = "configs/post_training"


@functools.cache
def _run(config, arm, steps=3, **changes):
    """States and metrics of the first steps of an arm at smoke size, from the untrained start, and its context."""
    experiment = train_policy.build(changed(f"{FOLDER}/{config}.py", **changes))
    key = jax.random.key(0)
    context = untrained(experiment, key)
    learner, state = method(experiment, arm).learner, start(experiment, arm, key, context)

    @jax.jit
    def step(state, key):
        batch = experiment.draw(experiment.data["train"], key)
        return learner.update(state, batch, key, context)

    states, metrics = [state], []
    for number in range(steps):
        state, told = step(state, jax.random.fold_in(key, number))
        states.append(state)
        metrics.append({name: float(value) for name, value in told.items()})
    return states, metrics, context


def test_an_old_sampler_is_the_policy_of_so_many_steps_ago():
    states, metrics, _ = _run(
        "mismatch", "old_none", arms__old_none__sampler__age=2, arms__old_none__learning_rate=0.1
    )
    past, step = states[-1].memory["past"], 3
    for back in range(3):  # the policy after step 3, 2 and 1
        slot = jax.tree.map(lambda x, back=back: x[(step - back) % 3], past)
        jax.tree.map(np.testing.assert_array_equal, slot, states[step - back].params)
    gaps = [row["mismatch_mean"] for row in metrics]
    assert gaps[0] < 1e-5 < 1e-3 < gaps[1]  # the first batch is the start's own
    assert states[-1].memory["told"]["mismatch"] > 1e-3


@pytest.mark.parametrize(
    "config", ["sec", "d3s", "nft", "mismatch", "ampo", "thinktuning", "multi_domain_rl"]
)
def test_numbers_alone_make_no_program(config):
    built = train_policy.build(load(f"{FOLDER}/{config}.py:tune").config)
    arms, count = programs(built)[""]
    default = train_policy.build(load(f"{FOLDER}/{config}.py").config)
    assert count == programs(default)[""][1] < arms


def test_a_failed_group_is_helped_by_one_answer_that_is_right():
    """An untrained policy fails, so that nearly every group gets a teacher's answer."""
    states, metrics, _ = _run("ampo", "ampo")
    told = states[-1].memory["told"]
    assert told["early_failed"] > 0.5
    np.testing.assert_allclose(
        told["early_guided"], told["early_failed"] / 4, rtol=1e-5
    )  # one of a group of four
    assert metrics[0]["reward"] < 0.2


def test_a_tutor_makes_answers_right_that_were_wrong():
    states, metrics, _ = _run("thinktuning", "thinktuning", arms__thinktuning__tutor_error=0.0)
    # A quarter of the answers is read; untrained policies are hardly ever right, and never reconsider.
    assert metrics[0]["reward"] < 0.2
    assert all(np.isfinite(list(row.values())).all() for row in metrics)
    assert states[-1].step == 3


def test_a_bandit_learns_from_the_levels_that_it_has_posed():
    states, _, _ = _run("sec", "sec")
    values = np.asarray(states[-1].memory["values"])
    assert values.shape == (2,)
    assert (values >= 0).all()
    told = states[-1].memory["told"]
    assert 2 <= float(told["early_level"]) <= 3


def test_arms_with_fewer_steps_and_turns_of_their_own():
    built = train_policy.build(load(f"{FOLDER}/adcl_egsr.py").config)
    assert {name: arm.steps for name, arm in built.arms.items()} | {"adcl": 125} == {
        name: 125 if name == "adcl" else 150 for name in built.arms
    }
    assert built.arms["adcl"].turn.at == (25, 50, 75, 100)
    assert built.arms["pcl"].turn is None


def test_guides_need_a_task_that_writes_solutions():
    config = changed(f"{FOLDER}/ampo.py")
    with config.unlocked():
        config.task.name = "sorting"
        del config.task["options"]
    with pytest.raises(InputError, match="the task is 'sorting': a guide needs one that writes solutions"):
        train_policy.build(config)
