"""Splits: parts of a finite set, procedural examples of which a few may have labels, and batches of both kinds."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.checks import check_between, check_name
from jaxlab import data
from jaxlab.training import PerSeed

# `(key of the task, key of the examples, count) -> examples`
Make = Callable[[jax.Array, jax.Array, int], Any]


def part_rows(label: Any, part: str) -> np.ndarray:
    """The rows of a finite set that searches may use (`part` "tuning", a quarter), or comparisons ("rest")."""
    check_name("data.part", part, ("tuning", "rest"))
    label = np.asarray(label)
    tuning, rest = data.split(len(label), seed=0, fractions=(0.25, 0.75), labels=label)
    return tuning if part == "tuning" else rest


def independent(make: Make, spec: ConfigDict) -> dict[str, PerSeed]:
    """Three splits of one task, of which every seed has its own; `spec` counts the examples of each."""
    return _drawn(make, {name: spec[name] for name in ("train", "val", "test")})


def few_labelled(make: Make, spec: ConfigDict) -> dict[str, Any]:
    """The same, but "train" is a dict of `spec.labelled` examples and the "unlabelled" rest of `spec.train`."""
    check_between("data.labelled", spec.labelled, spec.train - 1)
    sizes = {"labelled": spec.labelled, "unlabelled": spec.train - spec.labelled}
    made = _drawn(make, sizes | {"val": spec.val, "test": spec.test})
    return {"train": {name: made.pop(name) for name in sizes}, **made}


def _drawn(make: Make, sizes: Mapping[str, int]) -> dict[str, PerSeed]:
    def split(number: int, count: int) -> PerSeed:
        return PerSeed(lambda key: make(jax.random.fold_in(key, 0), jax.random.fold_in(key, number), count))

    return {name: split(number, count) for number, (name, count) in enumerate(sizes.items(), start=1)}


def draw_both(train: Mapping[str, Any], keys: Any, *, labelled: int, unlabelled: int) -> dict[str, Any]:
    """Batches of so many labelled and so many unlabelled examples, from two keys."""
    return {
        "labelled": data.draw(train["labelled"], keys[0], batch_size=labelled),
        "unlabelled": data.draw(train["unlabelled"], keys[1], batch_size=unlabelled),
    }
