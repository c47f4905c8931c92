"""A user's own images: every way in gives the same `Images`, and what does not fit is one line that names it."""

import numpy as np
import pytest
from PIL import Image

from jaxlab.core import InputError, MissingFile
from jaxlab.data import (
    images_from_arrays,
    images_from_csv,
    images_from_datasets,
    images_from_folder,
    images_from_torch,
)

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 0, 1, 1, 2, 2])
CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def folder(tmp_path):
    """Six pictures in the folders of three classes."""
    for number, (image, label) in enumerate(zip(PIXELS, LABELS)):
        path = tmp_path / "set" / CLASSES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "set"


def as_expected(found, image=PIXELS, label=LABELS):
    assert found.keys() == {"train"}
    np.testing.assert_array_equal(found["train"].image, image.astype(np.float32) / np.float32(255))
    assert found["train"].label.dtype == np.int32
    np.testing.assert_array_equal(found["train"].label, label)


class TorchStyle(list):
    """`len` and `set[i]` are all that is asked for."""


def test_every_way_in_gives_the_same_images(folder, tmp_path):
    as_expected(images_from_arrays(train=(PIXELS, LABELS)))
    as_expected(images_from_folder(folder))
    lines = [f"set/{CLASSES[label]}/{n}.png,{CLASSES[label]}" for n, label in enumerate(LABELS)]
    (tmp_path / "files.csv").write_text("\n".join(["file,label", *lines]))
    as_expected(images_from_csv(tmp_path / "files.csv"))
    head = ",".join(["label", *(f"p{n}" for n in range(60))])
    rows = [f"{label}," + ",".join(map(str, image.ravel())) for image, label in zip(PIXELS, LABELS)]
    (tmp_path / "pixels.csv").write_text("\n".join([head, *rows]))
    as_expected(images_from_csv(tmp_path / "pixels.csv", shape=(5, 4, 3)))
    as_expected(images_from_torch(train=TorchStyle(zip(map(Image.fromarray, PIXELS), LABELS))))


def test_tensors_have_their_channels_first():
    torch = pytest.importorskip("torch")
    whole = TorchStyle(
        (torch.from_numpy(np.moveaxis(image, -1, 0).copy()), label) for image, label in zip(PIXELS, LABELS)
    )
    as_expected(images_from_torch(train=whole))
    floats = TorchStyle((image.float() / 255, torch.tensor(label)) for image, label in whole)
    np.testing.assert_allclose(images_from_torch(train=floats)["train"].image, PIXELS / 255, rtol=1e-6)
    normalized = TorchStyle([(torch.randn(3, 5, 4) - 1, 0)])
    with pytest.raises(InputError, match=r"uint8, or floats in \[0, 1\], got float32"):
        images_from_torch(train=normalized)
    with pytest.raises(
        InputError, match=r"train\[0\] is a tensor \(5, 4, 3\): PyTorch's images are \[C, H, W\]"
    ):
        images_from_torch(train=[(torch.zeros(5, 4, 3), 0)])


def test_a_set_of_hugging_face_on_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"image": [Image.fromarray(image) for image in PIXELS], "label": LABELS.tolist()}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    whole = datasets.Dataset.from_dict(columns, features=kinds)
    whole.save_to_disk(str(tmp_path / "one"))
    as_expected(images_from_datasets(tmp_path / "one"))
    datasets.DatasetDict({"train": whole, "validation": whole}).save_to_disk(str(tmp_path / "two"))
    assert images_from_datasets(tmp_path / "two").keys() == {"train", "val"}
    with pytest.raises(InputError, match="no column 'img': it has image, label"):
        images_from_datasets(tmp_path / "one", image="img")


def test_splits_sizes_and_channels(folder):
    whole = folder.parent / "whole"
    for split in ("train", "test"):
        (whole / split).mkdir(parents=True)
        for name in CLASSES:
            (whole / split / name).symlink_to(folder / name)
    found = images_from_folder(whole, size=(8, 8), channels=1)
    assert {name: split.image.shape for name, split in found.items()} == {
        "train": (6, 8, 8, 1),
        "test": (6, 8, 8, 1),
    }
    (folder / "ant").rename(folder / "10"), (folder / "bee").rename(folder / "9")
    (folder / "cat").rename(folder / "100")
    np.testing.assert_array_equal(images_from_folder(folder)["train"].label, [1, 1, 2, 2, 0, 0])
    for number, name in (("10", "ant"), ("9", "bee"), ("100", "cat")):
        (folder / number).rename(folder / name)
    other = images_from_folder(folder, classes=("cat", "bee", "ant"))
    np.testing.assert_array_equal(other["train"].label, [2, 2, 1, 1, 0, 0])


def write(path, text):
    path.write_text(text)
    return path


MISTAKES = {
    "channels first": (
        lambda f: images_from_arrays(train=(np.zeros((2, 3, 8, 8), np.uint8), [0, 1])),
        r"train \(2, 3, 8, 8\) seems to have its channels first",
    ),
    "no train": (
        lambda f: images_from_arrays(test=(PIXELS, LABELS)),
        "the arrays has test: there must be train",
    ),
    "another split": (
        lambda f: images_from_arrays(train=(PIXELS, LABELS), dev=(PIXELS, LABELS)),
        "splits are train, val, test",
    ),
    "labels that are no integers": (
        lambda f: images_from_arrays(train=(PIXELS, LABELS / 2)),
        "labels are integers from 0",
    ),
    "numbers out of range": (
        lambda f: images_from_arrays(train=(PIXELS / 100.0, LABELS)),
        r"floats in \[0, 1\]",
    ),
    "another count": (
        lambda f: images_from_arrays(train=(PIXELS, LABELS[:3])),
        r"got \(6, 5, 4, 3\) and \(3,\)",
    ),
    "another size of test": (
        lambda f: images_from_arrays(train=(PIXELS, LABELS), test=(PIXELS[:, :4], LABELS)),
        "the images of test are 4 x 4 x 3, those of train 5 x 4 x 3",
    ),
    "one of another size": (
        lambda f: (Image.new("RGB", (9, 9)).save(f / "bee" / "9.png"), images_from_folder(f)),
        r"bee/9.png is 9 x 9 x 3, .*ant/0.png is 5 x 4 x 3: give size=\(H, W\)",
    ),
    "one of other channels": (
        lambda f: (Image.new("L", (4, 5)).save(f / "bee" / "9.png"), images_from_folder(f)),
        "9.png is 5 x 4 x 1, .* give channels=3 or 1",
    ),
    "no picture": (
        lambda f: (write(f / "bee" / "a.png", "no"), images_from_folder(f)),
        "a.png cannot be read as a picture",
    ),
    "an empty class": (lambda f: ((f / "dog").mkdir(), images_from_folder(f)), "dog holds no picture"),
    "a class that is not named": (
        lambda f: images_from_folder(f, classes=("ant", "bee")),
        "the class 'cat' is none of ant, bee",
    ),
    "a class that is not there": (
        lambda f: images_from_folder(f, classes=(*CLASSES, "dog")),
        "lacks the class 'dog'",
    ),
    "no folder": (lambda f: images_from_folder(f / "none"), "no folder .*none"),
    "no classes": (lambda f: images_from_folder(f / "ant"), "holds no folder of pictures"),
    "no column": (
        lambda f: images_from_csv(write(f / "a.csv", "class,p0\n1,2\n")),
        "no column 'label': it has class, p0",
    ),
    "no square": (
        lambda f: images_from_csv(write(f / "a.csv", "label,a,b\n1,2,3\n")),
        r"2 columns of pixels, which is no image of 1 x 1: give shape=\(H, W\)",
    ),
    "pixels out of range": (
        lambda f: images_from_csv(write(f / "a.csv", "label,a\n1,300\n")),
        r"lie in \[0, 255\], got 300",
    ),
    "words for pixels": (
        lambda f: images_from_csv(write(f / "a.csv", "label,a\n1,x\n")),
        "pixels are whole numbers",
    ),
    "a short row": (
        lambda f: images_from_csv(write(f / "a.csv", "label,a\n1\n")),
        "line 2: not as many values",
    ),
    "a file that is not there": (
        lambda f: images_from_csv(write(f / "a.csv", "label,file\n1,x.png\n")),
        "no picture .*x.png",
    ),
    "a word for a label": (
        lambda f: images_from_torch(train=[(PIXELS[0], "ant")]),
        r"train\[0\]: the label is 'ant'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_does_not_fit_is_one_line(mistake, folder):
    make, message = MISTAKES[mistake]
    with pytest.raises((InputError, MissingFile), match=message) as info:
        make(folder)
    assert "\n" not in str(info.value)
