"""The slots of both learners: empty they change no number, filled each is told what it needs and does what it says."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError, masked_mean
from jaxlab.post_training import completion_scores, completion_texts, roll_out
from tests.post_training.test_rlvr import EOS, MODEL, PAYS, PROBLEMS, Decoder, _learner, _verify
from tests.post_training.test_text_learner import PROBLEMS as TEXTS
from tests.post_training.test_text_learner import TOKENIZER
from tests.post_training.test_text_learner import _learner as _text_learner

GROUP, SAMPLING = 8, {"max_new_tokens": 2, "eos": EOS, "stop_early": False, "segment": 32}
TEACHER = Decoder(vocab_size=6, width=4, num_layers=1, num_heads=1, mlp_width=4)


def _judge(state, problems, rollouts, context):
    rewards = _verify(problems, rollouts.tokens, rollouts.mask).astype(jnp.float32)
    return rollouts._replace(rewards=rewards)


SAME = {
    "memory": lambda context: (),
    "generate": lambda state, problems, key, context: roll_out(
        MODEL, state.params, problems, key, step=state.step, group_size=GROUP, **SAMPLING
    ),
    "judge": _judge, "verify": None,
    "remember": lambda state, problems, rollouts, advantage, context: state.memory,
}  # fmt: skip


def _clipped(log_probs, r, advantage):
    ratio = pt.token_importance_ratio(log_probs, r.log_probs, where=r.mask)
    apart = (log_probs - r.teacher_log_probs) ** 2 * r.mask
    return pt.aggregate(pt.ppo_clip_loss(ratio, advantage, where=r.mask) + 0.01 * apart, r.mask), {}


def _steps(learner, count=3, context=None):
    context = context or {}
    state, update = learner.init(jax.random.key(9), context), jax.jit(learner.update)
    for step in range(count):
        state, metrics = update(state, PROBLEMS, jax.random.key(step), context)
    return state, metrics


SETTINGS = {
    "loss": _clipped, "minibatches": 2, "passes": 2, "teacher": (TEACHER, lambda context: context["teacher"]),
}  # fmt: skip


def test_empty_slots_leave_the_numbers_that_were_there_before_them():
    """Those of the third step of a learner that had no slots."""
    state, metrics = _steps(_learner(**SETTINGS), 3, {"teacher": TEACHER.init(jax.random.key(3))})
    before = {"entropy": 1.701262, "length": 1.84375, "loss": -0.134882, "reward": 0.375}
    for name, value in before.items():
        np.testing.assert_allclose(metrics[name], value, atol=1e-5)
    assert state.memory == ()


def test_slots_that_do_what_is_done_without_them_are_the_same_program():
    """But for `pose` and `revise`, which have a key made for them."""
    context = {"teacher": TEACHER.init(jax.random.key(3))}

    def program(**slots):
        learner = _learner(**SETTINGS, **slots)
        state = jax.eval_shape(lambda: learner.init(jax.random.key(9), context))
        return str(jax.make_jaxpr(learner.update)(state, PROBLEMS, jax.random.key(0), context))

    assert re.sub("0x[0-9a-f]+", "", program(**SAME)) == re.sub("0x[0-9a-f]+", "", program())


def test_what_is_injected_is_learned_and_not_counted_as_the_policys_own():
    """Nobody is ever paid, but a right answer stands in for the first of each group."""
    answer = jnp.array([PAYS, EOS])

    def revise(state, problems, r, key, context):
        assert problems.prompts.shape == (4, 3)
        tokens = jnp.broadcast_to(answer, (4, 1, 2))
        r, injected = pt.inject(r, tokens, tokens > 0, jnp.ones((4, 1)), context["take"])
        log_probs = completion_scores(MODEL, state.params, r, temperature=1.0)
        return r._replace(
            log_probs=jnp.where(r.mask, log_probs, 0), trained=r.trained & injected[:, None],
            extra={"injected": injected, "prompt": jnp.arange(4), "share": jnp.mean(injected)},
        )  # fmt: skip

    def loss(log_probs, r, advantage):
        ratio = pt.token_importance_ratio(log_probs, r.log_probs, where=r.mask)
        told = {
            "injected": jnp.sum(r.extra["injected"]), "trained": jnp.sum(r.trained), "share": r.extra["share"],
            "prompts": r.extra["prompt"].size, "likely": masked_mean(log_probs, where=r.trained),
        }  # fmt: skip
        told = {name: jnp.asarray(value, jnp.float32) for name, value in told.items()}
        return pt.aggregate(pt.ppo_clip_loss(ratio, advantage, where=r.mask), r.trained), told

    learner = _learner(
        verify=lambda problems, tokens, mask: jnp.zeros(tokens.shape[0]),
        revise=revise,
        loss=loss,
        minibatches=2,
    )
    context = {"take": jnp.ones((4, 1), bool)}
    state, update = learner.init(jax.random.key(9), context), jax.jit(learner.update)
    likely = []
    for step in range(8):
        state, metrics = update(state, PROBLEMS, jax.random.key(step), context)
        likely.append(float(metrics["likely"]))
    expected = {"reward": 0.0, "injected": 2.0, "trained": 4.0, "prompts": 2.0, "share": 4 / 32}
    assert {name: float(metrics[name]) for name in expected} == expected
    assert likely[-1] > likely[0] + 0.1


def test_more_and_longer_completions_than_were_asked_for():
    def generate(state, problems, key, context):
        sampled = roll_out(MODEL, state.params, problems, key, step=state.step, group_size=3, **SAMPLING)
        more = jnp.full((12, 1), EOS)
        return pt.append(sampled, more, more > 0, jnp.ones(12, bool), eos=EOS)[0]

    def loss(log_probs, r, advantage):
        assert (log_probs.shape, r.trained.shape, advantage.shape) == ((6, 3), (6, 3), (6,))
        return jnp.sum(log_probs), {"seen": jnp.float32(0)}

    learner = _learner(generate=generate, minibatches=2, loss=loss)
    told = (jax.eval_shape(lambda: learner.init(jax.random.key(9), {})), PROBLEMS, jax.random.key(1), {})
    assert "seen" in jax.eval_shape(learner.update, *told)[1]


@functools.cache
def _slotted_text():
    """Whoever writes an "a" is paid by a judge; the problem posed is always the first; steps are counted."""

    def judge(state, problems, rollouts, context):
        assert (problems.item == 0).all()
        texts = completion_texts(TOKENIZER, rollouts.tokens, rollouts.mask)
        return rollouts._replace(rewards=jnp.array(["a" in text for text in texts], jnp.float32))

    return _text_learner(
        scorer=None, judge=judge, memory=lambda context: {"steps": jnp.int32(0), "paid": jnp.float32(0)},
        pose=lambda state, batch, key, context: jax.tree.map(lambda x: x[:1].repeat(4, 0), batch),
        revise=lambda state, problems, r, key, context: r._replace(extra={"paid": r.rewards}),
        remember=lambda state, problems, r, advantage, context: {
            "steps": state.step, "paid": r.extra["paid"].mean()
        },
    )  # fmt: skip


def test_the_slots_of_the_learner_of_texts():
    learner = _slotted_text()
    state = learner.init(jax.random.key(9), {})
    for step in range(2):
        state, metrics = learner.update(state, TEXTS, jax.random.key(step), {})
    assert set(metrics) == {
        "loss", "gradient_norm", "reward", "length", "entropy", "truncated", "groups_solved", "groups_failed",
        "mismatch_mean", "mismatch_max",
    }  # fmt: skip
    assert (state.memory["steps"], state.memory["paid"]) == (2, metrics["reward"])


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: _learner(judge=_judge), "either verify or judge is needed"),
        (lambda: _learner(verify=None), "either verify or judge is needed"),
        (lambda: _text_learner(scorer=None), "either scorer or judge is needed"),
        (lambda: _text_learner(judge=_judge), "either scorer or judge is needed"),
    ],
)
def test_one_judge_is_needed(call, line):
    with pytest.raises(InputError, match=line):
        call()


def test_a_column_of_no_row_is_named():
    learner = _learner(minibatches=2, revise=lambda s, p, r, k, c: r._replace(extra=jnp.zeros(5)))
    with pytest.raises(InputError, match=r"extra has an array \(5,\): its first axis .* 4 prompts or the 32"):
        jax.eval_shape(learner.update, learner.init(jax.random.key(9), {}), PROBLEMS, jax.random.key(1), {})
