"""Rewards on one scale; OREAL's loss and KL-Cov as the authors compute them, with their gradients."""

import functools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError
from jaxlab.post_training import mixture_of_rewards as mor

G = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "mixture_of_rewards.npz"))
LABELS, REWARDS = G["in_labels"], G["in_rewards"]
MASK = LABELS >= 0
PARTS = {
    "cfg": {"negative_weight": 0.5, "weigh_positives": True},
    "plain": {"negative_weight": 1.0, "weigh_positives": False},
}


def _log_probs(logits):
    chosen = jnp.where(MASK, LABELS, 0)[..., None]
    return jnp.take_along_axis(jax.nn.log_softmax(logits), chosen, -1)[..., 0]


def _oreal(logits, name):
    log_probs = _log_probs(logits)
    losses = mor.oreal_loss(log_probs, REWARDS, G["in_adv_rloo"], where=MASK, **PARTS[name])
    rows = losses.sum(1)
    beta = 0.01 if name == "cfg" else 0.0
    kl = pt.kl_estimate(log_probs, _log_probs(G["in_ref_logits"]), kind="k3", where=MASK).sum(1)
    kl = beta * kl / MASK.sum()
    right = REWARDS > 0
    parts = {"pos": jnp.where(right, rows, 0), "neg": jnp.where(right, 0, rows), "kl": kl}
    return sum(part.sum() for part in parts.values()), parts


@pytest.mark.parametrize("name", PARTS)
def test_the_authors_oreal(name):
    graded = jax.jit(jax.value_and_grad(functools.partial(_oreal, name=name), has_aux=True))
    (total, parts), gradient = graded(G["in_logits"])
    for part, value in parts.items():
        np.testing.assert_allclose(value, G[f"out_oreal_{name}_{part}"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(total, G[f"out_oreal_{name}_total"], rtol=1e-5)
    np.testing.assert_allclose(gradient, G[f"grad_oreal_{name}_logits"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "fraction", "beta"), [("k0.2", 0.002, 0.01), ("k20.0", 0.2, 1.0)])
def test_the_authors_kl_cov(name, fraction, beta):
    def loss(log_probs):
        losses = mor.kl_cov_loss(
            log_probs, G["in_old_logp"], G["in_adv"], where=G["in_mask"], fraction=fraction, beta=beta
        )
        return pt.aggregate(losses, G["in_mask"])

    value, gradient = jax.jit(jax.value_and_grad(loss))(G["in_new_logp"])
    np.testing.assert_allclose(value, G[f"out_klcov_{name}"], rtol=1e-5)
    np.testing.assert_allclose(gradient, G[f"grad_klcov_{name}_new_logp"], rtol=1e-4, atol=1e-7)


def test_the_authors_distance_from_the_old_policy():
    distance = pt.kl_estimate(G["in_new_logp"], G["in_old_logp"], kind="abs", where=G["in_mask"])
    np.testing.assert_allclose(pt.aggregate(distance, G["in_mask"]), G["out_klcov_abs_kl"], rtol=1e-5)


def test_the_brake_is_off_at_the_first_update():
    log_probs, advantage = G["in_old_logp"], G["in_adv"]
    gradient = lambda beta: jax.grad(
        lambda x: mor.kl_cov_loss(x, log_probs, advantage, fraction=0.5, beta=beta, where=G["in_mask"]).sum()
    )(log_probs)
    held, free = jax.jit(lambda: (gradient(3.0), gradient(0.0)))()
    np.testing.assert_array_equal(held, free)
    assert np.isfinite(held).all()


def test_nothing_right_or_nothing_at_all_is_no_division_by_zero():
    loss = jax.jit(lambda r, mask: mor.oreal_loss(G["in_old_logp"], r, r, where=mask))
    assert np.isfinite(loss(-jnp.ones(6), G["in_mask"])).all()
    assert (loss(jnp.ones(6), jnp.zeros((6, 20))) == 0).all()


def test_calibration_forgets_the_scale_of_a_judge_and_keeps_the_verifier():
    rewards = np.float32([1, 0, 0.5, 40, 10, 25, 7, 7, 7])
    group, learned = np.repeat([0, 1, 2], 3), np.repeat([0, 1, 1], 3)
    calibrate = jax.jit(mor.calibrate_rewards)
    found = np.asarray(calibrate(rewards, group, learned))
    np.testing.assert_allclose(found[:3], [1, -1, 0])
    np.testing.assert_allclose(found[3:6], np.tanh([np.sqrt(1.5), -np.sqrt(1.5), 0]), atol=1e-5)
    np.testing.assert_array_equal(found[6:], 0)
    scaled = np.where(learned, 1000 * rewards - 3, rewards)
    np.testing.assert_allclose(calibrate(scaled, group, learned), found, atol=1e-3)
    scores = np.stack([rewards, np.full(9, np.nan)], 1)
    np.testing.assert_array_equal(jax.jit(mor.route_rewards)(scores, np.zeros(9, int)), rewards)


def test_rescaled_weights_and_skipped_gradients():
    np.testing.assert_allclose(mor.threshold_rescale(np.float32([0.2, 0.9])), [0, 0.8], rtol=1e-6)
    probs = np.float32(
        [[0.1, 0.9, 0.6, 0.5, 0.7], [0.4, 0.4, 0.4, 0.4, np.nan], [np.nan, 0.2, 0.1, 0.3, np.nan]]
    )
    where = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [0, 1, 1, 1, 0]])
    rescaled = jax.jit(mor.top_rescale)(probs, where=where)  # two of five, two of four, one of three
    np.testing.assert_allclose(rescaled, [[0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0]])
    three = mor.top_rescale(probs[0], fraction=0.6)
    np.testing.assert_allclose(three, [0, 1, 0, 0, 1 / 3], rtol=1e-5)
    careful = mor.skip_large_gradients(optax.adam(0.1), 1.0)
    update = jax.jit(careful.update)
    state = careful.init(jnp.zeros(2))
    for bad in ([3.0, 4.0], [np.nan, 0.0]):
        updates, after = update(jnp.array(bad), state)
        assert (updates == 0).all()
        chex.assert_trees_all_equal(after, state)
    updates, after = update(jnp.array([0.6, 0.0]), state)
    assert updates[0] < 0
    assert after[0].count == 1


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: mor.route_rewards(jnp.zeros(2), jnp.zeros(2, int)), r"must be \[B, S\] and \[B\]"),
        (
            lambda: mor.kl_cov_loss(jnp.zeros(2), jnp.zeros(2), jnp.zeros(()), fraction=2.0),
            "fraction must be",
        ),
        (lambda: mor.oreal_loss(jnp.zeros((1, 2)), jnp.zeros(2), jnp.zeros(1)), r"must have the shape \[B\]"),
        (lambda: mor.top_rescale(jnp.zeros(2), fraction=-1.0), "fraction must be in"),
        (lambda: mor.threshold_rescale(jnp.zeros(2), threshold=1.0), "threshold must be below 1"),
        (lambda: mor.skip_large_gradients(optax.sgd(1.0), 0.0), "max_norm must be positive"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()


def test_tokens_shares_of_a_covariance_sum_to_it():
    log_probs, advantage, mask = G["in_old_logp"], G["in_adv"], G["in_mask"].astype(bool)
    shares = mor.covariance(log_probs, advantage, where=mask)
    rows = np.broadcast_to(advantage.reshape(len(mask), -1), mask.shape)[mask]
    expected = np.cov(log_probs[mask], rows, bias=True)[0, 1]
    np.testing.assert_allclose(shares[mask].mean(), expected, rtol=1e-4)
    assert not np.any(shares[~mask])
