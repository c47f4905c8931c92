"""Thresholds per class that follow how well each class is learned: a state, an update, and what is read from it.

With one fixed threshold a class that is hard to learn contributes few pseudo-labels, and so stays hard. Both
curricula here lower its threshold until the model has caught up.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_sum
from jaxlab.core._reduce import AxisName
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import (
    InputError,
    as_integers,
    check_decay,
    check_fraction,
    check_probabilities,
    check_state,
    full_mask,
)
from jaxlab.semi_supervised._contracts import check_class_axis
from jaxlab.semi_supervised._pseudo_labels import pseudo_label


class CurriculumThresholds(NamedTuple):
    """What curriculum pseudo-labelling remembers: the last confident label of every unlabelled example.

    Attributes:
      last_label: int32 `[N]`, -1 while the example has never been predicted confidently.

    >>> curriculum_init(3).last_label.tolist()
    [-1, -1, -1]
    """

    last_label: jax.Array


def curriculum_init(num_examples: int) -> CurriculumThresholds:
    """Nothing learned yet: no example has a confident label.

    Args:
      num_examples: unlabelled examples N, at least 1.

    Returns:
      The state.

    Raises:
      ValueError: if there are no examples.

    >>> curriculum_init(2).last_label.dtype
    dtype('int32')
    """
    if num_examples < 1:
        raise InputError(f"num_examples is {num_examples}: it must be at least 1")
    return CurriculumThresholds(jnp.full((num_examples,), -1, jnp.int32))


def curriculum_update(
    state: CurriculumThresholds,
    probs: jax.Array,
    index: jax.Array,
    *,
    threshold: float | jax.Array = 0.95,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> CurriculumThresholds:
    """Remember the labels that a batch predicts confidently, by the full threshold whatever the class.

    An example that is drawn twice keeps its last confident label in the batch. No gradient passes.

        last_label[index_b] <- argmax_k p_bk  where  max_k p_bk >= threshold

    Args:
      state: what is remembered.
      probs: `[B, K]` probabilities of the weak view.
      index: integers `[B]`, which examples these are, in [0, N); a negative one marks a row to ignore.
      threshold: the fixed threshold, in [0, 1].
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device remembers the batches of all.

    Returns:
      The new state.

    Raises:
      ValueError: if `index` is not integers `[B]` of examples that exist, a known threshold is outside [0, 1], or
        known `probs` are no probabilities or hold NaN: nothing could be remembered of those.

    Reference: Zhang et al., FlexMatch, 2021, section 3.2.

    >>> state = curriculum_update(curriculum_init(3), jnp.array([[0.01, 0.99], [0.4, 0.6]]), jnp.array([2, 0]))
    >>> state.last_label.tolist()
    [-1, -1, 1]
    """
    check_state("state", state, CurriculumThresholds)
    check_fraction("threshold", threshold)
    check_class_axis("probs", probs)
    if np.shape(index) != np.shape(probs)[:-1] or np.ndim(index) != 1:
        raise InputError(f"index {np.shape(index)} must be [B] for probs [B, K] {np.shape(probs)}")
    rows = full_mask(where, np.shape(index), "index")
    size = len(state.last_label)
    index = as_integers("index", index, "unlabelled examples", size, where=rows, ignore="a row to ignore")
    check_no_nan("probs", probs, where=rows[:, None])
    pseudo = pseudo_label(jnp.where(rows[:, None], as_float(probs), 0.0), threshold=threshold)
    kept = pseudo.accepted & rows
    # A row that does not count points behind the end, where a scatter drops it.
    row = jnp.where(kept & (index >= 0), index, size)
    newest, seen = _last_written(row, pseudo.label, size, axis_name)
    return CurriculumThresholds(jnp.where(seen, newest, state.last_label))


def _last_written(
    row: jax.Array, value: jax.Array, size: int, axis_name: AxisName
) -> tuple[jax.Array, jax.Array]:
    """For each of `size` places the last value written to it, and whether there was one."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * len(row)
    # The order of a scatter with repeated targets is undefined; the maximum of positions is not.
    own = jnp.full((size,), -1).at[row].max(first + jnp.arange(len(row)), mode="drop")
    last = own if axis_name is None else jax.lax.pmax(own, axis_name)
    if not len(row):
        return jnp.zeros((size,), value.dtype), last >= 0
    found = jnp.where((own == last) & (own >= 0), value[jnp.clip(own - first, 0, len(row) - 1)], 0)
    return found if axis_name is None else jax.lax.psum(found, axis_name), last >= 0


def curriculum_thresholds(
    state: CurriculumThresholds,
    *,
    num_classes: int,
    threshold: float | jax.Array = 0.95,
    warm_up: bool = True,
    convex: bool = True,
) -> jax.Array:
    """One threshold per class, lower for classes with fewer confident predictions.

    The class that is predicted confidently most often keeps the full threshold. While most examples have no
    confident label at all, `warm_up` divides by their number instead, so that all thresholds rise from near 0.

        sigma_k = #{n: last_label_n = k},   beta_k = sigma_k / max(max_j sigma_j, #{n: last_label_n = -1})
        threshold_k = M(beta_k) threshold,  M(x) = x / (2 - x), or x with convex=False

    Args:
      state: what is remembered.
      num_classes: K.
      threshold: the full threshold, in [0, 1].
      warm_up: whether examples without a label count in the denominator.
      convex: whether M bends the thresholds of badly learned classes down further.

    Returns:
      `[K]` float32, in [0, threshold]; without `warm_up` 0 for all before anything is remembered.

    Raises:
      ValueError: if a static threshold is outside [0, 1], or there is no class.

    Reference: Zhang et al., FlexMatch, 2021, sections 3.2 to 3.4 (learning status, warm-up, non-linear mapping).

    >>> state = CurriculumThresholds(jnp.array([0, 0, 1, -1]))
    >>> [round(x, 4) for x in curriculum_thresholds(state, num_classes=2, threshold=0.9).tolist()]
    [0.9, 0.3]
    """
    check_state("state", state, CurriculumThresholds)
    check_fraction("threshold", threshold)
    if num_classes < 1:
        raise InputError(f"num_classes is {num_classes}: it must be at least 1")
    labels = state.last_label
    counts = jnp.sum(labels[:, None] == jnp.arange(num_classes), axis=0)
    most = jnp.maximum(jnp.max(counts), jnp.sum(labels < 0) if warm_up else 0)
    status = as_float(counts) / jnp.maximum(most, 1)
    return threshold * (status / (2.0 - status) if convex else status)


class AdaptiveThresholds(NamedTuple):
    """What self-adaptive thresholding remembers, two moving averages over batches of unlabelled examples.

    Attributes:
      confidence: scalar in [0, 1], the mean largest probability.
      class_probs: `[K]`, the mean probabilities.

    >>> adaptive_init(4).confidence.item()
    0.25
    """

    confidence: jax.Array
    class_probs: jax.Array


def adaptive_init(num_classes: int) -> AdaptiveThresholds:
    """A model that knows nothing: both averages at 1 / K.

    Args:
      num_classes: K, at least 1.

    Returns:
      The state, in the default float type.

    Raises:
      ValueError: if there is no class.

    >>> adaptive_init(2).class_probs.tolist()
    [0.5, 0.5]
    """
    if num_classes < 1:
        raise InputError(f"num_classes is {num_classes}: it must be at least 1")
    uniform = jnp.full((num_classes,), 1.0 / num_classes, jnp.result_type(float))
    return AdaptiveThresholds(uniform[0], uniform)


def adaptive_update(
    state: AdaptiveThresholds,
    probs: jax.Array,
    *,
    decay: float | jax.Array = 0.999,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> AdaptiveThresholds:
    """Move both averages towards a batch; a batch without a valid row changes nothing. No gradient passes.

        confidence <- decay confidence + (1 - decay) mean_b max_k p_bk
        class_probs <- decay class_probs + (1 - decay) mean_b p_b

    Args:
      state: the averages.
      probs: `[..., K]` probabilities of the weak view.
      decay: in [0, 1].
      where: bool or {0, 1}, broadcastable to `[...]`, the elements that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device moves by the global means.

    Returns:
      The new state.

    Raises:
      ValueError: if the classes are not those of the state, a known decay is outside [0, 1], or known `probs` are
        no probabilities.

    Reference: Wang et al., FreeMatch, 2023, self-adaptive thresholding.

    >>> state = adaptive_update(adaptive_init(2), jnp.array([[1.0, 0.0]]), decay=0.5)
    >>> state.confidence.item(), state.class_probs.tolist()
    (0.75, [0.75, 0.25])
    """
    check_state("state", state, AdaptiveThresholds)
    check_decay(decay)
    classes = state.class_probs.shape[0]
    if not np.ndim(probs) or np.shape(probs)[-1] != classes:
        raise InputError(
            f"probs {np.shape(probs)} must have shape [..., K] with the state's {classes} classes"
        )
    probs = jax.lax.stop_gradient(as_float(probs))
    mask = full_mask(where, probs.shape[:-1], "elements [...]")
    check_probabilities("probs", probs, where=mask[..., None])
    any_valid = masked_sum(mask, axis_name=axis_name)
    keep = jnp.where(any_valid > 0, decay, 1.0)
    confidence = masked_mean(jnp.max(probs, axis=-1), where=mask, axis_name=axis_name)
    lead = tuple(range(probs.ndim - 1))
    means = masked_mean(probs, where=mask[..., None], axis=lead, axis_name=axis_name)
    move = lambda old, new: (keep * old + (1 - keep) * new).astype(old.dtype)
    return AdaptiveThresholds(move(state.confidence, confidence), move(state.class_probs, means))


def adaptive_thresholds(state: AdaptiveThresholds) -> jax.Array:
    """One threshold per class: the mean confidence, scaled down for classes that are predicted seldom.

        threshold_k = confidence * class_probs_k / max_j class_probs_j

    Args:
      state: the averages.

    Returns:
      `[K]`, in [0, confidence].

    Reference: Wang et al., FreeMatch, 2023, self-adaptive thresholding.

    >>> state = AdaptiveThresholds(jnp.array(0.8), jnp.array([0.5, 0.25, 0.25]))
    >>> [round(x, 4) for x in adaptive_thresholds(state).tolist()]
    [0.8, 0.4, 0.4]
    """
    check_state("state", state, AdaptiveThresholds)
    most = jnp.max(state.class_probs)
    return state.confidence * state.class_probs / jnp.where(most == 0, 1.0, most)
