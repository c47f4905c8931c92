"""What the functions of this room check alike; the checks are static and cost nothing under jit."""

import jax
import jax.numpy as jnp


def check_same_logits(student_logits: jax.Array, teacher_logits: jax.Array) -> None:
    """Student and teacher logits share one shape `[..., K]`."""
    student, teacher = jnp.shape(student_logits), jnp.shape(teacher_logits)
    if not student or student != teacher:
        raise ValueError(
            f"student_logits {student} and teacher_logits {teacher} must have the same shape [..., K]"
        )


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
    """Labels are integers of the logits' shape without the class axis."""
    given, shape = jnp.shape(labels), jnp.shape(logits)
    if not shape or given != shape[:-1]:
        raise ValueError(f"labels {given} must have the leading shape [...] of logits [..., K] {shape}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ValueError(f"labels must be integers, class indices in [0, K), got {jnp.result_type(labels)}")


def check_class_axis(name: str, x: jax.Array) -> None:
    """`x` has a class axis with at least one class."""
    if not jnp.ndim(x) or not jnp.shape(x)[-1]:
        raise ValueError(f"{name} {jnp.shape(x)} must have shape [..., K] with at least one class")


def check_fraction(name: str, value: float | jax.Array) -> None:
    """A hyper-parameter given as a Python number lies in [0, 1]; a traced one cannot be checked."""
    if isinstance(value, int | float) and not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def check_positive(name: str, value: float | jax.Array) -> None:
    """A hyper-parameter given as a Python number is above 0; a traced one cannot be checked."""
    if isinstance(value, int | float) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def element_mask(where: jax.Array | None, shape: tuple[int, ...], name: str) -> jax.Array:
    """`where` as booleans of exactly `shape`, one per element; None keeps everything."""
    where = jnp.asarray(True if where is None else where).astype(bool)
    try:
        return jnp.broadcast_to(where, shape)
    except ValueError:
        raise ValueError(f"where {where.shape} must broadcast to the {name} {tuple(shape)}") from None
