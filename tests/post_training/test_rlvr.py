"""The whole iteration as one update: it learns what the verifier pays for, and its parts are the plain functions."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import post_training as pt
from jaxlab.language import Decoder, completion_hidden, output_matrix, token_log_probs
from jaxlab.post_training import PolicyState, Rollouts, rlvr_learner

EOS, PAYS = 2, 4
MODEL = Decoder(vocab_size=6, width=8, num_layers=1, num_heads=2, mlp_width=8)


class Problems(NamedTuple):
    prompts: jax.Array
    prompt_mask: jax.Array
    answers: jax.Array


PROBLEMS = Problems(
    jnp.array([[0, 3, 4], [3, 5, 3], [5, 5, 5], [0, 0, 3]]),
    jnp.array([[0, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 1]]),
    jnp.array([PAYS] * 4),
)


def _verify(problems, tokens, mask):
    return (tokens[:, 0] == problems.answers) & mask[:, 0]


def _loss(log_probs, rollouts, advantage):
    return pt.aggregate(pt.gpg_loss(log_probs, advantage), rollouts.mask), {
        "seen": jnp.float32(log_probs.shape[0])
    }


def _learner(**options):
    settings = {
        "policy": lambda context: MODEL.init(jax.random.key(0)),
        "verify": _verify,
        "advantage": lambda r: pt.grpo_advantage(r.rewards, r.group),
        "loss": _loss,
        "optimizer": optax.adam(0.03),
        "group_size": 8,
        "max_new_tokens": 2,
        "eos": EOS,
    }
    return rlvr_learner(MODEL, **settings | options)


def _train(learner, steps, seed=0):
    state = learner.init(jax.random.key(9), {})
    keys = jax.random.split(jax.random.key(seed), steps)
    return jax.jit(
        lambda state: jax.lax.scan(lambda s, key: learner.update(s, PROBLEMS, key, {}), state, keys)
    )(state)


def test_a_policy_learns_the_token_that_pays():
    state, metrics = _train(_learner(), 40)
    assert metrics["reward"][:3].mean() < 0.5
    assert metrics["reward"][-5:].mean() > 0.95
    assert isinstance(state, PolicyState)
    assert state.step == 40
    assert metrics["entropy"][-1] < metrics["entropy"][0]
    assert ((metrics["length"] >= 1) & (metrics["length"] <= 2)).all()


def test_minibatches_and_passes_see_whole_groups_and_learn_too():
    _, metrics = _train(_learner(minibatches=2, passes=2), 20)
    assert metrics["seen"].tolist() == [16.0] * 20  # two of four prompts
    assert metrics["reward"][-3:].mean() > metrics["reward"][:3].mean()


def test_several_ids_may_end_a_completion():
    _, metrics = _train(_learner(eos=tuple(range(6))), 1)
    assert metrics["length"].tolist() == [1.0]


def _score(shape, params, r):
    hidden = completion_hidden(shape, params, PROBLEMS.prompts, PROBLEMS.prompt_mask, r.tokens, r.mask)
    return token_log_probs(hidden, output_matrix(params), r.tokens)


def test_rollouts_say_what_was_sampled_and_what_the_teacher_thinks():
    teacher = Decoder(vocab_size=6, width=4, num_layers=1, num_heads=1, mlp_width=4)
    of_teacher = teacher.init(jax.random.key(3))
    tell = lambda log_probs, rollouts, advantage: (jnp.sum(log_probs), {"rollouts": rollouts})
    learner = _learner(loss=tell, teacher=(teacher, lambda context: context["teacher"]))
    context = {"teacher": of_teacher}
    state = learner.init(jax.random.key(9), context)._replace(step=jnp.int32(7))
    r = jax.jit(learner.update)(state, PROBLEMS, jax.random.key(1), context)[1]["rollouts"]
    assert isinstance(r, Rollouts)
    assert r.group.tolist() == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8
    assert r.step == 7
    np.testing.assert_array_equal(r.rewards, (r.tokens[:, 0] == PAYS).astype(float))
    for shape, params, got in (
        (MODEL, state.params, r.log_probs),
        (teacher, of_teacher, r.teacher_log_probs),
    ):
        expected = jax.jit(_score, static_argnums=0)(shape, params, r)
        np.testing.assert_allclose(got, jnp.where(r.mask, expected, 0.0), atol=1e-5)


def test_equal_rewards_change_nothing():
    learner = _learner(
        verify=lambda problems, tokens, mask: jnp.ones(tokens.shape[0]), optimizer=optax.sgd(1.0)
    )
    before = learner.init(jax.random.key(9), {})
    after, metrics = jax.jit(learner.update)(before, PROBLEMS, jax.random.key(1), {})
    chex.assert_trees_all_equal(before.params, after.params)
    assert metrics["reward"] == 1


def test_a_group_of_one_has_no_advantage_but_trains_with_a_baseline_of_its_own():
    plain = _learner(group_size=1, optimizer=optax.sgd(1.0))
    before = plain.init(jax.random.key(9), {})
    after, _ = jax.jit(plain.update)(before, PROBLEMS, jax.random.key(1), {})
    chex.assert_trees_all_equal(before.params, after.params)
    own = _learner(group_size=1, advantage=lambda r: r.rewards - 0.5, optimizer=optax.sgd(1.0))
    after, _ = jax.jit(own.update)(before, PROBLEMS, jax.random.key(1), {})
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params)))


@pytest.mark.parametrize("name", ["group_size", "minibatches", "passes", "microbatches"])
def test_sizes_below_one_are_named(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        _learner(**{name: 0})


def test_a_teacher_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocabulary has 7 tokens and the policy's 6"):
        _learner(teacher=(Decoder(vocab_size=7), lambda context: {}))


@pytest.mark.parametrize("minibatches", [1, 2])
def test_microbatches_change_memory_and_nothing_else(minibatches):
    """Also for a loss that is no mean over rows, and with a teacher, whose scores come in parts too."""
    teacher = Decoder(vocab_size=6, width=4, num_layers=1, num_heads=1, mlp_width=4)
    of_teacher = teacher.init(jax.random.key(3))

    def loss(log_probs, rollouts, advantage):
        ratio = pt.token_importance_ratio(log_probs, rollouts.log_probs, where=rollouts.mask)
        apart = log_probs - rollouts.teacher_log_probs
        tokens = pt.ppo_clip_loss(ratio, advantage, where=rollouts.mask) + apart**2 * rollouts.mask
        return jnp.sqrt(pt.aggregate(tokens, rollouts.mask, mode="token-mean") + 10.0), {}

    states, context = [], {"teacher": of_teacher}
    for parts in (1, 4 // minibatches):
        learner = _learner(
            loss=loss, teacher=(teacher, lambda context: context["teacher"]), optimizer=optax.sgd(1.0),
            minibatches=minibatches, microbatches=parts,
        )  # fmt: skip
        state = learner.init(jax.random.key(9), context)
        states.append(jax.jit(learner.update)(state, PROBLEMS, jax.random.key(1), context)[0].params)
    for one, other in zip(*map(jax.tree.leaves, states)):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(*map(jax.tree.leaves, (states[0], state.params))))


def test_a_loss_without_metrics_says_what_to_write():
    learner = _learner(loss=lambda log_probs, rollouts, advantage: log_probs.mean())
    line = r"^loss returns a scalar: it must return \(scalar, metrics\), without metrics \(scalar, \{\}\)"
    with pytest.raises(ValueError, match=line):
        jax.eval_shape(learner.update, learner.init(jax.random.key(9), {}), PROBLEMS, jax.random.key(1), {})


@pytest.mark.parametrize("name", ["minibatches", "microbatches"])
def test_parts_must_divide_the_prompts(name):
    learner = _learner(**{name: 3})
    with pytest.raises(ValueError, match=f"{name} is 3: it must divide the 4 prompts"):
        jax.eval_shape(learner.update, learner.init(jax.random.key(9), {}), PROBLEMS, jax.random.key(1), {})
