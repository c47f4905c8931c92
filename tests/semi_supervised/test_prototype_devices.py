"""Prototypes over devices: banks, queues and exchange give on 1, 2, 4 and 8 devices one device's values and gradients.

Two styles: an update written for the whole batch, whose batch is sharded, and one written per device with `axis_name`.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab import semi_supervised as ss
from jaxlab.core import bank_init, bank_update, class_means, exchange, masked_mean, prototype_logits
from jaxlab.semi_supervised import ev_wsss, prototype_memory
from jaxlab.training import make_mesh, per_device

B, H, K, D = 8, 4, 3, 4
KEYS = jax.random.split(jax.random.key(0), 8)
DEVICES = pytest.mark.parametrize("devices", [1, 2, 4, 8])


@jax.jit
def batch():
    """Images whose devices hold different numbers of labelled and of confident pixels; some hold none."""
    labels = jax.random.randint(KEYS[0], (B, H, H), 0, K)
    labelled = (jax.random.uniform(KEYS[1], (B, H, H)) < 0.4) & (jnp.arange(B) % 3 != 1)[:, None, None]
    inputs = jax.random.normal(KEYS[2], (2, B, H, H, D)) * jnp.linspace(0.2, 4.0, B)[:, None, None, None]
    return {"a": inputs[0], "b": inputs[1], "label": labels, "labelled": labelled}


@jax.jit
def start():
    """Parameters of two students that are one linear map each, and memories that are neither empty nor full."""
    draw = lambda n, *shape: jax.random.normal(KEYS[n], shape)
    params = {
        "maps": draw(3, 2, D, D),
        "heads": draw(4, 2, D, K),
        "projections": draw(5, 2, D, D),
        "biases": draw(6, 2, D),
    }
    filled = prototype_memory.class_queues_push(
        prototype_memory.class_queues_init(K, 6, D), draw(7, 2, K, D), jnp.ones((2, K))
    )
    bank = bank_update(bank_init(K, D), draw(7, K, D), jnp.array([1.0, 0.0, 2.0]), decay=0.9)
    return {"params": params, "queues": (filled, filled), "bank": bank}


def student(params, n, x, queues):
    features = jnp.tanh(x @ params["maps"][n])
    projection = (params["projections"][n], params["biases"][n])
    return ev_wsss.EvWsssBranch(3 * features @ params["heads"][n], (features,), (projection,), queues)


def loss(params, state, batch, axis_name):
    """EV-WSSS's loss, and a pull to a bank's prototypes before and after exchange."""
    a, b = (student(params, n, batch[x], state["queues"][n]) for n, x in enumerate("ab"))
    value, terms, queues = ev_wsss.ev_wsss_loss(
        a, b, batch["label"], where=batch["labelled"], min_mass=1.0, min_items=1, axis_name=axis_name
    )
    flat, labels = a.features[0].reshape(-1, D), batch["label"].reshape(-1)
    means, mass = class_means(
        flat, labels, num_classes=K, where=batch["labelled"].reshape(-1), axis_name=axis_name
    )
    bank = bank_update(state["bank"], means, mass, decay=0.9)
    there, back = exchange(bank.mean, means, params["projections"][0], params["projections"][1])
    logits = prototype_logits(flat, there + back, classes=bank.mass > 0)
    value += masked_mean(ss.masked_cross_entropy(logits, labels), axis_name=axis_name)
    return value, ({**state, "queues": queues, "bank": bank}, terms)


def update(state, batch, key, axis_name=None):
    """One step of gradient descent; the metrics are the gradient and the terms."""
    (value, (new, terms)), grads = jax.value_and_grad(loss, has_aux=True)(
        state["params"], state, batch, axis_name
    )
    if axis_name:
        grads = jax.lax.pmean(grads, axis_name)
    new["params"] = jax.tree.map(lambda p, g: p - 0.1 * g, state["params"], grads)
    scalars = {name: getattr(terms, name) for name in ("dual", "prototype_a", "prototype_b", "distillation")}
    return new, {"loss": value, "grads": grads, **scalars}


@pytest.fixture(scope="module")
def one_device():
    """Two steps, so that a memory that differs between devices would show in the second."""
    step = jax.jit(update)
    state, first = step(start(), batch(), jax.random.key(0))
    state, second = step(state, batch(), jax.random.key(0))
    assert second["prototype_a"] > 0
    assert second["dual"] > 0
    assert all(np.abs(g).max() > 1e-4 for g in jax.tree.leaves(second["grads"]))
    return state, (first, second)


def close(got, expected):
    chex.assert_trees_all_close(got, expected, rtol=5e-5, atol=5e-6)


@DEVICES
def test_a_sharded_batch_under_jit(one_device, devices):
    mesh = make_mesh({"data": devices})
    rows = jax.device_put(batch(), NamedSharding(mesh, P("data")))
    state = jax.device_put(start(), NamedSharding(mesh, P()))
    step = jax.jit(update, out_shardings=NamedSharding(mesh, P()))
    state, first = step(state, rows, jax.random.key(0))
    state, second = step(state, rows, jax.random.key(0))
    close((state, (first, second)), one_device)


@pytest.mark.parametrize(
    ("via", "devices"), [("shard_map", 1), ("shard_map", 2), ("shard_map", 4), ("shard_map", 8), ("pmap", 4)]
)
def test_an_update_written_per_device(one_device, devices, via):
    step = per_device(lambda *args: update(*args, axis_name="data"), make_mesh({"data": devices}), via=via)
    state, first = step(start(), batch(), jax.random.key(0))
    state, second = step(state, batch(), jax.random.key(0))
    close((state, (first, second)), one_device)


def test_the_authors_skip_looks_at_all_devices():
    """One image without a confident pixel anywhere silences the dual term everywhere, as it does on one device."""
    rows, state = batch(), start()
    rows["a"] = rows["a"].at[5].set(0.0)

    @functools.partial(jax.jit, static_argnums=1)
    def dual(rows, axis_name=None):
        a, b = (student(state["params"], n, rows[x], state["queues"][n]) for n, x in enumerate("ab"))
        where = jnp.ones_like(rows["labelled"])
        return ev_wsss.ev_wsss_loss(a, b, rows["label"], where=where, authors_code=True, axis_name=axis_name)[
            1
        ].dual

    split = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), rows)
    each = jax.vmap(lambda rows: dual(rows, "data"), axis_name="data")(split)
    assert dual(rows) == 0
    np.testing.assert_array_equal(each, np.zeros(4))
