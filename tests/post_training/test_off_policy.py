"""Corrections for off-policy tokens against TRL's numbers, and by what they are for.

`post_training_corrections.npz` was made by TRL 1.16.0 itself, through `trl_code.py`: the statement of its trainer that
makes importance weights, by mode and bounds, and the loss with `off_policy_mask_threshold=0.1`. TRL 1.16 has no DPPO
and no score centering; they are held to their definitions.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "post_training_corrections.npz"))
IN = {name[3:]: jnp.asarray(x) for name, x in GOLDEN.items() if name.startswith("in_")}
MASK, LOGP, OLD, SAMPLER, ADVANTAGE = (
    IN[name] for name in ("mask", "log_probs", "old_log_probs", "sampler_log_probs", "advantage")
)
BOUNDS = {"usual": {}, "both": {"low": 0.5, "high": 2.0}, "low": {"low": 0.8, "high": None}}
KINDS = {"truncate": p.truncated_importance_weight, "mask": p.masked_importance_weight}


@functools.cache
def weights():
    def all_of_them():
        out = {}
        for (kind, call), level in (
            (pair, level) for pair in KINDS.items() for level in ("token", "sequence")
        ):
            for name, bounds in BOUNDS.items():
                bounds = bounds or {"high": 3.0}  # TRL's default
                out[f"{level}_{kind}_{name}"] = call(OLD, SAMPLER, level=level, where=MASK, **bounds)
        return out

    return jax.jit(all_of_them)()


@pytest.mark.parametrize("name", [f"{level}_{kind}_{bounds}" for level in ("token", "sequence") for kind in KINDS
                                  for bounds in BOUNDS])  # fmt: skip
def test_importance_weights_are_those_of_trl(name):
    wanted = np.where(MASK == 1, GOLDEN["out_" + name], 0)
    np.testing.assert_allclose(weights()[name], wanted, rtol=1e-5, atol=1e-7)


def test_the_mask_of_bad_responses_is_that_of_trl():
    def loss(log_probs):
        ratio = p.token_importance_ratio(log_probs, OLD, where=MASK)
        keep = p.off_policy_sequence_mask(log_probs, SAMPLER, ADVANTAGE, threshold=0.1, where=MASK)
        return p.aggregate(keep * p.ppo_clip_loss(ratio, ADVANTAGE, where=MASK), MASK)

    value, gradient = jax.jit(jax.value_and_grad(loss))(LOGP)
    np.testing.assert_allclose(value, GOLDEN["out_opsm"], rtol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN["grad_opsm"], rtol=1e-5, atol=1e-8)


def test_levels_by_hand():
    # Ratios 4, 1/2 and 1/2: their product is 1, and so is their mean in the logarithm; a geometric bound sees nothing.
    log_probs, sampler = jnp.log(jnp.array([[0.4, 0.1, 0.1]])), jnp.log(jnp.array([[0.1, 0.2, 0.2]]))
    token = functools.partial(p.masked_importance_weight, log_probs, sampler, low=0.4, high=3.0)
    np.testing.assert_allclose(token(level="token"), [[0, 0.5, 0.5]], rtol=1e-6)
    for level in ("sequence", "geometric"):
        np.testing.assert_allclose(token(level=level), [[1, 1, 1]], rtol=1e-6)
    two = token(level="geometric", where=jnp.array([[1, 1, 0]]))  # product 2, mean sqrt(2)
    np.testing.assert_allclose(two, [[2**0.5, 2**0.5, 0]], rtol=1e-6)
    far = p.truncated_importance_weight(
        jnp.zeros((1, 200)), jnp.full((1, 200), -90.0), level="sequence", high=None
    )
    np.testing.assert_allclose(far, np.full((1, 200), np.exp(20)), rtol=1e-5)


def test_dppo_by_hand():
    # p - q is +0.2, -0.2, +0.05; the step leads out where it is upwards for a good token and downwards for a bad one.
    log_probs, sampler = jnp.log(jnp.array([[0.5, 0.3, 0.06]])), jnp.log(jnp.array([[0.3, 0.5, 0.01]]))
    both = (jnp.tile(log_probs, (2, 1)), jnp.tile(sampler, (2, 1)), jnp.array([1.0, -1.0]))
    np.testing.assert_array_equal(p.dppo_mask(*both), [[0, 1, 1], [1, 0, 1]])
    np.testing.assert_array_equal(p.dppo_mask(*both, high=0.01), [[0, 1, 0], [1, 0, 1]])
    q, r = np.array([0.3, 0.5, 0.01]), np.array([0.5, 0.3, 0.06])
    kl = q * np.log(q / r) + (1 - q) * np.log((1 - q) / (1 - r))  # 0.085, 0.087 and 0.033
    for bound, wanted in ((kl[2] - 1e-4, [0, 1, 0]), (kl[2] + 1e-4, [0, 1, 1]), (kl[0] + 1e-4, [1, 1, 1])):
        np.testing.assert_array_equal(p.dppo_mask(*both, divergence="kl", high=bound)[0], wanted)
    sure = p.dppo_mask(jnp.zeros((1, 2)), jnp.array([[0.0, -1e4]]), jnp.ones(1), divergence="kl")
    np.testing.assert_array_equal(sure, [[1, 0]])


V = 7
POLICY, OTHER = jax.random.normal(jax.random.key(0), (2, 3, V))
FUNCTIONS = {
    None: {},
    "truncated": {"low": 0.7, "high": 1.3},
    "masked": {"low": 0.7, "high": 1.5},
}


@pytest.mark.parametrize("weight", FUNCTIONS)
def test_the_centered_score_is_zero_on_average_over_the_sampler(weight):
    """Exactly, over the whole vocabulary; and from the two likeliest tokens, if beyond them both policies agree."""
    bounds = FUNCTIONS[weight]
    call = {None: lambda p, q, **_: 1.0, "truncated": p.truncated_importance_weight,
            "masked": p.masked_importance_weight}[weight]  # fmt: skip

    def expected_loss(logits, log_q, head):
        """Of every token that the sampler may draw, with the probability of drawing it."""
        log_p = jax.nn.log_softmax(logits)
        weights = jax.lax.stop_gradient(call(log_p, log_q, level="token", **bounds))
        total = jnp.sum(jnp.exp(log_q) * weights * log_p, -1)
        likeliest = jnp.argsort(-log_q, axis=-1)[:, :head]
        pick = lambda x: jnp.take_along_axis(x, likeliest, axis=-1)
        centre = p.score_centering(pick(log_p), pick(log_q), weight=weight, **bounds)
        return jnp.sum(total - centre), jnp.sum(total)

    @functools.partial(jax.jit, static_argnums=2)
    def scores(logits, log_q, head):
        return jax.jacrev(expected_loss)(logits, log_q, head)

    centered, plain = scores(POLICY, jax.nn.log_softmax(OTHER), V)
    assert np.abs(plain).max() > 0.05
    np.testing.assert_allclose(centered, np.zeros((3, V)), atol=2e-6)
    alike = jnp.log(0.4 * jax.nn.softmax(POLICY).at[:, :2].set(0.0) + 1e-30)  # beyond two tokens, 0.4 p
    rest = 1 - jnp.exp(alike).sum(-1, keepdims=True)
    sampler = alike.at[:, :2].set(jnp.log(rest * jnp.array([0.6, 0.4])))
    np.testing.assert_allclose(scores(POLICY, sampler, 2)[0], np.zeros((3, V)), atol=2e-6)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: p.truncated_importance_weight(LOGP, OLD, level="word"),
            "level must be one of .*, got 'word'",
        ),
        (lambda: p.masked_importance_weight(LOGP, OLD, low=-0.1), "low must be at least 0, got -0.1"),
        (
            lambda: p.masked_importance_weight(LOGP, OLD, low=4.0),
            "low must not be above high, got low 4.0, high 3.0",
        ),
        (lambda: p.masked_importance_weight(LOGP, OLD, high=0.0), "high must be positive, got 0.0"),
        (
            lambda: p.truncated_importance_weight(LOGP, OLD[:, :2]),
            r"log_probs \(8, 6\) and sampler_log_probs \(8, 2\)",
        ),
        (
            lambda: p.dppo_mask(LOGP, OLD, ADVANTAGE, divergence="js"),
            "divergence must be one of .*, got 'js'",
        ),
        (lambda: p.dppo_mask(LOGP, OLD, ADVANTAGE[:3]), r"advantage \(3,\) must be"),
        (
            lambda: p.score_centering(POLICY, OTHER, high=2.0),
            "low and high belong to a weight, got weight None",
        ),
        (lambda: p.score_centering(POLICY, OTHER[:, :2]), r"must have one shape \[..., T, K\]"),
    ],
)
def test_refused_in_one_line(call, line):
    with pytest.raises(ValueError, match=line):
        call()
