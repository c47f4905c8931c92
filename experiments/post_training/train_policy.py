"""Train a policy against a verifier: one arm per update rule, on the same prompts, from the same start.

Everything that is compared happens inside one compiled scan: problems are drawn, completed, verified, scored by a
teacher where an arm has one, and learned from. The start of every arm is one policy per seed, fitted to
demonstrations for a while; a teacher, where the config has one, is fitted likewise and is as imperfect as its
demonstrations.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments._schedule import cosine_decay
from experiments.post_training._imitation import demonstrated, sampled_from_teacher
from experiments.post_training._objectives import advantage_of, check_loss, loss_of
from experiments.post_training._pretrained import pretrained
from jaxlab.core import InputError, Learner
from jaxlab.core.check import check_least
from jaxlab.language import Decoder, sample, sharding_rules, tasks
from jaxlab.language.tasks import Problems, Task
from jaxlab.post_training import PolicyState, avg_at_n, pass_at_k, rlvr_learner
from jaxlab.training import Arm, Claim, Experiment

TASKS: dict[str, Callable[..., Task]] = {
    "addition": tasks.addition,
    "chain": tasks.chain,
    "countdown": tasks.countdown,
    "multiplication": tasks.multiplication,
    "parity": tasks.parity,
    "sorting": tasks.sorting,
}

EOS = 2


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that a config of configs/post_training describes; see grpo.py and kdrl.py for the keys.

    Args:
      config: the config.
      download: unused, nothing is fetched.
    """
    _check(config)
    task = _task(config.task)
    student = _model(config.student, task, config)
    teacher = _model(config.teacher, task, config) if "teacher" in config else None
    stages = {"student": _stage(student, task, config, config.student)}
    if teacher:
        stages["teacher"] = _stage(teacher, task, config, config.teacher)
    method = functools.partial(_learner, student, teacher, task, config)
    for arm in config.arms.values():
        method(arm)  # settings that make no sense are found now
    return Experiment(
        data=_splits(task, config),
        draw=lambda train, key: _problems(task, key, config.prompts, config.task.train),
        prepare=stages,
        arms={
            name: Arm(method, arm.to_dict(), config.steps, sharding=_rules(config))
            for name, arm in config.arms.items()
        },
        evaluate=_evaluate(student, task, config),
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _check(config: ConfigDict) -> None:
    for name in ("prompts", "group_size", "steps", "eval_samples"):
        if config[name] < 1:
            raise InputError(f"{name} is {config[name]}: it must be at least 1")
    for name, arm in config.arms.items():
        if ("teacher" in arm or arm.imitate_teacher) and "teacher" not in config:
            raise InputError(
                f"arm {name} has a teacher and the config has none: add one under the key teacher"
            )
        check_loss(arm)


def _task(spec: ConfigDict) -> Task:
    if spec.name not in TASKS:
        raise InputError(f"task.name is {spec.name!r}: it must be one of {', '.join(TASKS)}")
    levels = (*spec.train, *spec.pretrain, *spec.harder)
    return TASKS[spec.name]((min(levels), max(levels)))


def _problems(task: Task, key: jax.Array, count: int, levels: tuple[int, int]) -> Problems:
    """Problems whose difficulty is uniform over `levels`, both ends included."""
    check_least("number of problems", count, 1)
    low, high = levels
    difficulty = jax.random.randint(jax.random.fold_in(key, 1), (count,), low, high + 1)
    return task.sample(jax.random.fold_in(key, 0), count, difficulty=difficulty)


def _splits(task: Task, config: ConfigDict) -> dict[str, Any]:
    """Training problems are drawn afresh; the others are drawn once, from a key of their own."""
    key, counts = jax.random.key(config.task.split_seed), config.task
    make = jax.jit(lambda key, count, levels: _problems(task, key, count, levels), static_argnums=(1, 2))
    splits = {
        "train": jnp.zeros((1,)),
        "val": make(jax.random.fold_in(key, 1), counts.val, tuple(counts.train)),
    }
    if config.test:
        splits["test"] = make(jax.random.fold_in(key, 2), counts.test, tuple(counts.train))
        splits["test_harder"] = make(jax.random.fold_in(key, 3), counts.test, tuple(counts.harder))
    return splits


def _new_tokens(task: Task, config: ConfigDict) -> int:
    longest = config.max_new_tokens or task.completion_length
    if longest < task.completion_length:
        raise InputError(
            f"max_new_tokens is {longest}: the longest right answer has {task.completion_length}"
        )
    return longest


def _model(spec: ConfigDict, task: Task, config: ConfigDict) -> Decoder:
    shape = {
        "context": task.prompt_length + _new_tokens(task, config),
        "vocab_size": task.tokenizer.vocab_size,
    }
    shape |= spec.shape.to_dict()
    if shape["vocab_size"] < task.tokenizer.vocab_size:
        raise InputError(
            f"vocab_size is {shape['vocab_size']}: the task writes {task.tokenizer.vocab_size} tokens"
        )
    return Decoder(**shape)


def _rules(config: ConfigDict) -> tuple:
    return sharding_rules(stacked=True) if "weights" in config.student else ()


def _stage(model: Decoder, task: Task, config: ConfigDict, spec: ConfigDict) -> Arm:
    if "weights" in spec:
        return pretrained(model, spec, sharding_rules(stacked=True))
    draw = lambda key, count: _problems(task, key, count, config.task.pretrain)
    schedule = cosine_decay(spec.learning_rate, spec.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    learner = demonstrated(model, task, spec, draw, optimizer)
    evaluate = _evaluate(model, task, config)
    return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)


def _learner(student: Decoder, teacher: Decoder | None, task: Task, config: ConfigDict, arm: Any) -> Learner:
    of_student, of_teacher = lambda context: context["student"], lambda context: context["teacher"]
    longest = _new_tokens(task, config)
    optimizer = optax.chain(optax.clip_by_global_norm(arm.max_grad_norm), optax.adam(arm.learning_rate))
    shared = {"policy": of_student, "optimizer": optimizer, "max_new_tokens": longest, "eos": EOS}
    if arm.imitate_teacher:
        return sampled_from_teacher(
            student, teacher, teacher_params=of_teacher, num_samples=config.group_size, **shared
        )
    return rlvr_learner(
        student,
        verify=task.verify,
        advantage=advantage_of(arm, longest),
        loss=loss_of(arm),
        group_size=config.group_size,
        teacher=(teacher, of_teacher) if "teacher" in arm else None,
        minibatches=arm.minibatches,
        passes=arm.passes,
        microbatches=config.get("microbatches", 1),
        segment=config.get("segment", 32),
        **shared,
    )


def _evaluate(
    model: Decoder, task: Task, config: ConfigDict
) -> Callable[[Any, Problems, Any], dict[str, jax.Array]]:
    """Mean accuracy of several samples per problem, pass@4, their form and length.

    `mean_reward` is of the training so far, the area under its curve, and so the same for every split.
    """
    count = config.eval_samples

    def evaluate(state: Any, split: Problems, context: Any) -> dict[str, jax.Array]:
        rows = split.prompts.shape[0]
        out = sample(
            model, state.params, split.prompts, split.prompt_mask, jax.random.key(0), num_samples=count,
            max_new_tokens=_new_tokens(task, config), eos=EOS, stop_early=False, segment=config.get("segment", 32),
        )  # fmt: skip
        problems = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), split)
        correct = task.verify(problems, out.tokens, out.mask).reshape(rows, count)
        found = correct.sum(axis=1).astype(jnp.int32)
        metrics = {
            "accuracy": jnp.mean(avg_at_n(correct)),
            f"pass_at_{min(4, count)}": jnp.mean(pass_at_k(jnp.int32(count), found, min(4, count))),
            "format": jnp.mean(task.well_formed(out.tokens, out.mask)),
            "length": jnp.mean(jnp.sum(out.mask, axis=1)),
        }
        if isinstance(state, PolicyState):
            metrics["mean_reward"] = state.mean_reward
        return metrics

    return evaluate
