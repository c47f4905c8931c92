"""The loop: the same numbers whatever the chunks, the devices, the mapping of seeds and the interruptions."""

import os
import shutil
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxlab.core import Learner, until
from jaxlab.training import Checkpoints, Diverged, Fit, fit
from jaxlab.training.loop import Interrupted
from jaxlab.training.preemption import Preempted
from tests.training import toy


def run(learner=None, steps=60, plan=None, **kwargs):
    return fit(
        learner or toy.learner(),
        data=toy.data(),
        draw=toy.draw,
        steps=steps,
        plan=plan or toy.plan(),
        evaluate=toy.evaluate,
        **kwargs,
    )


def weights(done):
    return np.asarray(toy.params_of(done.state)["w"])


def test_it_learns_and_evaluates_what_it_should():
    done = run(steps=300, plan=toy.plan(eval_every=100))
    assert isinstance(done, Fit)
    assert done.wall_s > 0
    assert weights(done).shape == (3, 4)
    np.testing.assert_allclose(weights(done), [[1.0, -2.0, 0.5, 3.0]] * 3, atol=0.1)
    assert set(done.final) == {"val/mse", "test/mse"}
    assert [row["step"] for row in done.rows] == list(range(10, 301, 10))
    assert [row["step"] for row in done.rows if "val/mse" in row] == [100, 200, 300]
    assert [row["step"] for row in done.rows if "test/mse" in row] == [300]


def test_it_equals_a_loop_written_by_hand():
    """One seed, step by step in Python, with the keys that `seed_keys` documents."""
    from jaxlab.training._program import seed_keys

    init, data_key, update_key = seed_keys(np.uint32(1), 0)
    learner, data = toy.learner(), toy.data()
    state = learner.init(init, {})
    losses = []
    for step in range(20):
        batch = toy.draw(data["train"], jax.random.fold_in(data_key, step))
        state, metrics = learner.update(state, batch, jax.random.fold_in(update_key, step), {})
        losses.append(float(metrics["loss"]))
    done = run(steps=20)
    np.testing.assert_allclose(weights(done)[1], state.params["w"], rtol=1e-5)
    np.testing.assert_allclose(done.rows[0]["train/loss"][1], np.mean(losses[:10]), rtol=1e-5)
    np.testing.assert_allclose(done.rows[1]["train/loss"][1], np.mean(losses[10:]), rtol=1e-5)


def test_the_last_chunk_may_be_short():
    done = run(steps=25)
    assert [row["step"] for row in done.rows] == [10, 20, 25]
    np.testing.assert_allclose(weights(done), weights(run(steps=25, plan=toy.plan(log_every=5))), rtol=1e-6)


@pytest.mark.parametrize("seeds_by", ["vmap", "map"])
@pytest.mark.parametrize(
    "mesh", [{}, {"seed": 2}, {"data": 2}, {"data": 4}, {"data": 8}, {"seed": 2, "data": 2, "model": 2}]
)
def test_devices_and_the_mapping_of_seeds_do_not_matter(seeds_by, mesh):
    plan = toy.plan(seeds=(0, 1, 2, 3))
    expected = run(plan=plan)
    rules = [("'w'", P("model"))]
    found = run(plan=toy.plan(seeds=(0, 1, 2, 3), seeds_by=seeds_by, mesh=mesh), sharding=rules)
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-5, atol=1e-6)
    for name, value in expected.final.items():
        np.testing.assert_allclose(found.final[name], value, rtol=1e-5)
    if mesh.get("model"):
        assert toy.params_of(found.state)["w"].sharding.spec == P("seed", "model")


def test_seeds_one_at_a_time_agree():
    together = run(plan=toy.plan(seeds=(5, 9)))
    alone = [run(plan=toy.plan(seeds=(seed,))) for seed in (5, 9)]
    np.testing.assert_allclose(weights(together), np.concatenate([weights(a) for a in alone]), rtol=1e-5)


def test_arms_see_the_same_batches():
    def spy(scale):
        return Learner(
            lambda key, context: scale * jax.random.normal(key),
            lambda state, batch, key, context: (state, {"loss": jnp.sum(batch[0])}),
        )

    first = fit(spy(1.0), data=toy.data(), draw=toy.draw, steps=20, plan=toy.plan())
    second = fit(spy(3.0), data=toy.data(), draw=toy.draw, steps=20, plan=toy.plan())
    other = fit(spy(1.0), data=toy.data(), draw=toy.draw, steps=20, plan=toy.plan(), salt=5)
    np.testing.assert_array_equal(first.rows[1]["train/loss"], second.rows[1]["train/loss"])
    np.testing.assert_allclose(3 * np.asarray(first.state), second.state, rtol=1e-6)
    assert not np.allclose(first.rows[1]["train/loss"], other.rows[1]["train/loss"])


def test_an_interrupted_run_resumes_bit_for_bit(tmp_path):
    expected = run()
    asked = iter([False, False, True])
    with pytest.raises(Preempted) as stopped:
        run(checkpoints=(first := Checkpoints(tmp_path)), stop=lambda: next(asked))
    first.close()
    assert stopped.value.step == 30
    started = []
    second = Checkpoints(tmp_path)
    resumed = run(checkpoints=second, rewind=started.append)
    second.close()
    assert started == [30]
    assert [row["step"] for row in resumed.rows] == [40, 50, 60]
    np.testing.assert_array_equal(weights(resumed), weights(expected))
    for name, value in expected.final.items():
        np.testing.assert_array_equal(resumed.final[name], value)


@pytest.mark.parametrize(("minutes", "steps"), [(1e-9, [10, 20, 30]), (1e9, [30])])
def test_a_checkpoint_whenever_time_has_passed(tmp_path, minutes, steps):
    plan = toy.plan(eval_every=10, checkpoint_every=40, checkpoint_minutes=minutes)
    checkpoints = Checkpoints(tmp_path, keep=9)
    fit(toy.learner(), data=toy.data(), draw=toy.draw, steps=30, plan=plan, checkpoints=checkpoints)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == steps


def test_a_finished_run_is_read_back(tmp_path):
    first = run(checkpoints=Checkpoints(tmp_path))
    second = run(checkpoints=Checkpoints(tmp_path))
    assert second.rows == []
    np.testing.assert_array_equal(weights(first), weights(second))
    for name, value in first.final.items():
        np.testing.assert_array_equal(second.final[name], value)


def test_resuming_on_other_devices(tmp_path):
    plan = toy.plan(seeds=(0, 1, 2, 3))
    expected = run(plan=plan)
    asked = iter([False, True])
    with pytest.raises(Preempted):
        run(plan=plan, checkpoints=Checkpoints(tmp_path), stop=lambda: next(asked))
    resumed = run(
        plan=toy.plan(seeds=(0, 1, 2, 3), mesh={"seed": 2, "data": 4}), checkpoints=Checkpoints(tmp_path)
    )
    np.testing.assert_allclose(weights(resumed), weights(expected), rtol=1e-5, atol=1e-6)


def test_a_nan_names_its_step_and_seed(tmp_path):
    with pytest.raises(Diverged) as error:
        run(toy.learner(nan_at=37), checkpoints=Checkpoints(tmp_path))
    assert (error.value.step, error.value.seed, error.value.metric) == (37, 0, "loss")
    with pytest.raises(Diverged) as again:
        run(toy.learner(nan_at=37), checkpoints=Checkpoints(tmp_path))
    assert (again.value.step, again.value.seed) == (37, 0)


def test_a_nan_in_one_seed_is_that_seeds(tmp_path):
    plan = toy.plan(seeds=(3, 11, 12))
    firsts = [float(row[0]) for row in weights(run(steps=37, plan=plan))]
    wanted = int(np.argmax(firsts))
    limit = sorted(firsts)[-2] + 1e-4
    with pytest.raises(Diverged) as error:
        run(toy.learner(nan_at=37, nan_seed_above=limit), plan=plan)
    assert error.value.seed == plan.seeds[wanted]


def test_a_nan_in_the_last_evaluation_counts():
    learner = toy.learner()
    broken = Learner(
        learner.init, lambda s, b, k, c: (s._replace(params={"w": s.params["w"] * jnp.nan}), {"loss": 0.0})
    )
    with pytest.raises(Diverged) as error:
        run(broken, steps=10)
    assert error.value.metric in ("val/mse", "test/mse")


def test_a_learner_on_the_host_gives_the_same_numbers(tmp_path):
    pure = toy.learner()
    host = Learner(pure.init, pure.update, jit=False)
    expected, found = run(steps=20), run(host, steps=20, checkpoints=Checkpoints(tmp_path))
    np.testing.assert_allclose([s.params["w"] for s in found.state], weights(expected), rtol=1e-4)
    np.testing.assert_allclose(found.final["test/mse"], expected.final["test/mse"], rtol=1e-4)
    back = run(host, steps=20, checkpoints=Checkpoints(tmp_path))
    np.testing.assert_array_equal([s.params["w"] for s in found.state], [s.params["w"] for s in back.state])


def test_the_update_is_compiled_once():
    base = toy.learner()
    # Once for the chunk; tracing may look at the scan's body twice.
    run(Learner(base.init, chex.assert_max_traces(base.update, n=2)), steps=60)


def test_a_batch_that_the_mesh_cannot_split():
    with pytest.raises(ValueError, match=r"mesh.data is 3: it must divide the batch, which has 8 rows"):
        run(plan=toy.plan(mesh={"data": 3}))


def test_context_reaches_init_with_one_entry_per_seed():
    learner = Learner(lambda key, context: context["x"], lambda s, b, k, c: (s, {"loss": s.sum()}))
    given = {"x": jnp.arange(6.0).reshape(3, 2)}
    done = fit(learner, data=toy.data(), draw=toy.draw, steps=10, plan=toy.plan(), context=given)
    np.testing.assert_array_equal(done.state, given["x"])
    np.testing.assert_array_equal(done.rows[0]["train/loss"], [1.0, 5.0, 9.0])


@pytest.mark.parametrize("keep", [True, False])
def test_ctrl_c_ends_the_chunk_and_keeps_what_is_done(tmp_path, keep):
    """The `Fit` so far hangs on the exception, and the same cell runs again in the same process."""
    expected = run()
    checkpoints = lambda: Checkpoints(tmp_path) if keep else None
    interrupt = lambda row: os.kill(os.getpid(), signal.SIGINT) if row["step"] == 20 else None
    for _ in range(3):
        with pytest.raises(Interrupted, match="interrupted at step 20") as stopped:
            run(checkpoints=checkpoints(), log=interrupt)
        found = stopped.value.fit
        assert [row["step"] for row in found.rows][-1:] == [20]
        assert weights(found).shape == (3, 4)
        shutil.rmtree(tmp_path, ignore_errors=True)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=checkpoints(), log=interrupt)
    done = run(checkpoints=checkpoints())
    assert done.rows[0]["step"] == (30 if keep else 10)
    np.testing.assert_array_equal(weights(done), weights(expected))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_fit_is_printed_tabulated_and_drawn():
    done = run(steps=20)
    lines = repr(done).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("Fit of 3 seeds, ")
    assert "test/mse" in lines[2]
    assert "5 arrays" in lines[4]
    assert [axes.get_title() for axes in done.plot("train/loss", "val/mse").axes] == ["train/loss", "val/mse"]
    with pytest.raises(ValueError, match="no row has the metric 'loss'"):
        done.plot("loss")
    pandas = pytest.importorskip("pandas")
    table = done.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.shape[0] == 2 * 3
    last = table[(table.step == 20) & (table.seed == 1)]
    np.testing.assert_allclose(last["test/mse"], done.final["test/mse"][1])
    assert table["test/mse"].isna().sum() == 3


def early(jit):
    """Counts down from 10 or 20, as the seed's key has it, until below 6."""

    def init(key, context):
        return jnp.where(jax.random.uniform(key) > 0.5, 20.0, 10.0)

    counting = Learner(init, lambda x, batch, key, context: (x - 1.0, {"loss": x}), jit)
    return until(counting, lambda running: running["loss"] < 6, ("loss",), decay=0.0)


def value(state, split, context):
    return {"left": state.inner}


@pytest.mark.parametrize("jit", [True, False])
def test_training_ends_when_every_seed_has_reached_its_target(jit, tmp_path):
    """Losses 10 or 20, then one less with each step: 5 is seen at step 6 or 16, in the fourth chunk of 5."""
    taken = []
    plan = toy.plan(seeds=(0, 1, 2, 3), log_every=5, eval_every=5, checkpoint_every=5)
    checkpoints = Checkpoints(tmp_path / "fit", identity={})
    given = {"data": toy.data(), "steps": 1000, "plan": plan, "evaluate": value}
    done = fit(early(jit), **given, log=lambda row: taken.append(row["step"]), checkpoints=checkpoints)
    assert taken == [5, 10, 15, 1000]
    state = done.state if jit else jax.tree.map(lambda *leaves: np.stack(leaves), *done.state)
    assert set(np.asarray(state.steps).tolist()) == {6, 16}
    np.testing.assert_array_equal(done.final["test/left"], np.full(4, 4.0))
    whole = early(jit)._replace(ends=None)
    full = fit(whole, **given | {"steps": 40})
    chex.assert_trees_all_equal(done.state, full.state)
    again = fit(early(jit), **given, checkpoints=Checkpoints(tmp_path / "fit", identity={}))
    chex.assert_trees_all_equal(again.state, done.state)
    assert again.rows == []


def test_a_learner_that_ends_by_what_it_does_not_report():
    counting = Learner(lambda key, context: jnp.float32(0), lambda x, *_: (x + 1, {"loss": x}), ends="there")
    with pytest.raises(ValueError, match="ends is 'there': it must be a metric of its update, loss"):
        fit(counting, data={"train": jnp.zeros(1)}, steps=5, plan=toy.plan(log_every=5))
