"""How much of the teacher and how much of the label, example by example: from the geometry of their answers."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cross_entropy, masked_softmax
from jaxlab.core.check import InputError, as_labels, check_positive, check_probabilities, fitted
from jaxlab.distillation._contracts import labelled_classes
from jaxlab.distillation._soft_targets import kd_loss
from jaxlab.distillation.mcmi import class_centroids

Controller = tuple[dict[str, jax.Array], ...]


def class_mean_teacher(
    teacher_probs: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """What the teacher says of each class on average, over a batch or a whole training set.

    A class without examples gets the uniform distribution (an average over nothing would be NaN). No gradient
    passes.

        Tbar_c = mean over {i : y_i = c} of T_i

    Args:
      teacher_probs: `[N, C]` probabilities.
      labels: `[N]` integers in [0, C); a negative one marks an example to ignore.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global means.

    Returns:
      `[C, C]` float32 (float64 for float64 input), rows that sum to 1.

    Raises:
      ValueError: if the shapes do not fit or `labels` is not of an integer type.

    Reference: Hu et al., Less or More From Teacher: Exploiting Trilateral Geometry For Knowledge Distillation, ICLR
      2024, the geometry between samples.

    >>> class_mean_teacher(jnp.array([[1.0, 0.0], [0.5, 0.5]]), jnp.array([0, 0])).tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """
    means = class_centroids(teacher_probs, labels, where=where, axis_name=axis_name)
    return jax.lax.stop_gradient(means)


def trilateral_state(
    student_probs: jax.Array, teacher_probs: jax.Array, labels: jax.Array, class_means: jax.Array
) -> jax.Array:
    """What a fusion ratio is decided by: student, teacher, label, the teacher's class mean, and their distances.

    No gradient passes: the ratio is a constant of the student's step.

        (S, T, G, M, (M - S)^2, (G - S)^2, (T - S)^2, (T - G)^2, (M - G)^2),   G = one-hot(y), M = Tbar_y

    Args:
      student_probs: `[..., C]` probabilities S.
      teacher_probs: `[..., C]` probabilities T.
      labels: `[...]` integers in [0, C); a negative one has zeros for G and M.
      class_means: `[C, C]`, see `class_mean_teacher`.

    Returns:
      `[..., 9 C]` float32 (float64 for float64 input), numbers in [0, 1].

    Raises:
      ValueError: if the shapes do not fit or `labels` is not of an integer type.

    Reference: Hu et al., ICLR 2024; the third of the state designs in the authors' code, the one that is switched on.

    >>> state = trilateral_state(jnp.array([[0.6, 0.4]]), jnp.array([[0.9, 0.1]]), jnp.array([1]), jnp.eye(2))
    >>> [round(x, 2) for x in state[0, 12:16].tolist()]  # (T - S)^2 and (T - G)^2
    [0.09, 0.09, 0.81, 0.81]
    """
    student_probs, teacher_probs = as_float(student_probs), as_float(teacher_probs)
    if student_probs.shape != teacher_probs.shape:
        shapes = f"student_probs {student_probs.shape} and teacher_probs {teacher_probs.shape}"
        raise InputError(f"{shapes} must have the same shape [..., C]")
    labels = as_labels(student_probs, labels)
    classes = student_probs.shape[-1]
    if np.shape(class_means) != (classes, classes):
        raise InputError(f"class_means {np.shape(class_means)} must be [C, C] = {(classes, classes)}")
    check_probabilities("student_probs", student_probs)
    check_probabilities("teacher_probs", teacher_probs)
    label = labels[..., None] == jnp.arange(classes)
    rows = as_float(class_means)[jnp.clip(labels, 0, max(classes - 1, 0))]
    mean = jnp.where(label.any(-1, keepdims=True), rows, 0.0)
    s, t, g = student_probs, teacher_probs, label.astype(student_probs.dtype)
    squares = [(a - b) ** 2 for a, b in ((mean, s), (g, s), (t, s), (t, g), (mean, g))]
    return jax.lax.stop_gradient(jnp.concatenate([s, t, g, mean, *squares], axis=-1))


def fusion_controller_init(
    key: jax.Array, num_classes: int, *, hidden: Sequence[int] = (32, 16)
) -> Controller:
    """A small network that reads a `trilateral_state`.

    Weights and biases are uniform within 1 / sqrt(inputs), so ratios begin near one half.

    Args:
      key: `jax.random.key`.
      num_classes: static integer C; the network reads 9 C numbers.
      hidden: widths of the hidden layers.

    Returns:
      One dict per layer: `"kernel"` `[inputs, outputs]` and `"bias"` `[outputs]`, float32.

    Raises:
      ValueError: if `num_classes` or a width is below 1.

    Reference: Hu et al., Less or More From Teacher: Exploiting Trilateral Geometry For Knowledge Distillation, ICLR
      2024, the authors' code, with PyTorch's default initial values.

    >>> [layer["kernel"].shape for layer in fusion_controller_init(jax.random.key(0), 3)]
    [(27, 32), (32, 16), (16, 1)]
    """
    widths = (9 * num_classes, *hidden, 1)
    if min(widths) < 1:
        raise InputError(f"num_classes and widths must be at least 1, got {num_classes} and {tuple(hidden)}")

    def layer(key: jax.Array, inputs: int, outputs: int) -> dict[str, jax.Array]:
        kernel, bias = jax.random.split(key)
        draw = lambda key, shape: jax.random.uniform(key, shape, minval=-1, maxval=1) / inputs**0.5
        return {"kernel": draw(kernel, (inputs, outputs)), "bias": draw(bias, (outputs,))}

    keys = jax.random.split(key, len(widths) - 1)
    return tuple(layer(key, *shape) for key, shape in zip(keys, itertools.pairwise(widths)))


def fusion_ratio(controller: Controller, state: jax.Array) -> jax.Array:
    """The share of the teacher in each example's loss.

    Gradients flow into the controller, which is what a bilevel step trains.

        alpha = sigmoid(MLP(state)), leaky rectifiers of slope 0.01 between the layers

    Args:
      controller: layers as `fusion_controller_init` makes them.
      state: `[..., D]`, see `trilateral_state`.

    Returns:
      `[...]` float32 (float64 for float64 input) in (0, 1).

    Raises:
      ValueError: if the first layer does not read as many numbers as the state has.

    Reference: Hu et al., ICLR 2024; the controller of the authors' code.

    >>> controller = ({"kernel": jnp.array([[1.0], [-1.0]]), "bias": jnp.zeros(1)},)
    >>> fusion_ratio(controller, jnp.array([[2.0, 2.0]])).tolist()
    [0.5]
    """
    x = as_float(state)
    wanted = controller[0]["kernel"].shape[0]
    if not x.ndim or x.shape[-1] != wanted:
        raise InputError(f"state {x.shape} must be [..., {wanted}], as many as the controller reads")
    for layer in controller[:-1]:
        x = jax.nn.leaky_relu(x @ layer["kernel"] + layer["bias"], 0.01)
    return jax.nn.sigmoid(x @ controller[-1]["kernel"] + controller[-1]["bias"])[..., 0]


def fused_kd_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    alpha: jax.Array,
    *,
    temperature: float | jax.Array = 1.5,
    double_softmax: bool = False,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Soft targets and label, mixed by a ratio of each example's own.

    Gradients stop at the teacher's logits and do flow into `alpha`: it has no other way to learn. For the student's
    own step stop them there, or take them for the student alone.

        L = alpha T^2 KL(p || q) + (1 - alpha) CE(s, y),   p = softmax(t / T), q = softmax(s / T)

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      alpha: `[...]` in [0, 1], or a scalar.
      temperature: T of the soft targets, a positive scalar.
      double_softmax: take the cross-entropy of the softmax of the student's probabilities, as the authors' code
        does.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if shapes do not agree, labels are not integers, or a static temperature is not positive.

    Reference: Hu et al., ICLR 2024, the lower problem. The authors' code hands probabilities to a cross-entropy that
      expects logits.

    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 0.0]])
    >>> round(fused_kd_loss(student, teacher, jnp.array([1]), jnp.array([0.5])).item(), 4)
    0.7154
    """
    check_positive("temperature", temperature)
    labels = as_labels(student_logits, labels)
    check_probabilities("alpha", alpha, meaning="shares")
    alpha = fitted(as_float(alpha), labels.shape, "alpha", "labels")
    mask = labelled_classes(classes, student_logits, labels)
    alpha = jnp.where(jnp.any(mask, axis=-1), alpha, 0.0)
    soft = kd_loss(student_logits, teacher_logits, temperature=temperature, classes=mask)
    if double_softmax:
        student_logits = masked_softmax(student_logits, where=mask)
    return alpha * soft + (1 - alpha) * cross_entropy(student_logits, labels, classes=mask)
