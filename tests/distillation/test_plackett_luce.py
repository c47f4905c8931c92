import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import distillation
from jaxlab.core import cross_entropy

pld_loss = jax.jit(distillation.pld_loss)
listmle_loss = jax.jit(distillation.listmle_loss)
plackett_luce_nll = jax.jit(distillation.plackett_luce_nll)
teacher_optimal_ranking = jax.jit(distillation.teacher_optimal_ranking)
pld_first_weight = jax.jit(distillation.pld_first_weight)
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, 6, 5))
LABELS = jnp.array([0, 1, 2, 3, 4, 0])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("case", ["", "hard_"])
def test_pld_matches_the_listing_of_the_paper(pld_golden, close_to_golden, case, temperature):
    student, teacher = (jnp.float32(pld_golden[f"in_{case}{name}"]) for name in ("student", "teacher"))
    labels = jnp.asarray(pld_golden[f"in_{case}labels"])
    loss = lambda s: pld_loss(s, teacher, labels, temperature=temperature).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(student)
    close_to_golden(value, pld_golden[f"out_{case}pld_T{temperature:.0f}"])
    close_to_golden(gradient, pld_golden[f"grad_{case}pld_T{temperature:.0f}"])
    if temperature == 1.0:  # the second transcription
        close_to_golden(value, pld_golden[f"out_{case}pylate_T1"])
        close_to_golden(gradient, pld_golden[f"grad_{case}pylate_T1"])


@pytest.mark.parametrize("case", ["", "hard_"])
def test_the_ranking_matches_the_listing_of_the_paper(pld_golden, case):
    ranking = teacher_optimal_ranking(pld_golden[f"in_{case}teacher"], pld_golden[f"in_{case}labels"])
    assert ranking.dtype == jnp.int32
    np.testing.assert_array_equal(ranking[:, ::-1], pld_golden[f"out_{case}ranking_worst_to_best"])


def test_listmle_matches_allrank(pld_golden, close_to_golden):
    # allRank sums over places with weight 1, and adds 1e-10 inside the logarithm, which is below 1e-5 here.
    ranking = jnp.argsort(-jnp.asarray(pld_golden["in_listmle_relevance"]), axis=-1)
    loss = lambda s: listmle_loss(s, ranking).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.float32(pld_golden["in_student"]))
    close_to_golden(value, pld_golden["out_listmle_uniform_sum"])
    close_to_golden(gradient, pld_golden["grad_listmle_uniform_sum"])


def test_pld_by_hand():
    # Worths 1, 2, 4. The teacher ranks 2, 0, 1 with (1/2, 1/8, 3/8 by class: .25, .25, .5); label 1 goes first.
    # Ranking 1, 2, 0 with weights (.25, .5, .25): .25 ln(7/2) + .5 ln(5/4) + .25 ln(1/1)
    # = .313191 + .111572 = .424763. Gradient by class: chosen -weight, plus weight * worth / remaining worth:
    # class 0: .25/7 + .5/5 + .25 - .25 = .135714; class 1: .5/7 - .25 = -.178571; class 2: 1/7 + .4 - .5 = .042857.
    student = jnp.log(jnp.array([[1.0, 2.0, 4.0]]))
    teacher = jnp.log(jnp.array([[0.25, 0.25, 0.5]]))
    loss = lambda s: pld_loss(s, teacher, jnp.array([1])).sum()
    value, gradient = jax.value_and_grad(loss)(student)
    np.testing.assert_allclose(value, 0.424763, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[0.135714, -0.178571, 0.042857]], rtol=1e-4)
    np.testing.assert_allclose(pld_first_weight(teacher, jnp.array([1])), [0.25], rtol=1e-6)


def test_the_gradient_is_the_formula_of_appendix_a3():
    # dL/ds_i = sum over places k not after i of alpha_k softmax over the remaining (i), minus alpha at i's place.
    ranking = np.asarray(teacher_optimal_ranking(TEACHER, LABELS))
    worth, mass = np.exp(np.float64(STUDENT)), np.asarray(jax.nn.softmax(TEACHER / 2.0))
    expected = np.zeros((6, 5))
    for b in range(6):
        for k in range(5):
            left = ranking[b, k:]
            weight = mass[b, ranking[b, k]]
            expected[b, left] += weight * worth[b, left] / worth[b, left].sum()
            expected[b, ranking[b, k]] -= weight
    gradient = jax.grad(lambda s: pld_loss(s, TEACHER, LABELS, temperature=2.0).sum())(STUDENT)
    np.testing.assert_allclose(gradient, expected, atol=2e-6)


def test_one_hot_weights_give_cross_entropy_and_equal_ones_listmle():
    ranking = teacher_optimal_ranking(TEACHER, LABELS)
    first = jnp.array([1.0, 0.0, 0.0, 0.0, 0.0])
    cross = jax.jit(cross_entropy)(STUDENT, LABELS)
    np.testing.assert_allclose(plackett_luce_nll(STUDENT, ranking, first), cross, rtol=1e-5)
    equal = plackett_luce_nll(STUDENT, ranking, jnp.full(5, 0.2))
    np.testing.assert_allclose(equal, listmle_loss(STUDENT, ranking) / 5, rtol=1e-6)
    falling = jnp.array([5.0, 4.0, 3.0, 2.0, 1.0])
    np.testing.assert_allclose(
        listmle_loss(STUDENT, ranking, weights=falling),
        plackett_luce_nll(STUDENT, ranking, falling),
        rtol=1e-6,
    )


def test_the_temperature_softens_the_weights_and_nothing_else():
    ranking = teacher_optimal_ranking(TEACHER, LABELS)
    np.testing.assert_allclose(
        pld_loss(STUDENT, TEACHER, LABELS, temperature=1e6), listmle_loss(STUDENT, ranking) / 5, rtol=1e-4
    )
    agreeing = jnp.argmax(TEACHER, axis=-1)
    np.testing.assert_allclose(
        pld_loss(STUDENT, TEACHER, agreeing, temperature=1e-3),
        jax.jit(cross_entropy)(STUDENT, agreeing),
        rtol=1e-4,
    )


def test_a_sure_but_wrong_teacher_takes_the_weight_from_the_label():
    teacher = jnp.array([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0]])
    weight = pld_first_weight(teacher, jnp.array([1, 1]))
    np.testing.assert_allclose(weight, [0.0, 1.0], atol=1e-6)
    assert pld_first_weight(teacher, jnp.array([1, 1]), temperature=20.0)[0] > 0.2  # 1 / (e + 2)
    gradient = jax.grad(lambda t: pld_first_weight(t, jnp.array([1, 1])).sum())(teacher)
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_convex_in_the_student(seed):
    rng = np.random.default_rng(seed)
    start, end = 5 * rng.normal(size=(2, 6, 5))
    steps = np.linspace(0, 1, 21)[:, None, None]
    with jax.enable_x64(True):
        segment = jnp.asarray(start + steps * (end - start))
        along = jax.vmap(lambda s: pld_loss(s, TEACHER, LABELS))(segment)
        bend = np.asarray(along[2:] - 2 * along[1:-1] + along[:-2])
    assert bend.min() > -1e-12
    assert bend.max() > 1e-3


def test_large_logits_lose_no_digit():
    # Multiples of 1/8 are exact next to 1e4 in float32, and only differences enter.
    student = jnp.round(STUDENT * 8) / 8
    gradient = jax.jit(jax.value_and_grad(lambda s: pld_loss(s, TEACHER, LABELS).sum()))
    for shift in (1e4, -1e4):
        chex.assert_trees_all_equal(gradient(student + shift), gradient(student))


@pytest.mark.parametrize("classes", [1, 2, 9, 64, 65, 130])
def test_the_ranking_is_a_stable_sort_on_both_paths(classes):
    teacher = np.round(2 * np.random.default_rng(1).normal(size=(7, classes)))  # many ties
    labels = np.arange(7) * 3 % classes
    expected = [
        sorted(range(classes), key=lambda c, b=b: (c != labels[b], -teacher[b, c], c)) for b in range(7)
    ]
    np.testing.assert_array_equal(teacher_optimal_ranking(teacher, labels), expected)


@pytest.mark.parametrize("classes", [5, 70])
def test_masked_classes_are_ranked_last(classes):
    teacher = jax.random.normal(jax.random.key(1), (4, classes)).at[:, 1].set(9.0)
    where = jnp.arange(classes) != 1
    ranking = teacher_optimal_ranking(teacher, jnp.array([0, 2, 3, 1]), classes=where)
    np.testing.assert_array_equal(ranking[:, -1], [1, 1, 1, 1])
    np.testing.assert_array_equal(ranking[:3, 0], [0, 2, 3])


def test_a_mask_drops_classes_wherever_the_ranking_puts_them():
    # Lists of length 3 in rows of 5: classes 1 and 3 do not exist, and hold NaN.
    ranking = jnp.array([[1, 4, 0, 3, 2], [0, 1, 2, 3, 4]])
    short = jnp.array([[2, 0, 1], [0, 1, 2]])  # the same order among classes 0, 2, 4
    where = jnp.array([1, 0, 1, 0, 1], bool)
    student = jnp.where(where, STUDENT[:2], jnp.nan)
    loss = jax.value_and_grad(lambda s, w: listmle_loss(s, ranking, classes=w).sum())
    value, gradient = loss(student, where)
    dropped = jax.value_and_grad(lambda s: listmle_loss(s, short).sum())(STUDENT[:2, ::2])
    np.testing.assert_allclose(value, dropped[0], rtol=1e-6)
    np.testing.assert_allclose(gradient[:, ::2], dropped[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(gradient[:, 1::2], np.zeros((2, 2)))
    assert np.isnan(loss(student, jnp.ones(5, bool))[0])


def test_inside_shard_map_and_scan():
    # The scan over places starts from a constant, which must not clash with rows that vary over devices.
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(pld_loss, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P("data"))
    np.testing.assert_allclose(
        jax.jit(mapped)(STUDENT, TEACHER, LABELS), pld_loss(STUDENT, TEACHER, LABELS), rtol=1e-6
    )


def test_shapes_are_checked():
    logits = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"labels \(3,\) must have the leading shape .* \(2, 3\)"):
        pld_loss(logits, logits, jnp.zeros(3, int))
    with pytest.raises(ValueError, match="labels must be integers, .* got float32"):
        pld_first_weight(logits, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"ranking \(3,\) must have the same shape .* \(2, 3\)"):
        listmle_loss(logits, jnp.zeros(3, int))
    with pytest.raises(ValueError, match="ranking must be integers, .* got float32"):
        listmle_loss(logits, logits)
    for weights in (jnp.ones(2), jnp.ones((4, 2, 3))):
        with pytest.raises(ValueError, match=r"weights \(.*\) must broadcast to the logits \(2, 3\)"):
            plackett_luce_nll(logits, jnp.zeros((2, 3), int), weights)
    with pytest.raises(ValueError, match=r"classes \(2,\) must broadcast to the logits \(2, 3\)"):
        teacher_optimal_ranking(logits, jnp.zeros(2, int), classes=jnp.ones(2))
