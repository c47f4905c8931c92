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
import optax
from ml_collections import ConfigDict

from experiments._schedule import cosine_decay
from experiments.post_training._objectives import advantage_of, check_loss, loss_of
from experiments.post_training._text_learning import Examples, examples, imitation, text_evaluation, untouched
from experiments.post_training._text_policies import TextPolicy, text_policy
from experiments.post_training._text_tasks import TextTask, text_task
from jaxlab import data
from jaxlab.core import Computed, InputError, Learner
from jaxlab.post_training import text_rlvr_learner
from jaxlab.training import Arm, Claim, Experiment

METHODS = ("rl", "sft", "none")


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that a config describes; see configs/post_training/reasoning_gym.py and smollm2.py for the keys.

    Args:
      config: the config.
      download: unused, nothing is fetched.
    """
    _check(config)
    task = text_task(config.task, test=config.test)
    _check_answers(task, config)
    policy = text_policy(config, task)
    splits = examples(policy, task, max_new_tokens=config.max_new_tokens)
    method = functools.partial(_learner, policy, task, config)
    for arm in config.arms.values():
        method(arm)  # settings that make no sense are found now
    return Experiment(
        data=splits,
        draw=_draw(config.prompts),
        prepare=_prepare(policy, config),
        arms={
            name: Arm(method, arm.to_dict(), 0 if arm.method == "none" else config.steps)
            for name, arm in config.arms.items()
        },
        evaluate=text_evaluation(
            policy,
            task.scorer,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            seconds=config.task.seconds,
        ),
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _check(config: ConfigDict) -> None:
    for name in ("prompts", "group_size", "steps", "max_new_tokens"):
        if config[name] < 1:
            raise InputError(f"{name} is {config[name]}: it must be at least 1")
    for name, arm in config.arms.items():
        if arm.method not in METHODS:
            raise InputError(f"arms.{name}.method is {arm.method!r}: it must be one of {', '.join(METHODS)}")
        if arm.method == "rl":
            check_loss(arm)
    for axis, size in config.mesh.items():
        if size != 1:
            raise InputError(
                f"mesh.{axis} is {size}: these arms run on the host, on one device: it must be 1"
            )


def _check_answers(task: TextTask, config: ConfigDict) -> None:
    imitates = config.pretrain.steps > 0 or any(arm.method == "sft" for arm in config.arms.values())
    if imitates and None in task.answers.values():
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
    learner = imitation(policy, _start(policy), _optimizer(schedule, spec))
    return {"pretrained": Arm(learner, steps=spec.steps, export=lambda state: state.params)}


def _optimizer(rate: Any, spec: ConfigDict) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(spec.max_grad_norm), optax.adam(rate))


def _learner(policy: TextPolicy, task: TextTask, config: ConfigDict, arm: Any) -> Learner | Computed:
    start = _start(policy)
    if arm.method == "none":
        return untouched(start)
    optimizer = _optimizer(arm.learning_rate, arm)
    if arm.method == "sft":
        return imitation(policy, start, optimizer)
    return text_rlvr_learner(
        policy.model,
        policy.tokenizer,
        init=start,
        scorer=task.scorer,
        seconds=config.task.seconds,
        base=policy.base,
        attach=policy.attach,
        advantage=advantage_of(arm, config.max_new_tokens),
        loss=loss_of(arm),
        optimizer=optimizer,
        group_size=config.group_size,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        minibatches=arm.minibatches,
        passes=arm.passes,
        microbatches=config.get("microbatches", 1),
    )
