import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.core import entropy
from jaxlab.distillation import mcmi
from tests.compiled import compiled_room

mcmi = compiled_room(mcmi)

B, C = 8, 4
LOGITS = 2 * jax.random.normal(jax.random.key(0), (B, C))
LABELS = jnp.array([0, 1, 2, 3, 0, 1, 2, 0])
PROBS = jax.nn.softmax(LOGITS)
CENTROIDS = mcmi.class_centroids(PROBS, LABELS)
LOSS = jax.jit(mcmi.mcmi_loss)
HALF = jnp.array([[0.8, 0.2], [0.5, 0.5]])


def test_centroids_by_hand_and_a_class_without_examples_is_uniform():
    # Class 0: mean of (.9, .1) and (.7, .3) = (.8, .2); class 1 has none that counts.
    probs = jnp.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [jnp.nan, 0.0]])
    got = mcmi.class_centroids(probs, jnp.array([0, 0, -1, 1]), where=jnp.array([1, 1, 1, 0]))
    np.testing.assert_allclose(got, HALF, rtol=1e-6)
    np.testing.assert_allclose(CENTROIDS.sum(-1), np.ones(C), rtol=1e-6)


def test_the_loss_by_hand():
    # P = (1/2, 1/2), Q_0 = (.8, .2): KL = ln(1/2) - (ln .8 + ln .2) / 2 = -0.693147 + 0.916291 = 0.223144.
    # Loss = ln 2 - 0.15 * 0.223144 = 0.659675.
    # d KL / d z_c = P_c (log P_c - log Q_c - KL): c = 0: .5 (-0.470004 - 0.223144) = -0.346574, c = 1: its opposite.
    # d loss = (P - onehot) - 0.15 d KL = (-0.5 + 0.051986, 0.5 - 0.051986).
    value, gradient = jax.value_and_grad(lambda z: mcmi.mcmi_loss(z, jnp.array([0]), HALF).sum())(
        jnp.zeros((1, 2))
    )
    np.testing.assert_allclose(mcmi.cmi_terms(jnp.zeros((1, 2)), jnp.array([0]), HALF), [0.223144], rtol=1e-5)
    np.testing.assert_allclose(value, 0.659675, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.448014, 0.448014]], rtol=1e-5)


def test_ema_centroids_by_hand():
    # .75 (.8, .2) + .25 (0, 1) = (.6, .4); class 1 has one example, fewer than two, and stays.
    probs = jnp.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    move = lambda **how: mcmi.ema_centroids(HALF, probs, jnp.array([0, 0, 1]), **how)
    np.testing.assert_allclose(move(decay=0.75, min_count=2), [[0.6, 0.4], [0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(move(decay=0.75, min_count=1)[1], [0.625, 0.375], rtol=1e-6)
    np.testing.assert_allclose(move(decay=1.0, min_count=1), HALF, rtol=1e-6)
    np.testing.assert_array_equal(move(), HALF)  # the authors' eight per class
    # Rows that do not sum to 1 are normalised when they move.
    np.testing.assert_allclose(
        mcmi.ema_centroids(2 * HALF, probs, jnp.array([0, 0, 1]), decay=1.0, min_count=2)[0],
        [0.8, 0.2],
        rtol=1e-6,
    )


def test_one_answer_per_class_holds_no_information_and_noise_does():
    same = jnp.tile(LOGITS[:C], (3, 1))
    labels = jnp.tile(jnp.arange(C), 3)
    terms = mcmi.cmi_terms(same, labels, mcmi.class_centroids(jax.nn.softmax(same), labels))
    np.testing.assert_allclose(terms, np.zeros(3 * C), atol=1e-6)
    # The mean over the data of the terms is I(X; Yhat | Y), which equals H(Q_y) - H(P) on average.
    expected = sum(
        (y == LABELS).mean() * entropy(jnp.log(CENTROIDS[y])) for y in range(C)
    ) - entropy(LOGITS).mean()  # fmt: skip
    np.testing.assert_allclose(mcmi.cmi_terms(LOGITS, LABELS, CENTROIDS).mean(), expected, rtol=1e-5)
    assert expected > 0.1


def test_a_step_on_the_loss_raises_information():
    step = lambda weight: (
        LOGITS - 0.1 * jax.grad(lambda z: LOSS(z, LABELS, CENTROIDS, weight=weight).sum())(LOGITS)
    )
    information = lambda z: mcmi.cmi_terms(z, LABELS, CENTROIDS).mean()
    assert information(step(0.5)) > information(step(0.0))


def test_gradients_match_finite_differences_and_stop_at_the_centroids():
    with jax.enable_x64(True):
        wide, centroids = jnp.asarray(LOGITS, jnp.float64), jnp.asarray(CENTROIDS, jnp.float64)
        loss = lambda z: mcmi.mcmi_loss(z, LABELS, centroids, weight=0.25)
        assert loss(wide).dtype == jnp.float64
        check_grads(loss, (wide,), order=1, modes=["rev"])
    stopped = jax.grad(lambda q: LOSS(LOGITS, LABELS, q).sum())(CENTROIDS)
    np.testing.assert_array_equal(stopped, np.zeros((C, C)))
    moved = jax.grad(
        lambda q, p: mcmi.ema_centroids(q, p, LABELS, min_count=1, decay=0.5).max(), argnums=(0, 1)
    )
    for gradient in moved(CENTROIDS, PROBS):
        assert not np.abs(gradient).any()


def test_a_class_that_a_centroid_never_saw_is_clipped():
    value, gradient = jax.value_and_grad(lambda z: mcmi.cmi_terms(z, jnp.array([0]), jnp.eye(2)).sum())(
        jnp.zeros((1, 2))
    )
    # ln(1/2) - (ln 1 + ln 1e-8) / 2.
    np.testing.assert_allclose(value, -0.693147 + 9.210340, rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_masks_extremes_and_half_precision():
    shown_classes = jnp.array([1, 1, 1, 0])
    dirty = LOGITS.at[:, 3].set(jnp.nan)
    loss = lambda z: LOSS(z, LABELS, CENTROIDS, classes=shown_classes).sum()
    values, gradient = LOSS(dirty, LABELS, CENTROIDS, classes=shown_classes), jax.grad(loss)(dirty)
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(gradient[:, 3], np.zeros(B))
    # Dropping the class: same logits, and the same rows of the centroids without it.
    shown = LABELS < 3
    short = LOSS(LOGITS[:, :3], jnp.where(shown, LABELS, -1), CENTROIDS[:3, :3])
    np.testing.assert_allclose(jnp.where(shown, values, 0.0), short, rtol=1e-5, atol=1e-6)
    assert LOSS(LOGITS, LABELS.at[1].set(-100), CENTROIDS)[1] == 0
    huge, slope = jax.value_and_grad(lambda z: LOSS(z, LABELS, jnp.eye(C)).sum())(1e4 * jnp.sign(LOGITS))
    assert np.isfinite(huge)
    assert np.isfinite(slope).all()
    assert LOSS(LOGITS.astype(jnp.bfloat16), LABELS, CENTROIDS).dtype == jnp.float32
    assert LOSS(LOGITS[:0], LABELS[:0], CENTROIDS).shape == (0,)


def test_leading_axes_and_vmap_agree():
    values = LOSS(LOGITS, LABELS, CENTROIDS)
    stacked = LOSS(LOGITS.reshape(2, 4, C), LABELS.reshape(2, 4), CENTROIDS)
    np.testing.assert_allclose(stacked.reshape(B), values, rtol=1e-6)
    each = jax.vmap(lambda z, y: mcmi.mcmi_loss(z, y, CENTROIDS))(LOGITS, LABELS)
    np.testing.assert_allclose(each, values, rtol=1e-6)


def test_the_matching_temperature_matches():
    sharp = jnp.array([3.0, 2.0])[:, None, None] * LOGITS
    found = jax.jit(jax.vmap(mcmi.matching_temperature, in_axes=(0, None)))(sharp, LOGITS)
    np.testing.assert_allclose(found, [3.0, 2.0], rtol=1e-3)
    other = jax.random.normal(jax.random.key(1), (B, C))
    temperature = mcmi.matching_temperature(sharp[0], other)
    np.testing.assert_allclose(
        entropy(sharp[0], temperature=temperature).mean(), entropy(other).mean(), rtol=1e-4
    )
    # No temperature makes equal logits sure, nor a one-hot answer of 1e4 unsure.
    np.testing.assert_allclose(mcmi.matching_temperature(jnp.zeros((B, C)), LOGITS), 0.01, rtol=1e-4)
    np.testing.assert_allclose(
        mcmi.matching_temperature(1e4 * jnp.eye(C), jnp.zeros((C, C))), 100.0, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mcmi.cmi_terms(LOGITS, LABELS, jnp.eye(3)),
            r"centroids \(3, 3\) must be \[C, C\], logits are \(8, 4\)",
        ),
        (lambda: mcmi.mcmi_loss(LOGITS, LABELS[:5], CENTROIDS), r"labels \(5,\)"),
        (lambda: mcmi.class_centroids(PROBS, LABELS[:5]), r"labels \(5,\)"),
        (lambda: mcmi.ema_centroids(CENTROIDS, PROBS[:, :3], LABELS), r"centroids \(4, 4\) must be \[C, C\]"),
        (lambda: mcmi.ema_centroids(CENTROIDS, PROBS, LABELS, decay=1.5), "decay must be in"),
        (
            lambda: mcmi.ema_centroids(CENTROIDS, PROBS, LABELS, min_count=0),
            "min_count must be at least 1, got 0",
        ),
        (lambda: mcmi.matching_temperature(LOGITS, LOGITS[:3]), r"\(8, 4\) and reference_logits \(3, 4\)"),
        (
            lambda: mcmi.matching_temperature(LOGITS, LOGITS, lowest=0.0),
            "and in order, got lowest 0.0, highest 100.0",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
