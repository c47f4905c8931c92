"""Values that cannot be are refused, a NaN that counts comes out, and lists and traced numbers are welcome."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import core, metrics
from jaxlab import distillation as d
from jaxlab.distillation import dcd, loss_landscape, mcmi, noise_mask, teacher_hacking, tgeo_kd

NAN = np.nan
RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(size=(2, 3, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2])
CENTERS = RNG.normal(size=(3, 4)).astype(np.float32)


def spoiled(x, *at):
    x = np.array(x, np.float32)
    x[at] = NAN
    return x


LABELLED = {
    "dkd_loss": lambda y: d.dkd_loss(STUDENT, TEACHER, y),
    "target_class_kl": lambda y: d.target_class_kl(STUDENT, TEACHER, y),
    "non_target_class_kl": lambda y: d.non_target_class_kl(STUDENT, TEACHER, y),
    "pld_loss": lambda y: d.pld_loss(STUDENT, TEACHER, y),
    "pld_first_weight": lambda y: d.pld_first_weight(TEACHER, y),
    "mcmi_loss": lambda y: mcmi.mcmi_loss(STUDENT, y, np.eye(4)),
    "cmi_terms": lambda y: mcmi.cmi_terms(STUDENT, y, np.eye(4)),
    "fused_kd_loss": lambda y: tgeo_kd.fused_kd_loss(STUDENT, TEACHER, y, np.full(3, 0.3, np.float32)),
    "nd_loss": lambda y: d.nd_loss(STUDENT, TEACHER, y, np.eye(4)),
    "direction_loss": lambda y: d.direction_loss(STUDENT, y, np.eye(4)),
}


@pytest.mark.parametrize("name", LABELLED)
def test_a_negative_label_is_ignored_and_one_of_no_class_refused(name):
    values = LABELLED[name](LABELS)
    for void in (-1, -100):
        ignored = LABELLED[name](np.array([0, void, 2]))
        assert ignored[1] == 0
        np.testing.assert_array_equal(np.asarray(ignored)[[0, 2]], np.asarray(values)[[0, 2]])
    for label in (4, 255):
        with pytest.raises(ValueError, match=rf"labels must be in \[0, 4\), or negative .* got {label}"):
            LABELLED[name](np.array([0, label, 2]))
    np.testing.assert_array_equal(LABELLED[name]([0, 1, 2]), values)  # a list


def test_lists_for_everything():
    lists = [x.tolist() for x in (STUDENT, TEACHER, CENTERS)]
    np.testing.assert_allclose(
        d.nd_loss(lists[0], lists[1], [0, 1, 2], lists[2]),
        d.nd_loss(STUDENT, TEACHER, LABELS, CENTERS),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        mcmi.mcmi_loss(lists[0], [0, 1, 2], np.eye(4).tolist()),
        mcmi.mcmi_loss(STUDENT, LABELS, np.eye(4)),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        teacher_hacking.token_forward_kl(*lists[:2]),
        teacher_hacking.token_forward_kl(STUDENT, TEACHER),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dcd.select_hard(spoiled(STUDENT, 1, 2), num_negatives=2), "teacher_scores holds NaN"),
        (lambda: d.teacher_optimal_ranking(spoiled(TEACHER, 1, 2), LABELS), "teacher_logits holds NaN"),
        (lambda: dcd.scores_of(TEACHER, np.array([[0, 4]] * 3)), r"index must be in \[0, 4\), got 4"),
        (lambda: dcd.scores_of(TEACHER, np.array([[0, -1]] * 3)), r"index must be in \[0, 4\), got -1"),
        (lambda: d.listmle_loss(STUDENT, np.array([[0, 1, 2, 2]] * 3)), r"best first, got \[0, 1, 2, 2\]"),
        (lambda: d.listmle_loss(STUDENT, np.array([[1, 2, 3, 4]] * 3)), "each class once, best first"),
        (lambda: dcd.dcd_loss(STUDENT, TEACHER, alpha=1.5), r"alpha must be in \[0, 1\], got 1.5"),
        (lambda: tgeo_kd.fused_kd_loss(STUDENT, TEACHER, LABELS, np.full(3, 30.0)), "alpha must be shares in"),
        (lambda: metrics.knn_probe(STUDENT, np.array([0, 1, 5]), TEACHER, num_classes=3), "train_labels must be in"),
        (lambda: metrics.linear_probe(STUDENT, np.array([0, 1, 5]), TEACHER, num_classes=3), "train_labels must be in"),
        (lambda: mcmi.class_centroids(np.eye(4), np.array([0, 1, 2, 4])), r"labels must be in \[0, 4\)"),
        (lambda: noise_mask.mix_base(np.ones(4), STUDENT, decay=np.float32(9)), r"decay must be in \[0, 1\], got 9.0"),
        (lambda: d.kd_loss(STUDENT, TEACHER, classes=0.5 * np.ones((3, 4))), "classes must be bool or hold 0 and 1"),
    ],
)  # fmt: skip
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)


def _crd(index, negatives, where=None):
    state = d.crd_init(jax.random.key(0), 5, 4)
    return d.crd_loss(state, STUDENT, TEACHER, index, negatives, where=where)


def test_examples_that_do_not_exist_are_refused_in_a_memory():
    negatives = np.array([[0, 1]] * 3)
    with pytest.raises(ValueError, match=r"index must be in \[0, 5\), got 5"):
        _crd(np.array([0, 5, 2]), negatives)
    with pytest.raises(ValueError, match=r"negatives must be in \[0, 5\), got -1"):
        _crd(LABELS, negatives - np.array([[1], [0], [0]]))
    loss, _ = _crd(np.array([0, 99, 2]), np.array([[0, 1], [7, -7], [0, 1]]), where=[1, 0, 1])
    assert loss[1] == 0
    expected, _ = _crd(LABELS.tolist(), negatives.tolist(), where=[1, 0, 1])
    np.testing.assert_array_equal(loss, expected)


def test_a_nan_in_the_teacher_is_a_nan_in_the_loss():
    for t in (spoiled(TEACHER, 1, 0), spoiled(TEACHER, 1)):
        assert np.isnan(d.nd_loss(STUDENT, t, LABELS, CENTERS)).tolist() == [False, True, False]
        assert np.isfinite(d.nd_loss(STUDENT, t, LABELS, CENTERS, where=[1, 0, 1])).all()
        weights = dcd.entropy_weights(t)
        assert np.isnan(weights).all()  # shares of a total that nobody knows
        np.testing.assert_allclose(dcd.entropy_weights(t, where=[1, 0, 1]).sum(), 1, rtol=1e-6)


def test_no_temperature_matches_a_nan():
    assert np.isnan(mcmi.matching_temperature(spoiled(STUDENT, 0, 0), TEACHER))
    assert np.isnan(mcmi.matching_temperature(STUDENT, spoiled(TEACHER, 0, 0)))
    traced = jax.jit(lambda high: mcmi.matching_temperature(STUDENT, TEACHER, highest=high))(50.0)
    np.testing.assert_allclose(traced, mcmi.matching_temperature(STUDENT, TEACHER, highest=50.0), rtol=1e-5)


def test_a_nan_distance_has_no_votes():
    votes = metrics.knn_probe(STUDENT, LABELS, spoiled(TEACHER, 1, 2), num_classes=3, neighbors=1)
    assert np.isnan(votes).all(-1).tolist() == [False, True, False]
    assert np.isnan(metrics.knn_probe(spoiled(STUDENT, 0, 0), LABELS, TEACHER, num_classes=3)).all()
    assert np.isfinite(metrics.knn_probe(spoiled(STUDENT, 0, 0), [-1, 1, 2], TEACHER, num_classes=3)).all()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_curve_with_a_nan_has_no_score(place):
    assert np.isnan(teacher_hacking.hacking_score(spoiled([3.0, 1.0, 1.5], place)))


def test_what_is_ignored_leaves_no_trace():
    loss = lambda s, a: tgeo_kd.fused_kd_loss(s, TEACHER, np.array([0, -1, 2]), a).sum()
    alpha = spoiled(np.full(3, 0.3), 1)
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(spoiled(STUDENT, 1, 2), alpha)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_centroids_in_integers_or_in_bfloat16_move():
    probs, labels = np.array([[0.25, 0.75]], np.float32), np.array([0])
    for dtype in (np.int32, jnp.bfloat16):
        moved = mcmi.ema_centroids(jnp.eye(2, dtype=dtype), probs, labels, decay=0.999, min_count=1)
        assert moved.dtype == jnp.float32
        np.testing.assert_allclose(moved, [[0.99925, 0.00075], [0, 1]], rtol=1e-5)


def test_integer_gradients_and_checkpoints_are_not_cut_off():
    aligned = core.align_gradients(jnp.array([1, 1]), jnp.array([-2, 1]))
    np.testing.assert_allclose(aligned, [-1.5, 1.5])
    line = loss_landscape.line_losses(lambda x: x.sum(), jnp.array([0]), jnp.array([1]), jnp.array([0.25]))
    np.testing.assert_allclose(line, [0.25])


def test_the_weight_of_the_distillation_may_be_traced():
    traced = jax.jit(lambda alpha, t: dcd.dcd_loss(STUDENT, TEACHER, alpha=alpha, temperature=t))(0.4, 2.0)
    np.testing.assert_allclose(traced, dcd.dcd_loss(STUDENT, TEACHER, alpha=0.4, temperature=2.0), rtol=1e-6)
