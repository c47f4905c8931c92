import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.compiled import (
    grad,
    masked_log_softmax,
    masked_logsumexp,
    masked_max,
    masked_mean,
    masked_softmax,
    masked_std,
    masked_sum,
    masked_var,
    value_and_grad,
)

X = np.array([[1.0, -2.0, 4.0, 0.5], [3.0, 7.0, -1.0, 2.0], [0.1, 0.2, 0.4, -0.3]], np.float32)
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 1, 0]], bool)

REDUCTIONS = {
    "sum": (masked_sum, np.sum),
    "mean": (masked_mean, np.mean),
    "var": (masked_var, np.var),
    "std": (masked_std, np.std),
    "max": (masked_max, np.max),
    "logsumexp": (masked_logsumexp, lambda x: np.log(np.sum(np.exp(x)))),
}
SOFTMAXES = {"softmax": masked_softmax, "log_softmax": masked_log_softmax}
reductions = pytest.mark.parametrize("name", REDUCTIONS)
everything = pytest.mark.parametrize(
    "reduce", [f for f, _ in REDUCTIONS.values()] + list(SOFTMAXES.values()), ids=[*REDUCTIONS, *SOFTMAXES]
)


@reductions
def test_a_mask_is_the_same_as_dropping_the_entries(name):
    ours, numpy = REDUCTIONS[name]
    np.testing.assert_allclose(ours(X, where=MASK), numpy(X[MASK]), rtol=1e-6)
    per_row = [numpy(row[valid]) for row, valid in zip(X, MASK)]
    np.testing.assert_allclose(ours(X, where=MASK, axis=1), per_row, rtol=1e-6, atol=1e-7)
    per_column = [numpy(X[MASK[:, c], c]) for c in range(4)]
    np.testing.assert_allclose(ours(X, where=MASK, axis=0), per_column, rtol=1e-6, atol=1e-7)


@reductions
def test_without_a_mask_it_is_the_plain_reduction(name):
    ours, numpy = REDUCTIONS[name]
    np.testing.assert_allclose(ours(X), numpy(X), rtol=1e-6)
    np.testing.assert_allclose(ours(X, axis=(0, 1)), numpy(X), rtol=1e-6)
    np.testing.assert_allclose(ours(X, axis=-1), [numpy(row) for row in X], rtol=1e-6)


@reductions
@pytest.mark.parametrize(("axis", "shape"), [(None, (1, 1)), (0, (1, 4)), (-1, (3, 1)), ((0, 1), (1, 1))])
def test_keepdims(name, axis, shape):
    ours, _ = REDUCTIONS[name]
    kept = ours(X, where=MASK, axis=axis, keepdims=True)
    assert kept.shape == shape
    np.testing.assert_array_equal(kept.reshape(-1), ours(X, where=MASK, axis=axis).reshape(-1))


@everything
def test_everything_masked_is_zero_with_zero_gradient(reduce):
    mask = np.zeros_like(MASK)
    assert not np.any(reduce(X, where=mask))
    assert not np.any(reduce(X, where=False, axis=1))
    gradient = grad(lambda x: reduce(x, where=mask).sum())(X)
    np.testing.assert_array_equal(gradient, np.zeros_like(X))


@everything
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_masked_entry_never_leaks(reduce, bad):
    spoiled = np.where(MASK, X, bad)
    clean = np.where(MASK, X, 0.0)
    weight = np.where(MASK, 1.7, 0.0)

    def scalar(x):
        out = reduce(x, where=MASK, axis=1)
        return jnp.sum(out * weight) if out.ndim == 2 else jnp.sum(jnp.sin(out))

    value, gradient = value_and_grad(scalar)(spoiled)
    expected, expected_gradient = value_and_grad(scalar)(clean)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, expected_gradient)
    assert not np.any(gradient[~MASK])
    assert np.all(np.isfinite(gradient))


@everything
def test_a_nan_in_a_valid_entry_stays_nan(reduce):
    x = X.copy()
    x[0, 0] = np.nan
    out = np.asarray(reduce(x, where=MASK, axis=1))
    valid = MASK if out.ndim == 2 else MASK.any(1)
    assert np.all(np.isnan(out[0][valid[0]]))
    assert np.all(np.isfinite(out[1:]))


@everything
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_an_empty_array_works(reduce, shape):
    x = jnp.zeros(shape)
    axis = -1 if reduce in SOFTMAXES.values() else None
    out = reduce(x, axis=axis)
    assert out.shape == (shape if reduce in SOFTMAXES.values() else ())
    assert not np.any(out)
    assert grad(lambda x: reduce(x, axis=axis).sum())(x).shape == shape


@reductions
def test_reducing_an_empty_axis_of_a_full_array(name):
    ours, _ = REDUCTIONS[name]
    np.testing.assert_array_equal(ours(jnp.zeros((0, 3)), axis=0), np.zeros(3))
    assert ours(jnp.zeros((3, 0)), axis=0).shape == (0,)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool, jnp.bfloat16, np.float16])
def test_narrow_types_become_float32(dtype):
    x = np.array([[0, 1, 1], [1, 1, 0]]).astype(dtype)
    mask = np.array([[1, 1, 0], [1, 1, 1]])  # integers do as a mask
    for ours, expected in [(masked_sum, 3.0), (masked_mean, 0.6), (masked_var, 0.24), (masked_max, 1.0)]:
        out = ours(x, where=mask)
        assert out.dtype == jnp.float32
        np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_bfloat16_is_added_up_in_float32():
    # 1 + 256 * 2^-8: in bfloat16 (8 bits) adding 2^-9 to 1 changes nothing.
    x = jnp.array([1.0] + [2.0**-9] * 512, jnp.bfloat16)
    assert masked_sum(x).item() == 2.0


@reductions
def test_float64_stays_float64(name):
    with jax.enable_x64(True):
        assert REDUCTIONS[name][0](X.astype(np.float64), where=MASK, axis=0).dtype == jnp.float64
        assert REDUCTIONS[name][0](X, where=MASK, axis=0).dtype == jnp.float32


def test_a_mask_that_does_not_fit_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"where \(4, 1\) must broadcast to the array it masks, \(3, 4\)"):
        masked_mean(X, where=np.ones((4, 1)))
    with pytest.raises(ValueError, match=r"where \(2, 3, 4\) must broadcast"):
        masked_sum(X, where=np.ones((2, 3, 4)))  # it would enlarge the array


def test_a_mask_broadcasts():
    rows = np.array([[1], [0], [1]])
    np.testing.assert_allclose(masked_mean(X, where=rows), X[[0, 2]].mean(), rtol=1e-6)
    np.testing.assert_allclose(masked_mean(X, where=rows, axis=0), X[[0, 2]].mean(0), rtol=1e-6)


def test_variance_by_hand():
    # Valid entries 1, 3, 8: mean 4, deviations -3, -1, 4, squares 9 + 1 + 16 = 26.
    x, mask = jnp.array([1.0, 100.0, 3.0, 8.0]), jnp.array([1, 0, 1, 1])
    np.testing.assert_allclose(masked_var(x, where=mask), 26 / 3, rtol=1e-6)
    np.testing.assert_allclose(masked_var(x, where=mask, ddof=1), 13.0, rtol=1e-6)
    np.testing.assert_allclose(masked_std(x, where=mask, ddof=1), np.sqrt(13.0), rtol=1e-6)
    # d var / d x_i = 2 (x_i - mean) / n.
    gradient = grad(lambda x: masked_var(x, where=mask))(x)
    np.testing.assert_allclose(gradient, [-2.0, 0.0, -2 / 3, 8 / 3], rtol=1e-6)


def test_variance_keeps_its_precision_under_a_large_offset():
    x = np.array([1e4 - 1.0, 1e4 + 1.0, 1e4 - 1.0, 1e4 + 1.0], np.float32)
    np.testing.assert_allclose(masked_var(x), 1.0, rtol=1e-6)  # E[x^2] - E[x]^2 would give 0 or 8


@pytest.mark.parametrize("ddof", [0, 1])
def test_one_valid_entry_has_variance_zero(ddof):
    mask = np.array([0, 0, 1, 0])
    assert masked_var(X[0], where=mask, ddof=ddof).item() == 0.0
    np.testing.assert_array_equal(grad(lambda x: masked_std(x, where=mask, ddof=ddof))(X[0]), np.zeros(4))


def test_ddof_is_checked():
    with pytest.raises(ValueError, match="ddof must be 0 or 1, got 2"):
        masked_var(X, ddof=2)


@pytest.mark.parametrize("constant", [0.0, 1.0, -1e4])
def test_standard_deviation_of_equal_entries_has_gradient_zero(constant):
    value, gradient = value_and_grad(masked_std)(jnp.full(5, constant))
    assert value.item() == 0.0
    np.testing.assert_array_equal(gradient, np.zeros(5))


def test_standard_deviation_of_nearly_equal_entries_has_a_bounded_gradient():
    gradient = grad(masked_std)(jnp.array([0.1, 0.1, 0.1 + 1e-6]))
    assert np.all(np.abs(gradient) <= 1.0)  # |d std / d x_i| <= 1 / sqrt(n)


def test_maximum_shares_the_gradient_between_ties_and_ignores_masked_ones():
    x, mask = jnp.array([2.0, 5.0, 5.0, 9.0, 5.0]), jnp.array([1, 1, 1, 0, 0])
    value, gradient = value_and_grad(lambda x: masked_max(x, where=mask))(x)
    assert value.item() == 5.0
    np.testing.assert_allclose(gradient, [0.0, 0.5, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("scale", [1e4, -1e4])
@everything
def test_extreme_entries_give_finite_values_and_gradients(reduce, scale):
    x = jnp.array([[scale, 0.0, -scale], [scale, scale, scale], [-scale, -scale, scale]])
    value, gradient = value_and_grad(lambda x: reduce(x, axis=1).sum())(x)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
