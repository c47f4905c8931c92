"""A search with its settings as an axis of one program, against a program for each setting.

`python -m benchmarks.search [config:variant] [steps] [rounds]`, by default `configs/distillation/pld.py:tune` at its
own length. Every contender is a process of its own, with an empty compilation cache: the time of a search is compiling
and running.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def main(where: str = "configs/distillation/pld.py:tune", steps: str = "0", rounds: str = "1") -> None:
    """Alternate both ways and print the seconds of each round with their ratio."""
    for number in range(int(rounds)):
        found = {
            way: _in_a_process(where, steps, way)
            for way in (("together", "apart"), ("apart", "together"))[number % 2]
        }
        ratio = found["together"]["seconds"] / found["apart"]["seconds"]
        compiling = found["together"]["compiling"] / found["apart"]["compiling"]
        print(f"round {number + 1}: {found}; ratio {ratio:.3f}, of compiling {compiling:.3f}", flush=True)


def _in_a_process(where: str, steps: str, way: str) -> dict:
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {
            "XDG_CACHE_HOME": cache,
            "JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(cache) / "xla"),
        }
        words = [sys.executable, "-m", "benchmarks.search", "one", where, steps, way]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


def one(where: str, steps: str, way: str) -> None:
    """Run the search in this process; prints what it took as JSON."""
    from jaxlab.training.mesh import spread_over_cores

    spread_over_cores()
    import jax

    from experiments._config import load, plan_of
    from experiments._driver import build, find_driver
    from jaxlab.training import Workdir, run
    from jaxlab.training._method import groups_of

    loaded = load(where)
    config = loaded.config
    compiling = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiling.append(seconds) if "backend_compile" in event else None
    )
    began = time.monotonic()
    tasks, plan = build(find_driver(loaded), config, False), plan_of(config)
    if int(steps):
        tasks = {name: _with(experiment, steps=int(steps)) for name, experiment in tasks.items()}
    if way == "apart":
        tasks = {name: _apart(experiment) for name, experiment in tasks.items()}
    programs = sum(len(groups_of(experiment)) for experiment in tasks.values())
    with tempfile.TemporaryDirectory() as folder:
        workdir = Workdir(folder, {})
        with workdir.opened():
            result = run(tasks, plan, workdir, show=False)
    metric = next(name for facts in result["arms"].values() for name in facts["metrics"])
    means = {arm: sum(facts["metrics"][metric]) / len(plan.seeds) for arm, facts in result["arms"].items()}
    told = {
        "seconds": round(time.monotonic() - began, 1),
        "compiling": round(sum(compiling), 1),
        "programs": programs,
        "arms": len(means),
        "mean_of_means": round(sum(means.values()) / len(means), 6),
    }
    print(json.dumps(told))


def _with(experiment: object, *, steps: int) -> object:
    shorter = lambda arms: {
        name: dataclasses.replace(arm, steps=min(arm.steps, steps)) for name, arm in arms.items()
    }
    return dataclasses.replace(experiment, arms=shorter(experiment.arms), prepare=shorter(experiment.prepare))


def _apart(experiment: object) -> object:
    """Every arm with a method object of its own, which nothing shares a program with."""
    own = lambda arm: dataclasses.replace(arm, method=lambda settings, method=arm.method: method(settings))
    return dataclasses.replace(experiment, arms={name: own(arm) for name, arm in experiment.arms.items()})


if __name__ == "__main__":
    one(*sys.argv[2:]) if sys.argv[1:2] == ["one"] else main(*sys.argv[1:])
