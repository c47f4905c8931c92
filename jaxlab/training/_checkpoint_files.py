"""What a checkpoint is on disk: one file per process, each with a digest of all its bytes.

A file is 32 bytes of digest, 8 bytes that say how long the header is, the header as JSON, and the bytes of arrays one
after another. The digest covers everything behind it, so nothing of a damaged file is ever parsed. An array is written
in blocks: whole by the first process, or, where no process holds all of it, each part by one that does.
"""

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_FORMAT = 1
_DIGEST, _LENGTH = 32, 8  # bytes


class Damaged(Exception):
    """A checkpoint that cannot be trusted; the message is one line."""


class OtherFormat(Exception):
    """A checkpoint written by another version of the library."""


class Block(NamedTuple):
    """A rectangle of one array, on the host.

    Attributes:
      leaf: the array's place among the leaves of the state.
      start: where the rectangle begins, along each axis.
      values: its content.
    """

    leaf: int
    start: tuple[int, ...]
    values: np.ndarray


class _Form(NamedTuple):
    """Shape and dtype of what is written for a leaf."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def size(self, shape: Sequence[int]) -> int:
        """The bytes of a block."""
        return math.prod(shape) * self.dtype.itemsize


class _Stored(NamedTuple):
    """A block in a file."""

    file: pathlib.Path
    offset: int
    start: tuple[int, ...]
    shape: tuple[int, ...]


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


def blocks(leaves: list[Any]) -> list[Block]:
    """Copies of what this process has to write: the leaves may be given away afterwards."""
    plain = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in leaves]
    for leaf in plain:
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()
    return [block for number, leaf in enumerate(plain) for block in _blocks(number, leaf)]


def _blocks(number: int, leaf: Any) -> Iterator[Block]:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        for shard in leaf.addressable_shards:
            if shard.replica_id == 0:
                start = tuple(axis.start or 0 for axis in shard.index)
                yield Block(number, start, np.array(shard.data, order="C"))
    elif jax.process_index() == 0:
        yield Block(number, (0,) * np.ndim(leaf), np.array(leaf, order="C"))


def encode(header: dict[str, Any], blocks: list[Block]) -> bytes:
    """The header of this process's file."""
    places = [[block.leaf, list(block.start), list(block.values.shape)] for block in blocks]
    return json.dumps({**header, "format": _FORMAT, "blocks": places}).encode()


def write(folder: pathlib.Path, header: bytes, blocks: list[Block]) -> None:
    """Write this process's file of a checkpoint; on return it is on the disk."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    path = folder / f"{jax.process_index()}-of-{jax.process_count()}"
    with path.open("wb") as file:
        file.write(bytes(_DIGEST))
        for part in (len(header).to_bytes(_LENGTH, "little"), header, *(_bytes(b.values) for b in blocks)):
            digest.update(part)
            file.write(part)
        file.seek(0)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())


def find(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a checkpoint, those that are missing included.

    Raises:
      Damaged: there is none.
      OtherFormat: the folder is of another version.
    """
    names = [path.name for path in folder.glob("*-of-*")]
    counts = [count for name in names if (count := name.rpartition("-")[2]).isdecimal() and int(count)]
    if not counts:
        if (folder / "_CHECKPOINT_METADATA").exists():  # orbax wrote it
            raise OtherFormat
        raise Damaged("its files are missing")
    return [folder / f"{number}-of-{counts[0]}" for number in range(int(counts[0]))]


def check(path: pathlib.Path) -> None:
    """Read a file and compare it with its digest.

    Raises:
      Damaged: the file is missing, cannot be read, or is not what was written.
    """
    try:
        with path.open("rb") as file:
            expected = file.read(_DIGEST)
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).digest()
    except OSError as error:
        raise Damaged(f"{path.name}: {error.strerror}") from error
    if found != expected:
        raise Damaged(f"the bytes of {path.name} are not those that were written")


def read_header(path: pathlib.Path) -> dict[str, Any]:
    """The header of a file that was checked, and under "begin" the place behind it."""
    with path.open("rb") as file:
        file.seek(_DIGEST)
        header = json.loads(file.read(int.from_bytes(file.read(_LENGTH), "little")))
        header["begin"] = file.tell()
    if header["format"] != _FORMAT:
        raise OtherFormat
    return header


def read(files: list[pathlib.Path], headers: list[dict[str, Any]], leaves: list[Any]) -> list[Any]:
    """The leaves, each in the form of its like in `leaves`, its sharding included.

    Raises:
      Damaged: parts of an array are missing.
    """
    forms = [_form(leaf) for leaf in leaves]
    stored: list[list[_Stored]] = [[] for _ in leaves]
    for file, header in zip(files, headers):
        offset = header["begin"]
        for leaf, start, shape in header["blocks"]:
            stored[leaf].append(_Stored(file, offset, tuple(start), tuple(shape)))
            offset += forms[leaf].size(shape)
    for form, parts in zip(forms, stored):
        if sum(math.prod(part.shape) for part in parts) != math.prod(form.shape):
            raise Damaged("parts of an array are missing")
    return [_leaf(*one) for one in zip(leaves, forms, stored, headers[0]["keys"])]


def _leaf(like: Any, form: _Form, stored: list[_Stored], key: str | None) -> Any:
    take = lambda index: _assemble(form, stored, index)
    whole = (slice(None),) * len(form.shape)
    if not hasattr(like, "dtype"):
        return take(whole).item()
    if isinstance(like, np.generic):
        return take(whole)[()]
    if isinstance(like, np.ndarray):
        return take(whole)
    sharding = like.sharding if getattr(like, "committed", True) else None
    if sharding is None:
        array = jnp.asarray(take(whole))
    else:
        array = jax.make_array_from_callback(form.shape, sharding, take, dtype=form.dtype)
    return array if key is None else jax.random.wrap_key_data(array, impl=key)


def _assemble(form: _Form, stored: list[_Stored], index: tuple[slice, ...]) -> np.ndarray:
    """The part of an array that a device asks for, out of the blocks that it overlaps."""
    ranges = [axis.indices(size) for axis, size in zip(index, form.shape)]
    start, stop = tuple(r[0] for r in ranges), tuple(r[1] for r in ranges)
    shape = tuple(high - low for low, high in zip(start, stop))
    for block in stored:
        if (block.start, block.shape) == (start, shape):
            content = np.fromfile(block.file, np.uint8, form.size(shape), offset=block.offset)
            return content.view(form.dtype).reshape(shape)
    out = np.empty(shape, form.dtype)
    for block in stored:
        low = [max(a, b) for a, b in zip(start, block.start)]
        high = [min(a, b + size) for a, b, size in zip(stop, block.start, block.shape)]
        if all(a < b for a, b in zip(low, high)):
            here = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, start))
            there = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, block.start))
            content = np.memmap(block.file, np.uint8, "r", block.offset, (form.size(block.shape),))
            out[here] = content.view(form.dtype).reshape(block.shape)[there]
    return out


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
