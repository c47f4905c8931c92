"""Sharding constraints, and the varying axes of arrays, for code that is written for the whole batch."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P


def match_varying(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The same arrays, all varying over the same axes of an enclosing `jax.shard_map`; elsewhere unchanged.

    Inside `shard_map` weights are the same on every device and activations are not. Where JAX derives a gradient it
    sums it over the devices for the weights; a `custom_vjp` may not, and is refused. Cast before such a function, the
    weights count as varying in it, and the sum is the cast's own gradient.

    Args:
      *arrays: any shapes and types.

    Returns:
      As many arrays, with the same values.

    >>> [x.shape for x in match_varying(jax.numpy.zeros(2), jax.numpy.zeros((3, 1)))]
    [(2,), (3, 1)]
    """
    varying = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    everywhere = frozenset().union(*varying)
    return tuple(
        jax.lax.pcast(x, tuple(everywhere - own), to="varying") if everywhere - own else x
        for x, own in zip(arrays, varying)
    )


def data_devices(rows: int) -> int:
    """How many devices the compiler may split rows over: the size of the mesh's axis "data", or 1.

    It is 1 without a mesh (`jax.set_mesh`), where the axis is mapped by hand, and where it does not divide the rows.

    Args:
      rows: the leading axis of what is to be split.

    Returns:
      A number of devices that divides `rows`.

    >>> data_devices(8)
    1
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types))
    if kinds.get("data") != jax.sharding.AxisType.Auto or rows % mesh.shape["data"]:
        return 1
    return mesh.shape["data"]


def split_rows(x: jax.Array) -> jax.Array:
    """The same array, its rows over the mesh axis "data" and its other axes whole.

    Weights that are sharded over "data" too would otherwise make the compiler split features, with a sum over the
    devices after every product, and let every device go through all rows.

    Args:
      x: `[B, ...]`.

    Returns:
      `[B, ...]`; `x` itself where `data_devices` is 1.

    >>> split_rows(jax.numpy.zeros((8, 2))).shape
    (8, 2)
    """
    if data_devices(x.shape[0]) == 1:
        return x
    return jax.lax.with_sharding_constraint(x, P("data", *(None,) * (x.ndim - 1)))


def gather_rows(x: jax.Array, axis_name: str | tuple[str, ...]) -> jax.Array:
    """The rows of all devices in device order; gradients go back to the device that a row came from.

    A sum over otherwise empty slots, not all_gather: only of a sum does shard_map know, in all its modes, that it is
    the same on every device, which a state carried through a scan has to be.
    """
    slots = jnp.zeros((jax.lax.axis_size(axis_name), *x.shape), x.dtype)
    slots = jax.lax.psum(slots.at[jax.lax.axis_index(axis_name)].set(x), axis_name)
    return slots.reshape(-1, *x.shape[1:])
