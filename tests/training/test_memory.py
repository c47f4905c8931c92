"""What the compiled programs hold: the data once, whatever the number of seeds."""

import jax
import jax.numpy as jnp
import pytest

from jaxlab.core import Learner
from jaxlab.training import Arm, Experiment, Plan
from jaxlab.training._method import group_of
from jaxlab.training._placed import split_data
from jaxlab.training._program import CompiledProgram, make_program

ROWS, WIDTH = 4000, 1000


def program(seeds: int) -> CompiledProgram:
    """A state of one row per seed, against data of sixteen megabytes."""
    learner = Learner(
        init=lambda key, context: jax.random.normal(key, (WIDTH,)),
        update=lambda state, batch, key, context: (state + 0.1 * batch, {"loss": jnp.sum(state * batch)}),
    )
    experiment = Experiment(
        {"train": None},
        lambda train, key: train[jax.random.randint(key, (), 0, ROWS)],
        arms={},
        evaluate=lambda state, split, context: {"score": jnp.mean(split @ state)},
    )
    group = group_of("only", Arm(learner, steps=10), experiment)
    return make_program(group, Plan(seeds=tuple(range(seeds)), log_every=10))


@pytest.mark.parametrize("what", ["train_chunk", "evaluate"])
def test_more_seeds_do_not_copy_the_data(what):
    data, size = split_data(jax.ShapeDtypeStruct((ROWS, WIDTH), "float32"), (0,)), {}
    for seeds in (1, 16):
        made = program(seeds)
        made.trace({}, {"train": data}, (10,), ("train",))
        (key,) = [key for key in made._traced if what in key[0]]
        memory = made._compile(key).memory_analysis()
        size[seeds] = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert size[1] >= ROWS * WIDTH * 4
    assert size[16] - size[1] < ROWS * WIDTH * 4 / 10
