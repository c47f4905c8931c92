"""Final metrics made of what was measured on the way, for `Experiment.summarise`."""

import numpy as np


def late_change(scores: np.ndarray) -> np.ndarray:
    """What the last fifth of the evaluations has over the fifth before, in the mean.

    Args:
      scores: `[E, S]`.
    """
    fifth = max(len(scores) // 5, 1)
    return scores[-fifth:].mean(axis=0) - scores[-2 * fifth :][:fifth].mean(axis=0)
