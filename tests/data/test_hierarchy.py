"""The procedural classes are balanced, reproducible, harder on demand, and confused within their superclass."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.data import image_hierarchy, superclass
from jaxlab.data._hierarchy import _frequencies, _prototypes, _render

TASK, TRAIN, TEST = (jax.random.key(seed) for seed in range(3))
_generate = jax.jit(
    image_hierarchy,
    static_argnums=2,
    static_argnames=("num_superclasses", "classes_per_superclass", "size"),
)


@functools.cache
def _sets(difficulty):
    """Training and test images as rows of numbers, and their labels."""
    sets = [_generate(TASK, key, 1000, difficulty=difficulty) for key in (TRAIN, TEST)]
    return [(np.asarray(s.image, np.float64).reshape(1000, -1), np.asarray(s.label)) for s in sets]


def _ridge(kernel, difficulty, strength):
    """Test predictions of least squares on one-hot labels, in the kernel's feature space."""
    (x, y), (x_test, _) = _sets(difficulty)
    mean = x.mean(0)
    x, x_test = x - mean, x_test - mean
    weights = np.linalg.solve(kernel(x, x) + strength * np.eye(len(x)), np.eye(20)[y] - 0.05)
    return (kernel(x_test, x) @ weights).argmax(1)


_linear = functools.partial(_ridge, lambda a, b: a @ b.T, strength=10.0)


def _gaussian(difficulty):
    squared = lambda a, b: (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return _ridge(lambda a, b: np.exp(-squared(a, b) / 8), difficulty, strength=0.03)


def _accuracy(predict, difficulty):
    return (predict(difficulty) == _sets(difficulty)[1][1]).mean()


def test_shapes_and_range():
    images = _generate(TASK, TRAIN, 1000)
    assert images.image.shape == (1000, 12, 12, 1)
    assert images.image.dtype == jnp.float32
    assert images.label.dtype == jnp.int32
    assert (images.image.min(), images.image.max()) == (0, 1)
    # Few pixels are cut off, and the mean is in the middle.
    assert ((images.image == 0) | (images.image == 1)).mean() < 0.06
    assert abs(images.image.mean() - 0.5) < 0.05


@pytest.mark.parametrize(("n", "counts"), [(1000, {50}), (50, {2, 3}), (7, {0, 1}), (0, {0})])
def test_balanced(n, counts):
    label = np.asarray(jax.jit(lambda: image_hierarchy(TASK, TRAIN, n).label)())
    assert set(np.bincount(label, minlength=20)) == counts


def test_small_batches_of_a_stream_favour_no_class():
    stream = jax.jit(jax.vmap(lambda key: image_hierarchy(TASK, key, 8).label))
    counts = np.bincount(stream(jax.random.split(TRAIN, 1000)).ravel(), minlength=20)
    # 8,000 labels, 400 of each; the spread of a count is below 16, that of 1,000 draws with probability 0.4.
    assert np.abs(counts - 400).max() < 80


def test_determined_by_its_two_keys():
    first, again = _generate(TASK, TRAIN, 40), _generate(TASK, TRAIN, 40)
    np.testing.assert_array_equal(first.image, again.image)
    eager = image_hierarchy(TASK, TRAIN, 40)
    np.testing.assert_array_equal(first.label, eager.label)
    np.testing.assert_allclose(first.image, eager.image, atol=1e-5)
    # Another sample key: other examples of the same classes. Another task key: other classes.
    sample, task = _generate(TASK, TEST, 40), _generate(TEST, TRAIN, 40)
    assert np.abs(first.image - sample.image).max() > 0.1
    np.testing.assert_array_equal(first.label, task.label)
    assert np.abs(first.image - task.image).max() > 0.1


def test_a_task_stays_the_same_across_samples():
    # Class means of two samples of one task agree; those of two tasks do not.
    mean = lambda task, key: (lambda s: jnp.stack([s.image[s.label == c].mean(0) for c in range(20)]))(
        _generate(task, key, 1000)
    )
    same = np.corrcoef(mean(TASK, TRAIN).ravel(), mean(TASK, TEST).ravel())[0, 1]
    other = np.corrcoef(mean(TASK, TRAIN).ravel(), mean(TEST, TRAIN).ravel())[0, 1]
    assert same > 0.9
    assert other < 0.5


@pytest.mark.parametrize("predict", [_linear, _gaussian], ids=["linear", "gaussian"])
def test_accuracy_falls_with_difficulty(predict):
    found = [_accuracy(predict, d) for d in (0.0, 0.5, 0.75, 1.0)]
    assert all(easier > harder + 0.02 for easier, harder in itertools.pairwise(found)), found
    # At difficulty 1 only the superclass is left: one class in four.
    assert 0.1 < found[-1] < 0.35


def test_room_between_a_linear_model_and_a_better_one():
    linear, gaussian = _accuracy(_linear, 0.5), _accuracy(_gaussian, 0.5)
    assert 0.45 < linear < 0.75
    assert gaussian > linear + 0.08


@pytest.mark.parametrize("difficulty", [0.5, 1.0])
def test_confusions_lie_within_superclasses(difficulty):
    label, found = _sets(difficulty)[1][1], _linear(difficulty)
    wrong = found != label
    # A wrong class at random would share the superclass in 3 of 19 cases.
    assert (superclass(found) == superclass(label))[wrong].mean() > 0.7
    assert (superclass(found) == superclass(label)).mean() > 0.8


def test_superclass():
    np.testing.assert_array_equal(superclass(jnp.array([[0, 3], [4, 19]])), [[0, 0], [1, 4]])
    np.testing.assert_array_equal(superclass(np.arange(4), classes_per_superclass=1), np.arange(4))


@pytest.mark.parametrize(
    ("superclasses", "classes", "size"),
    [(1, 1, 8), (20, 5, 28)],
)
def test_other_sizes(superclasses, classes, size):
    images = _generate(
        TASK, TRAIN, 30, num_superclasses=superclasses, classes_per_superclass=classes, size=size
    )
    assert images.image.shape == (30, size, size, 1)
    assert np.isfinite(images.image).all()
    assert images.label.max() < superclasses * classes


def test_a_cosine_is_drawn_where_it_belongs():
    # One half-period down the side, none across: cos(pi (y + 1/2) / 4), moved by half a side to cos(... + pi / 2).
    frequencies = _frequencies(2, 4)
    assert frequencies.tolist() == [[0, 1], [1, 0]]
    still, moved = _render(jnp.array([[0.0, 1.0]] * 2), frequencies, jnp.array([[0.0, 0.0], [0.5, 0.0]]), 4)
    angle = np.pi * (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(still, np.cos(angle)[:, None] * np.ones(4), atol=1e-6)
    np.testing.assert_allclose(moved, -np.sin(angle)[:, None] * np.ones(4), atol=1e-6)


def test_prototypes_have_the_geometry_described():
    # 3 superclasses of 4: low parts orthonormal, fine parts of norm separation sqrt(1 - 1/4) around their mean.
    classes = np.asarray(_prototypes(TASK, 3, 4, 8, 24, 0.5)).reshape(3, 4, 32)
    low, fine = classes[..., :8], classes[..., 8:]
    np.testing.assert_allclose(low[:, 0] @ low[:, 0].T, np.eye(3), atol=1e-5)
    np.testing.assert_array_equal(low, np.broadcast_to(low[:, :1], low.shape))
    np.testing.assert_allclose(fine.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(fine, axis=-1), 0.5 * 0.75**0.5, rtol=1e-5)


def test_difficulty_can_be_traced_and_vmapped():
    levels = jnp.array([0.0, 1.0])
    images = jax.jit(jax.vmap(lambda d: image_hierarchy(TASK, TRAIN, 40, difficulty=d).image))(levels)
    for level, image in zip((0.0, 1.0), images):
        np.testing.assert_allclose(image, _generate(TASK, TRAIN, 40, difficulty=level).image, atol=1e-5)


def test_float32_under_x64():
    with jax.enable_x64(True):
        images = jax.eval_shape(lambda: image_hierarchy(jax.random.key(0), jax.random.key(1), 20))
        assert (images.image.dtype, images.label.dtype) == (jnp.float32, jnp.int32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficulty": 1.5}, r"difficulty must be in \[0, 1\], got 1.5"),
        ({"difficulty": float("nan")}, "difficulty must be"),
        ({"size": 7}, "8 pixels, got 5, 4 and 7"),
        ({"num_superclasses": 0}, "at least 1 superclass"),
        ({"num_superclasses": 60, "size": 8}, "size must leave 84 cosines"),
        ({"shift": -0.1}, "shift must be at least 0 and contrast at least 1"),
        ({"contrast": 0.5}, "shift must be at least 0 and contrast at least 1"),
    ],
)
def test_errors_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as info:
        image_hierarchy(TASK, TRAIN, 4, **options)
    assert "\n" not in str(info.value)
