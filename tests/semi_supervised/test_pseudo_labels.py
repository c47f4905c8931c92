"""Pseudo-labels, their filters and their quality, and the consistency losses: by hand, masked, at the extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import semi_supervised as semi

B, K = 6, 4
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, B, K))
LABELS = jnp.array([0, 1, 2, 3, 0, 1])
KEPT = jnp.array([1, 0, 1, 1, 0, 0], bool)

# As loss(student [..., K], teacher [..., K], where [...]) -> [...].
LOSSES = {
    "cross_entropy": lambda s, t, w=None: semi.masked_cross_entropy(s, jnp.argmax(t, -1), where=w),
    "mse": lambda s, t, w=None: semi.consistency_mse(s, t, where=w),
    "kl": lambda s, t, w=None: semi.consistency_kl(s, t, where=w),
}
LOSSES = {name: jax.jit(loss) for name, loss in LOSSES.items()}
GRADED = {
    name: jax.jit(jax.value_and_grad(lambda s, t, w, loss=loss: loss(s, t, w).sum()))
    for name, loss in LOSSES.items()
}
every = pytest.mark.parametrize("name", LOSSES)


def test_absent_classes_lose_their_probability():
    probs = jnp.full((2, 3, 2), 0.5)
    present = jnp.array([[True, False], [False, False]])
    filtered = semi.class_filtered_probs(probs, present)
    np.testing.assert_array_equal(filtered[0], [[0.5, 0.0]] * 3)
    np.testing.assert_array_equal(filtered[1], np.zeros((3, 2)))
    np.testing.assert_array_equal(
        semi.class_filtered_probs(probs, jnp.array([0, 1]))[..., 0], np.zeros((2, 3))
    )
    # A gradient, or a NaN, of an absent class goes nowhere.
    gradient = jax.grad(lambda p: semi.class_filtered_probs(p, present).sum())(probs)
    np.testing.assert_array_equal(gradient[0], [[1.0, 0.0]] * 3)
    assert not np.isnan(semi.class_filtered_probs(probs.at[0, 0, 1].set(jnp.nan), present)).any()


@pytest.mark.parametrize("present", [np.ones(3), np.ones((3, 2)), np.ones((2, 3, 1, 2)), np.ones(())])
def test_presence_of_another_shape_is_refused(present):
    with pytest.raises(ValueError, match="must be \\[K\\] or the first axes of probs"):
        semi.class_filtered_probs(jnp.ones((2, 3, 2)), present)


def test_a_label_is_accepted_at_the_threshold_of_its_class():
    probs = jnp.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.0, 0.0], [jnp.nan, 0.5]])
    found = semi.pseudo_label(probs, threshold=jnp.array([0.75, 0.8]))
    assert found.label[:4].tolist() == [0, 1, 0, 0]
    assert found.label.dtype == jnp.int32
    np.testing.assert_array_equal(found.confidence[:4], [0.75, 0.75, 0.5, 0.0])
    assert found.accepted.tolist() == [True, False, False, False, False]
    # Without any threshold a row without mass, and one with a NaN, still have no label.
    assert semi.pseudo_label(probs, threshold=0.0).accepted.tolist() == [True, True, True, False, False]


def test_no_gradient_through_a_pseudo_label():
    gradient = jax.grad(lambda p: semi.pseudo_label(p, threshold=0.5).confidence.sum())(jnp.ones((2, 2)) / 2)
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_quality_by_hand():
    # Accepted: rows 0, 1, 3; right among them 0 and 3. Row 3 is masked: 1 of 2 right, 2 of 3 accepted.
    pseudo = semi.PseudoLabels(
        jnp.array([0, 1, 2, 1]), jnp.full(4, 0.9), jnp.array([True, True, False, True])
    )
    truth = jnp.array([0, 0, 2, 1])
    np.testing.assert_allclose(semi.pseudo_label_quality(pseudo, truth), (2 / 3, 3 / 4), rtol=1e-6)
    masked = semi.pseudo_label_quality(pseudo, truth, where=jnp.array([1, 1, 1, 0]))
    np.testing.assert_allclose(masked, (1 / 2, 2 / 3), rtol=1e-6)
    nothing = pseudo._replace(accepted=jnp.zeros(4, bool))
    assert tuple(semi.pseudo_label_quality(nothing, truth)) == (0, 0)
    assert tuple(semi.pseudo_label_quality(pseudo, truth, where=False)) == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: semi.pseudo_label(jnp.ones((2, 3)), threshold=jnp.ones(2)),
            r"threshold \(2,\) must be a scalar",
        ),
        (lambda: semi.pseudo_label(jnp.ones(()), threshold=0.5), r"probs \(\) must have shape"),
        (
            lambda: semi.pseudo_label(STUDENT, threshold=0.5),
            r"^probs must be probabilities in \[0, 1\], got -?\d+\.?\d*: apply softmax to logits first$",
        ),
        (
            lambda: semi.pseudo_label(jnp.ones((2, 3)), threshold=95),
            r"^threshold must be in \[0, 1\], got 95$",
        ),
        (
            lambda: semi.pseudo_label(jnp.ones((2, 3)), threshold=np.array([0.9, 95, 0.9])),
            r"threshold must be in \[0, 1\], got \[0.9, 95.0, 0.9\]",
        ),
        (
            lambda: semi.class_filtered_probs(jnp.ones((2, 3)), jnp.array([0.2, 0.5, 0.3])),
            "present must be bool or hold 0 and 1",
        ),
        (
            lambda: semi.masked_cross_entropy(STUDENT, LABELS[:3]),
            r"labels \(3,\) must have the leading shape",
        ),
        (lambda: semi.masked_cross_entropy(STUDENT, jnp.ones(B)), "labels must be integers"),
        (
            lambda: semi.masked_cross_entropy(STUDENT, LABELS, where=jnp.ones(3)),
            r"where \(3,\) must broadcast",
        ),
        (lambda: semi.consistency_mse(STUDENT, TEACHER[:3]), "must have the same shape"),
        (lambda: semi.consistency_kl(STUDENT, TEACHER, temperature=0.0), "temperature must be positive"),
        (
            lambda: semi.pseudo_label_quality(semi.pseudo_label(jnp.ones((2, 3)), threshold=0.5), LABELS),
            r"truth \(6,\) must have",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)


def test_cross_entropy_of_a_batch_with_holes():
    labels = jnp.where(KEPT, LABELS, 255)
    loss = semi.masked_cross_entropy(STUDENT, labels, where=KEPT)
    expected = -jax.nn.log_softmax(STUDENT)[jnp.arange(B), LABELS]
    np.testing.assert_allclose(loss, jnp.where(KEPT, expected, 0.0), rtol=1e-5)
    for void in (255, -1, -100):
        assert semi.masked_cross_entropy(STUDENT, jnp.full(B, void)).tolist() == [0.0] * B
    with pytest.raises(
        ValueError, match=rf"labels must be in \[0, {K}\), or negative for an example to ignore"
    ):
        semi.masked_cross_entropy(STUDENT, jnp.full(B, K))


def test_where_there_are_as_many_classes_255_is_one():
    loss = semi.masked_cross_entropy(jnp.zeros((1, 300)), jnp.array([255]))
    np.testing.assert_allclose(loss, [np.log(300)], rtol=1e-6)


def test_squared_distance_by_hand():
    # softmax (1/2, 1/2) and (3/4, 1/4): 1/2 (1/16 + 1/16) = 1/16. With q = softmax(s), the gradient is
    # 2/K q_k (d_k - sum_j q_j d_j), d = q - p = (-1/4, 1/4): (-1/8, 1/8).
    teacher = jnp.log(jnp.array([[3.0, 1.0]]))
    value, gradient = GRADED["mse"](jnp.zeros((1, 2)), teacher, None)
    np.testing.assert_allclose(value, 1 / 16, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-1 / 8, 1 / 8]], rtol=1e-6)


def test_kl_by_hand():
    # p = (3/4, 1/4), q = (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2) = 0.130812; the gradient is q - p.
    value, gradient = GRADED["kl"](jnp.zeros((1, 2)), jnp.log(jnp.array([[3.0, 1.0]])), None)
    np.testing.assert_allclose(value, 0.130812, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-1 / 4, 1 / 4]], rtol=1e-6)
    # At T = 2, 2 ln 3 and 0 are again (3/4, 1/4); there is no factor T^2.
    tempered = semi.consistency_kl(jnp.zeros(2), jnp.array([2 * np.log(3.0), 0.0]), temperature=2.0)
    np.testing.assert_allclose(tempered, 0.130812, rtol=1e-5)


def test_squared_distance_is_at_most_two_over_the_classes():
    sure = jnp.array([[1e4, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(semi.consistency_mse(sure, sure[:, ::-1]), [0.5])


@every
def test_a_mask_is_as_good_as_dropping_rows(name):
    rows = np.flatnonzero(KEPT)
    value, gradient = GRADED[name](STUDENT, TEACHER, KEPT)
    expected, own = GRADED[name](STUDENT[rows], TEACHER[rows], None)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient[rows], own, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(gradient[~np.asarray(KEPT)], 0.0)


@every
def test_nan_behind_a_mask_stays_there_and_one_in_the_open_shows(name):
    dirty = jnp.where(KEPT[:, None], STUDENT, jnp.nan)
    value, gradient = GRADED[name](dirty, TEACHER, KEPT)
    clean, own = GRADED[name](STUDENT, TEACHER, KEPT)
    np.testing.assert_allclose(value, clean, rtol=1e-6)
    np.testing.assert_allclose(gradient, own, rtol=1e-5, atol=1e-7)
    assert np.isnan(LOSSES[name](dirty, TEACHER))[~np.asarray(KEPT)].all()


@every
def test_nothing_valid_and_nothing_at_all_are_zero(name):
    value, gradient = GRADED[name](STUDENT, TEACHER, jnp.zeros(B, bool))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((B, K)))
    assert GRADED[name](STUDENT[:0], TEACHER[:0], None)[0] == 0


@every
def test_extreme_logits_are_finite(name):
    big = jnp.array([[1e4, -1e4, 0.0, 0.0], [-1e4, 1e4, 1e4, 0.0], [1e4] * 4])
    value, gradient = GRADED[name](jnp.repeat(big, 3, 0), jnp.tile(big, (3, 1)), None)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@every
def test_half_precision_is_computed_in_float32(name):
    student, teacher = STUDENT.astype(jnp.bfloat16), TEACHER.astype(jnp.float16)
    value = LOSSES[name](student, teacher)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, LOSSES[name](jnp.float32(student), jnp.float32(teacher)), rtol=1e-5)


@every
def test_float64_gradient_matches_finite_differences_and_the_teacher_gets_none(name):
    with jax.enable_x64(True):
        student, teacher = jnp.asarray(STUDENT, jnp.float64), jnp.asarray(TEACHER, jnp.float64)
        loss = lambda s: LOSSES[name](s, teacher)
        assert loss(student).dtype == jnp.float64
        check_grads(loss, (student,), order=1, modes=["rev"], rtol=1e-6)
    gradient = jax.grad(lambda t: LOSSES[name](STUDENT, t).sum())(TEACHER)
    np.testing.assert_array_equal(gradient, np.zeros((B, K)))


@every
def test_vmap_is_a_loop(name):
    many = jax.jit(jax.vmap(LOSSES[name]))(STUDENT.reshape(2, 3, K), TEACHER.reshape(2, 3, K))
    np.testing.assert_allclose(many.reshape(B), LOSSES[name](STUDENT, TEACHER), rtol=1e-6)


def test_unlabelled_fraction():
    assert semi.unlabelled_fraction(jnp.array([[1, 0], [0, 0]])) == 0.75
    assert semi.unlabelled_fraction(jnp.array([1, 0, 0]), where=jnp.array([1, 1, 0])) == 0.5
    assert semi.unlabelled_fraction(jnp.ones(3), where=False) == 0
