"""Two groups of students: in each a plain and a residual net, with slow teachers; one group learns at a time.

The networks of an architecture are stacked over the groups, so that the group whose turn it is is one index.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.semi_supervised._events import cut
from jaxlab import data, metrics, nets
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
    sigmoid_ramp_up,
)
from jaxlab.data import BlobVolumes
from jaxlab.metrics import expected_calibration_error

GROUPS = 2
ARCHITECTURES = ("plain", "residual")
Stacked = dict[str, Any]  # by architecture, leaves [groups, ...]


def splits(task: ConfigDict) -> dict[str, Any]:
    """Volumes, or their middle slices; the first few of the training volumes are labelled."""
    if task.dims not in (2, 3):
        raise InputError(f"task.dims is {task.dims}: it must be 2 for slices or 3 for volumes")
    options = task.options.to_dict()
    options["size"] = tuple(options["size"])

    sizes = {name: task[name] for name in ("labelled", "unlabelled", "val", "test")}

    def make(key: jax.Array) -> BlobVolumes:
        volumes = data.blob_volumes(key, sum(sizes.values()), **options)
        return data.volume_slices(volumes, index=options["size"][2] // 2) if task.dims == 2 else volumes

    made = cut(jax.jit(make)(jax.random.key(task.data_seed)), sizes)
    return {
        "train": {name: made[name] for name in ("labelled", "unlabelled")},
        "val": made["val"],
        "test": made["test"],
    }


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


def _net(config: ConfigDict, architecture: str) -> nets.UNet:
    options = config.net.to_dict()
    return nets.UNet(num_classes=2, dims=config.task.dims, residual=architecture == "residual", **options)


def _optimizer(config: ConfigDict, arm: Any) -> optax.GradientTransformation:
    turns = -(-config.steps // GROUPS)
    rate = lambda step: ss.warm_up_constant_cosine(
        step, base=arm.learning_rate, floor=1e-3 * arm.learning_rate, warm_up=turns // 8, total=turns
    )
    if config.optimizer == "sgd":
        inner = optax.chain(
            optax.add_decayed_weights(config.weight_decay), optax.sgd(rate, momentum=config.momentum)
        )
    elif config.optimizer == "adam":
        inner = optax.adamw(rate, b1=config.momentum, weight_decay=config.weight_decay)
    else:
        raise InputError(f"optimizer is {config.optimizer!r}: it must be adam or sgd")
    return _by_turns(inner, config.period)


def _by_turns(inner: optax.GradientTransformation, period: int) -> optax.GradientTransformation:
    """Each group has its own optimizer, which sleeps during the other's turn."""

    def update(grads: Stacked, state: tuple, params: Stacked) -> tuple[Stacked, tuple]:
        states, step = state
        group = _turn(step, period)
        updates, own = inner.update(_of(grads, group), _of(states, group), _of(params, group))
        still = jax.tree.map(jnp.zeros_like, params)
        return _put(still, group, updates), (_put(states, group, own), step + 1)

    return optax.GradientTransformation(lambda params: (jax.vmap(inner.init)(params), jnp.int32(0)), update)


def _turn(step: jax.Array, period: int) -> jax.Array:
    """The group that learns."""
    return step // period % GROUPS


def _of(tree: Any, group: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[group], tree)


def _put(tree: Any, group: jax.Array, own: Any) -> Any:
    return jax.tree.map(lambda leaf, new: leaf.at[group].set(new), tree, own)


def _forward(config: ConfigDict, params: Stacked, x: jax.Array) -> jax.Array:
    """Logits of one group's students `[2, B, ..., 2]`, in the order of ARCHITECTURES."""
    return jnp.stack([_net(config, name).apply(params[name], x) for name in ARCHITECTURES])


class _Seen(NamedTuple):
    """What a student's loss looks at besides its own logits; leading axis of logits: students."""

    batch: Any
    others: jax.Array | None
    teachers: jax.Array | None
    progress: jax.Array


def _losses(config: ConfigDict, arm: Any, params: Stacked, seen: _Seen, x: jax.Array) -> tuple:
    """The two students' losses summed; beside them the logits, and which student the others look up to."""
    own = _forward(config, params, x)
    frozen = jax.lax.stop_gradient(own)
    best, students = jnp.int32(0), range(len(ARCHITECTURES))
    ramp = sigmoid_ramp_up(seen.progress, length=arm.ramp)
    if arm.instructive:
        frozen = jnp.concatenate([frozen, seen.others])
        labelled = jax.nn.softmax(frozen[:, : config.batch_size])[..., 1]
        best = ss.best_student(jax.vmap(lambda p: ss.dice_loss(p, seen.batch["label"] == 1).mean())(labelled))
        each = [_instructive(config, arm, own[s], seen, frozen[best], best == s, ramp) for s in students]
    else:
        each = [_baseline(config, arm, own, seen, s, ramp) for s in students]
    return sum(each), (frozen, best)


def _instructive(
    config: ConfigDict, arm: Any, own: Any, seen: _Seen, best: Any, is_best: Any, ramp: Any
) -> jax.Array:
    """RAIL's loss of one student."""
    rows, begun = config.batch_size, seen.progress >= config.start
    return ss.rail_student_loss(
        own[:rows],
        seen.batch["label"],
        own[rows:],
        best[:rows],
        best[rows:],
        seen.teachers[0],
        is_best=is_best,
        consistency_weight=arm.consistency_weight * ramp * begun,
        teacher_weight=arm.teacher_weight * ramp,
        mse_weight=arm.mse_weight * begun,
        kl_weight=arm.kl_weight * begun,
        restraint_weight=arm.restraint_weight,
        authors_code=arm.authors_code,
    )[0]


def _segmentation(logits: jax.Array, label: jax.Array) -> jax.Array:
    overlap = ss.dice_loss(jax.nn.softmax(logits)[..., 1], label == 1)
    return ss.masked_cross_entropy(logits, label).mean() + overlap.mean()


def _baseline(config: ConfigDict, arm: Any, own: Any, seen: _Seen, student: int, ramp: Any) -> jax.Array:
    """The labels alone, a mean teacher, cross pseudo supervision, or the labels of everything."""
    rows = config.batch_size
    total, logits = _segmentation(own[student, :rows], seen.batch["label"]), own[student, rows:]
    if arm.mean_teacher_weight is not None:
        total += arm.mean_teacher_weight * ramp * ss.consistency_mse(logits, seen.teachers[student]).mean()
    if arm.cross_weight is not None:
        other = jax.lax.stop_gradient(own[1 - student, rows:]).argmax(-1)
        total += arm.cross_weight * ramp * ss.masked_cross_entropy(logits, other).mean()
    if arm.all_labels:
        total += _segmentation(logits, seen.batch["hidden"])
    return total


def method(config: ConfigDict, arm: Any) -> tuple[Learner, Callable, None]:
    """Four students and their teachers; each step trains one group, which sees the other's predictions."""
    taught = arm.instructive or arm.mean_teacher_weight is not None

    def init(key: jax.Array, context: Any) -> tuple[Stacked, EmaState]:
        space = config.task.options.size[: config.task.dims]
        example, keys = jnp.zeros((1, *space, 1)), jax.random.split(key, GROUPS)
        params = {
            name: jax.vmap(lambda k, n=name: _net(config, n).init(k, example))(keys) for name in ARCHITECTURES
        }
        return params, jax.vmap(ema_init)(params)

    def loss(params: Stacked, teachers: Any, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        group, x = _turn(step, config.period), jnp.concatenate([batch["image"], batch["unlabelled"]])
        noise = config.input_noise * jax.random.normal(key, (3, *x.shape))
        others, slow = jax.lax.stop_gradient(_of(params, 1 - group)), _of(teachers.value, group)
        seen = _Seen(
            batch=batch,
            others=_forward(config, others, x + noise[0]) if arm.instructive else None,
            teachers=_forward(config, slow, (x + noise[1])[config.batch_size :]) if taught else None,
            progress=step / config.steps,
        )
        value, known = _losses(config, arm, _of(params, group), seen, x + noise[2])
        return value, (teachers, {"loss": value / len(ARCHITECTURES), **_metrics(config, batch, *known)})

    def follow(params: Stacked, teachers: EmaState, step: jax.Array) -> EmaState:
        group = _turn(step - 1, config.period)
        slow = ema_update(_of(teachers, group), _of(params, group), ramp_up_decay(config.ema_decay))
        return _put(teachers, group, slow)

    learner = gradient_learner(init, loss, _optimizer(config, arm), after=follow)
    return learner, _evaluate(config), None


def _metrics(config: ConfigDict, batch: Any, frozen: jax.Array, best: jax.Array) -> dict[str, jax.Array]:
    """How far the two students differ, and how good the labels are that the others get from the best of them."""
    unlabelled = frozen[:, config.batch_size :]
    pseudo = ss.pseudo_label(jax.nn.softmax(unlabelled[best]), threshold=0.8)
    quality = ss.pseudo_label_quality(pseudo, batch["hidden"])
    differs = ss.disagreement_mask(unlabelled[0].argmax(-1), unlabelled[1].argmax(-1))
    return {
        "disagreement": jnp.mean(differs.astype(jnp.float32)),
        "best_is_residual": (best % 2).astype(jnp.float32),
        "pseudo_accuracy": quality.accuracy,
        "pseudo_coverage": quality.coverage,
    }


def _probabilities(config: ConfigDict, params: Stacked, images: jax.Array) -> jax.Array:
    """The four students' probabilities of the foreground, `[4, N, ...]`."""

    def one(image: jax.Array) -> jax.Array:
        each = [
            jax.vmap(lambda p, n=name: _net(config, n).apply(p, image[None])[0])(params[name])
            for name in ARCHITECTURES
        ]
        return jax.nn.softmax(jnp.concatenate(each))[..., 1]

    return jnp.moveaxis(jax.lax.map(one, images, batch_size=32), 1, 0)


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
