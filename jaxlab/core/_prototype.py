"""Class prototypes and queues of features: a mean vector per class, its slow average, and a ring buffer."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._reduce import AxisName, as_float, as_mask
from jaxlab.core._softmax import MASKED_LOGIT
from jaxlab.core.check import (
    IGNORED,
    InputError,
    as_integers,
    check_decay,
    check_positive,
    check_state,
    class_mask,
)

Projection = jax.Array | Callable[[jax.Array], jax.Array]


class PrototypeBank(NamedTuple):
    """A remembered prototype per class.

    Attributes:
      mean: `[C, D]` prototypes, zero for a class never seen.
      mass: `[C]` total weight of the examples seen of each class; 0 marks a class never seen.

    >>> bank_init(3, 2).mean.shape
    (3, 2)
    """

    mean: jax.Array
    mass: jax.Array


def normalize(x: jax.Array, *, axis: int = -1, eps: float = 1e-12) -> jax.Array:
    """Scale vectors to length 1.

    A vector no longer than `eps` has no direction: it becomes 0 with gradient 0 (dividing it by `eps` instead
    would give a finite gradient of 1e12).

        x / |x|

    Args:
      x: array of any shape.
      axis: axis of the vectors.
      eps: length up to which a vector counts as zero; at least the smallest normal number of the type of
        `x` (6e-5 in float16, whose range the gradient 1 / |x| would leave).

    Returns:
      float32 (float64 for float64 input) of the shape of `x`.

    >>> [round(v, 4) for v in normalize(jnp.array([3.0, 4.0])).tolist()]
    [0.6, 0.8]
    """
    given, x = jnp.asarray(x).dtype, as_float(x)
    if jnp.issubdtype(given, jnp.floating):
        eps = jnp.maximum(eps, float(jnp.finfo(given).tiny))
    squares = jnp.sum(jnp.square(x), axis, keepdims=True)
    short = squares <= eps**2
    return jnp.where(short, 0.0, x * jax.lax.rsqrt(jnp.where(short, 1.0, squares)))


def class_means(
    features: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> tuple[jax.Array, jax.Array]:
    """Mean feature of each class over a batch, weighted by confidence.

    Gradients flow into features and weights; stop them to use the means as targets. A negative label, such as -1,
    marks an example to ignore.

        mean_c = sum_{i: y_i = c} w_i f_i / mass_c,  mass_c = sum_{i: y_i = c} w_i

    Args:
      features: `[N, D]`.
      labels: `[N]` integers in [0, C), or negative.
      num_classes: static integer C.
      weights: `[N]`, at least 0, e.g. confidences; None means 1 each.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global means and masses.

    Returns:
      `(means [C, D], mass [C])` in float32; a class without mass has mean 0 and mass 0.

    Raises:
      ValueError: if the shapes do not fit, or `labels` is not of an integer type or names a class of C or above.

    Reference: Snell, Swersky and Zemel, Prototypical Networks for Few-shot Learning, 2017, equation 1, there
      unweighted.

    >>> means, mass = class_means(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([0, 0, -1]), num_classes=2)
    >>> means[:, 0].tolist(), mass.tolist()
    ([2.0, 0.0], [2.0, 0.0])
    """
    features = as_float(features)
    labels = as_integers("labels", labels, "class indices", num_classes, where=where, ignore=IGNORED)
    _check_rows(features, labels, weights)
    valid = as_mask(where, labels.shape) & (labels >= 0) & (labels < num_classes)
    weights = jnp.where(valid, 1.0 if weights is None else as_float(weights), 0.0).astype(features.dtype)
    rows = jnp.where(valid, labels, num_classes)
    # Scattered sums, not a one-hot product: a NaN feature stays in its own class, that of an ignored row (sent
    # out of range) in none.
    sums = jax.ops.segment_sum(features * weights[:, None], rows, num_segments=num_classes)
    mass = jax.ops.segment_sum(weights, rows, num_segments=num_classes)
    if axis_name is not None:
        sums, mass = jax.lax.psum((sums, mass), axis_name)
    empty = mass == 0
    means = jnp.where(empty[:, None], 0.0, sums / jnp.where(empty, 1.0, mass)[:, None])
    return means, mass


def _check_rows(features: jax.Array, labels: jax.Array, weights: jax.Array | None) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise InputError(f"features {features.shape} must be [N, D] and labels {labels.shape} [N]")
    if weights is not None and np.shape(weights) != labels.shape:
        raise InputError(f"weights {np.shape(weights)} must have the shape of labels {labels.shape}")


def bank_init(num_classes: int, dim: int, *, dtype: jnp.dtype = jnp.float32) -> PrototypeBank:
    """An empty bank: zero prototypes, no class seen.

    Args:
      num_classes: static integer C.
      dim: static integer D.
      dtype: float32 or wider; a narrower average would round back to where it was.

    Returns:
      The bank.

    >>> bank_init(2, 3).mass.tolist()
    [0.0, 0.0]
    """
    dtype = jnp.promote_types(dtype, jnp.float32)
    return PrototypeBank(jnp.zeros((num_classes, dim), dtype), jnp.zeros((num_classes,), dtype))


def bank_update(bank: PrototypeBank, means: jax.Array, mass: jax.Array, *, decay: float) -> PrototypeBank:
    """Move the prototypes of the classes in a batch towards their batch means.

    A class seen for the first time takes the batch mean outright; a class that is not in the batch keeps its
    prototype. The bank is a memory: no gradient passes into it or through it.

        mean_c <- decay mean_c + (1 - decay) batch_mean_c,  mass_c <- mass_c + batch_mass_c

    Args:
      bank: the prototypes so far.
      means: `[C, D]` batch means, as from `class_means` (with its `axis_name` where there are devices).
      mass: `[C]` batch masses, 0 for a class not in the batch.
      decay: number in [0, 1].

    Returns:
      The new bank.

    Raises:
      ValueError: if the shapes differ from the bank's or a static decay is outside [0, 1].

    Reference: Zhang et al., Prototypical Pseudo Label Denoising and Target Structure Learning, 2021 (its moving
      average of prototypes), with the first sight of a class set apart.

    >>> bank = bank_update(bank_init(2, 1), jnp.array([[4.0], [0.0]]), jnp.array([1.0, 0.0]), decay=0.5)
    >>> bank_update(bank, jnp.array([[8.0], [2.0]]), jnp.array([1.0, 1.0]), decay=0.5).mean[:, 0].tolist()
    [6.0, 2.0]
    """
    check_state("bank", bank, PrototypeBank)
    means, mass = jnp.asarray(means), jnp.asarray(mass)
    if means.shape != bank.mean.shape or mass.shape != bank.mass.shape:
        raise InputError(
            f"means {means.shape} and mass {mass.shape} must have the bank's shapes"
            f" {bank.mean.shape} and {bank.mass.shape}"
        )
    check_decay(decay)
    means, mass = means.astype(bank.mean.dtype), mass.astype(bank.mass.dtype)
    keep = jnp.where(bank.mass > 0, jnp.asarray(decay, bank.mean.dtype), 0.0)[:, None]
    moved = keep * bank.mean + (1 - keep) * means
    mean = jnp.where((mass == 0)[:, None], bank.mean, moved)
    return jax.lax.stop_gradient(PrototypeBank(mean, bank.mass + mass))


def prototype_logits(
    features: jax.Array, prototypes: jax.Array, *, temperature: float = 0.1, classes: jax.Array | None = None
) -> jax.Array:
    """Cosine of each feature to each prototype, as logits.

    Gradients flow into both. A masked class gets `MASKED_LOGIT`: probability 0, yet finite even if all are
    masked.

        z_c = cos(f, m_c) / temperature

    Args:
      features: `[..., D]`.
      prototypes: `[C, D]`.
      temperature: positive scalar.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist, e.g. `bank.mass > 0`; None
        means all.

    Returns:
      `[..., C]` float32 in [-1 / temperature, 1 / temperature].

    Raises:
      ValueError: if the shapes do not fit or a static temperature is not positive.

    Reference: Zhou et al., Rethinking Semantic Segmentation: A Prototype View, 2022, with its temperature.

    >>> prototype_logits(jnp.array([0.0, 2.0]), jnp.array([[3.0, 0.0], [0.0, 1.0]]), temperature=0.5).tolist()
    [0.0, 2.0]
    """
    f, p = np.shape(features), np.shape(prototypes)
    if not f or len(p) != 2 or f[-1] != p[1]:
        raise InputError(f"features {f} must be [..., D] and prototypes {p} [C, D]")
    check_positive("temperature", temperature)
    shape = (*f[:-1], p[0])
    mask = class_mask(classes, shape, "result")
    # A row or class that is masked throughout must not reach the product, where 0 * NaN would spread.
    features = jnp.where(jnp.any(mask, -1, keepdims=True), jnp.asarray(features), 0.0)
    seen = jnp.any(mask, tuple(range(len(f) - 1)))[:, None]
    prototypes = jnp.where(seen, jnp.asarray(prototypes), 0.0)
    cosine = jnp.einsum("...d,cd->...c", normalize(features), normalize(prototypes))
    return jnp.where(mask, cosine / temperature, MASKED_LOGIT)


def exchange(
    prototypes_a: jax.Array,
    prototypes_b: jax.Array,
    projection_a_to_b: Projection,
    projection_b_to_a: Projection,
) -> tuple[jax.Array, jax.Array]:
    """Prototypes of two branches, each carried into the feature space of the other.

    Each branch can then be pulled to its own prototypes and to those of the other. Gradients flow into
    prototypes and projections; stop the prototypes to train the projections alone. With a matrix an unseen
    class keeps its zero prototype; after a function with a bias it does not, so mask unseen classes by their
    mass.

        a_in_b = prototypes_a W_ab,  b_in_a = prototypes_b W_ba

    Args:
      prototypes_a: `[C, D_a]`.
      prototypes_b: `[C, D_b]`.
      projection_a_to_b: `[D_a, D_b]` matrix, or a function `[C, D_a] -> [C, D_b]`.
      projection_b_to_a: `[D_b, D_a]` matrix, or a function `[C, D_b] -> [C, D_a]`.

    Returns:
      `(a_in_b [C, D_b], b_in_a [C, D_a])` in float32.

    Raises:
      ValueError: if a result does not have the shape of the other branch's prototypes.

    Reference: Cho et al., Finding Meaning in Points: Weakly Supervised Semantic Segmentation for Event Cameras, 2024
      (prototype exchange).

    >>> a_in_b, b_in_a = exchange(jnp.ones((2, 1)), jnp.ones((2, 1)), jnp.full((1, 1), 3.0), lambda b: -b)
    >>> a_in_b[0, 0].item(), b_in_a[0, 0].item()
    (3.0, -1.0)
    """
    a, b = as_float(prototypes_a), as_float(prototypes_b)
    a_in_b, b_in_a = _project(a, projection_a_to_b), _project(b, projection_b_to_a)
    if a_in_b.shape != b.shape or b_in_a.shape != a.shape:
        raise InputError(
            f"projected prototypes {a_in_b.shape} and {b_in_a.shape} must have the shapes of"
            f" prototypes_b {b.shape} and prototypes_a {a.shape}"
        )
    return a_in_b, b_in_a


def _project(prototypes: jax.Array, projection: Projection) -> jax.Array:
    if callable(projection):
        return as_float(projection(prototypes))
    matrix = as_float(projection)
    if matrix.ndim != 2 or prototypes.ndim != 2 or prototypes.shape[1] != matrix.shape[0]:
        raise InputError(f"prototypes {prototypes.shape} must be [C, D], projection {matrix.shape} [D, E]")
    return prototypes @ matrix
