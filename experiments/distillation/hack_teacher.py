"""Distil one small language model into a smaller one and watch it near its teacher and leave the truth.

The truth is a random decoder, the oracle. Teacher and student are first trained on the same few of its sequences;
then every arm takes the same student through the same number of updates with the forward KL to the teacher, each on
sequences from another source. Held-out prompts tell how far the student is from the teacher (proxy) and from the
oracle (golden): both are exact divergences between the distributions of whole sequences. Oracle, samples, teacher and
initial student depend on the seed.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments.distillation._answer_sources import METHODS
from experiments.distillation._sequences import answer_logits, disjoint_prompts, sampled, tree_logits
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_between, check_counts
from experiments.parts.claims import claims_of
from experiments.parts.optimizers import cosine_decay
from jaxlab.core import Computed, InputError, Learner, TrainState, computed, cross_entropy, gradient_learner
from jaxlab.core.check import check_least
from jaxlab.distillation.teacher_hacking import hacking_score, power_law_fit, sequence_kl, token_forward_kl
from jaxlab.language import Decoder
from jaxlab.training import Arm, Experiment

Evaluate = Callable[[Any, Any, Any], dict[str, jax.Array]]


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/teacher_hacking.py describes.

    Args:
      config: see that file for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    task = _Task(config)
    smallest = min(arm.prompts for arm in config.arms.values())
    judged = "test" if config.test else "val"
    splits = {"train": task.prompts["distil"], "val": task.prompts["val"]}
    splits |= {"val_seen": task.prompts["distil"][:smallest], judged: task.prompts[judged]}
    # One object for all arms of a method, by which they share programs.
    methods = methods_of(METHODS, config.arms, lambda source: functools.partial(task.distilled, source))
    return Experiment(
        data={name: {"prompt": prompts} for name, prompts in splits.items()},
        draw=lambda train, key: {"row": jax.random.randint(key, (config.batch_size,), 0, 2**30)},
        prepare={
            "oracle": Arm(task.oracle()),
            "teacher": task.fine_tuned(task.teacher, config.teacher),
            "student": task.fine_tuned(task.student, config.student),
            "pool": Arm(task.pool()),
        },
        arms=make_arms(config.arms, methods, config.steps, steps_of={"start": 0}),
        claims=claims_of(config),
        along=(judged,),
        summarise=functools.partial(_over_training, judged),
    )


def _check(config: ConfigDict) -> None:
    check_counts(config, "vocab", "length", "prompt_length", "batch_size", "steps")
    check_arms(config.arms, {"method": METHODS})
    shown = config.prompts.sft * config.oracle.generations
    for name in ("teacher", "student"):
        check_between(f"{name}.examples", config[name].examples, shown, "examples that the oracle shows")
    for name, arm in config.arms.items():
        check_between(f"arm {name}: prompts", arm.prompts, config.prompts.distil, "of prompts.distil")
        if arm.generations < 1:
            raise InputError(f"arm {name}: generations is {arm.generations}: it must be at least 1")


class _Task:
    """The models and the prompts of a config, and the stages made of them."""

    def __init__(self, config: ConfigDict):
        self.config, self.length = config, config.length
        shape = {"vocab_size": config.vocab, "context": config.prompt_length + config.length, "tied": False}
        self.oracle_model, self.teacher, self.student = (
            Decoder(**shape, **config[name].shape.to_dict()) for name in ("oracle", "teacher", "student")
        )
        check_least("split_seed", config.split_seed, 0)
        self.prompts = disjoint_prompts(
            config.prompts.to_dict(), config.prompt_length, config.vocab, config.split_seed
        )
        # What the oracle is asked, every prompt `generations` times.
        self.asked = jnp.tile(jnp.asarray(self.prompts["sft"]), (config.oracle.generations, 1))

    def oracle(self) -> Computed:
        """The truth, and what teacher and student are shown of it."""
        model, spec = self.oracle_model, self.config.oracle

        def make(key: jax.Array, context: Any, train: Any) -> dict[str, Any]:
            weights, draws = jax.random.split(key)
            params = model.init(weights)
            params["output"] = spec.sharpness * params["output"]
            return {"params": params, "shown": sampled(model, params, self.asked, draws, self.length)}

        return computed(make)

    def pool(self) -> Computed:
        """The teacher's stored answers to the prompts of the distillation `[prompts, generations, T]`."""
        most = max(arm.generations for arm in self.config.arms.values())

        def make(key: jax.Array, context: Any, train: Any) -> jax.Array:
            rows = jnp.repeat(jnp.asarray(train["prompt"]), most, axis=0)
            answers = sampled(self.teacher, context["teacher"], rows, key, self.length)
            return answers.reshape(-1, most, self.length)

        return computed(make)

    def fine_tuned(self, model: Decoder, spec: ConfigDict) -> Arm:
        """A model trained on the first `examples` of what the oracle shows."""

        def loss(
            params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
        ) -> tuple[Any, tuple]:
            row, shown = batch["row"] % spec.examples, context["oracle"]["shown"]
            logits = answer_logits(model, params, self.asked[row], shown[row])
            return cross_entropy(logits, shown[row]).mean(), (memory, {})

        def evaluate(state: TrainState, split: Any, context: Any) -> dict[str, jax.Array]:
            def distance(prompt: jax.Array) -> jax.Array:
                truth = tree_logits(self.oracle_model, context["oracle"]["params"], prompt, self.length)
                return sequence_kl(tree_logits(model, state.params, prompt, self.length), truth)

            return {"golden": jax.lax.map(distance, split["prompt"]).mean()}

        init = lambda key, context: (model.init(key), None)
        learner = gradient_learner(init, loss, _optimizer(spec, spec.steps))
        return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)

    def distilled(self, source: Callable, settings: Any) -> tuple[Learner, Evaluate, None]:
        """The student, updated on sequences from a source."""

        def loss(
            params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
        ) -> tuple[Any, tuple]:
            asked, answers = source(self, settings, params, context, batch["row"], key)
            soft = answer_logits(self.teacher, context["teacher"], asked, answers)
            value = token_forward_kl(answer_logits(self.student, params, asked, answers), soft).mean()
            return value, (memory, {})

        init = lambda key, context: (context["student"], None)
        learner = gradient_learner(init, loss, _optimizer(settings, self.config.steps))
        return learner, self._distances, None

    def _distances(self, state: TrainState, split: Any, context: Any) -> dict[str, jax.Array]:
        """Proxy and golden, and the teacher's own golden."""

        def both(prompt: jax.Array) -> dict[str, jax.Array]:
            student = tree_logits(self.student, state.params, prompt, self.length)
            teacher = tree_logits(self.teacher, context["teacher"], prompt, self.length)
            oracle = tree_logits(self.oracle_model, context["oracle"]["params"], prompt, self.length)
            return {
                "proxy": sequence_kl(student, teacher),
                "golden": sequence_kl(student, oracle),
                "teacher_golden": sequence_kl(teacher, oracle),
            }

        return {name: values.mean() for name, values in jax.lax.map(both, split["prompt"]).items()}


def _over_training(split: str, history: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How golden rose from its lowest, how proxy fell meanwhile, and how far it strayed from a power law."""
    proxy, golden = history[f"{split}/proxy"].T, history[f"{split}/golden"].T
    law, lowest = power_law_fit(history["step"], proxy), golden.argmin(-1)
    at_lowest = np.take_along_axis(proxy, lowest[:, None], axis=-1)[:, 0]
    found = {
        "golden_best": golden.min(-1),
        "hacking": hacking_score(golden),
        "proxy_fall": at_lowest - proxy[:, -1],
        "exponent": law.exponent,
        "deviation": law.deviation,
    }
    return {f"{split}/{name}": values for name, values in found.items()}


def _optimizer(spec: Any, steps: int) -> optax.GradientTransformation:
    rate = spec.learning_rate
    schedule = cosine_decay(rate, steps) if spec.decay else optax.constant_schedule(rate)
    return optax.adamw(schedule, weight_decay=spec.weight_decay)
