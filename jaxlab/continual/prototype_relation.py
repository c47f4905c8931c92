"""Prototype-sample relation distillation (PRD): old prototypes follow the drifting features without stored data.

The encoder learns by `core.supcon_loss(projections, labels, temperature=0.1, base_temperature=0.07)`, each class has a
prototype that is pulled to its own samples, and what the old network and its prototypes say of the new samples is kept.
Prediction: the largest of `core.prototype_logits(features, prototypes, classes=those of the task, or seen)`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cosine_similarity, forward_kl, normalize
from jaxlab.core.check import InputError, as_integers, check_choice, check_positive, full_mask


def prototype_pull_loss(
    features: jax.Array, prototypes: jax.Array, labels: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Pull the prototype of each sample's class to the sample, per example.

    Gradients stop at the features: the prototypes alone are trained, and no class pushes another.

        1 - cos(f_i, w_{y_i})

    Args:
      features: `[N, D]`, of any length.
      prototypes: `[C, D]`.
      labels: `[N]` integers in [0, C), or negative for an example to ignore.
      where: `[N]` bool or {0, 1}, the examples that exist; None means all.

    Returns:
      `[N]` float32 (float64 for float64 input) in [0, 2]; 0 for an example that does not count.

    Raises:
      ValueError: if the shapes do not fit, or a known label is C or above.

    Reference: Asadi et al., Prototype-Sample Relation Distillation: Towards Replay-Free Continual Learning, 2023.

    >>> prototype_pull_loss(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0], [3.0, 0.0]]), jnp.array([1])).tolist()
    [0.0]
    """
    f, p = np.shape(features), np.shape(prototypes)
    if len(f) != 2 or len(p) != 2 or f[1] != p[1] or np.shape(labels) != f[:1]:
        raise InputError(
            f"features {f} must be [N, D], prototypes {p} [C, D] and labels {np.shape(labels)} [N]"
        )
    labels = as_integers(
        "labels", labels, "class indices in [0, C)", p[0], where=where, ignore="an example to ignore"
    )
    exists = full_mask(where, f[:1], "rows of features") & (labels >= 0) & (labels < p[0])
    if not p[0]:
        return jnp.zeros(f[:1], as_float(features).dtype)
    features = jax.lax.stop_gradient(jnp.where(exists[:, None], as_float(features), 0.0))
    own = as_float(prototypes)[jnp.where(exists, labels, 0)]
    own = jnp.where(exists[:, None], own, 0.0)
    return jnp.where(exists, 1.0 - cosine_similarity(features, own), 0.0)


def relation_distillation_loss(
    features: jax.Array,
    prototypes: jax.Array,
    old_features: jax.Array,
    old_prototypes: jax.Array,
    *,
    axis: str = "class",
    temperature: float | jax.Array = 1.0,
    normalize_features: bool = False,
    classes: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Keep the relations of old prototypes to new samples, batch-level: one number.

    Relations are dot products of features with prototypes of unit length. Along the class axis, as in the authors'
    code, every sample has a distribution over the classes of each old task; along the sample axis, as in the paper,
    every old prototype has one over the batch (there of cosines: `normalize_features`). Gradients flow into the
    features and the prototypes, and stop at the old ones.

        class:   1/N sum_i sum_s KL( softmax_c(a'_sic / T) || softmax_c(a_sic / T) ),   a_sic = f_i . w_sc / |w_sc|
        sample:  sum_sc KL( softmax_i(a'_sic / T) || softmax_i(a_sic / T) )

    Args:
      features: `[N, D]` of the current encoder.
      prototypes: `[S, C, D]` of S tasks with at most C classes each.
      old_features: `[N, E]` of the encoder at the end of the task before, of the same samples.
      old_prototypes: `[S, C, E]`, the prototypes of then.
      axis: static, "class" or "sample".
      temperature: T, a positive scalar; may be traced.
      normalize_features: static, whether relations are cosines. Without, long features make sharp distributions.
      classes: bool or {0, 1}, broadcastable to `[S, C]`: the classes that exist, of the tasks before the current one;
        None means all.
      where: `[N]` bool or {0, 1}, the samples that exist; None means all.

    Returns:
      float32 scalar (float64 for float64 input), at least 0; 0 without old classes or samples. It grows with both.

    Raises:
      ValueError: if the shapes do not fit, the axis is another, or a static temperature is not positive.

    Reference: Asadi et al., Prototype-Sample Relation Distillation, 2023, and the authors' code.

    >>> old = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    >>> moved = relation_distillation_loss(jnp.array([[0.0, 0.0]]), old, jnp.array([[jnp.log(3.0), 0.0]]), old)
    >>> round(moved.item(), 4)  # (3/4, 1/4) against (1/2, 1/2)
    0.1308
    """
    check_choice("axis", axis, ("class", "sample"))
    check_positive("temperature", temperature)
    _check_relation(features, prototypes, old_features, old_prototypes)
    exists = full_mask(where, np.shape(features)[:1], "rows of features")
    classes = full_mask(classes, np.shape(prototypes)[:2], "old classes of prototypes", name="classes")

    def relation(features: jax.Array, prototypes: jax.Array) -> jax.Array:
        features = jnp.where(exists[:, None], as_float(features), 0.0)
        prototypes = normalize(jnp.where(classes[..., None], as_float(prototypes), 0.0))
        features = normalize(features) if normalize_features else features
        return jnp.einsum("nd,scd->snc", features, prototypes)

    now = relation(features, prototypes)
    then = jax.lax.stop_gradient(relation(old_features, old_prototypes))
    valid = classes[:, None, :] & exists[None, :, None]
    if axis == "sample":
        now, then, valid = (jnp.swapaxes(x, 1, 2) for x in (now, then, valid))
        return jnp.sum(forward_kl(now, then, temperature=temperature, classes=valid))
    total = jnp.sum(forward_kl(now, then, temperature=temperature, classes=valid))
    return total / jnp.maximum(jnp.sum(exists), 1)


def _check_relation(features, prototypes, old_features, old_prototypes) -> None:
    f, p = np.shape(features), np.shape(prototypes)
    old_f, old_p = np.shape(old_features), np.shape(old_prototypes)
    for name, (feature, prototype) in {"": (f, p), "old_": (old_f, old_p)}.items():
        if len(feature) != 2 or len(prototype) != 3 or feature[1] != prototype[2]:
            raise InputError(
                f"{name}features {feature} must be [N, D] and {name}prototypes {prototype} [S, C, D]"
            )
    if f[0] != old_f[0] or p[:2] != old_p[:2]:
        raise InputError(
            f"old_features {old_f} and old_prototypes {old_p} must be of the samples of features {f} and the classes"
            f" of prototypes {p}"
        )
