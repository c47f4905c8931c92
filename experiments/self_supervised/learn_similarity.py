"""Learn what people go by, from as many answers of one kind or another, and judge the frozen encoder by a probe.

All arms have the same encoder and see the same behaviours; what they learn from is their `method`, a name in `METHODS`.
The probe is a ridge regression of the features that people see, fitted and judged on other behaviours; beside it, how
well new rewards are learned from a few preferences. Each seed has its own world.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_between, check_counts
from experiments.parts.claims import claims_of
from experiments.parts.optimizers import adamw
from experiments.self_supervised._behaviours import Answers, splits
from jaxlab import nets
from jaxlab.core import InputError, Learner, gradient_learner
from jaxlab.core.check import check_fraction, check_least
from jaxlab.metrics import accuracy, linear_probe, ridge_probe
from jaxlab.self_supervised.sirl import preference_loss, triplet_similarity_loss
from jaxlab.training import Experiment

Method = tuple[Learner, Callable, None]


class Task(NamedTuple):
    """What the arms share: an encoder of so many outputs, the width of its first, rewards, the steps, the probe."""

    encoder: Callable[[int], Any]
    width: int
    inputs: int
    rewards: int
    steps: int
    probe: Any


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment for every number of answers and strength of noise.

    Args:
      config: see configs/self_supervised/sirl.py for the keys.
      download: unused, nothing is fetched.
    """
    check_counts(config, "steps", "batch_size", "rewards")
    check_arms(config.arms, {"method": METHODS, "answers": ("single", "multi")})
    return {name: _experiment(name, spec, config) for name, spec in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict) -> Experiment:
    check_counts(spec, "answers", "few_answers", "new_rewards")
    check_between(f"tasks.{name}.behaviours", spec.behaviours, 10**6, least=3)
    check_between(f"tasks.{name}.judged", spec.judged, 10**6, least=2)
    check_fraction(f"tasks.{name}.error_rate", spec.error_rate)
    check_least(f"tasks.{name}.distraction", spec.distraction, 0)
    if spec.answers % config.rewards:
        raise InputError(
            f"tasks.{name}.answers is {spec.answers}: it must be a multiple of the {config.rewards} rewards"
        )
    made = splits(spec, config.rewards)
    encoder = lambda outputs: nets.Mlp(features=tuple(config.net.features), num_classes=outputs)
    inputs = jax.eval_shape(made["train"].make, jax.random.key(0)).input.shape[1]
    task = Task(encoder, config.net.width, inputs, config.rewards, config.steps, config.probe)
    methods = methods_of(METHODS, config.arms, lambda make: functools.partial(make, task))
    return Experiment(
        data={part: split for part, split in made.items() if part != "test" or config.test},
        draw=functools.partial(_draw, config.batch_size),
        arms=make_arms(config.arms, methods, config.steps, steps_of={"untrained": 0}),
        claims=claims_of(config, name),
        summarise=_late_change,
    )


def _draw(batch_size: int, train: Answers, key: jax.Array) -> dict[str, Any]:
    """As many behaviours, and questions of every kind."""
    behaviour, question = jax.random.split(key)
    own = jax.random.randint(behaviour, (batch_size,), 0, len(train.input))
    row = jax.random.randint(question, (batch_size,), 0, len(train.triple))
    return {
        "input": train.input[own],
        "triple": train.input[train.triple[row]],
        "pair": {kind: train.input[pair[row]] for kind, pair in train.pair.items()},
        "preferred": {kind: answer[row] for kind, answer in train.preferred.items()},
        "reward": {kind: number[row] for kind, number in train.reward.items()},
    }


def similarity(task: Task, settings: Any) -> Method:
    """Which two of three are alike."""

    def loss(encode: Callable, head: Callable, batch: Mapping[str, Any], key: jax.Array) -> jax.Array:
        alike1, alike2, odd = jnp.moveaxis(encode(batch["triple"]), 1, 0)
        return triplet_similarity_loss(alike1, alike2, odd, margin=settings.margin).mean()

    return _learned(task, settings, task.width, 1, loss)


def preference(task: Task, settings: Any) -> Method:
    """Which of two is better, by one reward or by several, each a small net on the encoder."""
    kind = settings.answers

    def loss(encode: Callable, head: Callable, batch: Mapping[str, Any], key: jax.Array) -> jax.Array:
        values = head(encode(batch["pair"][kind]))
        own = jnp.take_along_axis(values, batch["reward"][kind][:, None, None], axis=-1)[..., 0]
        return preference_loss(own[:, 0], own[:, 1], batch["preferred"][kind]).mean()

    return _learned(task, settings, task.width, task.rewards, loss)


def autoencoder(task: Task, settings: Any) -> Method:
    """No answer: a variational autoencoder of the behaviours."""

    def loss(encode: Callable, head: Callable, batch: Mapping[str, Any], key: jax.Array) -> jax.Array:
        mean, log_variance = jnp.split(encode(batch["input"]), 2, axis=-1)
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        error = jnp.square(head(code) - batch["input"]).sum(axis=-1)
        divergence = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - log_variance - 1).sum(axis=-1)
        return (error + settings.kl_weight * divergence).mean()

    return _learned(task, settings, 2 * task.width, task.inputs, loss)


METHODS: dict[str, Callable[[Task, Any], Method]] = {
    "similarity": similarity,
    "preference": preference,
    "autoencoder": autoencoder,
    "untrained": similarity,
}


def _learned(task: Task, settings: Any, outputs: int, head_outputs: int, loss: Callable) -> Method:
    """An encoder, whose first outputs are judged, and a head on these."""
    encoder, head = task.encoder(outputs), task.encoder(head_outputs)

    def apply(net: Any, params: Any, x: jax.Array) -> jax.Array:
        return net.apply(params, x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)

    def init(key: jax.Array, context: Any) -> tuple[Any, None]:
        keys, code = jax.random.split(key), jnp.zeros((1, task.width))
        return {
            "encoder": encoder.init(keys[0], jnp.zeros((1, task.inputs))),
            "head": head.init(keys[1], code),
        }, None

    def of_batch(
        params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
    ) -> tuple[Any, tuple]:
        nets_of = (
            functools.partial(apply, encoder, params["encoder"]),
            functools.partial(apply, head, params["head"]),
        )
        return loss(*nets_of, batch, key), (memory, {})

    def evaluate(state: Any, split: Mapping[str, Any], context: Any) -> dict[str, jax.Array]:
        code = lambda x: apply(encoder, state.params["encoder"], x)[:, : task.width]
        return _judge(task, code, split)

    return gradient_learner(init, of_batch, adamw(settings, task.steps)), evaluate, None


def _judge(task: Task, code: Callable, split: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Squared error of features by a ridge probe, 1 for their mean; accuracy of rewards learned from a few pairs."""
    (probe, known), (score, asked) = ((code(x), features) for x, features in (split["probe"], split["score"]))
    predicted = ridge_probe(probe, known, score, penalty=task.probe.penalty)
    apart = lambda codes, pair: codes[pair.index[:, 0]] - codes[pair.index[:, 1]]

    def learned(few: Any, many: Any) -> jax.Array:
        logits = linear_probe(
            apart(probe, few), (few.preferred > 0.5).astype(jnp.int32), apart(score, many), num_classes=2,
            steps=task.probe.steps, learning_rate=task.probe.learning_rate, weight_decay=task.probe.weight_decay,
        )  # fmt: skip
        return accuracy(logits, (many.preferred > 0.5).astype(jnp.int32))

    return {
        "feature_error": jnp.square(predicted - asked).mean(),
        "reward_accuracy": jax.vmap(learned)(split["few"], split["many"]).mean(),
    }


def _late_change(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the last fifth of training changed in the error on validation behaviours."""
    steps, value = history["step"], history["val/feature_error"]
    return {"val/late_change": value[-1] - value[np.searchsorted(steps, 0.8 * steps[-1])]}
