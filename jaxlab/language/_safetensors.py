"""The safetensors format: a JSON header, then the tensors' bytes, one after the other."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from jaxlab.core.check import InputError

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
_LARGEST_HEADER = 100_000_000


class Entry(NamedTuple):
    """Where a tensor lies in its file, known from the header alone."""

    file: pathlib.Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    def read(self) -> np.ndarray:
        """The tensor itself."""
        count = math.prod(self.shape)
        return np.fromfile(self.file, self.dtype, count, offset=self.start).reshape(self.shape)


def read_entries(file: pathlib.Path) -> dict[str, Entry]:
    """Every tensor of a file, after the header and the file's length have been checked; no data is read."""
    if not file.is_file():
        raise InputError(f"{file} does not exist")
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise InputError(f"{file} is not a whole safetensors file: {size} bytes, header of {length}")
        try:
            header = dict(json.loads(stream.read(length)))
        except (ValueError, TypeError, RecursionError):
            raise InputError(f"{file} is not a safetensors file: its header is not a JSON object") from None
    header.pop("__metadata__", None)
    entries, end = {}, 0
    for name, fields in header.items():
        entries[name], stop = _entry(file, 8 + length, name, fields)
        end = max(end, stop)
    if 8 + length + end != size:
        raise InputError(
            f"{file} has {size} bytes and its header speaks of {8 + length + end}: damaged or truncated"
        )
    return entries


def _entry(file: pathlib.Path, base: int, name: str, fields: Any) -> tuple[Entry, int]:
    try:
        dtype, shape, (start, stop) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file}: the header's entry of {name} is broken") from None
    if dtype not in DTYPES:
        raise InputError(f"{file}: {name} has type {dtype}: it must be {', '.join(DTYPES)}")
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise InputError(f"{file}: the header's entry of {name} is broken")
    if math.prod(shape) * DTYPES[dtype].itemsize != stop - start:
        raise InputError(f"{file}: {name} has shape {shape} of {dtype} and {stop - start} bytes")
    return Entry(file, DTYPES[dtype], shape, base + start), stop


def write_tensors(
    file: pathlib.Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], np.ndarray],
    dtype: np.dtype,
) -> None:
    """Write tensors of one type, each asked for when its turn comes; the file appears whole or not at all."""
    kind = next((kind for kind, known in DTYPES.items() if known == dtype), None)
    if kind is None:
        raise InputError(f"dtype is {dtype}: it must be one of {', '.join(map(str, DTYPES.values()))}")
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(file) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            array = np.ascontiguousarray(read(name).astype(dtype)).reshape(shape)
            stream.write(array.tobytes())


@contextlib.contextmanager
def replacing(file: pathlib.Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when all has been written."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as stream:
            yield stream
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)
