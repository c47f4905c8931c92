"""The idx format of MNIST and its successors: big-endian header, then unsigned bytes."""

import gzip
import math
import pathlib
import struct
import zlib

import numpy as np

from jaxlab.core.check import InputError

_UNSIGNED_BYTE = 8


def _read_bytes(path: pathlib.Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not a complete gzip file: {error}") from error


def read_idx(path: pathlib.Path, *, rank: int) -> np.ndarray:
    """The uint8 array of an idx file, plain or (by its suffix) gzipped.

    The header is two zero bytes, the type code, the number of axes, and the axes as 32-bit integers.

    Args:
        path: the file.
        rank: the number of axes it must have.

    Returns:
        A uint8 array.

    Raises:
        ValueError: one line naming the file, when it is truncated or holds something else.
    """
    raw = _read_bytes(path)
    header = 4 + 4 * rank
    if raw[:4] != bytes((0, 0, _UNSIGNED_BYTE, rank)) or len(raw) < header:
        raise InputError(f"{path} is no idx file of bytes with {rank} axes: it begins with {raw[:4].hex()!r}")
    shape = struct.unpack(f">{rank}I", raw[4:header])
    if len(raw) - header != math.prod(shape):
        raise InputError(f"{path} promises {shape} bytes in its header and holds {len(raw) - header}")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
