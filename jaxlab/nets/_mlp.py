"""A multilayer perceptron."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from jaxlab.core.check import InputError
from jaxlab.nets._head import Features, check_sizes, classify


class Mlp(nn.Module, kw_only=True):
    """Dense layers on the flattened input; with `features=()` it is a linear model.

    Args:
        features: widths of the hidden layers, e.g. `(256, 256)`.
        num_classes: number of logits.
        activation: applied after every hidden layer.
        dtype: type that the hidden layers compute in; None takes the common type of input and parameters.

    Returns:
        The module. `apply(params, x, return_features=False)` takes `x` `[B, ...]` of rank two or more and
        gives logits `[B, num_classes]`; with `return_features=True` also the tuple of hidden activations, of
        which the classifier reads the last (the flattened input where there is no hidden layer).

    Raises:
        ValueError: an input without a batch axis and at least one more.

    Reference: Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, 1986.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import Mlp
    >>> net, x = Mlp(features=(32, 16), num_classes=10), jnp.ones((4, 8, 8, 1))
    >>> params = net.init(jax.random.key(0), x)
    >>> logits, features = net.apply(params, x, return_features=True)
    >>> logits.shape, [f.shape for f in features]
    ((4, 10), [(4, 32), (4, 16)])
    """

    features: Sequence[int]
    num_classes: int
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, return_features: bool = False) -> jax.Array | tuple[jax.Array, Features]:
        if x.ndim < 2:
            raise InputError(f"Mlp needs an input [B, ...] of rank two or more, got shape {x.shape}")
        check_sizes("features", self.features)
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        hidden = [x]
        for width in self.features:
            dense = nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.he_normal())
            hidden.append(self.activation(dense(hidden[-1])))
        return classify(
            hidden[1:-1], hidden[-1], num_classes=self.num_classes, return_features=return_features
        )
