"""Where a decoder's parameters and rows live on a mesh."""

import re
from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from jaxlab.core import data_devices, match_varying


def sharding_rules(*, stacked: bool = False, shard_data: bool = True) -> tuple[tuple[str, P], ...]:
    """Where each parameter lives on the mesh: heads and MLP columns over "model", the other side over "data".

    The rules also place what is shaped like the parameters, such as an optimizer's moments, since they look at the
    end of the path only. Norms and biases of a layer stay whole. Let "model" divide the number of key-value heads:
    more devices split single heads, and the compiler then moves their parts about.

    Args:
      stacked: the layers lead with an axis `[L]`, see `stack_layers`.
      shard_data: also split over "data" (fully sharded parameters); False replicates them there.

    Returns:
      `(pattern, PartitionSpec)` pairs for `training.mesh.state_shardings`.

    Reference: Shoeybi et al., Megatron-LM, 2019, section 3, for the "model" axis; Rajbhandari et al., ZeRO, 2020,
      stage 3, for "data".

    >>> pattern, spec = sharding_rules()[1]
    >>> spec
    P('model', 'data')
    """
    data = "data" if shard_data else None
    layer = (None,) if stacked else ()
    return (
        (r"\['(q|k|v|gate|up)'\]$", P(*layer, data, "model")),
        (r"\['(o|down)'\]$", P(*layer, "model", data)),
        (r"\['embed'\]$", P("model", data)),
        (r"\['output'\]$", P(data, "model")),
    )


def gathered(params: Any) -> Any:
    """Parameters whole along the mesh axis "data", and along "model" as `sharding_rules` has them.

    Called where they are used: within a layer, so that one layer at a time is whole, or before a loop over tokens.
    """
    if data_devices(0) == 1:
        return params
    sizes, rules = jax.sharding.get_abstract_mesh().shape, sharding_rules(shard_data=False)

    def place(path: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path)
        spec = next((spec for pattern, spec in rules if re.search(pattern, name)), P())
        leading = leaf.ndim - len(spec)  # of stacked layers
        axes = [
            axis if axis and size % sizes[axis] == 0 else None
            for axis, size in zip(spec, leaf.shape[leading:])
        ]
        return jax.lax.with_sharding_constraint(leaf, P(*(None,) * leading, *axes))

    return jax.tree_util.tree_map_with_path(place, params)


def look_up(embed: jax.Array, tokens: jax.Array) -> jax.Array:
    """`embed[tokens]`, every device its own rows, so that the gradient is summed over the devices once."""
    if data_devices(tokens.shape[0]) == 1:
        return embed[tokens]
    here = lambda embed, tokens: match_varying(embed, tokens)[0][tokens]
    specs = {"in_specs": (P(), P("data")), "out_specs": P("data"), "axis_names": {"data"}}
    return jax.shard_map(here, **specs)(embed, tokens)
