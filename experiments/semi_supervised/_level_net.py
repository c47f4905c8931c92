"""A small net that looks at a clip at several temporal levels."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class LevelNet(nn.Module):
    """Frames one by one, then each level, then every level and every pair of levels, then all of them."""

    num_classes: int
    frame: tuple[int, ...]
    level: int
    fused: int

    def setup(self) -> None:
        # A uniform draw is a much smaller program than a truncated normal one, and so is one array for several layers.
        dense = functools.partial(nn.Dense, kernel_init=nn.initializers.he_uniform())
        stacked = nn.initializers.variance_scaling(2.0, "fan_in", "uniform", batch_axis=0)
        self.frames = [dense(width) for width in self.frame]
        self.by_level = [dense(self.level) for _ in range(3)]
        self.single = self.param("single", stacked, (3, self.level, self.fused))
        self.pair = self.param("pair", stacked, (3, 2 * self.level, self.fused))
        self.scale = self.param("scale", nn.initializers.ones, (6, self.fused))
        self.bias = self.param("bias", nn.initializers.zeros, (6, self.fused))
        self.norm = nn.LayerNorm(use_scale=False, use_bias=False)
        self.all, self.last, self.classes = dense(self.fused), nn.LayerNorm(), dense(self.num_classes)

    def __call__(self, levels: tuple[jax.Array, ...]) -> jax.Array:
        return self.classify(self.fuse(levels), jnp.ones(()))

    def fuse(self, levels: tuple[jax.Array, ...]) -> jax.Array:
        """`[B, fused]` of levels `[B, n, H, W, C]`."""
        counts = [level.shape[1] for level in levels]
        x = jnp.concatenate(levels, axis=1)
        x = x.reshape(*x.shape[:2], -1)
        for layer in self.frames:
            x = nn.relu(layer(x))
        parts = jnp.split(x, np.cumsum(counts)[:-1], axis=1)
        e = jnp.stack(
            [nn.gelu(f(part.reshape(len(part), -1))) for f, part in zip(self.by_level, parts)], axis=1
        )
        pairs = jnp.concatenate([e[:, (0, 0, 1)], e[:, (1, 2, 2)]], axis=-1)
        both = jnp.concatenate(
            [jnp.einsum("bld,ldf->blf", pairs, self.pair), jnp.einsum("bld,ldf->blf", e, self.single)], axis=1
        )
        both = self.norm(nn.gelu(both)) * self.scale + self.bias
        return self.last(nn.gelu(self.all(both.reshape(len(both), -1))))

    def classify(self, features: jax.Array, keep: jax.Array) -> jax.Array:
        """Logits of features of which some are dropped."""
        return self.classes(features * keep)
