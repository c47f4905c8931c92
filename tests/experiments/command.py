"""Running the command as a person does, in a process of its own, with a config of a few cheap steps."""

import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

from ml_collections import ConfigDict

from experiments._config import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMOKE = "configs/distillation/pld.py:smoke"
TINY = "tests/experiments/tiny.py"


def arguments(workdir, *flags, config=SMOKE) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "experiments.run", f"--config={config}", f"--workdir={workdir}", *flags]


def environment(**changes) -> dict[str, str]:
    """One CPU device, whatever the tests' own process has; most of a smoke run is compilation, so little of that."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("XLA_")}
    return {**kept, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", **changes}


# Half of a short run is importing: this process has done it, and every run is forked from it.
_IMPORTED = multiprocessing.get_context("forkserver")
_IMPORTED.set_forkserver_preload(
    ["experiments.run", "tests.experiments.command", "matplotlib.backends.backend_agg", "sklearn.datasets"]
)


class Forked:
    """The command in a process of its own that did not have to import; used like a `subprocess.Popen`."""

    def __init__(self, argv: list[str], env: dict[str, str]):
        self._said = tempfile.TemporaryDirectory()
        self._process = _IMPORTED.Process(target=_run, args=(argv, env, self._said.name))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("experiments.run", timeout)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return tuple((pathlib.Path(self._said.name) / name).read_text() for name in ("out", "error"))


def _run(argv: list[str], env: dict[str, str], said: str) -> None:
    for number, name in ((1, "out"), (2, "error")):
        os.dup2(os.open(f"{said}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    import jax

    from experiments import run

    jax.config.update("jax_disable_most_optimizations", True)  # read from the environment at import
    sys.argv[1:] = argv
    try:
        status = run.main()
    except Exception:  # as Python ends
        traceback.print_exc()
        status = 1
    sys.exit(status)


def start(workdir, *flags, config=SMOKE, env=None, before=()) -> subprocess.Popen | Forked:
    """Begin the command, behind the words `before`; its output is kept."""
    words = arguments(workdir, *flags, config=config)
    if not before:
        return Forked(words[3:], env or environment())
    return subprocess.Popen(
        [*before, *words],
        cwd=ROOT,
        env=env or environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(workdir, *flags, **kwargs) -> tuple[int, str, str]:
    """Run the command to its end: exit status, standard output, standard error."""
    process = start(workdir, *flags, **kwargs)
    out, error = process.communicate(timeout=600)
    return process.returncode, out, error


def result(workdir) -> dict:
    """The result without what may differ from run to run: times and the commit."""
    content = json.loads((pathlib.Path(workdir) / "result.json").read_text())
    return {key: value for key, value in content.items() if key not in ("wall_s", "commit")}


def changed(path: str, variant: str = "smoke", **changes) -> ConfigDict:
    """A variant of a config with other values; `arms__sefar__ramp="steep"` reaches into it."""
    config = load(f"{path}:{variant}").config
    with config.unlocked():
        for key, value in changes.items():
            *outer, name = key.split("__")
            owner = config
            for part in outer:
                owner = owner[part]
            owner[name] = value
    return config
