"""The picture of students and their teacher: the loss between them, along a line and over a plane."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxlab.core import TrainState, forward_kl
from jaxlab.distillation import loss_landscape


def landscape(outputs: Callable, spec: ConfigDict) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """`Experiment.examples`: the loss from the teacher to each student, and over a plane through three points."""

    def draw(states: Mapping[str, Any], splits: Mapping[str, Any]) -> Any:
        from matplotlib.figure import Figure

        image = splits["val"]["score"].image[: spec.images]
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        lines = jax.jit(
            lambda teacher, student, at: loss_landscape.line_losses(excess(teacher), teacher, student, at)
        )
        excess = lambda teacher: (
            lambda params: forward_kl(outputs(params, image), outputs(teacher, image)).mean()
        )
        at = np.linspace(-0.5, 1.5, spec.points)
        moved = {name: state for name, state in states.items() if name in spec.line}
        for name, state in moved.items():
            left.plot(at, lines(state.memory, state.params, at), label=name)
        left.set(
            xlabel="from the teacher (0) to the student (1)",
            ylabel="KL(teacher || student), nats",
            yscale="log",
        )
        if moved:
            left.legend()
        if set(spec.plane) <= set(states):
            _plane(right, excess, *(states[name] for name in spec.plane), spec)
        return figure

    return draw


def _plane(axes: Any, excess: Callable, near: TrainState, far: TrainState, spec: ConfigDict) -> None:
    """Where the teacher is (0, 0), the first student (1, 0) and the second (0, 1)."""
    at = np.linspace(-0.5, 1.5, spec.points)
    plane = jax.jit(lambda t, *others: loss_landscape.plane_losses(excess(t), t, *others, at, at))
    height = np.log10(np.maximum(plane(near.memory, near.params, far.params), 1e-12))
    drawn = axes.contourf(at, at, height, levels=20, cmap="viridis")
    axes.figure.colorbar(drawn, ax=axes, label="log10 KL")
    for place, name in (((0, 0), "teacher"), ((1, 0), spec.plane[0]), ((0, 1), spec.plane[1])):
        axes.plot(*place, "wo", markersize=4)
        axes.annotate(name, place, color="white", xytext=(4, 4), textcoords="offset points")
    axes.set(xlabel=f"towards {spec.plane[0]}", ylabel=f"towards {spec.plane[1]}")
