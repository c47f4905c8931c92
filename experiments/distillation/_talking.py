"""What student and teacher say to each other: nets that see, think and answer, and what a student learns from."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab import nets
from jaxlab.core import cross_entropy
from jaxlab.distillation import hint_loss, kd_loss
from jaxlab.distillation.talking_models import (
    codec_init,
    decode_message,
    encode_message,
    interaction_round,
    message_consistency,
    state_consistency,
    talking_loss,
)


def initial(key: jax.Array, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Parameters of a `nets.Mlp` of three layers: the first sees, the second thinks, the third answers."""
    keys, layers = jax.random.split(key, len(sizes) - 1), {}
    for name, k, a, b in zip(("Dense_0", "Dense_1", "classifier"), keys, sizes, sizes[1:]):
        layers[name] = {"kernel": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "bias": jnp.zeros(b)}
    return {"params": layers}


def answer(net: Any, image: jax.Array) -> jax.Array:
    """Logits of images."""
    return _read(net, image)[0]


def parity_of(logits: jax.Array) -> jax.Array:
    """Two logits, even and odd, of ten."""
    return jnp.stack([jax.nn.logsumexp(logits[:, rest::2], axis=-1) for rest in (0, 1)], axis=-1)


def _read(net: Any, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Logits, and what every layer before them gives."""
    *hidden, classes = (layer["bias"].shape[0] for _, layer in sorted(net["params"].items()))
    return nets.Mlp(features=tuple(hidden), num_classes=classes).apply(net, x, return_features=True)


def _inner(net: Any) -> Any:
    """The net behind the layer that sees."""
    layers = net["params"]
    return {"params": {"Dense_0": layers["Dense_1"], "classifier": layers["classifier"]}}


def _see(net: Any, image: jax.Array) -> jax.Array:
    return _read(net, image)[1][0]


def _think(net: Any, state: jax.Array) -> jax.Array:
    return _read(_inner(net), state)[1][-1]


def _decide(net: Any, state: jax.Array) -> jax.Array:
    return _read(_inner(net), state)[0]


def _kd(settings: Any, params: Any, teacher: Any, image: Any, parity: Any, task: Any) -> tuple[Any, dict]:
    told = parity_of(answer(teacher, image))
    extra = kd_loss(answer(params["net"], image), told, temperature=settings.temperature)
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
        replies.append(cross_entropy(_decide(net, state), parity))
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
