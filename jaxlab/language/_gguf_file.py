"""The header of a GGUF file: metadata and where each tensor lies, checked against the file's length."""

import math
import os
import pathlib
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._extras import require

# Metadata types by their number in the format; 8 is a string and 9 an array.
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY = 8, 9
SUPPORTED = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")


class GgufTensor(NamedTuple):
    """Where a tensor lies in its file, known from the header alone; `shape` is numpy's, rows first."""

    file: pathlib.Path
    kind: Any
    shape: tuple[int, ...]
    start: int
    row_bytes: int

    def read(self) -> np.ndarray:
        """The tensor itself, dequantised, float32."""
        rows = math.prod(self.shape[:-1])
        raw = np.fromfile(self.file, np.uint8, rows * self.row_bytes, offset=self.start)
        plain = {"F32": np.float32, "F16": np.float16}.get(self.kind.name)
        if plain is not None:
            return raw.view(plain).astype(np.float32).reshape(self.shape)
        blocks = raw.reshape(rows, self.row_bytes)
        return require("gguf.quants").dequantize(blocks, self.kind).reshape(self.shape)


class GgufFile(NamedTuple):
    """Metadata by key, and tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf(path: str | os.PathLike[str], *, tensors: bool = True) -> GgufFile:
    """The header of a file, and unless told otherwise the places of the tensors; no tensor is read."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    with path.open("rb") as stream:
        reader = _Reader(path, stream)
        num_tensors, num_keys = reader.start()
        metadata = {}
        for _ in range(num_keys):
            key = reader.string()
            metadata[key] = reader.value(reader.number("<u4"))
        places = [reader.tensor() for _ in range(num_tensors if tensors else 0)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1:
            raise InputError(
                f"{path}: general.alignment is {alignment!r}: it must be a positive whole number"
            )
        base = -(-stream.tell() // alignment) * alignment
    return GgufFile(metadata, {name: _placed(path, reader.size, base, name, *rest) for name, *rest in places})


class _Reader:
    """Reads a header front to back and never past the end of the file."""

    def __init__(self, path: pathlib.Path, stream: BinaryIO) -> None:
        self.path, self.stream, self.size = path, stream, path.stat().st_size

    def bytes(self, count: int) -> bytes:
        if count > self.size - self.stream.tell():
            raise InputError(
                f"{self.path} has {self.size} bytes and its header is longer: damaged or truncated"
            )
        return self.stream.read(count)

    def number(self, kind: str) -> Any:
        dtype = np.dtype(kind)
        return np.frombuffer(self.bytes(dtype.itemsize), dtype)[0].item()

    def string(self) -> str:
        (length,) = struct.unpack("<Q", self.bytes(8))
        try:
            return self.bytes(length).decode()
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: a string of the header is not UTF-8: damaged") from None

    def start(self) -> tuple[int, int]:
        if self.size < 24 or self.bytes(4) != b"GGUF":
            raise InputError(f"{self.path} is not a GGUF file")
        version = self.number("<u4")
        if version not in (2, 3):
            raise InputError(f"{self.path}: GGUF version is {version}: it must be 2 or 3, little-endian")
        return self.number("<u8"), self.number("<u8")

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            raise InputError(f"{self.path}: metadata of unknown type {kind}: damaged")
        kind, count = self.number("<u4"), self.number("<u8")
        if kind == _STRING:
            return [self.string() for _ in range(count)]
        if kind not in _SCALARS:
            raise InputError(f"{self.path}: metadata is an array of type {kind}: not supported")
        dtype = np.dtype(_SCALARS[kind])
        return np.frombuffer(self.bytes(count * dtype.itemsize), dtype).tolist()

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, rank = self.string(), self.number("<u4")
        if not 1 <= rank <= 4:
            raise InputError(f"{self.path}: tensor {name} has {rank} axes: damaged")
        sizes = struct.unpack(f"<{rank}Q", self.bytes(8 * rank))
        return name, sizes[::-1], self.number("<u4"), self.number("<u8")


def _placed(
    path: pathlib.Path, size: int, base: int, name: str, shape: tuple[int, ...], kind: int, offset: int
) -> GgufTensor:
    gguf = require("gguf")
    known = {each.value: each for each in gguf.GGMLQuantizationType}
    kind = known.get(kind, kind)
    if getattr(kind, "name", None) not in SUPPORTED:
        found = getattr(kind, "name", f"type {kind}")
        raise InputError(
            f"{path}: tensor {name} is quantised as {found}: it must be one of {', '.join(SUPPORTED)}"
        )
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if shape[-1] % block:
        raise InputError(f"{path}: tensor {name} {shape} cannot be rows of {kind.name} blocks of {block}")
    row_bytes = shape[-1] // block * block_bytes
    if base + offset + math.prod(shape[:-1]) * row_bytes > size:
        raise InputError(
            f"{path} has {size} bytes and ends before tensor {name} {shape}: damaged or truncated"
        )
    return GgufTensor(path, kind, shape, base + offset, row_bytes)
