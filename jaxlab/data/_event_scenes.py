"""Moving textured shapes before an event camera, with the class of every pixel and one click per class."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.data._event_camera import camera_events, count_voxels, reverse_counts
from jaxlab.data._numbers import Numbers

SHAPES = ("background", "disk", "square", "triangle", "bar")
_WAVES = 6  # cosines of the background
_STRIPES = (2.0, 4.0, 6.0, 8.0)  # of each class, radians per radius
_DARKEST = 0.15  # of the intensity, whose logarithm the camera sees


class EventScenes(NamedTuple):
    """Scenes seen by an event camera; a pytree of arrays with one leading axis.

    Attributes:
        forward: `[N, H, W, bins]` float32, the voxel grid of the events before the label's moment.
        backward: `[N, H, W, bins]` float32, that of the longer time after it, shown backwards.
        label: `[N, H, W]` int32, the class of every pixel at that moment: 0 is the background, the others as in
            `event_scenes`.
        clicked: `[N, H, W]` bool, the labelled pixels: one for every class in the picture.
        intensity: `[N, H, W]` float32 in [0, 1], what an ordinary camera would see, for people.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import EventScenes
    >>> EventScenes(*jnp.zeros((5, 2, 8, 8))).label.shape
    (2, 8, 8)
    """

    forward: jax.Array
    backward: jax.Array
    label: jax.Array
    clicked: jax.Array
    intensity: jax.Array


class _Shape(NamedTuple):
    """What one shape is and how it moves; times are in frames from the label's moment."""

    kind: jax.Array
    centre: jax.Array
    velocity: jax.Array
    radius: jax.Array
    angle: jax.Array
    brightness: jax.Array
    fineness: jax.Array
    phase: jax.Array


def _polygon(x: jax.Array, y: jax.Array, sides: int) -> jax.Array:
    """Distance beyond the nearest side of a regular polygon in the unit circle; negative inside."""
    turns = 2 * np.pi * np.arange(sides) / sides + np.pi / 2  # one side below
    return (x[..., None] * np.cos(turns) + y[..., None] * np.sin(turns)).max(-1) - np.cos(np.pi / sides)


def _outside(shape: _Shape, x: jax.Array, y: jax.Array) -> jax.Array:
    """Signed distance to the shape's border, about in pixels; negative inside."""
    u = (jnp.cos(shape.angle) * x + jnp.sin(shape.angle) * y) / shape.radius
    v = (jnp.cos(shape.angle) * y - jnp.sin(shape.angle) * x) / shape.radius
    bar = jnp.maximum(jnp.abs(u) - 1.2, jnp.abs(v) - 0.4)
    each = jnp.stack([jnp.hypot(u, v) - 0.85, _polygon(u, v, 4), _polygon(1.15 * u, 1.15 * v, 3), bar])
    return shape.radius * jnp.take(each, shape.kind - 1, axis=0)


def _count(num_shapes: int) -> int:
    """How many numbers a scene needs."""
    return 1 + 11 * num_shapes + 3 * _WAVES + 2


def _draw_shapes(number: Numbers, count: int, size: int, frequencies: np.ndarray, speed: float) -> _Shape:
    upto = np.cumsum(frequencies) / np.sum(frequencies)
    # Nearly upright, drifting to one side or the other: never along its stripes, where its inside would not show.
    angle, side = number(-0.4, 0.4, count), jnp.sign(number(-1, 1, count))
    heading, pace = angle + number(-1, 1, count), side * speed * number(0.5, 1.5, count)
    return _Shape(
        kind=1 + jnp.sum(number(0, 1, count, 1) >= upto[:-1], axis=-1),
        centre=number(0.12 * size, 0.88 * size, count, 2),
        velocity=pace[:, None] * jnp.stack([jnp.cos(heading), jnp.sin(heading)], axis=-1),
        radius=size * number(0.18, 0.27, count),
        angle=angle,
        brightness=number(0.35, 0.95, count),
        fineness=number(0.85, 1.15, count),
        phase=number(0, 2 * np.pi, count),
    )


def _background(number: Numbers, size: int, speed: float) -> Any:
    """A texture of long waves that glides by as the camera turns: `f(x, y, t) -> intensity`."""
    waves = number(-1, 1, _WAVES, 2) * (2 * np.pi * 2.5 / size)
    phases = number(0, 2 * np.pi, _WAVES)
    turn = speed * number(-1, 1, 2)

    def at(x: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
        angle = (x - turn[0] * t)[..., None] * waves[:, 0] + (y - turn[1] * t)[..., None] * waves[:, 1]
        return 0.5 + 0.1 * jnp.sum(jnp.cos(angle + phases), axis=-1)

    return at


def _frame(background: Any, shapes: _Shape, shown: jax.Array, t: jax.Array, size: int) -> tuple:
    """Intensity and class of every pixel at time t; later shapes cover earlier ones."""
    y, x = jnp.meshgrid(jnp.arange(size) + 0.5, jnp.arange(size) + 0.5, indexing="ij")

    def paint(canvas: tuple, layer: tuple) -> tuple[tuple, None]:
        (intensity, label), (shape, is_shown) = canvas, layer
        dx, dy = x - shape.centre[0] - shape.velocity[0] * t, y - shape.centre[1] - shape.velocity[1] * t
        outside = _outside(shape, dx, dy)
        stripes = jnp.asarray(_STRIPES)[shape.kind - 1] * shape.fineness
        along = jnp.cos(shape.angle) * dx + jnp.sin(shape.angle) * dy
        surface = shape.brightness * (0.55 + 0.45 * jnp.cos(stripes * along / shape.radius + shape.phase))
        cover = jax.nn.sigmoid(-outside / 0.4) * is_shown
        return ((1 - cover) * intensity + cover * surface,
                jnp.where((outside < 0) & is_shown, shape.kind, label)), None  # fmt: skip

    start = (background(x, y, t), jnp.zeros((size, size), jnp.int32))
    (intensity, label), _ = jax.lax.scan(paint, start, (shapes, shown))
    return jnp.clip(intensity, _DARKEST, 1.0), label.astype(jnp.int32)


def class_clicks(label: jax.Array, key: jax.Array, *, num_classes: int) -> jax.Array:
    """One pixel of every class that is in the picture, chosen at random: the cheapest labels an annotator can give.

    Args:
        label: `[N, H, W]` integers; a label outside [0, num_classes) is never clicked.
        key: `jax.random.key`.
        num_classes: number of classes K.

    Returns:
        bool `[N, H, W]` with one true pixel for each class of each picture.

    Raises:
        ValueError: `label` is not `[N, H, W]`.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 1 (one click for each class).

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.data import class_clicks
    >>> label = jnp.zeros((1, 4, 4), jnp.int32).at[0, 1].set(2)
    >>> int(class_clicks(label, jax.random.key(0), num_classes=3).sum())
    2
    """
    if jnp.ndim(label) != 3:
        raise InputError(f"label must be [N, H, W], got {jnp.shape(label)}")
    flat = jnp.asarray(label).reshape(label.shape[0], 1, -1)
    own = flat == jnp.arange(num_classes)[:, None]
    noise = jax.random.uniform(key, own.shape, jnp.float32)
    best = jnp.argmax(jnp.where(own, noise, -1.0), axis=-1)
    picked = own & (jnp.arange(own.shape[-1]) == best[..., None])
    return picked.any(axis=1).reshape(label.shape)


def event_scenes(
    key: jax.Array,
    num_examples: int,
    *,
    size: int = 32,
    num_shapes: int = 4,
    bins: int = 5,
    frames: int = 10,
    backward_factor: int = 5,
    speed: float = 0.3,
    turn: float = 0.04,
    threshold: float = 0.15,
    noise: float = 0.01,
    class_frequencies: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1),
) -> EventScenes:
    """Procedural scenes for learning to segment what an event camera sees, from single clicks.

    Striped shapes drift over a slowly turning background, each in a straight line, to the left or to the right and
    nearly upright; some hide others. The camera
    reports thresholded changes of log intensity, so a shape shows by its moving edges and stripes only, and
    background noise adds events that mean nothing. The label holds at one moment: `forward` is what happened just
    before it, sharp but little, `backward` a longer time after it, shown backwards, more but smeared. Pure: jit it
    with `num_examples` static.

    Classes are 0 background, 1 disk, 2 square, 3 triangle, 4 bar: most pixels are background, and the bars are few
    and thin. The stripes of a class are about as fine as those of the next.

    Args:
        key: `jax.random.key`.
        num_examples: scenes N.
        size: pixels on a side, at least 16.
        num_shapes: shapes at most; a scene has between one and this many.
        bins: time bins of each voxel grid.
        frames: frames before the label's moment.
        backward_factor: the time after it is this many times longer.
        speed: of the shapes, pixels per frame on average.
        turn: largest speed of the background along each axis, pixels per frame.
        threshold: of the camera, in log intensity.
        noise: probability of a stray event per pixel and frame.
        class_frequencies: of disk, square, triangle and bar among the shapes.

    Returns:
        `EventScenes` of N scenes.

    Raises:
        ValueError: sizes too small, or not four class frequencies.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, for the task; Gehrig and Scaramuzza, Low-latency
      automotive vision with event cameras, 2024, for what events see; the generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import event_scenes
    >>> scenes = jax.eval_shape(lambda key: event_scenes(key, 6), jax.random.key(0))
    >>> scenes.forward.shape, scenes.clicked.shape
    ((6, 32, 32, 5), (6, 32, 32))
    """
    if min(num_shapes, bins, frames, backward_factor) < 1 or size < 16:
        raise InputError(
            "event_scenes needs at least 1 shape, bin and frame, a factor of at least 1 and 16 pixels, got "
            f"{num_shapes}, {bins}, {frames}, {backward_factor} and {size}"
        )
    if len(class_frequencies) != len(SHAPES) - 1 or min(class_frequencies) < 0:
        raise InputError(f"class_frequencies must be {len(SHAPES) - 1} numbers, got {class_frequencies}")
    after = frames * backward_factor

    def scene(given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        number = Numbers(given[0])
        shown = jnp.arange(num_shapes) <= jnp.floor(number(0, num_shapes))
        shapes = _draw_shapes(number, num_shapes, size, np.asarray(class_frequencies), speed)
        ground = _background(number, size, turn)
        film = lambda t: _frame(ground, shapes, shown, t, size)
        times = jnp.arange(-frames, after + 1, dtype=jnp.float32)
        intensity, label = jax.lax.map(film, times)
        logs = jnp.log(intensity)
        stray = _stray(given[1], (frames + after, size, size), noise)
        before = camera_events(logs[: frames + 1], threshold=threshold) + stray[:frames]
        later = camera_events(logs[frames:], threshold=threshold) + stray[frames:]
        grids = count_voxels(before, bins=bins), count_voxels(reverse_counts(later), bins=bins)
        return (*grids, label[frames], intensity[frames])

    scene_key, stray_key, click_key = jax.random.split(key, 3)
    numbers = jax.random.uniform(scene_key, (num_examples, _count(num_shapes)), jnp.float32)
    forward, backward, label, intensity = jax.lax.map(
        scene, (numbers, jax.random.split(stray_key, num_examples))
    )
    clicked = class_clicks(label, click_key, num_classes=len(SHAPES))
    return EventScenes(forward, backward, label, clicked, intensity)


def _stray(key: jax.Array, shape: tuple[int, ...], rate: float) -> jax.Array:
    """Events that mean nothing: as many brighter as darker."""
    drawn = jax.random.uniform(key, shape, jnp.float32)
    return (drawn < rate / 2).astype(jnp.int32) - (drawn > 1 - rate / 2).astype(jnp.int32)
