"""What drivers are made of: names and numbers in configs, arms of methods, chunks, splits, drawings."""

import chex
import jax
import jax.numpy as jnp
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


def test_splits_are_disjoint_and_only_a_few_have_labels():
    spec = ConfigDict({"labelled": 2, "train": 5, "val": 3, "test": 1})
    made = splits.few_labelled(lambda key, count: jnp.arange(count), jax.random.key(0), spec)
    parts = [made["train"]["labelled"], made["train"]["unlabelled"], made["val"], made["test"]]
    assert [part.tolist() for part in parts] == [[0, 1], [2, 3, 4], [5, 6, 7], [8]]
    spec.labelled = 5
    with pytest.raises(InputError, match="data.labelled is 5: it must be between 1 and 4"):
        splits.few_labelled(None, None, spec)


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
