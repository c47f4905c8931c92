import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.merging import merge, task_vector
from jaxlab.merging.adamerging import adamerging_loss, clip_coefficients, initial_coefficients

START = {"w": jnp.array([[1.0, 2.0]]), "b": jnp.array([0.5])}
MODELS = {"w": jnp.array([[[2.0, 2.0]], [[1.0, 5.0]]]), "b": jnp.array([[0.5], [1.5]])}


def test_task_vectors_of_one_model_and_of_a_stack():
    stacked = task_vector(MODELS, START)
    assert stacked["w"].tolist() == [[[1.0, 0.0]], [[0.0, 3.0]]]
    assert stacked["b"].tolist() == [[0.0], [1.0]]
    for k in range(2):
        one = task_vector(jax.tree.map(lambda x, k=k: x[k], MODELS), START)
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(a, b[k]), one, stacked)


def test_merge_by_hand_with_the_three_kinds_of_coefficients():
    taus = task_vector(MODELS, START)
    # 0.5 everywhere: w = (1 + 0.5, 2 + 1.5), b = 0.5 + 0.5.
    everywhere = merge(START, taus, 0.5)
    assert (everywhere["w"].tolist(), everywhere["b"].tolist()) == ([[1.5, 3.5]], [1.0])
    # Task-wise (1, 2): w = (1 + 1, 2 + 6), b = 0.5 + 2.
    by_task = merge(START, taus, jnp.array([1.0, 2.0]))
    assert (by_task["w"].tolist(), by_task["b"].tolist()) == ([[2.0, 8.0]], [2.5])
    # Layer-wise: w as before, b with (0, 1): 0.5 + 1.
    by_layer = merge(START, taus, {"w": jnp.array([1.0, 2.0]), "b": jnp.array([0.0, 1.0])})
    assert (by_layer["w"].tolist(), by_layer["b"].tolist()) == ([[2.0, 8.0]], [1.5])


def test_coefficients_of_zero_give_the_pretrained_model_and_one_hot_ones_a_fine_tuned_one():
    taus = task_vector(MODELS, START)
    chex.assert_trees_all_equal(merge(START, taus, 0.0), START)
    second = merge(START, taus, jnp.array([0.0, 1.0]))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[1]), second, MODELS)


def test_the_gradient_of_a_coefficient_is_its_task_vector():
    taus = task_vector(MODELS, START)
    total = lambda c: sum(leaf.sum() for leaf in jax.tree.leaves(merge(START, taus, c)))
    # Task-wise: the sums of the task vectors, 1 and 3 + 1.
    assert jax.grad(total)(jnp.array([0.3, 0.3])).tolist() == [1.0, 4.0]
    layers = jax.grad(total)(initial_coefficients(START, 2))
    assert (layers["w"].tolist(), layers["b"].tolist()) == ([1.0, 3.0], [0.0, 1.0])


def test_merged_parameters_keep_their_dtype_and_are_summed_in_float32():
    start = {"w": jnp.ones(1, jnp.bfloat16)}
    taus = {"w": jnp.full((512, 1), 2.0**-9, jnp.bfloat16)}
    merged = merge(start, taus, 1.0)
    # 512 steps of 2^-9 are 1; one by one in bfloat16 each would vanish beside 1.
    assert merged["w"].dtype == jnp.bfloat16
    assert merged["w"].tolist() == [2.0]


def test_coefficients_inside_the_interval_and_on_its_ends_have_gradient_one():
    raw = jnp.array([-0.1, 0.0, 0.3, 1.0, 1.1])
    np.testing.assert_allclose(clip_coefficients(raw), [0.0, 0.0, 0.3, 1.0, 1.0])
    assert jax.grad(lambda x: clip_coefficients(x).sum())(raw).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    # The difference to jnp.clip, which is why the function is there.
    assert jax.grad(lambda x: jnp.clip(x, 0, 1).sum())(raw).tolist() != [0.0, 1.0, 1.0, 1.0, 0.0]


def test_entropy_is_a_mean_over_inputs_and_a_sum_over_tasks():
    # Task 1: log 2 and log 2, mean 0.693147. Task 2: log 2 and 0 (a sure prediction), mean 0.346574.
    sure = jnp.array([50.0, 0.0])
    logits = jnp.stack([jnp.zeros((2, 2)), jnp.stack([jnp.zeros(2), sure])])
    np.testing.assert_allclose(adamerging_loss(logits), 1.5 * np.log(2), rtol=1e-6)
    masked = adamerging_loss(logits, where=jnp.array([[True, True], [False, True]]))
    np.testing.assert_allclose(masked, np.log(2), rtol=1e-6)
    assert adamerging_loss(logits, where=jnp.zeros((2, 2))) == 0


def test_the_gradient_of_entropy_against_its_formula():
    # dH / dz_c = -p_c (log p_c + H). With p = (3/4, 1/4): H = 0.562335,
    # -3/4 (-0.287682 + 0.562335) = -0.205990, and the two sum to 0.
    logits = jnp.array([[[np.log(3.0), 0.0]]])
    gradient = jax.grad(adamerging_loss)(logits)
    np.testing.assert_allclose(gradient, [[[-0.205990, 0.205990]]], rtol=1e-5)


def test_a_task_with_fewer_classes_and_nan_behind_the_mask():
    logits = jnp.array([[[0.0, 0.0, -jnp.inf]], [[0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(adamerging_loss(logits), np.log(2) + np.log(3), rtol=1e-6)
    dirty = logits.at[1].set(jnp.nan)
    value, gradient = jax.value_and_grad(adamerging_loss)(dirty, where=jnp.array([[1], [0]]))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert np.isnan(adamerging_loss(dirty))


def test_learning_coefficients_by_entropy_finds_the_task_vector_that_makes_predictions_sure():
    # One task vector separates the classes, the other brings them together: entropy raises one coefficient and lowers
    # the other, without a label.
    inputs = jax.random.normal(jax.random.key(0), (1, 64, 2))
    start = jnp.eye(2)
    taus = jnp.stack([2 * jnp.eye(2), -2 * jnp.eye(2)])
    raw = initial_coefficients(start, 2, per="task")

    def step(raw, _):
        loss = lambda raw: adamerging_loss(inputs @ merge(start, taus, clip_coefficients(raw)))
        return raw - 0.05 * jax.grad(loss)(raw), None

    raw, _ = jax.lax.scan(step, raw, length=100)
    first, second = clip_coefficients(raw)
    assert first > 0.9
    assert second < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: task_vector({"w": 1.0}, {"b": 1.0}),
            "fine_tuned must have the structure of the pretrained model",
        ),
        (lambda: task_vector(jnp.zeros((2, 3)), jnp.zeros(2)), r"fine_tuned \(2, 3\) must be"),
        (
            lambda: merge(jnp.zeros(2), jnp.zeros((3, 2)), jnp.zeros(2)),
            r"coefficients \(2,\) a scalar or \[K\]",
        ),
        (lambda: merge(jnp.zeros(3), jnp.zeros((3, 2)), 0.3), r"task_vectors \(3, 2\) must be \[K"),
        (
            lambda: merge({"w": jnp.zeros(2)}, {"w": jnp.zeros((3, 2))}, {"b": 0.3}),
            "coefficients must have the structure of the pretrained model",
        ),
        (lambda: merge({"w": 0.0, "b": 0.0}, {"w": jnp.zeros(3), "b": jnp.zeros(2)}, 0.3), "the same K"),
        (lambda: adamerging_loss(jnp.zeros((2, 3))), r"logits \(2, 3\) must be \[K, B, C\]"),
        (lambda: clip_coefficients(0.3, low=1.0, high=0.0), "low must be below high"),
        (lambda: initial_coefficients(0.0, 2, per="model"), "per is 'model'"),
        (lambda: initial_coefficients(0.0, 0), "num_tasks is 0"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_integers_are_not_cut_off():
    merged = merge({"w": jnp.array([1, 2])}, {"w": jnp.array([[0.6, 0.6]])}, 1.0)
    np.testing.assert_allclose(merged["w"], [1.6, 2.6], rtol=1e-6)
    merged = merge({"w": jnp.array([1, 2], jnp.int8)}, {"w": jnp.array([[1, 1]])}, jnp.array([0.5]))
    np.testing.assert_allclose(merged["w"], [1.5, 2.5], rtol=1e-6)
    with pytest.raises(ValueError, match="at least one task"):
        merge({"w": jnp.ones(2)}, {"w": jnp.ones((0, 2))}, 0.3)


def test_first_coefficients_can_be_donated():
    first = initial_coefficients({"w": jnp.zeros(3), "b": jnp.zeros(2)}, 2)
    moved = jax.jit(lambda c: jax.tree.map(lambda x: x + 1, c), donate_argnums=0)(first)
    np.testing.assert_allclose(moved["b"], [1.3, 1.3], rtol=1e-6)


def test_an_interval_may_be_traced():
    clip = jax.jit(lambda high: clip_coefficients(jnp.array([-1.0, 0.4, 2.0]), high=high))
    np.testing.assert_allclose(clip(0.5), [0, 0.4, 0.5], rtol=1e-6)
