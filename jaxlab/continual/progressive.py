"""Progressive networks: a new column of layers per task, which reads the frozen columns before it.

All columns have the same widths and are there from the start, so that shapes are static; a column exists for what is
computed once its task has come.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_least


def progressive_init(
    key: jax.Array, *, dim: int, features: Sequence[int], num_classes: int, num_tasks: int, adapter: int
) -> dict:
    """Columns for all tasks, each a perceptron with adapters to the columns before it.

    Args:
      key: random key.
      dim: width of an input.
      features: widths of the hidden layers, at least one.
      num_classes: logits of a task.
      num_tasks: T.
      adapter: width of an adapter's hidden layer.

    Returns:
      A pytree whose leaves have the leading axis `[T]`: `layers` and `adapters`, lists over layers. Kernels are drawn
      with variance 2 / fan-in, biases are 0, the scale of every earlier column is 1.

    Raises:
      ValueError: if there is no hidden layer or a size is below 1.

    >>> params = progressive_init(jax.random.key(0), dim=3, features=(4,), num_classes=2, num_tasks=2, adapter=5)
    >>> params["layers"][0]["kernel"].shape, params["adapters"][0]["down"]["kernel"].shape
    ((2, 3, 4), (2, 8, 5))
    """
    if not features:
        raise InputError("features must name at least one hidden layer, got none")
    for name, size in (
        ("dim", dim),
        ("num_classes", num_classes),
        ("num_tasks", num_tasks),
        ("adapter", adapter),
    ):
        check_least(name, size, 1)
    keys = iter(jax.random.split(key, 3 * len(features) + 3))

    def dense(fan_in: int, width: int) -> dict:
        kernel = jax.random.normal(next(keys), (num_tasks, fan_in, width)) * np.sqrt(2 / fan_in)
        return {"kernel": kernel.astype(jnp.float32), "bias": jnp.zeros((num_tasks, width))}

    widths = (dim, *features, num_classes)
    layers = [dense(*pair) for pair in itertools.pairwise(widths)]
    adapters = [
        {
            "scale": jnp.ones((num_tasks, num_tasks)),
            "down": dense(num_tasks * below, adapter),
            "up": dense(adapter, above),
        }
        for below, above in zip(features, widths[2:])
    ]
    return {"layers": layers, "adapters": adapters}


def lateral_adapter(adapter: Any, previous: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """What a layer of a column reads from the columns before it.

        U relu( V [a_j h_j]_j + c ) + b

    Args:
      adapter: `scale [J]` and the dense maps `down`, `[J D, A]`, and `up`, `[A, E]`, each a dict of kernel and bias.
      previous: `[J, N, D]` activations of the layer below in J columns; stop their gradient where they are frozen.
      where: `[J]` bool or {0, 1}, the columns that exist; None means all. Without any the result is 0.

    Returns:
      `[N, E]` float32 (float64 for float64 input).

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Rusu et al., Progressive Neural Networks, 2016, equation 2, with a scale per column as in Avalanche.

    >>> dense = lambda i, o: {"kernel": jnp.ones((i, o)), "bias": jnp.zeros(o)}
    >>> adapter = {"scale": jnp.array([1.0, 3.0]), "down": dense(2, 1), "up": dense(1, 1)}
    >>> lateral_adapter(adapter, jnp.ones((2, 1, 1))).tolist()
    [[4.0]]
    """
    previous = as_float(previous)
    if previous.ndim != 3 or np.shape(adapter["scale"]) != previous.shape[:1]:
        raise InputError(
            f"previous {previous.shape} must be [J, N, D] with J of scale {np.shape(adapter['scale'])}"
        )
    columns, rows, width = previous.shape
    if np.shape(adapter["down"]["kernel"])[0] != columns * width:
        raise InputError(
            f"the kernel of down {np.shape(adapter['down']['kernel'])} must have J D = {columns * width} rows"
        )
    exists = jnp.ones(columns, bool) if where is None else jnp.asarray(where).astype(bool)
    scaled = jnp.where(exists[:, None, None], as_float(adapter["scale"])[:, None, None] * previous, 0.0)
    joined = jnp.swapaxes(scaled, 0, 1).reshape(rows, columns * width)
    made = _dense(adapter["up"], jax.nn.relu(_dense(adapter["down"], joined)))
    return jnp.where(jnp.any(exists), made, 0.0)


def progressive_apply(params: dict, x: jax.Array, task: jax.Array) -> jax.Array:
    """Logits of one task's column; gradients reach that column alone, so what an earlier task learned never changes.

        h_l^k = relu( W_l^k h_{l-1}^k + b + adapter_l^k( h_{l-1}^{j<k} ) )

    Args:
      params: as from `progressive_init`.
      x: `[N, ...]`, flattened here.
      task: integer in [0, T), may be traced: the task must be known at test time. Another counts as the nearest.

    Returns:
      `[N, C]` float32 logits. The scales and adapters of a column that reads from no earlier one get no gradient.

    Raises:
      ValueError: if the input does not have the width of the first layer.

    Reference: Rusu et al., Progressive Neural Networks, 2016, equation 2, with a scale per column as in Avalanche.

    >>> params = progressive_init(jax.random.key(0), dim=3, features=(4,), num_classes=2, num_tasks=2, adapter=5)
    >>> progressive_apply(params, jnp.ones((7, 3)), 1).shape
    (7, 2)
    """
    x = as_float(x).reshape(len(x), -1)
    tasks, dim, _ = params["layers"][0]["kernel"].shape
    if x.shape[1] != dim:
        raise InputError(f"x {x.shape} must have width {dim}, that of the first layer")
    task = jnp.clip(jnp.asarray(task), 0, tasks - 1)
    own = jnp.arange(tasks) == task

    def freeze(p: jax.Array) -> jax.Array:
        return jnp.where(own.reshape(-1, *(1,) * (p.ndim - 1)), p, jax.lax.stop_gradient(p))

    params = jax.tree.map(freeze, params)
    hidden = jax.nn.relu(jax.vmap(_dense, (0, None))(params["layers"][0], x))
    for layer, adapter in zip(params["layers"][1:], params["adapters"]):
        earlier = jnp.tril(jnp.ones((tasks, tasks), bool), -1)
        read = jax.vmap(lambda a, where: lateral_adapter(a, hidden, where=where))(adapter, earlier)  # noqa: B023
        made = jax.vmap(_dense)(layer, hidden) + read
        hidden = made if layer is params["layers"][-1] else jax.nn.relu(made)
    return hidden[task]


def _dense(params: Any, x: jax.Array) -> jax.Array:
    return x @ as_float(params["kernel"]) + as_float(params["bias"])
