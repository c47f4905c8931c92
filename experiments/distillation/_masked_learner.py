"""A classifier that is trained behind noise masks first and on clean images afterwards, in one learner."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from jaxlab.core import Learner, cross_entropy, gradient_learner
from jaxlab.distillation.noise_mask import (
    beta_log_prob,
    mix_base,
    reinforce_mask_loss,
    released_mask_loss,
    render_mask,
    sample_mask,
    update_base,
)
from jaxlab.metrics import accuracy


class Proposal(NamedTuple):
    """What a batch's masks are drawn with: log-concentrations `[B, G]`, and the heads that the bases follow."""

    log_alpha: jax.Array
    log_beta: jax.Array
    heads: dict[str, jax.Array]


class Masks(NamedTuple):
    """A way to choose masks.

    Attributes:
      propose: `(policy, params, bases, image, decay) -> Proposal`; None multiplies the images with nothing.
      loss: `(log_prob, cross-entropy of each image) -> scalar` of classifier and policy at once; None: no policy.
      bases: the stage that left the bases; None draws them.
      shown: whether its masks are worth a picture.
    """

    propose: Callable[..., Proposal] | None = None
    loss: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    bases: str | None = None
    shown: bool = False


def masked_learner(
    masks: Masks,
    classifier: Any,
    policy: Any,
    init: Callable,
    config: ConfigDict,
    masked_steps: int,
    settings: Any,
) -> Learner:
    """Masks during the first `masked_steps` steps, none after them; the policy is dropped with the masks.

    The memory holds the log-concentrations that all images share.

    Args:
      masks: how they are chosen.
      classifier: a net for images.
      policy: a net for images with two outputs per cell of the grid.
      init: `key -> {"classifier": params, "policy": params}`.
      config: see configs/distillation/noise_mask.py.
      masked_steps: at most `config.steps`.
      settings: of one of its arms.
    """
    cells = config.mask.grid**2

    def begin(key: jax.Array, context: Any) -> tuple[Any, dict[str, jax.Array]]:
        params_key, *keys = jax.random.split(key, 3)
        drawn = {name: jax.random.uniform(k, (1, cells)) for name, k in zip(("alpha", "beta"), keys)}
        return init(params_key), drawn if masks.bases is None else context[masks.bases]

    def loss(params: Any, bases: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        masked, image, metrics = step < masked_steps, batch["image"], {}
        if masks.propose:
            found = masks.propose(policy, params["policy"], bases, image, config.mask.base_decay)
            mask = sample_mask(key, found.log_alpha, found.log_beta)
            image = jnp.where(masked, image * _render(mask, config, image.shape[1]), image)
        logits = classifier.apply(params["classifier"], image)
        each = cross_entropy(logits, batch["label"])
        value = each.mean()
        if masks.loss:
            log_prob = beta_log_prob(mask, found.log_alpha, found.log_beta)
            value = jnp.where(masked, masks.loss(log_prob, each), value)
            metrics = _watch(log_prob, found, batch)
            follow = lambda old, head: update_base(old, head, decay=config.mask.update_decay)
            moved = jax.tree.map(follow, bases, found.heads)
            bases = jax.tree.map(lambda new, old: jnp.where(masked, new, old), moved, bases)
        seen = {"accuracy": accuracy(logits, batch["label"]), "nll": each.mean()}
        return value, (bases, seen | metrics)

    return gradient_learner(begin, loss, _optimizer(config, settings, masked_steps))


def _by_policy(
    policy: Any, params: Any, bases: dict[str, jax.Array], image: jax.Array, decay: float
) -> Proposal:
    """The concentrations of every image's mask."""
    alpha, beta = jnp.split(policy.apply(params, image), 2, axis=-1)
    mixed = mix_base(bases["alpha"], alpha, decay=decay), mix_base(bases["beta"], beta, decay=decay)
    return Proposal(*mixed, {"alpha": alpha, "beta": beta})


def _same(policy: Any, params: Any, bases: dict[str, jax.Array], image: jax.Array, decay: float) -> Proposal:
    """The bases themselves, for all images."""
    same = {name: jnp.broadcast_to(base, (len(image), base.shape[-1])) for name, base in bases.items()}
    return Proposal(same["alpha"], same["beta"], same)


def _uniform(
    policy: Any, params: Any, bases: dict[str, jax.Array], image: jax.Array, decay: float
) -> Proposal:
    """Masks that are uniform in [0, 1]."""
    return _same(policy, params, jax.tree.map(jnp.zeros_like, bases), image, decay)


def _reinforce(log_prob: jax.Array, each: jax.Array) -> jax.Array:
    """The baseline of an image is the mean reward of the others."""
    reward = -each
    others = (reward.sum() - reward) / max(len(reward) - 1, 1)
    return each.mean() + reinforce_mask_loss(log_prob, reward, baseline=others).mean()


METHODS: dict[str, Masks] = {
    "none": Masks(),
    "uniform": Masks(_uniform),
    "bases": Masks(_same, bases="learned_bases", shown=True),
    "released": Masks(_by_policy, released_mask_loss, shown=True),
    "reinforce": Masks(_by_policy, _reinforce, shown=True),
}
SCHEDULES = ("single", "restart")


def _watch(log_prob: jax.Array, found: Proposal, batch: Any) -> dict[str, jax.Array]:
    factor = jax.nn.logsumexp(log_prob, axis=-1).mean()
    mean = jax.nn.sigmoid(found.log_alpha - found.log_beta)  # of Beta(a, b): a / (a + b)
    inverted = (batch["modality"] == 0).astype(mean.dtype)
    per_image = mean.mean(axis=-1)
    average = lambda weight: jnp.sum(weight * per_image) / jnp.maximum(weight.sum(), 1.0)
    return {
        "log_factor": factor,  # what the released loss multiplies the cross-entropy with
        "ascent": (factor < 0).astype(jnp.float32),
        "log_prob": log_prob.sum(axis=-1).mean(),
        "mask_mean": mean.mean(),
        "mask_spread": mean.std(axis=0).mean(),  # how much the masks depend on the image
        "mask_gap": average(1 - inverted) - average(inverted),  # textured minus inverted
    }


def _render(mask: jax.Array, config: ConfigDict, size: int) -> jax.Array:
    return render_mask(mask, size=size, kernel=config.mask.kernel, sigma=config.mask.sigma)


def _optimizer(config: ConfigDict, settings: Any, masked_steps: int) -> optax.GradientTransformation:
    """SGD with momentum: steps down by ten at each third, then warm-up to the fine-tuning rate if there is one."""
    third = lambda steps: {round(steps / 3): 0.1, round(2 * steps / 3): 0.1}
    tuning = config.steps - masked_steps
    if settings.schedule == "single" or tuning < 1:
        rate = optax.piecewise_constant_schedule(settings.learning_rate, third(config.steps))
    else:
        first = optax.piecewise_constant_schedule(settings.learning_rate, third(masked_steps))
        second = optax.linear_schedule(0.0, settings.finetune_rate, max(round(0.7 * tuning), 1))
        rate = optax.join_schedules([first, second], [masked_steps])
    sgd = lambda rate: optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.sgd(rate, momentum=config.momentum)
    )
    policy_rate = optax.cosine_decay_schedule(config.policy_rate, max(masked_steps, 1))
    # Clipped apart: the policy's gradient is no reason to shorten the classifier's.
    clipped = lambda sgd: (
        optax.chain(optax.clip_by_global_norm(config.clip_norm), sgd) if config.clip_norm else sgd
    )
    return optax.partition(
        {"classifier": clipped(sgd(rate)), "policy": clipped(sgd(policy_rate))},
        {"classifier": "classifier", "policy": "policy"},
    )
