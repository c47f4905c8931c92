"""The papers' own scale in small: images that stay in their files, read by one process and by two."""

import socket

import numpy as np
import pytest

from tests.experiments.command import environment, finish, result, start
from tests.experiments.test_survival import close

pytestmark = pytest.mark.wide
PLD = (
    "configs/distillation/pld.py:paper", "--arms=ce,pld", "--config.seeds=1", "--config.log_every=2",
    "--config.eval_every=4", "--config.checkpoint_every=4", "--config.batch_size=8",
    *(f"--config.tasks.cifar100.{key}" for key in (
        "data.path={folder}", "data.source={source}", "data.train=40", "data.val=10", "teacher.kind=mlp",
        "teacher.features=(4,)", "student.kind=mlp",
        "student.features=(4,)", "teacher.steps=4", "student.steps=6",
    )),
)  # fmt: skip
BARLOW_TWINS = (
    "configs/self_supervised/barlow_twins.py:paper", "--arms=bt,labels,random", "--config.seeds=1",
    "--config.log_every=2", "--config.eval_every=4", "--config.checkpoint_every=4", "--config.examples=48",
    "--config.labels_per_class=2", "--config.data.path={folder}", "--config.data.source={source}",
    "--config.data.train=40", "--config.data.val=10", "--config.net.kind=convnet", "--config.net.features=(4,)",
    "--config.net.projector=(8,)", "--config.probe.steps=5",
    *(f"--config.arms.{arm}.{key}" for arm in ("bt", "labels", "random") for key in ("width=8", "batch_size=8")),
)  # fmt: skip


def write(source, folder):
    """Eighty images of eight pixels a side to learn from, twenty to test by, of four classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 80), ("test", 20)):
        label = np.arange(count) % 4
        image = (
            rng.integers(0, 128, (count, 8, 8, 3), np.uint8)
            + (30 * label).astype(np.uint8)[:, None, None, None]
        )
        if source == "npy":
            np.save(folder / f"{split}_image.npy", image)
            np.save(folder / f"{split}_label.npy", label)
        else:
            datasets = pytest.importorskip("datasets", reason='no datasets: pip install "jaxlab[streams]"')
            features = datasets.Features(
                {"image": datasets.Array3D((8, 8, 3), "uint8"), "label": datasets.Value("int64")}
            )
            whole = datasets.Dataset.from_dict({"image": image, "label": label}, features=features)
            whole.save_to_disk(folder / split)


def arguments(words, **places):
    config, *flags = (word.format(**places) for word in words)
    return flags, config


@pytest.mark.parametrize(("words", "source"), [(PLD, "npy"), (PLD, "arrow"), (BARLOW_TWINS, "npy")])
def test_a_paper_reads_its_images_with_one_process_and_with_two(words, source, tmp_path):
    write(source, tmp_path)
    flags, config = arguments(words, folder=tmp_path, source=source)
    status, _, error = finish(tmp_path / "one", *flags, config=config)
    assert status == 0, error
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    both = [
        start(
            tmp_path / "two", *flags, "--config.mesh.data=2", config=config,
            env=environment(JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=str(number)),
        )
        for number in (0, 1)
    ]  # fmt: skip
    ended = [process.communicate(timeout=560) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    found, expected = result(tmp_path / "two"), result(tmp_path / "one")
    assert found["scale"] == "paper"
    close(found, expected, rtol=1e-4)
