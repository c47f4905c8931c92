"""A teacher of one task, a student of another, and what they can say to each other about the student's images.

The teacher was trained to name upright digits and is frozen. The student sees few, rotated digits and must tell odd
from even. Arms: the labels alone, the teacher's answers (KD), a hint from its hidden state (FitNet), and codecs by
which both speak: one way, where the teacher reports what it sees, or two ways, where it answers what the student says
in one or more rounds. One-way and two-way arms have the same codecs and losses. The student is scored alone.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.distillation._image_tasks import load_splits, make_optimizer
from jaxlab import data
from jaxlab.core import InputError, Learner, cross_entropy, gradient_learner
from jaxlab.distillation import (
    codec_init,
    decode_message,
    encode_message,
    hint_loss,
    interaction_round,
    kd_loss,
    message_consistency,
    state_consistency,
    talking_loss,
)
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/talking_models.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    _check(config)
    splits = {
        name: _turned(config, name, split) for name, split in load_splits(config.data, download).items()
    }
    rows, pixels = len(splits["train"]["label"]), splits["train"]["upright"][0].size
    if not 1 <= config.few <= rows:
        raise InputError(f"few is {config.few}: it must be between 1 and the {rows} training images")
    if not config.test:
        del splits["test"]
    methods = {name: functools.partial(_student, *own, config, pixels) for name, own in METHODS.items()}
    return Experiment(
        data=splits,
        draw=_batches(config),
        prepare={"teacher": _teacher(config.teacher, pixels)},
        arms={
            name: Arm(methods[arm.method], arm.to_dict(), config.steps) for name, arm in config.arms.items()
        },
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _check(config: ConfigDict) -> None:
    if not config.arms:
        raise InputError("arms is empty: name at least one")
    for name, arm in config.arms.items():
        if arm.method not in METHODS:
            raise InputError(f"arm {name}: method is {arm.method!r}: it must be one of {', '.join(METHODS)}")
        if arm.rounds < 1:
            raise InputError(f"arm {name}: rounds is {arm.rounds}: it must be at least 1")
    for name in ("steps", "batch_size"):
        if config[name] < 1:
            raise InputError(f"{name} is {config[name]}: it must be at least 1")


def _turned(config: ConfigDict, name: str, split: data.Images) -> dict[str, jax.Array]:
    """Every image upright, for the teacher, and turned by an angle of its own, for the student."""
    key = jax.random.fold_in(jax.random.key(config.data.split_seed), len(name))
    image = data.random_affine(jnp.asarray(split.image), key, rotate=config.rotate)
    return {"upright": split.image, "image": image, "label": split.label}


def _batches(config: ConfigDict) -> Any:
    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        few = jax.tree.map(lambda x: x[: config.few], train)
        return {
            "few": data.draw(few, key, batch_size=config.batch_size),
            "all": data.draw(train, key, batch_size=config.batch_size),
        }

    return draw


def _teacher(spec: ConfigDict, pixels: int) -> Arm:
    """Ten digits, upright. Scored on upright images, and on turned ones, where it is to be of use."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["all"]["upright"], batch["all"]["label"]
        return cross_entropy(_answer(params, image), label).mean(), (memory, {})

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        turned = _answer(state.params, split["image"])
        return _scores(_answer(state.params, split["upright"]), split["label"]) | {
            "turned_accuracy": accuracy(turned, split["label"]),
            "turned_parity": accuracy(_parity(turned), split["label"] % 2),
        }

    init = lambda key, context: (_net(key, (pixels, spec.width, spec.width, 10)), None)
    learner = gradient_learner(init, loss, make_optimizer(spec, spec.steps))
    return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)


def _student(
    begin: Callable, lesson: Callable, config: ConfigDict, pixels: int, settings: Any
) -> tuple[Learner, Callable, None]:
    """A small net, what else its method trains, from `begin`, and the method's loss of every image."""
    width = config.student.width

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        net_key, *keys = jax.random.split(key, 4)
        return {"net": _net(net_key, (pixels, width, width, 2)), **begin(config, keys)}, None

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, parity = batch[settings.labels]["image"], batch[settings.labels]["label"] % 2
        logits = _answer(params["net"], image)
        value, more = lesson(
            settings, params, context["teacher"], image, parity, cross_entropy(logits, parity)
        )
        return value.mean(), (memory, {"accuracy": accuracy(logits, parity), **more})

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        return _scores(_answer(state.params["net"], split["image"]), split["label"] % 2)

    return gradient_learner(init, loss, make_optimizer(settings, config.steps)), evaluate, None


def _kd(settings: Any, params: Any, teacher: Any, image: Any, parity: Any, task: Any) -> tuple[Any, dict]:
    told = _parity(_answer(teacher, image))
    extra = kd_loss(_answer(params["net"], image), told, temperature=settings.temperature)
    return task + settings.weight * extra, {}


def _regressor(config: ConfigDict, keys: Any) -> dict[str, Any]:
    width, wide = config.student.width, config.teacher.width
    return {"regressor": jax.random.normal(keys[0], (width, wide)) / width**0.5}


def _hint(settings: Any, params: Any, teacher: Any, image: Any, parity: Any, task: Any) -> tuple[Any, dict]:
    state = _think(params["net"], _see(params["net"], image))
    extra = hint_loss(state @ params["regressor"], _think(teacher, _see(teacher, image)))
    return task + settings.weight * extra, {}


def _codecs(config: ConfigDict, keys: Any) -> dict[str, Any]:
    init = functools.partial(codec_init, **config.codec.to_dict())
    width, wide = config.student.width, config.teacher.width
    return {"student": init(keys[1], width=width), "teacher": init(keys[2], width=wide)}


def _talk(
    exchange: Callable, settings: Any, params: Any, teacher: Any, image: Any, parity: Any, task: Any
) -> tuple[Any, dict]:
    """The talking loss of a batch, and what its messages look like."""
    net, own, other = params["net"], params["student"], params["teacher"]
    seen, shown = _see(net, image), jax.lax.stop_gradient(_see(teacher, image))
    replies, state = [], seen
    for _ in range(settings.rounds):
        state, reply = exchange(own, other, teacher, state, shown)
        replies.append(cross_entropy(_classify(net, _think(net, state)), parity))
    sent, told = encode_message(own, seen), encode_message(other, shown)
    kept = state_consistency(own, seen) + state_consistency(other, shown)
    agreed = message_consistency(sent, told)
    value = talking_loss(
        task, jnp.stack(replies, axis=1), agreed, kept, interact_weight=settings.weight,
        message_weight=settings.message_weight, state_weight=settings.state_weight,
    )  # fmt: skip
    metrics = {"sent_spread": sent.std(0).mean(), "reply_spread": reply.std(0).mean()}
    return value, metrics | {"reply_loss": replies[-1].mean(), "agreed": agreed.mean(), "kept": kept.mean()}


def _report(own: Any, other: Any, teacher: Any, state: jax.Array, shown: jax.Array) -> tuple:
    reply = encode_message(other, _think(teacher, shown))
    return decode_message(own, reply), reply


def _converse(own: Any, other: Any, teacher: Any, state: jax.Array, shown: jax.Array) -> tuple:
    said = interaction_round(own, other, state, lambda h: _think(teacher, h))
    return said.state, said.reply


# What a method trains beside the net, and its loss.
METHODS: dict[str, tuple[Callable, Callable]] = {
    "ce": (lambda config, keys: {}, lambda *given: (given[-1], {})),
    "kd": (lambda config, keys: {}, _kd),
    "hint": (_regressor, _hint),
    "one_way": (_codecs, functools.partial(_talk, _report)),
    "two_way": (_codecs, functools.partial(_talk, _converse)),
}


def _net(key: jax.Array, sizes: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    """Three dense layers; the first is what sees, the second thinks, the third answers."""
    keys = jax.random.split(key, len(sizes) - 1)
    dense = lambda k, a, b: {"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)}
    return [dense(k, a, b) for k, a, b in zip(keys, sizes, sizes[1:])]


def _see(net: Any, image: jax.Array) -> jax.Array:
    return jax.nn.relu(image.reshape(len(image), -1) @ net[0]["w"] + net[0]["b"])


def _think(net: Any, state: jax.Array) -> jax.Array:
    return jax.nn.relu(state @ net[1]["w"] + net[1]["b"])


def _classify(net: Any, state: jax.Array) -> jax.Array:
    return state @ net[2]["w"] + net[2]["b"]


def _answer(net: Any, image: jax.Array) -> jax.Array:
    return _classify(net, _think(net, _see(net, image)))


def _parity(logits: jax.Array) -> jax.Array:
    """Two logits, even and odd, of ten."""
    return jnp.stack([jax.nn.logsumexp(logits[:, rest::2], axis=-1) for rest in (0, 1)], axis=-1)


def _scores(logits: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
    return {"accuracy": accuracy(logits, label), "nll": cross_entropy(logits, label).mean()}
