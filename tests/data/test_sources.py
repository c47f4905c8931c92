"""Data sets in files: the rows are those of the arrays, and a file that is not whole is named in one line."""

import os
import sys

import numpy as np
import pytest

from jaxlab.core import InputError, MissingFile, MissingPackage
from jaxlab.data import ArrowRows, JoinedRows, NpyRows, PackedTexts, images_from_datasets

ORDER = np.array([4, 0, 29, 4, 17])


def arrays():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (30, 4, 5), np.uint8),
        "label": np.arange(30),
        "weight": rng.normal(size=30),
    }


def npy(folder, data=None):
    paths = {}
    for name, value in (data or arrays()).items():
        paths[name] = folder / f"{name}.npy"
        np.save(paths[name], value)
    return paths


def arrow(folder, data=None, rows=7):
    """A folder as `datasets` lays it out, of record batches of seven rows."""
    pyarrow = pytest.importorskip("pyarrow")
    data = data or {name: value.tolist() for name, value in arrays().items()}
    kind = {"image": pyarrow.list_(pyarrow.list_(pyarrow.uint8(), 5))}
    table = pyarrow.table({name: pyarrow.array(value, kind.get(name)) for name, value in data.items()})
    folder.mkdir(exist_ok=True)
    with (
        pyarrow.OSFile(str(folder / "data.arrow"), "wb") as file,
        pyarrow.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=rows)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    return folder


@pytest.mark.parametrize(
    "make", [lambda folder: NpyRows(npy(folder)), lambda folder: ArrowRows(arrow(folder))]
)
def test_the_rows_of_the_arrays(tmp_path, make):
    source, expected = make(tmp_path), arrays()
    assert len(source) == 30
    for name, value in source.stacked(ORDER).items():
        np.testing.assert_array_equal(value, expected[name][ORDER])
        assert value.dtype == expected[name].dtype
        np.testing.assert_array_equal(source[3][name], expected[name][3])


def test_arrow_as_datasets_writes_it(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Array2D((4, 5), "uint8"), "label": datasets.Value("int64")}
    )
    whole = {name: arrays()[name] for name in features}
    datasets.Dataset.from_dict(whole, features=features).save_to_disk(tmp_path / "set")
    found = ArrowRows(tmp_path / "set", columns=["image"]).stacked(ORDER)
    assert found.keys() == {"image"}
    np.testing.assert_array_equal(found["image"], whole["image"][ORDER])
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"x": [1]})}).save_to_disk(tmp_path / "sets")
    with pytest.raises(InputError, match="has the splits train: give the folder of one of them"):
        ArrowRows(tmp_path / "sets")


def test_a_file_that_is_cut_short_or_gone(tmp_path):
    sources = {"image.npy": NpyRows(npy(tmp_path)), "data.arrow": ArrowRows(arrow(tmp_path))}
    for name, source in sources.items():
        path = tmp_path / name
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(InputError, match=f"{name} is cut short: [0-9,]+ bytes of [0-9,]+"):
            source.stacked(ORDER)
    with pytest.raises(InputError, match="image.npy is cut short"):
        NpyRows({"image": tmp_path / "image.npy"})
    with pytest.raises(InputError, match="data.arrow cannot be read as Arrow"):
        ArrowRows(tmp_path)
    whole = arrow(tmp_path) / "data.arrow"
    os.truncate(whole, whole.stat().st_size - 8)  # at the end of a batch of rows: Arrow would not notice
    with pytest.raises(
        InputError, match="data.arrow is cut short: it does not end as a stream of Arrow does"
    ):
        ArrowRows(tmp_path)
    source = NpyRows(npy(tmp_path))
    (tmp_path / "image.npy").unlink()  # what is open stays
    np.testing.assert_array_equal(source.stacked(ORDER)["image"], arrays()["image"][ORDER])
    with pytest.raises(MissingFile, match="no file"):
        NpyRows({"image": tmp_path / "image.npy"})


def test_what_the_files_must_be(tmp_path):
    def folder(name):
        (tmp_path / name).mkdir()
        return tmp_path / name

    (tmp_path / "text.npy").write_text("hello")
    for paths, words in (
        (npy(folder("a"), {"x": np.zeros(3), "y": np.zeros(4)}), "as many rows each, got x 3, y 4"),
        (npy(folder("b"), {"x": np.zeros(())}), "with at least one axis"),
        (npy(folder("c"), {"x": np.asfortranarray(np.zeros((3, 4)))}), "in C order"),
        ({"x": tmp_path / "text.npy"}, "is no .npy file"),
        ({}, "at least one file"),
    ):
        with pytest.raises(InputError, match=words):
            NpyRows(paths)
    for data, words in (
        ({"x": [[1], [2, 3]]}, "'x' has lists of different lengths"),
        ({"x": ["a", "b"]}, "'x' holds string, not numbers"),
        ({"x": [1, None]}, "'x' has nulls"),
    ):
        with pytest.raises(InputError, match=words):
            ArrowRows(arrow(tmp_path / "odd", data))
    with pytest.raises(InputError, match="has no column 'y': it has x"):
        ArrowRows(arrow(tmp_path / "odd", {"x": [1]}), columns=["y"])


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    folder = arrow(tmp_path)
    for package, read in (("pyarrow", ArrowRows), ("datasets", images_from_datasets)):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingPackage, match=rf'need {package}: pip install "jaxlab\[streams\]"$'):
            read(folder)


def test_joined_sources(tmp_path):
    own = [{"image": value, "label": -1, "weight": 0.0} for value in arrays()["image"][:3]]
    joined = JoinedRows([own, NpyRows(npy(tmp_path)), own])
    assert joined.sizes == (3, 30, 3)
    found = joined.__getitems__([35, 3, 0, 32, 4])
    assert [int(example["label"]) for example in found] == [-1, 0, -1, 29, 1]
    np.testing.assert_array_equal(joined[34]["image"], own[1]["image"])


def test_packed_texts_are_the_texts():
    rng = np.random.default_rng(1)
    texts = [np.arange(size) + 100 * number for number, size in enumerate(rng.integers(0, 12, 40))]
    whole = np.concatenate(texts)
    packed = PackedTexts([{"tokens": text} for text in texts], 7, lengths=[len(text) for text in texts])
    assert len(packed) == len(whole) // 7
    rows = packed.__getitems__(list(range(len(packed))))
    np.testing.assert_array_equal(np.concatenate([row["tokens"] for row in rows]), whole[: 7 * len(packed)])
    for row in rows:
        text, begins = row["tokens"] // 100, np.diff(row["tokens"] // 100, prepend=-1) != 0
        np.testing.assert_array_equal(row["segment"], np.cumsum(begins) - 1)
        assert (row["position"][begins] == 0).all()
        assert (row["position"] == row["tokens"] - [row["tokens"][text == own][0] for own in text]).all()
    for length, given, words in (
        (0, None, "at least 1"),
        (999, None, "not one row"),
        (3, [1], "1 entries for 40 texts"),
    ):
        with pytest.raises(InputError, match=words):
            PackedTexts(texts, length, lengths=given)
    with pytest.raises(InputError, match=r"text 0 has \d+ tokens, its entry in lengths is 30"):
        PackedTexts(texts, 5, lengths=[30] * 40)[0]
