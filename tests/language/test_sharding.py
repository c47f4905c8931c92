"""A decoder on a mesh: every device goes through its own rows, and what travels are weights and their gradients."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.language import (
    Decoder,
    completion_hidden,
    output_matrix,
    sample,
    sharding_rules,
    stack_layers,
    token_divergence,
    token_statistics,
)
from jaxlab.training.mesh import make_mesh, put, state_shardings

MODEL = Decoder(
    vocab_size=64,
    width=16,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    mlp_width=24,
    qkv_bias=True,
    remat=True,
)
PARAMS = stack_layers(MODEL.init(jax.random.key(0)))
KEYS = jax.random.split(jax.random.key(1), 2)
PROMPTS = jax.random.randint(KEYS[0], (8, 8), 0, 64)
MASK = jnp.arange(8) >= jnp.array([0, 1, 2, 0, 3, 0, 1, 0])[:, None]
TOKENS = jax.random.randint(KEYS[1], (16, 48), 0, 64)
LARGEST = max(x.size for x in jax.tree.leaves(PARAMS))


def travelling(program):
    """Sizes of everything that the compiled text sends between devices."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    results = re.findall(rf"= (\(.*?\)|\S+) (?:{kinds})(?:-start)?\(", program)
    shapes = [shape for result in results for shape in re.findall(r"\w+\[([\d,]*)\]", result)]
    return [math.prod(map(int, shape.split(","))) if shape else 1 for shape in shapes]


def placed(mesh, params):
    seeds = jax.tree.map(lambda x: x[None], params)
    shardings = state_shardings(mesh, seeds, sharding_rules(stacked=True))
    one = lambda where: NamedSharding(mesh, P(*where.spec[1:]))
    shardings = jax.tree.map(one, shardings)
    return put(params, shardings), shardings


def loss(params, prompts, mask, tokens):
    seen = jnp.ones(tokens.shape, bool)
    hidden = completion_hidden(MODEL, params, prompts, mask, tokens, seen)
    log_prob, entropy = token_statistics(hidden, output_matrix(params), tokens, chunk=16)
    of_teacher = completion_hidden(MODEL, PARAMS, prompts, mask, tokens, seen)
    kl = token_divergence(hidden, output_matrix(params), of_teacher, output_matrix(PARAMS), chunk=16)
    return jnp.mean(entropy + kl - log_prob)


@pytest.mark.parametrize("shape", [{"data": 4}, {"data": 2, "model": 2}])
def test_gradients_are_those_of_one_device_and_little_travels(shape):
    mesh = make_mesh(shape)
    params = jax.tree.map(lambda x: x + 0.01, PARAMS)
    expected = jax.jit(jax.value_and_grad(loss))(params, PROMPTS, MASK, TOKENS)
    with jax.set_mesh(mesh):
        where, shardings = placed(mesh, params)
        rows = put((PROMPTS, MASK, TOKENS), NamedSharding(mesh, P("data")))
        step = (
            jax.jit(jax.value_and_grad(loss), out_shardings=(None, shardings)).lower(where, *rows).compile()
        )
    got = step(where, *rows)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)
    sizes, own_rows = travelling(step.as_text()), TOKENS.size * MODEL.width // shape["data"]
    # Over "model" partial sums of a layer's output travel, [rows, T, width]; no row leaves its part of "data".
    largest = own_rows if "model" in shape else LARGEST
    assert 0 < max(sizes) <= largest, sizes
    assert own_rows > LARGEST


@pytest.mark.parametrize("stacked", [False, True])
def test_sampling_is_that_of_one_device_and_gathers_nothing_but_weights(stacked):
    mesh = make_mesh({"data": 4})
    params = PARAMS if stacked else MODEL.init(jax.random.key(0))
    call = lambda params, prompts, mask, key: sample(
        MODEL, params, prompts, mask, key, max_new_tokens=6, eos=2, num_samples=2, stop_early=False
    )
    expected = jax.jit(call)(params, PROMPTS, MASK, jax.random.key(3))
    with jax.set_mesh(mesh):
        where = placed(mesh, params)[0] if stacked else put(params, NamedSharding(mesh, P()))
        rows = put((PROMPTS, MASK), NamedSharding(mesh, P("data")))
        run = jax.jit(call).lower(where, *rows, jax.random.key(3)).compile()
    got = run(where, *rows, jax.random.key(3))
    np.testing.assert_array_equal(got.tokens, expected.tokens)
    np.testing.assert_allclose(got.log_probs, expected.log_probs, rtol=1e-4, atol=1e-5)
    program = run.as_text()
    assert "all-reduce" not in program
    assert max(travelling(program), default=0) <= LARGEST
