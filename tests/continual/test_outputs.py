"""Losses on outputs and numbers about sequences: by hand, masks, extremes, what cannot be asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import continual as c
from jaxlab.core import cross_entropy, forward_kl

RNG = np.random.default_rng(0)
Z, OLD = RNG.normal(size=(2, 5, 4)).astype(np.float32)
LABELS = np.array([0, 3, 3, 0, -1])
SUMS = {
    "lwf_loss": lambda z, old: jnp.sum(c.lwf_loss(z, old)),
    "icarl_loss": lambda z, old: jnp.sum(c.icarl_loss(z, LABELS, old, old_classes=np.array([1, 1, 0, 0]))),
    "der_loss": lambda z, old: jnp.sum(c.der_loss(z, old)),
    "er_ace_loss": lambda z, old: jnp.sum(c.er_ace_loss(z, LABELS)),
}
graded = {name: jax.jit(jax.value_and_grad(f, argnums=(0, 1))) for name, f in SUMS.items()}


@pytest.mark.parametrize("name", SUMS)
def test_extremes_are_finite_and_the_old_network_gets_no_gradient(name):
    for scale in (1.0, 1e4):
        value, (new, old) = graded[name](scale * Z, -scale * OLD)
        assert np.isfinite(value)
        assert np.isfinite(new).all()
        assert np.abs(old).max() == 0 < np.abs(new).max()


def test_without_forgetting_the_old_classes_alone_count():
    got = c.lwf_loss(Z, OLD, temperature=3.0, classes=np.array([1, 1, 0, 0]))
    np.testing.assert_allclose(got, forward_kl(Z[:, :2], OLD[:, :2], temperature=3.0), rtol=1e-4)
    spoiled = np.where(np.arange(4) < 2, OLD, np.nan)
    again = c.lwf_loss(Z, spoiled, temperature=3.0, classes=np.array([1, 1, 0, 0]))
    np.testing.assert_array_equal(again, got)
    assert np.abs(c.lwf_loss(Z, OLD, classes=np.zeros(4))).max() == 0  # the first task


def test_logistic_outputs_by_hand():
    z, old = np.float32([[0.0, 2.0, -1.0]]), np.float32([[1.0, 0.0, 0.0]])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    bce = lambda z, t: -t * np.log(sigmoid(z)) - (1 - t) * np.log(1 - sigmoid(z))
    got = c.icarl_loss(z, np.array([1]), old, old_classes=np.array([1, 0, 0]))
    np.testing.assert_allclose(got, [(bce(0, sigmoid(1.0)) + bce(2, 1) + bce(-1, 0)) / 3], rtol=1e-5)
    spoiled = c.icarl_loss(np.full((1, 3), np.nan), np.array([-1]), old)
    assert spoiled[0] == 0


def test_absent_classes_do_not_compete():
    present = np.array([1, 0, 0, 1], bool)
    got = c.er_ace_loss(Z, LABELS)
    np.testing.assert_allclose(got, cross_entropy(Z, LABELS, classes=present), rtol=1e-5)
    gradient = jax.grad(lambda z: jnp.sum(c.er_ace_loss(z, LABELS)))(Z)
    assert np.abs(gradient[:, 1:3]).max() == 0
    spoiled = np.where(present, Z, np.nan)
    spoiled[4] = np.nan
    np.testing.assert_array_equal(c.er_ace_loss(spoiled, LABELS), got)
    with_future = c.er_ace_loss(Z, LABELS, future=np.array([0, 1, 0, 0]))
    np.testing.assert_allclose(
        with_future, cross_entropy(Z, LABELS, classes=np.array([1, 1, 0, 1])), rtol=1e-5
    )
    masked = c.er_ace_loss(Z, LABELS, where=np.array([1, 0, 0, 1, 1]))  # only class 0 is left
    assert np.abs(masked).max() == 0


def test_stored_logits():
    np.testing.assert_allclose(c.der_loss(Z, OLD), np.mean((Z - OLD) ** 2, axis=1), rtol=1e-5)
    where = np.array([1, 1, 0, 1, 1], bool)
    got = c.der_loss(np.where(where[:, None], Z, np.nan), OLD, where=where)
    np.testing.assert_allclose(got, where * np.mean((Z - OLD) ** 2, axis=1), rtol=1e-5)


# Row i after task i: the second task lifts the first, the third costs both.
R = np.array([[0.5, 0.1, 0.2], [0.7, 0.9, 0.3], [0.4, 0.6, 0.8]], np.float32)


@jax.jit
def _all(matrix, untrained):
    names = ("average_accuracy", "average_incremental_accuracy", "backward_transfer", "forgetting_max",
             "forgetting_mean", "positive_backward_transfer", "mean_forward_transfer")  # fmt: skip
    made = {name: getattr(c, name)(matrix) for name in names}
    return made | {"forward_transfer": c.forward_transfer(matrix, untrained)}


def test_a_sequence_by_hand():
    got = _all(R, np.full(3, 0.1, np.float32))
    expected = {
        "average_accuracy": 1.8 / 3,
        "average_incremental_accuracy": (0.5 + 0.8 + 0.6) / 3,
        "backward_transfer": ((0.4 - 0.5) + (0.6 - 0.9)) / 2,
        "forgetting_max": ((0.7 - 0.4) + (0.9 - 0.6)) / 2,
        "forgetting_mean": ((0.7 - 0.4) + (0.9 - 0.6)) / 3,
        "forward_transfer": ((0.1 - 0.1) + (0.3 - 0.1)) / 2,
        "positive_backward_transfer": 0.0,  # of +.2, -.1 and -.3
        "mean_forward_transfer": (0.1 + 0.2 + 0.3) / 3,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    first = np.float32([[0.5, 0.95], [0.7, 0.9]])  # a task that was at its best before it was learned
    np.testing.assert_allclose(c.forgetting_mean(first), 0.025, rtol=1e-5)
    np.testing.assert_allclose(c.positive_backward_transfer(first), 0.2, rtol=1e-5)


def test_one_task_perfect_memory_and_many_runs():
    one = _all(np.float32([[0.7]]), np.zeros(1, np.float32))
    assert [float(v) for v in one.values()] == [np.float32(0.7)] * 2 + [0.0] * 6
    stays = np.tril(np.ones((4, 4), np.float32))
    kept = _all(stays, np.zeros(4, np.float32))
    assert kept["forgetting_max"] == kept["forgetting_mean"] == kept["backward_transfer"] == 0
    runs = np.stack([R, R[::-1]])
    both = _all(runs, np.zeros((2, 3), np.float32))
    for name, value in both.items():
        alone = _all(R[::-1], np.zeros(3, np.float32))[name]
        np.testing.assert_allclose(value[1], alone, rtol=1e-6, err_msg=name)
    spoiled = np.where(np.eye(3) > 0, np.nan, R).astype(np.float32)
    assert np.isnan(c.average_accuracy(spoiled))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: c.lwf_loss(Z, OLD[:2]), "must have the same shape"),
        (lambda: c.icarl_loss(Z, LABELS + 1, OLD), r"labels must be in \[0, 4\).*got 4"),
        (lambda: c.icarl_loss(Z, LABELS, OLD, old_classes=np.ones(3)), r"old_classes \(3,\) must broadcast"),
        (lambda: c.er_ace_loss(Z[0], np.int32(1)), r"logits \(4,\) must be \[N, C\]"),
        (lambda: c.er_ace_loss(Z, LABELS, future=np.ones(2)), r"future \(2,\) must broadcast to the classes"),
        (lambda: c.der_loss(Z, OLD, where=np.ones(3)), r"where \(3,\) must broadcast"),
        (lambda: c.backward_transfer(R[:2]), r"accuracies must be \[..., T, T\]"),
        (lambda: c.forward_transfer(R, np.ones(2)), r"untrained \(2,\) must be \[..., T\]"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
