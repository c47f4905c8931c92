"""Ways through a grid past objects, with an angle that is held: behaviours of which people see a few features."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError, check_least

_OBJECTS = 3


class RobotPaths(NamedTuple):
    """Behaviours and what people see of them, from `robot_paths`.

    Attributes:
      input: `[N, 4 S - 2 + A + K]` float32: places, one-hot angle, and K numbers that mean nothing.
      features: `[N, 4]` float32: mean distances from three objects and the angle's size, standardised over all
        behaviours of this world.
      path: `[N, 2 S - 1, 2]` int32 places on the grid, from corner to corner.
      angle: `[N]` int32 in [0, A), the middle one level.
    """

    input: jax.Array
    features: jax.Array
    path: jax.Array
    angle: jax.Array


def robot_paths(
    world_key: jax.Array,
    key: jax.Array,
    num_examples: int,
    *,
    size: int = 5,
    num_angles: int = 7,
    distractors: int = 10,
    distraction: float = 0.5,
) -> RobotPaths:
    """Random shortest ways through a grid with three objects, at a held angle.

    All ways from corner to corner in steps down and right are equally likely, and so are all angles. Features are not
    linear in the input, so that a linear probe of the input is no perfect one. Pure: jit it with all but the keys
    static.

    Args:
      world_key: `jax.random.key` of the objects' places.
      key: of the behaviours; the same world with another key is a test set.
      num_examples: N.
      size: cells S on a side, from 3 to 8.
      num_angles: A, odd, at least 3.
      distractors: K.
      distraction: standard deviation of the numbers that mean nothing.

    Returns:
      `RobotPaths`.

    Raises:
      ValueError: a number outside of its range.

    Reference: Bobu et al., SIRL: Similarity-based Implicit Representation Learning, 2023, section 4 (GridRobot); the
      generator is not theirs.

    >>> made = robot_paths(jax.random.key(0), jax.random.key(1), 100)
    >>> made.input.shape, made.path[0, 0].tolist(), made.path[0, -1].tolist()
    ((100, 35), [0, 0], [4, 4])
    """
    if not 3 <= size <= 8 or num_angles < 3 or num_angles % 2 == 0 or num_examples < 0 or distractors < 0:
        raise InputError(
            "size must be from 3 to 8, num_angles odd and at least 3, num_examples and distractors at least 0, got "
            f"{size}, {num_angles}, {num_examples} and {distractors}"
        )
    check_least("distraction", distraction, 0)
    ways = jnp.asarray(_ways(size))
    cells = jax.random.choice(world_key, size**2, (_OBJECTS,), replace=False)
    objects = jnp.stack([cells // size, cells % size], axis=-1)
    away = jnp.linalg.norm((ways[:, :, None] - objects).astype(jnp.float32), axis=-1).mean(axis=1)
    tilt = jnp.abs(jnp.linspace(-1.0, 1.0, num_angles))
    standard = lambda x: (x - x.mean(0)) / x.std(0)
    away, tilt = standard(away), standard(tilt)
    way_key, angle_key, noise_key = jax.random.split(key, 3)
    way = jax.random.randint(way_key, (num_examples,), 0, len(ways))
    angle = jax.random.randint(angle_key, (num_examples,), 0, num_angles)
    noise = distraction * jax.random.normal(noise_key, (num_examples, distractors))
    places = ways[way].reshape(num_examples, 2 * (2 * size - 1)) / (size - 1)
    return RobotPaths(
        input=jnp.concatenate([places, jax.nn.one_hot(angle, num_angles), noise], axis=1),
        features=jnp.concatenate([away[way], tilt[angle][:, None]], axis=1),
        path=ways[way],
        angle=angle.astype(jnp.int32),
    )


def _ways(size: int) -> np.ndarray:
    """All shortest ways from corner to corner, `[W, 2 size - 1, 2]`."""
    steps = 2 * (size - 1)
    made = []
    for down in itertools.combinations(range(steps), size - 1):
        is_down = np.isin(np.arange(steps), down)
        moves = np.stack([is_down, ~is_down], axis=1).astype(np.int32)
        made.append(np.concatenate([np.zeros((1, 2), np.int32), np.cumsum(moves, axis=0)]))
    return np.stack(made).astype(np.int32)
