"""Train a policy against a verifier that reads text: on the host, with somebody else's questions and scorer.

Every arm starts from the same policy, per seed: pretrained weights, or a small decoder fitted to the right answers
for a while. An arm samples and is paid by the scorer (method "rl"), imitates the right answers of the same problems
("sft"), or stays as it is ("none"). Batches are the same for all, drawn by the key of the step; splits share no
question.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_counts
from experiments.parts.claims import claims_of
from experiments.parts.optimizers import clipped_adam, cosine_decay
from experiments.post_training._objectives import advantage_of, check_loss, loss_of
from experiments.post_training._text_learning import Examples, examples, imitation, text_evaluation, untouched
from experiments.post_training._text_policies import TextPolicy, text_policy
from experiments.post_training._text_tasks import TextTask, text_task
from jaxlab import data
from jaxlab.core import Computed, InputError, Learner
from jaxlab.post_training import text_rlvr_learner
from jaxlab.training import Arm, Experiment


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that a config describes; see configs/post_training/reasoning_gym.py and smollm2.py for the keys.

    Args:
      config: the config.
      download: unused, nothing is fetched.
    """
    _check(config)
    task = text_task(config.task, test=config.test)
    if config.pretrain.steps:
        _check_answers(task, config)
    policy = text_policy(config, task)
    splits = examples(policy, task, max_new_tokens=config.max_new_tokens)
    methods = methods_of(METHODS, config.arms, lambda make: functools.partial(make, policy, task, config))
    for arm in config.arms.values():
        methods[arm.method](arm)  # settings that make no sense are found now
    return Experiment(
        data=splits,
        draw=_draw(config.prompts),
        prepare=_prepare(policy, config),
        arms=make_arms(config.arms, methods, config.steps, steps_of={"none": 0}),
        evaluate=text_evaluation(
            policy,
            task.scorer,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            seconds=config.task.seconds,
        ),
        claims=claims_of(config),
    )


def _check(config: ConfigDict) -> None:
    check_counts(config, "prompts", "group_size", "steps", "max_new_tokens")
    check_arms(config.arms, {"method": METHODS})
    for axis, size in config.mesh.items():
        if size != 1:
            raise InputError(
                f"mesh.{axis} is {size}: these arms run on the host, on one device: it must be 1"
            )


def _check_answers(task: TextTask, config: ConfigDict) -> None:
    """There are right answers to imitate."""
    if None in task.answers.values():
        raise InputError(
            f"{config.task.name} has questions with many right answers: there is none to imitate, use rl"
        )


def _draw(count: int) -> Callable[[Examples, jax.Array], Examples]:
    @jax.jit
    def draw(train: Examples, key: jax.Array) -> Examples:
        rows = data.draw(train, key, batch_size=count)
        return Examples(*(rows[name] for name in Examples._fields))

    return draw


def _start(policy: TextPolicy) -> Callable[[jax.Array, Any], Any]:
    """Where an arm starts: from what the first stage left, if there was one."""

    def start(key: jax.Array, context: Any) -> Any:
        return jax.tree.map(jnp.asarray, context["pretrained"] if context else policy.init(key))

    return start


def _prepare(policy: TextPolicy, config: ConfigDict) -> dict[str, Arm]:
    spec = config.pretrain
    if not spec.steps:
        return {}
    schedule = cosine_decay(spec.learning_rate, spec.steps)
    learner = imitation(policy, _start(policy), clipped_adam(schedule, spec.max_grad_norm))
    return {"pretrained": Arm(learner, steps=spec.steps, export=lambda state: state.params)}


def _untouched(policy: TextPolicy, task: TextTask, config: ConfigDict, arm: Any) -> Computed:
    """What there is to beat."""
    return untouched(_start(policy))


def _imitating(policy: TextPolicy, task: TextTask, config: ConfigDict, arm: Any) -> Learner:
    """Maximum likelihood of the right answers."""
    _check_answers(task, config)
    return imitation(policy, _start(policy), clipped_adam(arm.learning_rate, arm.max_grad_norm))


def _rewarded(policy: TextPolicy, task: TextTask, config: ConfigDict, arm: Any) -> Learner:
    """Samples that the scorer pays for."""
    check_loss(arm)
    return text_rlvr_learner(
        policy.model,
        policy.tokenizer,
        init=_start(policy),
        scorer=task.scorer,
        seconds=config.task.seconds,
        base=policy.base,
        attach=policy.attach,
        advantage=advantage_of(arm, config.max_new_tokens),
        loss=loss_of(arm),
        optimizer=clipped_adam(arm.learning_rate, arm.max_grad_norm),
        group_size=config.group_size,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        minibatches=arm.minibatches,
        passes=arm.passes,
        microbatches=config.get("microbatches", 1),
    )


METHODS: dict[str, Callable[..., Learner | Computed]] = {
    "rl": _rewarded,
    "sft": _imitating,
    "none": _untouched,
}
