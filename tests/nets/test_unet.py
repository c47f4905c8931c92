"""The U-Net for images and volumes: shapes, sizes, what a pixel sees; and the convolution of volumes below it."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nets import Conv, UNet, conv3d

NETS = {
    "plain": (UNet(channels=(3, 4), num_classes=2), (2, 6, 8, 1)),
    "residual": (UNet(channels=(3, 4), num_classes=2, residual=True, depth=2), (2, 6, 8, 1)),
    "volume": (UNet(channels=(4, 4), num_classes=2, dims=3, num_groups=2), (2, 4, 6, 2, 1)),
}
EVERY = pytest.mark.parametrize("name", NETS)


@functools.cache
def _made(name):
    net, shape = NETS[name]
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: jnp.float32(rng.normal(scale=0.5, size=p.shape)), shapes)
    apply = jax.jit(lambda p, x: net.apply(p, x, return_features=True))
    return params, apply, jnp.float32(rng.normal(size=shape))


@EVERY
def test_logits_per_pixel_and_maps_of_every_stage(name):
    net, shape = NETS[name]
    params, apply, x = _made(name)
    logits, features = apply(params, x)
    space = shape[1:-1]
    assert logits.shape == (2, *space, 2)
    wide, narrow = (2, *space), (2, *(n // 2 for n in space))
    assert [f.shape[:-1] for f in features] == [wide, narrow, wide]
    assert [f.shape[-1] for f in features] == [*net.channels, net.channels[0]]
    classifier = params["params"]["classifier"]
    np.testing.assert_allclose(
        features[-1] @ classifier["kernel"] + classifier["bias"], logits, rtol=1e-5, atol=1e-5
    )


@EVERY
def test_an_example_does_not_see_its_neighbours_and_gradients_are_finite(name):
    net, _ = NETS[name]
    params, apply, x = _made(name)
    changed = apply(params, x.at[1].multiply(-3.0))[0]
    np.testing.assert_array_equal(changed[0], apply(params, x)[0][0])
    gradient = jax.jit(jax.grad(lambda p: jnp.square(net.apply(p, 100 * x)).sum())).lower(params)
    # Of three-dimensional convolutions this XLA makes NaN without any optimization, as the tests compile elsewhere.
    gradient = gradient.compile({"xla_backend_optimization_level": 1})(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


def test_parameter_counts():
    # Plain: 9*1*3+3, 9*3*4+4, up 4*3+3, joined 9*6*3+3, classifier 3*2+2.
    count = lambda net, shape: sum(
        math.prod(p.shape)
        for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape)))
    )
    assert count(*NETS["plain"]) == 30 + 112 + 15 + 165 + 8
    # A residual net of depth 1 adds linear maps where channels change: 1*3+3, 3*4+4, 6*3+3.
    assert count(NETS["residual"][0].clone(depth=1), (1, 4, 4, 1)) == 330 + 6 + 16 + 21


def test_residual_is_the_plain_net_plus_its_inputs():
    net = UNet(channels=(2,), num_classes=2, residual=True)
    x = jnp.float32(np.random.default_rng(1).normal(size=(1, 4, 4, 2)))
    params = jax.tree.map(lambda p: jnp.zeros(p.shape), jax.eval_shape(net.init, jax.random.key(0), x))
    _, features = net.apply(params, x, return_features=True)
    np.testing.assert_array_equal(features[0], x)  # the convolution is 0, its input remains


def test_both_convolutions_of_volumes_agree_with_each_other_and_with_sums():
    rng = np.random.default_rng(0)
    x, kernel = jnp.float32(rng.normal(size=(2, 5, 4, 6, 3))), jnp.float32(rng.normal(size=(3, 2, 3, 3, 2)))
    for options in ({}, {"strides": (2, 1, 2)}, {"padding": "VALID"}):
        run = lambda way, o=options: jax.value_and_grad(
            lambda k: jnp.sin(conv3d(x, k, implementation=way, **o)).sum()
        )(kernel)
        chex.assert_trees_all_close(run("matmul"), run("lax"), rtol=1e-4, atol=1e-4)
    one = conv3d(x, kernel, padding="VALID")[0, 0, 0, 0]
    np.testing.assert_allclose(one, np.einsum("ijkc,ijkco->o", x[0, :3, :2, :3], kernel), rtol=1e-4)


def test_a_layer_for_volumes():
    layer, x = Conv(4, (3, 3, 3), (1, 2, 1)), jnp.ones((1, 4, 5, 6, 2))
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    assert shapes["params"]["kernel"].shape == (3, 3, 3, 2, 4)
    assert jax.eval_shape(layer.apply, shapes, x).shape == (1, 4, 3, 6, 4)


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (NETS["plain"][0], (1, 6, 7, 1), "2 stages need sizes that 2 divides"),
        (NETS["plain"][0], (1, 6, 6), r"images must be \[B, H, W, C\]"),
        (NETS["volume"][0], (1, 6, 6, 1), r"volumes must be \[B, D, H, W, C\]"),
        (
            NETS["plain"][0].clone(channels=(4, -2)),
            (1, 6, 6, 1),
            r"(?m)^channels must be a list of whole numbers of at least 1, got \(4, -2\)$",
        ),
        (NETS["plain"][0].clone(dims=4), (1, 6, 6, 1), "dims must be 2 or 3, got 4"),
    ],
)
def test_errors_are_one_line(net, shape, message):
    with pytest.raises(ValueError, match=message) as info:
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))
    assert "\n" not in str(info.value)


def test_volumes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"kernel must be \[KD, KH, KW, 2, C_out\]"):
        conv3d(jnp.ones((1, 4, 4, 4, 2)), jnp.ones((3, 3, 3, 1, 1)))
    with pytest.raises(ValueError, match="strides must be three integers"):
        conv3d(jnp.ones((1, 4, 4, 4, 2)), jnp.ones((3, 3, 3, 2, 1)), strides=(1, 1))
