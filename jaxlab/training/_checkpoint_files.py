"""Our file of a checkpoint: a header and whole arrays, with a digest of all its bytes.

It is 32 bytes of digest, 8 bytes that say how long the header is, the header as JSON, and the bytes of arrays one
after another. The digest covers everything behind it, so nothing of a damaged file is ever parsed. Arrays that no
process holds whole are orbax's (`_checkpoint_arrays.py`); the header has the digests of its files, and is the manifest.
"""

import hashlib
import json
import math
import os
import pathlib
import re
from typing import Any, BinaryIO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_FORMAT = 1
_DIGEST, _LENGTH = 32, 8  # bytes


class Damaged(Exception):
    """A checkpoint that cannot be trusted; the message is one line."""


class OtherFormat(Exception):
    """A checkpoint written by another version of the library."""


class _Form(NamedTuple):
    """Shape and dtype of what is written for a leaf."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def kind(leaf: Any) -> str:
    """Dtype and shape of an array, or of a number of Python's, in words.

    Raises:
      TypeError: no array and no number.
    """
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    if getattr(array.dtype, "kind", "") in tuple("OSU"):
        raise TypeError(f"{str(leaf)[:80]!r} is no array of numbers: a state holds nothing else")
    return f"{array.dtype}{list(array.shape)}"


def key_kind(leaf: Any) -> str | None:
    """The implementation of random keys, None for other arrays."""
    return str(jax.random.key_impl(leaf)) if _is_key(leaf) else None


def plain(leaf: Any) -> Any:
    """What is written for a leaf: of random keys, their bits."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def copies(arrays: list[Any]) -> list[np.ndarray]:
    """Copies on the host: the arrays may be given away afterwards."""
    for array in arrays:
        if isinstance(array, jax.Array):
            array.copy_to_host_async()
    return [_copy(array) for array in arrays]


def _copy(array: Any) -> np.ndarray:
    if not np.size(array):
        return np.empty(np.shape(array), array.dtype)
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(array, tiled=True)
    return np.array(array, order="C")


def write(path: pathlib.Path, header: dict[str, Any], arrays: list[np.ndarray]) -> None:
    """Write the file; on return it is on the disk."""
    text = json.dumps({**header, "format": _FORMAT}).encode()
    checksum = hashlib.blake2b(digest_size=_DIGEST)
    with path.open("wb") as file:
        file.write(bytes(_DIGEST))
        for part in (len(text).to_bytes(_LENGTH, "little"), text, *map(_bytes, arrays)):
            checksum.update(part)
            file.write(part)
        file.seek(0)
        file.write(checksum.digest())
        file.flush()
        os.fsync(file.fileno())


def digest(path: pathlib.Path) -> str:
    """The digest of any file."""
    with path.open("rb") as file:
        return _digest(file)


def check(path: pathlib.Path, expected: str | None = None) -> None:
    """Read a file and compare it with its digest; None: with the one that our own file begins with.

    Raises:
      Damaged: the file is missing, cannot be read, or is not what was written.
    """
    try:
        with path.open("rb") as file:
            expected = file.read(_DIGEST).hex() if expected is None else expected
            found = _digest(file)
    except OSError as error:
        raise Damaged(f"{path.name}: {error.strerror}") from error
    if found != expected:
        raise Damaged(f"the bytes of {path.name} are not those that were written")


def _digest(file: BinaryIO) -> str:
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).hexdigest()


def sync(path: pathlib.Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_header(path: pathlib.Path) -> dict[str, Any]:
    """The header of a file, and under "begin" the place behind it.

    Raises:
      Damaged: the file was not checked, and has no header.
      OtherFormat: another version of the library wrote it.
    """
    with path.open("rb") as file:
        file.seek(_DIGEST)
        length = int.from_bytes(file.read(_LENGTH), "little")
        if length > path.stat().st_size:
            raise Damaged("it ends in its header")
        header = json.loads(file.read(length))
        header["begin"] = file.tell()
    if header["format"] != _FORMAT:
        raise OtherFormat
    return header


def read(path: pathlib.Path, begin: int, likes: list[Any]) -> list[Any]:
    """The arrays of a file, each where its like wants it."""
    found = []
    for like in likes:
        found.append(_read(path, begin, like))
        begin += _form(like).size
    return found


def _read(path: pathlib.Path, offset: int, like: Any) -> Any:
    form, sharding = _form(like), wanted_sharding(like)

    def take(index: tuple[slice, ...]) -> np.ndarray:
        ranges = [axis.indices(size) for axis, size in zip(index, form.shape)]
        shape = tuple(stop - start for start, stop, _ in ranges)
        if shape == form.shape or 0 in shape:
            content = np.fromfile(path, np.uint8, math.prod(shape) * form.dtype.itemsize, offset=offset)
            return content.view(form.dtype).reshape(shape)
        content = np.memmap(path, np.uint8, "r", offset, (form.size,))
        return np.array(content.view(form.dtype).reshape(form.shape)[index])

    if sharding is None:
        return take((slice(None),) * len(form.shape))
    return jax.make_array_from_callback(form.shape, sharding, take, dtype=form.dtype)


def wanted_sharding(like: Any) -> Any:
    """Where a leaf has to lie; None: on the host, or on a device that nobody chose."""
    return like.sharding if hasattr(like, "sharding") and getattr(like, "committed", True) else None


def alike(like: Any, array: Any, key: str | None) -> Any:
    """An array that was read, as a leaf of its like's type; `key` as `key_kind` gave it."""
    if not hasattr(like, "dtype"):
        return array.item()
    if isinstance(like, np.generic):
        return array[()]
    if isinstance(like, np.ndarray):
        return array
    array = jnp.asarray(array)
    return array if key is None else jax.random.wrap_key_data(array, impl=key)


def line(error: BaseException) -> str:
    """An error in one line, of a long one the beginning and the end, without what tensorstore appends for experts."""
    text = re.sub(r" \[\w+='.*", "", str(error).strip().partition("\n")[0])
    if len(text) > 250:
        text = f"{text[:120]} ... {text[-120:]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _form(leaf: Any) -> _Form:
    if _is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    elif not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return _Form(tuple(leaf.shape), np.dtype(leaf.dtype))


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1).view(np.uint8)
