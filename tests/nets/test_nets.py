"""Every net: shapes, sizes, numbers, and that training is a pure function of the parameters."""

import functools
import math

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.nets import ConvNet, Mlp, ResNet, resnet8, resnet20
from jaxlab.nets._convnet import max_pool
from jaxlab.nets._resnet import _Block, _Norm

SMALL = {
    "linear": Mlp(features=(), num_classes=5),
    "mlp": Mlp(features=(6, 7), num_classes=5),
    "convnet": ConvNet(channels=(4, 6), num_classes=5),
    "resnet": ResNet(blocks=(1, 1), channels=(4, 8), num_classes=5, num_groups=2, shortcut="B"),
}
EVERY = pytest.mark.parametrize("name", SMALL)


def _images(shape=(3, 9, 7, 2)):
    return jnp.asarray(np.random.default_rng(0).uniform(size=shape), jnp.float32)


@functools.cache
def _initializer(name):
    return jax.jit(lambda key: SMALL[name].init(key, jnp.zeros((3, 9, 7, 2))))


@functools.cache
def _init(name, seed=1):
    return _initializer(name)(jax.random.key(seed))


def _dtypes(tree):
    return {jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves(tree)}


@functools.cache
def _applier(net):
    return jax.jit(lambda p, x: net.apply(p, x, return_features=True))


def _apply(net, params, x):
    return _applier(net)(params, x)


def _count(net, shape):
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("linear", [(3, 126)]),
        ("mlp", [(3, 6), (3, 7)]),
        ("convnet", [(3, 4, 3, 4), (3, 2, 1, 6), (3, 12)]),  # 9x7 -> 4x3 -> 2x1
        ("resnet", [(3, 9, 7, 4), (3, 5, 4, 8), (3, 8)]),  # the second stage halves 9x7 to 5x4
    ],
)
def test_shapes_with_odd_sizes(name, features):
    net, x = SMALL[name], _images()
    params = _init(name)
    logits, found = _apply(net, params, x)
    assert logits.shape == (3, 5)
    assert [f.shape for f in found] == features
    assert _dtypes((logits, found)) == {jnp.dtype("float32")}
    # Features are what the name says: the classifier reads the last of them, and asking changes no logit.
    last = params["params"]["classifier"]
    np.testing.assert_allclose(found[-1] @ last["kernel"] + last["bias"], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(net.apply)(params, x), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "shape", "count"),
    [
        # 4 pixels to 3 units: 12 + 3; 3 units to 2 classes: 6 + 2.
        (Mlp(features=(3,), num_classes=2), (1, 2, 2, 1), 23),
        (Mlp(features=(), num_classes=2), (1, 7), 16),
        # 3x3 from 1 to 4 channels: 36 + 4; 4x4 pooled to 2x2 of 4 channels, 16 to 3 classes: 48 + 3.
        (ConvNet(channels=(4,), num_classes=3), (1, 4, 4, 1), 91),
        # Convolutions 432 + 2*2304 + 4608 + 9216 + 18432 + 36864, norms 2*(3*16 + 2*32 + 2*64), classifier 650.
        (resnet8(10), (1, 8, 8, 3), 75_290),
        # Shortcut B adds 1x1 convolutions 16*32 + 32*64 and their norms 2*(32 + 64).
        (resnet8(10, shortcut="B"), (1, 8, 8, 3), 75_290 + 512 + 2048 + 192),
        (resnet20(10), (1, 8, 8, 3), 269_722),
    ],
)
def test_parameter_counts(net, shape, count):
    assert _count(net, shape) == count


@EVERY
def test_init_is_determined_by_the_key_and_of_unit_scale(name):
    first, again, other = _init(name), _initializer(name)(jax.random.key(1)), _init(name, seed=2)
    chex.assert_trees_all_equal(first, again)
    assert _dtypes(first) == {jnp.dtype("float32")}
    kernel = lambda p: p["params"]["classifier"]["kernel"]
    assert np.abs(kernel(first) - kernel(other)).max() > 0.01
    # Neither vanishing nor exploding: over keys, logits spread by the order of one.
    logits = np.stack([_apply(SMALL[name], _init(name, seed), _images())[0] for seed in range(8)])
    assert 0.1 < logits.std() < 3


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("mlp", jnp.float16), ("mlp", jnp.bfloat16), ("convnet", jnp.bfloat16), ("resnet", jnp.bfloat16)],
)
def test_narrow_compute_gives_float32_logits(name, dtype):
    net, x, params = SMALL[name], _images(), _init(name)
    narrow = net.clone(dtype=dtype)
    assert _dtypes(jax.eval_shape(narrow.init, jax.random.key(0), x)) == {jnp.dtype("float32")}
    logits, features = _apply(narrow, params, x)
    assert _dtypes((logits, features)) == {jnp.dtype("float32")}
    exact, exact_features = _apply(net, params, x)
    np.testing.assert_allclose(logits, exact, atol=0.08)
    # The first hidden activation is a number of the narrow type, so the hidden layers did compute in it.
    assert np.array_equal(features[0], features[0].astype(dtype).astype(jnp.float32))
    assert not np.array_equal(features[0], exact_features[0])


@EVERY
def test_float64_is_honoured(name):
    with jax.enable_x64(True):
        x = jnp.zeros((3, 9, 7, 2), jnp.float64)
        outputs, params = jax.eval_shape(
            lambda key: SMALL[name].init_with_output(key, x, return_features=True), jax.random.key(0)
        )
        assert _dtypes(params) == {jnp.dtype("float32")}
        assert _dtypes(outputs) == {jnp.dtype("float64")}


@EVERY
def test_gradient_against_finite_differences(name):
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), _init(name))
    way = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
    x = np.asarray(_images(), np.float64)
    with jax.enable_x64(True):
        f = jax.jit(jax.value_and_grad(lambda p: jnp.sum(jnp.sin(SMALL[name].apply(p, x)))))
        # Relu and max have kinks: steps this small cross none of them at this seed.
        value = lambda step: float(f(jax.tree.map(lambda p, w: p + step * w, params, way))[0])
        numeric = (value(1e-7) - value(-1e-7)) / 2e-7
        exact = sum(jax.tree.leaves(jax.tree.map(lambda g, w: np.vdot(g, w), f(params)[1], way)))
    np.testing.assert_allclose(exact, numeric, rtol=1e-6)


@EVERY
def test_constant_and_extreme_images_keep_gradients_finite(name):
    label = jnp.array([0, 1])

    @jax.jit
    def run(x):
        loss = lambda p, x: optax.softmax_cross_entropy_with_integer_labels(
            SMALL[name].apply(p, x), label
        ).sum()
        return jax.value_and_grad(loss, argnums=(0, 1))(_init(name), x)

    for level in (0.0, 0.5, 1e4, -1e4):
        leaves = jax.tree.leaves(run(jnp.full((2, 9, 7, 2), level)))
        assert all(np.isfinite(leaf).all() for leaf in leaves), level


@EVERY
def test_empty_batch(name):
    logits, features = _apply(SMALL[name], _init(name), jnp.zeros((0, 9, 7, 2)))
    assert logits.shape == (0, 5)
    assert all(len(f) == 0 for f in features)


@EVERY
def test_an_example_does_not_see_its_neighbours(name):
    net, x, params = SMALL[name], _images(), _init(name)
    others = x.at[1:].multiply(-3.0)
    logits, changed = (_apply(net, params, batch)[0] for batch in (x, others))
    np.testing.assert_array_equal(logits[0], changed[0])
    assert np.abs(logits[1:] - changed[1:]).max() > 1e-3


def test_jit_is_eager():
    net, x, params = SMALL["mlp"], _images(), _init("mlp")
    np.testing.assert_allclose(net.apply(params, x), _apply(net, params, x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "net",
    [SMALL["mlp"], ConvNet(channels=(4,), num_classes=5), resnet8(5).clone(blocks=(1,), channels=(8,))],
    ids=["mlp", "convnet", "resnet"],
)
def test_training_scans_and_maps_over_seeds(net):
    x, label = _images(shape=(8, 5, 6, 2)), jnp.arange(8) % 5

    def step(params, _):
        loss = lambda p: optax.softmax_cross_entropy_with_integer_labels(net.apply(p, x), label).mean()
        value, grads = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    # Compiling the random bits of every kernel takes longer than the test; numpy makes them for nothing.
    rng, shapes = np.random.default_rng(0), jax.eval_shape(net.init, jax.random.key(0), x)
    seeds = jax.tree.map(lambda p: rng.normal(scale=0.3, size=(2, *p.shape)).astype(np.float32), shapes)
    train = lambda params: jax.lax.scan(step, params, length=20)[1]
    mapped = jax.jit(jax.vmap(train))(seeds)
    looped = np.stack([jax.jit(train)(jax.tree.map(lambda p, i=i: p[i], seeds)) for i in range(2)])
    np.testing.assert_allclose(mapped, looped, rtol=1e-4)
    assert (looped[:, -1] < looped[:, 0]).all()
    assert np.abs(looped[0] - looped[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["convnet", "resnet"])
def test_a_checkpoint_moves_between_implementations(name):
    x, params = _images(), _init(name)
    ours, theirs = SMALL[name], SMALL[name].clone(implementation="lax")  # the tests run on CPU
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, jax.eval_shape(theirs.init, jax.random.key(0), x)
    )
    pairs = zip(*(jax.tree.leaves(_apply(net, params, x)) for net in (ours, theirs)))
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_bytes_are_taken_as_numbers():
    x = (255 * _images()).astype(jnp.uint8)
    net, params = SMALL["convnet"], _init("convnet")
    np.testing.assert_allclose(net.apply(params, x), net.apply(params, x.astype(jnp.float32)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 6, 4, 3), (2, 7, 5, 3)])
def test_max_pool_is_flax_max_pool(shape):
    x = _images(shape) - 0.5
    np.testing.assert_array_equal(max_pool(x), nn.max_pool(x, (2, 2), (2, 2)))
    ours, theirs = (
        jax.grad(lambda x, pool=pool: jnp.sum(jnp.sin(pool(x))))(x)
        for pool in (max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_norm_survives_a_large_mean():
    # E[x^2] - E[x]^2 in float32 has an error of about 10 here, where the variance is 1.
    x = 1e4 + np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    scale_and_bias = {"scale": jnp.ones(4), "bias": jnp.zeros(4)}
    y = _Norm(2, None).apply({"params": {"GroupNorm_0": scale_and_bias}}, x)
    groups = y.reshape(2, 64, 2, 2).transpose(0, 2, 1, 3).reshape(4, -1)
    np.testing.assert_allclose(groups.mean(1), 0, atol=0.01)
    np.testing.assert_allclose(groups.std(1), 1, atol=0.01)


def test_shortcut_a_subsamples_and_pads():
    # With the last norm at scale 0 the block is relu of its shortcut: every second pixel, one zero channel a side.
    x = _images(shape=(1, 5, 4, 2)) - 0.5
    block = _Block(4, 2, "A", 2, None, "auto")
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    params["params"]["_Norm_1"]["GroupNorm_0"] = {"scale": jnp.zeros(4), "bias": jnp.zeros(4)}
    expected = np.zeros((1, 3, 2, 4), np.float32)
    expected[..., 1:3] = np.maximum(x[:, ::2, ::2], 0)
    np.testing.assert_array_equal(block.apply(params, x), expected)


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (SMALL["mlp"], (4,), r"rank two or more, got shape \(4,\)"),
        (SMALL["convnet"], (2, 8, 8), r"\[B, H, W, C\], got shape \(2, 8, 8\)"),
        (SMALL["convnet"], (2, 8, 3, 1), r"2 stages need 4x4 images, got \(2, 8, 3, 1\)"),
        (
            SMALL["mlp"].clone(features=8),
            (2, 8),
            "(?m)^features must be a list of whole numbers of at least 1, got 8$",
        ),
        (
            SMALL["mlp"].clone(features=(8, 0)),
            (2, 8),
            r"(?m)^features must be a list of whole numbers of at least 1, got \(8, 0\)$",
        ),
        (
            SMALL["convnet"].clone(channels=("a",)),
            (2, 8, 8, 1),
            r"(?m)^channels must be a list of whole numbers of at least 1, got \('a',\)$",
        ),
        (
            SMALL["resnet"].clone(blocks=(1.5, 1)),
            (2, 8, 8, 1),
            r"(?m)^blocks must be a list of whole numbers of at least 1, got \(1.5, 1\)$",
        ),
        (SMALL["resnet"].clone(num_groups=0), (2, 8, 8, 1), "num_groups=0 must divide the channels, got 4"),
        (SMALL["resnet"], (2, 8, 8), r"\[B, H, W, C\]"),
        (SMALL["resnet"].clone(shortcut="C"), (2, 8, 8, 1), "shortcut must be 'A' or 'B', got 'C'"),
        (SMALL["resnet"].clone(blocks=(1,)), (2, 8, 8, 1), "the same stages"),
        (SMALL["resnet"].clone(num_groups=3), (2, 8, 8, 1), "num_groups=3 must divide the channels, got 4"),
        (SMALL["resnet"].clone(channels=(4, 2), shortcut="A"), (2, 8, 8, 1), "use 'B'"),
    ],
)
def test_errors_are_one_line(net, shape, message):
    with pytest.raises(ValueError, match=message) as info:
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))
    assert "\n" not in str(info.value)
