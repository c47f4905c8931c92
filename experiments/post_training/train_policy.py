"""Train a policy against a verifier: one arm per update rule, on the same prompts, from the same start.

Everything that is compared happens inside one compiled scan: problems are drawn, completed, verified, scored by a
teacher where an arm has one, and learned from. Every arm starts from one policy per seed, fitted to demonstrations; a
teacher, where there is one, is fitted likewise.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_counts
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.optimizers import clipped_adam, cosine_decay
from experiments.parts.tasks import of_tasks
from experiments.post_training import _curricula, _domains, _guides, _pools, _samplers, _selections, _tutors
from experiments.post_training._imitation import demonstrated
from experiments.post_training._learners import World, findings, imitating, rewarded, told
from experiments.post_training._objectives import check_loss
from experiments.post_training._policy_tasks import (
    EOS,
    draw_problems,
    longest_answer,
    make_task,
    policy_model,
    problem_splits,
)
from experiments.post_training._pretrained import pretrained
from jaxlab.core import InputError, Learner, masked_mean, until
from jaxlab.language import Decoder, sample, sharding_rules
from jaxlab.language.tasks import Problems, Task
from jaxlab.post_training import PolicyState, avg_at_n, pass_at_k
from jaxlab.training import Arm, Experiment, Turn

METHODS: dict[str, Callable[[World, Any], Learner]] = {
    "rl": rewarded,
    "sft": imitating,
    **_samplers.METHODS,
    **_selections.METHODS,
    **_curricula.METHODS,
    **_guides.METHODS,
    **_tutors.METHODS,
    **_pools.METHODS,
    **_domains.METHODS,
}
TURNS: dict[str, Callable[[World, Any], Turn]] = {**_pools.TURNS, **_domains.TURNS}


def build(config: ConfigDict, *, download: bool = False) -> Experiment | dict[str, Experiment]:
    """What a config of configs/post_training describes, once or by task; see grpo.py and kdrl.py for the keys.

    Args:
      config: the config.
      download: unused, nothing is fetched.
    """
    return of_tasks(config, _experiment)


def _experiment(config: ConfigDict) -> Experiment:
    _check(config)
    task = make_task(config.task)
    student = policy_model(config.student, task, config)
    teacher = policy_model(config.teacher, task, config) if "teacher" in config else None
    stages = {"student": _stage(student, task, config, config.student)}
    if teacher:
        stages["teacher"] = _stage(teacher, task, config, config.teacher)
    world = World(student, teacher, task, config)
    stages |= _more_stages(world)
    methods = methods_of(METHODS, config.arms, lambda make: functools.partial(make, world))
    for arm in config.arms.values():
        methods[arm.method](arm)  # settings that make no sense are found now
    return Experiment(
        data=problem_splits(task, config),
        draw=lambda train, key: draw_problems(task, key, config.prompts, config.task.train),
        prepare=stages,
        arms=_arms(world, methods),
        evaluate=_evaluate(student, task, config),
        claims=claims_of(config),
        summarise=_summary,
        remarks=findings,
    )


def _arms(world: World, methods: Mapping[str, Callable]) -> dict[str, Arm]:
    """The arms, some with steps of their own; those of a method with turns share one, and with it their programs."""
    config = world.config
    own = {arm.method: arm.steps for arm in config.arms.values() if "steps" in arm}
    arms = make_arms(config.arms, methods, config.steps, steps_of=own, sharding=_rules(config))
    first = {arm.method: arm for arm in config.arms.values()}
    turns = {name: make(world, first[name]) for name, make in TURNS.items() if name in first}
    return {
        name: dataclasses.replace(arm, turn=turns.get(config.arms[name].method)) for name, arm in arms.items()
    }


def _more_stages(world: World) -> dict[str, Arm]:
    """A pool of problems and a start that has imitated a tutor, where the config asks for them."""
    config, stages = world.config, {}
    nothing = lambda state, split, context: {}
    if "pool" in config:
        stages["pool"] = Arm(_pools.pool(world), evaluate=nothing)
    if "tutored" in config:
        stages["tutored"] = Arm(
            _tutors.imitated(world, config.tutored), steps=config.tutored.steps,
            evaluate=_evaluate(world.student, world.task, config), export=lambda state: state.params,
        )  # fmt: skip
    return stages


def _check(config: ConfigDict) -> None:
    check_counts(config, "prompts", "group_size", "steps", "eval_samples")
    check_arms(config.arms, {"method": METHODS})
    for name, arm in config.arms.items():
        if "teacher" in arm and "teacher" not in config:
            raise InputError(
                f"arm {name} has a teacher and the config has none: add one under the key teacher"
            )
        check_loss(arm)


def _rules(config: ConfigDict) -> tuple:
    return sharding_rules(stacked=True) if "weights" in config.student else ()


def _stage(model: Decoder, task: Task, config: ConfigDict, spec: ConfigDict) -> Arm:
    """A policy from files, or fitted to demonstrations; with a `target` at a constant rate, until it is that good."""
    if "weights" in spec:
        return pretrained(model, spec, sharding_rules(stacked=True))
    draw = lambda key, count: draw_problems(task, key, count, config.task.pretrain)
    schedule = spec.learning_rate if "target" in spec else cosine_decay(spec.learning_rate, spec.steps)
    learner = demonstrated(model, task, spec, draw, clipped_adam(schedule, 1.0))
    evaluate = _evaluate(model, task, config)
    if "target" not in spec:
        return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)
    learner = until(
        learner,
        lambda running: running["success"] >= spec.target,
        ("success",),
        decay=spec.get("decay", 0.95),
    )
    return Arm(
        learner, steps=spec.steps, export=lambda state: state.inner.params,
        evaluate=lambda state, split, context: evaluate(state.inner, split, context) | {"reached": state.reached},
    )  # fmt: skip


def _evaluate(
    model: Decoder, task: Task, config: ConfigDict
) -> Callable[[Any, Problems, Any], dict[str, jax.Array]]:
    """Mean accuracy of several samples per problem, pass@k, their form, length and entropy.

    `mean_reward` is of the training so far, and so the same for every split; so is what a method tells.
    """
    count, tried = config.eval_samples, min(config.get("pass_at", 4), config.eval_samples)

    def evaluate(state: Any, split: Problems, context: Any) -> dict[str, jax.Array]:
        rows = split.prompts.shape[0]
        out = sample(
            model, state.params, split.prompts, split.prompt_mask, jax.random.key(0), num_samples=count,
            max_new_tokens=longest_answer(task, config), eos=EOS, stop_early=False, segment=config.get("segment", 32),
        )  # fmt: skip
        problems = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), split)
        correct = task.verify(problems, out.tokens, out.mask).reshape(rows, count)
        found = correct.sum(axis=1).astype(jnp.int32)
        metrics = {
            "accuracy": jnp.mean(avg_at_n(correct)),
            f"pass_at_{tried}": jnp.mean(pass_at_k(jnp.int32(count), found, tried)),
            "format": jnp.mean(task.well_formed(out.tokens, out.mask)),
            "length": jnp.mean(jnp.sum(out.mask, axis=1)),
            "entropy": -masked_mean(out.log_probs, where=out.mask),
        }
        if task.score is not task.verify:
            metrics["score"] = jnp.mean(task.score(problems, out.tokens, out.mask))
        if isinstance(state, PolicyState):
            metrics["mean_reward"] = state.mean_reward
        return metrics | told(state)

    return evaluate


def _summary(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means over training of the validation accuracy and of what shows how an update acts; the last fifth's change."""
    acts = ("train/clipped", "train/groups_failed", "train/groups_solved")
    late = late_change("val/accuracy", means=acts)(history)
    return late | {"val/area": history["val/accuracy"].mean(axis=0)}
