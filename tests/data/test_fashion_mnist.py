"""Fashion-MNIST is found where it is documented to be, checked, and never half saved. No test uses the network."""

import gzip
import hashlib
import re
import struct

import numpy as np
import pytest

from jaxlab.core import MachineError, MissingFile
from jaxlab.data import _fashion_mnist as module
from jaxlab.data import fashion_mnist

KINDS = {"images-idx3": 3, "labels-idx1": 1}


def _idx(array, rank=None):
    header = bytes((0, 0, 8, rank or array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def _gzip(raw):
    """Without the time of writing: it would be in the name of a test, and two workers must agree on that."""
    return gzip.compress(raw, mtime=0)


def _arrays(seed=0, n=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 2, 4)), rng.integers(0, 10, n)


def _write(folder, prefix="train", seed=0, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = _arrays(seed)
    for kind, array in zip(KINDS, arrays):
        name, raw = f"{prefix}-{kind}-ubyte", _idx(array)
        (folder / (name + ".gz" * compress)).write_bytes(gzip.compress(raw) if compress else raw)
    return arrays


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """An empty cache, no Debian package, and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(module, "_SOURCE", (tmp_path / "source").as_uri())


def _cache(tmp_path):
    return tmp_path / "cache" / "jaxlab" / "fashion-mnist"


def _serve(tmp_path, monkeypatch):
    """A source of four small files with the checksums to match."""
    arrays = {
        prefix: _write(tmp_path / "source", prefix, seed) for seed, prefix in enumerate(("train", "t10k"))
    }
    files = {path.name: path.read_bytes() for path in (tmp_path / "source").iterdir()}
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    assert sums.keys() == module._SHA256.keys()
    monkeypatch.setattr(module, "_SHA256", sums)
    return arrays


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_reads_what_was_written(tmp_path, compress, split, prefix):
    image, label = _write(tmp_path / "mine", prefix, compress=compress)
    found = fashion_mnist(tmp_path / "mine", split=split)
    assert found.image.dtype == np.float32
    assert found.label.dtype == np.int32
    np.testing.assert_array_equal(found.image, (image[..., None] / np.float32(255)).astype(np.float32))
    np.testing.assert_array_equal(found.label, label)


def test_order_of_the_places(tmp_path, monkeypatch):
    served = _serve(tmp_path, monkeypatch)
    label = lambda **options: fashion_mnist(**options).label.tolist()
    downloaded = served["train"][1].tolist()
    assert label(download=True) == downloaded
    for path in _cache(tmp_path).iterdir():
        path.unlink()
    debian = _write(tmp_path / "debian", seed=5)[1].tolist()
    assert label(download=True) == debian  # a local copy is never fetched again
    assert not any(_cache(tmp_path).iterdir())
    cached = _write(_cache(tmp_path), seed=6)[1].tolist()
    assert label() == cached
    mine = _write(tmp_path / "mine", seed=7)[1].tolist()
    assert label(path=str(tmp_path / "mine")) == mine
    assert len({tuple(x) for x in (downloaded, debian, cached, mine)}) == 4


def test_home_cache_without_xdg(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    _, label = _write(tmp_path / ".cache" / "jaxlab" / "fashion-mnist")
    np.testing.assert_array_equal(fashion_mnist().label, label)


def test_nowhere_names_the_four_ways(tmp_path):
    with pytest.raises(MissingFile) as info:
        fashion_mnist()
    message = str(info.value)
    assert "\n" not in message
    for way in ("path=", str(_cache(tmp_path)), "dataset-fashion-mnist", "download=True"):
        assert way in message
    assert not (tmp_path / "cache").exists()  # reading writes nothing


def test_a_path_without_the_files_is_an_error_even_when_the_cache_has_them(tmp_path):
    _write(_cache(tmp_path))
    _write(tmp_path / "mine")
    (tmp_path / "mine" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(MissingFile, match="mine lacks train-images-idx3-ubyte.gz or its labels"):
        fashion_mnist(tmp_path / "mine")


def test_download_saves_four_checked_files_once(tmp_path, monkeypatch):
    served = _serve(tmp_path, monkeypatch)
    np.testing.assert_array_equal(fashion_mnist(download=True).label, served["train"][1])
    saved = {path.name: path.read_bytes() for path in _cache(tmp_path).iterdir()}
    assert saved == {path.name: path.read_bytes() for path in (tmp_path / "source").iterdir()}
    for path in (tmp_path / "source").iterdir():
        path.unlink()
    np.testing.assert_array_equal(fashion_mnist(split="test").label, served["t10k"][1])


def test_download_completes_a_partial_cache(tmp_path, monkeypatch):
    served = _serve(tmp_path, monkeypatch)
    _write(_cache(tmp_path))
    (_cache(tmp_path) / "train-images-idx3-ubyte.gz").unlink()
    np.testing.assert_array_equal(fashion_mnist(download=True).label, served["train"][1])


def test_a_download_with_another_checksum_is_not_saved(tmp_path, monkeypatch):
    _serve(tmp_path, monkeypatch)
    bad = tmp_path / "source" / "train-images-idx3-ubyte.gz"
    bad.write_bytes(bad.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-images.* has SHA-256 .* nothing was saved"):
        fashion_mnist(download=True)
    assert not list(_cache(tmp_path).glob("*train-images*"))
    assert not list(_cache(tmp_path).glob(".*"))


def test_a_failed_download_says_which_file(tmp_path):
    with pytest.raises(
        MachineError, match=r"could not download file://.*train-images-idx3-ubyte\.gz"
    ) as info:
        fashion_mnist(download=True)
    assert "\n" not in str(info.value)
    assert not list(_cache(tmp_path).iterdir())


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
IMAGE, LABEL = _arrays()


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        (IMAGES, _gzip(_idx(IMAGE))[:-9], "is not a complete gzip file"),
        (IMAGES, b"<html>not found</html>", "is not a complete gzip file"),
        (IMAGES, _gzip(b""), "begins with ''"),
        (IMAGES, _gzip(_idx(IMAGE)[:9]), "begins with '00000803'"),
        (IMAGES, _gzip(_idx(LABEL)), "with 3 axes: it begins with '00000801'"),
        (LABELS, _gzip(_idx(IMAGE)), "with 1 axes: it begins with '00000803'"),
        (IMAGES, _gzip(_idx(IMAGE)[:-1]), r"promises \(3, 2, 4\) bytes in its header and holds 23"),
        (IMAGES, _gzip(_idx(IMAGE) + b"0"), "holds 25"),
        (LABELS, _gzip(_idx(LABEL[:2])), "3 images but .* 2 labels"),
        (LABELS, _gzip(_idx(LABEL + 10)), "labels are 0 ... 9"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, name, raw, message):
    _write(tmp_path / "mine")
    (tmp_path / "mine" / name).write_bytes(raw)
    with pytest.raises(ValueError, match=message) as info:
        fashion_mnist(tmp_path / "mine")
    assert name in str(info.value)
    assert "\n" not in str(info.value)


def test_unknown_split():
    with pytest.raises(ValueError, match=re.escape("split must be one of ('train', 'test'), got 'val'")):
        fashion_mnist(split="val")


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.undo()
    if len(module._find(module._DEBIAN, "train") + module._find(module._DEBIAN, "test")) < 4:
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    return module._DEBIAN


def test_the_real_set(installed):
    train, test = (fashion_mnist(installed, split=split) for split in ("train", "test"))
    assert (train.image.shape, test.image.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert np.bincount(train.label).tolist() == [6000] * 10
    assert np.bincount(test.label).tolist() == [1000] * 10
    np.testing.assert_allclose(np.asarray(train.image, np.float64).mean() * 255, 72.94, atol=0.005)
