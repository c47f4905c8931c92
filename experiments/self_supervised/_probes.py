"""What is measured of a frozen encoder: probes from a few examples, and in how many directions its vectors vary.

A measure is a function of what was read of the few, of what was read of the images to be judged by, and of the split.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.parts.checks import choose
from experiments.parts.chunks import in_chunks
from experiments.self_supervised._task import Task, factor
from jaxlab.core import normalize, standardize_batch
from jaxlab.metrics import accuracy, effective_rank, knn_probe, linear_probe, ridge_probe

Metrics = dict[str, jax.Array]
MEASURES_OF_CLASSES = ("classes", "ranks")


class Read(NamedTuple):
    """What a measure is made of.

    Attributes:
      task: what the arms share.
      settings: of the arm.
      known: `[F, D]` vectors of the few.
      asked: `[M, D]` vectors of the images to be judged by.
      few: examples that belong to `known`.
      score: examples that belong to `asked`.
      outputs: `[M, width]` of the projector; None for pixels.
    """

    task: Task
    settings: Any
    known: jax.Array
    asked: jax.Array
    few: Any
    score: Any
    outputs: jax.Array | None

    def votes(self, asked: jax.Array) -> jax.Array:
        """Of the nearest neighbours among the few."""
        return knn_probe(
            self.known, self.few.label, asked, num_classes=self.task.num_classes,
            neighbors=self.task.probe.neighbors,
        )  # fmt: skip

    def ridge(self, names: tuple[str, ...]) -> tuple[jax.Array, jax.Array]:
        """Factors of the images to be judged by as a regression on the few finds them, and as they are."""
        known, true = factors(self.few, names), factors(self.score, names)
        return ridge_probe(self.known, known, self.asked, penalty=self.task.probe.penalty), true


def factors(examples: Any, names: tuple[str, ...]) -> jax.Array:
    """Some factors of some images, `[N, K]`."""
    return jnp.concatenate([factor(examples._asdict(), name) for name in names], axis=1)


def classes(read: Read) -> Metrics:
    """Accuracies of a linear probe and of the nearest neighbours."""
    probe = read.task.probe
    linear = linear_probe(
        read.known, read.few.label, read.asked, num_classes=read.task.num_classes, steps=probe.steps,
        learning_rate=probe.learning_rate, weight_decay=read.settings.probe_decay,
    )  # fmt: skip
    return {
        "probe_accuracy": accuracy(linear, read.score.label),
        "knn_accuracy": accuracy(read.votes(read.asked), read.score.label),
    }


def ranks(read: Read) -> Metrics:
    """Effective ranks of the vectors, and of the outputs at a spread of 1."""
    measured = {"feature_rank": effective_rank(read.asked)}
    if read.outputs is not None:
        measured["output_rank"] = effective_rank(standardize_batch(read.outputs))
    return measured


def directions(read: Read) -> Metrics:
    """Effective rank of the outputs at length 1, which is what a contrastive loss sees."""
    return {} if read.outputs is None else {"direction_rank": effective_rank(normalize(read.outputs))}


def halves(read: Read) -> Metrics:
    """Of the nearest neighbours, on every other image: a moment that one half chooses is judged by the other."""
    half = lambda first: accuracy(read.votes(read.asked[first::2]), read.score.label[first::2])
    return {"knn_first_half": half(0), "knn_second_half": half(1)}


def targets(read: Read) -> Metrics:
    """Mean absolute error of a ridge regression on the arm's target."""
    found, true = read.ridge((read.settings.target,))
    return {"target_error": jnp.mean(jnp.abs(found - true))}


def attributes(read: Read) -> Metrics:
    """Share of the variance of `probe.attributes` that a ridge regression explains, their mean.

    No prediction leaves the range of the few: a feature that is on in one of them can be a hundred times that later.
    """
    names = tuple(read.task.probe.attributes)
    (found, true), known = read.ridge(names), factors(read.few, names)
    found = jnp.clip(found, known.min(axis=0), known.max(axis=0))
    missed = jnp.mean(jnp.square(found - true), axis=0) / jnp.var(true, axis=0)
    return {"attribute_r2": jnp.mean(1.0 - missed)}


MEASURES: dict[str, Callable[[Read], Metrics]] = {
    "classes": classes,
    "ranks": ranks,
    "directions": directions,
    "halves": halves,
    "targets": targets,
    "attributes": attributes,
}


def evaluation(
    task: Task,
    settings: Any,
    *,
    outputs: Callable[[Any, jax.Array], jax.Array] | None = None,
    more: Callable[[Any, jax.Array], Metrics] = lambda params, images: {},
) -> Callable[[Any, Any, Any], Metrics]:
    """All measures that the task's probe names, and `more` from the parameters and the images to be judged by.

    Args:
      task: what the arms share.
      settings: of the arm.
      outputs: from parameters and vectors, in the place of the task's projector.
      more: measures of one method.
    """
    measures = [
        choose("probe.measures", name, MEASURES) for name in task.probe.get("measures", MEASURES_OF_CLASSES)
    ]
    project = outputs or (
        lambda params, vectors: task.projector(settings).apply(params["projector"], vectors)
    )
    pixels = settings.probe_on == "pixels"

    def see(params: Any, images: jax.Array) -> jax.Array:
        if pixels:
            return images.reshape(len(images), -1)
        return in_chunks(lambda part: task.features(params, part)[1], images)

    def evaluate(state: Any, split: Any, context: Any) -> Metrics:
        few = jax.tree.map(lambda x: x[split["few"]], split["train"])
        asked = see(state.params, split["score"].image)
        read = Read(
            task, settings, see(state.params, few.image), asked, few, split["score"],
            outputs=None if pixels else project(state.params, asked),
        )  # fmt: skip
        measured = {} if pixels else more(state.params, split["score"].image)
        for measure in measures:
            measured |= measure(read)
        return measured

    return evaluate
