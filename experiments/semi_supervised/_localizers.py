"""What the localisation driver trains: pairs of an image net and a sound net, and the views they see."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab import data
from jaxlab.nets import Conv
from jaxlab.semi_supervised import dual_mean_teacher, sounding_maps


class Localizer(nn.Module):
    """An image net `[B, H, W, 3] -> [B, H/2, W/2, D]`, a sound net `[B, A] -> [B, D]`, and the map of both."""

    channels: Sequence[int] = (16, 24)
    first_kernel: int = 2
    dim: int = 16
    temperature: float = 0.12

    @nn.compact
    def __call__(self, image: jax.Array, audio: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Probabilities `[B, H, W]`, features, and the sound's vector."""
        x = nn.relu(Conv(self.channels[0], (self.first_kernel,) * 2, strides=(2, 2))(image - 0.5))
        for channels in self.channels[1:]:
            x = nn.relu(Conv(channels)(x))
        features = nn.Dense(self.dim)(x)
        sound = nn.Dense(self.dim)(nn.relu(nn.Dense(2 * self.dim)(audio)))
        offset = self.param("offset", nn.initializers.constant(0.3), ())
        coarse = sounding_maps.audio_visual_map(features, sound, temperature=self.temperature, offset=offset)
        fine = jax.image.resize(coarse, (len(image), *image.shape[1:3]), "bilinear")
        return fine, features, sound


def strong_view(images: jax.Array, key: jax.Array, *, colour: float, noise: float, hole: int) -> jax.Array:
    """Other colours, noise and a hole; nothing moves, so that boxes and maps still fit."""
    colour_key, noise_key, hole_key = jax.random.split(key, 3)
    gain, shift = jax.random.uniform(colour_key, (2, len(images), 1, 1, images.shape[-1]), minval=-1.0)
    images = (1 + colour * gain) * images + colour / 2 * shift
    images = images + noise * jax.random.normal(noise_key, images.shape)
    return jnp.clip(data.cutout(images, hole_key, size=hole, fill=0.5), 0, 1)


def mirrored(scenes: dict[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    """Image, sound and box map of the sounding object, half of the scenes mirrored: the weak view."""
    image, box = scenes["image"], scenes["boxes"][:, 0]
    truth = sounding_maps.box_map(box, height=image.shape[1], width=image.shape[2])
    flip = jax.random.bernoulli(key, 0.5, (len(image), 1, 1))
    return {
        "image": jnp.where(flip[..., None], image[:, :, ::-1], image),
        "audio": scenes["audio"],
        "truth": jnp.where(flip, truth[:, :, ::-1], truth),
    }


def sure_consensus(
    maps: jax.Array, *, threshold: float, min_confidence: float
) -> dual_mean_teacher.Consensus:
    """One teacher alone: it is believed where the mean probability inside its own mask is high."""
    both = dual_mean_teacher.teacher_consensus(maps, maps, threshold=threshold, min_agreement=0.0)
    inside = jnp.sum(maps * both.union, axis=(1, 2)) / jnp.maximum(jnp.sum(both.union, axis=(1, 2)), 1.0)
    sure = jax.lax.stop_gradient(inside)
    return both._replace(agreement=sure, accepted=both.accepted & (sure >= min_confidence))
