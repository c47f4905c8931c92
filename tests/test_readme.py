"""What the documents say is so: their code runs, their commands parse, their links lead somewhere."""

import importlib.util
import json
import pathlib
import re
import shlex
import sys
import types

import numpy as np
import pytest

from experiments import run
from experiments._config import load, plan_of
from jaxlab.training import fit
from jaxlab.training._method import group_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = (
    "README.md",
    *(f"docs/{page}.md" for page in (
        "architecture", "contributing", "dialects", "few_labels_merging_ranking", "pods", "post_training",
        "running",
    )),
)  # fmt: skip
GUIDES = ("docs/a_loss.md", "docs/fine_tuning.md", "docs/own_project.md", "docs/verdicts.md")  # of the site
README = (ROOT / "README.md").read_text()
# The architecture page explains with fragments; what stands elsewhere runs, here or in a test of its own.
ELSEWHERE = ("docs/architecture.md", "docs/fine_tuning.md")  # tests/post_training/test_fine_tuning_page.py
RUNS = "\n".join((ROOT / page).read_text() for page in (*DOCUMENTS, *GUIDES) if page not in ELSEWHERE)
METHOD = (
    "experiments/distillation/average_teacher.py",
    "configs/distillation/average_teacher.py",
    "tests/experiments/test_average_teacher.py",
)


def blocks(language: str) -> list[str]:
    """The documents' code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", RUNS, re.DOTALL | re.MULTILINE)


SNIPPETS = [
    block for block in blocks("python") if not block.startswith(tuple(f"# {path}" for path in METHOD))
]


def commands() -> list[list[str]]:
    """The words of every `experiments.run` command, without what stands before it or in a comment."""
    lines = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    direct = [words[words.index("-m") + 2 :] for words in lines if "experiments.run" in words]
    named = [[f"--config={words[2]}", *words[3:]] for words in lines if words[:2] == ["jaxlab", "run"]]
    own = [words for words in named if "my_method" not in words[0]]  # tests/experiments/test_own_project.py
    return direct + own + [_made(words) for words in lines if words[:2] == ["make", "run"]]


def _made(words: list[str]) -> list[str]:
    given = dict(word.split("=", 1) for word in words[2:])
    config = given.get("CONFIG", "configs/continual/continual_baselines_class.py:quick")
    return [f"--config={config}", *shlex.split(given.get("ARGS", ""))]


@pytest.fixture
def method(tmp_path, monkeypatch):
    """The folder with the three files of "Write a method", the driver importable under its name."""
    for path in METHOD:
        (block,) = [block for block in blocks("python") if block.startswith(f"# {path}\n")]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block)
    monkeypatch.chdir(tmp_path)
    name = METHOD[0].removesuffix(".py").replace("/", ".")
    monkeypatch.setitem(sys.modules, name, _module(name, tmp_path / METHOD[0]))
    return tmp_path


def _module(name: str, path: pathlib.Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_prints_what_its_comments_say(number, capsys):
    promised = re.findall(r"^print\(.*\)  # (.*)$", SNIPPETS[number], re.MULTILINE)
    assert promised
    with np.printoptions():
        exec(compile(SNIPPETS[number], f"snippet {number}", "exec"), {})
    assert capsys.readouterr().out.splitlines() == promised


@pytest.mark.slow
def test_the_method_trains_with_fit(method):
    loaded = load(f"{METHOD[1]}:smoke")
    experiment, plan = (
        sys.modules["experiments.distillation.average_teacher"].build(loaded.config),
        plan_of(loaded.config),
    )
    learner = group_of("averaged", experiment.arms["averaged"], experiment).method().learner
    done = fit(
        learner, data=experiment.data, draw=experiment.draw, steps=50, plan=plan,
        evaluate=experiment.evaluate,
    )  # fmt: skip
    assert done.final["test/accuracy"].shape == (2,)
    assert (done.final["test/accuracy"] > 0.5).all()


@pytest.mark.slow
def test_the_method_runs_from_the_command_line(method, capsys):
    status = run.main([f"--config={METHOD[1]}:smoke", "--workdir=work"])
    assert status == 0, capsys.readouterr().err
    result = json.loads((method / "work" / "result.json").read_text())
    assert result["arms"].keys() == {"alone", "averaged"}
    assert [claim["text"] for claim in result["claims"]] == ["the average helps"]


@pytest.mark.slow
def test_the_methods_test_passes_and_can_fail(method):
    module = _module("readme_test", method / METHOD[2])
    module.test_at_weight_zero_it_is_plain_training()
    honest = module.average_teacher
    module.average_teacher = lambda *args, weight: honest(*args, weight=weight + 0.1)
    with pytest.raises(AssertionError):
        module.test_at_weight_zero_it_is_plain_training()


@pytest.mark.parametrize("argv", [pytest.param(words, id=" ".join(words) or "none") for words in commands()])
def test_a_command_is_one_that_the_command_line_takes(argv, method, monkeypatch):
    if METHOD[1] not in " ".join(argv):
        monkeypatch.chdir(ROOT)
    args, overrides = run._parse(argv)
    plan_of(load(args.config, overrides).config)


def test_every_flag_and_exit_status_is_explained(capsys):
    with pytest.raises(SystemExit):
        run.main(["--help"])
    said = capsys.readouterr().out
    flags = set(re.findall(r"^  (--\w+)", said, re.MULTILINE))
    explained = set(re.findall(r"^\| `(--\w+)", RUNS, re.MULTILINE))
    assert {"--config", "--resume"} <= flags
    assert flags == explained
    statuses = re.findall(r"(?:Exit status:|;)\s+(\d+) ", run.__doc__)
    assert re.findall(r"^\| (\d+) +\|", RUNS, re.MULTILINE) == statuses


def test_the_time_it_promises_is_that_of_the_config():
    """That of `make run`, and those of the two beside it."""
    minutes = lambda config: f"{load(str(ROOT / 'configs' / config)).config.minutes:g} minutes"
    assert load(str(ROOT / "configs/continual/continual_baselines_class.py:quick")).config.minutes <= 1
    assert (
        f"takes {minutes('post_training/kdrl.py')}, the second {minutes('distillation/pld.py')[0]}" in README
    )


def test_links_and_paths_lead_somewhere():
    beside = []
    for name in (*DOCUMENTS, *GUIDES):
        text = (ROOT / name).read_text()
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        named = re.findall(r"`((?:jaxlab|tests|experiments|configs|docs|notebooks)/[\w/.]+)`", text)
        beside += [(ROOT / name).parent / link for link in links] + [ROOT / path for path in named]
    assert len(beside) > 50
    assert [str(path) for path in beside if not path.exists()] == []


def test_every_page_is_linked_and_the_readme_is_short():
    assert [page for page in DOCUMENTS[1:] if f"]({page}" not in README] == []
    assert len(README.encode()) <= 20_000


def test_the_results_table_is_not_stale():
    script = _module("make_readme_table", ROOT / "docs" / "make_readme_table.py")
    assert script.main(["--check"]) == 0, "run: python docs/make_readme_table.py"
