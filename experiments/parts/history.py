"""Final metrics made of what was measured on the way, for `Experiment.summarise`."""

from collections.abc import Callable, Mapping

import numpy as np


def late_change(metric: str) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """What the last fifth of training changed in a metric, as `val/late_change`: the gate of convergence.

    With it the means over training of what was logged as `<...>_agreement`, where a method logs that.
    """

    def summarise(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        steps, values = history["step"], history[metric]
        late = {"val/late_change": values[-1] - values[np.searchsorted(steps, 0.8 * steps[-1])]}
        return late | {name: values.mean(axis=0) for name, values in history.items() if "agreement" in name}

    return summarise
