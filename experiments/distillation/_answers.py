"""What a net says of a whole set of images, a part at a time."""

from typing import Any

import jax

CHUNK = 1024


def answers(net: Any, params: Any, images: jax.Array) -> jax.Array:
    """Logits `[N, C]`; large sets are read in parts, so that their activations never stand side by side."""
    if len(images) <= CHUNK:
        return net.apply(params, images)
    return jax.lax.map(lambda image: net.apply(params, image[None])[0], images, batch_size=CHUNK)
