"""Four ways to run one update on four devices; whatever takes `axis_name` must agree in all of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

DEVICES = 4


def _split(batch):
    return jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch)


def _the_same_everywhere(stacked):
    for leaf in jax.tree.leaves(stacked):
        for device in range(1, DEVICES):
            np.testing.assert_array_equal(leaf[device], leaf[0])
    return jax.tree.map(lambda x: x[0], stacked)


def _by_shard_map(update, state, batch, *, check_vma):
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    specs = {"mesh": mesh, "in_specs": (jax.P(), jax.P("data")), "check_vma": check_vma}
    if check_vma:
        return jax.jit(jax.shard_map(update, out_specs=jax.P(), **specs))(state, batch)
    stacked = lambda *args: jax.tree.map(lambda x: x[None], update(*args))
    return _the_same_everywhere(
        jax.jit(jax.shard_map(stacked, out_specs=jax.P("data"), **specs))(state, batch)
    )


def _by_pmap(update, state, batch):
    devices = jax.devices()[:DEVICES]
    mapped = jax.pmap(update, axis_name="data", in_axes=(None, 0), devices=devices)
    return _the_same_everywhere(mapped(state, _split(batch)))


def _by_vmap(update, state, batch):
    mapped = jax.jit(jax.vmap(update, axis_name="data", in_axes=(None, 0)))
    return _the_same_everywhere(mapped(state, _split(batch)))


WORLDS = {
    "shard_map": lambda *args: _by_shard_map(*args, check_vma=True),
    "shard_map_unchecked": lambda *args: _by_shard_map(*args, check_vma=False),
    "pmap": _by_pmap,
    "vmap": _by_vmap,
}


@pytest.fixture(params=WORLDS)
def on_four_devices(request):
    """`run(update, state, batch)`: `state` on every device, `batch` split over them, the replicated result."""
    return WORLDS[request.param]


@pytest.fixture
def assert_global(on_four_devices):
    """`check(loss, weight, batch)`: value and gradient on four devices are those on one.

    `loss(weight, batch, axis_name)` returns a scalar; the gradient is taken as a driver does, pmean of the gradient
    of the global loss.
    """

    def check(loss, weight, batch):
        def update(weight, batch):
            value, gradient = jax.value_and_grad(loss)(weight, batch, "data")
            return value, jax.lax.pmean(gradient, "data")

        expected = jax.jit(jax.value_and_grad(loss), static_argnums=2)(weight, batch, None)
        got = on_four_devices(update, weight, batch)
        assert jnp.all(jnp.isfinite(got[1]))
        chex.assert_trees_all_close(got, expected, rtol=2e-5, atol=1e-6)

    return check
