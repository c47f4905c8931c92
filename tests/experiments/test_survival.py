"""Kills, stops, crowds, full disks and many devices: the command must come out with the right numbers or one line."""

import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from jaxlab.training.metrics import read_rows
from tests.experiments.command import TINY, environment, finish, result, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    status, out, error = finish(folder)
    assert status == 0, error
    assert "curves:" in out
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The same with two arms."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    status, _, error = finish(folder, config=TINY)
    assert status == 0, error
    return folder


def close(found: dict, expected: dict, rtol: float) -> None:
    assert found["arms"].keys() == expected["arms"].keys()
    for name, arm in expected["arms"].items():
        for metric, values in arm["metrics"].items():
            if metric.endswith("nll"):
                np.testing.assert_allclose(
                    found["arms"][name]["metrics"][metric], values, rtol=rtol, err_msg=name
                )
            else:  # one example may change sides
                np.testing.assert_allclose(
                    found["arms"][name]["metrics"][metric], values, atol=0.008, err_msg=name
                )


@pytest.fixture(scope="module")
def span(tiny, tmp_path_factory) -> float:
    """Seconds of a run that finds its programs in the cache."""
    began = time.monotonic()
    assert finish(tmp_path_factory.mktemp("timed") / "run", config=TINY)[0] == 0
    return time.monotonic() - began


@pytest.mark.parametrize("fold", [0, *(pytest.param(fold, marks=pytest.mark.wide) for fold in (1, 2, 3))])
def test_twenty_kills_change_nothing(tiny, span, tmp_path, fold):
    """kill -9 at random moments of one run, again and again, until it has died five times; then let it finish."""
    expected, rng = result(tiny), random.Random(fold)
    kills, folder, number = 0, tmp_path / "run-0", 0
    while kills < 5:
        process = start(folder, config=TINY)
        try:
            process.wait(timeout=rng.uniform(0.25, 1.0) * span)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
        if process.returncode == 0:
            assert result(folder) == expected
            number += 1
            folder = tmp_path / f"run-{number}"
    status, _, error = finish(folder, config=TINY)
    assert status == 0, error
    assert result(folder) == expected
    assert read_rows(folder / "metrics.jsonl") == read_rows(tiny / "metrics.jsonl")


def test_twice_gives_identical_files(straight, tmp_path):
    assert finish(tmp_path / "again")[0] == 0
    assert result(tmp_path / "again") == result(straight)
    for name in ("metrics.jsonl", "curves.png"):
        assert (tmp_path / "again" / name).read_bytes() == (straight / name).read_bytes(), name


def test_a_damaged_checkpoint_is_one_warning(straight, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    newest = folder / "checkpoints" / "digits" / "kd" / "20"
    biggest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    biggest.write_bytes(biggest.read_bytes()[:10])
    status, _, error = finish(folder)
    assert status == 0
    assert result(folder) == result(straight)
    assert error.count("\n") == 1, error
    assert "warning: checkpoint" in error
    assert "kd/20 is damaged" in error


def _wait_for(path: pathlib.Path, process) -> None:
    for _ in range(1200):
        if path.exists() and path.stat().st_size:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_sigterm_saves_says_how_to_go_on_and_exits_75(straight, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    _wait_for(folder / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    line = error.strip().splitlines()[-1]
    assert "the state is saved. To go on: python -m experiments.run" in line
    assert f"--workdir={folder}" in line
    step, arm = int(line.split("stopped at step ")[1].split()[0]), line.split(" of ")[1].split(";")[0]
    assert step % 5 == 0
    assert (folder / "checkpoints" / arm / str(step)).is_dir()
    assert finish(folder)[0] == 0
    assert result(folder) == result(straight)


def test_two_runs_in_one_workdir(tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    _wait_for(folder / "config.json", first)
    status, _, error = finish(folder)
    assert status == 2
    assert error == f"error: another run is using {folder}: wait for it or give another --workdir\n"
    first.communicate()
    assert first.returncode == 0


def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(straight, tmp_path):
    """No file may grow beyond a limit that small checkpoints meet and the teacher's do not."""
    folder = tmp_path / "run"
    process = start(folder)
    _wait_for(folder / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    before = sorted(path.name for path in (folder / "checkpoints").rglob("*"))
    status, _, error = finish(folder, before=["bash", "-c", 'ulimit -f 1; exec "$0" "$@"'])
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert status == 74, error
    assert len(lines) == 1
    assert "cannot write" in lines[0]
    assert (
        "File too large; earlier checkpoints are intact, and the same command goes on from them" in lines[0]
    )
    assert "Traceback" not in error
    assert set(before) <= {path.name for path in (folder / "checkpoints").rglob("*")}
    assert finish(folder)[0] == 0
    assert result(folder) == result(straight)


@pytest.mark.parametrize("mesh", ["data=4", "seed=2"])
def test_more_devices_give_the_same_result(tiny, tmp_path, mesh):
    env = environment(XLA_FLAGS="--xla_force_host_platform_device_count=8")
    status, _, error = finish(tmp_path / "run", f"--config.mesh.{mesh}", env=env, config=TINY)
    assert status == 0, error
    close(result(tmp_path / "run"), result(tiny), rtol=1e-5)


def test_seeds_by_map_gives_the_same_result(tiny, tmp_path):
    assert finish(tmp_path / "run", "--config.seeds_by=map", config=TINY)[0] == 0
    close(result(tmp_path / "run"), result(tiny), rtol=1e-5)


def test_two_processes_give_the_same_result(tiny, tmp_path):
    """The way of a pod, on loopback: two processes, one device each, the batch split over both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    both = [
        start(
            tmp_path / "run",
            "--config.mesh.data=2",
            config=TINY,
            env=environment(
                JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=str(number)
            ),
        )
        for number in (0, 1)
    ]
    ended = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert "curves:" in ended[0][0]
    assert "curves:" not in ended[1][0]
    close(result(tmp_path / "run"), result(tiny), rtol=1e-5)
