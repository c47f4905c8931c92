"""Sequences of tasks of which every seed has its own: split, order of classes, permutation or angles."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.checks import check_between, check_name, choose, is_own
from experiments.parts.images import FILES, load_files, pooled
from experiments.parts.splits import part_rows
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import PerSeed

Rows = dict[str, np.ndarray]
SCENARIOS = ("class_il", "domain_il", "task_il")


class Pool(NamedTuple):
    """The images that the splits of one seed are rows of.

    Attributes:
      images: all of them.
      rows: by split.
      resplit: `(test rows, training rows)` where seeds have other splits of one set, else None.
    """

    images: data.Images
    rows: Rows
    resplit: tuple[int, int] | None


class Sets(NamedTuple):
    """The splits as the engine takes them, and the static numbers that they share.

    Attributes:
      splits: "train" is a `data.TaskStream`; the others are dicts of `stream` and `slots`, as long as the largest task.
      largest: training examples of the largest task of any seed.
      outputs: of the net.
      competing: `[T]`, how many outputs compete in a task.
      image: `[1, H, W, C]`, an example.
      steps_per_task: that go through the largest task as often as the config says.
      resplit: as `Experiment` takes it.
    """

    splits: dict[str, Any]
    largest: int
    outputs: int
    competing: np.ndarray
    image: jax.Array
    steps_per_task: int
    resplit: tuple[int, int] | None


def load_sets(config: ConfigDict, download: bool) -> Sets:
    """The sequences of tasks that a config describes, one for each of its seeds."""
    spec = config.data
    check_name("scenario", config.scenario, SCENARIOS)
    make = choose("data.tasks", spec.tasks, SEQUENCES)
    source = _files if is_own(spec.source) else choose("data.source", spec.source, SOURCES)
    pool_of = source(spec, download)
    streams: dict[str, list[data.TaskStream]] = {}
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        pool = pool_of(seed)
        count = int(np.max(pool.images.label)) + 1
        for name, rows in pool.rows.items():
            stream = make(
                data.take(pool.images, rows), spec, config.scenario.removesuffix("_il"), seed, count
            )
            own = stream._replace(images=pool.images, rows=jnp.asarray(rows)[stream.rows])
            streams.setdefault(name, []).append(own)
    steps = [_steps(stream, config) for stream in streams["train"]]
    largest = {name: max(int(stream.size.max()) for stream in own) for name, own in streams.items()}
    first = streams["train"][0]
    scored = "test" if config.test else "val"
    judged = {"stream": _of_seeds(streams[scored]), "slots": jnp.zeros(largest[scored])}
    return Sets(
        {"train": _of_seeds(streams["train"]), scored: judged},
        largest["train"],
        first.own.shape[1],
        np.asarray(first.head.sum(axis=1)),
        jnp.zeros((1, *first.images.image.shape[1:])),
        max(steps),
        pool.resplit,
    )


def _steps(stream: data.TaskStream, config: ConfigDict) -> int:
    sizes = {"batch_size": config.batch_size, "passes": config.passes, "multiple_of": config.eval_every}
    return data.task_steps(stream, **sizes)


def _of_seeds(streams: list[data.TaskStream]) -> data.TaskStream:
    """One stream whose parts are the seeds' own; images that all of them share are there once."""
    stack = lambda *parts: PerSeed(rows=jnp.stack(parts))
    images = streams[0].images
    shared = all(stream.images is images for stream in streams)
    own = jax.tree.map(stack, *(stream._replace(images=None) for stream in streams))
    return own._replace(images=images if shared else jax.tree.map(stack, *(s.images for s in streams)))


def _split(images: data.Images, spec: ConfigDict, scenario: str, seed: int, count: int) -> data.TaskStream:
    order = np.random.default_rng(seed).permutation(count)
    return data.split_classes(images, spec.num_tasks, scenario=scenario, num_classes=count, order=order)


def _permuted(images: data.Images, spec: ConfigDict, scenario: str, seed: int, count: int) -> data.TaskStream:
    key = jax.random.key(seed)
    return data.permuted_pixels(images, spec.num_tasks, key, scenario=scenario, num_classes=count)


def _turned(images: data.Images, spec: ConfigDict, scenario: str, seed: int, count: int) -> data.TaskStream:
    angles = np.random.default_rng(seed).uniform(0, 180, spec.num_tasks)
    return data.turned_images(images, angles, scenario=scenario, num_classes=count)


SEQUENCES: dict[str, Callable[..., data.TaskStream]] = {
    "split_classes": _split,
    "permuted_pixels": _permuted,
    "rotations": _turned,
}


def _digits(spec: ConfigDict, download: bool) -> Callable[[int], Pool]:
    images = data.digits()
    part = part_rows(images.label, spec.part)
    labels = np.asarray(images.label)[part]

    def pool(seed: int) -> Pool:
        parts = data.split(len(part), seed=seed, fractions=(0.7, 0.1, 0.2), labels=labels)
        rows = {name: part[own] for name, own in zip(("train", "val", "test"), parts)}
        return Pool(images, rows, (len(rows["test"]), len(rows["train"])))

    return pool


def _files(spec: ConfigDict, download: bool) -> Callable[[int], Pool]:
    """Training and validation images are a draw from the training file; the test file is the same for all seeds."""
    files = load_files(spec, download, tested=True)
    part, kept = part_rows(files["train"].label, spec.part), len(files["train"].label)
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), files["train"], files["test"])
    images = data.Images(pooled(joined.image, spec.pool), joined.label)
    check_between("data.train + data.val", spec.train + spec.val, len(part), f"images for {spec.part}")

    def pool(seed: int) -> Pool:
        drawn = np.random.default_rng(seed).permutation(part)
        test = kept + np.arange(len(images.label) - kept)
        rows = {
            "train": drawn[: spec.train],
            "val": drawn[spec.train :][: spec.val],
            "test": test,
        }
        return Pool(images, rows, None)

    return pool


def _hierarchy(spec: ConfigDict, download: bool) -> Callable[[int], Pool]:
    """Procedural classes in superclasses; every seed has classes of its own."""
    sizes = [spec[name] for name in ("train", "val", "test")]
    if min(sizes) < 1:
        raise InputError(f"data.train, data.val and data.test are {sizes}: each must be at least 1")
    ends = np.cumsum([0, *sizes])
    make = jax.jit(data.image_hierarchy, static_argnums=2, static_argnames=tuple(spec.options))

    def pool(seed: int) -> Pool:
        keys = jax.random.split(jax.random.key(seed))
        images = make(keys[0], keys[1], int(ends[-1]), **spec.options)
        rows = {name: np.arange(*ends[n : n + 2]) for n, name in enumerate(("train", "val", "test"))}
        return Pool(images, rows, None)

    return pool


SOURCES: dict[str, Callable[[ConfigDict, bool], Callable[[int], Pool]]] = {
    "digits": _digits,
    **dict.fromkeys(FILES, _files),
    "hierarchy": _hierarchy,
}
