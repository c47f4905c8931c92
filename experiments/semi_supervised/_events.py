"""Two students of an event camera: one sees what happened before the label's moment, one what came after, reversed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.parts.arms import methods_of
from experiments.parts.chunks import in_chunks
from experiments.parts.optimizers import cosine_decay
from experiments.parts.splits import independent
from jaxlab import data, metrics, nets
from jaxlab import semi_supervised as ss
from jaxlab.core import Learner, Queue, TrainState, gradient_learner, masked_mean
from jaxlab.data import EventScenes
from jaxlab.semi_supervised import ev_wsss, prototype_memory
from jaxlab.training import PerSeed

Known = Callable[[Any], Any]  # `batch -> ` the pixels whose labels are known
CLASSES = ("background", "disk", "square", "triangle", "bar")


def splits(task: ConfigDict) -> dict[str, PerSeed]:
    """Independent scenes of one generator, of which every seed has its own."""
    options = task.options.to_dict()
    return independent(lambda world, key, count: data.event_scenes(key, count, **options), task)


def draw(config: ConfigDict) -> Callable[[EventScenes, jax.Array], dict[str, jax.Array]]:
    """Scenes at random, half of them mirrored."""

    def one(train: EventScenes, key: jax.Array) -> dict[str, jax.Array]:
        batch = data.draw(train, key, batch_size=config.batch_size)
        del batch["index"], batch["intensity"]
        mirrored = jax.random.bernoulli(jax.random.fold_in(key, 1), shape=(config.batch_size,))
        turn = lambda x: jnp.where(mirrored.reshape(-1, *[1] * (x.ndim - 1)), jnp.flip(x, axis=2), x)
        return jax.tree.map(turn, batch)

    return one


def _net(config: ConfigDict) -> nets.UNet:
    return nets.UNet(num_classes=len(CLASSES), **config.net.to_dict())


def _squash(voxels: jax.Array) -> jax.Array:
    """Counts of many magnitudes to numbers of one."""
    return jnp.sign(voxels) * jnp.log1p(jnp.abs(voxels))


def _streams(arm: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
    fields = batch if isinstance(batch, dict) else batch._asdict()
    first = _squash(fields["forward"])
    return first, (_squash(fields["backward"]) if arm.reversed_stream else first)


def _params(config: ConfigDict, key: jax.Array) -> dict[str, Any]:
    """Two students, and their projections into each other's feature space."""
    size, bins = config.task.options.size, config.task.options.bins
    net, example = _net(config), jnp.zeros((1, size, size, bins))
    scale = lambda width: 1 / jnp.sqrt(width)

    def one(key: jax.Array) -> dict[str, Any]:
        widths = [config.net.channels[stage] for stage in config.maps]
        kernels = [
            scale(width) * jax.random.normal(jax.random.fold_in(key, width), (width, width))
            for width in widths
        ]
        return {
            "net": net.init(key, example),
            "projections": [
                (kernel, jnp.zeros(width)) for kernel, width in zip(kernels, widths, strict=True)
            ],
        }

    return jax.vmap(one)(jax.random.split(key))


def _branch(config: ConfigDict, params: Any, x: jax.Array, queues: Queue) -> ev_wsss.EvWsssBranch:
    logits, features = _net(config).apply(params["net"], x, return_features=True)
    maps = tuple(features[stage] for stage in config.maps)
    return ev_wsss.EvWsssBranch(logits, maps, tuple(params["projections"]), queues)


def _loss(
    known: Known, config: ConfigDict, arm: Any, params: Any, queues: Any, batch: Any, step: jax.Array
) -> tuple:
    of = lambda student: jax.tree.map(lambda x: x[student], params)
    weight = lambda setting: 0.0 if setting is None else setting  # None leaves a term out
    a, b = _streams(arm, batch)
    return ev_wsss.ev_wsss_loss(
        _branch(config, of(0), a, queues[0]),
        _branch(config, of(1), b, queues[1]),
        batch["label"],
        where=known(batch),
        threshold=arm.threshold,
        region_threshold=arm.region_threshold,
        min_mass=config.min_mass,
        min_items=config.min_items,
        dual_weight=weight(arm.dual_weight),
        prototype_weight=weight(arm.prototype_weight),
        distillation_weight=weight(arm.distillation_weight),
        started=jnp.float32(step >= config.start * config.steps),
        exchanged=arm.exchanged,
        authors_code=arm.authors_code,
    )


def learner(known: Known, config: ConfigDict, arm: Any) -> tuple[Learner, Callable, None]:
    """Both students under one optimizer; an arm's weights say what they learn from."""
    optimizer = optax.chain(
        optax.scale_by_radam(b1=config.momentum, b2=config.scale_decay),
        optax.add_decayed_weights(arm.weight_decay),
        optax.scale_by_learning_rate(cosine_decay(arm.learning_rate, config.steps)),
    )
    empty = lambda: prototype_memory.class_queues_init(
        len(CLASSES), config.memory, config.net.channels[config.maps[-1]]
    )

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], tuple[Queue, Queue]]:
        return _params(config, key), (empty(), empty())

    def loss(params: Any, queues: Any, batch: Any, step: jax.Array, key: jax.Array, context: Any) -> tuple:
        value, terms, after = _loss(known, config, arm, params, queues, batch, step)
        return value, (after, _metrics(config, queues, terms, after, batch))

    return gradient_learner(init, loss, optimizer), _evaluate(config, arm), None


METHODS: dict[str, Known] = {"clicks": lambda batch: batch["clicked"], "all_labels": lambda batch: True}


def methods(config: ConfigDict) -> dict[str, Callable[[Any], tuple]]:
    """A function of settings for every name that an arm's `method` may be."""
    return methods_of(METHODS, config.arms, lambda known: functools.partial(learner, known, config))


def _metrics(config: ConfigDict, old: tuple, terms: ev_wsss.EvWsssTerms, new: tuple, batch: Any) -> dict:
    """What the students teach each other, judged by the labels that they do not see."""
    quality_a = ss.pseudo_label_quality(terms.pseudo_a, batch["label"])
    quality_b = ss.pseudo_label_quality(terms.pseudo_b, batch["label"])
    before, seen = prototype_memory.class_queue_means(old[0], min_items=config.min_items)
    after, _ = prototype_memory.class_queue_means(new[0], min_items=config.min_items)
    return {
        "point": terms.point_a,
        "dual": terms.dual,
        "pseudo_accuracy": quality_a.accuracy,
        "pseudo_coverage": quality_a.coverage,
        "disagreement": jnp.mean(terms.pseudo_a.label != terms.pseudo_b.label),
        "pseudo_accuracy_b": quality_b.accuracy,
        "pseudo_coverage_b": quality_b.coverage,
        "prototype_drift": masked_mean(1 - jnp.sum(before * after, axis=-1), where=seen),
        "prototypes": jnp.mean(seen.astype(jnp.float32)),
    }


def _logits(config: ConfigDict, params: Any, student: int, x: jax.Array) -> jax.Array:
    own = jax.tree.map(lambda leaf: leaf[student], params)["net"]
    return in_chunks(lambda images: _net(config).apply(own, images), x, 64)


def _evaluate(config: ConfigDict, arm: Any) -> Callable[[TrainState, EventScenes, Any], dict[str, jax.Array]]:
    """Mean IoU over classes of the student of the forward stream, which is the one that is kept."""

    def scores(state: TrainState, split: EventScenes, context: Any) -> dict[str, jax.Array]:
        a, b = _streams(arm, split)
        overlap = lambda student, x: metrics.class_overlap(
            _logits(config, state.params, student, x).argmax(-1), split.label, num_classes=len(CLASSES)
        )
        first, second = overlap(0, a), overlap(1, b)
        recalls = {f"recall_{name}": first.recall[c] for c, name in enumerate(CLASSES)}
        return {"miou": metrics.mean_overlap(first), "miou_b": metrics.mean_overlap(second), **recalls}

    return scores


def panels(config: ConfigDict, ends: dict[str, TrainState], splits: dict[str, EventScenes]) -> list:
    """Training scenes: streams, clicks, the pseudo-labels of one arm, every arm's prediction, the truth."""
    rows = jax.tree.map(lambda x: x[:5], splits["train"])
    teacher = config.shown if config.shown in ends else next(iter(ends))
    logits = {name: _logits(config, state.params, 0, _squash(rows.forward)) for name, state in ends.items()}
    # What the other student learns from.
    judged = jax.jit(
        lambda state: _loss(
            METHODS["clicks"], config, config.arms[teacher], state.params, state.memory, rows._asdict(), 0
        )[1]
    )
    pseudo = judged(ends[teacher]).pseudo_a
    return [
        ("events before", "change", rows.forward.sum(-1)),
        ("after, reversed", "change", rows.backward.sum(-1)),
        ("clicks", "class", jnp.where(rows.clicked, rows.label, -1)),
        (f"pseudo-labels\n{teacher}", "class", jnp.where(pseudo.accepted, pseudo.label, -1)),
        *((name, "class", z.argmax(-1)) for name, z in logits.items()),
        ("truth", "class", rows.label),
    ]
