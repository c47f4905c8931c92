"""Static contracts on arguments: one readable line that prints what came and names what is allowed.

The checks look at shapes, dtypes and Python numbers, so they cost nothing under jit; a traced hyper-parameter is
taken on trust.
"""

import jax
import jax.numpy as jnp


def check_decay(decay: float | jax.Array) -> None:
    """A static decay lies in [0, 1]."""
    if isinstance(decay, int | float) and not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay must be in [0, 1], got {decay}")


def check_positive(name: str, value: float | jax.Array) -> None:
    """A static hyper-parameter is above 0."""
    if isinstance(value, int | float) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
    """Integer labels `[...]` belong to logits `[..., C]`."""
    given, shape = jnp.shape(labels), jnp.shape(logits)
    if not shape or given != shape[:-1]:
        raise ValueError(f"labels {given} must have the leading shape [...] of logits [..., C] {shape}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ValueError(f"labels must be integers, class indices in [0, C), got {jnp.result_type(labels)}")


def check_same_logits(student_logits: jax.Array, teacher_logits: jax.Array) -> None:
    """Student and teacher logits share one shape `[..., C]`."""
    student, teacher = jnp.shape(student_logits), jnp.shape(teacher_logits)
    if not student or student != teacher:
        raise ValueError(
            f"student_logits {student} and teacher_logits {teacher} must have the same shape [..., C]"
        )


def check_fits(x: jax.Array, shape: tuple[int, ...], name: str, target: str) -> None:
    """The array `name` broadcasts to exactly `shape`, that of the array `target`."""
    try:
        fits = jnp.broadcast_shapes(jnp.shape(x), shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} {jnp.shape(x)} must broadcast to the {target} {tuple(shape)}")


def fitted(x: jax.Array, shape: tuple[int, ...], name: str, target: str) -> jax.Array:
    """The array `name` in exactly `shape`, that of the array `target`."""
    check_fits(x, shape, name, target)
    return jnp.broadcast_to(x, shape)


def full_mask(where: jax.Array | None, shape: tuple[int, ...], target: str = "logits") -> jax.Array:
    """`where` as booleans of exactly `shape`, that of the array `target`; None keeps everything."""
    return fitted(jnp.asarray(True if where is None else where).astype(bool), shape, "where", target)
