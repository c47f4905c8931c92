"""Guidance on demand: the authors' losses, gradients and scores, and which answers are taken."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError
from jaxlab.post_training import ampo

G = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "ampo.npz"))
ADVANTAGE, MASK, T = G["out_adv_mixed_nostd"], G["in_mask"], 6
SHAPES = {
    "p_div_p_0.1": {},
    "no_reshape": {"offset": None},
    "p_div_p_0.5": {"offset": 0.5},
    "pow": {"offset": None, "power": 0.5},
}
SUMMED = {"mode": "constant", "normalizer": T}
MODES = {
    "agg_token-mean": {"mode": "token-mean"},
    "agg_seq-mean-token-mean": {"mode": "seq-mean-token-mean"},
    "agg_seq-mean-token-sum-norm": SUMMED,
}


def _loss(log_probs, reduction=SUMMED, **shape):
    losses = ampo.ampo_loss(log_probs, G["in_old_logp"], ADVANTAGE, G["in_prefix_mask"], where=MASK, **shape)
    return pt.aggregate(losses, MASK, **reduction)


CASES = {name: functools.partial(_loss, **shape) for name, shape in SHAPES.items()}
CASES |= {name: functools.partial(_loss, reduction=reduction) for name, reduction in MODES.items()}


@functools.cache
def _reached():
    every = lambda x: {name: jax.value_and_grad(case)(x) for name, case in CASES.items()}
    return jax.jit(every)(G["in_logp"])


@pytest.mark.parametrize("level", ["token", "seq"])  # the authors' two functions differ in what they log
@pytest.mark.parametrize("name", CASES)
def test_the_authors_loss_and_gradient(name, level):
    value, gradient = _reached()[name]
    np.testing.assert_allclose(value, G[f"out_{level}_{name}"], rtol=1e-5)
    np.testing.assert_allclose(gradient, G[f"grad_{level}_{name}"], rtol=1e-4, atol=1e-7)


def test_the_authors_advantages():
    rewards, group = G["in_token_rewards"].sum(-1), G["in_group"]
    for advantage, name in ((pt.dr_grpo_advantage, "nostd"), (pt.grpo_advantage, "std")):
        np.testing.assert_allclose(
            jax.jit(advantage)(rewards, group)[:, None] * MASK,
            G[f"out_adv_mixed_{name}"],
            rtol=1e-5,
            atol=1e-7,
        )


def test_the_authors_advantages_by_the_students_own_rows():
    rewards, injected = G["in_token_rewards"].sum(-1), G["in_prefix_mask"].any(-1)
    split = jax.jit(ampo.split_advantage, static_argnames="scale")
    found = split(rewards, G["in_group"], injected)
    np.testing.assert_allclose(found[:, None] * MASK, G["out_adv_split_nostd"], rtol=1e-5, atol=1e-7)
    # Own rows 1 and 3, deviation sqrt(2); one own row, mean 0 and deviation 1; equal own rows, deviation 1; none, 0.
    rewards = np.float32([1, 3, 6, 5, 7, 2, 2, 9, 8])
    group, injected = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3]), np.array([0, 0, 1, 0, 1, 0, 0, 1, 1])
    found = split(rewards, group, injected)
    np.testing.assert_allclose(found, [-1, 1, 4, 5, 7, 0, 0, 7, 0], rtol=1e-6)
    scaled = split(rewards, group, injected, scale="group")
    np.testing.assert_allclose(scaled[:5], [-(0.5**0.5), 0.5**0.5, 4 * 0.5**0.5, 5, 7], rtol=1e-5)
    np.testing.assert_allclose(scaled[5:], [0, 0, 7, 0], rtol=1e-5)


@pytest.mark.parametrize("level", ["token", "seq"])
def test_the_authors_parts(level):
    """What they log: both losses and how likely the tokens are; "seq" takes the mean of each answer first."""
    theirs = MASK.astype(bool) & G["in_prefix_mask"]
    own = MASK.astype(bool) & ~G["in_prefix_mask"]
    losses = ampo.ampo_loss(G["in_logp"], G["in_old_logp"], ADVANTAGE, G["in_prefix_mask"], where=MASK)
    ratio = pt.token_importance_ratio(G["in_logp"], G["in_old_logp"])
    mode = {"token": "token-mean", "seq": "seq-mean-token-mean"}[level]
    over_theirs = lambda x: pt.aggregate(x, theirs, mode=mode)
    found = (
        over_theirs(losses),
        pt.aggregate(losses, own),
        pt.clip_fraction(ratio, ADVANTAGE, where=MASK),
        over_theirs(np.exp(G["in_logp"])),
        pt.aggregate(np.exp(G["in_old_logp"]), own),
        over_theirs(ampo.shaped_probability(G["in_logp"], where=theirs)),
    )
    np.testing.assert_allclose(found, G[f"out_{level}_parts"], rtol=1e-5)


def test_the_authors_pass_at_k():
    every = lambda: jnp.stack([pt.pass_at_k(32, np.arange(33), k) for k in (1, 2, 4, 8, 16, 32)], -1)
    np.testing.assert_allclose(jax.jit(every)(), G["out_pass_at_k_n32"], rtol=1e-5)


def test_form_and_content_are_weighed():
    np.testing.assert_allclose(
        ampo.formatted_reward(jnp.array([1.0, 0.0, 0.5]), np.array([1, 1, 0])), [1, 0.1, 0.45]
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("mean-probability", "mean_exp"),
        ("geometric-mean", "exp_mean"),
        ("mean-log", "mean"),
        ("product", "exp_sum"),
    ],
)
def test_the_authors_scores(kind, name):
    found = ampo.comprehension_score(G["in_answer_logp"], where=G["in_answer_mask"], kind=kind)
    np.testing.assert_allclose(found, G[f"out_score_{name}_log_softmax"], rtol=2**-7)  # theirs are bfloat16


def test_guidance_is_asked_for_where_everybody_failed():
    rewards = np.float32([0.1, 1.0, 0.1, 0.0, 9.0, 0.0])
    group, where = np.array([4, 4, 7, 7, 7, 4]), np.array([1, 1, 1, 1, 0, 1])
    needs = jax.jit(ampo.needs_guidance)
    assert needs(rewards, group, where=where).tolist() == [0, 0, 1, 1, 0, 0]
    assert needs(rewards, group, threshold=1.0, where=where).tolist() == [1, 1, 1, 1, 0, 1]


def test_the_best_guides_come_first_and_none_that_is_not_there():
    scores = jnp.array([[0.1, 0.5, 0.5, 0.9], [0.0, -np.inf, 0.0, 0.0]])
    available = jnp.array([[1, 1, 1, 0], [0, 1, 0, 0]])
    index, chosen = jax.jit(lambda: ampo.choose_guides(scores, available, count=2))()
    assert index[0].tolist() == [1, 2]
    assert (index[1, 0], chosen.tolist()) == (1, [[True, True], [True, False]])


def test_what_stands_outside_the_masks_is_never_seen():
    dirty = np.where(MASK > 0, G["in_logp"], np.nan)
    value, gradient = jax.jit(jax.value_and_grad(_loss))(dirty)
    np.testing.assert_allclose(value, G["out_token_p_div_p_0.1"], rtol=1e-5)
    assert np.isfinite(gradient).all()
    value, gradient = jax.jit(jax.value_and_grad(_loss))(np.full((8, 6), -1e4, np.float32))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: ampo.comprehension_score(jnp.zeros(2), kind="mean"), "kind must be one of"),
        (
            lambda: ampo.choose_guides(jnp.zeros((1, 2)), jnp.ones((1, 2)), count=3),
            r"count must be in \[1, 2\]",
        ),
        (lambda: ampo.shaped_probability(jnp.zeros(2), offset=0.0), "offset must be positive"),
        (
            lambda: ampo.ampo_loss(jnp.zeros(2), jnp.zeros(2), jnp.zeros(()), jnp.zeros(3)),
            "must have one shape",
        ),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()
