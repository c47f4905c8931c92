import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import forward_kl
from jaxlab.distillation import knn_probe, linear_probe, local_init, soft_cross_entropy, standardize
from tests.distillation.conftest import DATA


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DATA / "random_teacher.npz"))


def test_cross_entropy_matches_the_authors_code(golden, close_to_golden):
    student, teacher = jnp.float32(golden["in_student_logits"]), jnp.float32(golden["in_teacher_logits"])
    loss = lambda s: soft_cross_entropy(s, teacher).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(student)
    close_to_golden(value, golden["out_ce"])
    close_to_golden(gradient, golden["grad_ce"])
    # The divergence differs by the teacher's entropy, so its gradient is the same.
    close_to_golden(forward_kl(student, teacher).mean(), golden["out_kl"])


def test_cross_entropy_by_hand():
    # Teacher (1/2, 1/2), student softmax(ln 3, 0) = (3/4, 1/4): -(ln 3/4 + ln 1/4) / 2 = 0.836988; d/ds = q - p.
    loss = lambda s, t: soft_cross_entropy(s, t).sum()
    arguments = jnp.array([[np.log(3.0), 0.0]]), jnp.zeros((1, 2))
    value, (student, teacher) = jax.value_and_grad(loss, argnums=(0, 1))(*arguments)
    np.testing.assert_allclose(value, 0.836988, rtol=1e-5)
    np.testing.assert_allclose(student, [[0.25, -0.25]], rtol=1e-5)
    assert np.abs(teacher).max() == 0


def test_a_class_that_does_not_exist_counts_for_nothing():
    student, teacher = jnp.array([[0.0, 1.0, jnp.nan]]), jnp.array([[1.0, 0.0, 5.0]])
    where = jnp.array([True, True, False])
    got = soft_cross_entropy(student, teacher, where=where)
    np.testing.assert_allclose(got, soft_cross_entropy(student[:, :2], teacher[:, :2]), rtol=1e-6)
    gradient = jax.grad(lambda s: soft_cross_entropy(s, teacher, where=where).sum())(student)
    assert np.isfinite(gradient).all()
    assert soft_cross_entropy(student, teacher, where=jnp.zeros(3, bool)).item() == 0


def test_a_narrow_type_comes_back_in_float32():
    loss = soft_cross_entropy(jnp.array([[1e4, -1e4]], jnp.bfloat16), jnp.array([[-1e4, 1e4]], jnp.bfloat16))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, [2e4], rtol=1e-2)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_local_init_matches_the_authors_code(golden, close_to_golden, alpha):
    got = local_init({"w": golden["in_theta_t"]}, {"w": golden["in_theta_fresh"]}, alpha=alpha)
    close_to_golden(got["w"], golden[f"out_interp_alpha{alpha}"])


def test_local_init_without_the_division_and_as_a_neighbourhood(golden, close_to_golden):
    teacher, fresh = golden["in_theta_t"], golden["in_theta_fresh"]
    got = local_init(teacher, fresh, alpha=0.3, keep_variance=False)
    close_to_golden(got, golden["out_interp_alpha0.3_novar"])
    # teacher + eps fresh, divided by its spread, is the mixture with a / (1 - a) = eps.
    close_to_golden(local_init(teacher, fresh, alpha=0.1 / 1.1), golden["out_neighborhood_eps0.1"])


def test_local_init_keeps_the_variance_of_independent_draws():
    draws = np.random.default_rng(0).normal(size=(2, 100_000)).astype(np.float32)
    np.testing.assert_allclose(np.var(local_init(*draws, alpha=0.3)), 1.0, rtol=0.02)
    # Without the division 0.7^2 + 0.3^2 = 0.58.
    np.testing.assert_allclose(np.var(local_init(*draws, alpha=0.3, keep_variance=False)), 0.58, rtol=0.02)


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
        # A negative label marks a row to ignore.
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


def test_probes_pass_no_gradient_to_the_features():
    features, labels = jnp.array([[0.0], [1.0], [3.0]]), jnp.array([0, 1, 1])
    for probe in (functools.partial(linear_probe, steps=2), functools.partial(knn_probe, neighbors=2)):
        assert np.abs(jax.grad(lambda x, f=probe: f(x, labels, x, num_classes=2).sum())(features)).max() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: soft_cross_entropy(x, x[:2]), r"student_logits \(3, 2\) and teacher_logits \(2, 2\)"),
        (lambda x, y: local_init(x, x, alpha=1.5), r"alpha must be in \[0, 1\], got 1.5"),
        (lambda x, y: local_init(x, x[:1]), "must be trees of the same shapes"),
        (lambda x, y: standardize(x, x[:, :1]), r"features \(3, 2\) and those of the training set \(3, 1\)"),
        (lambda x, y: linear_probe(x, y, x, num_classes=2, steps=0), "steps must be at least 1, got 0"),
        (lambda x, y: linear_probe(x, y[:2], x, num_classes=2), r"train_labels \(2,\) must be \[N\]"),
        (lambda x, y: knn_probe(x, y, x, num_classes=0), "num_classes must be at least 1, got 0"),
        (lambda x, y: knn_probe(x, y, x, num_classes=2, neighbors=0), "neighbors must be at least 1, got 0"),
        (lambda x, y: knn_probe(x, y + 0.5, x, num_classes=2), "labels must be integers"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((3, 2)), jnp.array([0, 1, 0]))
