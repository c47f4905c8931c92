"""Two groups of students: in each a plain and a residual net, with slow teachers; one group learns at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.parts.arms import methods_of
from experiments.parts.checks import choose
from experiments.parts.chunks import in_chunks
from experiments.parts.splits import few_labelled
from experiments.semi_supervised._turns import GROUPS, Stacked, by_turns, of_group, put_group, turn_of
from experiments.semi_supervised._volume_losses import (
    ARCHITECTURES,
    METHODS,
    Method,
    Seen,
    best_of,
    forward,
    unet,
)
from jaxlab import data, metrics
from jaxlab import semi_supervised as ss
from jaxlab.core import (
    EmaState,
    InputError,
    Learner,
    TrainState,
    ema_init,
    ema_update,
    gradient_learner,
    masked_mean,
    ramp_up_decay,
)
from jaxlab.data import BlobVolumes
from jaxlab.metrics import expected_calibration_error
from jaxlab.semi_supervised import rail


def splits(task: ConfigDict) -> dict[str, Any]:
    """Volumes, or their middle slices, of which every seed has its own; few of the training volumes are labelled."""
    if task.dims not in (2, 3):
        raise InputError(f"task.dims is {task.dims}: it must be 2 for slices or 3 for volumes")
    options = task.options.to_dict()
    options["size"] = tuple(options["size"])

    def make(world: jax.Array, key: jax.Array, count: int) -> BlobVolumes:
        volumes = data.blob_volumes(key, count, **options)
        return data.volume_slices(volumes, index=options["size"][2] // 2) if task.dims == 2 else volumes

    return few_labelled(make, task)


def draw(config: ConfigDict) -> Callable[[Any, jax.Array], dict[str, jax.Array]]:
    """Labelled and unlabelled volumes at random, each mirrored along each axis with probability one half."""

    def half(train: BlobVolumes, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch = data.draw(train, key, batch_size=config.batch_size)
        image, label = batch["image"], batch["label"]
        for axis in range(1, label.ndim):
            mirrored = jax.random.bernoulli(jax.random.fold_in(key, axis), shape=(config.batch_size,))
            turn = lambda x, a=axis, m=mirrored: jnp.where(
                m.reshape(-1, *[1] * (x.ndim - 1)), jnp.flip(x, axis=a), x
            )
            image, label = turn(image), turn(label)
        return image, label

    def one(train: dict[str, BlobVolumes], key: jax.Array) -> dict[str, jax.Array]:
        first, second = jax.random.split(key)
        image, label = half(train["labelled"], first)
        unlabelled, hidden = half(train["unlabelled"], second)
        return {"image": image, "label": label, "unlabelled": unlabelled, "hidden": hidden}

    return one


# `(rate, momentum, weight decay) -> optimizer`
OPTIMIZERS: dict[str, Callable[[Any, float, float], optax.GradientTransformation]] = {
    "adam": lambda rate, momentum, decay: optax.adamw(rate, b1=momentum, weight_decay=decay),
    "sgd": lambda rate, momentum, decay: optax.chain(
        optax.add_decayed_weights(decay), optax.sgd(rate, momentum=momentum)
    ),
}


def _optimizer(config: ConfigDict, arm: Any) -> optax.GradientTransformation:
    turns = -(-config.steps // GROUPS)
    rate = lambda step: ss.warm_up_constant_cosine(
        step, base=arm.learning_rate, floor=1e-3 * arm.learning_rate, warm_up=turns // 8, total=turns
    )
    made = choose("optimizer", config.optimizer, OPTIMIZERS)(rate, config.momentum, arm.weight_decay)
    return by_turns(made, config.period)


def learner(method: Method, config: ConfigDict, arm: Any) -> tuple[Learner, Callable, None]:
    """Four students and their teachers; each step trains one group, which sees the other's predictions."""

    def init(key: jax.Array, context: Any) -> tuple[Stacked, EmaState]:
        space = config.task.options.size[: config.task.dims]
        example, keys = jnp.zeros((1, *space, 1)), jax.random.split(key, GROUPS)
        params = {
            name: jax.vmap(lambda k, n=name: unet(config, n).init(k, example))(keys) for name in ARCHITECTURES
        }
        return params, jax.vmap(ema_init)(params)

    def look(params: Stacked, teachers: EmaState, batch: Any, step: Any, key: jax.Array) -> Seen:
        group, x = turn_of(step, config.period), jnp.concatenate([batch["image"], batch["unlabelled"]])
        noise = config.input_noise * jax.random.normal(key, (3, *x.shape))
        others, slow = jax.lax.stop_gradient(of_group(params, 1 - group)), of_group(teachers.value, group)
        own = forward(config, of_group(params, group), x + noise[2])
        looked_at = [own, forward(config, others, x + noise[0])] if method.others else [own]
        frozen = jax.lax.stop_gradient(jnp.concatenate(looked_at))
        follow = forward(config, slow, (x + noise[1])[config.batch_size :]) if method.teachers else None
        return Seen(batch, own, frozen, follow, best_of(config, frozen, batch), step / config.steps)

    def loss(params: Stacked, teachers: Any, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        seen = look(params, teachers, batch, step, key)
        value = sum(method.loss(config, arm, seen, student) for student in range(len(ARCHITECTURES)))
        return value, (teachers, {"loss": value / len(ARCHITECTURES), **_metrics(config, seen)})

    def follow(params: Stacked, teachers: EmaState, step: jax.Array) -> EmaState:
        group = turn_of(step - 1, config.period)
        slow = ema_update(of_group(teachers, group), of_group(params, group), ramp_up_decay(config.ema_decay))
        return put_group(teachers, group, slow)

    return gradient_learner(init, loss, _optimizer(config, arm), after=follow), _evaluate(config), None


def methods(config: ConfigDict) -> dict[str, Callable[[Any], tuple]]:
    """A function of settings for every name that an arm's `method` may be."""
    return methods_of(METHODS, config.arms, lambda method: functools.partial(learner, method, config))


def _metrics(config: ConfigDict, seen: Seen) -> dict[str, jax.Array]:
    """How far the two students differ, and how good the labels are that the others get from the best of them."""
    unlabelled = seen.frozen[:, config.batch_size :]
    pseudo = ss.pseudo_label(jax.nn.softmax(unlabelled[seen.best]), threshold=0.8)
    quality = ss.pseudo_label_quality(pseudo, seen.batch["hidden"])
    differs = rail.disagreement_mask(unlabelled[0].argmax(-1), unlabelled[1].argmax(-1))
    return {
        "disagreement": jnp.mean(differs.astype(jnp.float32)),
        "best_is_residual": (seen.best % 2).astype(jnp.float32),
        "pseudo_accuracy": quality.accuracy,
        "pseudo_coverage": quality.coverage,
    }


def _probabilities(config: ConfigDict, params: Stacked, images: jax.Array) -> jax.Array:
    """The four students' probabilities of the foreground, `[4, N, ...]`."""

    def probabilities(images: jax.Array) -> jax.Array:
        each = [
            jax.vmap(lambda p, n=name: unet(config, n).apply(p, images), out_axes=1)(params[name])
            for name in ARCHITECTURES
        ]
        return jax.nn.softmax(jnp.concatenate(each, axis=1))[..., 1]

    return jnp.moveaxis(in_chunks(probabilities, images, 32), 1, 0)


def _evaluate(config: ConfigDict) -> Callable[[TrainState, BlobVolumes, Any], dict[str, jax.Array]]:
    """The mean of the four students' probabilities, as the paper predicts, and one student alone."""

    def scores(state: TrainState, split: BlobVolumes, context: Any) -> dict[str, jax.Array]:
        each = _probabilities(config, state.params, split.image)
        together, truth = each.mean(0), split.label == 1
        found = together > 0.5
        logits = jnp.log(jnp.clip(jnp.stack([1 - together, together], axis=-1), 1e-7))
        return {
            "dice": metrics.dice_score(found, truth).mean(),
            "dice_one": jax.vmap(lambda p: metrics.dice_score(p > 0.5, truth).mean())(each).mean(),
            "boundary_dice": metrics.dice_score(found, truth, where=split.ambiguous).mean(),
            "boundary_ece": expected_calibration_error(logits, split.label, where=split.ambiguous),
            "recall": masked_mean(found, where=truth),
        }

    return scores


def panels(config: ConfigDict, ends: dict[str, TrainState], splits: dict[str, Any]) -> list:
    """A labelled and four unlabelled volumes: image, label, one arm's pseudo-label, predictions, truth."""
    join = lambda a, b: jnp.concatenate([a[:1], b[:4]])
    rows = jax.tree.map(join, splits["train"]["labelled"], splits["train"]["unlabelled"])
    probs = {name: _probabilities(config, state.params, rows.image) for name, state in ends.items()}
    teacher = config.shown if config.shown in ends else next(iter(ends))
    given = jnp.concatenate([rows.label[:1], jnp.full_like(rows.label[1:], -1)])
    first = jnp.stack([1 - probs[teacher][0], probs[teacher][0]], axis=-1)
    pseudo = ss.pseudo_label(first, threshold=0.8)
    middle = lambda x: x if x.ndim == 3 else x[..., x.shape[-1] // 2]
    return [
        ("image", "grey", middle(rows.image[..., 0])),
        ("label given", "class", middle(given)),
        (f"pseudo-label\n{teacher}", "class", middle(jnp.where(pseudo.accepted, pseudo.label, -1))),
        *((name, "class", middle((p.mean(0) > 0.5).astype(jnp.int32))) for name, p in probs.items()),
        ("truth", "class", middle(rows.label)),
    ]
