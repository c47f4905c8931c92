"""Data sets that stay in their files: `len(source)`, `source[row]`, and many rows at once by `source.stacked(rows)`."""

import mmap
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.core import InputError, MissingFile

_MAPPED = 64 * 2**20  # bytes read until the pages of a file are given back


class NpyRows:
    """Examples in .npy files, one file for each field, all with the same number of rows; for `training.Streamed`.

    Args:
        paths: `{field: path}`.

    Raises:
        MissingFile: no such file.
        ValueError: a file that is not .npy or is cut short, now or when it is read; files of different lengths.

    Reference: Kern, NEP 1: A simple file format for NumPy arrays, 2007.

    >>> import tempfile
    >>> import numpy as np
    >>> from jaxlab.data import NpyRows
    >>> path = tempfile.mkdtemp() + "/x.npy"
    >>> np.save(path, np.arange(6).reshape(3, 2))
    >>> NpyRows({"x": path}).stacked(np.array([2, 0]))["x"].tolist()
    [[4, 5], [0, 1]]
    """

    def __init__(self, paths: Mapping[str, str | os.PathLike]):
        if not paths:
            raise InputError("NpyRows needs at least one file")
        self._fields = {name: _NpyFile(pathlib.Path(path)) for name, path in paths.items()}
        sizes = {name: len(field.rows) for name, field in self._fields.items()}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InputError(f"the files of one data set have as many rows each, got {found}")
        self._size = next(iter(sizes.values()))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self.stacked(np.asarray([row])).items()}

    def stacked(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some rows, `{field: [n, ...]}`."""
        return {name: field.take(rows) for name, field in self._fields.items()}


class _NpyFile:
    """A mapped .npy file. A page that is gone would end the process by a signal, so the size is asked first."""

    def __init__(self, path: pathlib.Path):
        if not path.is_file():
            raise MissingFile(f"no file {path}")
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version)
                shape, fortran, dtype = (read or np.lib.format.read_array_header_2_0)(file)
            except ValueError as error:
                raise InputError(f"{path} is no .npy file: {error}") from None
            if fortran or not shape or dtype.hasobject:
                raise InputError(f"{path} must hold an array of numbers in C order with at least one axis")
            begin, count = file.tell(), int(np.prod(shape))
            self._path, self._size, self._read = path, begin + count * dtype.itemsize, 0
            self._fd = os.dup(file.fileno())
        self._check()
        self._map = mmap.mmap(self._fd, self._size, access=mmap.ACCESS_READ) if count else b""
        self.rows = np.frombuffer(self._map, dtype, count, begin if count else 0).reshape(shape)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, copied."""
        self._check()
        found = self.rows[rows]
        self._read += found.nbytes
        if self._read > _MAPPED:  # the system keeps the pages as long as there is room, this process does not
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return found

    def _check(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < self._size:
            raise InputError(f"{self._path} is cut short: {size:,} bytes of {self._size:,}")


class JoinedRows:
    """Several sources as one, numbered through, of which `core.mixed_rows` takes rows by weights.

    Args:
        sources: with the same fields.

    Reference: `torch.utils.data.ConcatDataset`.

    >>> from jaxlab.data import JoinedRows
    >>> joined = JoinedRows([[{"x": 1}, {"x": 2}], [{"x": 3}]])
    >>> len(joined), joined.sizes, joined[2]["x"]
    (3, (2, 1), 3)
    """

    def __init__(self, sources: Sequence[Any]):
        if not sources:
            raise InputError("JoinedRows needs at least one source")
        self._sources = tuple(sources)
        self.sizes = tuple(len(source) for source in sources)
        self._ends = np.cumsum(self.sizes)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> Any:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Any]:
        """Some rows, in their order; a source is asked once."""
        index = np.asarray(rows)
        which = np.searchsorted(self._ends, index, side="right")
        found: list[Any] = [None] * len(index)
        for number in np.unique(which):
            source, where = self._sources[number], np.flatnonzero(which == number)
            own = index[where] - (self._ends[number] - self.sizes[number])
            for place, example in zip(where, _examples(source, own.tolist())):
                found[place] = example
        return found


class PackedTexts:
    """Texts of any length as rows of one length: put one after the other and cut, nothing padded.

    Row r is the tokens `r T ... (r + 1) T - 1` of all texts in their order; what is left at the end is not used. Which
    texts a row meets follows from their lengths, so a row is found without reading those before it.

    Args:
        texts: `len(texts)`, `texts[i]`: token ids `[n]`, or a dict of which `field` has them.
        length: T, at least 1.
        lengths: `[N]` tokens of each text; counted by reading all of them once if None.
        field: where a text's tokens are, if it is a dict.

    Raises:
        ValueError: a length below 1, fewer tokens than one row, a text of another length than `lengths` says.

    Reference: Brown et al., Language Models are Few-Shot Learners, 2020, section 2.3 and appendix B, which packs texts so.

    >>> from jaxlab.data import PackedTexts
    >>> packed = PackedTexts([[1, 2, 3], [4, 5], [6, 7, 8, 9]], 4)
    >>> len(packed), packed[1]["tokens"].tolist(), packed[1]["segment"].tolist(), packed[1]["position"].tolist()
    (2, [5, 6, 7, 8], [0, 1, 1, 1], [0, 0, 1, 2])
    """

    def __init__(
        self, texts: Any, length: int, *, lengths: Sequence[int] | np.ndarray | None = None, field: str = "tokens"
    ):
        if length < 1:
            raise InputError(f"length is {length}: it must be at least 1")
        self._texts, self._length, self._field = texts, length, field
        if lengths is None:
            lengths = [len(self._tokens(texts[number])) for number in range(len(texts))]
        if len(lengths) != len(texts):
            raise InputError(f"lengths has {len(lengths)} entries for {len(texts)} texts")
        self._ends = np.cumsum(np.asarray(lengths, np.int64))
        if not len(self):
            raise InputError(f"the texts have fewer than {length} tokens together: not one row")

    def __len__(self) -> int:
        return int(self._ends[-1]) // self._length if len(self._ends) else 0

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Some rows: `tokens` `[T]`, `segment` `[T]`, the texts of the row counted from 0, `position` `[T]` in each."""
        spans = []
        for row in rows:
            begin, end = row * self._length, (row + 1) * self._length
            spans.append(np.arange(np.searchsorted(self._ends, begin, "right"), np.searchsorted(self._ends, end) + 1))
        wanted = np.unique(np.concatenate(spans))
        texts = dict(zip(wanted.tolist(), _examples(self._texts, wanted.tolist())))
        return [self._row(row, {number: texts[number] for number in span.tolist()}) for row, span in zip(rows, spans)]

    def _row(self, row: int, texts: dict[int, Any]) -> dict[str, np.ndarray]:
        begin, end, parts = row * self._length, (row + 1) * self._length, []
        for number, text in texts.items():
            tokens, last = np.asarray(self._tokens(text), np.int32), int(self._ends[number])
            first = int(self._ends[number - 1]) if number else 0
            if len(tokens) != last - first:
                raise InputError(f"text {number} has {len(tokens)} tokens, its entry in lengths is {last - first}")
            parts.append(tokens[max(begin - first, 0) : end - first])
        parts = [part for part in parts if len(part)]
        return {
            "tokens": np.concatenate(parts),
            "segment": np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts]),
            "position": np.concatenate([np.arange(len(part), dtype=np.int32) for part in parts]),
        }

    def _tokens(self, text: Any) -> Any:
        return text[self._field] if isinstance(text, Mapping) else text


def _examples(source: Any, rows: list[int]) -> list[Any]:
    """Some rows of any source, one by one."""
    if hasattr(source, "__getitems__"):
        return list(source.__getitems__(rows))
    if hasattr(source, "stacked"):
        found = source.stacked(np.asarray(rows))
        return [{name: value[place] for name, value in found.items()} for place in range(len(rows))]
    return [source[row] for row in rows]
