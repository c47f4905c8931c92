"""Thresholds per class: their state by hand, repeated and absent examples, and the same on four devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import semi_supervised as semi

SURE, UNSURE = [0.02, 0.98], [0.4, 0.6]


def test_only_confident_labels_are_remembered_and_the_last_one_wins():
    state = semi.curriculum_init(4)
    assert state.last_label.tolist() == [-1] * 4
    # Example 1 comes twice, and once unsurely; -1 and -7 are no examples; row 5 is masked, whatever stands there.
    probs = jnp.array([SURE, SURE[::-1], UNSURE, SURE, SURE, SURE])
    index, where = jnp.array([1, 1, 1, -7, -1, 9]), jnp.array([1, 1, 1, 1, 1, 0])
    state = semi.curriculum_update(state, probs, index, where=where)
    assert state.last_label.tolist() == [-1, 0, -1, -1]
    # What was learned is kept until something else is learned.
    state = semi.curriculum_update(state, jnp.array([UNSURE]), jnp.array([1]))
    assert state.last_label.tolist() == [-1, 0, -1, -1]
    empty = semi.curriculum_update(state, jnp.zeros((0, 2)), jnp.zeros(0, int))
    assert empty.last_label.tolist() == [-1, 0, -1, -1]


def test_thresholds_by_hand():
    # Counts 3, 1, 0 and four without a label.
    state = semi.CurriculumThresholds(jnp.array([0, 0, 0, 1, -1, -1, -1, -1]))
    of = lambda **options: semi.curriculum_thresholds(state, num_classes=3, threshold=0.9, **options)
    # With warm-up the denominator is 4: status 3/4, 1/4, 0; M(x) = x / (2 - x): 3/5, 1/7, 0.
    np.testing.assert_allclose(of(), [0.54, 0.9 / 7, 0], rtol=1e-6)
    np.testing.assert_allclose(of(convex=False), [0.675, 0.225, 0], rtol=1e-6)
    # Without, 3: status 1, 1/3, 0; M: 1, 1/5, 0.
    np.testing.assert_allclose(of(warm_up=False), [0.9, 0.18, 0], rtol=1e-6)


def test_nothing_remembered_is_no_division_by_zero():
    state = semi.curriculum_init(3)
    for warm_up in (True, False):
        np.testing.assert_array_equal(
            semi.curriculum_thresholds(state, num_classes=2, warm_up=warm_up), [0, 0]
        )


def test_adaptive_thresholds_by_hand():
    state = semi.adaptive_init(2)
    # Means of the batch: confidence (0.9 + 0.7) / 2 = 0.8, classes (0.6, 0.4). Halfway from 1/2: 0.65, (0.55, 0.45).
    probs = jnp.array([[0.9, 0.1], [0.3, 0.7], [jnp.nan, 0.0]])
    state = semi.adaptive_update(state, probs, decay=0.5, where=jnp.array([1, 1, 0]))
    np.testing.assert_allclose(state.confidence, 0.65, rtol=1e-6)
    np.testing.assert_allclose(state.class_probs, [0.55, 0.45], rtol=1e-6)
    np.testing.assert_allclose(semi.adaptive_thresholds(state), [0.65, 0.65 * 0.45 / 0.55], rtol=1e-6)


def test_a_batch_without_rows_moves_nothing():
    state = semi.AdaptiveThresholds(jnp.array(0.7), jnp.array([0.6, 0.4]))
    for probs, where in ((jnp.ones((3, 2)), jnp.zeros(3)), (jnp.zeros((0, 2)), None)):
        after = semi.adaptive_update(state, probs, where=where)
        chex.assert_trees_all_equal(after, state)
    never = semi.AdaptiveThresholds(jnp.array(0.7), jnp.zeros(2))
    np.testing.assert_array_equal(semi.adaptive_thresholds(never), [0, 0])


def test_a_class_that_is_seldom_predicted_gets_pseudo_labels_earlier():
    state = semi.CurriculumThresholds(jnp.array([0] * 8 + [1] * 2))
    thresholds = semi.curriculum_thresholds(state, num_classes=2)
    probs = jnp.array([[0.8, 0.2], [0.2, 0.8]])
    assert semi.pseudo_label(probs, threshold=thresholds).accepted.tolist() == [False, True]
    assert semi.pseudo_label(probs, threshold=0.95).accepted.tolist() == [False, False]


def test_scanned_and_mapped_over_seeds():
    probs = jax.nn.softmax(4 * jax.random.normal(jax.random.key(1), (2, 5, 4, 3)))
    index = jax.random.randint(jax.random.key(2), (2, 5, 4), 0, 6)

    def run(probs, index):
        step = lambda state, batch: (semi.curriculum_update(state, *batch, threshold=0.6), None)
        return jax.lax.scan(step, semi.curriculum_init(6), (probs, index))[0].last_label

    both = jax.jit(jax.vmap(run))(probs, index)
    for seed in range(2):
        state = semi.curriculum_init(6)
        for p, i in zip(probs[seed], index[seed]):
            state = semi.curriculum_update(state, p, i, threshold=0.6)
        np.testing.assert_array_equal(both[seed], state.last_label)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: semi.curriculum_init(0), "num_examples is 0"),
        (lambda: semi.adaptive_init(0), "num_classes is 0"),
        (
            lambda: semi.curriculum_update(semi.curriculum_init(3), jnp.ones((2, 2)), jnp.ones(2)),
            "must be integers",
        ),
        (
            lambda: semi.curriculum_update(semi.curriculum_init(3), jnp.ones((2, 2)), jnp.zeros(3, int)),
            r"index \(3,\) must be \[B\]",
        ),
        (
            lambda: semi.curriculum_thresholds(semi.curriculum_init(3), num_classes=2, threshold=2.0),
            "threshold must",
        ),
        (lambda: semi.adaptive_update(semi.adaptive_init(3), jnp.ones((2, 2))), "the state's 3 classes"),
        (
            lambda: semi.adaptive_update(semi.adaptive_init(2), jnp.array([SURE, [-3.0, 4.0]])),
            "probs must be probabilities",
        ),
        (
            lambda: semi.curriculum_update(semi.curriculum_init(3), jnp.array([SURE]), jnp.array([3])),
            r"index must be in \[0, 3\), or negative for a row to ignore, got 3",
        ),
        (
            lambda: semi.curriculum_update(
                semi.curriculum_init(3), jnp.array([[jnp.nan, 0.5]]), jnp.array([1])
            ),
            r"probs holds NaN, first at \(0, 0\)",
        ),
        (
            lambda: semi.curriculum_update(semi.curriculum_init(3), jnp.array([[9.0, -4.0]]), jnp.array([1])),
            "probs must be probabilities",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)
