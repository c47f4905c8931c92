"""Rankings by repeated choice: ListMLE, its weighted form, and Plackett-Luce distillation (PLD).

Plackett-Luce reads logits as worths: the first place goes to class c with probability softmax(s)_c, the
second is chosen alike among those left, and so on. A ranking lists class indices, best first.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_softmax
from jaxlab.core._values import check_no_nan, check_values
from jaxlab.core.check import (
    InputError,
    as_integers,
    as_labels,
    check_positive,
    check_same_logits,
    class_mask,
    fitted,
)
from jaxlab.distillation._contracts import labelled_classes


def pld_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Plackett-Luce distillation, per example: the student ranks as the teacher does, label first.

    Each place weighs as much as the teacher believes in the class that holds it. The first place is the
    cross-entropy of the label, so no such term is added; a teacher that doubts the label takes weight from it
    (report the mean of `pld_first_weight`). Convex in the student's logits. Gradients stop at the teacher's
    logits.

        pi = label, then the other classes by falling teacher logit
        alpha_k = softmax(t / T)[pi_k]
        L = sum_k alpha_k * (logsumexp_{l >= k} s[pi_l] - s[pi_k])

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      temperature: T, a positive scalar that softens the weights only. The student is not divided by it, and
        there is no factor T^2. The paper takes 1 on ImageNet, 4 on CIFAR-100.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0; 0 where no class is valid.

    Raises:
      ValueError: if shapes do not agree, labels are not integers, or a static temperature is not positive.

    Reference: Bassam et al., PLD: A Choice-Theoretic List-Wise Knowledge Distillation, NeurIPS 2025, section 4.2 and
      the listing of appendix C, which also takes the mean over the batch.

    >>> student, teacher = jnp.array([[0.0, 0.0, 0.0]]), jnp.log(jnp.array([[0.5, 0.3, 0.2]]))
    >>> round(pld_loss(student, teacher, jnp.array([1])).item(), 4)  # 0.3 log 3 + 0.5 log 2 + 0.2 log 1
    0.6762
    """
    check_same_logits(student_logits, teacher_logits)
    labels = as_labels(student_logits, labels)
    valid = labelled_classes(classes, student_logits, labels)
    teacher_logits = as_float(jax.lax.stop_gradient(teacher_logits))
    ranking = _label_first(teacher_logits, labels, valid)
    weights = _teacher_probabilities(teacher_logits, temperature, valid)
    weights = jnp.take_along_axis(weights, ranking, axis=-1)
    return plackett_luce_nll(student_logits, ranking, weights, classes=valid)


def pld_first_weight(
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """The weight that `pld_loss` gives the label's own place, per example: report its mean.

    Near 1 the loss is plain cross-entropy and the teacher's ranking is unused; near 0 a sure but wrong
    teacher has all but removed the label. No gradient flows through it.

        alpha_1 = softmax(t / T)[label]

    Args:
      teacher_logits: `[..., C]`, any finite size.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      temperature: T, a positive scalar.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` probabilities, float32 (float64 for float64 logits).

    Raises:
      ValueError: if shapes do not agree, labels are not integers, or a static temperature is not positive.

    Reference: Bassam et al., PLD: A Choice-Theoretic List-Wise Knowledge Distillation, NeurIPS 2025, section 4.2
      (alpha_1).

    >>> round(pld_first_weight(jnp.log(jnp.array([[0.5, 0.3, 0.2]])), jnp.array([1])).item(), 4)
    0.3
    """
    labels = as_labels(teacher_logits, labels)
    valid = labelled_classes(classes, teacher_logits, labels)
    weights = _teacher_probabilities(jax.lax.stop_gradient(teacher_logits), temperature, valid)
    return jnp.where(_is_label(teacher_logits, labels), weights, 0.0).sum(-1)


def teacher_optimal_ranking(
    teacher_logits: jax.Array, labels: jax.Array, *, classes: jax.Array | None = None
) -> jax.Array:
    """The ranking that a student should learn: the label, then the other classes by falling teacher logit.

    Equal logits keep the order of their indices. Integers carry no gradient.

    Args:
      teacher_logits: `[..., C]`, any finite size.
      labels: `[...]` integers in [0, C); a negative one leaves the order to the teacher alone.
      classes: bool or {0, 1}, broadcastable to `[..., C]`, the classes that exist; the others come last. None
        means all.

    Returns:
      `[..., C]` int32 class indices, best first.

    Raises:
      ValueError: if shapes do not agree, labels are not integers or no classes, or a logit that counts is NaN.

    Reference: Bassam et al., PLD: A Choice-Theoretic List-Wise Knowledge Distillation, NeurIPS 2025, section 4.1. The
      listing of appendix C holds the reverse order, worst first, and leaves ties to the sort.

    >>> teacher_optimal_ranking(jnp.array([[0.1, 3.0, 2.0, 2.0]]), jnp.array([0])).tolist()
    [[0, 1, 2, 3]]
    """
    labels = as_labels(teacher_logits, labels)
    teacher_logits = as_float(jax.lax.stop_gradient(teacher_logits))
    exists = class_mask(classes, teacher_logits.shape)
    check_no_nan("teacher_logits", teacher_logits, where=exists & ~_is_label(teacher_logits, labels))
    return _label_first(teacher_logits, labels, exists)


def _label_first(teacher_logits: jax.Array, labels: jax.Array, exists: jax.Array) -> jax.Array:
    worth = jnp.where(_is_label(teacher_logits, labels), jnp.inf, teacher_logits)
    worth = jnp.where(exists, worth, -jnp.inf)
    return _count_order(worth) if worth.shape[-1] <= 64 else _sort_order(worth)


def listmle_loss(
    student_logits: jax.Array,
    ranking: jax.Array,
    *,
    weights: jax.Array | None = None,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Negative log-likelihood of a whole ranking, per example.

    Without weights every place counts 1 and the value is the exact log-likelihood, which grows with the
    number of places. The uniform case of the PLD paper weighs every place 1 / C: divide by C to compare with
    it. Falling weights give position-aware ListMLE. Gradients flow into the logits (and weights).

        L = sum_k w_k * (logsumexp_{l >= k} s[pi_l] - s[pi_k])

    Args:
      student_logits: `[..., C]`, any finite size.
      ranking: `[..., C]` integers, a permutation of the classes, best first.
      weights: broadcastable to `[..., C]`, at least 0, in order of place; None means 1.
      classes: bool or {0, 1}, `[C]` or `[..., C]` in order of class, the classes that exist (lists of
        unequal length); None means all.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits); 0 where no class is valid.

    Raises:
      ValueError: if shapes do not agree, or the ranking is no permutation.

    Reference: Xia et al., Listwise Approach to Learning to Rank, ICML 2008, section 4.3. allRank's listMLE adds 1e-10
      inside the logarithm; here the log-sum-exp is exact. Lan et al., Position-Aware ListMLE, UAI 2014, for the
      weights.

    >>> round(listmle_loss(jnp.zeros((1, 3)), jnp.array([[2, 0, 1]])).item(), 4)  # log 3 + log 2
    1.7918
    """
    weights = jnp.ones_like(as_float(student_logits)) if weights is None else weights
    return plackett_luce_nll(student_logits, ranking, weights, classes=classes)


def plackett_luce_nll(
    student_logits: jax.Array, ranking: jax.Array, weights: jax.Array, *, classes: jax.Array | None = None
) -> jax.Array:
    """Weighted negative log-likelihood of a ranking, per example: the general form of this file.

    Each place costs the negative log-probability of choosing its class among those not yet placed. One-hot
    weights on the first place give cross-entropy, equal weights ListMLE, a teacher's probabilities PLD.
    Convex in the logits for weights of at least 0. Gradients flow into the logits and the weights.

        L = sum_k w_k * (logsumexp_{l >= k} s[pi_l] - s[pi_k])

    Args:
      student_logits: `[..., C]`, any finite size.
      ranking: `[..., C]` integers, a permutation of the classes, best first.
      weights: broadcastable to `[..., C]`, in order of place: `weights[k]` belongs to class `ranking[k]`.
      classes: bool or {0, 1}, `[C]` or `[..., C]` in order of class, the classes that exist; None means
        all. A class left out is no choice at any place, and its own place costs nothing.

    Returns:
      `[...]` nats times the weights' unit, float32 (float64 for float64 logits); 0 where no class is valid.

    Raises:
      ValueError: if shapes do not agree, or the ranking is no permutation.

    Reference: Plackett, The Analysis of Permutations, 1975; weighted as in Bassam et al., PLD: A Choice-Theoretic
      List-Wise Knowledge Distillation, NeurIPS 2025, section 4.2.

    >>> logits, ranking = jnp.log(jnp.array([[1.0, 2.0, 1.0]])), jnp.array([[1, 0, 2]])
    >>> round(plackett_luce_nll(logits, ranking, jnp.array([1.0, 0.0, 0.0])).item(), 4)  # -log(2 / 4)
    0.6931
    """
    ranking = _as_ranking(student_logits, ranking)
    shape = np.shape(student_logits)
    valid = jnp.take_along_axis(class_mask(classes, shape), ranking, axis=-1)
    ordered = jnp.take_along_axis(as_float(student_logits), ranking, axis=-1)
    costs = _choice_costs(jnp.where(valid, ordered, 0.0), valid)
    weights = jnp.where(valid, fitted(as_float(weights), shape, "weights", "logits"), 0.0)
    return (weights * costs).sum(-1)


def _sort_order(worth: jax.Array) -> jax.Array:
    """Indices by falling worth, equal ones by index."""
    return jnp.argsort(-worth, axis=-1, stable=True).astype(jnp.int32)


def _count_order(worth: jax.Array) -> jax.Array:
    """The same by counting who goes before whom: for few classes faster than a sort."""
    index = jnp.arange(worth.shape[-1], dtype=jnp.int32)
    mine, other = worth[..., :, None], worth[..., None, :]
    before = (other > mine) | ((other == mine) & (index[None, :] < index[:, None]))
    place = before.sum(-1, dtype=jnp.int32)
    index = jnp.broadcast_to(index, place.shape)
    return jnp.put_along_axis(jnp.zeros_like(place), place, index, axis=-1, inplace=False)


def _choice_costs(ordered: jax.Array, valid: jax.Array) -> jax.Array:
    """`logsumexp_{l >= k} s_l - s_k` over the valid places l, 0 at the others.

    From the last place to the first, cost_k = log(1 + exp(cost_next + s_next - s_k)): only differences of
    logits enter, so nothing cancels at logits of 1e4, where log-sum-exp minus logit would be wrong in the
    fourth digit.
    """

    # One pass: forward and gradient of [256, 100] take a fifth of the time of lax.cumlogsumexp or of
    # lax.associative_scan(logaddexp) on CPU, and compile faster; these two need fewer sequential steps.
    def choose(carry, place):
        cost, worth = carry
        here, ok = place
        new = jax.nn.softplus(cost + (worth - here))
        return (jnp.where(ok, new, cost), jnp.where(ok, here, worth)), jnp.where(ok, new, 0.0)

    first = (jnp.full_like(ordered[..., 0], -jnp.inf), jnp.zeros_like(ordered[..., 0]))
    places = (jnp.moveaxis(ordered, -1, 0), jnp.moveaxis(valid, -1, 0))
    _, costs = jax.lax.scan(choose, first, places, reverse=True)
    return jnp.moveaxis(costs, 0, -1)


def _teacher_probabilities(teacher_logits, temperature, valid):
    check_positive("temperature", temperature)
    return masked_softmax(as_float(teacher_logits) / temperature, where=valid)


def _is_label(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.asarray(labels)[..., None] == jnp.arange(np.shape(logits)[-1])


def _as_ranking(student_logits: jax.Array, ranking: jax.Array) -> jax.Array:
    shape = np.shape(student_logits)
    if not shape or np.shape(ranking) != shape:
        raise InputError(
            f"ranking {np.shape(ranking)} must have the same shape [..., C] as student_logits {shape}"
        )
    ranking = as_integers("ranking", ranking, "class indices best first")

    def find(ranking: np.ndarray) -> str | None:
        wrong = (np.sort(ranking, axis=-1) != np.arange(shape[-1])).any(-1)
        if not wrong.any():
            return None
        return f"ranking must hold each class once, best first, got {ranking[wrong][0].tolist()}"

    check_values(find, ranking)
    return ranking
