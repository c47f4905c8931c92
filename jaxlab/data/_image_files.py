"""A user's own images, from picture files: a folder for each class, or a table."""

import csv
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxlab.core import InputError, MissingFile
from jaxlab.data._image_sets import SPLITS, Example, by, check_alike, check_splits, numbered, stacked
from jaxlab.data._images import Images

_PICTURES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"))


def images_from_folder(
    path: str | os.PathLike,
    *,
    size: Sequence[int] | None = None,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Images]:
    """Pictures in one folder for each class.

    Args:
        path: `<class>/<picture>`, or `train/<class>/<picture>` with `val` and `test` beside it where there are some.
        size: `(H, W)` that pictures are brought to; None asks that all have the same.
        channels: 1 grey, 3 colours; None leaves them as they are.
        classes: names of the folders, in the order of the labels; None sorts them, numbers as numbers.

    Returns:
        `{"train": Images, ...}`; the label of a picture is the place of its folder in the order.

    Raises:
        MissingFile: no such folder.
        ValueError: one line that names the picture or the class that does not fit.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from jaxlab.data import images_from_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("L", (5, 4)).save(f"{folder}/{name}/1.png")
    ...     images_from_folder(folder)["train"].image.shape
    (2, 4, 5, 1)
    """
    root = pathlib.Path(path)
    if not root.is_dir():
        raise MissingFile(f"no folder {root}: give one with a folder of pictures for each class")
    inside = _folders(root)
    parts = {name: root / name for name in SPLITS if name in inside} if "train" in inside else {"train": root}
    if len(parts) > 1 or parts["train"] != root:
        check_splits(str(root), inside)
    names, of = numbered(str(root), [name for part in parts.values() for name in _folders(part)], classes)
    missing = sorted(set(names) - set(_folders(parts["train"])))
    if not names or missing:
        lacks = f"lacks the class {missing[0]!r}" if missing else "holds no folder of pictures for a class"
        raise InputError(f"{parts['train']} {lacks}")
    return check_alike(
        {name: stacked(name, _pictures(part, of), size, channels) for name, part in parts.items()}
    )


def _folders(path: pathlib.Path) -> list[str]:
    return sorted(
        inside.name for inside in path.iterdir() if inside.is_dir() and not inside.name.startswith(".")
    )


def _pictures(part: pathlib.Path, of: Any) -> list[Example]:
    found = []
    for name in _folders(part):
        own = [path for path in sorted((part / name).iterdir()) if path.suffix.lower() in _PICTURES]
        if not own:
            raise InputError(f"{part / name} holds no picture")
        found += [(str(path), _open(path), of(name)) for path in own]
    return found


def _open(path: pathlib.Path) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise MissingFile(f"no picture {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from None


def images_from_csv(
    path: str | os.PathLike,
    *,
    label: str = "label",
    file: str = "file",
    split: str = "split",
    shape: Sequence[int] | None = None,
    size: Sequence[int] | None = None,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Images]:
    """A table of pictures with a head: a row an image, by its file or by its pixels.

    Args:
        path: the file.
        label: the column of class names; names that are all whole numbers from 0 are labels as they stand.
        file: the column of paths to pictures, from the table's folder; where there is none, the columns other than
            `label` and `split` are pixels, whole numbers in [0, 255], row by row.
        split: the column that says "train", "val" or "test"; where there is none, all rows are for training.
        shape: `(H, W)` or `(H, W, C)` of the pixels; None takes a square of one channel.
        size, channels: of pictures, see `images_from_folder`.
        classes: class names in the order of the labels; None sorts them.

    Returns:
        `{"train": Images, ...}`.

    Raises:
        MissingFile: no such file or picture.
        ValueError: one line that names the row or the column that does not fit.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from jaxlab.data import images_from_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = "label,p0,p1,p2,p3\\ncat,0,0,255,0\\ndog,1,2,3,4\\n"
    ...     _ = Path(folder, "mine.csv").write_text(text)
    ...     images_from_csv(f"{folder}/mine.csv")["train"].image.shape
    (2, 2, 2, 1)
    """
    table = pathlib.Path(path)
    if not table.is_file():
        raise MissingFile(f"no file {table}: give a table with a column {label!r}")
    with table.open(newline="") as lines:
        reader = csv.DictReader(lines)
        rows, columns = list(reader), list(reader.fieldnames or ())
    if label not in columns:
        raise InputError(f"{table} has no column {label!r}: it has {', '.join(columns[:8]) or 'none'}")
    if not rows:
        raise InputError(f"{table} has no rows")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(
                f"{table}, line {number}: not as many values as there are columns, {len(columns)}"
            )
    of = _number_of(table, [row[label] for row in rows], classes)
    if file in columns:
        picture = lambda row: _open(table.parent / row[file])
    else:
        picture = _pixel_reader(table, [name for name in columns if name not in (label, split)], shape)
    parts: dict[str, list[Example]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{table}, line {number}"
        parts.setdefault(row.get(split, "train"), []).append((where, picture(row), of(row[label])))
    check_splits(str(table), parts)
    return check_alike({name: stacked(name, own, size, channels) for name, own in parts.items()})


def _number_of(table: pathlib.Path, names: Iterable[str], classes: Sequence[str] | None) -> Any:
    if classes is None and all(name.isdecimal() for name in names):
        return int
    return numbered(str(table), list(names), classes)[1]


def _pixel_reader(table: pathlib.Path, columns: list[str], shape: Sequence[int] | None) -> Any:
    side = round(len(columns) ** 0.5)
    wanted = tuple(shape or (side, side))
    if not columns or int(np.prod(wanted)) != len(columns):
        raise InputError(
            f"{table} has {len(columns)} columns of pixels, which is no image of {by(wanted)}: give shape=(H, W)"
        )

    def read(row: dict[str, str]) -> np.ndarray:
        try:
            values = np.array([int(row[name]) for name in columns])
        except ValueError as error:
            raise InputError(f"{table}: pixels are whole numbers ({error})") from None
        if values.min() < 0 or values.max() > 255:
            raise InputError(f"{table}: pixels lie in [0, 255], got {values.min()} to {values.max()}")
        return values.astype(np.uint8).reshape(wanted)

    return read
