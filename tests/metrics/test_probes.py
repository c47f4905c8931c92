"""Probes against scikit-learn, and what counts in them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.metrics import knn_probe, linear_probe, ridge_probe, standardize


def test_standardize_by_hand():
    # Means 2 and 5; spreads with N - 1: sqrt((1 + 1) / 1) = 1.414214, and 0, which counts as 1.
    reference = jnp.array([[1.0, 5.0], [3.0, 5.0]])
    got = standardize(jnp.array([[4.0, 6.0]]), reference)
    np.testing.assert_allclose(got, [[np.sqrt(2.0), 1.0]], rtol=1e-6)


def test_standardize_of_a_feature_that_is_constant_up_to_rounding():
    reference = jnp.float32(0.1) * jnp.ones((1000, 1)) * jnp.array([[1.0, 3e5]])
    got = standardize(reference, reference)
    assert np.abs(got).max() < 1  # not rounding noise blown up to unit spread


def test_rows_that_do_not_count_are_as_if_they_were_not_there():
    rng = np.random.default_rng(0)
    train, labels = rng.normal(size=(12, 3)).astype(np.float32), rng.integers(0, 2, 12)
    asked, where = rng.normal(size=(5, 3)).astype(np.float32), np.arange(12) < 9
    spoiled = np.where(where[:, None], train, np.nan)
    np.testing.assert_allclose(
        standardize(asked, spoiled, where=where), standardize(asked, train[:9]), rtol=1e-5, atol=1e-6
    )
    for probe in (functools.partial(linear_probe, steps=5), functools.partial(knn_probe, neighbors=3)):
        expected = probe(train[:9], labels[:9], asked, num_classes=2)
        np.testing.assert_allclose(
            probe(spoiled, labels, asked, num_classes=2, where=where), expected, rtol=1e-4, atol=1e-6
        )
        # A label that is no class marks a row to ignore.
        ignored = np.where(where, labels, -7)
        np.testing.assert_allclose(
            probe(spoiled, ignored, asked, num_classes=2), expected, rtol=1e-4, atol=1e-6
        )
        assert np.abs(probe(train, labels, asked, num_classes=2, where=np.zeros(12, bool))).max() == 0


def test_the_linear_probe_finds_what_logistic_regression_finds():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    centers = rng.normal(size=(3, 4))
    labels = rng.integers(0, 3, 300)
    features = (10 * (centers[labels] + rng.normal(size=(300, 4))) + 5).astype(np.float32)
    train, asked = slice(0, 200), slice(200, 300)
    got = linear_probe(
        features[train], labels[train], features[asked], num_classes=3, steps=300, weight_decay=0.0
    )
    mean, spread = features[train].mean(0), features[train].std(0, ddof=1)
    peer = LogisticRegression(C=1e6).fit((features[train] - mean) / spread, labels[train])
    expected = peer.predict_proba((features[asked] - mean) / spread)
    np.testing.assert_allclose(jax.nn.softmax(got), expected, atol=0.01)
    assert np.mean(got.argmax(-1) == expected.argmax(-1)) > 0.97


def test_the_nearest_neighbours_are_those_of_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(60, 3)).astype(np.float32) * [1, 10, 100], rng.integers(0, 4, 60)
    scaled = (features - features[:40].mean(0)) / features[:40].std(0, ddof=1)
    peer = KNeighborsClassifier(7).fit(scaled[:40], labels[:40])
    got = knn_probe(features[:40], labels[:40], features[40:], num_classes=4, neighbors=7)
    np.testing.assert_allclose(got / 7, peer.predict_proba(scaled[40:]), atol=1e-6)


def test_more_neighbours_than_examples_is_everybody():
    votes = knn_probe(jnp.arange(3.0)[:, None], jnp.array([0, 1, 1]), jnp.zeros((1, 1)), num_classes=2)
    assert votes.tolist() == [[1.0, 2.0]]


def test_the_ridge_probe_is_that_of_scikit_learn():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(3)
    features = (
        rng.normal(size=(50, 6)).astype(np.float32) * [1, 1, 10, 1, 1, 0] + 4
    )  # the last one is constant
    targets = (features[:, :2] @ rng.normal(size=(2, 3)) + rng.normal(size=(50, 3)) + 7).astype(np.float32)
    train, where = features[:40], np.arange(40) < 30
    scale = np.where(np.arange(6) < 5, train[:30].std(0, ddof=1), 1.0)
    of = lambda x: (x - train[:30].mean(0)) / scale
    peer = Ridge(alpha=2.5).fit(of(train[:30]), targets[:30])
    spoiled = np.where(where[:, None], train, np.nan), np.where(where[:, None], targets[:40], np.nan)
    got = ridge_probe(*spoiled, features[40:], penalty=2.5, where=where)
    np.testing.assert_allclose(got, peer.predict(of(features[40:])), rtol=1e-4)
    one = ridge_probe(train[:30], targets[:30, 0], features[40:], penalty=2.5)
    np.testing.assert_allclose(one, got[:, 0], rtol=1e-4)
    assert np.abs(ridge_probe(*spoiled, features[40:], where=np.zeros(40, bool))).max() == 0


def test_probes_pass_no_gradient_to_the_features():
    features, labels = jnp.array([[0.0], [1.0], [3.0]]), jnp.array([0, 1, 1])
    for probe in (functools.partial(linear_probe, steps=2), functools.partial(knn_probe, neighbors=2)):
        assert np.abs(jax.grad(lambda x, f=probe: f(x, labels, x, num_classes=2).sum())(features)).max() == 0
    assert np.abs(jax.grad(lambda x: ridge_probe(x, labels, x).sum())(features)).max() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: standardize(x, x[:, :1]), r"features \(3, 2\) and those of the training set \(3, 1\)"),
        (lambda x, y: linear_probe(x, y, x, num_classes=2, steps=0), "steps must be at least 1, got 0"),
        (
            lambda x, y: linear_probe(x, y[:2], x, num_classes=2),
            r"train_labels \(2,\) must be \[N\] of train_features",
        ),
        (lambda x, y: knn_probe(x, y, x, num_classes=0), "num_classes must be at least 1, got 0"),
        (lambda x, y: knn_probe(x, y, x, num_classes=2, neighbors=0), "neighbors must be at least 1, got 0"),
        (lambda x, y: knn_probe(x, y + 0.5, x, num_classes=2), "labels must be integers"),
        (lambda x, y: ridge_probe(x, y[:2], x), r"targets \(2,\) must be \[N\] or \[N, K\] for .* 3 rows"),
        (lambda x, y: ridge_probe(x, y, x, penalty=0.0), "penalty must be positive, got 0"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((3, 2), np.float32), np.array([0, 1, 0]))
