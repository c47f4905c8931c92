"""Contenders in processes of their own that take turns: torch's and jax's thread pools disturb each other in one.

A contender is a function `prepare(*arguments) -> (facts, measure)`: it warms up, says what it computed, so that the
parent can see that all did the same work, and then measures, in seconds, whenever it is asked.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

THREADS = 2
PAUSE = 0.3
"""Seconds before each measurement, in which the threads of the one before go to sleep."""

Prepare = Callable[..., tuple[dict[str, Any], Callable[[], float]]]


class Contender:
    """A child that runs `python -m module --side name *arguments`; calling it lets it measure once."""

    def __init__(self, module: str, name: str, arguments: Sequence[str] = ()) -> None:
        self.name, self._errors = name, tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the child)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, "--side", name, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, **threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip
        self.facts = self._answer()

    def __call__(self) -> float:
        time.sleep(PAUSE)
        print("go", file=self._child.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the child and wait for it."""
        self._child.stdin.close()
        self._child.wait()

    def _answer(self) -> Any:
        line = self._child.stdout.readline()
        if line:
            return json.loads(line)
        self._child.wait()
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{self.name} ended with status {self._child.returncode}: {last}")


@contextlib.contextmanager
def started(
    module: str, names: Sequence[str], arguments: Sequence[str] = ()
) -> Iterator[dict[str, Contender]]:
    """Contenders by name, prepared one after another, and ended together."""
    load = os.getloadavg()[0]
    if load > 1:
        print(
            f"load {load:.1f}: torch's threads spin while they wait; on a busy machine its figures mean nothing"
        )
    contenders: dict[str, Contender] = {}
    try:
        for name in names:
            contenders[name] = Contender(module, name, arguments)
        yield contenders
    except RuntimeError as error:
        sys.exit(str(error))
    finally:
        for contender in contenders.values():
            contender.close()


def serve(sides: Mapping[str, Prepare], name: str, *arguments: str) -> None:
    """The child's part: prepare, say the facts, measure whenever a line comes."""
    with contextlib.suppress(AttributeError):  # not on every system
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    facts, measure = sides[name](*arguments)
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), file=answers, flush=True)


def run(module: str, sides: Mapping[str, Prepare], main: Callable[[int], None], *, rounds: int = 5) -> None:
    """What `python -m module [rounds]` does, in the parent and in its children."""
    if sys.argv[1:2] == ["--side"]:
        serve(sides, *sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else rounds)


def agree(contenders: Mapping[str, Contender], fact: str, *, tolerance: float) -> None:
    """End with an error unless a fact is the same for all, to a relative tolerance."""
    values = {name: contender.facts[fact] for name, contender in contenders.items()}
    base = next(iter(values.values()))
    for name, value in values.items():
        if not abs(value - base) <= tolerance * abs(base):
            sys.exit(
                f"{fact} of {name} is {value}, of {next(iter(values))} {base}: they do not do the same work"
            )
    print(f"{fact} {base:.8g} for all, largest relative difference "
          f"{max(abs(value / base - 1) for value in values.values()):.1e}")  # fmt: skip


def timed(run: Callable[[], Any], *, times: int = 1) -> Callable[[], float]:
    """A measurement: seconds per call of `run`, which waits for its own results."""

    def measure() -> float:
        began = time.perf_counter()
        for _ in range(times):
            run()
        return (time.perf_counter() - began) / times

    return measure
