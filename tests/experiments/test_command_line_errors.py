"""What a run of somebody's own code raises: one line from the library, a traceback from all else."""

import sys
import traceback
import types

import jax.numpy as jnp
import optax
import pytest

from experiments import run
from jaxlab import training
from jaxlab.core import InputError, MachineError, MissingFile, MissingPackage, entropy, gradient_learner
from jaxlab.training import Arm, Experiment
from tests.experiments.command import ROOT

CONFIG = """
from ml_collections import ConfigDict
def get_config(variant=None):
    {body}
    return ConfigDict(dict(
        experiment="mine", paper="none", minutes=0.1, claims=(), seeds=1, first_seed=0, seeds_by="vmap",
        mesh=dict(seed=1, data=1, model=1), log_every=1, eval_every=1, checkpoint_every=1))
"""


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """Run a driver of one's own, given as a function or as a loss: exit status and what was said."""
    monkeypatch.chdir(ROOT)

    def call(*flags, build=None, loss=None, body="pass"):
        file = tmp_path / "config.py"
        file.write_text(CONFIG.format(body=body))
        driver = types.ModuleType("experiments.mine")
        driver.build = build or (lambda config, download: comparison(loss))
        monkeypatch.setitem(sys.modules, "experiments.mine", driver)
        status = run.main([f"--config={file}", f"--workdir={tmp_path / 'run'}", *flags])
        return status, *capsys.readouterr()

    return call


def comparison(loss):
    def full(params, memory, batch, step, key, context):
        return loss(params), (memory, {})

    learner = gradient_learner(lambda key, context: (jnp.zeros(2), None), full, optax.sgd(0.1))
    return Experiment({"train": jnp.zeros(2)}, arms={"only": Arm(learner, steps=1)})


def raising(error):
    def build(config, download):
        raise error

    return build


LINES = {
    InputError("width is -1: it must be positive"): 2,
    MissingFile("no image file mine.npz"): 2,
    MissingPackage("scikit-learn is needed for digits: pip install scikit-learn"): 2,
    training.workdir.WorkdirError("nothing can be written there"): 2,
    MachineError("could not download it"): 74,
}


@pytest.mark.parametrize(("error", "status"), LINES.items(), ids=lambda given: type(given).__name__)
def test_what_the_library_says_is_one_line(ended, error, status):
    assert ended(build=raising(error)) == (status, "", f"error: {error}\n")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("something odd deep in my code"),
        TypeError("got 2 arguments"),
        FileNotFoundError(2, "No such file or directory", "my.csv"),
        ConnectionError("my server left"),
        BrokenPipeError("my child left"),
        ModuleNotFoundError("No module named 'torch'", name="torch"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_code_raises_goes_through_with_its_traceback(ended, error):
    with pytest.raises(type(error)) as info:
        ended(build=raising(error))
    assert info.value is error
    assert traceback.extract_tb(info.tb)[-1].filename == __file__


def test_a_loss_that_raises_shows_its_line(ended):
    def loss(params):
        raise ValueError("something odd deep in my loss")

    with pytest.raises(ValueError, match="^something odd deep in my loss") as info:
        ended(loss=loss)
    assert traceback.extract_tb(info.tb)[-1].name == "loss"


def test_a_config_that_raises_shows_its_line(ended):
    with pytest.raises(ZeroDivisionError) as info:
        ended(loss=jnp.sum, body="1 / 0")
    assert traceback.extract_tb(info.tb)[-1].name == "get_config"


def test_a_check_of_the_library_in_a_loss_is_one_line_and_a_traceback_on_request(ended):
    def loss(params):
        return entropy(params, temperature=-1.0).sum()

    line = "error: temperature must be positive, got -1.0\n"
    assert ended(loss=loss) == (2, "", line)
    status, out, error = ended("--traceback", loss=loss)
    assert (status, out) == (2, "")
    assert error.startswith("Traceback (most recent call last):\n")
    assert "\njaxlab.core.InputError: temperature must be positive, got -1.0\n" in error
    assert error.endswith(f"\n{line}")
    assert "return entropy(params, temperature=-1.0).sum()" in error
    assert ended("--traceback", "--publsh")[2].splitlines()[-1] == (
        "error: unknown argument '--publsh'; did you mean --publish?"
    )


def test_a_loss_without_metrics_says_what_to_write(ended):
    learner = gradient_learner(
        lambda key, context: (jnp.zeros(2), None), lambda params, *given: params.sum(), optax.sgd(0.1)
    )
    experiment = Experiment({"train": jnp.zeros(2)}, arms={"only": Arm(learner, steps=1)})
    assert ended(build=lambda config, download: experiment)[::2] == (
        2,
        "error: loss returns a scalar: it must return (scalar, (memory, metrics)), without metrics (scalar, (memory, "
        "{}))\n",
    )


def test_a_disk_that_fails_is_status_74_and_says_that_one_can_go_on(ended, monkeypatch):
    def full(*given, **more):
        raise MachineError("cannot write metrics.jsonl: No space left on device")

    monkeypatch.setattr(training, "run", full)
    assert ended(loss=jnp.sum)[::2] == (
        74,
        "error: cannot write metrics.jsonl: No space left on device; earlier checkpoints are intact, and the same "
        "command goes on from them\n",
    )


def test_a_reader_that_left_changes_nothing(monkeypatch):
    written = []

    def leave(text, flush):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", leave)
    monkeypatch.setattr(run.os, "dup2", lambda *given: written.append(given))
    run.show("a table")
    assert len(written) == 1
