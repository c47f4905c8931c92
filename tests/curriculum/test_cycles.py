"""Cycles: the authors' schedules to the last bit, their budgets, and with which weights examples are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import MASKED_LOGIT
from jaxlab.core.check import InputError
from jaxlab.curriculum import cycles, gumbel_top_k

GOLDEN_FILE = "cyclical_curriculum.npz"


def test_the_authors_schedules(golden):
    for name, expected in golden.items():
        kind, *numbers = name.removeprefix("out_").split("_")
        if kind == "cycle":
            start, end, factor, budget = map(float, numbers)
            found = cycles.cycle_shares(budget, start=start, end=end, factor=factor)
        elif kind in ("grow", "shrink"):
            share, each, budget, factor = map(float, numbers)
            more = {"factor": factor, "epochs_each": int(each)}
            grow, shrink = cycles.growing_shares, cycles.shrinking_shares
            found = grow(budget, start=share, **more) if kind == "grow" else shrink(budget, end=share, **more)
        else:
            continue
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_budgets():
    shares = cycles.cycle_shares(30)
    assert len(shares) == 54
    assert shares[:-1].sum() < 30 <= shares.sum()
    half = cycles.cycle_shares(9, full_first=True)
    np.testing.assert_array_equal(half, [1, 1, 1, 1, *cycles.cycle_shares(5)])
    assert cycles.sharp_cycle_shares(4).tolist() == [0.25, 0.5, 1, 0.25, 0.5, 1, 0.25, 0.5]
    assert cycles.growing_shares(0).tolist() == cycles.shrinking_shares(0).tolist() == []


def test_the_authors_schedules_in_numbers_of_examples():
    cycle = {"start": 0.3, "end": 0.9, "factor": 0.7}
    assert cycles.cycle_counts(100, 400, **cycle).tolist() == [30, 43, 62, 89, 90, 90]
    sharp = cycles.cycle_counts(100, 400, strategy="sharp", **cycle).tolist()
    assert sharp == [30, 43, 62, 89, 90, 30, 43, 62]
    grow = cycles.cycle_counts(101, 400, strategy="grow", start=0.22).tolist()
    assert grow == [23, 46, 92, 101, 101, 101]
    shrink = cycles.cycle_counts(101, 400, strategy="shrink", start=1.0, end=0.22, factor=0.7).tolist()
    assert shrink == [101, 70, 49, 34] + [23] * 7
    assert cycles.cycle_counts(8, 20, start=1.0, end=0.25, rising=False).tolist() == [8, 4, 2, 4, 8]
    assert cycles.cycle_counts(8, 0).tolist() == [2]
    stages = cycles.exponential_counts(100, batch_size=7, growth=2.0, start=0.1)
    assert stages.tolist() == [10, 20, 40, 80]
    stages = cycles.parabolic_counts(100, batch_size=15, power=2.0, start=0.1)
    assert stages.tolist() == [15, 40, 90, 100]


def test_the_authors_weights(golden):
    losses = golden["in_losses"]
    weights = lambda **options: np.exp(cycles.easiness_log_probs(losses, **options))
    np.testing.assert_allclose(weights(), golden["out_easy"], rtol=1e-5)
    np.testing.assert_allclose(weights(kind="hard"), golden["out_hard"], rtol=1e-5)
    np.testing.assert_allclose(weights(kind="random"), 1 / len(losses), rtol=1e-6)
    for decay in (0.5, 0.25):
        np.testing.assert_allclose(weights(decay=decay), golden[f"out_easy_{decay}"], rtol=1e-5)


def test_masks_extremes_and_no_gradient():
    losses = np.array([0.0, 1e4, np.nan, 1.0], np.float32)
    where = np.array([1, 1, 0, 1])
    for options in ({}, {"kind": "hard"}, {"decay": 5.0}, {"kind": "random"}):
        found = cycles.easiness_log_probs(losses, where=where, **options)
        assert np.isfinite(np.asarray(found)[[0, 1, 3]]).all()
        assert found[2] == np.float32(MASKED_LOGIT)
        dropped = cycles.easiness_log_probs(losses[[0, 1, 3]], **options)
        np.testing.assert_allclose(found[np.array([0, 1, 3])], dropped, rtol=1e-6, atol=1e-6)
    grads = jax.grad(lambda x: jnp.sum(cycles.easiness_log_probs(x)))(losses[:2])
    assert not np.asarray(grads).any()


def test_easy_examples_are_drawn_more_often_and_hard_ones_too():
    losses = np.array([0.1] * 10 + [2.0] * 10, np.float32)
    log_probs = cycles.easiness_log_probs(losses)
    draw = lambda key: gumbel_top_k(key, log_probs, 5)[0]
    drawn = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 500)))
    assert 0.8 < (drawn < 10).mean() < 0.99


def test_an_epoch_draws_its_share_by_weight_once_and_in_random_order():
    shares = np.array([0.5, 1.0, 0.25, 0.6])  # of 20 examples: 10, 20, 5, 12
    log_probs = cycles.easiness_log_probs(np.array([0.1] * 10 + [2.0] * 10, np.float32))
    rows = jax.jit(
        jax.vmap(lambda key, step: cycles.epoch_rows(key, step, log_probs, shares, batch_size=5), (None, 0))
    )
    keys = jax.random.split(jax.random.key(0), 40)
    found = np.stack([rows(key, np.arange(11)) for key in keys])  # steps 2 + 4 + 1 + 3, and one too many
    first, whole, short = (found[:, a:b].reshape(40, -1) for a, b in ((0, 2), (2, 6), (6, 7)))
    for epoch in (first, whole, short):
        assert all(len(set(one)) == len(one) for one in epoch.tolist())
    assert (np.sort(whole) == np.arange(20)).all()
    assert 0.75 < (first < 10).mean() < 0.99
    # Weights decide what is drawn and not when it is seen.
    assert abs((first[:, :5] < 10).mean() - (first[:, 5:] < 10).mean()) < 0.1
    assert abs((whole[:, :10] < 10).mean() - 0.5) < 0.1
    last = found[0, 7:10].reshape(-1)
    assert len(set(last.tolist())) == 12
    assert set(last[10:].tolist()) & set(last[:10].tolist())  # filled up
    np.testing.assert_array_equal(found[:, 10], found[:, 9])


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: cycles.cycle_shares(-1), "budget must be at least 0"),
        (lambda: cycles.cycle_shares(3, start=0.0), "start must be positive"),
        (lambda: cycles.cycle_shares(3, start=0.8, end=0.5), "start must be at most end"),
        (lambda: cycles.cycle_shares(3, factor=1.0), "factor must be below 1"),
        (lambda: cycles.sharp_cycle_shares(np.inf), "budget must be finite"),
        (lambda: cycles.growing_shares(3, epochs_each=0), "epochs_each must be at least 1"),
        (lambda: cycles.shrinking_shares(1e9, end=0.1), "more than 100000 epochs"),
        (lambda: cycles.cycle_counts(9, 9, strategy="odd"), "strategy must be one of"),
        (lambda: cycles.cycle_counts(0, 9), "size must be at least 1"),
        (lambda: cycles.exponential_counts(9, batch_size=1, growth=1.0), "growth must be above 1"),
        (lambda: cycles.parabolic_counts(9, batch_size=0), "batch_size must be at least 1"),
        (lambda: cycles.easiness_log_probs(np.ones(2), kind="odd"), "kind must be one of"),
        (lambda: cycles.easiness_log_probs(np.ones(2), kind="hard", decay=1.0), "decay belongs to"),
        (lambda: cycles.easiness_log_probs(np.ones(2), floor=0.0), "floor must be positive"),
        (lambda: rows_of([0.5, 0.0]), r"shares must be \[E\]"),
        (lambda: rows_of([]), "at least one"),
        (lambda: rows_of([1.0, 0.5]), "between 1 and the 4 examples of the shortest epoch, got 5"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()


def rows_of(shares):
    return cycles.epoch_rows(jax.random.key(0), 0, np.zeros(8, np.float32), shares, batch_size=5)
