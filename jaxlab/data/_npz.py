"""A user's own images, from one file of arrays."""

import os
import pathlib
import zipfile

import numpy as np

from jaxlab.core import InputError, MissingFile
from jaxlab.data._image_sets import check_alike, checked
from jaxlab.data._images import Images

_NAMES = ("train_image", "train_label", "test_image", "test_label")


def images_from_npz(path: str | os.PathLike) -> dict[str, Images]:
    """Training and test images that the user keeps in an `.npz` file.

    The way in for sets whose licence or size keeps them out of packages (CIFAR, SVHN...). Nothing is unpickled.

    Args:
        path: a file with `train_image` and `test_image` `[N, H, W]` or `[N, H, W, C]`, uint8 in [0, 255] or floats
            in [0, 1], and `train_label`, `test_label` `[N]` integers from 0.

    Returns:
        `{"train": Images, "test": Images}`.

    Raises:
        MissingFile: no such file.
        ValueError: one line that says which array is missing or does not fit.

    >>> import numpy as np, tempfile
    >>> from jaxlab.data import images_from_npz
    >>> image, label = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 3
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/mine.npz", train_image=image, train_label=label, test_image=image, test_label=label)
    ...     images_from_npz(f"{folder}/mine.npz")["train"].image.shape
    (6, 4, 4, 1)
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise MissingFile(f"no image file {file}: give an .npz with {', '.join(_NAMES)}")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in _NAMES if name in arrays}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read as .npz: {error}") from None
    missing = [name for name in _NAMES if name not in found]
    if missing:
        raise InputError(f"{file} lacks {', '.join(missing)}")
    return check_alike(
        {
            part: checked(f"{file}: {part}", found[f"{part}_image"], found[f"{part}_label"])
            for part in ("train", "test")
        }
    )
