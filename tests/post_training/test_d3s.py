"""Selections: the largest variance there is, exact counts, and the theorem that they cannot lose."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.post_training import d3s, grpo_advantage

G = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "d3s.npz"))
chosen, top_fraction = jax.jit(d3s.max_variance_mask), jax.jit(d3s.top_fraction_mask)


@pytest.mark.parametrize("case", range(4))
def test_the_authors_variance_and_that_of_all_subsets(case):
    advantage = G[f"in_adv_{case}"]
    for count in range(2, 7):
        mask = np.asarray(chosen(advantage, count))
        assert mask.sum() == count
        found = advantage[mask].var(ddof=1)
        np.testing.assert_allclose(found, G[f"out_var_{case}_n{count}"], rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(found, G[f"chk_bruteforce_var_{case}_n{count}"], rtol=1e-6, atol=1e-12)


def test_rows_that_do_not_count_are_not_chosen_and_groups_are_rows():
    advantage = jnp.array([[5.0, 1.0, -1.0, 0.0], [0.0, 0.5, -2.0, -9.0]])
    where = jnp.array([[0, 1, 1, 1], [1, 1, 1, 0]])
    dirty = jnp.where(where == 1, advantage, jnp.nan)
    assert chosen(dirty, 2, where=where).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0]]
    assert chosen(dirty, 9, where=where).tolist() == where.tolist()
    assert chosen(jnp.ones(6), 3).sum() == 3
    assert chosen(jnp.zeros(0), 1).shape == (0,)


def test_standardised_advantages_have_a_subset_of_variance_one():
    """Lemma 1: so a bound on the gradient's norm can only grow by selecting."""
    rewards = jax.random.normal(jax.random.key(0), (20, 16))
    advantage = jax.jit(jax.vmap(lambda r: grpo_advantage(r, jnp.zeros(16, int), ddof=0, eps=0.0)))(rewards)
    for count in (2, 11):
        mask = np.asarray(chosen(advantage, count))
        variances = [np.var(a[m]) for a, m in zip(np.asarray(advantage), mask)]
        assert min(variances) >= 1 - 1e-5


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 1), (0.3, 3), (0.5, 5), (1.0, 10)])
def test_the_share_of_tokens_is_exact_whatever_the_ties(fraction, count):
    scores = np.repeat([[2.0, 1.0, 1.0, 1.0]], 4, 0)
    mask = np.arange(4) < np.array([[4], [3], [3], [0]])
    kept = np.asarray(top_fraction(np.where(mask, scores, np.nan), mask, fraction=fraction))
    assert kept.sum() == count
    assert not kept[~mask].any()
    assert np.where(mask & ~kept, scores, 0).max() <= scores[kept].min()


def test_both_levels_and_what_becomes_of_groups_without_signal():
    advantage = jnp.array([1.0, -1.0, 0.0, 0.0])
    entropy = jnp.array([[0.1, 0.4], [0.3, 0.2], [9.0, 9.0], [9.0, 9.0]])
    select = jax.jit(functools.partial(d3s.d3s_mask, advantage, entropy, jnp.ones((4, 2))))
    kept = select(num_rollouts=2, token_fraction=0.5)
    assert kept.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert select(num_rollouts=2, token_fraction=1.0).sum(1).tolist() == [2, 2, 0, 0]
    every = select(num_rollouts=d3s.relaxed(2.0, 2, 4).astype(int), token_fraction=1.0)
    assert every.all()
    assert d3s.relaxed(0.25, 0.2, 1.0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: d3s.max_variance_mask(jnp.zeros(3), 0), "count must be at least 1"),
        (lambda: d3s.max_variance_mask(jnp.zeros(()), 1), "got a scalar"),
        (lambda: d3s.max_variance_mask(np.array([np.nan, 1.0]), 1), "advantage"),
        (
            lambda: d3s.top_fraction_mask(jnp.zeros(3), jnp.ones(3), fraction=2.0),
            r"fraction must be in \[0, 1\]",
        ),
        (lambda: d3s.top_fraction_mask(jnp.zeros(3), jnp.ones(2), fraction=1.0), "must have one shape"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()
