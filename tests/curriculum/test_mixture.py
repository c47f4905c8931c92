"""Gaussian mixtures: scikit-learn's numbers, masks of points and components, and points that are no mixture at all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import (
    Mixture,
    akaike,
    component_log_probs,
    em_step,
    fit_mixture,
    mean_log_likelihood,
    select_mixture,
)

GOLDEN_FILE = "alp_gmm.npz"


def padded(mixture, count=5):
    """The same mixture, with components that do not exist and hold nonsense."""
    more = count - len(mixture.weights)
    dim = mixture.means.shape[1]
    return Mixture(
        np.concatenate([mixture.weights, np.zeros(more, np.float32)]),
        np.concatenate([mixture.means, np.full((more, dim), 7, np.float32)]),
        np.concatenate([mixture.covariances, np.stack([np.eye(dim, dtype=np.float32)] * more)]),
        np.arange(count) < len(mixture.weights),
    )


@pytest.fixture(scope="module")
def known(golden):
    names = ("in_gmm_weights", "in_gmm_means", "in_gmm_covariances")
    weights, means, covariances = (golden[name].astype(np.float32) for name in names)
    return Mixture(weights, means, covariances, np.ones(3, bool)), golden["in_gmm_X"].astype(np.float32)


@pytest.fixture(scope="module")
def select():
    return jax.jit(functools.partial(select_mixture, max_components=4))


def test_scikit_learns_numbers(known, golden):
    mixture, x = known
    log_probs = component_log_probs(mixture, x)
    np.testing.assert_allclose(
        jax.nn.logsumexp(log_probs, 1), golden["out_gmm_logprob"], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(jax.nn.softmax(log_probs, 1), golden["out_gmm_resp"], rtol=1e-5, atol=1e-7)
    for criterion in ("aic", "bic"):
        expected = golden[f"out_gmm_{criterion}"]
        np.testing.assert_allclose(akaike(mixture, x, criterion=criterion), expected, rtol=1e-5)
    authors = akaike(mixture, x, criterion="aicc", authors_code=True)
    np.testing.assert_allclose(authors, golden["out_gmm_aicc"], rtol=1e-5)
    corrected = golden["out_gmm_aic"] + 2 * 29 * 30 / (250 - 29 - 1)
    np.testing.assert_allclose(akaike(mixture, x, criterion="aicc"), corrected, rtol=1e-5)


def test_one_step(known, golden):
    mixture, x = known
    start = mixture._replace(
        means=golden["in_em_means"].astype(np.float32), covariances=golden["in_em_covs"].astype(np.float32)
    )
    for begin in (start, padded(start)):
        found, likelihood = jax.jit(em_step)(begin, x)
        np.testing.assert_allclose(likelihood, golden["out_em_loglik"], rtol=1e-5)
        np.testing.assert_allclose(found.weights[:3], golden["out_em_weights"], rtol=1e-5)
        np.testing.assert_allclose(found.means[:3], golden["out_em_means"], rtol=1e-5)
        np.testing.assert_allclose(found.covariances[:3], golden["out_em_covs"], rtol=1e-5, atol=1e-8)
        assert not np.asarray(found.weights[3:]).any()


def test_points_and_components_that_are_masked_leave_no_trace(known):
    mixture, x = known
    where = np.arange(250) % 5 != 0
    dirty = np.where(where[:, None], x, np.nan)
    masked, likelihood = em_step(padded(mixture), dirty, where=where)
    dropped, expected = em_step(mixture, x[where])
    np.testing.assert_allclose(likelihood, expected, rtol=1e-5)
    np.testing.assert_allclose(masked.means[:3], dropped.means, rtol=1e-5)
    np.testing.assert_allclose(
        akaike(padded(mixture), dirty, where=where), akaike(mixture, x[where]), rtol=1e-5
    )
    assert mean_log_likelihood(mixture, dirty, where=np.zeros(250)) == 0


def test_a_fit_is_as_good_as_scikit_learns(golden, known):
    """250 points of the authors' run: the criteria of 2, 3 and 4 components, one start each."""
    x = np.concatenate([golden["in_run_tasks"], golden["out_run_alps"][:, None]], 1).astype(np.float32)

    def fit(key, number):
        mixture = fit_mixture(key, x, number, max_components=4)
        return akaike(mixture, x)

    numbers = jnp.arange(2, 5)
    keys = jax.random.split(jax.random.key(0), 4)
    found = jax.jit(jax.vmap(jax.vmap(fit, (None, 0)), (0, None)))(keys, numbers).min(0)
    assert (np.asarray(found) <= golden["out_run_aics"][:3] + 5).all()


def test_the_authors_criterion_and_number_of_parameters(golden, known):
    """Their own mixture of 250 points has the least of the nine criteria; it has all ten components."""
    x = np.concatenate([golden["in_run_tasks"], golden["out_run_alps"][:, None]], 1).astype(np.float32)
    weights, means, covariances = (golden[f"out_run_{name}"] for name in ("weights", "means", "covs"))
    theirs = Mixture(*(a.astype(np.float32) for a in (weights, means, covariances)), np.ones(10, bool))
    np.testing.assert_allclose(akaike(theirs, x), golden["out_run_aics"].min(), rtol=1e-4)
    assert golden["out_run_aics"].argmin() + 2 == 10
    mixture, x = known
    price = akaike(mixture, x) + 2 * 250 * mean_log_likelihood(mixture, x)
    np.testing.assert_allclose(price / 2, golden["out_nparams_sklearn"], rtol=1e-3)
    count = golden["out_nparams_teacher"]  # of the tasks' dimensions alone: what aicc's correction counts
    authors = akaike(mixture, x, criterion="aicc", authors_code=True) - akaike(mixture, x)
    np.testing.assert_allclose(authors, 2 * count * (count + 1) / (250 - count - 1), rtol=1e-2)


def test_a_stricter_criterion_takes_fewer_components():
    """Twelve points with a gap: two components are better by 3 in aic, and worse by 6 in aicc."""
    x = np.float32(np.linspace(-1, 1, 12) + 0.3 * np.sign(np.arange(12) - 5.5))[:, None]
    fit = jax.jit(functools.partial(select_mixture, min_components=1, max_components=2, criterion="aicc"))
    assert int(fit(jax.random.key(0), x).components.sum()) == 1


def test_the_number_of_clusters_is_found(select):
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [4, 0], [0, 4]])
    x = (centres[np.arange(120) % 3] + 0.3 * rng.normal(size=(120, 2))).astype(np.float32)
    mixture = select(jax.random.key(1), x)
    assert int(mixture.components.sum()) == 3
    means = np.asarray(mixture.means)[:3]
    assert np.abs(means[:, None] - centres).sum(-1).min(0).max() < 0.3
    np.testing.assert_allclose(mixture.weights[:3], 1 / 3, atol=0.01)
    np.testing.assert_allclose(mixture.weights.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["constant", "huge", "two values", "line", "tiny"])
def test_points_that_are_no_mixture(kind, select):
    rng = np.random.default_rng(0)
    x = {
        "constant": np.full((120, 2), 3.0),
        "huge": 1e4 * rng.normal(size=(120, 2)),
        "two values": np.repeat(rng.integers(0, 2, (120, 1)), 2, 1),
        "line": np.repeat(rng.normal(size=(120, 1)), 2, 1),
        "tiny": 1e-30 * rng.normal(size=(120, 2)),
    }[kind]
    mixture = select(jax.random.key(0), x.astype(np.float32))
    for leaf in mixture:
        assert np.isfinite(np.asarray(leaf, np.float32)).all()
    assert np.isfinite(mean_log_likelihood(mixture, x.astype(np.float32)))


def test_faults():
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(InputError, match=r"points must be \[N, D\]"):
        fit_mixture(jax.random.key(0), x[0], 1, max_components=2)
    with pytest.raises(InputError, match="at most max_components 2, got 3"):
        fit_mixture(jax.random.key(0), x, 3, max_components=2)
    with pytest.raises(InputError, match="at least one point"):
        fit_mixture(jax.random.key(0), x[:0], 1, max_components=2)
    with pytest.raises(InputError, match="min_components must be in"):
        select_mixture(jax.random.key(0), x, min_components=5, max_components=2)
    one = Mixture(jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None], jnp.ones(1, bool))
    with pytest.raises(InputError, match="criterion must be one of"):
        akaike(one, x, criterion="dic")
    with pytest.raises(InputError, match="ridge must be positive"):
        em_step(one, x, ridge=0.0)
