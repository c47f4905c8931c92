"""Procedural retrieval: pairs of views of the same thing, among near-duplicates of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError


class TwoViews(NamedTuple):
    """Matching pairs: row i of one view belongs to row i of the other.

    Args:
        image: `[N, D]` float32, the first view.
        text: `[N, D]` float32, the second view.
        group: `[N]` int32, which pairs are near-duplicates of each other.

    >>> import jax
    >>> from jaxlab.data import two_view_pairs
    >>> two_view_pairs(jax.random.key(0), jax.random.key(1), 8, group_size=4).group.tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """

    image: jax.Array
    text: jax.Array
    group: jax.Array


def two_view_pairs(
    task: jax.Array,
    key: jax.Array,
    num_pairs: int,
    *,
    latent_dim: int = 32,
    view_dim: int = 32,
    group_size: int = 4,
    spread: float = 0.5,
    noise: float = 0.1,
) -> TwoViews:
    """Pairs of random non-linear views of Gaussian latents that come in groups of near-duplicates.

    A group shares a centre, so the false candidates of its own group are the hard ones: `spread` says how far apart
    they are, `noise` how much each view hides. The views are those of the task, the pairs those of the key.

        z = (centre_group + spread * e) / sqrt(1 + spread^2),   view = tanh(z A + a) B + noise * e'

    Args:
        task: `jax.random.key` of the two views, the same for training and test.
        key: `jax.random.key` of the pairs.
        num_pairs: N.
        latent_dim: size of z, and half the hidden units of a view.
        view_dim: D.
        group_size: pairs that share a centre; they follow each other. The last group may be smaller.
        spread: deviation of a pair from its group, in units of the distance between groups.
        noise: deviation of what is added to either view, whose own deviation is about 1.

    Returns:
        `TwoViews`.

    Raises:
        ValueError: a size below 1, a negative amount.

    Reference: Rao et al., DCD: Dynamic Contrastive Distillation for Image-Text Retrieval (2022) speaks of hard
      negatives among photographs; this is the smallest task that has them.

    >>> import jax
    >>> from jaxlab.data import two_view_pairs
    >>> pairs = two_view_pairs(jax.random.key(0), jax.random.key(1), 6, view_dim=5)
    >>> pairs.image.shape, pairs.text.shape
    ((6, 5), (6, 5))
    """
    sizes = {
        "num_pairs": num_pairs,
        "latent_dim": latent_dim,
        "view_dim": view_dim,
        "group_size": group_size,
    }
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} is {size}: it must be at least 1")
    if spread < 0 or noise < 0:
        raise InputError(f"spread and noise must be at least 0, got {spread} and {noise}")
    group = jnp.arange(num_pairs, dtype=jnp.int32) // group_size
    centre_key, own_key, *noise_keys = jax.random.split(key, 4)
    centre = jax.random.normal(centre_key, ((num_pairs - 1) // group_size + 1, latent_dim))[group]
    own = jax.random.normal(own_key, (num_pairs, latent_dim))
    latent = (centre + spread * own) / (1 + spread**2) ** 0.5
    image, text = (
        _view(view_key, latent, view_dim) + noise * jax.random.normal(noise_key, (num_pairs, view_dim))
        for view_key, noise_key in zip(jax.random.split(task), noise_keys)
    )
    return TwoViews(image, text, group)


def _view(key: jax.Array, latent: jax.Array, view_dim: int) -> jax.Array:
    """`[N, D]` of deviation about 1, a random layer of hyperbolic tangents and a random map."""
    inner, shift, outer = jax.random.split(key, 3)
    width, hidden = latent.shape[1], 2 * latent.shape[1]
    turned = latent @ jax.random.normal(inner, (width, hidden)) * (1.5 / width**0.5)
    bent = jnp.tanh(turned + 0.5 * jax.random.normal(shift, (hidden,)))
    return bent @ jax.random.normal(outer, (hidden, view_dim)) * (1.4 / hidden**0.5)
