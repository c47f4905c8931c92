import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.distillation import kd_loss, tgeo_kd
from tests.compiled import compiled_room
from tests.distillation.conftest import DATA

tgeo_kd = compiled_room(tgeo_kd)

B, C = 6, 5
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, B, C))
LABELS = jnp.array([0, 1, 2, 0, 1, 2])
ALPHA = jnp.linspace(0.0, 1.0, B)
FUSED = jax.jit(tgeo_kd.fused_kd_loss, static_argnames="double_softmax")


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DATA / "tgeo_kd.npz"))


@pytest.fixture(scope="module")
def golden_controller(golden):
    layer = lambda n: {"kernel": golden[f"in_ctl_fc{n}_weight"].T, "bias": golden[f"in_ctl_fc{n}_bias"]}
    return tuple(layer(n) for n in (1, 2, 3))


def test_state_and_ratio_match_the_authors_code(golden, golden_controller, close_to_golden):
    student, teacher = (jax.nn.softmax(golden[f"in_{name}_logits"]) for name in ("student", "teacher"))
    labels = jnp.int32(golden["in_labels"])
    state = tgeo_kd.trilateral_state(student, teacher, labels, tgeo_kd.class_mean_teacher(teacher, labels))
    close_to_golden(state, golden["out_state"])
    close_to_golden(tgeo_kd.fusion_ratio(golden_controller, state), golden["out_alpha"])


def test_the_fused_loss_matches_the_authors_code_with_its_double_softmax(golden, close_to_golden):
    student, teacher = golden["in_student_logits"], golden["in_teacher_logits"]
    labels, alpha = jnp.int32(golden["in_labels"]), golden["out_alpha"]
    loss = lambda s: tgeo_kd.fused_kd_loss(s, teacher, labels, alpha, double_softmax=True).mean()
    value, gradient = jax.value_and_grad(loss)(student)
    close_to_golden(value, golden["out_lower_loss"])
    close_to_golden(gradient, golden["grad_lower_loss"])
    # The two ends of the mixture: 2.25 = T^2 belongs to the soft targets.
    ends = [FUSED(student, teacher, labels, end, double_softmax=True) for end in (1.0, 0.0)]
    close_to_golden(ends[0], 2.25 * golden["out_kd_per_sample"])
    close_to_golden(ends[1], golden["out_gt_per_sample_double_softmax"])
    assert np.abs(FUSED(student, teacher, labels, 0.0) - ends[1]).max() > 0.1


def test_fused_loss_by_hand():
    # T = 2: teacher (2 ln 3, 0) / 2 -> (3/4, 1/4), student -> (1/2, 1/2): T^2 KL = 0.523248 (see test_soft_targets);
    # cross-entropy = ln 2 = 0.693147. A quarter of the one and three of the other: 0.130812 + 0.519860.
    # d/ds: 1/4 * (-1/2, 1/2) + 3/4 * (-1/2, 1/2) for label 0 = (-1/2, 1/2);  d/dalpha = 0.523248 - 0.693147.
    teacher = jnp.array([[2 * np.log(3.0), 0.0]])
    loss = lambda s, a: tgeo_kd.fused_kd_loss(s, teacher, jnp.array([0]), a, temperature=2.0).sum()
    value, (student, alpha) = jax.value_and_grad(loss, argnums=(0, 1))(jnp.zeros((1, 2)), jnp.array([0.25]))
    np.testing.assert_allclose(value, 0.650672, rtol=1e-5)
    np.testing.assert_allclose(student, [[-0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(alpha, [-0.169899], rtol=1e-4)


def test_state_by_hand():
    # S = (.6, .4), T = (.9, .1), label 1 so G = (0, 1), class mean of 1 = (.2, .8).
    state = tgeo_kd.trilateral_state(
        jnp.array([[0.6, 0.4]]), jnp.array([[0.9, 0.1]]), jnp.array([1]), jnp.array([[1.0, 0.0], [0.2, 0.8]])
    )
    expected = [
        0.6,
        0.4,
        0.9,
        0.1,
        0,
        1,
        0.2,
        0.8,
        0.16,
        0.16,
        0.36,
        0.36,
        0.09,
        0.09,
        0.81,
        0.81,
        0.04,
        0.04,
    ]
    np.testing.assert_allclose(state, [expected], rtol=1e-5, atol=1e-7)


def test_no_gradient_passes_the_state_or_the_class_means():
    probs = jax.nn.softmax(STUDENT)

    def total(student, teacher):
        means = tgeo_kd.class_mean_teacher(teacher, LABELS)
        return (tgeo_kd.trilateral_state(student, teacher, LABELS, means) ** 2).sum() + means[0, 0]

    for gradient in jax.grad(total, argnums=(0, 1))(probs, probs[::-1]):
        np.testing.assert_array_equal(gradient, np.zeros((B, C)))


def test_a_class_without_examples_has_a_uniform_mean_and_an_unknown_label_zeros():
    probs = jax.nn.softmax(TEACHER)
    means = tgeo_kd.class_mean_teacher(probs, LABELS.at[0].set(-1), where=jnp.array([1, 1, 1, 1, 0, 1]))
    np.testing.assert_allclose(means[3], np.full(C, 0.2), rtol=1e-6)
    np.testing.assert_allclose(means[0], probs[3], rtol=1e-6)
    np.testing.assert_allclose(means[1], probs[1], rtol=1e-6)
    state = tgeo_kd.trilateral_state(probs, probs, jnp.full(B, -100), means)
    np.testing.assert_array_equal(state[:, 2 * C : 4 * C], np.zeros((B, 2 * C)))


def test_the_controller_starts_near_one_half_and_receives_gradient():
    controller = tgeo_kd.fusion_controller_init(jax.random.key(0), C)
    probs = jax.nn.softmax(STUDENT)
    state = tgeo_kd.trilateral_state(
        probs, jax.nn.softmax(TEACHER), LABELS, tgeo_kd.class_mean_teacher(probs, LABELS)
    )
    alpha, gradient = jax.value_and_grad(lambda c: tgeo_kd.fusion_ratio(c, state).mean())(controller)
    assert 0.35 < alpha < 0.65
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
    bound = 1 / np.sqrt(9 * C)
    assert 0.9 * bound < np.abs(controller[0]["kernel"]).max() <= bound


def test_the_ends_of_the_mixture_are_kd_and_cross_entropy():
    np.testing.assert_allclose(
        FUSED(STUDENT, TEACHER, LABELS, 1.0), kd_loss(STUDENT, TEACHER, temperature=1.5), rtol=1e-6
    )
    log_probs = jax.nn.log_softmax(STUDENT)
    np.testing.assert_allclose(
        FUSED(STUDENT, TEACHER, LABELS, 0.0), -log_probs[jnp.arange(B), LABELS], rtol=1e-6
    )


def test_the_gradient_matches_finite_differences_and_stops_at_the_teacher():
    with jax.enable_x64(True):
        wide = lambda x: jnp.asarray(x, jnp.float64)
        for double in (False, True):
            loss = lambda s, a: tgeo_kd.fused_kd_loss(s, wide(TEACHER), LABELS, a, double_softmax=double)  # noqa: B023
            check_grads(loss, (wide(STUDENT), wide(ALPHA)), order=1, modes=["rev"])
    gradient = jax.grad(lambda t: FUSED(STUDENT, t, LABELS, ALPHA).sum())(TEACHER)
    np.testing.assert_array_equal(gradient, np.zeros((B, C)))


def test_masks_extremes_and_half_precision():
    where = jnp.array([1, 1, 1, 0, 0])
    dirty = (x.at[:, 3].set(jnp.nan).at[:, 4].set(jnp.inf) for x in (STUDENT, TEACHER))
    for double in (False, True):
        loss = lambda s, t, y, w=None: tgeo_kd.fused_kd_loss(s, t, y, ALPHA, double_softmax=double, classes=w)  # noqa: B023
        short = loss(STUDENT[:, :3], TEACHER[:, :3], LABELS)
        dirty = tuple(x.at[:, 3].set(jnp.nan).at[:, 4].set(jnp.inf) for x in (STUDENT, TEACHER))
        np.testing.assert_allclose(loss(*dirty, LABELS, where), short, rtol=1e-5)
        gradient = jax.grad(lambda s: loss(s, dirty[1], LABELS, where).sum())(dirty[0])  # noqa: B023
        assert np.isfinite(gradient).all()
        ignored = loss(STUDENT, TEACHER, LABELS.at[2].set(-100))
        assert ignored[2] == 0
        assert (np.delete(ignored, 2) > 0).all()
    huge = tgeo_kd.fused_kd_loss(1e4 * jnp.sign(STUDENT), -1e4 * jnp.sign(STUDENT), LABELS, ALPHA)
    assert np.isfinite(huge).all()
    assert (
        FUSED(STUDENT.astype(jnp.bfloat16), TEACHER.astype(jnp.float16), LABELS, ALPHA).dtype == jnp.float32
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tgeo_kd.fused_kd_loss(STUDENT, TEACHER, LABELS, jnp.ones(4)),
            r"alpha \(4,\) must broadcast to the labels",
        ),
        (lambda: tgeo_kd.fused_kd_loss(STUDENT, TEACHER, LABELS[:5], 0.5), r"labels \(5,\)"),
        (
            lambda: tgeo_kd.fused_kd_loss(STUDENT, TEACHER, LABELS, 0.5, temperature=0.0),
            "temperature must be positive",
        ),
        (
            lambda: tgeo_kd.trilateral_state(STUDENT, TEACHER[:, :4], LABELS, jnp.eye(C)),
            r"\(6, 5\) and teacher_probs \(6, 4\)",
        ),
        (
            lambda: tgeo_kd.trilateral_state(STUDENT, TEACHER, LABELS, jnp.eye(4)),
            r"class_means \(4, 4\) must be",
        ),
        (
            lambda: tgeo_kd.fusion_ratio(tgeo_kd.fusion_controller_init(jax.random.key(0), 3), STUDENT),
            r"must be \[..., 27\]",
        ),
        (lambda: tgeo_kd.fusion_controller_init(jax.random.key(0), 0), "must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
