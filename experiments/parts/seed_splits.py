"""Real images, of which every seed has its own training, validation and test images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.parts.checks import check_name, is_own
from experiments.parts.images import FILES, load_files, pooled
from experiments.parts.splits import part_rows
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import PerSeed


class SeedSplits(NamedTuple):
    """What the seeds share, and which of it each has.

    Attributes:
      images: those that are dealt out.
      rows: of "train", "val" and "test", `[S, n]`; no "test" where a file of its own tests all seeds.
      test: the images of that file, or None.
      num_classes: C.
    """

    images: data.Images
    rows: dict[str, np.ndarray]
    test: data.Images | None
    num_classes: int

    def splits(self) -> dict[str, PerSeed | data.Images]:
        """The images of each split; those of a test file are the same for all seeds."""
        dealt = {name: PerSeed(rows=data.take(self.images, rows)) for name, rows in self.rows.items()}
        return dealt if self.test is None else dealt | {"test": self.test}

    @property
    def resplit(self) -> tuple[int, int] | None:
        """The sizes of test and training split where one finite set gives both to every seed."""
        sizes = tuple(self.rows[name].shape[1] for name in ("test", "train") if name in self.rows)
        return sizes if len(sizes) == 2 else None


def seed_splits(spec: ConfigDict, seeds: Sequence[int], download: bool) -> SeedSplits:
    """Deal out a part of the images that `spec` names.

    Args:
      spec: `source`, "digits" or one that has files of its own; `path` of those; `pool`, how many pixels become one;
        `classes` that are kept and become 0, 1, ... in this order, all if there are none; `part`, the "tuning" quarter
        of all images or the "rest"; `train`, `val` and `test` count images, no `test` being none.
      seeds: of the run.
      download: allow data sets to be fetched.
    """
    whole, test = _digits() if spec.source == "digits" else _files(spec, download)
    whole, test = (_looked_at(images, spec) for images in (whole, test))
    images = data.take(whole, part_rows(whole.label, spec.part))
    names = ("train", "val", "test") if test is None and spec.test else ("train", "val")
    sizes = [spec[name] for name in names]
    if min(sizes) < 1 or sum(sizes) > len(images.label):
        raise InputError(
            f"data.{', data.'.join(names)} are {', '.join(map(str, sizes))}: {spec.part} has {len(images.label)} images"
        )
    order = np.stack([np.random.default_rng(seed).permutation(len(images.label)) for seed in seeds])
    rows = dict(zip(names, np.split(order, np.cumsum(sizes), axis=1)))
    return SeedSplits(images, rows, test, int(whole.label.max()) + 1)


def _digits() -> tuple[data.Images, None]:
    return data.digits(), None


def _files(spec: ConfigDict, download: bool) -> tuple[data.Images, data.Images]:
    if not is_own(spec.source):
        check_name("data.source", spec.source, ("digits", *FILES))
    files = load_files(spec, download, tested=True)
    return files["train"], files["test"]


def _looked_at(images: data.Images | None, spec: ConfigDict) -> data.Images | None:
    """With fewer pixels, and of some classes alone."""
    if images is None:
        return None
    label = np.asarray(images.label)
    classes = np.asarray(spec.classes or np.unique(label))
    new = np.full(label.max() + 1, -1)
    new[classes] = np.arange(len(classes))
    kept = np.flatnonzero(new[label] >= 0)
    return data.Images(pooled(images.image[kept], spec.pool), new[label[kept]].astype(np.int32))
