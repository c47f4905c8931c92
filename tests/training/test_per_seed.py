"""Data that differ by seed: made once, mapped like the state, shared by arms and settings."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import Learner
from jaxlab.training import PerSeed, Workdir, fit
from jaxlab.training.run import run
from tests.training import toy

SALT = zlib.crc32(b"data")


def world(key):
    """Each seed has answers of its own."""
    inputs = jax.random.normal(key, (50, 4))
    return inputs, inputs @ jax.random.normal(jax.random.fold_in(key, 1), (4,))


def data():
    """The training rows are a seed's own; validation mixes shared inputs with rows of the seed."""
    shared = toy.data()
    rows = np.stack([np.arange(40) + 20 * position for position in range(3)])
    return {
        "train": PerSeed(world),
        "val": {"rows": shared["train"], "mine": PerSeed(rows=rows)},
        "test": shared["test"],
    }


def evaluate(state, split, context):
    """The error, on a seed's own rows where there are some."""
    if isinstance(split, dict):
        split = jax.tree.map(lambda x: x[split["mine"]], split["rows"])
    return {"mse": toy.mse(state.params, split), "first": split[1][0]}


def go(plan=None, learner=None):
    plan = plan or toy.plan(seeds=(4, 0, 7))
    return fit(learner or toy.learner(), data=data(), draw=draw, steps=20, plan=plan, evaluate=evaluate)


def draw(train, key):
    """Eight rows of fifty."""
    rows = jax.random.randint(key, (8,), 0, 50)
    return train[0][rows], train[1][rows]


def test_every_seed_has_its_own():
    """Alone, with the same data given as shared, each seed gives the same numbers."""
    together = go()
    shared = toy.data()["train"]
    for position, seed in enumerate((4, 0, 7)):
        own = world(jax.random.fold_in(jax.random.key(seed), SALT))
        alone = fit(
            toy.learner(), data={"train": own, "test": toy.data()["test"]}, draw=draw, steps=20,
            plan=toy.plan(seeds=(seed,)), evaluate=evaluate,
        )  # fmt: skip
        np.testing.assert_allclose(
            together.state.params["w"][position], alone.state.params["w"][0], rtol=1e-4
        )
        np.testing.assert_allclose(
            together.final["test/mse"][position], alone.final["test/mse"][0], rtol=1e-4
        )
        # Rows go by the seed's position, not by its number.
        np.testing.assert_allclose(together.final["val/first"][position], shared[1][20 * position], rtol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"seeds_by": "map"}, {"mesh": {"seed": 2, "data": 2}}, {"mesh": {"seed": 3}}]
)
def test_devices_and_mappings_do_not_matter(changes):
    expected, found = go(), go(toy.plan(seeds=(4, 0, 7), **changes))
    np.testing.assert_allclose(found.state.params["w"], expected.state.params["w"], rtol=1e-4)
    np.testing.assert_allclose(found.final["val/mse"], expected.final["val/mse"], rtol=1e-4)


def test_on_the_host_likewise():
    pure, expected = toy.learner(), go()
    found = go(learner=Learner(pure.init, pure.update, jit=False))
    np.testing.assert_allclose(
        [one.params["w"] for one in found.state], expected.state.params["w"], rtol=1e-4
    )
    np.testing.assert_allclose(found.final["val/mse"], expected.final["val/mse"], rtol=1e-4)


@pytest.mark.parametrize(
    "mesh", [{"seed": 1}, {"seed": 2}]
)  # three seeds on two devices: settings are spread
def test_a_whole_run_makes_them_once(tmp_path, mesh):
    """Arms and settings share them; examples see the first seed's."""
    made, seen = [], []

    def make(key):
        made.append(1)
        return world(key)

    def examples(states, splits):
        from matplotlib.figure import Figure

        seen.append(splits)
        return Figure(figsize=(1, 1))

    import dataclasses

    experiment = dataclasses.replace(
        toy.experiment(slow=toy.arm(0.01, steps=10), fast=toy.arm(0.1, steps=10), other=toy.arm(0.1, steps=20)),
        data={"train": PerSeed(make), "test": toy.data()["test"]}, draw=draw, examples=examples,
    )  # fmt: skip
    workdir = Workdir(tmp_path, {"toy": 1})
    with workdir.opened():
        run({"": experiment}, toy.plan(seeds=(3, 1, 2), mesh=mesh), workdir)
    assert made == [1]
    own = world(jax.random.fold_in(jax.random.key(3), SALT))
    np.testing.assert_allclose(seen[0]["train"][0], own[0], rtol=1e-5)
    assert isinstance(seen[0]["test"], tuple)


def test_per_seed_data_that_cannot_be():
    with pytest.raises(ValueError, match="make or rows, one of the two"):
        PerSeed()
    with pytest.raises(
        ValueError, match=r"rows\['x'\] has the shape \(2, 5\): its first axis must be the 3 seeds"
    ):
        fit(
            toy.learner(),
            data={"train": PerSeed(rows={"x": jnp.zeros((2, 5))})},
            draw=draw,
            steps=10,
            plan=toy.plan(),
        )
