"""Few labels: as many of every class as was asked for, another choice for another key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.data import digits, few_labels

LABEL = np.array([0] * 50 + [1] * 20 + [2] * 3 + [-1] * 4 + [7] * 2, np.int32)
choose = jax.jit(few_labels, static_argnames=("num_classes", "per_class"))


@pytest.mark.parametrize(
    ("per_class", "counts"), [(0, [0, 0, 0]), (3, [3, 3, 3]), (5, [5, 5, 3]), (99, [50, 20, 3])]
)
def test_every_class_keeps_its_number_or_all_it_has(per_class, counts):
    kept = np.asarray(choose(jax.random.key(0), LABEL, num_classes=3, per_class=per_class))
    assert kept.dtype == bool
    assert np.bincount(LABEL[kept], minlength=3).tolist() == counts


def test_real_digits_are_sparse_and_the_choice_is_the_keys():
    label = digits().label
    of = lambda seed: np.asarray(choose(jax.random.key(seed), label, num_classes=10, per_class=3))
    first, again, other = of(0), of(0), of(1)
    np.testing.assert_array_equal(first, again)
    assert first.sum() == other.sum() == 30
    assert (first & other).sum() < 10


def test_every_example_of_a_class_is_as_likely_as_every_other():
    many = jax.jit(jax.vmap(lambda key: few_labels(key, jnp.arange(20) % 2, num_classes=2, per_class=3)))
    share = many(jax.random.split(jax.random.key(0), 2000)).mean(0)
    # 3 of 10, with a spread of sqrt(0.21 / 2000) = 0.01.
    np.testing.assert_allclose(share, 0.3, atol=0.05)


def test_no_examples():
    assert few_labels(jax.random.key(0), jnp.zeros(0, int), num_classes=2, per_class=1).shape == (0,)


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        (jnp.zeros(3), {}, "label must be integers"),
        (jnp.zeros((3, 1), int), {}, r"got int32 \(3, 1\)"),
        (jnp.zeros(3, int), {"per_class": -1}, "per_class must be at least 0"),
        (jnp.zeros(3, int), {"num_classes": 0}, "num_classes at least 1"),
    ],
)
def test_errors_are_one_line(label, options, message):
    with pytest.raises(ValueError, match=message) as info:
        few_labels(jax.random.key(0), label, **{"num_classes": 2, "per_class": 1, **options})
    assert "\n" not in str(info.value)
