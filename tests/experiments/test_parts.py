"""What drivers are made of: names and numbers in configs, arms of methods, chunks, splits, drawings."""

import chex
import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.parts import checks, pictures, splits
from experiments.parts.arms import make_arms
from experiments.parts.chunks import in_chunks
from experiments.parts.history import late_change
from experiments.parts.images import pooled
from experiments.parts.nets import make_net
from experiments.parts.streams import draw_images, streamed_images
from jaxlab.core import InputError

ARMS = ConfigDict({"one": {"method": "a", "rate": 1.0}, "two": {"method": "b", "rate": 2.0}})


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.choose("net.kind", "vit", {"mlp": 1}), "net.kind is 'vit': it must be one of mlp"),
        (
            lambda: checks.choose("loss", "a-b:c", {}),
            "loss is 'a-b:c': what is yours is written module:function",
        ),
        (lambda: checks.choose("loss", "no_such:c", {}), "loss is 'no_such:c': there is no module no_such"),
        (lambda: checks.choose("loss", "json:lods", {}), "loss is 'json:lods': json has no lods"),
        (lambda: checks.check_arms(ConfigDict({}), {}), "arms is empty"),
        (
            lambda: checks.check_arms(ARMS, {"method": ("a", "c")}),
            "arm two: method is 'b': it must be one of a, c",
        ),
        (lambda: checks.check_counts(ConfigDict({"steps": 0}), "steps"), "steps is 0: it must be at least 1"),
        (
            lambda: checks.check_between("few", 9, 8, "images"),
            "few is 9: it must be between 1 and the 8 images",
        ),
        (lambda: checks.check_between("few", 1, 8, least=2), "few is 1: it must be between 2 and 8"),
        (lambda: make_arms(ARMS, {"a": len}, 1), "arm two: method is 'b': it must be one of a"),
        (lambda: make_net(ConfigDict({"kind": "vit", "features": (1,)}), 2), "net.kind is 'vit'"),
    ],
)
def test_a_mistake_in_a_config_is_one_line(check, message):
    with pytest.raises(InputError, match=message):
        check()


def test_arms_of_a_method_share_its_function_and_only_the_name_in_method_counts():
    methods = {"a": lambda settings: "a", "b": lambda settings: "b"}
    made = make_arms(ARMS, methods, 10, steps_of={"b": 0})
    assert [(arm.method, arm.steps) for arm in made.values()] == [(methods["a"], 10), (methods["b"], 0)]
    renamed = make_arms(ConfigDict({"b": ARMS.one, "dkd": ARMS.one}), methods, 10)
    assert {arm.method for arm in renamed.values()} == {methods["a"]}


@pytest.mark.parametrize("size", [0, 3, 7, 100])
def test_in_chunks_is_the_function_itself(size):
    rows = np.arange(14.0).reshape(7, 2)
    fn = lambda x: {"sum": x.sum(1), "twice": 2 * x}
    found = jax.jit(lambda x: in_chunks(fn, x, size))(rows)
    chex.assert_trees_all_equal(found, fn(rows))


def test_every_split_of_a_seed_has_examples_of_its_own_from_one_task():
    spec = ConfigDict({"labelled": 2, "train": 5, "val": 3, "test": 1})
    make = lambda task, key, count: (jax.random.key_data(task), jax.random.uniform(key, count))
    made = splits.few_labelled(make, spec)
    parts = [made["train"]["labelled"], made["train"]["unlabelled"], made["val"], made["test"]]
    drawn = [part.make(jax.random.key(0)) for part in parts]
    assert [len(examples) for _, examples in drawn] == [2, 3, 3, 1]
    assert len({tuple(task.tolist()) for task, _ in drawn}) == 1
    assert len({float(examples[0]) for _, examples in drawn}) == 4
    assert drawn[0][1].tolist() != parts[0].make(jax.random.key(1))[1].tolist()
    spec.labelled = 5
    with pytest.raises(InputError, match="data.labelled is 5: it must be between 1 and 4"):
        splits.few_labelled(None, spec)


def test_pooling_by_hand():
    images = np.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(pooled(images, 2)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    with pytest.raises(InputError, match="data.pool is 3: it must divide the 4 x 4 pixels"):
        pooled(images, 3)


def test_the_sounding_box_is_full_and_silent_ones_dotted():
    axes = Figure().subplots()
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 5], [0, 0, 0, 0]])
    pictures.draw_scene(axes, np.zeros((8, 8, 3)), boxes, np.array([3, 1, -1]))
    assert [patch.get_linestyle() for patch in axes.patches] == ["-", ":"]
    assert (axes.patches[1].get_width(), axes.patches[1].get_height()) == (3, 4)


def test_boxes_are_drawn_around_their_centre():
    axes = Figure().subplots()
    pictures.draw_boxes(axes, np.array([[5.0, 1.0, 4.0, 2.0], [0.0, 0.0, 1.0, 1.0]]), np.array([0, -1]))
    (line,) = axes.lines
    assert (line.get_xdata().min(), line.get_xdata().max()) == (3.0, 7.0)
    assert (line.get_ydata().min(), line.get_ydata().max()) == (0.0, 2.0)


def test_panels_mask_what_has_no_label():
    label = np.array([[[0, -1], [2, 1]]])
    figure = pictures.draw_panels(
        [("label", "class", label), ("change", "change", np.array([[[0.0, -2.0]]]))]
    )
    left, right = (axes.images[0] for axes in figure.axes)
    assert left.get_array().mask.tolist() == [[False, True], [False, False]]
    assert right.get_clim() == (-2.0, 2.0)


def test_late_change_is_that_of_the_last_fifth_and_needs_something_to_compare_with():
    history = {"step": np.array([4, 8, 10]), "val/a": np.array([[0.0, 1.0], [0.5, 1.0], [0.7, 0.0]])}
    summarise = late_change("val/a", means=("train/moved", "train/absent"))
    found = summarise(history | {"train/moved": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    np.testing.assert_allclose(found["val/late_change"], [0.2, -1.0])
    np.testing.assert_allclose(found["train/moved"], [3.0, 4.0])
    assert set(found) == {"val/late_change", "train/moved"}
    once = {name: values[-1:] for name, values in history.items()}
    assert np.isnan(late_change("val/a")(once)["val/late_change"]).all()


def files(folder, count=40):
    """Black and white squares in .npy files, as `streams` reads them."""
    label = np.arange(count) % 2
    for split in ("train", "test"):
        np.save(
            folder / f"{split}_image.npy",
            np.broadcast_to(255 * label[:, None, None], (count, 3, 3)).astype(np.uint8),
        )
        np.save(folder / f"{split}_label.npy", label)
    return ConfigDict({"source": "npy", "path": str(folder), "part": "rest", "train": 20, "val": 6})


def test_images_in_files_are_cut_once_and_read_as_those_in_memory(tmp_path):
    spec = files(tmp_path)
    found = streamed_images(spec, 5)
    key, source = jax.random.key(0), found.train.source
    order = np.concatenate([found.train.rows(key, step) for step in range(4)])  # a pass
    assert len(set(order.tolist())) == 20
    assert sorted(source.stacked(order)["label"]) == sorted(found.label)
    spec.part = "tuning"
    spec.train, spec.val = 8, 2
    other = streamed_images(spec, 8)
    assert not set(other.train.rows(key, 0).tolist()) & set(order.tolist())
    assert (found.num_classes, found.val.image.shape, found.test.label.shape) == (2, (6, 3, 3, 1), (40,))
    batch = draw_images(source.stacked(order[:5]) | {"index": order[:5]}, key, batch_size=5)
    expected = found.read(np.flatnonzero(np.ones(20)))
    assert {"image", "label", "index"} == set(batch)
    chex.assert_trees_all_equal_dtypes((batch["image"], batch["label"]), tuple(expected))
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["label"])
    np.testing.assert_array_equal(expected.label, found.label)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 25}, "data.train and data.val are 25 and 6: 'rest' has 30 images"),
        ({"pool": 2}, "data.pool is 2: images of source npy are read as they are"),
        ({"path": ""}, "data.path is empty: source npy needs a folder"),
        ({"path": "/no/such"}, "no file /no/such/train_image.npy"),
    ],
)
def test_images_in_files_that_are_not_there_are_one_line(tmp_path, changes, message):
    spec = files(tmp_path)
    spec.update(changes)
    with pytest.raises(ValueError, match=message):
        streamed_images(spec, 5)
