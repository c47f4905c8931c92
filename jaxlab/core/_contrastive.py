"""Contrastive losses: every anchor tells its positives from its negatives, by a softmax over similarities."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._mapped import gather_rows
from jaxlab.core._prototype import normalize
from jaxlab.core._reduce import AxisName, as_float, masked_mean
from jaxlab.core._softmax import masked_log_softmax, masked_logsumexp
from jaxlab.core.check import InputError, as_integers, check_least, check_positive, full_mask


def multi_positive_cross_entropy(
    logits: jax.Array, positives: jax.Array, negatives: jax.Array, *, positives_compete: bool = True
) -> jax.Array:
    """Cross-entropy with several right answers, per anchor.

    The logarithm is taken of each positive by itself, then averaged. Positives compete where they share one softmax:
    the loss is then at least the logarithm of their number. Otherwise each stands alone against the negatives. An entry
    that is neither positive nor negative does not exist. Gradients flow into the logits.

        competing:  -1/|P_i| sum_{p in P_i} log( exp s_ip / sum_{j in P_i or N_i} exp s_ij )
        alone:      -1/|P_i| sum_{p in P_i} log( exp s_ip / (exp s_ip + sum_{n in N_i} exp s_in) )

    Args:
      logits: `[..., N]` similarities over a temperature, any finite size. The logarithm of a weight, added to a
        negative, weighs it.
      positives: `[..., N]` bool or {0, 1}.
      negatives: `[..., N]` bool or {0, 1}; an entry that is both counts as positive.
      positives_compete: static, whether positives share one softmax.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0; 0 for an anchor without positives. Where all
      pairs should weigh alike, weigh the anchors by their number of positives.

    Raises:
      ValueError: if the masks do not broadcast to the logits or are no masks.

    Reference: Khosla et al., Supervised Contrastive Learning, 2020, equation 2 (competing); the authors' code of
      Rethinking Positive Pairs in Contrastive Learning, 2024 (alone).

    >>> logits = jnp.array([0.0, 0.0, 0.0, 9.0])
    >>> masks = jnp.array([1, 1, 0, 0]), jnp.array([0, 0, 1, 0])
    >>> [round(multi_positive_cross_entropy(logits, *masks, positives_compete=c).item(), 4) for c in (True, False)]
    [1.0986, 0.6931]
    """
    logits = as_float(logits)
    positives = full_mask(positives, logits.shape, name="positives")
    either = positives | full_mask(negatives, logits.shape, name="negatives")
    logits = jnp.where(either, logits, 0.0)
    if positives_compete:
        return masked_mean(-masked_log_softmax(logits, where=either), where=positives, axis=-1)
    negatives = either & ~positives
    against = masked_logsumexp(logits, where=negatives, axis=-1, keepdims=True)
    alone = jax.nn.softplus(against - logits)
    opposed = jnp.any(negatives, axis=-1, keepdims=True)
    return masked_mean(jnp.where(opposed, alone, 0.0), where=positives, axis=-1)


def nt_xent(
    x: jax.Array,
    y: jax.Array,
    *,
    temperature: float | jax.Array = 0.5,
    chunk: int | None = None,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Normalised, temperature-scaled cross-entropy of two views (SimCLR, InfoNCE), per example against its batch.

    Each view of an example should be most similar to its other view, among all views of the batch but itself. The loss
    of an example is the mean over its two views. Gradients flow into both views, and from every example into the
    others.

        -1/2 sum_{anchors a of i} log( exp(cos(a, a') / T) / sum_{b != a} exp(cos(a, b) / T) ),  a' the other view

    Args:
      x: `[N, D]` first views, of any length: they are normalised here.
      y: `[N, D]` second views of the same examples.
      temperature: T, a positive scalar; may be traced.
      chunk: anchors at a time; None takes all 2N. Memory is `[chunk, 2N]`, for the gradient too, which computes the
        similarities once more.
      where: `[N]` bool or {0, 1}, the examples that exist, as anchors and for others; None means all.
      axis_name: mapped axis over which the batch is split: the losses are those of the local examples, against the
        global batch.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0; 0 for an example that does not count, or that is
      alone.

    Raises:
      ValueError: if the views do not share a shape `[N, D]`, `where` does not broadcast to `[N]`, or a static
        temperature is not positive.

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020, equation 1.

    >>> x = jnp.eye(2)
    >>> [round(v, 4) for v in nt_xent(x, x, temperature=1.0).tolist()]  # 1 against twice 0
    [0.5514, 0.5514]
    """
    if np.ndim(x) != 2 or np.shape(x) != np.shape(y):
        raise InputError(f"x {np.shape(x)} and y {np.shape(y)} must have the same shape [N, D]")
    check_positive("temperature", temperature)
    rows = len(x)
    exists = jnp.tile(full_mask(where, (rows,), "rows of x"), 2)
    units, everyone, everywhere, offset = _gathered(
        jnp.concatenate([as_float(x), as_float(y)]), exists, axis_name
    )

    def against_all(unit: jax.Array, exists: jax.Array, own: jax.Array) -> jax.Array:
        is_column = lambda column: jnp.arange(len(everyone)) == (offset + column)[..., None]
        other = is_column((own + rows) % max(2 * rows, 1)) & exists[..., None]
        others = everywhere & ~is_column(own) & exists[..., None]
        return multi_positive_cross_entropy(unit @ everyone.T / temperature, other, others)

    losses = _by_anchor(against_all, chunk, units, exists, jnp.arange(2 * rows))
    return jnp.mean(losses.reshape(2, rows), axis=0)


def supcon_loss(
    features: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 0.1,
    base_temperature: float | None = None,
    self_pairs: bool = False,
    chunk: int | None = None,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Supervised contrastive loss, per row against its batch.

    Rows of one class attract each other and push all others away. A row may be any view of an example: views are rows
    of the same label. A row without a partner of its class costs 0. Gradients flow into all features.

        -(T / T_base) 1/|P_i| sum_{p in P_i} log( exp(cos(f_i, f_p) / T) / sum_j exp(cos(f_i, f_j) / T) ),
        P_i = {j: y_j = y_i},  j != i here and in the sum

    Args:
      features: `[N, D]`, of any length: they are normalised here.
      labels: `[N]` integers of any size; a negative one marks a row to ignore.
      temperature: T, a positive scalar; may be traced.
      base_temperature: T_base, 0.07 in the authors' code; None leaves the factor T / T_base out.
      self_pairs: whether a row is its own positive, and stands in its own sum.
      chunk: rows at a time, as in `nt_xent`.
      where: `[N]` bool or {0, 1}, the rows that exist, as anchors and for others; None means all.
      axis_name: mapped axis over which the batch is split: the losses are those of the local rows, against the global
        batch.

    Returns:
      `[N]` float32 (float64 for float64 input), at least 0; nats without `base_temperature`.

    Raises:
      ValueError: if the shapes do not fit, labels are not integers, or a static temperature is not positive.

    Reference: Khosla et al., Supervised Contrastive Learning, 2020, equation 2; the factor is that of their code.

    >>> features = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> [round(v, 4) for v in supcon_loss(features, jnp.array([4, 4, 7]), temperature=1.0).tolist()]
    [0.3133, 0.3133, 0.0]
    """
    if np.ndim(features) != 2 or np.shape(labels) != np.shape(features)[:1]:
        raise InputError(f"features {np.shape(features)} must be [N, D] and labels {np.shape(labels)} [N]")
    check_positive("temperature", temperature)
    check_positive("base_temperature", base_temperature)
    labels = as_integers("labels", labels, "class indices, negative for a row to ignore")
    exists = full_mask(where, labels.shape, "rows of features") & (labels >= 0)
    units, everyone, everywhere, offset = _gathered(as_float(features), exists, axis_name)
    classes = labels if axis_name is None else gather_rows(labels, axis_name)

    def against_all(unit: jax.Array, label: jax.Array, exists: jax.Array, own: jax.Array) -> jax.Array:
        pairs = everywhere & exists[..., None]
        same, other = (label[..., None] == classes) & pairs, (label[..., None] != classes) & pairs
        if not self_pairs:
            same &= jnp.arange(len(everyone)) != (offset + own)[..., None]
        return multi_positive_cross_entropy(unit @ everyone.T / temperature, same, other)

    losses = _by_anchor(against_all, chunk, units, labels, exists, jnp.arange(len(labels)))
    return losses if base_temperature is None else losses * (temperature / base_temperature)


def _gathered(
    rows: jax.Array, exists: jax.Array, axis_name: AxisName
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | int]:
    """Local rows at length 1, those of all devices, which of these exist, and where the local ones begin."""
    units = normalize(jnp.where(exists[:, None], rows, 0.0))
    if axis_name is None:
        return units, units, exists, 0
    everyone = gather_rows(units, axis_name)
    everywhere = gather_rows(exists.astype(jnp.int32), axis_name).astype(bool)
    return units, everyone, everywhere, jax.lax.axis_index(axis_name) * len(rows)


def _by_anchor(fn: Callable[..., jax.Array], chunk: int | None, *rows: jax.Array) -> jax.Array:
    """`fn` of rows, all at once or a chunk at a time; what is inside a chunk is computed anew for the gradient."""
    if chunk is None:
        return fn(*rows)
    check_least("chunk", chunk, 1)
    if chunk >= len(rows[0]):
        return fn(*rows)
    return jax.lax.map(jax.checkpoint(lambda row: fn(*row)), rows, batch_size=chunk)
