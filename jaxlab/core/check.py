"""Contracts on arguments: one readable line that says which, prints what came, and names what is allowed.

Shapes, dtypes and Python numbers are checked at no cost under jit. Values are looked at where they are known, see
`jaxlab.core._values`: a traced one is taken on trust, unless `debug_checks` is on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._errors import InputError
from jaxlab.core._values import check_values, concrete

_ROUNDING = 1e-2  # by which probabilities in bfloat16 may leave [0, 1]


def _check_number(name: str, value: Any, fits: Callable[[np.ndarray], Any], allowed: str) -> None:
    """A hyper-parameter, or every entry of one, is as it must be; traced ones, and None, pass."""
    known = None if value is None else concrete(value)
    if known is None:
        return
    if known.dtype != bool and not jnp.issubdtype(known.dtype, jnp.number):
        raise InputError(f"{name} must be a number, got {value!r}")
    if not np.all(fits(known)):  # a NaN fits nothing
        raise InputError(f"{name} must be {allowed}, got {value if np.isscalar(value) else known.tolist()}")


def check_together(allowed: str, fits: Callable[..., Any], **values: Any) -> None:
    """Known hyper-parameters that bound each other satisfy `fits(*values)`; where one is traced nothing is checked."""
    known = [concrete(value) for value in values.values()]
    if all(x is not None for x in known) and not np.all(fits(*known)):
        given = ", ".join(f"{name} {value}" for name, value in values.items())
        raise InputError(f"{allowed}, got {given}")


def check_decay(decay: Any) -> None:
    """A known decay lies in [0, 1]; a schedule passes."""
    if not callable(decay):
        check_fraction("decay", decay)


def check_fraction(name: str, value: Any) -> None:
    """A known hyper-parameter, or every entry of one, lies in [0, 1]."""
    _check_number(name, value, lambda x: (x >= 0) & (x <= 1), "in [0, 1]")


def check_positive(name: str, value: Any) -> None:
    """A known hyper-parameter is above 0."""
    _check_number(name, value, lambda x: x > 0, "positive")


def check_least(name: str, value: Any, least: float) -> None:
    """A known hyper-parameter is at least `least`; None passes."""
    _check_number(name, value, lambda x: x >= least, f"at least {least}")


def dtype_of(x: Any) -> np.dtype:
    """The dtype of an array, a number or a list of them; a line for what is no array at all."""
    try:
        if hasattr(x, "dtype") or np.isscalar(x):
            return jnp.result_type(x)
        known = concrete(x)
        return jnp.asarray(x).dtype if known is None else known.dtype
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{str(x)[:60]!r} is no array of numbers") from None


def as_integers(
    name: str,
    x: Any,
    meaning: str,
    size: int | None = None,
    *,
    where: Any = None,
    ignore: str | None = None,
    also: Sequence[int] = (),
) -> jax.Array:
    """The array `name`, which must be of an integer type, and where known in [0, size) if there is a size.

    `meaning` says what the integers are; what `where` masks may be anything. With `ignore`, a few words that say what
    a negative one stands for, negative ones and those in `also` pass too.
    """
    if not hasattr(x, "dtype") and not np.size(x):
        x = np.zeros(np.shape(x), np.int32)  # a list of none has no type
    found = dtype_of(x)
    if not jnp.issubdtype(found, jnp.integer):
        raise InputError(f"{name} must be integers, {meaning}, got {found}")
    if size is not None:  # of what was given: a wider integer would wrap around
        _check_range(name, x, size, where, ignore, also)
    return jnp.asarray(x)


def _check_range(name: str, x: Any, size: int, where: Any, ignore: str | None, also: Sequence[int]) -> None:

    def find(x: np.ndarray, *where: np.ndarray) -> str | None:
        bad = (x >= size) & ~np.isin(x, also) if ignore else (x < 0) | (x >= size)
        for mask in where:
            bad = bad & mask.astype(bool)
        if not bad.any():
            return None
        allowed = f"in [0, {size})" + (f", or negative for {ignore}" if ignore else "")
        return f"{name} must be {allowed}, got {x[bad][0]}"

    if where is None:
        check_values(find, x)
    elif _fits(where, np.shape(x)):  # a mask that does not has a line of its own, later
        check_values(find, x, where)


IGNORED = "an example to ignore"


def as_labels(
    logits: Any,
    labels: Any,
    *,
    name: str = "labels",
    where: Any = None,
    also: Sequence[int] = (),
) -> jax.Array:
    """Integer labels `[...]` that belong to logits `[..., C]`: classes in [0, C), negative for an example to ignore.

    `where` `[...]` masks labels that may be anything; `also` holds further numbers that mean "ignore".
    """
    given, shape = np.shape(labels), np.shape(logits)
    if not shape or given != shape[:-1]:
        one_hot = ": class indices, not one-hot, so labels.argmax(-1)" if given == shape and shape else ""
        raise InputError(
            f"{name} {given} must have the leading shape [...] of logits [..., C] {shape}{one_hot}"
        )
    return as_integers(
        name, labels, "class indices in [0, C)", shape[-1], where=where, ignore=IGNORED, also=also
    )


def check_same_logits(student_logits: jax.Array, teacher_logits: jax.Array) -> None:
    """Student and teacher logits share one shape `[..., C]`."""
    student, teacher = np.shape(student_logits), np.shape(teacher_logits)
    if not student or student != teacher:
        raise InputError(
            f"student_logits {student} and teacher_logits {teacher} must have the same shape [..., C]"
        )


def check_probabilities(name: str, probs: Any, *, where: Any = True, meaning: str = "probabilities") -> None:
    """Known probabilities lie in [0, 1], up to rounding; `where` broadcasts to them and masks what does not count."""
    hint = ": apply softmax to logits first" if meaning == "probabilities" else ""

    def find(probs: np.ndarray, where: np.ndarray) -> str | None:
        probs = probs.astype(np.float64)
        bad = ((probs < -_ROUNDING) | (probs > 1 + _ROUNDING)) & where.astype(bool)
        if not bad.any():
            return None
        return f"{name} must be {meaning} in [0, 1], got {probs[bad][0]:.4g}{hint}"

    check_values(find, probs, where)


def check_structure(name: str, tree: Any, target: str, like: Any) -> None:
    """A pytree has the structure of another, the `target`."""
    have, got = jax.tree.structure(like), jax.tree.structure(tree)
    if have != got:
        raise InputError(f"{name} must have the structure of the {target}, {have}, got {got}")


def check_same_tree(name: str, tree: Any, target: str, like: Any) -> None:
    """A pytree has the structure of another, and its leaves their shapes."""
    check_structure(name, tree, target, like)
    for (path, old), new in zip(jax.tree.leaves_with_path(like), jax.tree.leaves(tree)):
        if np.shape(old) != np.shape(new):
            leaf = jax.tree_util.keystr(path) or "the only leaf"
            raise InputError(f"{leaf} must have the {target}'s shape {np.shape(old)}, got {np.shape(new)}")


def as_bool(name: str, x: Any) -> jax.Array:
    """A mask as booleans; known numbers in it are 0 or 1."""

    def find(x: np.ndarray) -> str | None:
        bad = (x != 0) & (x != 1)
        if not bad.any():
            return None
        return f"{name} must be bool or hold 0 and 1, got {x[bad][0]}: it is a mask, not weights or values"

    if dtype_of(x) != np.bool_:
        check_values(find, x)
    return jnp.asarray(x).astype(bool)


def check_fits(x: jax.Array, shape: tuple[int, ...], name: str, target: str) -> None:
    """The array `name` broadcasts to exactly `shape`, that of the array `target`."""
    if not _fits(x, shape):
        raise InputError(f"{name} {np.shape(x)} must broadcast to the {target} {tuple(shape)}")


def _fits(x: Any, shape: tuple[int, ...]) -> bool:
    try:
        return jnp.broadcast_shapes(np.shape(x), shape) == tuple(shape)
    except ValueError:
        return False


def fitted(x: jax.Array, shape: tuple[int, ...], name: str, target: str) -> jax.Array:
    """The array `name` in exactly `shape`, that of the array `target`."""
    check_fits(x, shape, name, target)
    return jnp.broadcast_to(jnp.asarray(x), shape)


def full_mask(
    where: jax.Array | None, shape: tuple[int, ...], target: str = "logits", *, name: str = "where"
) -> jax.Array:
    """`where` as booleans of exactly `shape`, that of the array `target`; None keeps everything.

    The mask has as many axes as the array: of fewer it would not be said which.
    """
    given = np.shape(where)
    if len(given) not in (0, len(shape)):
        raise InputError(
            f"{name} has shape {given}: it must have the {len(shape)} axes of the {target} {shape}"
        )
    return fitted(as_bool(name, True if where is None else where), shape, name, target)


def class_mask(
    classes: jax.Array | None, shape: tuple[int, ...], target: str = "logits", *, name: str = "classes"
) -> jax.Array:
    """Which classes count, as booleans of exactly `shape` `[..., C]`, that of the array `target`; None keeps all.

    `classes` is `[C]`, or has as many axes as the array.
    """
    given = np.shape(classes)
    if len(given) not in (0, 1, len(shape)):
        raise InputError(
            f"{name} has shape {given}: it must be ({shape[-1]},) or that of the {target} {shape}"
        )
    return fitted(as_bool(name, True if classes is None else classes), shape, name, target)


def check_same_shape(form: str, **arrays: Any) -> None:
    """Two arrays have one shape, with as many axes as `form` names, e.g. "[B, H, W]", or more if it begins with "...".

    >>> check_same_shape("[..., L]", scores=np.zeros((2, 3)), labels=np.zeros(3))
    Traceback (most recent call last):
    jaxlab.core.InputError: scores (2, 3) and labels (3,) must have the same shape [..., L]
    """
    (first, a), (second, b) = ((name, np.shape(x)) for name, x in arrays.items())
    named = [axis for axis in form.strip("[]").split(", ") if axis != "..."]
    fits = len(a) >= len(named) if "..." in form else len(a) == len(named)
    if a != b or not fits:
        raise InputError(f"{first} {a} and {second} {b} must have the same shape {form}")


def check_choice(name: str, value: Any, allowed: Collection[Any]) -> None:
    """A named option is one of those that exist."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {tuple(allowed)}, got {value!r}")


def called(x: Any) -> str:
    """What something is, in a few words: an array by its shape, all else by its type."""
    if hasattr(x, "shape"):
        return f"an array {tuple(x.shape)}" if x.shape else "a scalar"
    name, size = type(x).__name__, f" of {len(x)}" if type(x) in (tuple, list) else ""
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}{size}"


def check_state(name: str, value: Any, kind: type) -> None:
    """What an earlier call has made is of its type, and not another argument in its place."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise InputError(
            f"{name} must be {article} {kind.__name__}, got {called(value)}: are arguments swapped?"
        )


def as_pair(name: str, given: Any, wanted: str, found: str = "{}") -> tuple[Any, Any]:
    """What the function `name` returned, which must be two things; `found` is what stands around it."""
    if type(given) not in (tuple, list) or len(given) != 2:
        raise InputError(f"{name} returns {found.format(called(given))}: it must return {wanted}")
    return given[0], given[1]


def check_loss(name: str, value: Any, metrics: Any) -> None:
    """What the function `name` gives to be differentiated is one number, with a dict of metrics."""
    if np.shape(value):
        raise InputError(
            f"{name} returns a loss of the shape {np.shape(value)}: it must be a scalar, such as its mean"
        )
    check_metrics(name, metrics)


def check_metrics(name: str, metrics: Any) -> None:
    """Metrics are a dict; what is in it the engine looks at."""
    if not isinstance(metrics, Mapping):
        raise InputError(
            f"{name} returns {called(metrics)} for metrics: it must be a dict of scalars by name"
        )
