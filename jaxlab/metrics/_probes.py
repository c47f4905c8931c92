"""What frozen features hold: simple predictors that are trained on them from beginning to end, inside one program."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import MASKED_LOGIT, as_float, cross_entropy, masked_mean, masked_std
from jaxlab.core.check import IGNORED, InputError, as_integers, check_positive, full_mask


def standardize(features: jax.Array, reference: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Features with the mean and spread of a reference set taken out.

    A feature that is constant over the reference, up to rounding, keeps its scale: it is only centred. Gradients flow
    into both.

        (x - mean_i r_i) / std_i r_i,   std with N - 1 in the denominator

    Args:
      features: `[M, F]`.
      reference: `[N, F]`, usually the training set's.
      where: `[N]` bool or {0, 1}, the rows of the reference that count; None means all.

    Returns:
      `[M, F]` float32 (float64 for float64 input).

    Raises:
      ValueError: if the two do not have rank 2 and the same width, or `where` does not broadcast to `[N]`.

    Reference: Sarnthein et al., Random Teachers are Good Teachers, 2023, the authors' probing code: a spread below
      ten times the float's precision counts as 1. Here the precision is relative to the feature's size where that is
      above 1.

    >>> import jax.numpy as jnp
    >>> reference = jnp.array([[0.0, 7.0], [2.0, 7.0]])
    >>> standardize(jnp.array([[1.0, 7.5]]), reference).tolist()
    [[0.0, 0.5]]
    """
    _check_features(features, reference)
    features, reference = as_float(features), as_float(reference)
    mean, scale = _moments(reference, full_mask(where, reference.shape[:1], "rows of reference"))
    return (features - mean) / scale


def _moments(reference: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and spread of every feature, the spread 1 where it is nothing but rounding."""
    rows = rows[:, None]
    mean = masked_mean(reference, where=rows, axis=0)
    frozen = jax.lax.stop_gradient(jnp.where(rows, reference, 0.0))
    largest = jnp.max(jnp.abs(frozen), axis=0, initial=1.0)
    limit = 10 * jnp.finfo(reference.dtype).eps * largest
    constant = masked_std(frozen, where=rows, axis=0, ddof=1) < limit
    spread = masked_std(jnp.where(constant, 0.0, reference), where=rows, axis=0, ddof=1)
    return mean, jnp.where(constant, 1.0, spread)


def linear_probe(
    train_features: jax.Array,
    train_labels: jax.Array,
    features: jax.Array,
    *,
    num_classes: int,
    steps: int = 100,
    learning_rate: float | jax.Array = 0.1,
    weight_decay: float | jax.Array = 1e-4,
    where: jax.Array | None = None,
) -> jax.Array:
    """Class logits of a linear classifier that is trained on frozen features, from its beginning to its end.

    Features are standardised by the training set's. The classifier starts at 0 and takes AdamW steps on the whole set
    at a time, the rate falling to 0 by a cosine: no random number, and all of it inside one compiled program. No
    gradient flows into the features.

    Args:
      train_features: `[N, F]`.
      train_labels: `[N]` integers in [0, C); a negative one marks a row to ignore.
      features: `[M, F]` to be classified.
      num_classes: C.
      steps: of AdamW; static.
      learning_rate: the first rate; may be traced.
      weight_decay: pulls the weights (not the biases) to 0; may be traced.
      where: `[N]` bool or {0, 1}, the training rows that count; None means all.

    Returns:
      `[M, C]` logits, float32 (float64 for float64 input); 0 if no row counts.

    Raises:
      ValueError: shapes that do not belong together, labels that are not integers, no class or no step.

    Reference: Sarnthein et al., Random Teachers are Good Teachers, 2023, the authors' probing code: batches, AdamW's
      own rate of 1e-3 and ten epochs, where here the whole set is one batch and the rate is higher.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    >>> linear_probe(x, jnp.array([0, 0, 1, 1]), x, num_classes=2).argmax(-1).tolist()
    [0, 0, 1, 1]
    """
    train_labels = _check_probe(train_features, train_labels, features, num_classes, where)
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    counts = _labelled(train_labels, num_classes, where)
    train_features, features = (jax.lax.stop_gradient(as_float(x)) for x in (train_features, features))
    mean, scale = _moments(train_features, counts)
    inputs = jnp.where(counts[:, None], (train_features - mean) / scale, 0.0)
    labels = jnp.where(counts, train_labels, 0)
    shape = (inputs.shape[1], num_classes)
    params = {"w": jnp.zeros(shape, inputs.dtype), "b": jnp.zeros(num_classes, inputs.dtype)}
    schedule = optax.cosine_decay_schedule(1.0, steps)
    decay = optax.add_decayed_weights(weight_decay, {"w": True, "b": False})
    adam = optax.chain(optax.scale_by_adam(), decay, optax.scale_by_schedule(schedule))

    def loss(params: Any) -> jax.Array:
        return masked_mean(cross_entropy(inputs @ params["w"] + params["b"], labels), where=counts)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        updates, state = adam.update(jax.grad(loss)(params), state, params)
        return (
            jax.tree.map(lambda p, u: (p - learning_rate * u).astype(p.dtype), params, updates),
            state,
        ), None

    (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), None, length=steps)
    return (features - mean) / scale @ params["w"] + params["b"]


def knn_probe(
    train_features: jax.Array,
    train_labels: jax.Array,
    features: jax.Array,
    *,
    num_classes: int,
    neighbors: int = 20,
    where: jax.Array | None = None,
) -> jax.Array:
    """Votes for each class among the nearest training examples, in features standardised by the training set.

    Distances are Euclidean; of equally distant ones the earlier rows vote. No gradient flows into the features.

    Args:
      train_features: `[N, F]`.
      train_labels: `[N]` integers in [0, C); a negative one marks a row to ignore.
      features: `[M, F]` to be classified.
      num_classes: C.
      neighbors: how many vote, all of them if there are fewer; static.
      where: `[N]` bool or {0, 1}, the training rows that count; None means all.

    Returns:
      `[M, C]` number of votes, float32 (float64 for float64 input); argmax gives ties to the lower class. NaN where a
      distance is.

    Raises:
      ValueError: shapes that do not belong together, labels that are not integers, no class or no neighbour.

    Reference: Sarnthein et al., Random Teachers are Good Teachers, 2023, the authors' probing code (20 neighbours).

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0], [1.0], [5.0]]), jnp.array([0, 0, 1])
    >>> knn_probe(x, y, jnp.array([[0.4]]), num_classes=2, neighbors=2).tolist()
    [[2.0, 0.0]]
    """
    train_labels = _check_probe(train_features, train_labels, features, num_classes, where)
    if neighbors < 1:
        raise InputError(f"neighbors must be at least 1, got {neighbors}")
    counts = _labelled(train_labels, num_classes, where)
    train_features, features = (jax.lax.stop_gradient(as_float(x)) for x in (train_features, features))
    mean, scale = _moments(train_features, counts)
    ours, theirs = jnp.where(counts[:, None], (train_features - mean) / scale, 0.0), (features - mean) / scale
    closeness = theirs @ ours.T - 0.5 * jnp.sum(ours**2, axis=-1)
    closeness = jnp.where(counts, closeness, MASKED_LOGIT)
    _, nearest = jax.lax.top_k(closeness, min(neighbors, len(train_features)))
    own = (train_labels[:, None] == jnp.arange(num_classes)) & counts[:, None]
    votes = own.astype(theirs.dtype)[nearest].sum(axis=-2)
    return jnp.where(jnp.any(jnp.isnan(closeness), axis=-1, keepdims=True), jnp.nan, votes)


def ridge_probe(
    train_features: jax.Array,
    targets: jax.Array,
    features: jax.Array,
    *,
    penalty: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """Predictions of a ridge regression on frozen features, in closed form.

    Features are standardised by the training set's; the intercept is not penalised. No gradient flows into the
    features.

        argmin_{W, b} sum_i |x_i W + b - y_i|^2 + penalty |W|^2

    Args:
      train_features: `[N, F]`.
      targets: `[N]` or `[N, K]` numbers.
      features: `[M, F]` to predict for.
      penalty: above 0; may be traced.
      where: `[N]` bool or {0, 1}, the training rows that count; None means all.

    Returns:
      `[M]` or `[M, K]`, float32 (float64 for float64 input); 0 if no row counts.

    Raises:
      ValueError: shapes that do not belong together, or a static penalty that is not positive.

    Reference: Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems, 1970.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [1.0], [2.0]])
    >>> ridge_probe(x, jnp.array([1.0, 3.0, 5.0]), jnp.array([[4.0]]), penalty=1e-6).round(3).tolist()
    [9.0]
    """
    _check_features(features, train_features)
    check_positive("penalty", penalty)
    rows, given = np.shape(train_features)[0], np.shape(targets)
    if given[:1] != (rows,) or len(given) > 2:
        raise InputError(f"targets {given} must be [N] or [N, K] for train_features of {rows} rows")
    counts = full_mask(where, (rows,), "rows of train_features")
    train_features, features = (jax.lax.stop_gradient(as_float(x)) for x in (train_features, features))
    targets = as_float(targets).reshape(rows, math.prod(given[1:])).astype(train_features.dtype)
    mean, scale = _moments(train_features, counts)
    inputs = jnp.where(counts[:, None], (train_features - mean) / scale, 0.0)
    middle = masked_mean(targets, where=counts[:, None], axis=0)
    goals = jnp.where(counts[:, None], targets - middle, 0.0)
    gram = inputs.T @ inputs + penalty * jnp.eye(inputs.shape[1], dtype=inputs.dtype)
    weights = jax.scipy.linalg.solve(gram, inputs.T @ goals, assume_a="pos")
    return ((features - mean) / scale @ weights + middle).reshape(len(features), *given[1:])


def _labelled(labels: jax.Array, num_classes: int, where: jax.Array | None) -> jax.Array:
    rows = full_mask(where, labels.shape, "rows of train_features")
    return rows & (labels >= 0) & (labels < num_classes)


def _check_features(features: jax.Array, reference: jax.Array) -> None:
    ours, theirs = np.shape(features), np.shape(reference)
    if len(ours) != 2 or len(theirs) != 2 or ours[1] != theirs[1]:
        raise InputError(f"features {ours} and those of the training set {theirs} must be [M, F] and [N, F]")


def _check_probe(
    train_features: jax.Array,
    labels: jax.Array,
    features: jax.Array,
    num_classes: int,
    where: jax.Array | None,
) -> jax.Array:
    _check_features(features, train_features)
    if num_classes < 1:
        raise InputError(f"num_classes must be at least 1, got {num_classes}")
    if np.shape(labels) != np.shape(train_features)[:1]:
        raise InputError(
            f"train_labels {np.shape(labels)} must be [N] of train_features {np.shape(train_features)}"
        )
    return as_integers("train_labels", labels, "class indices", num_classes, where=where, ignore=IGNORED)
