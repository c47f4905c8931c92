"""Disjoint parts of a data set, the same for the same seed."""

from collections.abc import Sequence

import numpy as np

from jaxlab.core.check import InputError, check_least
from jaxlab.data._draw import take
from jaxlab.data._images import Images

_FRACTIONS = (0.7, 0.15, 0.15)


def _boundaries(n: int, fractions: Sequence[float]) -> np.ndarray:
    # Rounding to 9 digits first: 10 (0.35 + 0.3) is 6.499999999999999, and a half must always round up.
    exact = np.round(np.cumsum(fractions) * n, 9)
    return np.floor(exact + 0.5).astype(int)[:-1]


def split(
    n: int, *, seed: int, fractions: Sequence[float] = _FRACTIONS, labels: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Cut the rows 0 ... n-1 into random disjoint parts that cover them all.

    With `labels`, every class is cut by the same rule, so each part holds its fraction of each class to within
    one example, and a part's size is the sum over the classes.

        part p ends at floor(n (f_1 + ... + f_p) + 1/2) of the shuffled rows (of each class)

    Args:
        n: number of rows.
        seed: of the shuffle; same arguments, same parts.
        fractions: of the parts, not negative, summing to 1.
        labels: `[n]` classes to stratify by; None does not stratify.

    Returns:
        One int32 array of row numbers for each fraction, in random order.

    Raises:
        ValueError: fractions that are negative or do not sum to 1, or labels that are not `[n]`.

    >>> from jaxlab.data import split
    >>> [len(part) for part in split(1797, seed=0)]
    [1258, 269, 270]
    """
    if min(fractions, default=-1) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"fractions must be at least 0 and sum to 1, got {tuple(fractions)}")
    labels = np.zeros(n, int) if labels is None else np.asarray(labels)
    if labels.shape != (n,):
        raise InputError(f"labels must have shape ({n},), got {labels.shape}")
    check_least("seed", seed, 0)
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[np.zeros(0, int)] for _ in fractions]
    for value in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == value))
        for part, piece in zip(parts, np.split(rows, _boundaries(len(rows), fractions))):
            part.append(piece)
    return tuple(rng.permutation(np.concatenate(part)).astype(np.int32) for part in parts)


def split_images(
    images: Images, *, seed: int, fractions: Sequence[float] = _FRACTIONS, stratify: bool = True
) -> dict[str, Images]:
    """Training, validation and test images.

    Args:
        images: the whole set.
        seed: of the shuffle.
        fractions: of the three parts, summing to 1.
        stratify: whether every part holds its fraction of every class, see `split`.

    Returns:
        `{"train": Images, "val": Images, "test": Images}`.

    Raises:
        ValueError: not three fractions, or fractions that do not sum to 1.

    >>> from jaxlab.data import digits, split_images
    >>> {name: len(part.label) for name, part in split_images(digits(), seed=0).items()}
    {'train': 1258, 'val': 270, 'test': 269}
    """
    if len(fractions) != 3:
        raise InputError(f"fractions must be three, of train, val and test, got {tuple(fractions)}")
    labels = np.asarray(images.label)
    parts = split(len(labels), seed=seed, fractions=fractions, labels=labels if stratify else None)
    return {name: take(images, part) for name, part in zip(("train", "val", "test"), parts)}
