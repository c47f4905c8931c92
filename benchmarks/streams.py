"""Training from files against training from memory, the reader alone, and host memory over a large set.

`python -m benchmarks.streams [rounds]`; Arrow and ArrayRecord need `pip install ".[streams]"`.
"""

import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from benchmarks.loop import BATCH, draw, learner
from benchmarks.rounds import alternate, report
from jaxlab import data
from jaxlab.core import Learner, pass_rows
from jaxlab.data import ArrowRows, NpyRows
from jaxlab.training import Plan, Streamed, fit
from jaxlab.training._streamed import read_rows

STEPS, CHUNK = 4000, 100
WIDE_BATCH, WIDE_CHUNK, WIDE_ROWS = 32, 4, 3200


def seconds(method: Learner, train: Any, *, steps: int, chunk: int, **options: Any) -> float:
    """Per step of `fit`, from the end of the first chunk to the end of the last."""
    moments: list[float] = []
    plan = Plan(seeds=(0,), log_every=chunk, eval_every=steps, checkpoint_every=steps)
    fit(method, data={"train": train}, steps=steps, plan=plan,
        log=lambda row: moments.append(time.perf_counter()), **options)  # fmt: skip
    return (moments[-1] - moments[0]) / (steps - chunk)


def rows_of(batch: int, size: int) -> Callable:
    """Passes without replacement."""
    return lambda key, step: pass_rows(key, step, batch_size=batch, size=size)


def in_files(train: data.Images, folder: pathlib.Path) -> dict[str, Streamed]:
    """The digits in a file of each kind that is installed."""
    fields = {"image": np.asarray(train.image), "label": np.asarray(train.label)}
    rows = rows_of(BATCH, len(fields["label"]))
    for name, value in fields.items():
        np.save(folder / f"{name}.npy", value)
    found = {"NpyRows": Streamed(NpyRows({name: folder / f"{name}.npy" for name in fields}), rows)}
    try:
        import datasets

        features = datasets.Features(
            image=datasets.Array3D((8, 8, 1), "float32"), label=datasets.Value("int32")
        )
        datasets.disable_progress_bars()
        datasets.Dataset.from_dict(fields, features=features).save_to_disk(folder / "set")
        found["ArrowRows"] = Streamed(ArrowRows(folder / "set"), rows)
    except ModuleNotFoundError:
        print("  no datasets: Arrow is left out")
    try:
        from array_record.python.array_record_module import ArrayRecordWriter
        from grain.sources import ArrayRecordDataSource

        writer = ArrayRecordWriter(str(folder / "x.array_record"), "group_size:1")
        for image, label in zip(*fields.values()):
            writer.write(label.tobytes() + image.tobytes())
        writer.close()

        def decode(record: bytes) -> dict[str, np.ndarray]:
            image = np.frombuffer(record, np.float32, offset=4).reshape(8, 8, 1)
            return {"image": image, "label": np.frombuffer(record, np.int32, 1)[0]}

        found["ArrayRecord by grain"] = Streamed(
            ArrayRecordDataSource([str(folder / "x.array_record")]), rows, decode
        )
    except ModuleNotFoundError:
        print("  no grain: ArrayRecord is left out")
    examples = [{"image": image, "label": label} for image, label in zip(*fields.values())]
    found["a list, row by row"] = Streamed(examples, rows)
    return found


def of_digits(rounds: int, folder: pathlib.Path) -> None:
    """Steps of a student on the digits, from memory and from files."""
    train = data.split_images(data.digits(), seed=0)["train"]
    for width in (64, 512):
        method, sizes = learner(width), {"steps": STEPS if width == 64 else STEPS // 4, "chunk": CHUNK}
        contenders = {"memory": lambda method=method, sizes=sizes: seconds(method, train, draw=draw, **sizes)}
        for name, streamed in in_files(train, folder).items():
            contenders[name] = lambda streamed=streamed, method=method, sizes=sizes: seconds(
                method, streamed, **sizes
            )
        times = alternate(contenders, rounds=rounds)
        report(
            f"digits, {BATCH} rows of 260 bytes, width {width}",
            times,
            base="memory",
            unit="us/step",
            scale=1e6,
        )


def large(folder: pathlib.Path) -> Streamed:
    """Pictures of 224 x 224 x 3."""
    shape = (WIDE_ROWS, 224, 224, 3)
    path = folder / "large.npy"
    file = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    rng = np.random.default_rng(0)
    for begin in range(0, WIDE_ROWS, 100):
        file[begin : begin + 100] = rng.integers(0, 256, (100, *shape[1:]), np.uint8)
    del file
    return Streamed(NpyRows({"image": path}), rows_of(WIDE_BATCH, WIDE_ROWS))


def of_pictures(rounds: int, folder: pathlib.Path) -> None:
    """A step that hardly computes, against the reader alone; and the memory of the process."""
    streamed, steps = large(folder), 2 * WIDE_ROWS // WIDE_BATCH
    method = Learner(
        init=lambda key, context: jnp.zeros(()),
        update=lambda state, batch, key, context: (state + batch["image"][:, 0, 0, 0].mean(), {}),
    )

    def alone() -> float:
        key, began = jax.random.key(0), time.perf_counter()
        index = np.asarray(jax.vmap(lambda step: streamed.rows(key, step))(jnp.arange(steps)))
        for begin in range(0, steps, WIDE_CHUNK):
            read_rows(streamed, index[begin : begin + WIDE_CHUNK].reshape(-1))
        return (time.perf_counter() - began) / steps

    contenders = {
        "reader alone": alone,
        "fit": lambda: seconds(method, streamed, steps=steps, chunk=WIDE_CHUNK),
    }
    times = alternate(contenders, rounds=rounds)
    report(f"{WIDE_BATCH} pictures of 224 x 224 x 3", times, base="reader alone", unit="ms/step", scale=1e3)
    process, seen = psutil.Process(), []
    plan = Plan(seeds=(0,), log_every=WIDE_CHUNK, eval_every=steps, checkpoint_every=steps)
    fit(method, data={"train": streamed}, steps=steps, plan=plan,
        log=lambda row: seen.append(process.memory_info().rss / 2**20))  # fmt: skip
    kept, size = 2 * WIDE_CHUNK * WIDE_BATCH * 150528 / 2**20, WIDE_ROWS * 150528 / 2**20
    print(
        f"\nresident memory over two passes of {size:.0f} MiB, of which {kept:.0f} MiB are kept: "
        f"{seen[2]:.0f} MiB after three chunks, {seen[-1]:.0f} at the end, {max(seen[2:]):.0f} at most"
    )


def main(rounds: int) -> None:
    """Print the comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        of_digits(rounds, pathlib.Path(folder))
        of_pictures(rounds, pathlib.Path(folder))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
