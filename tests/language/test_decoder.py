import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.language import (
    Cache,
    Decoder,
    convert_rope_pairs,
    output_matrix,
    pack_for_decoding,
    sharding_rules,
    stack_layers,
    token_positions,
)
from jaxlab.language._attention import _rows, causal_attention
from jaxlab.training.mesh import make_mesh, put, state_shardings

BASE = Decoder(vocab_size=17, width=16, num_layers=2, num_heads=4, num_kv_heads=2, mlp_width=24, context=12)
SHAPES = {
    "llama": BASE,
    "qwen2": dataclasses.replace(BASE, qkv_bias=True, tied=False),
    "qwen3": dataclasses.replace(BASE, qk_norm=True, head_dim=8),
}
TOKENS = jax.random.randint(jax.random.key(7), (2, 8), 0, 17)
LEFT = jnp.array([[0, 0, 0, 1, 1, 1, 1, 1], [1] * 8])
each_shape = pytest.mark.parametrize("kind", SHAPES)


@functools.cache
def params_of(kind):
    """Parameters that are nowhere 0 or 1, biases and norms too."""
    params = SHAPES[kind].init(jax.random.key(1))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    noisy = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys)]
    return jax.tree.unflatten(tree, noisy)


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params, tokens, mask=None):
    return model.logits(params, model.apply(params, tokens, None, mask))


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(model, params, tokens, mask):
    def loss(params):
        scores = jax.nn.log_softmax(model.logits(params, model.apply(params, tokens, None, mask)))
        picked = jnp.take_along_axis(scores[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]
        return -jnp.sum(jnp.where(mask[:, 1:] > 0, picked, 0.0))

    return jax.value_and_grad(loss)(params)


decode = jax.jit(Decoder.decode, static_argnums=0)
extend = jax.jit(Decoder.extend, static_argnums=0)
prefill = jax.jit(Decoder.prefill, static_argnums=0, static_argnames="capacity")
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5)


def all_close(got, expected, **kwargs):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(close, **kwargs), got, expected)


@pytest.mark.parametrize(("length", "before"), [(40, 0), (128, 0), (191, 0), (256, 0), (128, 5)])
def test_blocks_of_rows_are_plain_softmax_attention(length, before):
    assert _rows(length) == {40: 40, 128: 64, 191: 64, 256: 64}[length]
    q, k, v = (
        jax.random.normal(jax.random.key(i), (2, heads, size, 4))
        for i, (heads, size) in enumerate([(4, length), (2, before + length), (2, before + length)])
    )
    valid = jax.random.bernoulli(jax.random.key(3), 0.7, (2, before + length)).at[:, 0].set(True)

    def plain(q, k, v):
        k, v = (jnp.repeat(x, 2, axis=1) for x in (k, v))  # query head h reads key head h // 2
        rows = before + jnp.arange(length)[:, None]
        visible = (jnp.arange(before + length) <= rows) & valid[:, None, None, :]
        scores = jnp.where(visible, q @ k.transpose(0, 1, 3, 2) / 2.0, -jnp.inf)  # sqrt(4) = 2
        return jax.nn.softmax(scores) @ v

    attend = lambda q, k, v: causal_attention(q, k, v, valid)
    weighted = lambda f: lambda *x: (jnp.sum(jnp.sin(f(*x))), f(*x))
    both = [jax.jit(jax.grad(weighted(f), argnums=(0, 1, 2), has_aux=True))(q, k, v) for f in (attend, plain)]
    all_close(*both)


@each_shape
def test_padding_on_either_side_changes_nothing(kind):
    model, params = SHAPES[kind], params_of(kind)
    short = logits(model, params, TOKENS[:1, 3:])[0]
    close(logits(model, params, TOKENS, LEFT)[0, 3:], short)
    right = jnp.roll(TOKENS, -3, axis=1)
    close(logits(model, params, right, jnp.roll(LEFT, -3, axis=1))[0, :5], short)
    close(logits(model, params, TOKENS, LEFT)[1], logits(model, params, TOKENS)[1])


@pytest.mark.parametrize(("kind", "packed"), [("llama", 0), ("qwen2", 0), ("qwen2", 1), ("qwen3", 0)])
def test_prefill_and_decode_are_apply_at_every_position(kind, packed):
    model, params = SHAPES[kind], params_of(kind)
    expected = logits(model, params, TOKENS, LEFT)
    positions = token_positions(LEFT)
    working = pack_for_decoding(params) if packed else params
    hidden, cache = prefill(model, working, TOKENS[:, :4], None, LEFT[:, :4], capacity=9)
    close(model.logits(params, hidden)[1], expected[1, :4])
    assert cache.keys[0].shape == (2, 2, 9, model.head_dim)
    for t in range(4, 8):
        hidden, cache = decode(model, working, cache, TOKENS[:, t], positions[:, t])
        close(model.logits(params, hidden), expected[:, t])
    assert int(cache.length) == 8


def test_decoding_from_an_empty_cache():
    model, params = SHAPES["qwen2"], params_of("qwen2")
    cache = model.cache(2, 9)
    assert isinstance(cache, Cache)
    for t in range(3):
        hidden, cache = decode(model, params, cache, TOKENS[:, t], jnp.full(2, t))
        close(model.logits(params, hidden), logits(model, params, TOKENS)[:, t])


@each_shape
def test_extend_is_the_rest_of_apply(kind):
    model, params = SHAPES[kind], params_of(kind)
    _, cache = prefill(model, params, TOKENS[:, :5], None, LEFT[:, :5])
    rest = model.logits(params, extend(model, params, cache, TOKENS[:, 5:], LEFT[:, 5:]))
    close(rest, logits(model, params, TOKENS, LEFT)[:, 5:])


@each_shape
def test_the_two_rotary_conventions_are_one_function(kind):
    model, params = SHAPES[kind], params_of(kind)
    other, permuted = convert_rope_pairs(model, params, "interleaved")
    expected = logits(model, params, TOKENS, LEFT)
    close(logits(other, permuted, TOKENS, LEFT)[LEFT > 0], expected[LEFT > 0])
    assert np.abs(logits(other, params, TOKENS, LEFT) - expected)[LEFT > 0].max() > 1e-2
    back, restored = convert_rope_pairs(other, permuted, "half")
    assert back == model
    chex.assert_trees_all_equal(restored, params)


def test_stacked_rematerialised_and_packed_are_the_same_function():
    model, params = SHAPES["qwen2"], params_of("qwen2")
    value, gradient = loss_and_gradient(model, params, TOKENS, LEFT)
    stacked_value, stacked_gradient = loss_and_gradient(model, stack_layers(params), TOKENS, LEFT)
    close(stacked_value, value)
    all_close(stacked_gradient, stack_layers(gradient))
    remat = dataclasses.replace(model, remat=True)
    all_close(loss_and_gradient(remat, params, TOKENS, LEFT), (value, gradient))
    stacked_remat = loss_and_gradient(remat, stack_layers(params), TOKENS, LEFT)
    all_close(stacked_remat, (value, stack_layers(gradient)))
    close(logits(model, pack_for_decoding(params), TOKENS, LEFT), logits(model, params, TOKENS, LEFT))
    from_stacked = pack_for_decoding(stack_layers(params))
    chex.assert_trees_all_equal(from_stacked, stack_layers(pack_for_decoding(params)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_rows_without_tokens_stay_finite_and_get_no_gradient(dtype):
    model, params = SHAPES["qwen3"], jax.tree.map(lambda x: x.astype(dtype), params_of("qwen3"))
    mask = LEFT.at[0].set(0)
    value, gradient = loss_and_gradient(model, params, TOKENS, mask)
    assert value.dtype == jnp.float32
    assert all(x.dtype == dtype and bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradient))
    assert logits(model, params, TOKENS, mask).dtype == jnp.float32
    if dtype == jnp.float32:
        all_close(gradient, loss_and_gradient(model, params, TOKENS[1:], mask[1:])[1])
    else:
        wide = jax.tree.map(lambda x: x.astype(jnp.float32), params)
        close(value, loss_and_gradient(model, wide, TOKENS, mask)[0], rtol=0.05)


@pytest.mark.parametrize("stacked", [False, True])
def test_four_devices_compute_what_one_does(stacked):
    model = SHAPES["qwen2"]
    params = stack_layers(params_of("qwen2")) if stacked else params_of("qwen2")
    mesh = make_mesh({"data": 2, "model": 2})
    seeds = jax.tree.map(lambda x: x[None], params)
    shardings = state_shardings(mesh, seeds, sharding_rules(stacked=stacked))
    batch = put((TOKENS, LEFT), NamedSharding(mesh, P("data")))
    each = lambda params, tokens, mask: loss_and_gradient(model, params, tokens, mask)
    step = jax.jit(jax.vmap(each, in_axes=(0, None, None)), out_shardings=(None, shardings))
    value, gradient = step(put(seeds, shardings), *batch)
    layers = gradient["layers"] if stacked else gradient["layers"][0]
    q, o = layers["q"], layers["o"]  # [1, (2,) 16, 16]: halved along both axes
    assert q.addressable_shards[0].data.shape[-2:] == (8, 8)
    assert q.sharding.spec[-2:] == ("data", "model")
    assert o.sharding.spec[-2:] == ("model", "data")
    expected = loss_and_gradient(model, params, TOKENS, LEFT)
    all_close((value[0], jax.tree.map(lambda x: np.asarray(x)[0], gradient)), expected)


def test_init_draws_what_it_says():
    model = dataclasses.replace(SHAPES["qwen2"], width=64, mlp_width=128, vocab_size=200, head_dim=16)
    params = model.init(jax.random.key(0), dtype=jnp.bfloat16)
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes == model.shapes()
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(params))
    layer = params["layers"][1]
    deviation = lambda x: float(jnp.std(x.astype(jnp.float32)))
    np.testing.assert_allclose(deviation(layer["down"]), 128**-0.5, rtol=0.05)
    np.testing.assert_allclose(deviation(params["embed"]), 0.02, rtol=0.05)
    assert float(layer["q_bias"].sum()) == 0
    assert float(layer["mlp_norm"].sum()) == 64
    assert output_matrix(params).shape == (64, 200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_kv_heads": 3}, "num_kv_heads is 3: it must divide num_heads, 4"),
        ({"head_dim": 5}, "head_dim is 5: rotary positions need an even number"),
        ({"num_layers": 0}, "num_layers is 0: it must be at least 1"),
        ({"rope_pairs": "neox"}, "rope_pairs is 'neox': it must be 'half' or 'interleaved'"),
    ],
)
def test_shapes_that_cannot_be_are_named(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        dataclasses.replace(BASE, **change)


def test_calls_that_cannot_be_are_named():
    params = params_of("llama")
    for tokens, kwargs, message in [
        (jnp.zeros((1, 13), int), {}, "tokens have 13 positions: the model's context is 12"),
        (jnp.zeros((1, 0), int), {}, r"tokens \(1, 0\) must be \[B, T\] with at least one position"),
        (jnp.zeros(3, int), {}, r"tokens \(3,\) must be"),
        (TOKENS, {"mask": LEFT[:, 1:]}, r"mask \(2, 7\) must have the shape of tokens, \(2, 8\)"),
        (TOKENS, {"positions": LEFT[:1]}, r"positions \(1, 8\) must have the shape of tokens, \(2, 8\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            BASE.apply(params, tokens, **kwargs)
    _, cache = jax.eval_shape(BASE.prefill, params, TOKENS)
    with pytest.raises(ValueError, match="tokens have 13 positions: the model's context is 12"):
        jax.eval_shape(BASE.extend, params, cache, TOKENS[:, :5])
