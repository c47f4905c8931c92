"""Policies against verifiers, from their configs: the smoke runs, and settings that make no sense."""

import json
import math

import jax
import pytest
from ml_collections import ConfigDict

from experiments._config import load
from experiments.post_training import train_policy
from experiments.post_training._policy_tasks import make_task, policy_model
from jaxlab.core import InputError
from jaxlab.training import Plan
from jaxlab.training.dry_run import dry_run
from tests.experiments.command import changed, finish

KDRL, GRPO = "configs/post_training/kdrl.py", "configs/post_training/grpo.py"


@pytest.mark.slow
@pytest.mark.parametrize("config", [KDRL, GRPO])
def test_the_smoke_run_reports_every_arm(tmp_path, config):
    status, out, error = finish(tmp_path / "run", config=f"{config}:smoke")
    assert status == 0, error
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = load(f"{config}:smoke").config
    assert set(result["arms"]) == set(expected.arms)
    assert set(result["prepare"]) == {"student", "teacher"} & set(expected)
    for arm in result["arms"].values():
        for metric in (
            "test/accuracy",
            "test/mean_reward",
            "test_harder/accuracy",
            "test/pass_at_4",
            "test/format",
        ):
            assert len(arm["metrics"][metric]) == 2
            assert all(0 <= value <= 1 for value in arm["metrics"][metric])
    assert len(result["claims"]) == len(expected.claims) > 0
    assert "paired difference" in out or "|" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": 0}, "prompts is 0"),
        ({"group_size": 0}, "group_size is 0"),
        ({"eval_samples": -1}, "eval_samples is -1"),
        ({"task__name": "poetry"}, "task.name is 'poetry': it must be one of addition, chain"),
        ({"max_new_tokens": 1}, "max_new_tokens is 1: the longest right answer has"),
        ({"arms__grpo__advantage": "best"}, "advantage is 'best': it must be one of"),
        ({"arms__grpo__ratio": "word"}, "ratio is 'word'"),
        ({"arms__grpo__minibatches": 0}, "minibatches is 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        train_policy.build(changed(GRPO, **changes))


def test_an_arm_with_a_teacher_needs_one():
    config = changed(KDRL)
    with config.unlocked():
        del config["teacher"]
    with pytest.raises(ValueError, match="the config has none"):
        train_policy.build(config)


def test_settings_that_contradict_each_other_are_found_before_training():
    config = changed(KDRL, arms__kdrl_annealed__teacher__kind="k3")
    with pytest.raises(ValueError, match="clip belongs to kind 'k2'"):
        train_policy.build(config)


def test_a_beta_that_rises_is_refused():
    config = changed(KDRL, arms__kdrl_annealed__teacher__beta_minimum=9.0)
    with pytest.raises(ValueError, match="beta_minimum 9.0"):
        train_policy.build(config)


@pytest.mark.parametrize("levels", [(), (2,), (3, 2), (1, 2, 3)])
def test_difficulties_that_are_no_range_are_refused(levels):
    with pytest.raises(InputError, match="it must be the lowest and the highest difficulty"):
        train_policy.build(changed(GRPO, task__train=levels))


def test_held_out_problems_are_each_seeds_own_and_of_the_difficulty_they_claim():
    splits = train_policy.build(changed(GRPO)).data
    assert set(splits) == {"train", "val", "test", "test_harder"}
    one, other = (splits["test"].make(jax.random.key(seed)) for seed in (0, 1))
    assert set(one.difficulty.tolist()) == {2, 3}
    assert (one.prompts != other.prompts).any()
    assert set(splits["test_harder"].make(jax.random.key(0)).difficulty.tolist()) == {4}
    assert set(train_policy.build(changed(GRPO, test=False)).data) == {"train", "val"}


def test_dapos_own_scale_is_a_model_of_32_billion_parameters():
    config = load(f"{GRPO}:paper").config
    arms = train_policy.build(config).arms
    assert set(arms) == set(load(GRPO).config.arms)
    weights = policy_model(config.student, make_task(config.task), config).shapes()
    sizes = jax.tree.leaves(
        weights, is_leaf=lambda x: isinstance(x, tuple) and all(isinstance(n, int) for n in x)
    )
    assert 32.7e9 < sum(map(math.prod, sizes)) < 32.8e9


@pytest.mark.slow
def test_the_paper_scale_compiles_for_eight_devices_and_microbatches_bound_its_memory():
    """KDRL's pod config with narrower, shallower models: the same program, rules and mesh."""
    config = load("configs/post_training/kdrl.py:paper").config
    with config.unlocked():
        config.prompts, config.group_size, config.max_new_tokens, config.segment = 16, 4, 400, 400
        config.student.shape.update({"num_layers": 2, "width": 48, "mlp_width": 64, "vocab_size": 1024})
        config.teacher.shape.update({"num_layers": 2, "width": 56, "mlp_width": 64, "vocab_size": 1024})
        config.arms = ConfigDict({"kdrl": config.arms.kdrl.to_dict()})
        config.claims = ()
    temporary = []
    for parts in (1, 2):
        with config.unlocked():
            config.microbatches = parts
        text = dry_run({"": train_policy.build(config)}, Plan(seeds=(0,), log_every=1, mesh={"data": 8}))
        row = next(line for line in text.splitlines() if "kdrl" in line).split("|")
        assert "all-reduce" in row[-2] or "all-gather" in row[-2]
        number, unit = row[-3].split()
        temporary.append(float(number) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit])
    assert temporary[1] < 0.75 * temporary[0]
