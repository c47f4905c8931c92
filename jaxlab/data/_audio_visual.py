"""Procedural scenes with sound: one object of several is heard, and a model has to say where it is."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.data._parts import parts, total

_CELLS = 2  # objects stand in the cells of a 2 x 2 grid, so that none hides another


class AudioVisualScenes(NamedTuple):
    """Frames with objects, and the sound of one of them; a pytree.

    Attributes:
        image: `[N, H, W, 3]` float32 in [0, 1].
        audio: `[N, A]` float32, what is heard.
        boxes: `[N, M, 4]` float32 (y0, x0, y1, x1) in pixels, the sounding object first; zeros where none is.
        classes: `[N, M]` int32, -1 where there is no object; `classes[:, 0]` is heard.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import AudioVisualScenes
    >>> AudioVisualScenes(*(jnp.zeros((2, 4)),) * 4).audio.shape
    (2, 4)
    """

    image: jax.Array
    audio: jax.Array
    boxes: jax.Array
    classes: jax.Array


class _Looks(NamedTuple):
    """Of every class: a colour, a stripe pattern, and a sound."""

    colour: jax.Array
    stripes: jax.Array
    sound: jax.Array


def _looks(key: jax.Array, num_classes: int, audio_dim: int) -> _Looks:
    """Colours come in pairs of classes, and stripes tell a pair apart."""
    colour_key, stripe_key, sound_key = jax.random.split(key, 3)
    hue = (jnp.arange(num_classes) // 2 + 0.3 * jax.random.uniform(colour_key)) / max(
        1, math.ceil(num_classes / 2)
    )
    colour = 0.5 + 0.4 * jnp.cos(2 * jnp.pi * (hue[:, None] + jnp.arange(3) / 3))
    angle = jnp.pi * (jnp.arange(num_classes) % 2) / 2 + 0.4 * jax.random.normal(stripe_key, (num_classes,))
    stripes = 0.32 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    sound = jax.random.normal(sound_key, (num_classes, audio_dim))
    return _Looks(colour, stripes, sound / jnp.linalg.norm(sound, axis=-1, keepdims=True))


def _place(cells: jax.Array, sides: jax.Array, starts: jax.Array, size: int, smallest: int) -> jax.Array:
    """Boxes `[M, 4]` of whole pixels in different cells, from numbers in [0, 1)."""
    width = size // _CELLS
    cell = jnp.argsort(cells)
    side = smallest + jnp.floor(sides * (width - smallest))
    start = jnp.floor(starts * (width - side + 1))
    start = start + width * jnp.stack([cell // _CELLS, cell % _CELLS], axis=-1)
    return jnp.concatenate([start, start + side], axis=-1).astype(jnp.float32)


def _smooth(coefficients: jax.Array, size: int) -> jax.Array:
    """A background `[H, W, 3]` of a few slow waves."""
    position = (jnp.arange(size) + 0.5) / size
    waves = jnp.cos(jnp.pi * jnp.arange(3)[:, None] * position)
    return jnp.einsum("ijc,iy,jx->yxc", coefficients / 3, waves, waves)


def _objects(looks: _Looks, classes: jax.Array, phase: jax.Array, shade: jax.Array, size: int) -> jax.Array:
    """Striped fields `[M, H, W, 3]` of the classes, before they are cut out."""
    rows = jnp.arange(size) + 0.5
    stripe = looks.stripes[classes]
    along = stripe[:, 0, None, None] * rows[:, None] + stripe[:, 1, None, None] * rows
    wave = jnp.sin(2 * jnp.pi * (along + phase[:, None, None]))
    return (looks.colour[classes] + shade)[:, None, None, :] * (1 + 0.6 * wave[..., None])


def _inside(boxes: jax.Array, size: int) -> jax.Array:
    """Which pixels each box covers, `[M, H, W]`."""
    rows = jnp.arange(size) + 0.5
    between = lambda low, high: (rows >= low[:, None]) & (rows < high[:, None])
    return between(boxes[:, 0], boxes[:, 2])[:, :, None] & between(boxes[:, 1], boxes[:, 3])[:, None, :]


def audio_visual_scenes(
    task_key: jax.Array,
    sample_key: jax.Array,
    num_examples: int,
    *,
    num_classes: int = 8,
    size: int = 24,
    audio_dim: int = 16,
    smallest: int = 4,
    difficulty: Any = 0.5,
) -> AudioVisualScenes:
    """Frames of two to four objects of different classes, and the noisy sound of one of them.

    Which look belongs to which sound has to be learned: a frame without its sound does not say which object is
    meant. Classes share colours in pairs and differ by their stripes, a sound from outside the frame is mixed in,
    and colours and noise vary. Pure: jit it with `num_examples` static, and stream by a new `sample_key`.

        audio = v_c + d (v_outside / 2 + noise),  v_c the sound of class c, |v_c| = 1, E|noise|^2 = 1, d = difficulty

    Args:
        task_key: makes the classes' looks and sounds; the same key is the same task.
        sample_key: makes the examples.
        num_examples: number of frames N.
        num_classes: at least 5: four in the frame and one outside.
        size: pixels on a side, even.
        audio_dim: length A of the sound.
        smallest: pixels of an object's shorter side at least; the longest is `size / 2 - 1`.
        difficulty: in [0, 1], may be traced.

    Returns:
        `AudioVisualScenes` with M = 4. All classes are heard equally often on average.

    Raises:
        ValueError: sizes that leave no room, or too few classes.

    Reference: the task of Guo et al., Dual Mean-Teacher, 2023, in small; the generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import audio_visual_scenes
    >>> generate = jax.jit(audio_visual_scenes, static_argnums=2)
    >>> scenes = generate(jax.random.key(0), jax.random.key(1), 10)
    >>> scenes.image.shape, scenes.audio.shape, scenes.boxes.shape
    ((10, 24, 24, 3), (10, 16), (10, 4, 4))
    """
    max_objects = _CELLS**2
    if size % 2 or num_classes <= max_objects or not 1 <= smallest < size // _CELLS:
        raise InputError(
            f"audio_visual_scenes needs an even size, more than {max_objects} classes and 1 <= smallest < size / 2, "
            f"got {size}, {num_classes} and {smallest}"
        )
    looks = _looks(task_key, num_classes, audio_dim)
    m, d = max_objects, difficulty
    uniform = ((num_classes,), (), (m,), (m, 2), (m, 2), (m,), (m, 1))
    normal = ((m, 3), (3, 3, 3), (size, size, 3), (audio_dim,))

    def one(key: jax.Array) -> AudioVisualScenes:
        first, second = jax.random.split(key)
        order, count, cells, sides, starts, phase, shade = parts(
            jax.random.uniform(first, (total(*uniform),)), *uniform
        )
        tint, waves, grain, noise = parts(jax.random.normal(second, (total(*normal),)), *normal)
        order = jnp.argsort(order)
        present, classes = jnp.arange(m) < 2 + jnp.floor((m - 1) * count), order[:m]
        boxes = _place(cells, sides, starts, size, smallest)
        shade = 0.5 * d * (2 * shade - 1) * looks.colour[classes] + 0.15 * d * tint
        shown = (_inside(boxes, size) & present[:, None, None])[..., None]
        objects = jnp.sum(jnp.where(shown, _objects(looks, classes, phase, shade, size), 0.0), axis=0)
        frame = jnp.where(shown.any(0), objects, 0.45 + 0.25 * _smooth(waves, size))
        outside = looks.sound[order[m]] / 2 + noise / np.sqrt(audio_dim)
        return AudioVisualScenes(
            jnp.clip(frame + 0.12 * d * grain, 0, 1),
            looks.sound[order[0]] + d * outside,
            jnp.where(present[:, None], boxes, 0.0),
            jnp.where(present, classes, -1).astype(jnp.int32),
        )

    return jax.vmap(one)(jax.random.split(sample_key, num_examples))
