"""A look at the images."""

import math
import os
from typing import Any

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.data._images import Images


def picture(
    images: Images, path: str | os.PathLike[str] | None = None, *, columns: int = 10, rows: int = 5
) -> Any:
    """Draw the first images in a grid, each under its label, for people to look at.

    Args:
        images: at least one image with 1 or 3 channels.
        path: PNG file to write; None writes nothing.
        columns: images in a row.
        rows: rows at most.

    Returns:
        The `matplotlib.figure.Figure`, which a notebook shows.

    Raises:
        ValueError: no images, or channels that are neither 1 nor 3.

    Reference: Hunter, "Matplotlib: A 2D Graphics Environment" (2007).

    >>> import numpy as np
    >>> from jaxlab.data import Images, picture
    >>> figure = picture(Images(np.zeros((4, 8, 8, 1)), np.arange(4)))
    >>> [axes.get_title() for axes in figure.axes]
    ['0', '1', '2', '3']
    """
    from matplotlib.figure import Figure

    count = min(len(images.image), columns * rows)
    shown, labels = np.asarray(images.image[:count]), np.asarray(images.label[:count])
    if count == 0 or shown.shape[-1] not in (1, 3):
        raise InputError(f"picture needs images [N, H, W, 1 or 3], got {images.image.shape}")
    columns = min(columns, count)
    height = math.ceil(count / columns)
    figure = Figure(figsize=(0.9 * columns, 1.1 * height), layout="constrained")
    for position, (image, label) in enumerate(zip(shown, labels), start=1):
        axes = figure.add_subplot(height, columns, position)
        axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(str(label), fontsize=8, pad=2)
        axes.set_axis_off()
    if path is not None:
        figure.savefig(path, format="png", dpi=120)
    return figure
