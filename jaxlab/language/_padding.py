"""Prompts with their padding on the left, wherever it was."""

import jax
import jax.numpy as jnp


def left_padded(tokens: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each row of `[B, T]` turned so that its last valid token comes last; the mask `[B, T]` as bool.

    What follows a prompt is computed from the last position of all rows at once, so a row with its padding on the
    right would be continued from padding. A row without any valid token stays as it is.
    """
    mask = jnp.asarray(mask).astype(bool)
    behind = jnp.argmax(mask[:, ::-1], axis=1)
    place = (jnp.arange(mask.shape[1]) - behind[:, None]) % mask.shape[1]
    return jnp.take_along_axis(jnp.asarray(tokens), place, axis=1), jnp.take_along_axis(mask, place, axis=1)
