"""What a function with a gradient of its own owes to `jax.shard_map`."""

import jax


def vary_alike(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The same arrays, all varying over the same axes of an enclosing `jax.shard_map`; elsewhere unchanged.

    Inside `shard_map` weights are the same on every device and activations are not. Where JAX derives a gradient it
    sums it over the devices for the weights; a `custom_vjp` may not, and is refused. Cast before such a function, the
    weights count as varying in it, and the sum is the cast's own gradient.

    Args:
      *arrays: any shapes and types.

    Returns:
      As many arrays, with the same values.

    Reference: `jax.lax.pcast`; the types that `shard_map(check_vma=True)` gives to its values.

    >>> [x.shape for x in vary_alike(jax.numpy.zeros(2), jax.numpy.zeros((3, 1)))]
    [(2,), (3, 1)]
    """
    varying = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    everywhere = frozenset().union(*varying)
    return tuple(
        jax.lax.pcast(x, tuple(everywhere - own), to="varying") if everywhere - own else x
        for x, own in zip(arrays, varying)
    )
