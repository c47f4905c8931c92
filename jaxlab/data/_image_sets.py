"""A user's own images, from arrays; and what every other way in ends with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.core import InputError
from jaxlab.data._images import Images, check_channels_last, from_host

SPLITS = ("train", "val", "test")
Example = tuple[str, Any, int]  # where it is from, the image, its class


def images_from_arrays(**splits: tuple[Any, Any]) -> dict[str, Images]:
    """Images and labels that are in memory.

    Args:
        splits: `train=(image, label)` and, where there are some, `val` and `test`: `image` `[N, H, W]` or
            `[N, H, W, C]`, uint8 in [0, 255] or floats in [0, 1]; `label` `[N]` integers from 0.

    Returns:
        `{"train": Images, ...}`, the splits that were given.

    Raises:
        ValueError: one line that says which array does not fit.

    >>> import numpy as np
    >>> from jaxlab.data import images_from_arrays
    >>> images_from_arrays(train=(np.zeros((6, 4, 4), np.uint8), np.arange(6)))["train"].image.shape
    (6, 4, 4, 1)
    """
    check_splits("the arrays", splits)
    found = {
        name: checked(name, np.asarray(image), np.asarray(label)) for name, (image, label) in splits.items()
    }
    return check_alike(found)


def check_splits(where: str, splits: Mapping[str, Any] | Sequence[str]) -> None:
    """There is a training split, and no other than those of a comparison."""
    if "train" not in splits:
        raise InputError(f"{where} has {', '.join(splits) or 'nothing'}: there must be train")
    for name in splits:
        if name not in SPLITS:
            raise InputError(f"{where} has {name}: splits are {', '.join(SPLITS)}")


def check_alike(splits: dict[str, Images]) -> dict[str, Images]:
    """All splits have images of one size."""
    sizes = {name: split.image.shape[1:] for name, split in splits.items()}
    for name, size in sizes.items():
        if size != sizes["train"]:
            raise InputError(f"the images of {name} are {by(size)}, those of train {by(sizes['train'])}")
    return splits


def by(shape: Sequence[int]) -> str:
    """A size as people write it."""
    return " x ".join(map(str, shape))


def checked(name: str, image: np.ndarray, label: np.ndarray) -> Images:
    """Images of arrays that fit each other; `name` is what the line about them begins with."""
    if image.ndim not in (3, 4) or label.shape != image.shape[:1]:
        raise InputError(
            f"{name}: images are [N, H, W] or [N, H, W, C] and labels [N], got {image.shape} and {label.shape}"
        )
    if image.ndim == 4:
        check_channels_last(name, image.shape)
    if not np.issubdtype(label.dtype, np.integer) or (label.size and label.min() < 0):
        got = label.min() if np.issubdtype(label.dtype, np.integer) else label.dtype
        raise InputError(f"{name}: labels are integers from 0, got {got}")
    whole = image.dtype == np.uint8
    if not whole and not (
        np.issubdtype(image.dtype, np.floating) and (image >= 0).all() and (image <= 1).all()
    ):
        raise InputError(f"{name}: images are uint8, or floats in [0, 1], got {image.dtype}")
    return from_host(image, label, scale=255.0 if whole else 1.0)


def stacked(
    name: str, examples: Sequence[Example], size: Sequence[int] | None, channels: int | None
) -> Images:
    """Images of pictures, one after the other; without a `size` they must have the same.

    Args:
        name: of the split, for errors.
        examples: see `Example`; a picture is what `pixels` takes.
        size: `(H, W)` that pictures are brought to.
        channels: 1 grey, 3 colours; None leaves them as they are.
    """
    if not examples:
        raise InputError(f"{name} has no images")
    arrays, first = [], None
    for where, picture, _ in examples:
        array = pixels(where, picture, size, channels)
        first = first or (where, array.shape)
        if array.shape != first[1]:
            how = (
                "give size=(H, W) to resize them"
                if array.shape[:2] != first[1][:2]
                else "give channels=3 or 1"
            )
            raise InputError(f"{where} is {by(array.shape)}, {first[0]} is {by(first[1])}: {how}")
        arrays.append(array)
    return checked(name, np.stack(arrays), np.asarray([label for *_, label in examples], np.int32))


def pixels(where: str, picture: Any, size: Sequence[int] | None, channels: int | None) -> np.ndarray:
    """`[H, W, C]` of a Pillow image or an array, uint8 or floats in [0, 1]."""
    from PIL import Image

    if not isinstance(picture, Image.Image):
        array = np.asarray(picture)
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3:
            raise InputError(f"{where} is {by(array.shape)}: an image is [H, W] or [H, W, C]")
        check_channels_last(where, array.shape)
        if (size is None or tuple(size) == array.shape[:2]) and channels in (None, array.shape[2]):
            return array
        if array.dtype != np.uint8:
            raise InputError(f"{where} holds {array.dtype}: only uint8 images are resized or change channels")
        picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if channels is not None or picture.mode not in ("L", "RGB"):
        grey = channels == 1 or (channels is None and picture.mode in ("1", "L", "I", "I;16", "F"))
        picture = picture.convert("L" if grey else "RGB")
    if size is not None:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


def numbered(
    where: str, names: Sequence[Any], classes: Sequence[Any] | None
) -> tuple[list[Any], Callable[[Any], int]]:
    """The class names, sorted unless `classes` has them in order, and a function from a name to its number.

    Names that are all whole numbers are sorted as numbers.
    """
    as_numbers = all(str(name).isdecimal() for name in names)
    found = list(classes) if classes is not None else sorted(set(names), key=int if as_numbers else None)
    number = {name: place for place, name in enumerate(found)}

    def of(name: Any) -> int:
        if name not in number:
            raise InputError(f"{where}: the class {name!r} is none of {', '.join(map(str, found))}")
        return number[name]

    return found, of
