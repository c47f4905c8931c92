"""Streams from files of every kind: kills, one process and two, sets that are larger than what is kept."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.wide
ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, STEPS = 96, 20

# A run whose metric is a hash of the batch, one line of standard output for each step; it ends itself by kill -9.
_RUN = """
import json, os, pathlib, signal, sys

import jax, jax.numpy as jnp, numpy as np

from jaxlab.core import Learner, pass_rows
from jaxlab.training import Checkpoints, Plan, Streamed, fit
from jaxlab.training.mesh import initialize_distributed
from tests.training.test_streamed_survival import STEPS, opened

initialize_distributed()
kind, folder, kill_at = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
source, decode = opened(kind, folder)
first = jax.process_index() == 0
read = []


class Counted:
    def __len__(self): return len(source)
    def __getitem__(self, row): return self.__getitems__([row])[0]
    def __getitems__(self, rows):
        read.extend(rows)
        return source.__getitems__(rows) if hasattr(source, "__getitems__") else [source[row] for row in rows]


def update(state, batch, key, context):
    words = batch["x"].astype(jnp.uint32).reshape(8, -1)
    weights = jnp.arange(1, words.size + 1, dtype=jnp.uint32).reshape(words.shape) * jnp.uint32(2654435761)
    mixed = (words + 1) * weights
    hashed = jnp.sum(mixed ^ (mixed >> 15), dtype=jnp.uint32) >> 8  # 24 bits, which float32 holds
    return state + 1, {"hash": hashed.astype(jnp.float32)}


def log(row):
    if first:
        print("told", json.dumps([row["step"], row["train/hash"]]), flush=True)
    if row["step"] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


done = fit(
    Learner(lambda key, context: jnp.zeros(()), update),
    data={"train": Streamed(Counted(), lambda key, step: pass_rows(key, step, batch_size=8, size=len(source)), decode)},
    steps=STEPS, log=log, checkpoints=Checkpoints(folder / "run"),
    plan=Plan(seeds=(3, 4), log_every=1, eval_every=2, checkpoint_every=2, mesh={"data": jax.device_count()}),
)
if first:
    print("told", json.dumps(["read", len(read)]), flush=True)
"""


def examples() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (ROWS, 6), np.uint8)


def write(kind: str, folder: pathlib.Path) -> None:
    """The examples in a file of this kind."""
    if kind == "npy":
        np.save(folder / "x.npy", examples())
    elif kind == "arrow":
        datasets = pytest.importorskip(
            "datasets", reason='Arrow files are written by datasets: pip install "jaxlab[streams]"'
        )
        features = datasets.Features({"x": datasets.List(datasets.Value("uint8"), length=6)})
        datasets.Dataset.from_dict({"x": examples()}, features=features).save_to_disk(folder / "set")
    elif kind == "torch":
        pytest.importorskip("torch", reason="no torch: pip install torch")
    else:
        reason = 'ArrayRecord files need grain: pip install "jaxlab[streams]"'
        pytest.importorskip("grain", reason=reason)
        module = pytest.importorskip("array_record.python.array_record_module", reason=reason)
        writer = module.ArrayRecordWriter(str(folder / "x.array_record"), "group_size:1")
        for example in examples():
            writer.write(example.tobytes())
        writer.close()


def opened(kind: str, folder: pathlib.Path):
    """Source and decode."""
    from jaxlab.data import ArrowRows, NpyRows

    if kind == "npy":
        return NpyRows({"x": folder / "x.npy"}), None
    if kind == "arrow":
        return ArrowRows(folder / "set"), None
    if kind == "torch":
        import torch

        return torch.utils.data.TensorDataset(torch.from_numpy(examples())), lambda example: {"x": example[0]}
    from grain.sources import ArrayRecordDataSource

    source = ArrayRecordDataSource([str(folder / "x.array_record")])
    return source, lambda record: {"x": np.frombuffer(record, np.uint8)}


def run(kind, folder, *, processes=1, kill_at=0):
    """What the first process printed; all of them must end alike, killed or not."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("XLA_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    joined = lambda number: {
        "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes), "JAX_PROCESS_ID": str(number)
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _RUN, kind, str(folder), str(kill_at)],
            env={**kept, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, **(joined(number) if processes > 1 else {})},
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    ended = [process.communicate(timeout=560) for process in started]
    codes = [process.returncode for process in started]
    assert all(code < 0 for code in codes) if kill_at else codes == [0] * processes, ended
    return [json.loads(line[5:]) for line in ended[0][0].splitlines() if line.startswith("told ")]


@pytest.mark.parametrize("kind", ["npy", "arrow", "torch", "array_record"])
def test_one_process_then_two_then_one_killed_between(kind, tmp_path):
    """Every step's batch has the hash that an uninterrupted run of one process gives it."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        write(kind, folder)
    *expected, (_, read) = run(kind, whole)
    assert [step for step, _ in expected] == list(range(1, STEPS + 1))
    assert len({tuple(hashes) for _, hashes in expected}) == STEPS
    assert read == 1 + 2 * 8 * STEPS
    found = run(kind, broken, kill_at=7)
    found += run(kind, broken, processes=2, kill_at=13)
    *end, (_, own) = run(kind, broken)
    begins = end[0][0] - 1
    assert begins in (10, 12)  # the checkpoint of step 12 may have been on its way
    assert own == 1 + 2 * 8 * (STEPS - begins)
    assert all(row in expected for row in found + end)
    assert {step for step, _ in found + end} == set(range(1, STEPS + 1))


def test_each_of_two_processes_reads_its_own_half(tmp_path):
    write("npy", tmp_path)
    *_, (_, read) = run("npy", tmp_path, processes=2)
    assert read == 1 + 2 * 4 * STEPS


# Two passes over a set of ten times what is kept, 20 MiB of two chunks; how much memory there is after each chunk.
_LARGE = """
import json, sys

import jax.numpy as jnp, numpy as np, psutil

from jaxlab.core import Learner, pass_rows
from jaxlab.data import ArrowRows, NpyRows
from jaxlab.training import Plan, Streamed, fit

source = NpyRows({"x": sys.argv[1]}) if sys.argv[1].endswith("npy") else ArrowRows(sys.argv[1])
seen = []
fit(
    Learner(lambda key, context: jnp.zeros(()), lambda state, batch, key, context: (state + batch["x"].mean(), {})),
    data={"train": Streamed(source, lambda key, step: pass_rows(key, step, batch_size=16, size=len(source)))},
    steps=2 * len(source) // 16, plan=Plan(seeds=(0,), log_every=10),
    log=lambda row: seen.append(psutil.Process().memory_info().rss / 2**20),
)
print(json.dumps(seen))
"""


@pytest.mark.parametrize("kind", ["npy", "arrow"])
def test_memory_is_flat_over_a_set_ten_times_larger_than_what_is_kept(kind, tmp_path):
    rows, width = 3200, 2**16
    path, rng = tmp_path / f"x.{kind}", np.random.default_rng(0)
    parts = [rng.integers(0, 256, (100, width), np.uint8) for _ in range(rows // 100)]
    if kind == "npy":
        np.save(path, np.concatenate(parts))
    else:
        pyarrow = pytest.importorskip("pyarrow", reason='no pyarrow: pip install "jaxlab[streams]"')
        schema = pyarrow.schema({"x": pyarrow.list_(pyarrow.uint8(), width)})
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, schema) as out:
            for part in parts:
                column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(part.reshape(-1)), width)
                out.write_batch(pyarrow.record_batch([column], schema=schema))
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=560,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "XLA_FLAGS": "",
             "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},  # programs as users have them: others keep more memory
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen, whole = json.loads(done.stdout), rows * width / 2**20
    # A chunk's rows, the next one's, and the pages of the file that are being read come and go, so that what stays is
    # what the process has when it has least. The first quarter warms up.
    first, second, _, last = np.split(np.array(seen[: len(seen) // 4 * 4]), 4)
    assert np.median(last) - np.median(second) < 0.15 * whole
    assert last.min() - first.min() < 0.5 * whole


# A set of Hugging Face's that another program cuts short while it is read.
_CUT = """
import os, pathlib, sys, time

import datasets, jax.numpy as jnp, numpy as np

from jaxlab.core import InputError, Learner, pass_rows
from jaxlab.training import Checkpoints, Plan, Streamed, fit

folder = pathlib.Path(sys.argv[1])
source = datasets.load_from_disk(folder / "set")


def log(row):
    time.sleep(1)  # the chunk that is read ahead is there
    if row["step"] == 4:
        os.truncate(source.cache_files[0]["filename"], 100)


try:
    fit(
        Learner(lambda key, context: jnp.zeros(()), lambda state, batch, key, context: (state + batch["x"].mean(), {})),
        data={"train": Streamed(
            source, lambda key, step: pass_rows(key, step, batch_size=8, size=len(source)),
            decode=lambda example: {"x": np.asarray(example["x"], np.uint8)},
        )},
        steps=20, log=log, checkpoints=Checkpoints(folder / "run"),
        plan=Plan(seeds=(0,), log_every=2, eval_every=2, checkpoint_every=2),
    )
except InputError as error:
    print(error, Checkpoints(folder / "run").newest)
"""


def test_a_set_of_hugging_face_that_is_cut_short_is_one_line(tmp_path):
    write("arrow", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _CUT, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=560,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line, newest = done.stdout.strip().rsplit(" ", 1)
    assert "is cut short: 100 bytes of" in line
    assert int(newest) >= 4
