"""What a person types: every mistake is one line and exit status 2; what is right does what it says."""

import json
import pathlib
import re
import shutil
import sys

import pytest

from experiments import run
from jaxlab.core import InputError
from tests.experiments.command import ROOT, SMOKE, TINY

engine = sys.modules["jaxlab.training.run"]  # the package has a function of that name


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def said(capsys, *argv) -> tuple[int, str, str]:
    status = run.main([str(word) for word in argv])
    return status, *capsys.readouterr()


CONFIG, TINY_CONFIG = f"--config={SMOKE}", f"--config={TINY}"
MISTAKES = {
    "unknown key": ([CONFIG, "--config.batchsize=3"], "no key 'batchsize'; did you mean batch_size?"),
    "unknown nested key": (
        [CONFIG, "--config.tasks.digits.arms.kd.options.temprature=2"],
        "did you mean tasks.digits.arms.kd.options.temperature",
    ),
    "wrong type": ([CONFIG, "--config.seeds=many"], "config.seeds is 'many': it must be a whole number"),
    "float for int": (
        [CONFIG, "--config.batch_size=3.5"],
        "config.batch_size is '3.5': it must be a whole number",
    ),
    "text for float": (
        [CONFIG, "--config.tasks.digits.arms.kd.learning_rate=fast"],
        "config.tasks.digits.arms.kd.learning_rate is 'fast': it must be a number",
    ),
    "no value": ([CONFIG, "--config.seeds"], "--config.seeds=VALUE"),
    "negative steps": (
        [CONFIG, "--config.tasks.digits.student.steps=-5"],
        "steps is -5: it must be at least 0 and below 2**31",
    ),
    "zero seeds": ([CONFIG, "--config.seeds=0"], "config.seeds is 0: at least 1 seed is needed"),
    "negative seed": ([CONFIG, "--config.first_seed=-1"], "first_seed is -1: it must be at least 0"),
    "unknown variant": (
        ["--config=configs/distillation/pld.py:smok"],
        "error: configs/distillation/pld.py has no variant 'smok'; known: smoke, tune, long, fashion, "
        "paper, fashion_tune\n",
    ),
    "missing file": (["--config=configs/distillation/pdl.py"], "did you mean configs/distillation/pld.py"),
    "no config": ([], "--config=configs/<family>/<paper>.py is missing"),
    "batch larger than the data": (
        [CONFIG, "--config.batch_size=5000"],
        "batch_size is 5000: it must be between 1 and the",
    ),
    "too many devices": (
        [CONFIG, "--config.mesh.data=64"],
        "mesh seed=1 x data=64 x model=1 needs 64 devices",
    ),
    "mesh does not divide the batch": (
        [CONFIG, "--config.mesh.data=7"],
        "mesh.data is 7: it must divide the batch",
    ),
    "zero devices": ([CONFIG, "--config.mesh.data=0"], "mesh.data is 0"),
    "rhythm": ([CONFIG, "--config.eval_every=7"], "eval_every is 7: it must be a multiple of log_every, 5"),
    "unknown loss": (
        [CONFIG, "--config.tasks.digits.arms.kd.method=kl"],
        "method is 'kl': it must be one of ce, kd",
    ),
    "unknown net": (
        [CONFIG, "--config.tasks.digits.student.kind=vit"],
        "net.kind is 'vit': it must be one of mlp",
    ),
    "unknown source": ([CONFIG, "--config.tasks.digits.data.source=cifar"], "source is 'cifar'"),
    "unknown flag": ([CONFIG, "--publsh"], "unknown argument '--publsh'; did you mean --publish"),
    "contradiction": ([CONFIG, "--resume", "--fresh"], "contradict"),
    "no such driver": (
        [CONFIG, "--config.experiment=distillation.train_pupil"],
        "error: config.experiment is 'distillation.train_pupil': there is no module "
        "experiments.distillation.train_pupil, and none of yours of that name\n",
    ),
    "no dotted path": ([CONFIG, "--config.experiment=../x"], "it must be the dotted path of a module"),
    "no driver": ([CONFIG, "--config.experiment=json"], "error: json has no build(config, *, download)\n"),
    "misspelt name": (["--config=distillation/pdl:smoke"], "did you mean distillation/pld"),
    "temperature": (
        [TINY_CONFIG, "--config.tasks.digits.arms.pld.options.temperature=0"],
        "error: temperature must be positive, got 0.0\n",
    ),
    "widths": (
        [TINY_CONFIG, "--config.tasks.digits.student.features=(8,-1)"],
        "error: features must be a list of whole numbers of at least 1, got (8, -1)\n",
    ),
    "words for widths": (
        [TINY_CONFIG, "--config.tasks.digits.student.features=(8,a)"],
        "error: config.tasks.digits.student.features is '(8,a)': it must be a list a,b,c of whole numbers\n",
    ),
    "rows that the mesh does not divide": (
        [TINY_CONFIG, "--config.batch_size=63", "--config.mesh.data=2"],
        "error: mesh.data is 2: it must divide the batch, which has 63 rows\n",
    ),
    "split": (
        [TINY_CONFIG, "--config.tasks.digits.data.part=half"],
        "error: data.part is 'half': it must be one of tuning, rest\n",
    ),
    "more rows than there are": (
        [TINY_CONFIG, "--config.tasks.digits.data.train=2000"],
        "error: data.train = 2000, data.val = 220, data.test = 226: 'rest' has 1346 images\n",
    ),
    "no number": (
        [TINY_CONFIG, "--config.tasks.digits.arms.pld.learning_rate=nan"],
        "error: config.tasks.digits.arms.pld.learning_rate is 'nan': it must be a number\n",
    ),
    "claims": (
        [CONFIG, "--config.claims=foo"],
        "error: config.claims is 'foo': claims are written in the config's file; --config.claims=() leaves them out\n",
    ),
    "seeds_by": ([CONFIG, "--config.seeds_by=loop"], "seeds_by is 'loop': it must be 'vmap' or 'map'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(mistake, capsys, tmp_path):
    argv, expected = MISTAKES[mistake]
    status, out, error = said(capsys, *argv, *([f"--workdir={tmp_path / 'w'}"] if argv else []))
    assert status == 2
    assert out == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert expected in error
    assert not expected.startswith("error: ") or expected == error


def test_nothing_to_resume(capsys, tmp_path, monkeypatch):
    assert "nothing to resume in" in said(capsys, CONFIG, "--resume", f"--workdir={tmp_path}")[2]
    monkeypatch.setattr(run, "RUNS", tmp_path)
    assert "nothing to resume: no run of this config" in said(capsys, CONFIG, "--resume")[2]


def test_broken_config_files(capsys, tmp_path):
    (tmp_path / "a.py").write_text("def get_config(:")
    (tmp_path / "b.py").write_text("x = 1")
    assert "cannot be read" in said(capsys, f"--config={tmp_path / 'a.py'}")[2]
    assert "has no get_config(variant)" in said(capsys, f"--config={tmp_path / 'b.py'}")[2]


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--config", "--workdir", "--resume", "--fresh", "--publish", "--dry_run", "--list", "--tensorboard",
                 "--download", "--config.seeds=20"):  # fmt: skip
        assert flag in text


def test_list_names_paper_claims_and_verdicts(capsys):
    status, out, _ = said(capsys, "--list")
    assert status == 0
    for path in pathlib.Path("configs").glob("[!_]*/[!_]*.py"):
        assert str(path) in out
    assert len(out.splitlines()) == len(list(pathlib.Path("configs").glob("[!_]*/[!_]*.py")))
    (line,) = [line for line in out.splitlines() if "/mean_teacher.py" in line]
    assert re.search(r" [\d.]+ min  \w[\w ]*, \w[\w ]*; fashion: \w", line)


def test_list_tells_all_of_one_paper(capsys):
    status, out, _ = said(capsys, "--list=pld")
    assert status == 0
    assert "arXiv 2506.12542" in out
    assert "variants: smoke, " in out
    assert "pld beats kd" in out
    assert said(capsys, "--list", "distillation/pld")[1] == out
    assert said(capsys, "--list=plt")[0::2] == (2, "error: there is no paper 'plt'; did you mean pld?\n")


def test_dry_run_trains_nothing(capsys, tmp_path):
    status, out, _ = said(capsys, CONFIG, "--dry_run", f"--workdir={tmp_path / 'w'}")
    assert status == 0
    assert "digits/teacher (prepare)" in out
    assert "| 610 " in out  # the student: 64 * 8 + 8 + 8 * 10 + 10
    assert not (tmp_path / "w").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished smoke run, published next to it, with TensorBoard files."""
    import os

    os.chdir(ROOT)
    base = tmp_path_factory.mktemp("cli")
    before = run.RESULTS, run.commit, engine.commit
    run.RESULTS, run.commit, engine.commit = base / "results", lambda: "a" * 40, lambda: "a" * 40
    assert run.main([CONFIG, f"--workdir={base / 'run'}", "--publish", "--tensorboard"]) == 0
    run.RESULTS, run.commit, engine.commit = before
    return base


def test_publish_writes_the_result_its_settings_and_its_curves(finished):
    published = json.loads((finished / "results" / "distillation" / "pld-smoke.json").read_text())
    result = json.loads((finished / "run" / "result.json").read_text())
    assert published.items() >= result.items()
    assert (published["commit"], published["scale"][:3]) == ("a" * 40, "toy")
    assert published["settings"]["tasks"]["digits"]["arms"]["kd"]["method"] == "kd"
    assert [claim["verdict"] for claim in published["claims"]] == ["none"] * 5
    curves = json.loads((finished / "results" / "distillation" / "pld-smoke.curves.json").read_text())
    assert curves.keys() >= published["arms"].keys()


@pytest.mark.parametrize(
    ("found", "message"),
    [("b" * 40 + "-dirty", "--publish needs a clean tree"), (None, "needs a git checkout")],
)
def test_publishing_is_refused_before_the_run_when_the_code_is_not_known(
    found, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(run, "commit", lambda: found)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    status, _, error = said(capsys, CONFIG, "--publish", f"--workdir={tmp_path / 'w'}")
    assert (status, error.count("\n")) == (2, 1)
    assert message in error
    assert not (tmp_path / "w").exists()


def test_a_tree_that_changed_during_the_run_is_not_published(finished, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "commit", lambda: "a" * 40)
    monkeypatch.setattr(engine, "commit", lambda: "a" * 40 + "-dirty")
    shutil.copytree(finished / "run", tmp_path / "run")
    status, out, error = said(capsys, CONFIG, "--publish", f"--workdir={tmp_path / 'run'}")
    assert (status, "result:" in out) == (2, True)
    assert "--publish needs a clean tree" in error
    assert not (tmp_path / "results").exists()


def test_tensorboard_has_one_run_per_arm_and_seed(finished):
    found = {
        str(p.parent.relative_to(finished / "run" / "tensorboard")) for p in finished.rglob("events.out*")
    }
    assert {"digits/pld/0", "digits/pld/1", "digits/teacher/0"} <= found


def test_a_second_time_reads_back_and_another_config_is_refused(finished, capsys, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    before = json.loads((folder / "result.json").read_text())
    status, out, _ = said(capsys, CONFIG, f"--workdir={folder}")
    assert status == 0
    assert f"result: {folder / 'result.json'}" in out
    assert json.loads((folder / "result.json").read_text())["arms"] == before["arms"]
    status, _, error = said(capsys, CONFIG, "--config.first_seed=3", f"--workdir={folder}")
    assert status == 2
    assert "another config (first_seed: " in error


def test_other_code_stops_the_same_command_unless_it_is_accepted(finished, capsys, tmp_path, monkeypatch):
    folder, now = tmp_path / "run", engine.sources()
    shutil.copytree(finished / "run", folder)
    name = "experiments/distillation/_losses.py"
    monkeypatch.setattr(engine, "sources", lambda packages: now | {name: now[name] + "\n# only words\n"})
    assert said(capsys, CONFIG, f"--workdir={folder}")[0] == 0
    monkeypatch.setattr(engine, "sources", lambda packages: now | {name: now[name] + "\nscale = 2\n"})
    status, out, error = said(capsys, CONFIG, f"--workdir={folder}")
    assert (status, out) == (2, "")
    assert error.endswith(
        f"was trained with other code ({name}): start over with --fresh, or go on with --accept_code\n"
    )
    assert said(capsys, CONFIG, "--accept_code", f"--workdir={folder}")[0] == 0
    versions = json.loads((folder / "result.json").read_text())["code"]
    assert [version["changed"] for version in versions] == [[], [name]]


def test_fresh_begins_again(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    (folder / "checkpoints" / "marker").write_text("old")
    assert said(capsys, CONFIG, "--fresh", f"--workdir={folder}")[0] == 0
    assert not (folder / "checkpoints" / "marker").exists()


def test_resume_finds_the_newest_run_of_the_config(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "RUNS", tmp_path)
    shutil.copytree(finished / "run", tmp_path / "distillation-pld-smoke-20250101-000000")
    status, out, _ = said(capsys, CONFIG, "--resume")
    assert status == 0
    assert "distillation-pld-smoke-20250101-000000" in out


def test_the_default_workdir_says_config_and_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "RUNS", tmp_path)
    monkeypatch.setattr(run.training, "run", lambda *a, **k: (_ for _ in ()).throw(InputError("enough")))
    assert said(capsys, CONFIG)[0] == 2
    assert next(tmp_path.iterdir()).name.startswith("distillation-pld-smoke-20")


def test_an_unwritable_workdir_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status, _, error = said(capsys, CONFIG, f"--workdir={tmp_path / 'file' / 'run'}")
    assert (status, error.count("\n")) == (2, 1)
    assert "cannot write in" in error


def test_an_arm_that_diverges_is_status_3(tmp_path, capsys):
    flags = [f"--config.tasks.digits.arms.kd.{name}=1e30" for name in ("learning_rate", "weight_decay")]
    status, out, error = said(capsys, CONFIG, *flags, f"--workdir={tmp_path}")
    assert status == 3
    assert "digits/kd stopped: loss is not finite at step" in error
    assert "diverged: loss, seed" in out
    assert "digits: pld beats listmle" in out
