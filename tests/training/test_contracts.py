"""What does not fit the engine is refused in a line that says what to write, before anything is compiled."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.core import InputError, Learner, MachineError, computed, gradient_learner
from jaxlab.data import Images
from jaxlab.training import Arm, Experiment, Plan, fit
from jaxlab.training.metrics import MetricLog, write_atomically

ROWS = np.ones((4, 3), np.float32)
SPLITS = {"train": ROWS, "val": ROWS}
PLAN = Plan(seeds=(0, 1), log_every=2)


def refused(call):
    with pytest.raises(InputError) as info:
        call()
    return str(info.value)


def learning(loss, init=lambda key, context: (jnp.zeros(3), None)):
    return gradient_learner(init, lambda params, memory, *given: loss(params, memory), optax.sgd(0.1))


def updating(given, *, jit=True):
    return Learner(lambda key, context: jnp.zeros(3), lambda state, *rest: given(state), jit)


GOOD = learning(lambda params, memory: (params.sum(), (memory, {"size": params.sum()})))


def fitted(learner=GOOD, **changes):
    given = {"data": SPLITS, "plan": PLAN, "steps": 2, "draw": lambda train, key: train} | changes
    return fit(learner, **given)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seeds": 2}, "seeds is 2: it must be the seeds themselves, such as (0, 1) or range(2)"),
        ({"seeds": ()}, "seeds is empty: at least 1 seed is needed"),
        ({"seeds": (0.5, 1)}, "seed 0.5 is no whole number"),
        ({"seeds": "01"}, "seed '0' is no whole number"),
        ({"seeds": (0, -1)}, "seed -1 is out of range: seeds go from 0 to 2**32 - 1"),
        ({"seeds": np.array([1, 1])}, "seeds [1, 1] repeat: every seed must be different"),
        ({"log_every": 2.5}, "log_every is 2.5: it must be a whole number, at least 1"),
        ({"eval_every": 100.0}, "eval_every is 100.0: it must be a multiple of log_every, 100"),
        ({"mesh": 2}, "mesh is 2: it must be a dict, such as {'data': 2}"),
    ],
)
def test_a_plan(changes, line):
    assert refused(lambda: Plan(**{"seeds": (0,)} | changes)) == line


def test_any_list_of_seeds_is_a_plan():
    for seeds in (range(2), [0, 1], np.arange(2), iter((0, 1))):
        assert Plan(seeds=seeds) == Plan(seeds=(0, 1))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (Images(np.ones((2, 4, 4, 1)), np.zeros(2, int)), "data is an Images"),
        ((ROWS, ROWS), "data is a tuple of 2"),
        (ROWS, "data is an array (4, 3)"),
    ],
    ids=["images", "tuple", "array"],
)
def test_data_that_are_no_splits(data, found):
    line = f"{found}: it must be a dict of splits, such as {{'train': ..., 'test': ...}}"
    assert refused(lambda: fitted(data=data)) == line
    assert refused(lambda: Experiment(data, arms={})) == line


def test_data_without_a_training_split():
    line = "data has the splits image, label: one must be called 'train'"
    assert refused(lambda: fitted(data={"image": ROWS, "label": ROWS})) == line


def test_what_is_no_learner():
    assert refused(lambda: fitted(lambda params: params)) == (
        "learner is a function: it must be a Learner, which gradient_learner makes of a loss, or Computed"
    )
    made = Experiment(SPLITS, arms={"only": Arm(lambda settings: GOOD.init, steps=2)})
    from jaxlab.training import trial

    assert refused(lambda: trial(made, PLAN)) == (
        "an arm's method gives a function: it must be a Learner, or a function of the settings that gives one or "
        "(learner, evaluate, export)"
    )


WANTED = "it must return (scalar, (memory, metrics)), without metrics (scalar, (memory, {}))"


@pytest.mark.parametrize(
    ("loss", "line"),
    [
        (lambda p, memory: p.sum(), f"loss returns a scalar: {WANTED}"),
        (lambda p, memory: (p.sum(), {}), f"loss returns (scalar, a dict): {WANTED}"),
        (lambda p, memory: (p.sum(), memory, {}), f"loss returns a tuple of 3: {WANTED}"),
        (
            lambda p, memory: (p, (memory, {})),
            "loss returns a loss of the shape (3,): it must be a scalar, such as its mean",
        ),
        (
            lambda p, memory: (p.sum(), (memory, p.sum())),
            "loss returns a scalar for metrics: it must be a dict of scalars by name",
        ),
        (
            lambda p, memory: (p.sum(), (memory, {"ce": p})),
            "metric 'ce' has the shape (3,): metrics are scalars, such as its mean",
        ),
        (lambda p, memory: (p.sum(), (memory, {"ce": "low"})), "metric 'ce' is 'low': metrics are scalars"),
        (
            lambda p, memory: (p.sum(), (memory, {"ce": {"a": 1.0}})),
            "metric 'ce' is {'a': 1.0}: metrics are scalars",
        ),
    ],
    ids=["bare", "no memory", "three", "vector", "no dict", "vector metric", "text", "nested"],
)
def test_a_loss(loss, line):
    assert refused(lambda: fitted(learning(loss))) == line


def test_an_init_without_memory():
    learner = learning(lambda params, memory: (params.sum(), (memory, {})), lambda key, context: jnp.zeros(3))
    assert refused(lambda: fitted(learner)) == (
        "init returns an array (3,): it must return (params, memory), with nothing to remember (params, None)"
    )


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            lambda state: state,
            "update returns an array (3,): it must return (state, metrics), without metrics (state, {})",
        ),
        (
            lambda state: (state, state.sum()),
            "update returns a scalar for metrics: it must be a dict of scalars by name",
        ),
        (
            lambda state: (state, {"a": state}),
            "metric 'a' has the shape (3,): metrics are scalars, such as its mean",
        ),
    ],
    ids=["state", "scalar", "vector"],
)
def test_an_update(given, line, jit):
    assert refused(lambda: fitted(updating(given, jit=jit))) == line


@pytest.mark.parametrize("jit", [True, False])
def test_an_evaluation(jit):
    learner = updating(lambda state: (state, {}), jit=jit)
    assert refused(lambda: fitted(learner, evaluate=lambda state, split, context: state.sum(), steps=0)) == (
        "evaluate returns a scalar for metrics: it must be a dict of scalars by name"
    )


@pytest.mark.parametrize(
    ("context", "found"),
    [
        ({"teacher": {"w": jnp.ones((3, 4))}}, "context['teacher']['w'] is an array (3, 4)"),
        ({"rate": 0.1}, "context['rate'] is a float"),
        ({"teacher": jnp.sum}, "context['teacher'] is a "),
    ],
    ids=["array", "number", "function"],
)
@pytest.mark.parametrize(
    "learner", [GOOD, updating(lambda state: (state, {}), jit=False)], ids=["jit", "host"]
)
def test_a_context_without_seeds(context, found, learner):
    line = refused(lambda: fitted(learner, context=context))
    assert line.startswith(found)
    assert line.endswith(
        ": its first axis must be the 2 seeds; what all of them share: "
        "jax.tree.map(lambda x: jnp.stack([x] * 2), context)"
    )


def test_the_context_that_the_line_recommends_is_taken():
    context = {"teacher": {"w": jnp.arange(3.0), "key": jax.random.key(0)}}
    shared = jax.tree.map(lambda x: jnp.stack([x] * 2), context)
    ask = computed(lambda key, context, train: context["teacher"]["w"])
    assert fitted(ask, context=shared, steps=0).state.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_a_disk_that_refuses_is_one_line_with_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "result.json"
    line = f"^cannot write {re.escape(str(path))}: Not a directory$"
    with pytest.raises(MachineError, match=line):
        write_atomically(path, "{}")
    log = MetricLog(tmp_path / "gone" / "metrics.jsonl")
    with pytest.raises(MachineError, match=r"^cannot write .*gone/metrics.jsonl: No such file or directory$"):
        log.write({"arm": "kd", "step": 1})
