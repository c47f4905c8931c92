"""The two convolutions agree with each other, with flax, and with sums done by hand."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nets import Conv, conv2d


def _normal(seed, *shape, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize("implementation", ["matmul", "lax"])
def test_hand_worked(implementation):
    # Image 1 2 / 3 4.
    image = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    # VALID with the kernel 10 20 / 30 40: 10 + 40 + 90 + 160 = 300.
    kernel = jnp.array([[10.0, 20.0], [30.0, 40.0]]).reshape(2, 2, 1, 1)
    valid = conv2d(image, kernel, padding="VALID", implementation=implementation)
    np.testing.assert_array_equal(valid[0, :, :, 0], [[300.0]])
    # SAME pads an even kernel at the end only: row 0 is 300, 10*2 + 30*4 = 140; row 1 is 10*3 + 20*4 = 110, 40.
    same = conv2d(image, kernel, implementation=implementation)
    np.testing.assert_array_equal(same[0, :, :, 0], [[300.0, 140.0], [110.0, 40.0]])
    # 3x3 of ones sees the whole image from everywhere; stride 2 keeps the first row and column.
    ones = jnp.ones((3, 3, 1, 1))
    np.testing.assert_array_equal(conv2d(image, ones, implementation=implementation).ravel(), [10.0] * 4)
    assert conv2d(image, ones, strides=(2, 2), implementation=implementation).ravel().tolist() == [10.0]
    # SAME with stride 2 on 4 pixels pads one zero at the end: 0+1+2, 2+3+0 for the kernel 1 1 1.
    line = jnp.arange(4.0).reshape(1, 1, 4, 1)
    strided = conv2d(line, jnp.ones((1, 3, 1, 1)), strides=(1, 2), implementation=implementation)
    np.testing.assert_array_equal(strided.ravel(), [3.0, 5.0])


@pytest.mark.parametrize("size", [(6, 5), (7, 8)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("kernel_size", "strides"),
    [
        ((1, 1), (1, 1)),
        ((1, 1), (2, 2)),
        ((3, 3), (1, 1)),
        ((3, 3), (2, 2)),
        ((5, 5), (1, 1)),
        ((5, 5), (2, 3)),
        ((3, 2), (3, 1)),
    ],
)
def test_implementations_agree(kernel_size, strides, padding, size):
    with jax.enable_x64(True):
        x = _normal(0, 2, *size, 3, dtype=jnp.float64)
        kernel = _normal(1, *kernel_size, 3, 4, dtype=jnp.float64)

        def run(implementation):
            def value(x, kernel):
                y = conv2d(x, kernel, strides=strides, padding=padding, implementation=implementation)
                return jnp.sum(jnp.sin(y)), y

            return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(x, kernel)

        ours, theirs = jax.jit(lambda: (run("matmul"), run("lax")))()
        assert ours[0][1].shape == theirs[0][1].shape
        assert ours[0][1].dtype == jnp.float64
        chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradient_against_finite_differences():
    with jax.enable_x64(True):
        x = _normal(0, 1, 5, 4, 2, dtype=jnp.float64)
        kernel, way = (_normal(seed, 3, 3, 2, 2, dtype=jnp.float64) for seed in (1, 2))
        f = jax.jit(lambda k: jnp.sum(jnp.sin(conv2d(x, k, strides=(2, 2), implementation="matmul"))))
        numeric = (f(kernel + 1e-6 * way) - f(kernel - 1e-6 * way)) / 2e-6
        np.testing.assert_allclose(jnp.vdot(jax.grad(f)(kernel), way), numeric, rtol=1e-7)


@pytest.mark.parametrize("implementation", ["matmul", "lax"])
def test_same_parameters_and_output_as_flax(implementation):
    x = _normal(0, 2, 7, 5, 3)
    ours = Conv(4, strides=(2, 1), implementation=implementation)
    theirs = nn.Conv(4, (3, 3), strides=(2, 1))
    params = theirs.init(jax.random.key(1), x)
    params["params"]["bias"] = jnp.arange(4.0)
    ours_shapes = jax.eval_shape(ours.init, jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, ours_shapes)
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), rtol=1e-5, atol=1e-5)


def test_no_bias():
    shapes = jax.eval_shape(Conv(4, use_bias=False).init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    assert jax.tree.map(jnp.shape, shapes) == {"params": {"kernel": (3, 3, 3, 4)}}


@pytest.mark.parametrize(("backend", "primitive"), [("cpu", "dot_general"), ("gpu", "conv_general_dilated")])
def test_auto_follows_the_backend(monkeypatch, backend, primitive):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    jaxpr = str(jax.make_jaxpr(lambda x, k: conv2d(x, k))(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))))
    assert [name for name in ("dot_general", "conv_general_dilated") if name in jaxpr] == [primitive]


def test_vmap_over_kernels_is_a_loop():
    x, kernels = _normal(0, 2, 6, 6, 2), _normal(1, 3, 3, 3, 2, 4)
    conv = lambda k: conv2d(x, k, implementation="matmul")
    looped = jnp.stack([conv(k) for k in kernels])
    np.testing.assert_allclose(jax.vmap(conv)(kernels), looped, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", ["matmul", "lax"])
def test_bfloat16_compute_and_float32_parameters(implementation):
    x = _normal(0, 2, 6, 6, 2)
    layer = Conv(4, dtype=jnp.bfloat16, implementation=implementation)
    params = layer.init(jax.random.key(1), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    y = layer.apply(params, x)
    assert y.dtype == jnp.bfloat16
    exact = Conv(4, implementation=implementation).apply(params, x)
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.05)
    assert np.abs(y.astype(jnp.float32) - exact).max() > 0  # it did compute in bfloat16


def test_parameters_stay_float32_under_x64():
    with jax.enable_x64(True):
        shapes = jax.eval_shape(Conv(4).init, jax.random.key(0), jnp.zeros((1, 4, 4, 1), jnp.float64))
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_empty_batch():
    assert conv2d(jnp.ones((0, 4, 4, 1)), jnp.ones((3, 3, 1, 2)), implementation="matmul").shape == (
        0,
        4,
        4,
        2,
    )


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "options", "message"),
    [
        ((4, 4, 1), (3, 3, 1, 1), {}, r"\[B, H, W, C\], got shape \(4, 4, 1\)"),
        ((1, 4, 4, 2), (3, 3, 1, 1), {}, r"\[KH, KW, 2, C_out\], got \(3, 3, 1, 1\)"),
        ((1, 4, 4, 1), (3, 1, 1), {}, "kernel must be"),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"padding": "same"}, "padding must be one of .* got 'same'"),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"implementation": "im2col"}, "implementation must be one of"),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"strides": (0, 1)}, "strides must be"),
        ((1, 2, 4, 1), (3, 3, 1, 1), {"padding": "VALID"}, "no smaller than the kernel"),
    ],
)
def test_errors_are_one_line(x_shape, kernel_shape, options, message):
    with pytest.raises(ValueError, match=message) as info:
        conv2d(jnp.ones(x_shape), jnp.ones(kernel_shape), **options)
    assert "\n" not in str(info.value)
