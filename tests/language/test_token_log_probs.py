"""Chunked log-probabilities and divergences against the plain ones, gradients included."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab import core
from jaxlab.language import (
    Decoder,
    completion_hidden,
    token_divergence,
    token_log_probs,
    token_positions,
    token_statistics,
)
from jaxlab.training.mesh import make_mesh

KEYS = jax.random.split(jax.random.key(0), 6)
HIDDEN = jax.random.normal(KEYS[0], (2, 5, 3))
MATRIX = jax.random.normal(KEYS[1], (3, 7))
TOKENS = jax.random.randint(KEYS[2], (2, 5), 0, 7)
TEACHER_HIDDEN = jax.random.normal(KEYS[3], (2, 5, 4))
TEACHER_MATRIX = jax.random.normal(KEYS[4], (4, 7))
WEIGHTS = jax.random.normal(KEYS[5], (2, 2, 5))


def _plain(hidden, matrix, temperature):
    log_p = jax.nn.log_softmax(hidden @ matrix / temperature)
    chosen = jnp.take_along_axis(log_p, TOKENS[..., None], axis=-1)[..., 0]
    return chosen, -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


@pytest.mark.parametrize("chunk", [None, 1, 3, 10])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_statistics_and_their_gradients(chunk, temperature):
    def weighted(f):
        return lambda h, m: sum((w * x).sum() for w, x in zip(WEIGHTS, f(h, m)))

    chunked = lambda h, m: token_statistics(h, m, TOKENS, temperature=temperature, chunk=chunk)
    plain = lambda h, m: _plain(h, m, temperature)
    for got, expected in zip(jax.jit(chunked)(HIDDEN, MATRIX), jax.jit(plain)(HIDDEN, MATRIX)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    got = jax.jit(jax.grad(weighted(chunked), (0, 1)))(HIDDEN, MATRIX)
    for one, other in zip(got, jax.jit(jax.grad(weighted(plain), (0, 1)))(HIDDEN, MATRIX)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [None, 4])
def test_log_probs_are_the_first_of_the_statistics(chunk):
    both = lambda h, m: (token_log_probs(h, m, TOKENS, chunk=chunk) * WEIGHTS[0]).sum()
    plain = lambda h, m: (_plain(h, m, 1.0)[0] * WEIGHTS[0]).sum()
    for one, other in zip(*(jax.jit(jax.grad(f, (0, 1)))(HIDDEN, MATRIX) for f in (both, plain))):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize(
    ("kind", "divergence"),
    [("forward_kl", core.forward_kl), ("reverse_kl", core.reverse_kl), ("jsd", core.jsd)],
)
def test_divergences_and_their_gradients(kind, divergence, chunk):
    teacher = np.asarray(TEACHER_HIDDEN) @ np.asarray(TEACHER_MATRIX)
    chunked = lambda h, m, th, tm: (
        token_divergence(h, m, th, tm, kind=kind, temperature=1.5, chunk=chunk) * WEIGHTS[0]
    ).sum()
    plain = lambda h, m: (divergence(h @ m, teacher, temperature=1.5) * WEIGHTS[0]).sum()
    value, got = jax.jit(jax.value_and_grad(chunked, (0, 1, 2, 3)))(
        HIDDEN, MATRIX, TEACHER_HIDDEN, TEACHER_MATRIX
    )
    expected, gradient = jax.jit(jax.value_and_grad(plain, (0, 1)))(HIDDEN, MATRIX)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for one, other in zip(got, gradient):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not np.any(got[2])
    assert not np.any(got[3])


def test_no_array_of_the_whole_vocabulary_is_kept():
    rows, vocabulary = 2048, 4096
    hidden, matrix = jnp.ones((rows, 8)), jnp.ones((8, vocabulary))
    tokens = jnp.zeros(rows, int)
    loss = lambda h, m: token_log_probs(h, m, tokens, chunk=32).sum()
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(hidden, matrix).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < rows * vocabulary * 4 / 16


def test_extreme_logits_stay_finite():
    hidden = jnp.array([[1e4, -1e4]])
    for token in (0, 1):
        total = lambda h, t=token: sum(x.sum() for x in token_statistics(h, jnp.eye(2), np.array([t])))
        value, grad = jax.jit(jax.value_and_grad(total))(hidden)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()
    assert token_log_probs(hidden, jnp.eye(2), jnp.array([1])).item() == -2e4


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
@pytest.mark.parametrize("chunk", [None, 1])
def test_extreme_divergences_stay_finite(kind, chunk):
    """Opposite certainties, in both orders of size, as the core's divergences have them."""
    hidden = jnp.array([[1e4, -1e4], [-1e4, 1e4], [3.0, 1.0]])
    call = lambda h, m: token_divergence(h, m, -hidden, jnp.eye(2), kind=kind, chunk=chunk)
    expected = jax.jit(getattr(core, kind))(hidden, -hidden)
    np.testing.assert_allclose(jax.jit(call)(hidden, jnp.eye(2)), expected, rtol=1e-6)
    for grad in jax.jit(jax.grad(lambda h, m: call(h, m).sum(), (0, 1)))(hidden, jnp.eye(2)):
        assert np.isfinite(grad).all()


@pytest.mark.parametrize("chunk", [1, 4])
def test_what_all_logits_share_costs_no_digits(chunk):
    """Logits near 1e4 whose differences are small: sums are measured from the peak, which rises on the way."""
    small = jnp.arange(8.0) / 4
    at = lambda values: (jnp.ones((1, 1)), 1e4 + values[None])
    exact = jax.nn.log_softmax(small)
    log_prob, entropy = token_statistics(*at(small), jnp.array([2]), chunk=chunk)
    np.testing.assert_allclose(log_prob, exact[2], atol=1e-6)
    np.testing.assert_allclose(entropy, -(jnp.exp(exact) * exact).sum(), atol=1e-6)
    got = token_divergence(*at(small), *at(small[::-1]), chunk=chunk)
    np.testing.assert_allclose(got, core.reverse_kl(small, small[::-1])[None], atol=1e-6)


@pytest.mark.parametrize("chunk", [None, 3])
def test_tokens_outside_the_vocabulary_count_for_nothing(chunk):
    tokens = jnp.array([2, -1, 7, -100, 6])
    hidden = HIDDEN[0]
    traced = jax.jit(lambda h, m, tokens: token_log_probs(h, m, tokens, chunk=chunk))
    call = lambda h, m: traced(h, m, tokens)
    with pytest.raises(
        ValueError, match=r"tokens must be in \[0, 7\), or negative for a token to leave out, got 7"
    ):
        token_log_probs(hidden, MATRIX, tokens, chunk=chunk)
    assert call(hidden, MATRIX)[jnp.array([1, 2, 3])].tolist() == [0, 0, 0]
    kept = jnp.array([0, 4])
    grads = jax.grad(lambda h, m: call(h, m).sum(), (0, 1))(hidden, MATRIX)
    few = jax.jit(jax.grad(lambda h, m: token_log_probs(h, m, tokens[kept]).sum(), (0, 1)))
    expected = few(hidden[kept], MATRIX)
    np.testing.assert_allclose(grads[1], expected[1], rtol=1e-5, atol=1e-6)
    assert not grads[0][1:4].any()
    np.testing.assert_allclose(grads[0][kept], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("beta", "kind"), [(0.0, "forward_kl"), (1.0, "reverse_kl")])
def test_the_ends_of_jsd_are_the_divergences(beta, kind):
    arrays = (HIDDEN, MATRIX, TEACHER_HIDDEN, TEACHER_MATRIX)
    ends = token_divergence(*arrays, kind="jsd", beta=beta)
    np.testing.assert_array_equal(ends, token_divergence(*arrays, kind=kind))


def test_rows_and_vocabulary_stay_on_their_devices():
    """Rows over "data", vocabulary over "model": the numbers of one device, and no logits or rows are gathered."""
    mesh = make_mesh({"data": 2, "model": 2})
    place = lambda x, *spec: jax.device_put(x, NamedSharding(mesh, P(*spec)))
    keys = jax.random.split(jax.random.key(7), 3)
    hidden, embed = jax.random.normal(keys[0], (4, 6, 8)), jax.random.normal(keys[1], (64, 8))
    tokens = jax.random.randint(keys[2], (4, 6), 0, 64)

    def loss(hidden, embed, tokens):
        log_prob, entropy = token_statistics(hidden, embed.T, tokens, chunk=16)
        return (log_prob + 0.1 * entropy).sum()

    step = jax.jit(
        jax.value_and_grad(loss, (0, 1)),
        out_shardings=(None, (NamedSharding(mesh, P("data")), NamedSharding(mesh, P("model")))),
    )
    arrays = (place(hidden, "data"), place(embed, "model"), place(tokens, "data"))
    got, expected = step(*arrays), jax.jit(jax.value_and_grad(loss, (0, 1)))(hidden, embed, tokens)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)
    program = step.lower(*arrays).compile().as_text()
    gathered = re.findall(r"= \S*\[([\d,]*)\]\S* all-gather", program)
    sizes = [math.prod(map(int, shape.split(","))) for shape in gathered if shape]
    assert all(size < hidden.size for size in sizes), gathered


def test_bfloat16_gives_float32():
    hidden, matrix = HIDDEN.astype(jnp.bfloat16), MATRIX.astype(jnp.bfloat16)
    assert token_log_probs(hidden, matrix, TOKENS).dtype == jnp.float32
    grads = jax.jit(jax.grad(lambda h, m: token_log_probs(h, m, TOKENS, chunk=3).sum(), (0, 1)))(
        hidden, matrix
    )
    assert [g.dtype for g in grads] == [jnp.bfloat16] * 2


def test_no_rows():
    assert token_log_probs(HIDDEN[:0], MATRIX, TOKENS[:0]).shape == (0, 5)
    assert token_divergence(HIDDEN[:0], MATRIX, TEACHER_HIDDEN[:0], TEACHER_MATRIX).shape == (0, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: token_log_probs(HIDDEN, MATRIX.T, TOKENS), r"\[\.\.\., d\] and \[d, V\]"),
        (lambda: token_log_probs(HIDDEN, MATRIX, TOKENS[0]), "leading shape of hidden"),
        (lambda: token_log_probs(HIDDEN, MATRIX, TOKENS, temperature=0.0), "temperature is 0.0"),
        (lambda: token_log_probs(HIDDEN, MATRIX, TOKENS, chunk=0), "chunk is 0"),
        (lambda: token_divergence(HIDDEN, MATRIX, TEACHER_HIDDEN, TEACHER_MATRIX[:, :6]), "the teacher's 6"),
        (
            lambda: token_divergence(HIDDEN, MATRIX, TEACHER_HIDDEN[:1], TEACHER_MATRIX),
            "but for the last axis",
        ),
        (lambda: token_divergence(HIDDEN, MATRIX, TEACHER_HIDDEN, TEACHER_MATRIX, kind="kl"), "kind is 'kl'"),
        (lambda: token_divergence(HIDDEN, MATRIX, TEACHER_HIDDEN, TEACHER_MATRIX, beta=2.0), "beta is 2.0"),
        (
            lambda: token_divergence(HIDDEN, MATRIX, TEACHER_HIDDEN, TEACHER_MATRIX, temperature=-1.0),
            "temperature is -1.0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_completions_of_a_shared_prompt_equal_whole_sequences():
    """Values and gradients: the prompt computed once, against every sequence on its own."""
    model = Decoder(vocab_size=9, width=16, num_layers=2, num_heads=4, num_kv_heads=2, mlp_width=24)
    params = jax.jit(model.init)(jax.random.key(0))
    prompts = np.array([[0, 0, 1, 5], [1, 4, 3, 8]])
    tokens = jax.random.randint(jax.random.key(1), (6, 5), 3, 9)
    mask = np.arange(5)[None] < np.array([5, 3, 1, 4, 5, 2])[:, None]
    sequences = np.concatenate([np.repeat(prompts, 3, axis=0), tokens], axis=1)
    valid = np.concatenate([np.repeat(prompts > 0, 3, axis=0), mask], axis=1)

    def shared(params):
        return completion_hidden(model, params, prompts, prompts > 0, tokens, mask)

    def whole(params):
        return model.apply(params, sequences, token_positions(valid), valid)[:, 3:-1]

    scalar = lambda f: lambda params: jnp.sum(jnp.where(mask[..., None], jnp.sin(f(params)), 0.0))
    one, other = (np.asarray(jax.jit(f)(params)) for f in (shared, whole))
    np.testing.assert_allclose(one[mask], other[mask], atol=1e-5)
    got, expected = (jax.jit(jax.grad(scalar(f)))(params) for f in (shared, whole))
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-3)


def test_completions_that_do_not_divide_are_named():
    model = Decoder(vocab_size=9, width=8, num_layers=1, num_heads=2)
    params = jax.eval_shape(model.init, jax.random.key(0))
    prompts, tokens = np.ones((2, 3), int), np.ones((5, 2), int)
    with pytest.raises(ValueError, match=r"\[P G, N\]"):
        completion_hidden(model, params, prompts, prompts > 0, tokens, tokens > 0)
