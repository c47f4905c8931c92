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

from experiments._schedule import cosine_decay
from jaxlab.core import Computed, InputError, Learner, TrainState, computed, cross_entropy, gradient_learner
from jaxlab.core.check import check_least
from jaxlab.distillation import hacking_score, power_law_fit, sequence_kl, token_forward_kl
from jaxlab.language import Decoder, sample
from jaxlab.training import Arm, Claim, Experiment

Evaluate = Callable[[Any, Any, Any], dict[str, jax.Array]]

SOURCES = ("none", "offline", "teacher", "student", "mixed")


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/teacher_hacking.py describes.

    Args:
      config: see that file for the keys.
      download: unused, nothing is fetched.
    """
    task = _Task(config)
    prompts = task.prompts
    smallest = min(arm.prompts for arm in config.arms.values())
    data = {
        "train": {"prompt": prompts["distil"]},
        "val": {"prompt": prompts["val"]},
        "val_seen": {"prompt": prompts["distil"][:smallest]},
        "test": {"prompt": prompts["test"]},
    }
    if not config.test:
        del data["test"]
    judged = "test" if config.test else "val"
    method = task.distilled  # one object for all arms, by which they share programs
    return Experiment(
        data=data,
        draw=lambda train, key: {"row": jax.random.randint(key, (config.batch_size,), 0, 2**30)},
        prepare={
            "oracle": Arm(task.oracle()),
            "teacher": task.fine_tuned(task.teacher, config.teacher),
            "student": task.fine_tuned(task.student, config.student),
            "pool": Arm(task.pool()),
        },
        arms={
            name: Arm(method, arm.to_dict(), 0 if arm.source == "none" else config.steps)
            for name, arm in config.arms.items()
        },
        claims=tuple(Claim(**claim) for claim in config.claims),
        along=(judged,),
        summarise=functools.partial(_over_training, judged),
    )


class _Task:
    """The models and the prompts of a config, and the stages made of them."""

    def __init__(self, config: ConfigDict):
        self.config, self.vocab, self.length = config, config.vocab, config.length
        _check(config)
        shape = {"vocab_size": config.vocab, "context": config.prompt_length + config.length, "tied": False}
        self.models = {
            name: Decoder(**shape, **config[name].shape.to_dict())
            for name in ("oracle", "teacher", "student")
        }
        self.teacher, self.student = self.models["teacher"], self.models["student"]
        self.prompts = _prompts(config)

    def oracle(self) -> Computed:
        """The truth, and what teacher and student are shown of it."""
        model, spec, prompts = self.models["oracle"], self.config.oracle, self._asked()

        def make(key: jax.Array, context: Any, train: Any) -> dict[str, Any]:
            weights, draws = jax.random.split(key)
            params = model.init(weights)
            params["output"] = spec.sharpness * params["output"]
            return {"params": params, "shown": self._answers(model, params, prompts, draws)}

        return computed(make)

    def pool(self) -> Computed:
        """The teacher's stored answers to the prompts of the distillation `[prompts, generations, T]`."""
        most = max(arm.generations for arm in self.config.arms.values())

        def make(key: jax.Array, context: Any, train: Any) -> jax.Array:
            rows = jnp.repeat(jnp.asarray(train["prompt"]), most, axis=0)
            answers = self._answers(self.teacher, context["teacher"], rows, key)
            return answers.reshape(-1, most, self.length)

        return computed(make)

    def fine_tuned(self, model: Decoder, spec: ConfigDict) -> Arm:
        """A model trained on the first `examples` of what the oracle shows."""
        prompts = self._asked()

        def loss(
            params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
        ) -> tuple[Any, tuple]:
            row, shown = batch["row"] % spec.examples, context["oracle"]["shown"]
            logits = self._logits(model, params, prompts[row], shown[row])
            return cross_entropy(logits, shown[row]).mean(), (memory, {})

        def evaluate(state: TrainState, split: Any, context: Any) -> dict[str, jax.Array]:
            def distance(prompt: jax.Array) -> jax.Array:
                truth = self._tree(self.models["oracle"], context["oracle"]["params"], prompt)
                return sequence_kl(self._tree(model, state.params, prompt), truth)

            return {"golden": jax.lax.map(distance, split["prompt"]).mean()}

        init = lambda key, context: (model.init(key), None)
        learner = gradient_learner(init, loss, _optimizer(spec, spec.steps))
        return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)

    def distilled(self, settings: Any) -> tuple[Learner, Evaluate, None]:
        """The student, updated on sequences from the source that the settings name."""

        def loss(
            params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
        ) -> tuple[Any, tuple]:
            asked, answers = self._sequences(settings, params, context, batch["row"], key)
            soft = self._logits(self.teacher, context["teacher"], asked, answers)
            value = token_forward_kl(self._logits(self.student, params, asked, answers), soft).mean()
            return value, (memory, {})

        init = lambda key, context: (context["student"], None)
        learner = gradient_learner(init, loss, _optimizer(settings, self.config.steps))
        return learner, self._distances, None

    def _distances(self, state: TrainState, split: Any, context: Any) -> dict[str, jax.Array]:
        """Proxy and golden, and the teacher's own golden."""

        def both(prompt: jax.Array) -> dict[str, jax.Array]:
            student = self._tree(self.student, state.params, prompt)
            teacher = self._tree(self.teacher, context["teacher"], prompt)
            oracle = self._tree(self.models["oracle"], context["oracle"]["params"], prompt)
            return {
                "proxy": sequence_kl(student, teacher),
                "golden": sequence_kl(student, oracle),
                "teacher_golden": sequence_kl(teacher, oracle),
            }

        return {name: values.mean() for name, values in jax.lax.map(both, split["prompt"]).items()}

    def _asked(self) -> jax.Array:
        """What the oracle is asked, every prompt `generations` times."""
        return jnp.tile(jnp.asarray(self.prompts["sft"]), (self.config.oracle.generations, 1))

    def _sequences(self, settings: Any, params: Any, context: Any, row: jax.Array, key: jax.Array) -> tuple:
        """Prompts and answers of one batch, stored or sampled now."""
        source, prompts = settings.source, jnp.asarray(self.prompts["distil"])[: settings.prompts]
        asked = prompts[row % len(prompts)]
        if source in ("offline", "mixed"):
            pool = context["pool"][: settings.prompts, : settings.generations]
            stored = pool.reshape(-1, self.length)
            pair = row % len(stored)
            old = prompts[pair // settings.generations], stored[pair]
        if source in ("student", "mixed"):
            fresh = asked, self._answers(self.student, jax.lax.stop_gradient(params), asked, key)
        if source == "teacher":
            fresh = asked, self._answers(self.teacher, context["teacher"], asked, key)
        if source == "mixed":
            is_old = (jnp.arange(len(row)) % 2 == 0)[:, None]
            return tuple(jnp.where(is_old, a, b) for a, b in zip(old, fresh))
        return fresh if source in ("teacher", "student") else old

    def _answers(self, model: Decoder, params: Any, prompts: jax.Array, key: jax.Array) -> jax.Array:
        everything = jnp.ones(prompts.shape, bool)
        rollout = sample(
            model, params, prompts, everything, key, max_new_tokens=self.length, eos=None, stop_early=False
        )
        return rollout.tokens

    def _logits(self, model: Decoder, params: Any, prompts: jax.Array, answers: jax.Array) -> jax.Array:
        """`[B, T, V]` before each token of the answers."""
        hidden = model.apply(params, jnp.concatenate([prompts, answers[:, :-1]], axis=1))
        return model.logits(params, hidden[:, prompts.shape[1] - 1 :])

    def _tree(self, model: Decoder, params: Any, prompt: jax.Array) -> jax.Array:
        """`[N, V]` next-token logits after every prefix of an answer to one prompt, in heap order."""
        known = len(prompt)
        hidden, cache = model.prefill(params, prompt[None], capacity=known + self.length - 1)
        levels = [model.logits(params, hidden[:, -1])]
        for depth in range(1, self.length):
            rows = self.vocab**depth
            token = jnp.tile(jnp.arange(self.vocab), rows // self.vocab)
            position = jnp.full(rows, known + depth - 1)
            hidden, cache = model.decode(params, cache.repeated(self.vocab), token, position)
            levels.append(model.logits(params, hidden))
        return jnp.concatenate(levels)


def _check(config: ConfigDict) -> None:
    for name in ("vocab", "length", "prompt_length", "batch_size", "steps"):
        if config[name] < 1:
            raise InputError(f"{name} is {config[name]}: it must be at least 1")
    if not config.arms:
        raise InputError("arms is empty: name at least one")
    shown = config.prompts.sft * config.oracle.generations
    for name in ("teacher", "student"):
        if not 1 <= config[name].examples <= shown:
            raise InputError(
                f"{name}.examples is {config[name].examples}: it must be between 1 and prompts.sft times "
                f"oracle.generations, {shown}"
            )
    for name, arm in config.arms.items():
        if arm.source not in SOURCES:
            raise InputError(f"arm {name}: source is {arm.source!r}: it must be one of {', '.join(SOURCES)}")
        if not 1 <= arm.prompts <= config.prompts.distil:
            raise InputError(
                f"arm {name}: prompts is {arm.prompts}: it must be between 1 and prompts.distil, "
                f"{config.prompts.distil}"
            )
        if arm.generations < 1:
            raise InputError(f"arm {name}: generations is {arm.generations}: it must be at least 1")


def _prompts(config: ConfigDict) -> dict[str, np.ndarray]:
    """Disjoint sets of prompts `[n, prompt_length]`, the same for all seeds."""
    known, vocab = config.prompt_length, config.vocab
    counts, have = config.prompts.to_dict(), vocab**known
    if sum(counts.values()) > have:
        raise InputError(
            f"prompts ask for {sum(counts.values())}: {known} tokens of {vocab} make {have} prompts"
        )
    check_least("split_seed", config.split_seed, 0)
    order = np.random.default_rng(config.split_seed).permutation(have)
    every = np.stack(np.unravel_index(order, (vocab,) * known), axis=1).astype(np.int32)
    parts = np.split(every, np.cumsum(list(counts.values())))
    return dict(zip(counts, parts))


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
