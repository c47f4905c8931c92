"""Interactive communication: teacher and student exchange messages about the student's own inputs.

Inspired by "Talking Models" (2023). The paper's text was not to be had; what is known of it is its abstract and its
reviews. The equations here are a reconstruction, and each function says what it had to assume.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import InputError, full_mask

Codec = Mapping[str, Any]


class Exchange(NamedTuple):
    """One round of a conversation.

    state: `[B, Ds]` what the student makes of the reply, in the place of its own hidden state.
    sent: `[B, M]` what it said.
    reply: `[B, M]` what the teacher answered.
    """

    state: jax.Array
    sent: jax.Array
    reply: jax.Array


def codec_init(key: jax.Array, *, width: int, message: int, hidden: int) -> dict[str, Any]:
    """Parameters of one speaker: an encoder from hidden states to messages, and a decoder back.

    Both are `W2 tanh(W1 h + b1) + b2`, with entries of deviation 1 / sqrt(inputs) and biases 0.

    Args:
      key: random key.
      width: D, size of the speaker's hidden state.
      message: M, size of a message, the same for all speakers.
      hidden: units between them.

    Returns:
      `{"encoder": layers, "decoder": layers}` of float32 arrays, for `encode_message` and `decode_message`.

    Raises:
      ValueError: if a size is below 1.

    Reference: Inspired by Talking Models, 2023, abstract: every model has an encoder and a decoder of messages. Their
      architecture is not known; two layers are an assumption.

    >>> codec = codec_init(jax.random.key(0), width=4, message=2, hidden=8)
    >>> encode_message(codec, jnp.ones((3, 4))).shape
    (3, 2)
    """
    for name, size in (("width", width), ("message", message), ("hidden", hidden)):
        if size < 1:
            raise InputError(f"{name} is {size}: it must be at least 1")
    encoder, decoder = jax.random.split(key)
    return {
        "encoder": _layers(encoder, width, hidden, message),
        "decoder": _layers(decoder, message, hidden, width),
    }


def encode_message(codec: Codec, state: jax.Array) -> jax.Array:
    """A message about a hidden state.

        m = W2 tanh(W1 h + b1) + b2

    Args:
      codec: from `codec_init`.
      state: `[..., D]` hidden states of the codec's owner.

    Returns:
      `[..., M]`, float32 (float64 for float64 states).

    Raises:
      ValueError: if the state has not the width of the codec.

    Reference: Inspired by Talking Models, 2023, abstract; see `codec_init`.

    >>> codec = codec_init(jax.random.key(0), width=4, message=2, hidden=8)
    >>> encode_message(codec, jnp.zeros((1, 4))).tolist()
    [[0.0, 0.0]]
    """
    return _translate(codec["encoder"], state, "state")


def decode_message(codec: Codec, message: jax.Array) -> jax.Array:
    """The hidden state that a message stands for.

        h = W2 tanh(W1 m + b1) + b2

    Args:
      codec: from `codec_init`.
      message: `[..., M]`.

    Returns:
      `[..., D]`, float32 (float64 for float64 messages).

    Raises:
      ValueError: if the message has not the size of the codec.

    Reference: Inspired by Talking Models, 2023, abstract; see `codec_init`.

    >>> codec = codec_init(jax.random.key(0), width=4, message=2, hidden=8)
    >>> decode_message(codec, jnp.zeros((1, 2))).shape
    (1, 4)
    """
    return _translate(codec["decoder"], message, "message")


def interaction_round(
    student_codec: Codec,
    teacher_codec: Codec,
    student_state: jax.Array,
    think: Callable[[jax.Array], jax.Array],
) -> Exchange:
    """The student says what it sees, the teacher thinks about it and answers.

    A second round starts from the state of the first. Gradients flow through the teacher's thinking into both codecs
    and the student; who owns the teacher's parameters stops them in `think`.

        m = Enc_s(h),   r = Enc_t(think(Dec_t(m))),   h' = Dec_s(r)

    Args:
      student_codec: of width Ds and message size M.
      teacher_codec: of width Dt and the same message size.
      student_state: `[B, Ds]` hidden state below the student's higher layers.
      think: the teacher's higher layers, `[B, Dt] -> [B, Dt]`.

    Returns:
      An `Exchange`.

    Raises:
      ValueError: if the codecs do not fit the states or each other.

    Reference: Inspired by Talking Models, 2023, abstract and reviews: models split into lower and higher layers,
      two-way communication after Osgood and Schramm. That the student replaces its state by the decoded reply is an
      assumption.

    >>> keys = jax.random.split(jax.random.key(0))
    >>> student, teacher = (codec_init(k, width=w, message=2, hidden=8) for k, w in zip(keys, (3, 5)))
    >>> interaction_round(student, teacher, jnp.ones((1, 3)), jnp.tanh).state.shape
    (1, 3)
    """
    sent = encode_message(student_codec, student_state)
    reply = encode_message(teacher_codec, think(decode_message(teacher_codec, sent)))
    return Exchange(decode_message(student_codec, reply), sent, reply)


def message_consistency(
    student_message: jax.Array, teacher_message: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Squared distance between what student and teacher say about the same input, per example.

    Alone it is satisfied by messages that say nothing; `state_consistency` forbids those. Gradients flow into both
    messages: both encoders are trained, and the caller stops them at the teacher's hidden state.

        L_MC = mean over the message of (m_s - m_t)^2

    Args:
      student_message: `[B, M]`.
      teacher_message: `[B, M]`.
      where: bool or {0, 1} `[B]`, the examples that exist; None means all.

    Returns:
      `[B]` squared message units, float32 (float64 for float64 messages).

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast.

    Reference: Inspired by Talking Models, 2023, reviews, which name the loss; its formula is an assumption.

    >>> message_consistency(jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 1.0]])).tolist()
    [2.0]
    """
    return _distance(student_message, teacher_message, where, "student_message", "teacher_message")


def state_consistency(codec: Codec, state: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """How much of a hidden state is lost when it is said and understood again, per example.

    Gradients flow into the codec and the state; the caller stops them at a teacher's state.

        L_SC = mean over the state of (Dec(Enc(h)) - h)^2

    Args:
      codec: of width D.
      state: `[B, D]` hidden states of its owner.
      where: bool or {0, 1} `[B]`, the examples that exist; None means all.

    Returns:
      `[B]` squared state units, float32 (float64 for float64 states).

    Raises:
      ValueError: if the state does not fit the codec, or `where` does not broadcast.

    Reference: Inspired by Talking Models, 2023, reviews, which name the loss; its formula is an assumption.

    >>> codec = codec_init(jax.random.key(0), width=4, message=2, hidden=8)
    >>> state_consistency(codec, jnp.zeros((1, 4))).tolist()
    [0.0]
    """
    if where is not None:
        state = jnp.where(full_mask(where, np.shape(state)[:1], "batch")[:, None], as_float(state), 0.0)
    again = decode_message(codec, encode_message(codec, state))
    return _distance(again, state, where, "decoded state", "state")


def talking_loss(
    task: jax.Array,
    replies: jax.Array,
    message: jax.Array,
    state: jax.Array,
    *,
    interact_weight: float = 1.0,
    message_weight: float = 1.0,
    state_weight: float = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """The student's task, the task after every reply, and the two consistencies, per example.

        L = L_task + w1 * mean_n L_task(after reply n) + w2 * L_MC + w3 * L_SC

    Args:
      task: `[B]` the student's own loss on the input.
      replies: `[B, N]` its loss when it goes on from each reply; N = 0 for a conversation without rounds.
      message: `[B]` from `message_consistency`.
      state: `[B]` from `state_consistency`, of both speakers.
      interact_weight, message_weight, state_weight: w1, w2, w3.
      where: bool or {0, 1} `[B]`, the examples that exist; the others give 0. None means all.

    Returns:
      `[B]`, float32 (float64 for float64 losses).

    Raises:
      ValueError: if the shapes do not agree.

    Reference: Inspired by Talking Models, 2023, reviews: three losses beside the task's. Their weights are not known,
      nor whether the interaction loss is a task loss or a distance between states; here it is the task loss.

    >>> talking_loss(jnp.array([1.0]), jnp.array([[2.0, 4.0]]), jnp.array([0.5]), jnp.array([0.25])).tolist()
    [4.75]
    """
    shape = np.shape(task)
    if (
        len(shape) != 1
        or np.shape(replies)[:-1] != shape
        or not shape == np.shape(message) == np.shape(state)
    ):
        raise InputError(
            f"task {shape}, message {np.shape(message)} and state {np.shape(state)} must be [B], and replies "
            f"{np.shape(replies)} [B, N]"
        )
    keep = full_mask(where, shape, "batch")
    task, message, state = (jnp.where(keep, as_float(x), 0.0) for x in (task, message, state))
    heard = masked_mean(replies, where=jnp.broadcast_to(keep[:, None], np.shape(replies)), axis=-1)
    return task + interact_weight * heard + message_weight * message + state_weight * state


def _layers(key: jax.Array, inputs: int, hidden: int, outputs: int) -> dict[str, jax.Array]:
    first, second = jax.random.split(key)
    return {
        "in": jax.random.normal(first, (inputs, hidden)) / inputs**0.5,
        "in_bias": jnp.zeros(hidden),
        "out": jax.random.normal(second, (hidden, outputs)) / hidden**0.5,
        "out_bias": jnp.zeros(outputs),
    }


def _translate(layers: Mapping[str, jax.Array], x: jax.Array, name: str) -> jax.Array:
    if np.ndim(x) == 0 or np.shape(x)[-1] != layers["in"].shape[0]:
        raise InputError(f"{name} {np.shape(x)} must be [..., {layers['in'].shape[0]}], the codec's size")
    hidden = jnp.tanh(as_float(x) @ layers["in"] + layers["in_bias"])
    return hidden @ layers["out"] + layers["out_bias"]


def _distance(a: jax.Array, b: jax.Array, where: jax.Array | None, name: str, other: str) -> jax.Array:
    if np.ndim(a) != 2 or np.shape(a) != np.shape(b):
        raise InputError(f"{name} {np.shape(a)} and {other} {np.shape(b)} must have the same shape [B, D]")
    keep = jnp.broadcast_to(full_mask(where, np.shape(a)[:1], "batch")[:, None], np.shape(a))
    a, b = jnp.where(keep, as_float(a), 0.0), jnp.where(keep, as_float(b), 0.0)
    return masked_mean(jnp.square(a - b), where=keep, axis=-1)
