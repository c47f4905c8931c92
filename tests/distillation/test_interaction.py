"""Messages between teacher and student: what passes, what is stopped, what is masked."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.distillation.talking_models import (
    Exchange,
    codec_init,
    decode_message,
    encode_message,
    interaction_round,
    message_consistency,
    state_consistency,
    talking_loss,
)

B, DS, DT, M = 4, 3, 5, 2
OWN = codec_init(jax.random.key(0), width=DS, message=M, hidden=6)
OTHER = codec_init(jax.random.key(1), width=DT, message=M, hidden=6)
STATE = jax.random.normal(jax.random.key(2), (B, DS))
HAND = {  # m = 3 tanh(2 h + 1) - 1 and h = m
    "encoder": {"in": jnp.array([[2.0]]), "in_bias": jnp.ones(1), "out": jnp.array([[3.0]]), "out_bias": -jnp.ones(1)},
    "decoder": {"in": jnp.array([[1.0]]), "in_bias": jnp.zeros(1), "out": jnp.array([[1.0]]), "out_bias": jnp.zeros(1)},
}  # fmt: skip


def test_a_message_by_hand():
    # h = 0: 3 tanh(1) - 1 = 1.284783; decoded tanh(1.284783) = 0.857754.
    message = encode_message(HAND, jnp.zeros((1, 1)))
    np.testing.assert_allclose(message, [[1.284783]], rtol=1e-5)
    np.testing.assert_allclose(decode_message(HAND, message), [[0.857754]], rtol=1e-5)
    np.testing.assert_allclose(state_consistency(HAND, jnp.zeros((1, 1))), [0.857754**2], rtol=1e-5)


def test_a_round_goes_through_both_codecs_and_the_teacher():
    think = lambda h: jnp.tanh(2 * h)
    said = interaction_round(OWN, OTHER, STATE, think)
    assert isinstance(said, Exchange)
    reply = encode_message(OTHER, think(decode_message(OTHER, encode_message(OWN, STATE))))
    np.testing.assert_allclose(said.reply, reply, rtol=1e-6)
    np.testing.assert_allclose(said.state, decode_message(OWN, reply), rtol=1e-6)
    assert (said.state.shape, said.sent.shape) == ((B, DS), (B, M))


def test_gradients_reach_both_codecs_through_a_frozen_teacher():
    weights = jax.random.normal(jax.random.key(3), (DT, DT))

    def total(own, other, weights):
        think = lambda h: jnp.tanh(h @ jax.lax.stop_gradient(weights))
        return interaction_round(own, other, STATE, think).state.sum()

    own, other, frozen = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(OWN, OTHER, weights)
    for leaf in jax.tree.leaves((own, other)):
        assert np.abs(leaf).max() > 0
    np.testing.assert_array_equal(frozen, np.zeros((DT, DT)))


def test_codecs_of_one_width_differ_by_key_alone():
    again = codec_init(jax.random.key(0), width=DS, message=M, hidden=6)
    chex.assert_trees_all_equal(OWN, again)
    other = codec_init(jax.random.key(5), width=DS, message=M, hidden=6)
    assert np.abs(other["encoder"]["in"] - OWN["encoder"]["in"]).max() > 0
    assert np.abs(OWN["encoder"]["in"][:2, :2] - OWN["decoder"]["in"][:2, :2]).max() > 0


def test_message_consistency_by_hand_and_masked():
    a, b = jnp.array([[1.0, 3.0], [jnp.nan, 0.0]]), jnp.array([[1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(message_consistency(a, b, where=jnp.array([1, 0])), [2.0, 0.0])
    gradient = jax.grad(lambda a: message_consistency(a, b, where=jnp.array([1, 0])).sum())(a)
    np.testing.assert_array_equal(gradient, [[0.0, 2.0], [0.0, 0.0]])
    assert np.isnan(message_consistency(a, b)[1])


def test_agreement_alone_lets_messages_collapse_and_state_consistency_does_not():
    silent = jax.tree.map(jnp.zeros_like, OWN)
    message = encode_message(silent, STATE)
    np.testing.assert_array_equal(message_consistency(message, jnp.zeros((B, M))), np.zeros(B))
    np.testing.assert_allclose(state_consistency(silent, STATE), jnp.square(STATE).mean(-1), rtol=1e-6)


def test_a_masked_state_never_leaks():
    where = jnp.array([1, 0, 1, 1])
    loss = lambda codec, state: state_consistency(codec, state, where=where).sum()
    hidden = STATE.at[1].set(jnp.nan)
    value, (codec, state) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(OWN, hidden)
    np.testing.assert_allclose(value, loss(OWN, STATE), rtol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((codec, state)))


def test_the_talking_loss_adds_up():
    # 1 + 0.5 * (2 + 4) / 2 + 2 * 0.5 + 4 * 0.25 = 4.5; without rounds 1 + 1 + 1 = 3.
    parts = (
        jnp.array([1.0, jnp.nan]),
        jnp.array([[2.0, 4.0], [1.0, 1.0]]),
        jnp.array([0.5, 1.0]),
        jnp.array([0.25, 1.0]),
    )
    weights = {"interact_weight": 0.5, "message_weight": 2.0, "state_weight": 4.0, "where": jnp.array([1, 0])}
    np.testing.assert_allclose(talking_loss(*parts, **weights), [4.5, 0.0])
    task, replies, message, state = parts
    np.testing.assert_allclose(talking_loss(task, replies[:, :0], message, state, **weights), [3.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: codec_init(jax.random.key(0), width=0, message=1, hidden=1), "width is 0"),
        (lambda: encode_message(OWN, STATE[:, :2]), r"state \(4, 2\) must be \[..., 3\]"),
        (lambda: decode_message(OWN, STATE), r"message \(4, 3\) must be \[..., 2\]"),
        (lambda: message_consistency(STATE, STATE[:2]), r"\(4, 3\).*\(2, 3\)"),
        (lambda: state_consistency(OWN, STATE, where=jnp.ones(3)), r"where \(3,\) must broadcast"),
        (lambda: talking_loss(*[jnp.ones(2)] * 4), r"replies \(2,\) \[B, N\]"),
    ],
)
def test_shapes_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()
