"""What the losses of this room check and prepare alike; the checks are static and cost nothing under jit."""

import jax
import jax.numpy as jnp


def check_logits(student_logits: jax.Array, teacher_logits: jax.Array) -> None:
    """Student and teacher logits share one shape `[..., C]`."""
    student, teacher = jnp.shape(student_logits), jnp.shape(teacher_logits)
    if not student or student != teacher:
        raise ValueError(
            f"student_logits {student} and teacher_logits {teacher} must have the same shape [..., C]"
        )


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
    """Labels are integers of the logits' shape without the class axis."""
    given, shape = jnp.shape(labels), jnp.shape(logits)
    if not shape or given != shape[:-1]:
        raise ValueError(f"labels {given} must have the leading shape [...] of logits [..., C] {shape}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ValueError(f"labels must be integers, class indices in [0, C), got {jnp.result_type(labels)}")


def check_positive(name: str, value: float | jax.Array) -> None:
    """A hyper-parameter given as a Python number is above 0; a traced one cannot be checked."""
    if isinstance(value, int | float) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def full_mask(where: jax.Array | None, shape: tuple[int, ...], name: str = "logits") -> jax.Array:
    """`where` as booleans of exactly `shape`; None keeps everything."""
    where = jnp.asarray(True if where is None else where).astype(bool)
    return broadcast_to(where, shape, "where", name)


def broadcast_to(x: jax.Array, shape: tuple[int, ...], name: str, target: str) -> jax.Array:
    """`x` in exactly `shape`, or an error that names both."""
    try:
        return jnp.broadcast_to(x, shape)
    except ValueError:
        raise ValueError(f"{name} {x.shape} must broadcast to the {target} {tuple(shape)}") from None


def class_mask(where: jax.Array | None, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The classes `[..., C]` that count: none in a row to ignore, one whose label lies outside [0, C)."""
    labelled = (labels >= 0) & (labels < logits.shape[-1])
    return full_mask(where, jnp.shape(logits)) & labelled[..., None]
