"""What the compiled programs hold: the data once, whatever the number of seeds."""

import jax
import jax.numpy as jnp
import pytest

from jaxlab.core import Learner
from jaxlab.training._program import CompiledProgram

ROWS, WIDTH = 4000, 1000


def program(seeds: int) -> CompiledProgram:
    """A state of one row per seed, against data of sixteen megabytes."""
    learner = Learner(
        init=lambda key, context: jax.random.normal(key, (WIDTH,)),
        update=lambda state, batch, key: (state + 0.1 * batch, {"loss": jnp.sum(state * batch)}),
    )
    return CompiledProgram(
        learner,
        lambda train, key: train[jax.random.randint(key, (), 0, ROWS)],
        lambda state, split: {"score": jnp.mean(split @ state)},
        seeds=tuple(range(seeds)), salt=0, seeds_by="vmap", mesh_shape={}, rules=(),
    )  # fmt: skip


@pytest.mark.parametrize("what", ["train", "evaluate"])
def test_more_seeds_do_not_copy_the_data(what):
    data, size = jax.ShapeDtypeStruct((ROWS, WIDTH), "float32"), {}
    for seeds in (1, 16):
        made = program(seeds)
        with jax.set_mesh(made.mesh):
            compiled = {
                "train": lambda: made.compile({}, data, 10),  # noqa: B023
                "evaluate": lambda: made._score.lower(made.abstract_state({}), data).compile(),  # noqa: B023
            }[what]()
        memory = compiled.memory_analysis()
        size[seeds] = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert size[1] >= ROWS * WIDTH * 4
    assert size[16] - size[1] < ROWS * WIDTH * 4 / 10
