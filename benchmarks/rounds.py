"""Alternating rounds and their ratios: contenders take turns, so that a busy moment hits all of them."""

import os
from collections.abc import Callable, Mapping

import numpy as np


def alternate(contenders: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, np.ndarray]:
    """Call each contender once per round; returns seconds `[rounds]` by name."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            times[name].append(measure())
    return {name: np.asarray(values) for name, values in times.items()}


def report(title: str, times: Mapping[str, np.ndarray], *, base: str, unit: str, scale: float) -> None:
    """Print each contender's best and median, and the median of its ratios to `base` within a round."""
    print(f"\n{title}   (load {os.getloadavg()[0]:.1f})")
    for name, values in times.items():
        ratios = values / times[base]
        print(
            f"  {name:34} best {values.min() * scale:9.3f}  median {np.median(values) * scale:9.3f} {unit}"
            f"   x {np.median(ratios):.3f} of {base} [{ratios.min():.3f}, {ratios.max():.3f}]"
        )
