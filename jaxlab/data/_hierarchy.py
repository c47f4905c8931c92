"""Procedural image classes that come in superclasses: a student task where wrong classes are not equally wrong.

Every image is a sum of two-dimensional cosines, so a class is a vector of coefficients, and a shifted image is
the same sum evaluated at shifted coordinates: sub-pixel, smooth, without wrapping around.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.data._images import Images

_LOW, _FINE = 8, 24  # cosines that tell superclasses apart, and classes within one
_AMPLITUDE = 0.3


def _frequencies(count: int, size: int) -> np.ndarray:
    """The `count` lowest pairs of half-periods per side, without the constant."""
    pairs = [(i * i + j * j, i, j) for i in range(size) for j in range(size) if i + j > 0]
    if count > len(pairs):
        raise InputError(f"size must leave {count} cosines for that many classes, got {size}")
    return np.array([(i, j) for _, i, j in sorted(pairs)[:count]], np.float32)


def _orthonormal(key: jax.Array, groups: int, rows: int, columns: int) -> jax.Array:
    """Random orthonormal rows, `[groups, rows, columns]`."""
    basis, _ = jnp.linalg.qr(jax.random.normal(key, (groups, columns, rows), jnp.float32))
    return basis.swapaxes(1, 2)


def _prototypes(key, num_superclasses, classes_per_superclass, low, fine, separation):
    """Coefficients of every class, `[num_classes, low + fine]`: the superclass in the low ones."""
    coarse_key, fine_key = jax.random.split(key)
    coarse = _orthonormal(coarse_key, 1, num_superclasses, low)[0]
    detail = _orthonormal(fine_key, num_superclasses, classes_per_superclass, fine)
    detail = detail - detail.mean(axis=1, keepdims=True)
    return jnp.concatenate(
        [jnp.repeat(coarse, classes_per_superclass, axis=0), separation * detail.reshape(-1, fine)], axis=1
    )


def _render(coefficients, frequencies, displacement, size):
    """`[N, size, size]` from `[N, K]` coefficients, `[K, 2]` frequencies, `[N, 2]` displacements in sides."""
    position = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size + displacement[:, :, None]
    waves = jnp.cos(jnp.pi * position[..., None] * frequencies.T[:, None, :])
    return jnp.einsum("nk,nyk,nxk->nyx", coefficients, waves[:, 0], waves[:, 1])


def superclass(label: jax.Array, *, classes_per_superclass: int = 4) -> jax.Array:
    """The superclass of a class of `image_hierarchy`.

    Args:
        label: integers of any shape.
        classes_per_superclass: as given to `image_hierarchy`.

    Returns:
        `label // classes_per_superclass`.

    Reference: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, for classes in superclasses
      (CIFAR-100).

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import superclass
    >>> superclass(jnp.array([0, 3, 4, 19])).tolist()
    [0, 0, 1, 4]
    """
    return label // classes_per_superclass


def _is_outside(value, low, high):
    """Whether a number that is known while tracing lies outside; NaN does."""
    return not isinstance(value, jax.core.Tracer) and not low <= value <= high


def _check(num_superclasses, classes_per_superclass, size, difficulty, shift, contrast):
    if min(num_superclasses, classes_per_superclass) < 1 or size < 8:
        raise InputError(
            "image_hierarchy needs at least 1 superclass, 1 class in each and 8 pixels, got "
            f"{num_superclasses}, {classes_per_superclass} and {size}"
        )
    if _is_outside(difficulty, 0, 1):
        raise InputError(f"difficulty must be in [0, 1], got {difficulty}")
    if _is_outside(shift, 0, np.inf) or _is_outside(contrast, 1, np.inf):
        raise InputError(f"shift must be at least 0 and contrast at least 1, got {shift} and {contrast}")


def image_hierarchy(
    task_key: jax.Array,
    sample_key: jax.Array,
    num_examples: int,
    *,
    num_superclasses: int = 5,
    classes_per_superclass: int = 4,
    size: int = 12,
    difficulty: Any = 0.5,
    shift: float = 0.2,
    contrast: float = 1.5,
) -> Images:
    """Procedural images of classes in superclasses, for comparing students where dark knowledge has content.

    Superclasses are orthogonal low-frequency patterns; a class adds a smaller pattern of higher frequency. Each
    example is displaced, scaled in contrast, overlaid with a smooth random pattern and with pixel noise. The
    confusions of a good model lie within superclasses, and because of the displacement a linear model is far
    from the best one. Pure: jit it with `num_examples` static, and stream by a new `sample_key` for each step.

        image = clip(1/2 + 0.3 (g (low_superclass + 1.2 (1 - d) fine_class) + 0.4 d distractor)(x + shift)
                     + 0.1 d noise, 0, 1),  d = difficulty, g the contrast

    With difficulty 1 the classes of a superclass coincide.

    Args:
        task_key: makes the classes; the same key is the same task.
        sample_key: makes the examples.
        num_examples: number of images N.
        num_superclasses: number of superclasses; class c is in superclass `c // classes_per_superclass`.
        classes_per_superclass: 1 gives a flat task.
        size: pixels on a side, at least 8; the patterns scale with it.
        difficulty: in [0, 1], may be traced: brings classes of a superclass together and adds noise.
        shift: largest displacement along each axis, as a fraction of the side.
        contrast: largest contrast, at least 1; its logarithm is uniform between those of 1/contrast and contrast.

    Returns:
        `Images` with image `[N, size, size, 1]` in [0, 1] and label `[N]` in random order; the classes' counts
        differ by one at most.

    Raises:
        ValueError: sizes too small, or a difficulty, shift or contrast outside of its range.

    Reference: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 1, on what the
      relative probabilities of wrong classes tell; the generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import image_hierarchy
    >>> generate = jax.jit(image_hierarchy, static_argnums=2)
    >>> train = generate(jax.random.key(0), jax.random.key(1), 40)
    >>> train.image.shape, sorted(train.label.tolist())[:4]
    ((40, 12, 12, 1), [0, 0, 1, 1])
    """
    _check(num_superclasses, classes_per_superclass, size, difficulty, shift, contrast)
    low, fine = max(_LOW, num_superclasses), max(_FINE, classes_per_superclass)
    frequencies = _frequencies(low + fine, size)
    classes = _prototypes(
        task_key, num_superclasses, classes_per_superclass, low, fine, 1.2 * (1 - difficulty)
    )
    label_key, shift_key, contrast_key, distractor_key, noise_key = jax.random.split(sample_key, 5)
    label = _balanced_labels(label_key, num_examples, len(classes))
    log_gain = jax.random.uniform(contrast_key, (num_examples, 1), jnp.float32, -1, 1)
    displacement = jax.random.uniform(shift_key, (num_examples, 2), jnp.float32, -shift, shift)
    distractor = jax.random.normal(distractor_key, (num_examples, low + fine), jnp.float32)
    distractor = distractor / np.sqrt(1 + frequencies[:, 0] ** 2 + frequencies[:, 1] ** 2)
    signal = contrast**log_gain * classes[label] + 0.4 * difficulty * distractor
    pixels = _AMPLITUDE * _render(signal, frequencies, displacement, size)
    noise = jax.random.normal(noise_key, pixels.shape, jnp.float32)
    image = jnp.clip(0.5 + pixels + 0.1 * difficulty * noise, 0, 1)
    return Images(image[..., None], label)


def _balanced_labels(key: jax.Array, num_examples: int, num_classes: int) -> jax.Array:
    """Every class as often as every other, to within one; which classes get one more is random too."""
    order_key, offset_key = jax.random.split(key)
    offset = jax.random.randint(offset_key, (), 0, num_classes, jnp.int32)
    label = (jnp.arange(num_examples, dtype=jnp.int32) + offset) % num_classes
    return jax.random.permutation(order_key, label)
