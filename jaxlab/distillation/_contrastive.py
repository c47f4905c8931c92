"""Contrastive representation distillation (CRD): noise-contrastive estimation against two memories."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, normalize
from jaxlab.core.check import InputError, as_integers, check_fraction, check_state, check_together, full_mask


class CrdState(NamedTuple):
    """What CRD remembers between steps: one row per training example on each side, and two constants.

    student_memory, teacher_memory: `[n, D]` moving averages of the embeddings, of unit length.
    normalizer: `[2]` the constants Z of the student's and the teacher's anchors; 0 means not yet set.
    """

    student_memory: jax.Array
    teacher_memory: jax.Array
    normalizer: jax.Array


def crd_init(key: jax.Array, num_examples: int, dim: int) -> CrdState:
    """Two memories of random unit rows, and normalizers not yet set.

        m_i = r / |r|,   r uniform in [-1, 1]^D;   Z = 0

    Args:
      key: random key.
      num_examples: n, the size of the training set.
      dim: D, the width of both embeddings (128 in the paper).

    Returns:
      A `CrdState` of float32 arrays.

    Raises:
      ValueError: if a size is below 1.

    Reference: Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020. The authors' code draws each
      entry from a range that gives unit length on average; here the length is exactly 1.

    >>> crd_init(jax.random.key(0), num_examples=50, dim=8).teacher_memory.shape
    (50, 8)
    """
    if num_examples < 1 or dim < 1:
        raise InputError(f"num_examples and dim must be at least 1, got {num_examples} and {dim}")
    rows = jax.random.uniform(key, (2, num_examples, dim), jnp.float32, minval=-1.0, maxval=1.0)
    student, teacher = normalize(rows)
    return CrdState(student, teacher, jnp.zeros(2, jnp.float32))


def crd_negatives(key: jax.Array, *, batch_size: int, num_negatives: int, num_examples: int) -> jax.Array:
    """Indices of negatives, drawn uniformly with replacement from the whole training set.

    The anchor itself can be drawn, as the loss assumes: its noise distribution is uniform over all n. The
    authors' CIFAR loader draws from the other classes instead; any such array serves `crd_loss` as well.

    Args:
      key: random key.
      batch_size: B.
      num_negatives: K (16384 in the paper).
      num_examples: n.

    Returns:
      `[B, K]` int32 in [0, n).

    Raises:
      ValueError: if `num_examples` is below 1.

    Reference: Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020, section 3.

    >>> crd_negatives(jax.random.key(0), batch_size=2, num_negatives=5, num_examples=9).shape
    (2, 5)
    """
    if num_examples < 1:
        raise InputError(f"num_examples must be at least 1, got {num_examples}")
    return jax.random.randint(key, (batch_size, num_negatives), 0, num_examples, dtype=jnp.int32)


def crd_loss(
    state: CrdState,
    student_embedding: jax.Array,
    teacher_embedding: jax.Array,
    index: jax.Array,
    negatives: jax.Array,
    *,
    temperature: float = 0.07,
    momentum: float = 0.5,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> tuple[jax.Array, CrdState]:
    """Contrastive distillation, per example; its state is batch-level: memories and, once, the normalizers.

    A student's embedding should score the teacher's memory of the same example above that of K others, and
    the teacher's embedding likewise the student's memory. Both embeddings are trained linear maps, so
    gradients flow into both: stop them at the teacher's features, before its map, as in the example. None
    reaches the memories or the normalizers.

        P_j = exp(<u, m_j> / T) / Z,   u = unit embedding, m = rows of the other side's memory
        L = -log(P_0 / (P_0 + K/n)) - sum_{j=1..K} log((K/n) / (P_j + K/n)),   summed over both anchors
        Z = n * mean of exp(<u, m_j> / T) over the first batch, then frozen
        m_i <- normalize(momentum * m_i + (1 - momentum) * u)

    Args:
      state: `CrdState` of n examples and width D.
      student_embedding: `[B, D]` any length; normalized here.
      teacher_embedding: `[B, D]` likewise.
      index: `[B]` integers in [0, n), which example each row is. An example that occurs twice enters its
        memory once, with the mean of its embeddings (the authors' code keeps an arbitrary one).
      negatives: `[B, K]` integers in [0, n), as from `crd_negatives`, K at least 1.
      temperature: T, at least 0.02, for exp(1 / T) has to fit float32.
      momentum: weight of the old memory, in [0, 1].
      where: bool or {0, 1} `[B]`, the rows that exist; the others give 0 and leave no trace in the state.
        None means all.
      axis_name: mapped axis over which the batch is split, with one state on all devices: the losses stay
        those of the local rows, the new state is that of the global batch.

    Returns:
      `[B]` nats, float32 (float64 for float64 embeddings), and the new state.

    Raises:
      ValueError: if shapes do not agree, indices are not integers in [0, n), or a hyper-parameter is out of range.

    Reference: Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020, section 3. As in the
      authors' code, whose T is the default here, the noise term of each denominator is K/n + 1e-7.

    >>> state = crd_init(jax.random.key(0), num_examples=4, dim=2)
    >>> features = jnp.ones((1, 3)), jnp.ones((1, 5))  # of the student and of the teacher
    >>> maps = jnp.ones((3, 2)), jnp.ones((5, 2))  # both trained
    >>> embeddings = features[0] @ maps[0], jax.lax.stop_gradient(features[1]) @ maps[1]
    >>> loss, state = crd_loss(state, *embeddings, jnp.array([2]), jnp.array([[0, 1, 3]]))
    >>> loss.shape, (state.normalizer > 0).tolist()
    ((1,), [True, True])
    """
    check_state("state", state, CrdState)
    index, negatives = _check_crd(state, student_embedding, teacher_embedding, index, negatives, where)
    _check_hyperparameters(temperature, momentum)
    valid = full_mask(where, index.shape, "index")
    student = normalize(jnp.where(valid[:, None], as_float(student_embedding), 0.0))
    teacher = normalize(jnp.where(valid[:, None], as_float(teacher_embedding), 0.0))
    candidates = jnp.concatenate([index[:, None], negatives.astype(index.dtype)], axis=-1)
    logits = (
        _scores(student, state.teacher_memory, candidates, temperature),
        _scores(teacher, state.student_memory, candidates, temperature),
    )
    normalizer = _normalizer(state, logits, valid, axis_name)
    num_examples = state.student_memory.shape[0]
    losses = sum(_nce(x, z, num_examples) for x, z in zip(logits, normalizer))
    rows = _gather((index, valid, student, teacher), axis_name)
    return jnp.where(valid, losses, 0.0), CrdState(
        _remember(state.student_memory, rows[0], rows[1], rows[2], momentum),
        _remember(state.teacher_memory, rows[0], rows[1], rows[3], momentum),
        normalizer,
    )


def _scores(anchor: jax.Array, memory: jax.Array, candidates: jax.Array, temperature: float) -> jax.Array:
    """Tempered similarity `[B, 1 + K]` of each anchor with the memory's rows of its candidates."""
    rows = jax.lax.stop_gradient(memory).at[candidates].get(mode="clip")
    return jnp.einsum("bd,bkd->bk", anchor, rows) / temperature


def _normalizer(state: CrdState, logits, valid: jax.Array, axis_name) -> jax.Array:
    """The state's constants, or where not yet set those that make the scores of this batch average 1/n."""
    mean = jnp.stack([masked_mean(jnp.exp(x), where=valid[:, None], axis_name=axis_name) for x in logits])
    fresh = jax.lax.stop_gradient(mean * state.student_memory.shape[0])
    frozen = jax.lax.stop_gradient(state.normalizer)
    return jnp.where(frozen > 0, frozen, fresh.astype(frozen.dtype))


def _nce(logits: jax.Array, normalizer: jax.Array, num_examples: int) -> jax.Array:
    """Noise-contrastive loss of one side, the positive in column 0.

    In log-odds against the noise, so that nothing is the logarithm of 0 or a difference of large sums.
    """
    negatives = logits.shape[-1] - 1
    noise = negatives / num_examples
    log_odds = logits - jnp.log(normalizer) - math.log(noise + 1e-7)
    rejected = jax.nn.softplus(log_odds[:, 1:]).sum(-1) + negatives * math.log1p(1e-7 / noise)
    return jax.nn.softplus(-log_odds[:, 0]) + rejected


def _gather(rows, axis_name):
    """The rows of all devices; by a sum, which every kind of mapped axis knows to be the same on each."""
    if axis_name is None:
        return rows

    def everywhere(x):
        x = jax.lax.stop_gradient(x)
        slots = jnp.zeros((jax.lax.axis_size(axis_name), *x.shape), x.dtype)
        slots = slots.at[jax.lax.axis_index(axis_name)].set(x)
        total = jax.lax.psum(slots, axis_name)
        return total.reshape(-1, *x.shape[1:]).astype(x.dtype)

    return jax.tree.map(everywhere, rows)


def _remember(memory, index, valid, embedding, momentum):
    """The memory with the rows `index` moved towards their new embeddings."""
    memory, embedding = jax.lax.stop_gradient((memory, embedding))
    same = (index[:, None] == index[None, :]) & valid[None, :]
    count = same.sum(-1, keepdims=True)
    mean = same.astype(embedding.dtype) @ embedding / jnp.maximum(count, 1)
    moved = normalize(momentum * memory.at[index].get(mode="clip") + (1.0 - momentum) * mean)
    # Rows of equal index hold equal values, so the order of the writes is free; a masked row writes nowhere.
    target = jnp.where(count[:, 0] > 0, index, memory.shape[0])
    return memory.at[target].set(moved.astype(memory.dtype), mode="drop")


def _check_crd(state, student_embedding, teacher_embedding, index, negatives, where):
    """Index and negatives as arrays; a row that `where` masks may have any."""
    shape = np.shape(student_embedding)
    width = state.student_memory.shape[-1]
    if len(shape) != 2 or np.shape(teacher_embedding) != shape or shape[1] != width:
        raise InputError(
            f"student_embedding {shape} and teacher_embedding {np.shape(teacher_embedding)} "
            f"must both be [B, {width}], as wide as the memory"
        )
    if np.shape(index) != shape[:1]:
        raise InputError(f"index {np.shape(index)} must be [B] = {shape[:1]}")
    if np.ndim(negatives) != 2 or np.shape(negatives)[0] != shape[0] or np.shape(negatives)[1] < 1:
        raise InputError(
            f"negatives {np.shape(negatives)} must be [B, K] with B = {shape[0]} and K at least 1"
        )
    rows, size = None if where is None else jnp.asarray(where), state.student_memory.shape[0]
    per_row = rows if rows is None or not rows.ndim else rows[:, None]
    return (
        as_integers("index", index, "training examples in [0, n)", size, where=rows),
        as_integers("negatives", negatives, "training examples in [0, n)", size, where=per_row),
    )


def _check_hyperparameters(temperature, momentum):
    allowed = "temperature must be at least 0.02 so that exp(1 / T) fits float32"
    check_together(allowed, lambda temperature: temperature >= 0.02, temperature=temperature)
    check_fraction("momentum", momentum)
