"""Splits of procedural examples, of which a few may have labels, and batches of both kinds."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.checks import check_between
from jaxlab import data
from jaxlab.training import PerSeed


def cut(examples: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The first rows for the first name, the next for the second, and so on."""
    ends = np.cumsum([0, *sizes.values()])
    part = lambda n: jax.tree.map(lambda x: x[ends[n] : ends[n + 1]], examples)
    return {name: part(n) for n, name in enumerate(sizes)}


def independent(make: Callable[[jax.Array, jax.Array, int], Any], spec: ConfigDict) -> dict[str, Any]:
    """Three splits of one task, of which every seed has its own; `spec` counts the examples of each.

    `make` is `(key of the task, key of the examples, count) -> examples`.
    """

    def split(number: int, count: int) -> PerSeed:
        return PerSeed(lambda key: make(jax.random.fold_in(key, 0), jax.random.fold_in(key, number), count))

    parts = enumerate(("train", "val", "test"), start=1)
    return {name: split(number, spec[name]) for number, name in parts}


def few_labelled(make: Callable[[jax.Array, int], Any], key: jax.Array, spec: ConfigDict) -> dict[str, Any]:
    """Examples drawn at once: "train" is a dict of the `spec.labelled` first ones and the "unlabelled" rest.

    Args:
      make: `(key, count) -> examples`.
      key: of the draw.
      spec: `train`, `labelled`, `val` and `test` count examples.
    """
    check_between("data.labelled", spec.labelled, spec.train - 1)
    sizes = {
        "labelled": spec.labelled,
        "unlabelled": spec.train - spec.labelled,
        "val": spec.val,
        "test": spec.test,
    }
    made = cut(jax.jit(lambda key: make(key, sum(sizes.values())))(key), sizes)
    return {"train": {name: made.pop(name) for name in ("labelled", "unlabelled")}, **made}


def draw_both(train: Mapping[str, Any], keys: Any, *, labelled: int, unlabelled: int) -> dict[str, Any]:
    """Batches of so many labelled and so many unlabelled examples, from two keys."""
    return {
        "labelled": data.draw(train["labelled"], keys[0], batch_size=labelled),
        "unlabelled": data.draw(train["unlabelled"], keys[1], batch_size=unlabelled),
    }
