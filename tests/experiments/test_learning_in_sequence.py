"""Learning one task after another, from a config: a run, one pass, what arms share, what makes no sense."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._config import load, plan_of
from experiments.continual import learn_tasks
from jaxlab import data, training
from jaxlab.training import Workdir
from tests.experiments.arms import method, programs, start
from tests.experiments.command import changed

TASK = "configs/continual/continual_baselines_task.py"
CLASS = "configs/continual/continual_baselines_class.py"
DOMAIN = "configs/continual/continual_baselines_domain.py"


def only(config, *arms):
    """The config with these arms, and no claims."""
    with config.unlocked():
        config.claims = ()
        for name in set(config.arms) - set(arms):
            del config.arms[name]
    return config


@functools.cache
def _experiment(path=CLASS):
    return learn_tasks.build(load(f"{path}:smoke").config)


def _train(experiment, seed=0):
    """The stream of one seed."""
    own = lambda part: part.rows[seed] if isinstance(part, training.PerSeed) else part
    is_own = lambda part: isinstance(part, training.PerSeed)
    return jax.tree.map(own, experiment.data["train"], is_leaf=is_own)


def test_a_progressive_network_forgets_nothing_and_every_metric_names_its_scenario(tmp_path):
    config = only(changed(TASK, seeds=1), "sgd", "pnn")
    workdir = Workdir(tmp_path / "run", {})
    with workdir.opened():
        result = training.run({"": learn_tasks.build(config)}, plan_of(config), workdir, name="continual")
    metrics = {arm: own["metrics"] for arm, own in result["arms"].items()}
    assert metrics["pnn"]["test/task_il/forgetting_max"] == [0.0]
    assert metrics["pnn"]["test/task_il/backward_transfer"] == [0.0]
    of_tasks = [metrics["pnn"][f"test/task_il/task_{n}"][0] for n in range(2)]
    assert metrics["pnn"]["test/task_il/accuracy"][0] == pytest.approx(np.mean(of_tasks))
    measured = {name for name in metrics["sgd"] if name.startswith("test/")}
    assert measured > {"test/task_il/forgetting_mean", "test/task_il/forward_transfer"}
    assert all(name.startswith("test/task_il/") for name in measured)
    assert (tmp_path / "run" / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_one_pass_is_one_pass_and_a_step_without_examples_changes_nothing():
    experiment, train = _experiment(), _train(_experiment())
    arm = experiment.arms["sgd"]
    per_task = arm.steps // 2
    stream = jax.jit(arm.stream)
    seen = [stream(train, jax.random.key(5), step) for step in range(per_task)]
    counted = np.concatenate([batch["index"][batch["where"]] for batch in seen])
    first = train.rows[: train.size[0]]
    assert sorted(counted.tolist()) == sorted(first.tolist())
    idle = stream(train, jax.random.key(5), arm.steps)  # the last task is over
    assert not idle["where"].any()
    learner, state = method(experiment, "er").learner, start(experiment, "er", jax.random.key(0), {})
    update = jax.jit(learner.update)
    same, _ = update(state, idle, jax.random.key(1), {})
    chex.assert_trees_all_equal(same, state)
    moved, _ = update(state, seen[0], jax.random.key(1), {})
    assert int(moved.memory.seen) == int(seen[0]["where"].sum()) > 0


def test_arms_share_batches_and_starts_and_joint_sees_all_tasks():
    experiment = _experiment()
    assert experiment.arms["sgd"].stream is experiment.arms["gem"].stream
    states = [start(experiment, arm, jax.random.key(0), {}).params for arm in ("sgd", "er", "lwf")]
    for other in states[1:]:
        chex.assert_trees_all_equal(states[0], other)
    batch = jax.jit(experiment.arms["joint"].stream)(_train(experiment), jax.random.key(0), 0)
    assert set(batch["task"].tolist()) == {0, 1}
    own = np.asarray(batch["own"])[np.asarray(batch["task"]), np.asarray(batch["label"])]
    assert own.all()
    orders = [np.asarray(_train(experiment, seed).own).tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]  # every seed has an order of classes of its own


def _turned(fn, train, state, step):
    return fn(state, train, step, jax.random.key(1), {})


def test_at_the_end_of_a_task_an_arm_keeps_examples_of_it():
    experiment = _experiment()
    train, steps = _train(experiment), experiment.arms["icarl"].turn.every
    for arm, memory in (
        ("gem", lambda state: state.memory),
        ("icarl", lambda state: state.memory["exemplars"]),
    ):
        state = start(experiment, arm, jax.random.key(0), {})
        turn = jax.jit(functools.partial(_turned, experiment.arms[arm].turn.fn, train))
        after = memory(turn(state, steps))
        label = np.asarray(after.items["label"])[np.asarray(after.valid)]
        assert len(label) == len(after.valid) // 2
        assert np.asarray(train.own)[0, label].all()
        assert memory(turn(turn(state, steps), 2 * steps)).valid.all()


def test_a_memory_larger_than_the_stream_and_a_single_task_are_fine():
    config = only(changed(CLASS, arms__er__buffer=4000, tasks_learned=1, seeds=1), "er")
    experiment = learn_tasks.build(config)
    assert start(experiment, "er", jax.random.key(0), {}).memory.valid.shape == (4000,)
    history = {"step": np.array([experiment.arms["er"].steps]), "test/class_il/task_0": np.ones((1, 1))}
    found = experiment.summarise(history)
    assert found["test/class_il/forgetting_max"] == found["test/class_il/backward_transfer"] == 0
    assert found["test/class_il/accuracy"] == 1


def test_shares_of_rehearsal_are_those_asked_for():
    experiment = learn_tasks.build(
        changed("configs/continual/power_law_rehearsal.py", batch_size=4000, seeds=1)
    )
    steps = experiment.arms["sequential"].turn or experiment.arms["sequential"].steps // 3
    batch = jax.jit(experiment.arms["power_law_25"].stream)(_train(experiment), jax.random.key(0), 2 * steps)
    share = np.bincount(batch["task"], minlength=3) / len(batch["task"])
    # The new task 1 of 1.25; of the rest an age of 1 has 1/2 and one of 2 has 1/3, over their sum.
    np.testing.assert_allclose(share, [0.2 * 0.4, 0.2 * 0.6, 0.8], atol=0.03)


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (CLASS, {"arms__er__buffer": 0}, "capacity must be at least 1, got 0: leave the replay out instead"),
        (CLASS, {"arms__er__buffer": 5}, r"batch_size must be in \[1, 5\], the memory's capacity, got 10"),
        (CLASS, {"arms__gem__buffer": 1}, "buffer is 1: it must be at least the 2 tasks"),
        (CLASS, {"arms__icarl__buffer": 9}, "buffer is 9: it must be at least the 10 classes"),
        (CLASS, {"tasks_learned": 3}, "tasks_learned is 3: it must be between 1 and the 2 tasks"),
        (CLASS, {"data__num_tasks": 11}, "num_tasks must be at most the 10 classes, got 11"),
        (CLASS, {"arms__sgd__method": "pnn"}, "arm sgd: scenario is 'class_il': it must be one of task_il"),
        (CLASS, {"arms__sgd__stream": "both"}, "arm sgd: stream is 'both': it must be one of tasks, joint"),
        (DOMAIN, {"scenario": "domain"}, "scenario is 'domain': it must be one of class_il, domain_il, task_il"),
        (DOMAIN, {"data__tasks": "blurs"}, "data.tasks is 'blurs': it must be one of split_classes"),
        (DOMAIN, {"passes": 0}, "passes is 0: it must be at least 1"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message):
        _begin(changed(path, **changes))


def _begin(config):
    """Build, and make the first state of every arm, from shapes alone."""
    experiment = learn_tasks.build(config)
    batch = jax.eval_shape(experiment.arms["sgd"].stream, _train(experiment), jax.random.key(0), 0)
    for name in experiment.arms:
        learner = method(experiment, name).learner
        state = jax.eval_shape(learner.init, jax.random.key(0), {})
        jax.eval_shape(learner.update, state, batch, jax.random.key(0), {})


@pytest.fixture
def without_threes(monkeypatch):
    """The digits, of which no 3 was ever written."""
    images = data.digits()
    monkeypatch.setattr(data, "digits", lambda: data.take(images, np.flatnonzero(images.label != 3)))


def test_tasks_may_differ_in_size_and_a_class_may_never_come(without_threes):
    experiment = learn_tasks.build(only(changed(CLASS, batch_size=10, eval_every=1, log_every=1), "sgd"))
    sizes = np.stack([_train(experiment, seed).size for seed in (0, 1)])
    assert (sizes.max(axis=1) > 1.2 * sizes.min(axis=1)).all()
    assert experiment.arms["sgd"].steps == 2 * -(-sizes.max() // 10)
    assert experiment.data["test"]["stream"].own.rows.shape == (2, 2, 10)


def test_a_task_without_examples_is_named(without_threes):
    config = only(changed(CLASS, data__num_tasks=10), "sgd")
    with pytest.raises(ValueError, match="of 10 has no examples: leave its classes out"):
        learn_tasks.build(config)


def test_a_search_is_one_program_a_method():
    assert programs(learn_tasks.build(load(f"{CLASS}:tune").config)) == {"": (180, 15)}


def test_rotations_turn_every_task_but_keep_its_classes():
    train = _train(learn_tasks.build(only(changed(DOMAIN, data__tasks="rotations"), "sgd")))
    assert len(set(np.round(np.asarray(train.angle), 3).tolist())) == 2
    assert jnp.all(train.own)
