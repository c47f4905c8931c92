"""The mesh, and an update written per device: the single device's gradients under shard_map and pmap."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxlab.core import masked_mean
from jaxlab.distillation import dist_loss, kd_loss
from jaxlab.training import make_mesh, per_device, state_shardings
from jaxlab.training.mesh import initialize_distributed, seed_devices, spread_over_cores


def problem():
    key = jax.random.key(0)
    features, teacher = (
        jax.random.normal(key, (16, 6)),
        3 * jax.random.normal(jax.random.fold_in(key, 1), (16, 5)),
    )
    valid = jnp.arange(16) % 5 < 2  # devices hold different numbers of valid rows
    return jax.random.normal(jax.random.fold_in(key, 2), (6, 5)), (features, teacher, valid)


def loss(params, batch, axis_name=None):
    """Everything that couples rows: a masked mean, and correlations over the batch."""
    logits = batch[0] @ params
    each = kd_loss(logits, batch[1])
    return masked_mean(each, where=batch[2], axis_name=axis_name) + dist_loss(
        logits, batch[1], axis_name=axis_name
    )


def update(params, batch, key):
    value, grads = jax.value_and_grad(loss)(params, batch, "data")
    grads = jax.lax.pmean(grads, "data")
    return params - 0.1 * grads, {"loss": value, "noise": jax.random.normal(key)}


@pytest.mark.parametrize("via", ["shard_map", "pmap"])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_per_device_equals_one_device(via, devices):
    params, batch = problem()
    value, grads = jax.value_and_grad(loss)(params, batch)
    found, metrics = per_device(update, make_mesh({"data": devices}), via=via)(
        params, batch, jax.random.key(3)
    )
    np.testing.assert_allclose(found, params - 0.1 * grads, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    assert float(metrics["noise"]) == float(jax.random.normal(jax.random.key(3)))


def test_the_old_habit_is_wrong_and_this_test_would_notice():
    """pmean of the gradient of a local loss, four times too large under shard_map's varying-axis check."""
    params, batch = problem()
    local = lambda params, batch: jnp.mean(kd_loss(batch[0] @ params, batch[1]))
    naive = lambda params, batch, key: (jax.lax.pmean(jax.grad(local)(params, batch), "data"), {})
    found, _ = per_device(naive, make_mesh({"data": 4}))(params, batch, jax.random.key(0))
    np.testing.assert_allclose(found, 4 * jax.grad(local)(params, batch), rtol=1e-4)


def test_per_device_says_what_is_wrong():
    params, batch = problem()
    mesh = make_mesh({"data": 4})
    with pytest.raises(ValueError, match="via is 'vmap'"):
        per_device(update, mesh, via="vmap")
    with pytest.raises(ValueError, match="no axis 'rows'"):
        per_device(update, mesh, axis_name="rows")
    short = jax.tree.map(lambda x: x[:6], batch)
    with pytest.raises(ValueError, match="a batch of 6 rows cannot be split over 4 devices"):
        per_device(update, mesh)(params, short, jax.random.key(0))


def test_the_mesh_has_auto_axes():
    mesh = make_mesh({"seed": 2, "data": 2, "model": 2})
    assert dict(mesh.shape) == {"seed": 2, "data": 2, "model": 2}
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert make_mesh().size == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"rows": 2}, "no axis 'rows': the axes are seed, data, model"),
        ({"data": 0}, "mesh.data is 0"),
        ({"data": 2.5}, "whole number"),
        ({"data": 16}, "needs 16 devices: there are 8"),
    ],
)
def test_meshes_that_cannot_be(shape, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(shape)


def test_rules_place_what_they_name_and_leave_what_does_not_divide():
    mesh = make_mesh({"seed": 2, "data": 2, "model": 2})
    state = {"dense": {"kernel": jnp.zeros((2, 6, 4)), "bias": jnp.zeros((2, 4))}, "odd": jnp.zeros((2, 3))}
    rules = [("kernel", P("data", "model")), ("bias|odd", P("model"))]
    found = state_shardings(mesh, state, rules)
    assert found["dense"]["kernel"].spec == P("seed", "data", "model")
    assert found["dense"]["bias"].spec == P("seed", "model")
    assert found["odd"].spec == P("seed", None)


def test_half_described_processes_are_refused(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    monkeypatch.delenv("JAX_NUM_PROCESSES", raising=False)
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES, JAX_PROCESS_ID not set"):
        initialize_distributed()


def test_several_processes_must_use_all_their_devices(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match=r"mesh seed=1 x data=4 x model=1 has 4 devices.*must use all 8"):
        make_mesh({"data": 4})
    assert make_mesh({"data": 8}).size == 8


@pytest.mark.parametrize(
    ("seeds", "others", "expected"),
    [(8, 1, 8), (10, 1, 5), (7, 1, 7), (11, 1, 6), (6, 3, 2), (5, 4, 2), (3, 16, 1)],
)
def test_seeds_take_the_fewest_devices_that_leave_each_the_least_work(seeds, others, expected):
    assert seed_devices(seeds, others=others) == expected


def test_cores_become_devices_unless_told_otherwise(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.config, "update", lambda name, value: asked.append((name, value)))
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])
    spread_over_cores()
    assert asked == []  # these tests have set the number themselves
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_collective_call_terminate_timeout_seconds=90")
    spread_over_cores()
    assert asked == [("jax_num_cpu_devices", os.cpu_count())]
    # A process whose devices wait for each other goes on waiting, unless told otherwise.
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_cpu_collective_call_terminate_timeout_seconds=90",
        "--xla_cpu_collective_call_warn_stuck_timeout_seconds=600",
    ]
