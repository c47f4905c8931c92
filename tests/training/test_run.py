"""A whole comparison: what is left in the folder, and that neither an arm's failure nor a stop loses the rest."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from matplotlib.figure import Figure

from jaxlab.core import Learner
from jaxlab.training import Arm, Claim, Experiment, Workdir
from jaxlab.training.dry_run import dry_run
from jaxlab.training.metrics import read_rows
from jaxlab.training.run import PreemptedRun, run
from tests.training import toy


def go(folder, experiment=None, plan=None, **kwargs):
    workdir = Workdir(folder, {"toy": 1})
    tasks = experiment if isinstance(experiment, dict) else {"": experiment or toy.experiment()}
    with workdir.opened():
        return run(tasks, plan or toy.plan(), workdir, name="toy/least_squares", **kwargs)


def timeless(result):
    return {key: value for key, value in result.items() if key not in ("wall_s", "commit")}


def test_the_folder_of_a_run(tmp_path):
    result = go(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "config.json", "metrics.jsonl", "checkpoints", "curves.png", "report.md", "result.json"
    }  # fmt: skip
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert set(result) >= {
        "config",
        "variant",
        "commit",
        "device",
        "versions",
        "seeds",
        "wall_s",
        "arms",
        "claims",
    }
    assert result["seeds"] == [0, 1, 2]
    assert result["arms"]["fast"]["steps"] == 60
    assert len(result["arms"]["fast"]["metrics"]["test/mse"]) == 3
    decided = result["claims"][0]
    expected = np.mean(result["arms"]["slow"]["metrics"]["test/mse"]) - np.mean(
        result["arms"]["fast"]["metrics"]["test/mse"]
    )
    assert decided["effect"] == pytest.approx(expected, rel=1e-5)
    assert (decided["verdict"], decided["why"]) == ("none", "3 seeds, fewer than 5")
    assert "fast beats slow" in (tmp_path / "report.md").read_text()


def test_the_same_command_twice_gives_the_same_files(tmp_path):
    first, second = (go(tmp_path / name, variant="smoke", scale="toy (4 numbers)") for name in "ab")
    assert timeless(first) == timeless(second)
    assert [(claim["verdict"], claim["why"]) for claim in first["claims"]] == [("none", "a smoke run")]
    assert "toy (4 numbers). 3 seeds" in (tmp_path / "a" / "report.md").read_text()
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "a" / "curves.png").read_bytes() == (tmp_path / "b" / "curves.png").read_bytes()


def test_again_in_the_same_folder_reads_back(tmp_path):
    first = go(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert timeless(go(tmp_path)) == timeless(first)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_stopping_anywhere_changes_nothing(tmp_path):
    show = lambda state, context: [{"first": float(state.params["w"][0]), "text": "seen"}]
    experiment = dataclasses.replace(toy.experiment(), samples=show)
    expected = go(tmp_path / "straight", experiment)
    stops = 0
    while True:
        count = iter(range(100))
        try:
            found = go(tmp_path / "stopped", experiment, stop=lambda: next(count) == 1)  # noqa: B023
            break
        except PreemptedRun as error:
            stops += 1
            assert error.arm in ("fast", "slow")
    assert stops >= 4
    assert timeless(found) == timeless(expected)
    for name in ("metrics.jsonl", "samples.jsonl"):
        straight, stopped = (read_rows(tmp_path / folder / name) for folder in ("straight", "stopped"))
        assert straight == stopped
    assert {row["text"] for row in straight} == {"seen"}
    assert {row["arm"] for row in straight} == {"fast", "slow"}
    assert len({row["first"] for row in straight}) == len(straight) >= 4


def test_an_arm_that_turns_nan_is_reported_and_the_others_finish(tmp_path):
    said = []
    experiment = toy.experiment(
        broken=Arm(toy.learner(nan_at=33), steps=60), sound=Arm(toy.learner(), steps=60)
    )
    result = go(tmp_path, experiment, say=said.append)
    assert result["arms"]["broken"]["diverged"] == {"step": 33, "seed": 0, "metric": "loss"}
    assert result["arms"]["broken"]["metrics"] == {}
    assert len(result["arms"]["sound"]["metrics"]["test/mse"]) == 3
    assert said == ["broken stopped: loss is not finite at step 33, seed 0"]
    decided = result["claims"][0]
    assert (decided["verdict"], decided["why"]) == ("none", "broken has no test/mse")
    assert timeless(go(tmp_path, experiment)) == timeless(result)


def staged(nan_at=None):
    """The arms begin from what the stage "warm" learned, seed by seed."""
    learner = toy.learner(nan_at=nan_at)
    base = toy.learner()

    def begin(key, context):
        return base.init(key, context)._replace(params=context["warm"])

    arm = Arm(Learner(begin, lambda s, b, k, c: (s, {"loss": 0.0})), steps=10)
    stage = Arm(learner, steps=40, export=toy.params_of)
    return dataclasses.replace(toy.experiment(first=arm, second=arm), prepare={"warm": stage})


def test_a_stage_prepares_every_seed_and_claims_may_speak_of_it(tmp_path):
    claim = Claim("warm", "warmed up", "test/mse", "warm", 1.0, kind="premise", lower_is_better=True)
    result = go(tmp_path, dataclasses.replace(staged(), claims=(claim,)))
    stage = result["prepare"]["warm"]["metrics"]["test/mse"]
    assert result["claims"][0]["effect"] == pytest.approx(1.0 - np.mean(stage), rel=1e-5)
    assert len(set(stage)) == 3
    np.testing.assert_allclose(result["arms"]["first"]["metrics"]["test/mse"], stage, rtol=1e-6)


def test_a_stage_that_turns_nan_stops_its_arms_by_name(tmp_path):
    result = go(tmp_path, staged(nan_at=5))
    assert result["arms"]["first"]["diverged"] == {"step": 5, "seed": 0, "metric": "loss", "stage": "warm"}


def test_several_tasks_are_reported_under_their_names(tmp_path):
    weights = [
        (f"{task}/{arm}", "test/mse", w) for task, w in (("one", 1), ("two", -1)) for arm in ("fast", "slow")
    ]
    across = Claim("across", "one beats two", terms=weights)
    first = toy.experiment()
    first = dataclasses.replace(first, claims=(*first.claims, across))
    result = go(tmp_path, {"one": first, "two": toy.experiment()})
    assert list(result["arms"]) == ["one/fast", "one/slow", "two/fast", "two/slow"]
    assert [c["text"] for c in result["claims"]] == [
        "one: fast beats slow",
        "one beats two",
        "two: fast beats slow",
    ]
    assert (result["claims"][1]["effect"], result["claims"][1]["why"]) == (0.0, "no spread")
    assert result["arms"]["one/fast"] == result["arms"]["two/fast"]


def test_experiments_that_cannot_be(tmp_path):
    good = toy.experiment()
    with pytest.raises(ValueError, match="'typo': the arms are fast, slow"):
        dataclasses.replace(good, claims=(Claim("x", "x", "test/mse", "fast", "typo"),))
    with pytest.raises(ValueError, match="one must be called 'train'"):
        Experiment(data={"test": 1}, draw=toy.draw, arms={}, evaluate=toy.evaluate)
    with pytest.raises(ValueError, match="arm name 'a/b'"):
        toy.experiment(**{"a/b": Arm(toy.learner(), steps=1)})
    with pytest.raises(ValueError, match="'fast' names an arm and a stage"):
        dataclasses.replace(good, prepare={"fast": Arm(toy.learner(), steps=1)})
    with pytest.raises(ValueError, match="steps is -1"):
        Arm(toy.learner(), steps=-1)
    with pytest.raises(ValueError, match="settings is 60: it must be a dict"):
        Arm(toy.learner(), 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "at least 1 seed"),
        ({"seeds": (1, 1)}, "repeat"),
        ({"seeds": (-1,)}, "out of range"),
        ({"seeds_by": "loop"}, "'vmap' or 'map'"),
        ({"log_every": 0}, "log_every is 0"),
        ({"eval_every": 15}, "multiple of log_every, 10"),
        ({"checkpoint_every": -10}, "checkpoint_every is -10"),
        ({"checkpoint_minutes": 0}, "checkpoint_minutes is 0: it must be above 0"),
        ({"settings_by": "loop"}, "settings_by is 'loop'"),
    ],
)
def test_plans_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        toy.plan(**changes)


def test_dry_run_counts_without_training(tmp_path):
    experiment = staged()
    text = dry_run({"": experiment}, toy.plan(mesh={"data": 2}))
    assert "warm (prepare)" in text
    assert text.count("|") > 20
    line = next(line for line in text.splitlines() if line.startswith("| first"))
    cells = [cell.strip() for cell in line.split("|")][1:-1]
    assert cells[1:3] == ["10", "4"]  # steps, parameters per seed
    # of three seeds the four weights, Adam's two moments and its count, the step; 400 rows of 4 + 1 numbers
    assert cells[3:6] + cells[7:9] == ["48 B", "108 B", "12 B", "7.8 KiB", "0 B"]


def averaged(axis_name):
    """Each device follows the gradient on its rows of the batch, or their mean over `axis_name`."""

    def update(weights, batch, key, context):
        def one(weights, rows):
            slope = jax.grad(lambda w: toy.mse({"w": w}, rows))(weights)
            return weights - 0.1 * (slope if axis_name is None else jax.lax.pmean(slope, axis_name))

        specs = {"in_specs": (P(), P("data")), "out_specs": P()}
        return jax.shard_map(one, **specs, axis_names={"data"}, check_vma=False)(weights, batch), {}

    return Learner(lambda key, context: jnp.zeros(4), update)


@pytest.mark.parametrize(
    ("learner", "mesh", "expected"),
    [
        (averaged("data"), {"data": 4}, "1 all-reduce"),
        (averaged("data"), {"seed": 3}, "none"),  # the mean over one device
        (averaged(None), {"data": 4}, "none"),
        # The compiler's own, of the whole batch's gradient; and metrics of all seeds, to be logged.
        (toy.learner(), {"data": 2, "seed": 3}, "1 all-reduce; 2 all-gather a chunk"),
    ],
)
def test_dry_run_counts_how_often_devices_talk(learner, mesh, expected):
    experiment = Experiment(data=toy.data(), draw=toy.draw, arms={"only": Arm(learner, steps=20)})
    text = dry_run({"": experiment}, toy.plan(mesh=mesh))
    assert text.splitlines()[-1].split("|")[-2].strip() == expected


def test_examples_show_the_first_seed_of_every_arm_that_ended(tmp_path):
    seen = []

    def examples(states, data):
        seen.append({arm: np.asarray(toy.params_of(state)["w"]) for arm, state in states.items()})
        assert set(data) == {"train", "val", "test"}
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().imshow(np.eye(2))
        return figure

    experiment = dataclasses.replace(toy.experiment(), examples=examples)
    first = go(tmp_path, {"one": experiment, "two": toy.experiment()})
    picture = (tmp_path / "examples-one.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert not (tmp_path / "examples-two.png").exists()
    assert set(seen[0]) == {"fast", "slow"}
    assert seen[0]["fast"].shape == (4,)
    # read back from the checkpoints, the states are the same
    assert timeless(go(tmp_path, {"one": experiment, "two": toy.experiment()})) == timeless(first)
    np.testing.assert_array_equal(seen[1]["fast"], seen[0]["fast"])
    assert np.abs(seen[0]["fast"] - seen[0]["slow"]).max() > 0.01
    broken = dataclasses.replace(
        experiment,
        arms={**experiment.arms, "fast": Arm(toy.learner(nan_at=5), steps=60)},
        examples=lambda states, data: seen.append(set(states)) or Figure(),
    )
    go(tmp_path / "broken", broken)
    assert seen[2] == {"slow"}
    assert (tmp_path / "broken" / "examples.png").exists()


def test_a_chart_is_drawn_of_what_was_measured_on_the_way(tmp_path):
    seen = []

    def chart(histories):
        seen.append(histories)
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot(histories["fast"]["step"], histories["fast"]["val/mse"])
        return figure

    experiment = dataclasses.replace(toy.experiment(), chart=chart)
    go(tmp_path, experiment)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    go(tmp_path, experiment)  # read back from the checkpoints, the histories are the same
    assert set(seen[0]) == {"fast", "slow"}
    np.testing.assert_array_equal(seen[1]["fast"]["val/mse"], seen[0]["fast"]["val/mse"])
    assert len(seen[0]["fast"]["step"]) > 1
