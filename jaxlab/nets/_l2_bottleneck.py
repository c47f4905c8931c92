"""A projection head whose output depends on directions alone."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.core import as_float, normalize
from jaxlab.core.check import InputError
from jaxlab.nets._head import check_sizes


class L2BottleneckHead(nn.Module, kw_only=True):
    """Dense layers with GELU, a bottleneck of length 1, and a linear map from it to many outputs.

    With `weight_norm` every output is a cosine, so the logits lie in [-1, 1] whatever the scale of the layers
    before: only where a feature points can be learned from it. A bottleneck that is exactly zero has no direction and
    gives zeros.

        z = W h + b,   output_k = (v_k / |v_k|) . z / |z|

    Args:
        features: widths of the GELU layers (exact, by the error function).
        bottleneck: width of z.
        num_outputs: number of logits.
        weight_norm: whether the vectors v_k are scaled to length 1; False is what the authors' released code computes.
        kernel_init: initializer of the GELU layers and of W, truncated normal of 0.02 by default; biases are 0.

    Returns:
        The module; applied to `[B, F]` it gives `[B, num_outputs]` float32 (float64 stays float64).

    Raises:
        ValueError: an input that is not `[B, F]`.

    Reference: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021, section 3.1; Sarnthein
      et al., Random Teachers are Good Teachers, 2023, appendix A. The latter's layer computes the normalised
      weight and does not use it.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import L2BottleneckHead
    >>> head, x = L2BottleneckHead(features=(16,), bottleneck=4, num_outputs=32), jnp.ones((2, 8))
    >>> logits = head.apply(head.init(jax.random.key(0), x), x)
    >>> logits.shape, bool(jnp.abs(logits).max() <= 1)
    ((2, 32), True)
    """

    features: Sequence[int] = (2048, 2048)
    bottleneck: int = 256
    num_outputs: int = 65536
    weight_norm: bool = True
    kernel_init: Callable[..., jax.Array] = nn.initializers.truncated_normal(0.02)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if x.ndim != 2:
            raise InputError(f"L2BottleneckHead needs features [B, F], got shape {x.shape}")
        check_sizes("features", self.features)
        check_sizes("bottleneck and num_outputs", (self.bottleneck, self.num_outputs))
        x = as_float(x)
        for width in self.features:
            x = nn.gelu(nn.Dense(width, kernel_init=self.kernel_init)(x), approximate=False)
        z = normalize(nn.Dense(self.bottleneck, kernel_init=self.kernel_init, name="bottleneck")(x))
        shape = (self.bottleneck, self.num_outputs)
        directions = self.param("directions", self.kernel_init, shape, jnp.float32)
        return z @ (normalize(directions, axis=0) if self.weight_norm else directions)
