"""Layers one after another, whether they are a tuple, and unrolled, or stacked arrays, and scanned."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Params = Mapping[str, Any]


def over_layers(block: Callable, x: jax.Array, layers: Any, *by_layer: Any) -> tuple[jax.Array, Any]:
    """Carry `x` through `block(x, layer, *own) -> (x, out)` of every layer; `out` comes back by layer.

    A tuple of layers is unrolled, and what belongs to a layer comes as tuples; stacked layers are scanned, and it is
    stacked likewise.
    """
    if isinstance(layers, Mapping):
        return jax.lax.scan(lambda x, own: block(x, *own), x, (layers, *by_layer))
    outs = []
    for own in zip(layers, *by_layer, strict=True):
        x, out = block(x, *own)
        outs.append(out)
    return x, tuple(zip(*outs))


def over_caches(block: Callable, x: jax.Array, layers: Any, caches: tuple[Any, Any], at: jax.Array) -> tuple:
    """Carry `x` through `block(x, layer, store) -> (x, held)`, where `store(k, v)` writes a position into the caches.

    `store` returns what to hold on to and the layer's own caches. Stacked caches are carried through the scan and
    written in place; scanned over, they would exist twice.
    """

    def write(cache: jax.Array, new: jax.Array, *layer: Any) -> jax.Array:
        new = new[None] if layer else new
        return jax.lax.dynamic_update_slice(cache, new.astype(cache.dtype), (*layer, 0, 0, at, 0))

    if isinstance(layers, Mapping):

        def step(carry: tuple, own: tuple[Params, jax.Array]) -> tuple[tuple, None]:
            x, held = carry
            layer, index = own

            def store(k: jax.Array, v: jax.Array) -> tuple[Any, Any]:
                pair = write(held[0], k, index), write(held[1], v, index)
                return pair, tuple(
                    jax.lax.dynamic_index_in_dim(cache, index, keepdims=False) for cache in pair
                )

            return block(x, layer, store), None

        count = jax.tree.leaves(layers)[0].shape[0]
        return jax.lax.scan(step, (x, caches), (layers, jnp.arange(count)))[0]
    pairs = []
    for layer, old_k, old_v in zip(layers, *caches, strict=True):

        def store(k: jax.Array, v: jax.Array, old_k: jax.Array = old_k, old_v: jax.Array = old_v) -> tuple:
            pair = write(old_k, k), write(old_v, v)
            return pair, pair

        x, pair = block(x, layer, store)
        pairs.append(pair)
    return x, tuple(zip(*pairs))


def unstacked(layers: Any) -> tuple[Params, ...]:
    """Layers as a tuple of dicts, whichever way they are held."""
    if not isinstance(layers, Mapping):
        return tuple(layers)
    count = jax.tree.leaves(layers)[0].shape[0]
    return tuple(jax.tree.map(lambda x, i=i: x[i], layers) for i in range(count))


def stack_layers(params: Params) -> dict[str, Any]:
    """The same parameters with `layers` as one dict of arrays `[L, ...]`, over which `apply` scans.

    Args:
      params: a `Decoder`'s, with `layers` a tuple.

    Returns:
      A dict; the other entries are shared.

    >>> from jaxlab.language import Decoder
    >>> model = Decoder(vocab_size=5, width=8, num_layers=3, num_heads=2)
    >>> stack_layers(model.init(jax.random.key(0)))["layers"]["q"].shape
    (3, 8, 8)
    """
    return {**params, "layers": jax.tree.map(lambda *x: jnp.stack(x), *params["layers"])}
