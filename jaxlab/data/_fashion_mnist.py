"""Fashion-MNIST from a folder of the user's, the cache, a Debian package, or (when asked) the network."""

import hashlib
import os
import pathlib
import urllib.request

from jaxlab.core import InputError, MachineError, MissingFile
from jaxlab.data._idx import read_idx
from jaxlab.data._images import Images, from_host

# SHA-256 of the authors' four files.
_SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_SOURCE = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
_DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
_PREFIX = {"train": "train", "test": "t10k"}
_NUM_CLASSES = 10


def _cache() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "jaxlab" / "fashion-mnist"


def _find(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """The images' and the labels' file of a split, gzipped or plain, as far as the folder has them."""
    names = [f"{_PREFIX[split]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    found = [[path for path in (folder / f"{name}.gz", folder / name) if path.is_file()] for name in names]
    return [paths[0] for paths in found if paths]


def _fetch(url: str, target: pathlib.Path, sha256: str) -> None:
    """Save a file whole and checked, or not at all."""
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            raw = response.read()
    except OSError as error:
        raise MachineError(f"could not download {url}: {error}") from error
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise InputError(f"{url} has SHA-256 {found} instead of {sha256}; nothing was saved")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_bytes(raw)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _download(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sha256 in _SHA256.items():
        if not (folder / name).is_file():
            _fetch(f"{_SOURCE}/{name}", folder / name, sha256)


def _locate(path: str | os.PathLike[str] | None, split: str, download: bool) -> list[pathlib.Path]:
    if path is not None:
        files = _find(pathlib.Path(path), split)
        if len(files) < 2:
            raise MissingFile(f"{path} lacks {_PREFIX[split]}-images-idx3-ubyte.gz or its labels")
        return files
    for folder in (_cache(), _DEBIAN):
        if len(files := _find(folder, split)) == 2:
            return files
    if download:
        _download(_cache())
        return _find(_cache(), split)
    raise MissingFile(
        f"Fashion-MNIST not found: pass path=<folder of its four .gz files>, put them into {_cache()}, "
        "install the Debian package dataset-fashion-mnist, or pass download=True (31 MB)"
    )


def fashion_mnist(
    path: str | os.PathLike[str] | None = None, *, split: str = "train", download: bool = False
) -> Images:
    """60,000 training or 10,000 test images of clothing, 28x28 pixels in 10 classes.

    Looked for in this order: `path` and nothing else if it is given; the cache
    `$XDG_CACHE_HOME/jaxlab/fashion-mnist` (or under `~/.cache`); the folder of the Debian package
    dataset-fashion-mnist; then, with `download=True` only, the authors' repository. What is downloaded is
    checked by SHA-256 and moved into the cache whole.

    Args:
        path: folder of the idx files, gzipped or plain.
        split: "train" or "test".
        download: whether the network may be used (31 MB).

    Returns:
        `Images` with image `[N, 28, 28, 1]` in [0, 1] and label `[N]` in 0 ... 9.

    Raises:
        MissingFile: no files; the message names the four ways to get them.
        ValueError: a split of another name, or a file that is truncated, mislabelled or of the wrong length.
        MachineError: the download failed.

    Reference: Xiao, Rasul and Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
      Algorithms, 2017.

    >>> from jaxlab.data import fashion_mnist
    >>> fashion_mnist(split="test").image.shape  # doctest: +SKIP
    (10000, 28, 28, 1)
    >>> fashion_mnist("no/such/folder")
    Traceback (most recent call last):
    jaxlab.core.MissingFile: no/such/folder lacks train-images-idx3-ubyte.gz or its labels
    """
    if split not in _PREFIX:
        raise InputError(f"split must be one of {tuple(_PREFIX)}, got {split!r}")
    image_file, label_file = _locate(path, split, download)
    image, label = read_idx(image_file, rank=3), read_idx(label_file, rank=1)
    if len(image) != len(label):
        raise InputError(f"{image_file} has {len(image)} images but {label_file} has {len(label)} labels")
    if label.size and label.max() >= _NUM_CLASSES:
        raise InputError(f"{label_file} holds the label {label.max()}; labels are 0 ... {_NUM_CLASSES - 1}")
    return from_host(image, label, scale=255)
