"""RAIL by hand: masks, losses of regions, their forms in the authors' code, and the rate's schedule."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import semi_supervised as ss
from jaxlab.semi_supervised import rail
from tests.compiled import compiled_room

ss, rail = map(compiled_room, (ss, rail))

LOG2 = math.log(2)


def sure(p):
    """Logits [..., 2] with softmax probability p of class 1."""
    p = np.asarray(p, np.float64)
    return jnp.float32(np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1))


def test_disagreement_and_the_best():
    a, b = jnp.array([[0, 1, 1]]), jnp.array([[1, 1, 0]])
    assert rail.disagreement_mask(a, b).tolist() == [[True, False, True]]
    assert rail.disagreement_mask(a, b, where=jnp.array([[1, 1, 0]])).tolist() == [[True, False, False]]
    assert rail.best_student(jnp.array([0.3, 0.1, 0.1, 0.4])) == 1


def test_dice_loss_by_hand():
    # Row 0: sum p y = 0.5, sum p^2 = 0.25 + 1, sum y^2 = 1: 1 - 1 / 2.25. Row 1: nothing there and nothing found.
    probs, target = jnp.array([[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]), jnp.array([[1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(ss.dice_loss(probs, target), [1 - 1 / 2.25, 0.0], atol=1e-5)
    # d/dp of 2 sum p y / S is 2 y / S - 2 p (2 sum p y) / S^2: for the first voxel 2 / 2.25 - 1 / 2.25^2.
    gradient = jax.grad(lambda p: ss.dice_loss(p, target)[0])(probs)
    np.testing.assert_allclose(gradient[0, :2], [-(2 / 2.25 - 1 / 2.25**2), 2 / 2.25**2], rtol=1e-4)
    masked = ss.dice_loss(probs.at[0, 2].set(jnp.nan), target, where=jnp.array([[1, 1, 0]]))
    np.testing.assert_allclose(masked, ss.dice_loss(probs[:, :2], target[:, :2]), rtol=1e-6)


def test_sharpen_by_hand():
    # 0.6 : 0.3 to the power 2 is 4 : 1, and to the power 10 it is 1024 : 1.
    np.testing.assert_allclose(ss.sharpen(jnp.array([0.6, 0.3]), temperature=0.5), [0.8, 0.2], rtol=1e-5)
    np.testing.assert_allclose(ss.sharpen(jnp.array([0.6, 0.3])), [1024 / 1025, 1 / 1025], rtol=1e-4)
    tiny = ss.sharpen(jnp.array([[1e-30, 2e-30], [0.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(tiny, [[1 / 1025, 1024 / 1025], [0, 0], [0, 1]], rtol=1e-4)
    np.testing.assert_array_equal(jax.grad(lambda p: ss.sharpen(p)[0])(jnp.array([0.6, 0.3])), [0, 0])


# Two examples of a 2 x 2 image. Student: probabilities of class 1; truth; the best student's classes.
P = np.array([[[0.8, 0.4], [0.6, 0.3]], [[0.9, 0.9], [0.2, 0.1]]])
Y = np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]])
BEST = np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]])
dfs = functools.partial(rail.disagreement_supervision_loss, sure(P), jnp.array(Y), jnp.array(BEST))


def test_disagreement_supervision_by_hand():
    # Example 0 predicts 1 0 / 1 0: it disagrees with the best in voxels (0.4, y 1) and (0.6, y 0), and is wrong in
    # both: mean squares (0.36 + 0.36) / 2, KL (-log 0.4 - log 0.4) / 2. Example 1 agrees everywhere: 0.
    np.testing.assert_allclose(dfs(kl_weight=0.0), [0.5 * 0.36, 0], rtol=1e-5)
    np.testing.assert_allclose(dfs(mse_weight=0.0, kl_weight=1.0), [-math.log(0.4), 0], rtol=1e-5)
    # The best student is supervised everywhere: squares 0.04 0.36 0.36 0.09 and 0.01 0.01 0.04 0.01.
    best = dfs(is_best=True, kl_weight=0.0)
    np.testing.assert_allclose(best, [0.5 * 0.85 / 4, 0.5 * 0.07 / 4], rtol=1e-5)
    np.testing.assert_allclose(dfs(is_best=jnp.array(True), kl_weight=0.0), best, rtol=1e-6)
    np.testing.assert_allclose(dfs(), [0.18 - 0.05 * math.log(0.4), 0], rtol=1e-5)


def test_disagreement_supervision_as_in_the_authors_code():
    # Example 0. Their truth is the argmax of the labels down the columns: (1, 0) has it at row 0, so 0 everywhere,
    # and "wrong" is where the student says 1: voxels (0, 0) and (1, 0). In the region of disagreement: (1, 0) alone.
    # Column 0: p = 0.8, 0.6 and y = 1, 0; q = softmax(1, 0), r = softmax(0.8, 0.6); at row 1 q log(q / r).
    q, r = 1 / (1 + math.e), 1 / (1 + math.exp(0.2))
    got = dfs(mse_weight=0.0, kl_weight=1.0, authors_code=True)
    np.testing.assert_allclose(got, [q * math.log(q / r), 0], rtol=1e-4)
    # For the best student both voxels of column 0 count.
    both = (q * math.log(q / r) + (1 - q) * math.log((1 - q) / (1 - r))) / 2
    np.testing.assert_allclose(
        dfs(mse_weight=0.0, kl_weight=1.0, is_best=True, authors_code=True)[0], both, rtol=1e-4
    )
    np.testing.assert_allclose(dfs(kl_weight=0.0, authors_code=True), dfs(kl_weight=0.0), rtol=1e-6)


def test_each_fault_of_the_authors_code_alone():
    only = functools.partial(dfs, mse_weight=0.0, kl_weight=1.0)
    q, r = (
        1 / (1 + math.e),
        1 / (1 + math.exp(0.2)),
    )  # column 0 of example 0, as above: at row 1 and, 1 - q, row 0
    # Their KL term on what is really wrong and disagrees: (1, 0) as above, and (0, 1), row 0 of column 1, where
    # y = 1, 0 and p = 0.4, 0.3.
    s = 1 / (1 + math.exp(0.1))
    column_1 = (1 - q) * math.log((1 - q) / (1 - s))
    got = only(kl_mode="code")
    np.testing.assert_allclose(got, [(q * math.log(q / r) + column_1) / 2, 0], rtol=1e-4)
    # Their mask, "wrong" where the student says 1, with the KL divergence that is meant: for the best student voxels
    # 0.8 (y 1) and 0.6 (y 0) of example 0, and both 0.9 (y 1) of example 1, in which nothing is wrong.
    best = only(error_mask="code", is_best=True)
    np.testing.assert_allclose(best, [-(math.log(0.8) + math.log(0.4)) / 2, -math.log(0.9)], rtol=1e-4)
    np.testing.assert_allclose(only(is_best=True), [-math.log(0.4), 0], rtol=1e-5)
    np.testing.assert_array_equal(only(kl_mode="code", error_mask="code"), only(authors_code=True))
    np.testing.assert_array_equal(only(authors_code=True, kl_mode="class", error_mask="class"), only())
    np.testing.assert_array_equal(only(authors_code=True, kl_mode="class"), only(error_mask="code"))


def test_the_whole_loss_takes_each_fault_too():
    z, teacher = sure(P), sure(P**2)
    for fault in ({"kl_mode": "code"}, {"error_mask": "code"}):
        _, terms = rail.rail_student_loss(z, Y, z, z, z, teacher, is_best=True, **WEIGHTS, **fault)
        np.testing.assert_allclose(terms.disagreement, dfs(is_best=True, **fault).mean(), rtol=1e-6)
        assert abs(terms.disagreement - dfs(is_best=True).mean()) > 1e-3


@pytest.mark.parametrize("void", [255, -1, -100])
def test_a_voxel_without_label_costs_nothing(void):
    # In example 0 the voxel at (0, 1) has no label, in example 1 none has: of the labelled half, example 0 without
    # that voxel is left.
    where = np.array([[[1, 0], [1, 1]], [[0, 0], [0, 0]]])
    labels = np.where(where, Y, void)
    np.testing.assert_array_equal(
        rail.disagreement_supervision_loss(sure(P), labels, BEST),
        rail.disagreement_supervision_loss(sure(P), Y, BEST, where=where),
    )
    z = sure(P).at[0, 0, 1].set(jnp.nan).at[1].set(jnp.nan)
    loss = jax.value_and_grad(
        lambda z: rail.rail_student_loss(
            z, labels, sure(P), sure(P), sure(P), sure(P), is_best=True, **WEIGHTS
        ),
        has_aux=True,
    )
    (_, terms), gradient = loss(z)
    p, y = P[0][where[0] == 1], Y[0][where[0] == 1]
    dice = 1 - 2 * (p * y).sum() / ((p**2).sum() + y.sum())
    np.testing.assert_allclose(terms.segmentation, -np.log(np.where(y, p, 1 - p)).mean() + dice, rtol=1e-4)
    kept = rail.disagreement_supervision_loss(sure(P), Y, BEST, where=where, is_best=True)[0]
    np.testing.assert_allclose(terms.disagreement, kept, rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[where == 0].any()


def test_a_student_that_diverged_disagrees_with_everybody():
    z = sure(P).at[1, 0, 0, 0].set(jnp.nan)
    for loss in (
        rail.confidence_restraint_loss(z, BEST),
        rail.disagreement_supervision_loss(z, Y, BEST),
    ):
        assert np.isnan(loss).tolist() == [False, True]


def test_confidence_restraint_by_hand():
    # Example 0 disagrees at 0.4 and 0.6, both with KL(uniform) = -(log 0.4 + log 0.6) / 2 - log 2.
    each = -(math.log(0.4) + math.log(0.6)) / 2
    np.testing.assert_allclose(
        rail.confidence_restraint_loss(sure(P), jnp.array(BEST)), [each - LOG2, 0], rtol=1e-4
    )
    # The authors take a second softmax, of (0.6, 0.4): its logits differ by 0.2, so log(1 + e^0.2) - 0.1.
    theirs = rail.confidence_restraint_loss(sure(P), jnp.array(BEST), authors_code=True)
    np.testing.assert_allclose(theirs, [math.log(1 + math.exp(0.2)) - 0.1, 0], rtol=1e-5)
    # At a sure voxel the two differ most: theirs stays below 0.8133 for any logits.
    bold = rail.confidence_restraint_loss(jnp.array([[[0.0, 1e4]]]), jnp.array([[0]]), authors_code=True)
    np.testing.assert_allclose(bold, [math.log(1 + math.e) - 0.5], rtol=1e-5)


def test_restraint_pushes_to_uniform_only_where_students_disagree():
    gradient = jax.grad(lambda z: rail.confidence_restraint_loss(z, jnp.array(BEST)).sum())(sure(P))
    differs = (np.asarray(P) > 0.5) != BEST
    np.testing.assert_array_equal(np.abs(gradient).sum(-1) > 0, differs)
    # d KL(u || softmax z) / dz = (softmax z - u), over two voxels.
    np.testing.assert_allclose(gradient[0, 0, 1], np.array([0.6 - 0.5, 0.4 - 0.5]) / 2, rtol=1e-4)


WEIGHTS = {"consistency_weight": 20.0, "teacher_weight": 10.0}


@functools.partial(jax.jit, static_argnames="authors_code")
def whole_loss(z, best, teacher, is_best=False, authors_code=False):
    """Labelled and unlabelled logits are the same here."""
    return rail.rail_student_loss(
        z, jnp.array(Y), z, best, best, teacher, is_best=is_best, authors_code=authors_code, **WEIGHTS
    )


def test_the_whole_loss_is_the_sum_of_its_terms():
    z, best, teacher = sure(P), sure(0.2 + 0.6 * BEST), sure(P**2)
    total, terms = whole_loss(z, best, teacher)
    right = np.where(Y == 1, P, 1 - P)
    dice = 1 - 2 * (P * Y).sum((1, 2)) / ((P**2).sum((1, 2)) + Y.sum((1, 2)))
    np.testing.assert_allclose(terms.segmentation, -np.log(right).mean() + dice.mean(), rtol=1e-4)
    np.testing.assert_allclose(terms.disagreement, dfs().mean(), rtol=1e-5)
    np.testing.assert_allclose(
        terms.restraint, rail.confidence_restraint_loss(z, jnp.array(BEST)).mean(), rtol=1e-5
    )
    sharp = lambda p: p**10 / (p**10 + (1 - p) ** 10)
    np.testing.assert_allclose(terms.consistency, ((P - sharp(0.2 + 0.6 * BEST)) ** 2).mean(), rtol=1e-4)
    np.testing.assert_allclose(terms.teacher, ((P - sharp(P**2)) ** 2).mean(), rtol=1e-4)
    expected = terms.segmentation + terms.disagreement + 20 * (terms.consistency + 0.1 * terms.restraint)
    np.testing.assert_allclose(total, expected + 10 * terms.teacher, rtol=1e-5)
    alone, _ = whole_loss(z, z, teacher, is_best=True)
    known = terms.segmentation + dfs(is_best=True).mean()
    np.testing.assert_allclose(alone, known + 10 * terms.teacher, rtol=1e-5)


@pytest.mark.parametrize("authors_code", [False, True])
def test_no_gradient_to_the_others_and_finite_for_huge_logits(authors_code):
    loss = lambda z, best, teacher: whole_loss(z, best, teacher, authors_code=authors_code)[0]
    for scale in (1.0, 1e4):
        z, best, teacher = scale * sure(P), scale * sure(1 - P), scale * sure(P**2)
        own, other, slow = jax.grad(loss, argnums=(0, 1, 2))(z, best, teacher)
        assert np.isfinite(own).all()
        assert np.abs(own).sum() > 0
        np.testing.assert_array_equal(other, np.zeros_like(P)[..., None] * [0, 0])
        np.testing.assert_array_equal(slow, other)


def test_gradients_in_float64():
    with jax.enable_x64(True):
        z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 2, 2)))
        best = jnp.array(BEST)
        loss = lambda z: (
            rail.disagreement_supervision_loss(z, jnp.array(Y), best)
            + rail.confidence_restraint_loss(z, best)
        )
        assert loss(z).dtype == jnp.float64
        check_grads(loss, (z,), order=1, modes=["rev"])


def test_a_masked_voxel_is_a_voxel_that_is_not_there():
    where = jnp.array([[[1, 0], [1, 1]]])
    z = sure(P).at[:, 0, 1].set(jnp.nan)
    calls = (
        lambda z: rail.disagreement_supervision_loss(z, jnp.array(Y), jnp.array(BEST), where=where),
        lambda z: rail.confidence_restraint_loss(z, jnp.array(BEST), where=where),
    )
    # Of example 0 the voxel at 0.6 is left.
    expected = ([0.5 * 0.36 - 0.05 * math.log(0.4), 0], [-(math.log(0.4) + math.log(0.6)) / 2 - LOG2, 0])
    for call, value in zip(calls, expected):
        got, gradient = call(z), jax.grad(lambda z, f=call: f(z).sum())(z)
        np.testing.assert_allclose(got, value, rtol=1e-4)
        assert np.isfinite(gradient).all()


def test_nothing_to_disagree_about_costs_nothing():
    same = jnp.array(P > 0.5).astype(jnp.int32)
    for call in (
        lambda z: rail.disagreement_supervision_loss(z, jnp.array(Y), same),
        lambda z: rail.confidence_restraint_loss(z, same),
    ):
        np.testing.assert_array_equal(call(sure(P)), [0, 0])
        np.testing.assert_array_equal(jax.grad(lambda z, f=call: f(z).sum())(sure(P)), np.zeros((2, 2, 2, 2)))


def test_learning_rate():
    rate = functools.partial(ss.warm_up_constant_cosine, base=1.0, floor=0.1, warm_up=10, total=100)
    # 0.1 + 0.9 / 2 half way up; the top; half way down 0.1 + 0.45; the end, and beyond it.
    got = rate(jnp.array([0, 5, 10, 49, 75, 100, 200]))
    np.testing.assert_allclose(got, [0.1, 0.55, 1, 1, 0.55, 0.1, 0.1], rtol=1e-5)
    # With constant 0.8 the authors' rate begins to fall from 0.1 + 0.9 * 0.8 * 2: it jumps up by 0.54.
    jump = rate(jnp.array([79, 80]), constant=0.8, authors_code=True)
    np.testing.assert_allclose(jump, [1, 1.54], rtol=1e-5)
    np.testing.assert_allclose(rate(jnp.array([79, 80]), constant=0.8), [1, 1], rtol=1e-5)


def test_half_precision():
    z = sure(P).astype(jnp.bfloat16)
    total, _ = whole_loss(z, z, z)
    assert total.dtype == jnp.float32
    assert np.isfinite(total)


def test_errors_are_one_line():
    z, y = jnp.zeros((2, 3, 2)), jnp.zeros((2, 3), int)
    cases = [
        (lambda: ss.dice_loss(z, y), "same shape"),
        (lambda: ss.dice_loss(y, y, smooth=0.0), "smooth must be positive"),
        (lambda: rail.best_student(jnp.zeros((2, 2))), r"losses \(2, 2\) must be \[S\]"),
        (lambda: rail.disagreement_mask(y, y[:, :2]), "same shape"),
        (lambda: ss.sharpen(z, temperature=0), "temperature must be positive"),
        (lambda: rail.disagreement_supervision_loss(z, y, y[:1]), r"best_prediction \(1, 3\)"),
        (lambda: rail.disagreement_supervision_loss(jnp.zeros((2, 3, 3)), y, y, authors_code=True), "code needs"),
        (lambda: rail.confidence_restraint_loss(z, y[:1]), r"best_prediction \(1, 3\)"),
        (lambda: rail.disagreement_supervision_loss(z, y, y, kl_mode="voxel"), "kl_mode must be one of"),
        (lambda: rail.disagreement_supervision_loss(z[0], y[0], y[0], error_mask="code"), "the authors' code needs"),
        (lambda: rail.rail_student_loss(z, y, z, z[:1], z, z, is_best=False, **WEIGHTS), "same shape"),
        (lambda: ss.warm_up_constant_cosine(0, total=0), "total must be at least 1"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as info:
            call()
        assert "\n" not in str(info.value)
