"""A user's own images, from the data sets of other libraries."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxlab.core import InputError, MissingFile, MissingPackage
from jaxlab.data._image_sets import check_alike, check_splits, stacked
from jaxlab.data._images import Images

_RENAMED = {"validation": "val", "valid": "val", "dev": "val"}


def images_from_datasets(
    path: str | os.PathLike,
    *,
    image: str = "image",
    label: str = "label",
    size: Sequence[int] | None = None,
    channels: int | None = None,
) -> dict[str, Images]:
    """A set of Hugging Face's `datasets` that `save_to_disk` wrote; nothing is fetched.

    Args:
        path: the folder, of one set or of several by the names train, validation and test.
        image: the column of images.
        label: the column of classes, whole numbers from 0 (a `ClassLabel` says their names).
        size: `(H, W)` that images are brought to; None asks that all have the same.
        channels: 1 grey, 3 colours; None leaves them as they are.

    Returns:
        `{"train": Images, ...}`; "validation" is called "val".

    Raises:
        MissingFile: no such folder.
        MissingPackage: `datasets` is not installed.
        ValueError: one line that names the column or the image that does not fit.

    >>> from jaxlab.core import MissingFile
    >>> from jaxlab.data import images_from_datasets
    >>> try:
    ...     images_from_datasets("/no/such/folder")
    ... except MissingFile as error:
    ...     print(error)
    no folder /no/such/folder: give one that datasets.save_to_disk wrote
    """
    folder = pathlib.Path(path)
    if not folder.is_dir():
        raise MissingFile(f"no folder {folder}: give one that datasets.save_to_disk wrote")
    try:
        import datasets
    except ModuleNotFoundError:
        raise MissingPackage('Hugging Face sets need datasets: pip install "jaxlab[streams]"') from None
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} cannot be read by datasets: {error}") from None
    parts = dict(found) if isinstance(found, dict) else {"train": found}
    parts = {_RENAMED.get(name, name): part for name, part in parts.items()}
    check_splits(str(folder), parts)
    made = {}
    for name, part in parts.items():
        for column in (image, label):
            if column not in part.column_names:
                raise InputError(f"{folder} has no column {column!r}: it has {', '.join(part.column_names)}")
        rows = [(f"{name}, row {number}", row[image], row[label]) for number, row in enumerate(part)]
        made[name] = _labelled(name, rows, size, channels)
    return check_alike(made)


def images_from_torch(
    *, size: Sequence[int] | None = None, channels: int | None = None, **splits: Any
) -> dict[str, Images]:
    """Data sets in the style of PyTorch: `len(set)`, and `set[i] -> (image, label)`.

    Args:
        splits: `train=set` and, where there are some, `val` and `test`. An image is a tensor `[C, H, W]`, as PyTorch
            has it, or `[H, W]`; a Pillow image; or an array `[H, W]` or `[H, W, C]`.
        size: `(H, W)` that images are brought to; None asks that all have the same.
        channels: 1 grey, 3 colours; None leaves them as they are.

    Returns:
        `{"train": Images, ...}`.

    Raises:
        ValueError: one line that names the image that does not fit, normalized ones too: values lie in [0, 1].

    >>> import numpy as np
    >>> from jaxlab.data import images_from_torch
    >>> images_from_torch(train=[(np.zeros((4, 5), np.uint8), 0)])["train"].image.shape
    (1, 4, 5, 1)
    """
    check_splits("the call", splits)
    made = {}
    for name, part in splits.items():
        rows = []
        for number in range(len(part)):
            picture, label = part[number]
            where = f"{name}[{number}]"
            rows.append((where, _channels_last(where, picture), label))
        made[name] = _labelled(name, rows, size, channels)
    return check_alike(made)


def _channels_last(where: str, picture: Any) -> Any:
    if not type(picture).__module__.startswith("torch"):
        return picture
    array = picture.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] not in (1, 3, 4):
        raise InputError(
            f"{where} is a tensor {tuple(array.shape)}: PyTorch's images are [C, H, W] with 1 or 3 channels"
        )
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def _labelled(
    name: str, rows: Sequence[tuple[str, Any, Any]], size: Sequence[int] | None, channels: int | None
) -> Images:
    whole: Callable[[Any], bool] = lambda value: np.ndim(value) == 0 and float(value) == int(value) >= 0
    for where, _, label in rows:
        if isinstance(label, str) or not whole(label):
            raise InputError(f"{where}: the label is {label!r}, classes are whole numbers from 0")
    return stacked(name, [(where, picture, int(label)) for where, picture, label in rows], size, channels)
