"""What depends on the time: streams, turns, metrics along the way and their summaries, states that are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import Learner, computed, pass_rows
from jaxlab.training import Arm, Checkpoints, Turn, fit
from jaxlab.training._program import seed_keys, turn_key
from jaxlab.training.preemption import Preempted
from tests.training import toy


def stream(train, key, step):
    """One pass after another over the rows, without replacement."""
    rows = pass_rows(key, step, batch_size=8, size=400)
    return train[0][rows], train[1][rows]


def halve(state, train, step, key, context):
    """A turn that leaves its mark: half the weights, a draw of its key, the step and the first answer."""
    return state._replace(
        params={"w": 0.5 * state.params["w"] + 0.01 * jax.random.normal(key) + 1e-4 * step + train[1][0]}
    )


def summarise(history):
    """The best error on the way, the area under it, and a metric that cannot be had."""
    errors = history["val/mse"]
    return {
        "best": errors.min(axis=0),
        "area": errors.mean(axis=0),
        "late_change": errors[-1] - errors[-2],
        "nothing": np.full(errors.shape[1], np.nan),
        "first_loss": history["train/loss"][0],
    }


WITH_TIME = {"stream": stream, "turn": Turn(halve, at=(20, 60)), "summarise": summarise}


def go(steps=60, plan=None, learner=None, **options):
    return fit(
        learner or toy.learner(),
        data=toy.data(),
        steps=steps,
        plan=plan or toy.plan(),
        evaluate=toy.evaluate,
        **{**WITH_TIME, **options},
    )


def weights(done):
    return np.asarray(toy.params_of(done.state)["w"])


def by_hand(seed, steps=60):
    """Step by step in Python: the state after `steps`, the errors at every evaluation."""
    init, data_key, update_key = seed_keys(np.uint32(seed), 0)
    learner, data = toy.learner(), toy.data()
    state, errors = learner.init(init, {}), []
    update, draw = jax.jit(learner.update), jax.jit(stream)
    for step in range(steps):
        state, _ = update(
            state, draw(data["train"], data_key, step), jax.random.fold_in(update_key, step), {}
        )
        if step + 1 in (20, 60):
            state = halve(state, data["train"], step + 1, turn_key(np.uint32(seed), 0, step + 1), {})
        if (step + 1) % 20 == 0:
            errors.append(float(toy.mse(state.params, data["val"])))
    return state, np.asarray(errors)


def test_it_equals_a_loop_written_by_hand():
    done = go()
    for position, seed in enumerate((0, 2)):
        state, errors = by_hand(seed)
        position = (0, 2)[position]
        np.testing.assert_allclose(weights(done)[position], state.params["w"], rtol=1e-4)
        np.testing.assert_allclose(done.history["val/mse"][:, position], errors, rtol=1e-4)
        np.testing.assert_allclose(done.final["best"][position], errors.min(), rtol=1e-4)
        np.testing.assert_allclose(done.final["area"][position], errors.mean(), rtol=1e-4)
    assert done.history["step"].tolist() == [20, 40, 60]
    assert set(done.history) == {"step", "val/mse", "train/loss", "train/noise"}
    assert {"val/mse", "test/mse"} < set(done.final)
    assert np.isnan(done.final["nothing"]).all()
    np.testing.assert_allclose(done.final["first_loss"], done.rows[1]["train/loss"])


def test_interrupted_in_the_middle_of_all_of_it_it_ends_with_the_same_bits(tmp_path):
    expected, stops = go(), 0
    while True:
        checkpoints = Checkpoints(tmp_path)
        asked = iter(range(100))
        try:
            done = go(checkpoints=checkpoints, stop=lambda: next(asked) == 0)  # noqa: B023
            break
        except Preempted:
            stops += 1
        finally:
            checkpoints.close()
    assert stops == 5
    np.testing.assert_array_equal(weights(done), weights(expected))
    for name, values in expected.final.items():
        np.testing.assert_array_equal(done.final[name], values)
    for name, values in expected.history.items():
        np.testing.assert_array_equal(done.history[name], values)
    again = go(checkpoints=Checkpoints(tmp_path))
    np.testing.assert_array_equal(again.history["val/mse"], expected.history["val/mse"])
    assert again.rows == []


@pytest.mark.parametrize("changes", [{"seeds_by": "map"}, {"mesh": {"seed": 2, "data": 4}}])
def test_devices_and_mappings_do_not_matter(changes):
    expected, found = go(), go(plan=toy.plan(**changes))
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-4)
    np.testing.assert_allclose(found.final["area"], expected.final["area"], rtol=1e-4)


def test_on_the_host_likewise():
    pure, own = toy.learner(), {"turn": Turn(halve, every=20), "plan": toy.plan(eval_every=10)}
    expected = go(steps=20, **own)
    found = go(steps=20, learner=Learner(pure.init, pure.update, jit=False), **own)
    np.testing.assert_allclose([one.params["w"] for one in found.state], weights(expected), rtol=1e-4)
    np.testing.assert_allclose(found.final["best"], expected.final["best"], rtol=1e-4)


def test_a_pass_over_the_data_sees_every_row_once():
    """The state counts how often it met each row: 50 batches of 8 are one pass over 400 rows, in an order per seed."""
    learner = Learner(
        lambda key, context: (jnp.zeros(400, jnp.int32), jnp.zeros(8, jnp.int32)),
        lambda state, rows, key, context: ((state[0].at[rows].add(1), rows), {"loss": 0.0}),
    )
    rows = lambda train, key, step: pass_rows(key, step, batch_size=8, size=400)
    counts, last = fit(learner, data=toy.data(), stream=rows, steps=50, plan=toy.plan()).state
    np.testing.assert_array_equal(counts, np.ones((3, 400)))
    assert len({tuple(np.asarray(row)) for row in last}) == 3


def test_without_draw_or_stream_the_batch_is_none():
    def update(state, batch, key, context):
        assert batch is None
        return state + 1, {"loss": state}

    done = fit(
        Learner(lambda key, context: jnp.float32(0), update), data=toy.data(), steps=10, plan=toy.plan()
    )
    np.testing.assert_array_equal(done.state, [10.0, 10.0, 10.0])


@pytest.mark.parametrize("jit", [True, False])
def test_a_state_that_is_computed_takes_no_step(tmp_path, jit):
    """Least squares in closed form, from the whole training split."""

    def solve(key, context, train):
        numbers = jnp if jit else np
        return {"w": numbers.linalg.lstsq(*map(numbers.asarray, train))[0] + context["shift"]}

    given = {"shift": np.zeros((3, 1), np.float32) + np.arange(3.0, dtype=np.float32)[:, None]}
    calls = []
    evaluate = lambda state, split, context: (
        calls.append(1) or {"mse": toy.mse(state, split), "shift": context["shift"][0]}
    )
    go_on = lambda: fit(
        computed(solve, jit=jit), data=toy.data(), plan=toy.plan(), evaluate=evaluate, context=given,
        checkpoints=Checkpoints(tmp_path),
    )  # fmt: skip
    done = go_on()
    errors = done.final["test/mse"]
    assert errors[0] < 0.02 < errors[1] < errors[2]
    np.testing.assert_array_equal(done.final["test/shift"], [0, 1, 2])
    assert [row["step"] for row in done.rows] == [0]
    count = len(calls)
    np.testing.assert_array_equal(go_on().final["test/mse"], errors)
    assert len(calls) == count  # read back, not computed again


def test_the_context_is_no_part_of_the_state(tmp_path):
    """It reaches every update and evaluation by seed, and is not saved."""
    learner = Learner(
        lambda key, context: jnp.zeros(()), lambda s, b, k, context: (s + context["x"].sum(), {"loss": 0.0})
    )
    given = {"x": np.arange(3000.0, dtype=np.float32).reshape(3, 1000) / 1000}
    checkpoints = Checkpoints(tmp_path)
    done = fit(
        learner, data=toy.data(), draw=toy.draw, steps=10, plan=toy.plan(), context=given, checkpoints=checkpoints,
        evaluate=lambda state, split, context: {"x": context["x"][0]},
    )  # fmt: skip
    checkpoints.close()
    np.testing.assert_allclose(done.state, 10 * given["x"].sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(done.final["test/x"], given["x"][:, 0])
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 12_000


def test_times_that_cannot_be():
    with pytest.raises(ValueError, match="every or at, one of the two"):
        Turn(halve)
    with pytest.raises(ValueError, match="every is 0"):
        Turn(halve, every=0)
    with pytest.raises(
        ValueError, match="a turn at step 25: it must be a multiple of log_every, 10, up to the 60"
    ):
        go(turn=Turn(halve, at=(20, 25)))
    with pytest.raises(ValueError, match="a turn at step 70"):
        go(turn=Turn(halve, at=(70,)))
    with pytest.raises(ValueError, match="draw or stream, at most one"):
        go(draw=toy.draw)
    with pytest.raises(ValueError, match="draw or stream, at most one"):
        Arm(toy.learner(), draw=toy.draw, stream=stream)
    with pytest.raises(ValueError, match="along names 'vel': the splits are val, test"):
        go(along=("vel",))
    with pytest.raises(ValueError, match=r"summarise: 'x' has the shape \(2,\): it must be \[3\]"):
        go(steps=10, turn=None, summarise=lambda history: {"x": np.zeros(2)})


def test_along_names_the_splits_on_the_way():
    done = go(steps=40, turn=None, summarise=None, along=("test",))
    assert [sorted(name for name in row if "/mse" in name) for row in done.rows] == [
        [], ["test/mse"], [], ["test/mse", "val/mse"]
    ]  # fmt: skip
    assert "val/mse" not in done.history
    assert done.history["test/mse"].shape == (2, 3)
