"""Which examples of a set keep their label."""

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError


def few_labels(key: jax.Array, label: jax.Array, *, num_classes: int, per_class: int) -> jax.Array:
    """A random choice of the same number of examples from every class, for learning with few labels.

    Pure: with a key per seed, every seed of a comparison gets labels of its own, and which few they are is part of
    what the seeds average over.

        labelled_i = #{j : y_j = y_i and u_j < u_i} < per_class,  u uniform

    Args:
        key: `jax.random.key`.
        label: `[N]` integers; one outside of [0, num_classes) is never chosen.
        num_classes: static.
        per_class: examples to keep of each class; a class with fewer keeps all.

    Returns:
        bool `[N]`.

    Raises:
        ValueError: labels that are not integers `[N]`, or a negative `per_class`.

    Reference: Sohn et al., FixMatch, 2020, section 4.1, on equal numbers of labels per class.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.data import few_labels
    >>> label = jnp.array([0, 0, 0, 1, 1, 1, 1, 2])
    >>> kept = few_labels(jax.random.key(0), label, num_classes=3, per_class=2)
    >>> jnp.bincount(label[kept]).tolist()
    [2, 2, 1]
    """
    label = jnp.asarray(label)
    if label.ndim != 1 or not jnp.issubdtype(label.dtype, jnp.integer):
        raise InputError(f"label must be integers [N], got {label.dtype} {label.shape}")
    if per_class < 0 or num_classes < 1:
        raise InputError(
            f"per_class must be at least 0 and num_classes at least 1, got {per_class} and {num_classes}"
        )
    known = (label >= 0) & (label < num_classes)
    # Shuffled and then sorted by class, the rank within a class is the distance from where its run begins.
    order = jax.random.permutation(key, len(label))
    order = order[jnp.argsort(jnp.where(known, label, num_classes)[order], stable=True)]
    sorted_label = jnp.where(known, label, num_classes)[order]
    rank = jnp.arange(len(label)) - jnp.searchsorted(sorted_label, sorted_label, side="left")
    return jnp.zeros(len(label), bool).at[order].set(rank < per_class) & known
