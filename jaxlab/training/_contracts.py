"""What the engine asks of learners, data and contexts, and of what learners give back, compiled or on the host."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core import Computed, Learner
from jaxlab.core.check import InputError, as_pair, called, check_metrics


def check_learner(learner: Any) -> None:
    """A method is a `Learner` or `Computed`."""
    if not isinstance(learner, Learner | Computed):
        raise InputError(
            f"learner is {called(learner)}: it must be a Learner, which gradient_learner makes of a loss, or Computed"
        )


def check_splits(data: Any) -> None:
    """Data are splits by name, of which one is for training."""
    if not isinstance(data, Mapping):
        raise InputError(
            f"data is {called(data)}: it must be a dict of splits, such as {{'train': ..., 'test': ...}}"
        )
    if "train" not in data:
        raise InputError(
            f"data has the splits {', '.join(map(str, data)) or 'none'}: one must be called 'train'"
        )


def check_context(context: Any, seeds: int) -> None:
    """Every array of a context leads with the seeds."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(context)[0]:
        if not hasattr(leaf, "shape") or leaf.shape[:1] != (seeds,):
            raise InputError(
                f"context{jax.tree_util.keystr(path)} is {called(leaf)}: its first axis must be the {seeds} seeds; "
                f"what all of them share: jax.tree.map(lambda x: jnp.stack([x] * {seeds}), context)"
            )


def updated(learner: Learner, given: Any) -> tuple[Any, dict[str, jax.Array]]:
    """State and metrics of an update that gives both."""
    state, metrics = as_pair("update", given, "(state, metrics), without metrics (state, {})")
    found = scalars("update", metrics)
    if learner.ends is not None and learner.ends not in found:
        raise InputError(
            f"ends is {learner.ends!r}: it must be a metric of its update, {', '.join(found) or 'which has none'}"
        )
    return state, found


def scalars(function: str, metrics: Any) -> dict[str, jax.Array]:
    """The metrics that `function` gives, float32 scalars by name."""
    check_metrics(function, metrics)
    return {name: _scalar(name, value) for name, value in metrics.items()}


def _scalar(name: str, value: Any) -> jax.Array:
    try:
        value = jnp.asarray(value, jnp.float32)
    except (TypeError, ValueError):
        raise InputError(f"metric {name!r} is {value!r:.80}: metrics are scalars") from None
    if value.shape:
        raise InputError(
            f"metric {name!r} has the shape {value.shape}: metrics are scalars, such as its mean"
        )
    return value


def check_state(state: Any, new: Any) -> None:
    """An update keeps structure, shapes and dtypes."""
    describe = lambda tree: {
        jax.tree_util.keystr(path): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    before, after = describe(state), describe(new)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            raise InputError(
                f"an update must keep the state's structure, shapes and dtypes: {path or 'the state'} is "
                f"{before.get(path, 'absent')} before and {after.get(path, 'absent')} after"
            )
