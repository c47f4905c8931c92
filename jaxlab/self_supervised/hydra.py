"""Any two examples as a positive pair, in a subspace that a small net chooses for the pair of their classes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, multi_positive_cross_entropy, normalize, standardize_batch
from jaxlab.core._mapped import gather_rows
from jaxlab.core.check import IGNORED, InputError, as_integers, check_positive, full_mask

Params = Any


def pair_gate_init(
    key: jax.Array, *, num_classes: int, dim: int, embedding: int = 512, hidden: int = 1024
) -> Params:
    """Parameters of `pair_gate`: an embedding of every class and two layers.

    Args:
      key: `jax.random.key`.
      num_classes: C.
      dim: D, of the vectors that are gated.
      embedding: width of a class's embedding.
      hidden: width of the hidden layer.

    Returns:
      A dict of float32 arrays; matrices are `[in, out]`.

    Raises:
      ValueError: a size below 1.

    Reference: Rethinking Positive Pairs in Contrastive Learning (Hydra, SimLAP), 2024, with the sizes of its code.

    >>> params = pair_gate_init(jax.random.key(0), num_classes=3, dim=4, embedding=5, hidden=6)
    >>> params["classes"].shape, params["second"]["w"].shape
    ((3, 5), (6, 4))
    """
    if min(num_classes, dim, embedding, hidden) < 1:
        raise InputError(f"sizes must be at least 1, got {(num_classes, dim, embedding, hidden)}")
    keys = jax.random.split(key, 3)

    def layer(key: jax.Array, fan_in: int, fan_out: int) -> Params:
        weights = jax.random.uniform(key, (fan_in, fan_out), minval=-1, maxval=1) / fan_in**0.5
        norm = {"scale": jnp.ones(fan_in), "bias": jnp.zeros(fan_in)}
        return {"norm": norm, "w": weights, "b": jnp.zeros(fan_out)}

    return {
        "classes": jax.random.normal(keys[0], (num_classes, embedding)),
        "first": layer(keys[1], embedding, hidden),
        "second": layer(keys[2], hidden, dim),
    }


def pair_gate(
    params: Params,
    labels: jax.Array,
    partner_labels: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Which dimensions count when two classes are compared: a gate in (0, 1) for each, per pair of labels.

    The gate of (a, b) is that of (b, a). Its layers standardise over the batch, as batch normalisation does in
    training: a batch should hold several different pairs. Gradients flow into the parameters.

        g = sigmoid(norm(relu(norm(relu(e)) W_1 + b_1)) W_2 + b_2),   e = (E_y + E_y') / 2

    Args:
      params: from `pair_gate_init`.
      labels: `[N]` integers in [0, C); a negative one marks an example to ignore.
      partner_labels: `[N]` integers in [0, C), of what each is a positive of.
      where: `[N]` bool or {0, 1}, the examples that count for the batch's statistics; None means all.
      axis_name: mapped axis (or axes) of the batch; the statistics are those of the global batch.

    Returns:
      `[N, D]` float32 (float64 for float64 parameters) in (0, 1); of no meaning where an example does not count.

    Raises:
      ValueError: if labels are not `[N]` integers in [0, C).

    Reference: Rethinking Positive Pairs in Contrastive Learning (Hydra, SimLAP), 2024, the gate of its code.

    >>> params = pair_gate_init(jax.random.key(0), num_classes=3, dim=4, embedding=5, hidden=6)
    >>> gates = pair_gate(params, jnp.array([0, 1, 2]), jnp.array([1, 0, 2]))
    >>> gates.shape, bool(jnp.allclose(gates[0], gates[1]))
    ((3, 4), True)
    """
    classes = as_float(params["classes"])
    rows, size = np.shape(labels), len(classes)
    if len(rows) != 1 or rows != np.shape(partner_labels):
        raise InputError(f"labels {rows} and partner_labels {np.shape(partner_labels)} must both be [N]")
    checks = {"where": where, "ignore": IGNORED}
    one = as_integers("labels", labels, "class indices", size, **checks)
    other = as_integers("partner_labels", partner_labels, "class indices", size, **checks)
    counts = full_mask(where, rows, "examples") & (one >= 0) & (other >= 0) & (one < size) & (other < size)
    inside = lambda y: jnp.clip(y, 0, size - 1)
    x = (classes[inside(one)] + classes[inside(other)]) / 2
    batch = {"where": counts, "axis_name": axis_name}
    for layer in (params["first"], params["second"]):
        norm = layer["norm"]
        x = norm["scale"] * standardize_batch(jax.nn.relu(x), **batch) + norm["bias"]
        x = x @ layer["w"] + layer["b"]
    return jax.nn.sigmoid(x)


def gated_cosine(
    z: jax.Array, keys: jax.Array, gate: jax.Array, *, normalize_after: bool = True
) -> jax.Array:
    """Cosine of vectors in which dimensions count as a row's gate says, per row and key.

    Gradients flow into all three. Memory is `[N, M]`: nothing of size `[N, M, D]` is built.

        cos(g_i z_i, g_i k_m);   without `normalize_after` sum_d g_id^2 z_id k_md of vectors of length 1

    Args:
      z: `[N, D]`, of any length.
      keys: `[M, D]`, of any length.
      gate: `[N, D]` in [0, 1], of the rows of `z`.
      normalize_after: whether vectors are scaled to length 1 behind the gate, or before it.

    Returns:
      `[N, M]` float32 (float64 for float64 input) in [-1, 1]; 0 for a vector that the gate leaves without length.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Rethinking Positive Pairs in Contrastive Learning (Hydra, SimLAP), 2024; its later code normalises first.

    >>> z, keys = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, -1.0]])
    >>> [abs(round(gated_cosine(z, keys, jnp.array([g])).item(), 4)) for g in ([1.0, 1.0], [1.0, 0.0])]
    [0.0, 1.0]
    """
    own, other = np.shape(z), np.shape(keys)
    if len(own) != 2 or len(other) != 2 or own[1] != other[1] or own != np.shape(gate):
        raise InputError(
            f"z {own} must be [N, D], keys {other} [M, D] and gate {np.shape(gate)} the shape of z"
        )
    z, keys, gate = normalize(z), normalize(keys), as_float(gate)  # a length changes nothing behind the gate
    products = (z * jnp.square(gate)) @ keys.T
    if not normalize_after:
        return products
    squares = jnp.sum(jnp.square(z * gate), axis=-1, keepdims=True) * (jnp.square(gate) @ jnp.square(keys).T)
    short = squares <= jnp.finfo(squares.dtype).tiny
    return jnp.where(short, 0.0, products * jax.lax.rsqrt(jnp.where(short, 1.0, squares)))


def gated_positive_loss(
    z: jax.Array,
    gate: jax.Array,
    labels: jax.Array,
    partner_labels: jax.Array,
    *,
    temperature: float | jax.Array = 0.1,
    normalize_after: bool = True,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Contrast in which every row's positives are all of its partner's class (SimLAP, Hydra), a batch-level loss.

    Rows of the row's own class that is not the partner's neither attract nor repel. A row is its own key, and a
    positive one if its partner has its class. Positives do not compete with each other, and all pairs of the batch
    weigh alike. Gradients flow into vectors, as rows and as keys, and into the gates.

        mean over i, p with y_p = y'_i of log(1 + sum_{n: y_n not in {y_i, y'_i}} exp((s_in - s_ip) / T)),
        s = gated_cosine(z, z, gate)

    Args:
      z: `[N, D]`, of any length.
      gate: `[N, D]` in [0, 1], see `pair_gate`; ones make it an ordinary contrast.
      labels: `[N]` integers; a negative one marks a row to ignore.
      partner_labels: `[N]` integers: the labels in random order for arbitrary pairs, the labels themselves for a
        supervised contrast.
      temperature: T, a positive scalar; may be traced.
      normalize_after: as in `gated_cosine`.
      where: `[N]` bool or {0, 1}, the rows that exist, as rows and keys; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      A float32 scalar (float64 for float64 input) in nats, at least 0; 0 for a batch without a positive or a negative.

    Raises:
      ValueError: if the shapes do not fit, labels are not integers, or a static temperature is not positive.

    Reference: Rethinking Positive Pairs in Contrastive Learning (Hydra, SimLAP), 2024, in the form of its code.

    >>> z, labels = jnp.eye(2), jnp.array([0, 1])
    >>> round(gated_positive_loss(z, jnp.ones((2, 2)), labels, labels, temperature=1.0).item(), 4)  # log(1 + 1 / e)
    0.3133
    """
    rows = np.shape(labels)
    if np.ndim(z) != 2 or np.shape(z)[:1] != rows or np.shape(partner_labels) != rows:
        raise InputError(
            f"z {np.shape(z)} must be [N, D], labels {rows} and partner_labels {np.shape(partner_labels)} [N]"
        )
    check_positive("temperature", temperature)
    own = as_integers("labels", labels, "class indices, negative for a row to ignore")
    partner = as_integers("partner_labels", partner_labels, "class indices, negative for a row to ignore")
    exists = full_mask(where, rows, "rows of z") & (own >= 0) & (partner >= 0)
    z = jnp.where(exists[:, None], as_float(z), 0.0)
    gate = jnp.where(exists[:, None], as_float(gate), 0.0)
    keys, theirs, present = z, own, exists
    if axis_name is not None:
        keys, theirs = gather_rows(z, axis_name), gather_rows(own, axis_name)
        present = gather_rows(exists.astype(jnp.int32), axis_name).astype(bool)
    pairs = present & exists[:, None]
    positives = (partner[:, None] == theirs) & pairs
    negatives = (own[:, None] != theirs) & ~positives & pairs
    logits = gated_cosine(z, keys, gate, normalize_after=normalize_after) / temperature
    losses = multi_positive_cross_entropy(logits, positives, negatives, positives_compete=False)
    # Per row it is the mean over its positives; weighed by their number it is the mean over all of the batch.
    count = jnp.sum(positives, axis=1).astype(losses.dtype)
    total = masked_mean(losses * count, axis_name=axis_name)
    pairs_per_row = masked_mean(count, axis_name=axis_name)
    return total / jnp.where(pairs_per_row > 0, pairs_per_row, 1.0)
