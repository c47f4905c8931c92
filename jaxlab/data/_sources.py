"""Data sets that stay in their files: `len(source)`, `source[row]`, and many rows at once by `source.stacked(rows)`."""

import contextlib
import io
import itertools
import json
import mmap
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.core import InputError, MissingFile, MissingPackage

_ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"
_HEADER = 2**16  # bytes of a .npy file within which its header ends


class NpyRows:
    """Examples in .npy files, one file for each field, all with the same number of rows; for `training.Streamed`.

    Args:
        paths: `{field: path}`.

    Raises:
        MissingFile: no such file.
        ValueError: a file that is not .npy or is cut short, now or when it is read; files of different lengths.

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
        opened = {name: _npy(pathlib.Path(path)) for name, path in paths.items()}
        sizes = {name: len(rows) for name, (_, rows) in opened.items()}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InputError(f"the files of one data set have as many rows each, got {found}")
        self._files = [file for file, _ in opened.values()]
        self._rows = {name: rows for name, (_, rows) in opened.items()}
        self._size = next(iter(sizes.values()))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self.stacked(np.asarray([row])).items()}

    def stacked(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some rows, `{field: [n, ...]}`."""
        with _reading(self._files):
            return {name: value[rows] for name, value in self._rows.items()}


class ArrowRows:
    """Examples in Arrow files, as `save_to_disk` of Hugging Face's `datasets` leaves them; for `training.Streamed`.

    Columns of numbers and of lists of them, nested too, all of one length. A set with pictures or texts in it goes into
    `Streamed` itself, with `decode`.

    Args:
        path: a folder that `save_to_disk` wrote, or one .arrow file.
        columns: those to read; all if None.

    Raises:
        MissingFile: no such folder or file.
        MissingPackage: pyarrow is not installed.
        ValueError: a file that is not Arrow or is cut short, now or when it is read; a column of something else.

    >>> from jaxlab.core import MissingFile
    >>> from jaxlab.data import ArrowRows
    >>> try:
    ...     ArrowRows("/no/such/folder")
    ... except MissingFile as error:
    ...     print(error)
    no file /no/such/folder
    """

    def __init__(self, path: str | os.PathLike, columns: Sequence[str] | None = None):
        self._files, parts = [], []
        for file in _arrow_files(pathlib.Path(path)):
            self._files.append(_Mapped(file))
            parts += _arrow_parts(self._files[-1], columns)
        if not parts:
            raise InputError(f"{path} has no rows")
        self._parts = parts
        self._ends = np.cumsum([len(next(iter(part.values()))) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self.stacked(np.asarray([row])).items()}

    def stacked(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some rows, `{column: [n, ...]}`."""
        rows = np.asarray(rows)
        which = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(which, kind="stable")
        bounds = np.flatnonzero(np.diff(which[order], prepend=-1, append=len(self._ends)))
        shape = {name: (value.shape[1:], value.dtype) for name, value in self._parts[0].items()}
        found = {name: np.empty((len(rows), *each), dtype) for name, (each, dtype) in shape.items()}
        with _reading(self._files):
            for begin, end in itertools.pairwise(bounds):
                where = order[begin:end]
                number = which[where[0]]
                part = self._parts[number]
                own = rows[where] - (self._ends[number] - len(next(iter(part.values()))))
                for name, value in part.items():
                    found[name][where] = value[own]
        return found


class _Mapped:
    """A file mapped into memory. A page that is gone would end the process by a signal, so its size is asked first."""

    def __init__(self, path: pathlib.Path):
        if not path.is_file():
            raise MissingFile(f"no file {path}")
        self.path = path
        self._fd = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._fd).st_size
        self.bytes = mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ) if self._size else b""

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def check(self) -> None:
        """Refuse a file that has become shorter."""
        size = os.fstat(self._fd).st_size
        if size < self._size:
            raise InputError(f"{self.path} is cut short: {size:,} bytes of {self._size:,}")

    def give_back(self) -> None:
        """The system keeps the pages as long as there is room; this process does not."""
        if self._size:
            self.bytes.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def _reading(files: Sequence[_Mapped]) -> Iterator[None]:
    for file in files:
        file.check()
    yield
    for file in files:
        file.give_back()


def _npy(path: pathlib.Path) -> tuple[_Mapped, np.ndarray]:
    file = _Mapped(path)
    head = io.BytesIO(file.bytes[:_HEADER])
    try:
        version = np.lib.format.read_magic(head)
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(head)
    except ValueError as error:
        raise InputError(f"{path} is no .npy file: {error}") from None
    if fortran or not shape or dtype.hasobject:
        raise InputError(f"{path} must hold an array of numbers in C order with at least one axis")
    begin, count = head.tell(), int(np.prod(shape))
    if len(file.bytes) < begin + count * dtype.itemsize:
        raise InputError(
            f"{path} is cut short: {len(file.bytes):,} bytes of {begin + count * dtype.itemsize:,}"
        )
    return file, np.frombuffer(file.bytes, dtype, count, begin).reshape(shape)


def _arrow_files(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of a folder, in their order."""
    if not path.is_dir():
        return [path]
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(json.loads((path / "dataset_dict.json").read_text())["splits"])
        raise InputError(f"{path} has the splits {splits}: give the folder of one of them")
    if not (path / "state.json").is_file():
        raise MissingFile(f"no file {path / 'state.json'}: give a folder that datasets.save_to_disk wrote")
    return [path / part["filename"] for part in json.loads((path / "state.json").read_text())["_data_files"]]


def _arrow_parts(file: _Mapped, columns: Sequence[str] | None) -> list[dict[str, np.ndarray]]:
    """The columns of every record batch, as views of the file."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise MissingPackage('Arrow files need pyarrow: pip install "jaxlab[streams]"') from None
    try:
        buffer = pyarrow.py_buffer(file.bytes)
        try:
            batches = list(pyarrow.ipc.open_stream(buffer))
            if file.bytes[-8:] != _ARROW_END:
                raise InputError(f"{file.path} is cut short: it does not end as a stream of Arrow does")
        except pyarrow.ArrowInvalid:
            opened = pyarrow.ipc.open_file(buffer)
            batches = [opened.get_batch(number) for number in range(opened.num_record_batches)]
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{file.path} cannot be read as Arrow: {' '.join(str(error).split())}") from None
    parts = []
    for batch in batches:
        names = batch.schema.names if columns is None else columns
        if missing := [name for name in names if name not in batch.schema.names]:
            raise InputError(
                f"{file.path} has no column {missing[0]!r}: it has {', '.join(batch.schema.names)}"
            )
        if len(batch):
            parts.append({name: _numbers(f"{file.path}: {name!r}", batch.column(name)) for name in names})
    return parts


def _numbers(where: str, column: Any) -> np.ndarray:
    """A column as an array `[n, ...]`."""
    import pyarrow

    shape = [len(column)]
    while True:
        if isinstance(column, pyarrow.ExtensionArray):
            column = column.storage
        if column.null_count:
            raise InputError(f"{where} has nulls")
        kind = column.type
        lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
        if not any(is_list(kind) for is_list in lists):
            break
        inner = column.flatten()
        shape.append(len(inner) // max(len(column), 1))
        if not pyarrow.types.is_fixed_size_list(kind) and (np.diff(column.offsets) != shape[-1]).any():
            raise InputError(
                f"{where} has lists of different lengths: give Streamed the set itself and decode="
            )
        column = inner
    if not (
        pyarrow.types.is_boolean(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
    ):
        raise InputError(f"{where} holds {kind}, not numbers: give Streamed the set itself and decode=")
    return column.to_numpy(zero_copy_only=False).reshape(shape)


class JoinedRows:
    """Several sources as one, numbered through, of which `core.mixed_rows` takes rows by weights.

    Args:
        sources: with the same fields.

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

    >>> from jaxlab.data import PackedTexts
    >>> packed = PackedTexts([[1, 2, 3], [4, 5], [6, 7, 8, 9]], 4)
    >>> len(packed), packed[1]["tokens"].tolist(), packed[1]["segment"].tolist(), packed[1]["position"].tolist()
    (2, [5, 6, 7, 8], [0, 1, 1, 1], [0, 0, 1, 2])
    """

    def __init__(
        self,
        texts: Any,
        length: int,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
        field: str = "tokens",
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
            spans.append(
                np.arange(np.searchsorted(self._ends, begin, "right"), np.searchsorted(self._ends, end) + 1)
            )
        wanted = np.unique(np.concatenate(spans))
        texts = dict(zip(wanted.tolist(), _examples(self._texts, wanted.tolist())))
        return [
            self._row(row, {number: texts[number] for number in span.tolist()})
            for row, span in zip(rows, spans)
        ]

    def _row(self, row: int, texts: dict[int, Any]) -> dict[str, np.ndarray]:
        begin, end, parts = row * self._length, (row + 1) * self._length, []
        for number, text in texts.items():
            tokens, last = np.asarray(self._tokens(text), np.int32), int(self._ends[number])
            first = int(self._ends[number - 1]) if number else 0
            if len(tokens) != last - first:
                raise InputError(
                    f"text {number} has {len(tokens)} tokens, its entry in lengths is {last - first}"
                )
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
