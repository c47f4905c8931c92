"""Arrays under `shard_map`, and rows that the compiler may split."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.core import data_devices, match_varying, split_rows


def test_arrays_vary_over_the_same_axes_inside_shard_map_and_keep_their_values():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def both(weight, x):
        weight, x = match_varying(weight, x)
        assert jax.typeof(weight).manual_axis_type.varying == {"data"}
        return weight[None] + 0 * x

    weight, x = jnp.arange(3.0), jnp.zeros((2, 3))
    out = jax.shard_map(both, mesh=mesh, in_specs=(jax.P(), jax.P("data")), out_specs=jax.P("data"))(
        weight, x
    )
    np.testing.assert_array_equal(out, [[0, 1, 2]] * 2)
    assert all(a is b for a, b in zip(match_varying(weight, x), (weight, x)))


def test_rows_are_split_where_the_compiler_may():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    assert data_devices(8) == 1
    with jax.set_mesh(mesh):
        assert [data_devices(rows) for rows in (8, 6)] == [4, 1]
        whole = jax.device_put(jnp.zeros((8, 2)), NamedSharding(mesh, P()))
        assert jax.jit(split_rows)(whole).sharding.spec == P("data")
        inside = jax.shard_map(lambda x: x * data_devices(8), in_specs=P("data"), out_specs=P("data"))
        assert inside(jnp.ones(8)).tolist() == [1.0] * 8
