"""The picture of a comparison from few labels: what each arm says of a few examples, and each class's recall."""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.semi_supervised._classification_tasks import Task
from jaxlab.core import masked_softmax

_SHOWN = 8


def answers(task: Task, params: Any, inputs: jax.Array) -> jax.Array:
    """The class `[B]` with the largest probability, averaged over the task's plain views."""
    views = task.plain(inputs)
    logits = task.apply(params, jax.tree.map(lambda *x: jnp.concatenate(x), *views), None)
    return masked_softmax(logits.reshape(len(views), len(inputs), -1)).mean(0).argmax(-1)


def predictions(task: Task) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """`Experiment.examples` for classifiers."""

    classify = jax.jit(lambda state, inputs: answers(task, state.memory.teacher.value, inputs))

    def draw(states: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        from matplotlib.figure import Figure

        split = data.get("test", data["val"])
        inputs, label = split["input"][:512], np.asarray(split["label"][:512])
        found = {arm: np.asarray(classify(state, inputs)) for arm, state in states.items()}
        figure = Figure(figsize=(16, 1.2 * _SHOWN), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
        _examples(left, np.asarray(inputs[:_SHOWN]), label, found)
        _recalls(right, label, found, task.num_classes)
        return figure

    return draw


def _examples(figure: Any, inputs: np.ndarray, label: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """One row each: the image, or the frames of the clip side by side, and the answers."""
    for row, one in enumerate(inputs):
        axes = figure.add_subplot(len(inputs), 1, row + 1)
        strip = np.concatenate(list(one), axis=1) if one.ndim == 4 else one
        axes.imshow(strip.squeeze(-1), cmap="gray", vmin=0, vmax=1)
        wrong = [f"{arm}: {answer[row]}" for arm, answer in found.items() if answer[row] != label[row]]
        title = (
            f"truth {label[row]}; {len(wrong)} of {len(found)} wrong" + ": " * bool(wrong) + ", ".join(wrong)
        )
        axes.set_title(textwrap.shorten(title, 110, placeholder=" ..."), fontsize=7, loc="left")
        axes.set_axis_off()


def _recalls(figure: Any, label: np.ndarray, found: dict[str, np.ndarray], classes: int) -> None:
    """A number for each arm and class."""
    table = [
        [np.mean(answer[label == c] == c) if (label == c).any() else np.nan for c in range(classes)]
        for answer in found.values()
    ]
    axes = figure.subplots()
    axes.imshow(np.asarray(table), vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white")
    axes.set(xticks=range(classes), yticks=range(len(found)), yticklabels=list(found))
    axes.set_title("recall of each class", fontsize=9)
