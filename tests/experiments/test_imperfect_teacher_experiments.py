"""Teachers that are wrong, that talk, that choose pairs: smoke runs, and settings that make no sense."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._config import load
from experiments.distillation import _sequences, hack_teacher, retrieve, talk
from jaxlab.distillation.teacher_hacking import sequence_kl
from tests.experiments.arms import compiled, make_all, method
from tests.experiments.command import changed, finish

HACKING, TALKING, DCD = (
    f"configs/distillation/{name}.py" for name in ("teacher_hacking", "talking_models", "dcd")
)
DRIVERS = {HACKING: hack_teacher, TALKING: talk, DCD: retrieve}
METRICS = {
    HACKING: ("proxy", "golden", "hacking", "proxy_fall", "deviation", "teacher_golden"),
    TALKING: ("accuracy", "nll"),
    DCD: ("r1", "r5"),
}


@pytest.mark.slow
@pytest.mark.parametrize("config", METRICS)
def test_the_smoke_run_reports_every_arm(tmp_path, config):
    # Almost all of the time is compilation; the few steps need no optimized code.
    status, _, error = finish(tmp_path / "run", config=f"{config}:smoke")
    assert status == 0, error
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = load(f"{config}:smoke").config
    assert set(result["arms"]) == set(expected.arms)
    for name, arm in result["arms"].items():
        for metric in METRICS[config]:
            values = arm["metrics"][f"test/{metric}"]
            assert len(values) == 2
            assert np.isfinite(values).all()
            if metric in ("hacking", "golden", "accuracy", "r1"):
                assert min(values) >= 0
        if name == "start":
            assert arm["metrics"]["test/hacking"] == arm["metrics"]["test/proxy_fall"] == [0, 0]
    assert len(result["claims"]) == len(expected.claims) > 0


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (HACKING, {"steps": 0}, "steps is 0"),
        (HACKING, {"prompts__val": 30}, "prompts ask for 47: 3 tokens of 3 make 27 prompts"),
        (HACKING, {"teacher__examples": 9}, "teacher.examples is 9: it must be between 1 and the 8 examples"),
        (HACKING, {"arms__offline__method": "oracle"}, "arm offline: method is 'oracle'"),
        (HACKING, {"arms__offline__prompts": 7}, "arm offline: prompts is 7"),
        (HACKING, {"arms__offline__generations": 0}, "arm offline: generations is 0"),
        (TALKING, {"few": 0}, "few is 0: it must be between 1 and the"),
        (TALKING, {"arms__ce__method": "shout"}, "arm ce: method is 'shout'"),
        (TALKING, {"arms__two_way_1__rounds": 0}, "arm two_way_1: rounds is 0"),
        (TALKING, {"data__source": "poems"}, "source is 'poems'"),
        (
            DCD,
            {"num_negatives": 8},
            "num_negatives is 8: it must be between 1 and the 7 false candidates",
        ),
        (DCD, {"data__student_pairs": 33}, "data.student_pairs is 33"),
        (DCD, {"arms__alone__negatives": "easy"}, "arm alone: negatives is 'easy'"),
        (DCD, {"arms": {}}, "arms is empty"),
    ],
)
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_all(DRIVERS[path].build(changed(path, **changes)))


def test_the_tree_of_a_decoder_is_what_it_says_of_whole_sequences():
    config = changed(HACKING)
    task = hack_teacher._Task(config)
    params = task.student.init(jax.random.key(0))
    prompt = jnp.array([0, 2, 1])
    tree = jax.jit(lambda params: _sequences.tree_logits(task.student, params, prompt, 3))(params)
    assert tree.shape == (1 + 3 + 9, 3)
    # After the tokens 2, 0: node 0 * 3 + 2 + 1 = 3, then 3 * 3 + 0 + 1 = 10.
    logits = _sequences.answer_logits(task.student, params, prompt[None], jnp.array([[2, 0, 1]]))[0]
    np.testing.assert_allclose(tree[jnp.array([0, 3, 10])], logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sequence_kl(tree, tree), 0.0, atol=1e-6)


def test_prompts_of_the_splits_are_disjoint():
    prompts = hack_teacher._Task(load(HACKING).config).prompts
    rows = [tuple(row) for part in prompts.values() for row in part]
    assert len(rows) == len(set(rows))


def test_hacking_by_hand():
    """Seed 0 turns at step 20, seed 1 falls by a power law to its end."""
    history = {
        "step": np.array([10, 20, 40]),
        "val/proxy": np.array([[4.0, 4.0], [3.0, 2.0], [1.0, 1.0]]),
        "val/golden": np.array([[2.0, 3.0], [1.0, 2.0], [1.5, 1.0]]),
    }
    found = hack_teacher._over_training("val", history)
    expected = {"hacking": [0.5, 0.0], "golden_best": [1.0, 1.0], "proxy_fall": [2.0, 0.0]}
    for name, values in expected.items():
        np.testing.assert_allclose(found[f"val/{name}"], values, rtol=1e-6)
    np.testing.assert_allclose(found["val/exponent"][1], -1.0, rtol=1e-5)
    np.testing.assert_allclose(found["val/deviation"][1], 0.0, atol=1e-5)
    assert found["val/deviation"][0] > 0.1


def test_one_way_and_two_way_have_the_same_parameters():
    experiment = talk.build(changed(TALKING))
    begin = lambda arm: jax.eval_shape(method(experiment, arm).learner.init, jax.random.key(0), {}).params
    sizes = {name: jax.tree.map(jnp.shape, begin(name)) for name in experiment.arms}
    assert sizes["one_way"] == sizes["two_way_1"]
    assert set(sizes["ce"]) == {"net"}


def test_settings_that_differ_in_numbers_alone_are_one_program():
    assert compiled(hack_teacher.build(load(f"{HACKING}:tune").config)) == {"": 7}
    assert compiled(talk.build(load(f"{TALKING}:tune").config)) == {"": 7}
