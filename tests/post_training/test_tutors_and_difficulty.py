"""ThinkTuning's choice and weights, ADCL's order, EGSR's prompts: by hand, and by the numbers of a related paper."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.post_training import adcl_egsr as ae
from jaxlab.post_training import ampo
from jaxlab.post_training import thinktuning as tt

G = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "ampo.npz"))
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("sign", "offset"), [(1.0, 0.1), (-1.0, None)])
def test_each_branch_is_a_loss_of_ampo(sign, offset):
    """Whose gradients are the authors': the shaped weight for good guidance, the bare probability for bad."""
    args = (G["in_old_logp"], np.full(8, sign, np.float32), G["in_prefix_mask"])
    ours = lambda x: tt.thinktuning_loss(x, *args, where=G["in_mask"]).sum()
    theirs = lambda x: ampo.ampo_loss(x, *args, where=G["in_mask"], offset=offset, dual_clip=None).sum()
    both = jax.jit(lambda x: [jax.value_and_grad(loss)(x) for loss in (ours, theirs)])
    ours, theirs = both(G["in_logp"])
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), ours, theirs)


def test_a_fraction_of_each_group_is_read_wrong_answers_first():
    group, correct = np.repeat([3, 1], 8), np.array([1] * 7 + [0] + [0] * 8)
    select = jax.jit(lambda key: tt.select_for_feedback(key, correct, group, fraction=0.25))
    chosen = np.array([select(jax.random.key(seed)) for seed in range(40)])
    assert (chosen[:, :8].sum(1) == 2).all()
    assert (chosen[:, 8:].sum(1) == 2).all()
    assert chosen[:, 7].all()
    assert (chosen.sum(0) > 0).all()


def test_sorting_is_numpys_and_members_stay():
    scores = RNG.integers(0, 4, 30) / 4
    stages = np.asarray(ae.stages_by_difficulty(scores, stages=3))
    np.testing.assert_array_equal(stages.ravel(), np.argsort(scores, kind="stable"))
    now = RNG.random(10).astype(np.float32)
    again = np.asarray(ae.resort(stages[1], now, key=jax.random.key(0)))
    np.testing.assert_array_equal(again, stages[1][np.argsort(now)])
    mixed = np.asarray(ae.resort(stages[1], np.zeros(10), key=jax.random.key(0)))
    assert sorted(mixed) == sorted(stages[1])
    assert (mixed != stages[1]).any()
    np.testing.assert_allclose(ae.difficulty_shift(now, -now), 2, rtol=1e-5)


def test_texts_and_difficulties_by_hand():
    log_probs = np.array([[np.log(0.25), np.log(0.25), np.nan], [np.nan] * 3])
    where = np.array([[1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(ae.perplexity(log_probs, where=where), [4, 1], rtol=1e-5)
    assert ae.difficulty(np.eye(2)).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: ae.difficulty(np.zeros((2, 0))), "at least one answer"),
        (lambda: ae.stages_by_difficulty(np.zeros(5), stages=2), "a divisor of N"),
        (lambda: ae.resort(np.zeros(2, int), np.zeros(3)), "must have the same shape"),
        (lambda: ae.guided_prompts(*np.ones((2, 1, 2), int), *np.ones((2, 2, 2), int)), "as many rows"),
        (lambda: tt.select_for_feedback(jax.random.key(0), [1], [0], fraction=2), "fraction must be in"),
        (
            lambda: tt.advantage_aware_weight(jnp.zeros(1), jnp.zeros(()), offset=0.0),
            "offset must be positive",
        ),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()
