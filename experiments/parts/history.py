"""Final metrics made of what was measured on the way, for `Experiment.summarise`."""

from collections.abc import Callable, Mapping

import numpy as np

History = Mapping[str, np.ndarray]


def late_change(metric: str, *, means: tuple[str, ...] = ()) -> Callable[[History], dict[str, np.ndarray]]:
    """What the last fifth of training changed in a metric, as `val/late_change`: the gate of convergence.

    NaN without an evaluation before that. With it the means over training of metrics that show what a method does, for
    arms that log them.
    """

    def summarise(history: History) -> dict[str, np.ndarray]:
        steps, values = history["step"], history[metric]
        before = np.searchsorted(steps, 0.8 * steps[-1], side="right") - 1
        change = values[-1] - values[before] if before >= 0 else np.full_like(values[-1], np.nan)
        late = {"val/late_change": change}
        return late | {name: history[name].mean(axis=0) for name in means if name in history}

    return summarise
