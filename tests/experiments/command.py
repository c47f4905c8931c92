"""Running the command as a person does, in a process of its own, with a config of a few cheap steps."""

import json
import os
import pathlib
import subprocess
import sys

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


def start(workdir, *flags, config=SMOKE, env=None, before=()) -> subprocess.Popen:
    """Begin the command, behind the words `before`; its output is kept."""
    return subprocess.Popen(
        [*before, *arguments(workdir, *flags, config=config)],
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
