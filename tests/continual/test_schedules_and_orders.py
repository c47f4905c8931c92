"""Rehearsal schedules and orders of classes: the numbers of the public code, by hand, and what cannot be asked."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.continual import class_order as o
from jaxlab.continual import rehearsal as r

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
COUNTS = dict(np.load(GOLDEN / "power_law_rehearsal.npz"))
ORDERS = dict(np.load(GOLDEN / "curriculum_designer.npz"))
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("lower_baseline_na", "sequential", {}),
        ("upper_baseline_na", "joint", {}),
        *((f"uniform_{b}", "uniform", {"budget": b}) for b in (0.25, 1.0)),
        *((f"powerlaw_{b}", "power_law_code", {"budget": b}) for b in (0.25, 1.0)),
        *((f"exponential_{b}", "exponential", {"budget": b}) for b in (0.25, 1.0)),
        ("uniform_small_0.5", "uniform", {"budget": 0.5}),
        ("powerlaw_small_0.5", "power_law_code", {"budget": 0.5, "exponent": 3.0}),
        ("exponential_small_0.5", "exponential", {"budget": 0.5, "scale": 2.0}),
    ],
)
def test_the_counts_of_the_public_code(name, kind, options):
    tasks, size = (5, 1000) if "small" in name else (10, 57927)
    np.testing.assert_array_equal(r.phase_task_counts(kind, tasks, size, **options), COUNTS["out_" + name])


def test_the_unlimited_power_law_is_the_table_to_one_example():
    got = r.phase_task_counts("power_law_unlimited", 10, 57927)
    assert np.abs(got - COUNTS["out_powerlaw_unrestricted_na"]).max() <= 1


@pytest.mark.parametrize("kind", ["uniform", "power_law", "exponential", "power_law_code"])
def test_every_schedule_keeps_its_budget_and_favours_the_recent(kind):
    counts = r.phase_task_counts(kind, 6, 1000, budget=0.3)
    assert (np.diag(counts) == 1000).all()
    assert np.abs(np.tril(counts, -1)).max() == 0
    replayed = counts.sum(0)[1:] - 1000
    assert (replayed <= 300).all()
    assert (replayed > 300 - np.arange(1, 6) - 1).all()
    assert (np.diff(counts[:5, 5]) >= 0).all()  # the newer, the more
    np.testing.assert_array_equal(r.phase_task_counts(kind, 1, 10, budget=0.3), [[10]])  # one task only


def test_shares_by_hand():
    ages = np.array([1.0, 3.0, 7.0])
    np.testing.assert_allclose(r.rehearsal_weights(ages, kind="uniform"), 1 / 3, rtol=1e-6)
    weights = np.array([1 / 2, 1 / 4, 1 / 8])
    np.testing.assert_allclose(r.rehearsal_weights(ages, exponent=1.0), weights / weights.sum(), rtol=1e-6)
    weights = np.exp([-0.5, -1.5, -3.5])
    shares = r.rehearsal_weights(ages, kind="exponential", scale=2.0)
    np.testing.assert_allclose(shares, weights / weights.sum(), rtol=1e-6)
    masked = r.rehearsal_weights(np.array([1.0, np.nan, 3.0]), exponent=1.0, where=np.array([1, 0, 1]))
    np.testing.assert_allclose(masked, [2 / 3, 0, 1 / 3], rtol=1e-6)
    assert np.abs(r.rehearsal_weights(ages, where=np.zeros(3))).max() == 0
    assert np.isfinite(r.rehearsal_weights(np.array([0.0, 1e6]), exponent=100.0)).all()


def test_a_phase_draws_without_replacement():
    counts = r.phase_task_counts("uniform", 3, 8, budget=0.5)[:, 2]
    index, valid = jax.jit(r.sample_phase, static_argnames="size")(jax.random.key(0), counts, size=8)
    np.testing.assert_array_equal(valid.sum(1), [2, 2, 8])
    assert all(sorted(row.tolist()) == list(range(8)) for row in index)
    assert len({tuple(row.tolist()) for row in index}) == 3


@pytest.mark.parametrize("table", ["cifar", "mnist5", "fashion5", "n2", "n3", "n4", "n6"])
def test_the_scores_of_the_authors(table):
    of = lambda name: ORDERS[f"in_{table}_{name}"]
    if table.startswith("n"):
        shares, unequal = o.normalize_distances(np.float32(of("dist_raw")))
        np.testing.assert_allclose(shares, of("dist_rownorm"), rtol=1e-5)
        np.testing.assert_allclose(unequal, of("var_norm"), rtol=1e-5)
    distances, variances = (np.float32(of(name)) for name in ("dist_rownorm", "var_norm"))
    scores = o.order_scores(distances, variances, of("perms"))
    np.testing.assert_allclose(scores, ORDERS[f"out_{table}_score_float"], rtol=1e-5)
    if f"out_{table}_score_int" in ORDERS:
        ranks = o.order_rank_scores(distances, variances, of("perms"))
        np.testing.assert_array_equal(ranks, ORDERS[f"out_{table}_score_int"])


def test_a_score_by_hand_and_by_another_name_of_the_classes():
    D, v = RNG.random((5, 5)).astype(np.float32), RNG.random(5).astype(np.float32)
    order = np.array([3, 0, 4, 1, 2])
    by_hand = 1 - v[3] + (1 - D[3, 2]) + D[3, 0] + (1 - D[0, 1]) + D[0, 4]
    np.testing.assert_allclose(o.order_scores(D, v, order), by_hand, rtol=1e-6)
    names = np.array([2, 4, 0, 1, 3])  # class i is now called names[i]
    back = np.argsort(names)
    np.testing.assert_allclose(o.order_scores(D[back][:, back], v[back], names[order]), by_hand, rtol=1e-6)


def test_what_an_order_led_to():
    # At the end .3 on average; the first task fell from 1 to .2.
    R = np.array([[1.0, 0, 0], [0.5, 0.9, 0], [0.2, 0.1, 0.6]], np.float32)
    np.testing.assert_allclose(o.order_quality(R), 0.6 / (0.8 * 0.3 + 1), rtol=1e-6)
    np.testing.assert_allclose(o.order_quality(np.array([[0.5]])), 1.0, rtol=1e-6)  # one task only
    every = np.array(list(itertools.permutations(range(4)))).sum(1) + np.arange(24)
    assert o.top_orders_overlap(every, every, top=6) == 6
    assert o.top_orders_overlap(-every, every, top=6) == 0


def test_distances_between_classes():
    x = np.array([[2.0, 0], [4.0, 0], [0, 1.0], [np.nan, 9.0]], np.float32)
    labels, where = np.array([0, 0, 3, 1]), np.array([1, 1, 1, 0])
    cosine, euclid = (
        o.class_distances(x, labels, num_classes=4, kind=kind, where=where)
        for kind in ("cosine", "euclidean")
    )
    np.testing.assert_allclose(cosine[0], [0, 0, 0, 1.0], atol=1e-6)  # classes 1 and 2 have no example
    np.testing.assert_allclose(euclid[0, 3], 10**0.5, rtol=1e-6)
    total = lambda x: jnp.sum(o.class_distances(x, labels[:3], num_classes=4, kind="euclidean"))
    assert np.isfinite(jax.grad(total)(0 * x[:3])).all()


def test_transport_moves_a_set_by_its_shift():
    x = RNG.normal(size=(12, 2)).astype(np.float32)
    divergence = jax.jit(o.sinkhorn_divergence, static_argnames=("regularization", "iterations"))
    np.testing.assert_allclose(divergence(x, x), 0.0, atol=1e-5)
    np.testing.assert_allclose(
        divergence(x, x + np.array([3.0, 0])), 4.5, rtol=1e-3
    )  # half the squared shift
    y = RNG.normal(size=(9, 2)).astype(np.float32)
    np.testing.assert_allclose(divergence(x, y), divergence(y, x), rtol=1e-3, atol=1e-4)
    # Hardly regularised, between two equal sets on a line it is the mean over sorted pairs.
    a, b = np.sort(x[:, :1], axis=0), np.sort(x[:, 1:], axis=0)
    got = divergence(a, b, regularization=0.002, iterations=2000)
    np.testing.assert_allclose(got, 0.5 * np.mean((a - b) ** 2), rtol=0.03)
    where = np.arange(12) % 3 > 0
    spoiled = np.where(where[:, None], x, np.nan)
    np.testing.assert_allclose(divergence(spoiled, y, where_x=where), divergence(x[where], y), rtol=1e-4)
    assert divergence(x, y, where_y=np.zeros(9)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: r.phase_task_counts("uniform", 3, 10), "budget must be a share of size for kind 'uniform'"),
        (
            lambda: r.phase_task_counts("uniform", 3, 10, budget=5.0),
            "asks for 50 examples of a task that has 10",
        ),
        (lambda: r.phase_task_counts("linear", 3, 10), "kind must be one of"),
        (lambda: r.phase_task_counts("joint", 0, 10), "num_tasks must be at least 1, got 0"),
        (lambda: r.rehearsal_weights(np.ones(2), scale=0.0), "scale must be positive"),
        (
            lambda: r.sample_phase(jax.random.key(0), np.array([9]), size=8),
            r"counts must be in \[0, 9\), got 9",
        ),
        (lambda: o.order_scores(np.eye(3), np.ones(2), np.arange(3)), r"variances \(2,\) must be \[C\]"),
        (lambda: o.order_scores(np.eye(3), np.ones(3), np.arange(2)), r"orders \(2,\) must be \[..., 3\]"),
        (
            lambda: o.order_scores(np.eye(3), np.ones(3), np.arange(1, 4)),
            r"orders must be in \[0, 3\), got 3",
        ),
        (lambda: o.normalize_distances(np.ones((2, 3))), "distances must be square"),
        (lambda: o.top_orders_overlap(np.ones(3), np.ones(3), top=4), r"top must be in \[1, 3\]"),
        (lambda: o.sinkhorn_divergence(np.ones((2, 3)), np.ones((2, 2))), r"must be \[N, D\] and y"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
