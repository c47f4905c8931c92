"""Training data that stay in their files: the same bits as in memory, read once, by whom they are for."""

import functools
import itertools
import os
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError, Learner, pass_rows
from jaxlab.training import Arm, Checkpoints, Experiment, PerSeed, Streamed, Turn, fit, trial
from jaxlab.training import dry_run as dry
from tests.training import toy

BATCH = 8


class Source:
    """Rows of arrays; counts what is read, and fails where told to."""

    def __init__(self, arrays, broken=(), slow_s=0.0):
        self.arrays, self.broken, self.slow_s = arrays, broken, slow_s
        self.read, self.threads = [], set()

    def __len__(self):
        return len(self.arrays["x"])

    def __getitem__(self, row):
        if row in self.broken:
            raise OSError(f"stale handle\nof row {row}")
        time.sleep(self.slow_s)
        self.read.append(row)
        self.threads.add(threading.current_thread())
        return {name: value[row] for name, value in self.arrays.items()}


class Columns(Source):
    """The same, many rows at once."""

    def stacked(self, rows):
        """Fields of some rows."""
        self.read += rows.tolist()
        return {name: value[rows] for name, value in self.arrays.items()}


def arrays():
    inputs, answers = map(np.asarray, toy.data()["train"])
    return {"x": inputs, "y": answers.astype(np.float64)}  # as files often have them


def rows(key, step):
    return pass_rows(key, step, batch_size=BATCH, size=400)


def pair(batch, key):
    """What `toy` learns from, with noise that only a step's own key gives."""
    return batch["x"] + 0.01 * jax.random.normal(key, batch["x"].shape), batch["y"]


def in_memory(train, key, step):
    index = rows(key, step)
    return pair({"x": train[0][index], "y": train[1][index]}, jax.random.fold_in(key, step))


def streamed(source=None, **options):
    return Streamed(Source(arrays()) if source is None else source, rows, **options)


def run(train, *, learner=None, plan=None, steps=35, **options):
    data = {**toy.data(), "train": train}
    return fit(
        toy.learner() if learner is None else learner, data=data, evaluate=toy.evaluate, steps=steps,
        plan=plan or toy.plan(), **options,
    )  # fmt: skip


def same(one, other):
    assert jax.tree.all(
        jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), one.state, other.state)
    )
    assert one.rows == other.rows


@pytest.fixture(scope="module")
def straight():
    return run(streamed(), draw=pair)


@pytest.mark.parametrize("seeds_by", ["vmap", "map"])
def test_the_same_bits_as_in_memory(seeds_by):
    plan = toy.plan(seeds_by=seeds_by)
    same(run(toy.data()["train"], stream=in_memory, plan=plan), run(streamed(), draw=pair, plan=plan))


def test_any_way_to_read_gives_the_same(straight):
    source, pairs = Columns(arrays()), [(x, y) for x, y in zip(*arrays().values())]
    same(straight, run(streamed(source), draw=pair))
    decoded = Streamed(pairs, rows, decode=lambda example: dict(zip("xy", example)))
    same(straight, run(decoded, draw=pair))
    batch = source.read[1 : 1 + 10 * BATCH]  # after row 0, which shows the shapes: one pass, no row twice
    assert len(set(batch)) == len(batch)


def test_a_learner_on_the_host_reads_the_same(straight):
    inner = toy.learner()
    host = Learner(inner.init, inner.update, jit=False)
    found = run(streamed(), draw=pair, learner=host, steps=12)
    expected = run(toy.data()["train"], stream=in_memory, learner=host, steps=12)
    assert found.rows == expected.rows


def test_stopped_anywhere_it_goes_on_with_the_same_bits(straight, tmp_path):
    for stop_after in (1, 2):
        asked = itertools.chain([False] * (stop_after - 1), itertools.repeat(True))
        stops = functools.partial(next, asked)
        with pytest.raises(Exception, match="stopped at step"):
            run(streamed(), draw=pair, checkpoints=Checkpoints(tmp_path), stop=stops)
    source = Source(arrays())
    resumed = run(streamed(source), draw=pair, checkpoints=Checkpoints(tmp_path))
    assert straight.rows[3:] == resumed.rows
    assert len(source.read) == 1 + 5 * BATCH * 3  # an example for its shapes, then five steps of three seeds


def test_read_ahead_by_a_thread_and_nothing_beyond_the_end():
    source = Source(arrays())
    run(streamed(source), draw=pair)
    assert (
        threading.main_thread() not in source.threads - {next(iter(source.threads))}
        or len(source.threads) > 1
    )
    assert len(source.read) == 1 + 35 * BATCH * 3


def test_without_a_draw_the_rows_are_the_batch():
    seen = fit(
        Learner(
            init=lambda key, context: jnp.zeros((), jnp.int32),
            update=lambda state, batch, key, context: (
                state + (batch["x"][:, 0] == batch["index"]).sum(),
                {"shape": batch["x"].shape[0] * 1.0},
            ),
        ),
        data={"train": Streamed([{"x": np.array([n, 0])} for n in range(20)], lambda key, step: jnp.arange(4) + step)},
        steps=6, plan=toy.plan(log_every=3, eval_every=3, checkpoint_every=3),
    )  # fmt: skip
    assert seen.state.tolist() == [24, 24, 24]


@pytest.mark.parametrize("mesh", [{"seed": 2, "data": 2}, {"data": 4, "model": 2}, {"seed": 4}])
def test_on_a_mesh(straight, mesh):
    found = run(streamed(), draw=pair, plan=toy.plan(mesh=mesh))
    for one, other in zip(found.rows, straight.rows):
        np.testing.assert_allclose(one["train/loss"], other["train/loss"], rtol=1e-5)


def test_arms_that_share_a_program_share_its_rows():
    source = Source(arrays())
    experiment = Experiment(
        {**toy.data(), "train": streamed(source), "val": PerSeed(lambda key: toy.data()["val"])},
        draw=pair, arms={"a": toy.arm(0.1), "b": toy.arm(0.2)}, evaluate=toy.evaluate,
    )  # fmt: skip
    assert trial(experiment, toy.plan())["a"] == {"val/mse", "test/mse"}
    assert len(source.read) <= 3  # shapes alone
    table = dry.dry_run({"": experiment}, toy.plan())
    cells = next(line for line in table.splitlines() if "a and 1 more" in line).split("|")
    assert [cell.strip() for cell in cells[8:10]] == ["0 B", f"{2 * 3 * 10 * BATCH * 6 * 4 / 1024:.1f} KiB"]
    assert experiment.n_data(toy.plan()) == 3


def test_a_turn_sees_none():
    def turn(state, train, step, key, context):
        assert train is None
        return state

    run(streamed(), draw=pair, steps=20, turn=Turn(turn, every=10))


def test_a_row_that_cannot_be_read_loses_nothing(straight, tmp_path):
    broken = next(row for row in source_rows(25) if row not in source_rows(20))
    with pytest.raises(InputError) as error:
        run(streamed(Source(arrays(), broken={broken})), draw=pair, checkpoints=Checkpoints(tmp_path))
    assert str(error.value) == (
        f"data['train']: row {broken} cannot be read (OSError: stale handle of row {broken})"
    )
    assert Checkpoints(tmp_path).newest == 20
    resumed = run(streamed(), draw=pair, checkpoints=Checkpoints(tmp_path))
    assert straight.rows[2:] == resumed.rows


def test_a_mapped_file_that_is_cut_is_not_touched(tmp_path):
    file, source = tmp_path / "set.arrow", Source(arrays())
    file.write_bytes(b"rows")
    source.cache_files = [{"filename": str(file)}]
    asked = itertools.count()

    def log(row):
        if next(asked) == 1:
            os.truncate(file, 2)

    with pytest.raises(InputError, match="set.arrow is cut short: 2 bytes of 4$"):
        run(streamed(source), draw=pair, log=log, steps=100, checkpoints=Checkpoints(tmp_path / "run"))
    assert Checkpoints(tmp_path / "run").newest >= 10


def source_rows(steps):
    """Rows that the first steps of seeds 0 to 2 read."""
    source = Columns(arrays())
    run(streamed(source), draw=pair, steps=steps)
    return set(source.read)


def test_a_read_that_takes_too_long(tmp_path):
    with pytest.raises(InputError, match=r"the rows of steps 1 to 10 were not read in 0.2 s"):
        run(
            streamed(Source(arrays(), slow_s=0.02), timeout_s=0.2),
            draw=pair,
            checkpoints=Checkpoints(tmp_path),
        )
    assert Checkpoints(tmp_path).newest is None


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (lambda: Streamed([1, 2], rows), "row 0 is an int: an example is a dict of arrays"),
        (lambda: Streamed([{"x": "text"}], rows), "'x' of row 0 is no array of numbers but <U4"),
        (lambda: Streamed([{"index": 1}], rows), "rename that field"),
        (lambda: Streamed([{"x": 1}], lambda key, step: 3), "rows gives int32[]: it must be integers"),
        (lambda: Streamed([{"x": 1}], lambda key, step: step + jnp.arange(8)), "rows gives 16: the source has"),
        (lambda: Streamed([{"x": np.zeros(row)} for row in range(1, 30)], lambda key, step: jnp.arange(8)),
         r"'x' of row 1 has the shape (2,), that of row 0 (1,)"),
        (lambda: Streamed([{"x": 1}, {"y": 1}], lambda key, step: jnp.arange(2)), "row 1 has no 'x'"),
        (lambda: Streamed([b"", b"1"], lambda key, step: jnp.arange(2)), "row 0 is empty: its file may be cut short"),
        (lambda: Streamed([{"x": 1}], rows, decode=lambda row: row["y"]), "row 0 cannot be read (KeyError: 'y')"),
        (lambda: Streamed([], rows), "the source is empty"),
        (lambda: Streamed(3, rows), "source is an int"),
        (lambda: Streamed([1], 3), "rows is an int"),
        (lambda: Streamed([1], rows, timeout_s=0), "timeout_s is 0"),
        (lambda: {"x": Streamed([1], rows)}, "can only be the whole of data['train']"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(train, words):
    learner = Learner(lambda key, context: jnp.zeros(()), lambda state, batch, key, context: (state, {}))
    with pytest.raises(InputError) as error:
        fit(learner, data={"train": train()}, steps=10, plan=toy.plan())
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mesh_that_does_not_divide_the_batch():
    with pytest.raises(InputError, match="mesh.data is 3: it must divide the batch, which has 8 rows"):
        run(streamed(), draw=pair, plan=toy.plan(mesh={"data": 3}))


def test_arms_of_a_comparison():
    arms = {"fast": Arm(toy.learner(0.1), steps=20), "slow": Arm(toy.learner(0.001), steps=20)}
    with pytest.raises(InputError, match=r"data\['val'\] holds a Streamed"):
        Experiment({**toy.data(), "val": streamed()}, draw=pair, arms=arms)
