"""Values that cannot be: refused where they are known, under `debug_checks` where they are traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import (
    InputError,
    MachineError,
    MissingFile,
    MissingPackage,
    class_means,
    cosine_ramp_down,
    cross_entropy,
    debug_checks,
    ema_init,
    ema_update,
    entropy,
    forward_kl,
    jsd,
    masked_mean,
    queue_init,
    queue_push,
)
from jaxlab.core._values import check_no_nan, concrete
from jaxlab.core.check import as_bool, as_integers, check_fraction, check_positive, check_probabilities
from jaxlab.metrics import accuracy

LOGITS = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize("call", [cross_entropy, accuracy])
@pytest.mark.parametrize("label", [4, 255, 2**32 + 1])
def test_a_label_of_no_class_is_refused(call, label):
    labels = np.array([0, label, 1])
    with pytest.raises(
        ValueError, match=rf"labels must be in \[0, 4\), or negative for an example.*got {label}"
    ):
        call(LOGITS, labels)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\)"):
        class_means(LOGITS, labels, num_classes=4)


def test_a_negative_label_marks_an_example_to_ignore():
    for label in (-1, -100):
        labels = np.array([0, label, 1])
        np.testing.assert_allclose(cross_entropy(LOGITS, labels), np.log(4) * np.array([1, 0, 1]), rtol=1e-6)
        assert class_means(LOGITS, labels, num_classes=4)[1].tolist() == [1, 1, 0, 0]


def test_what_is_ignored_leaves_no_trace_in_a_gradient():
    spoiled = LOGITS.copy()
    spoiled[1] = np.nan
    gradient = jax.grad(lambda z: cross_entropy(z, np.array([0, -1, 1])).sum())(spoiled)
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()


def test_behind_a_mask_any_label_may_stand():
    labels, where = np.array([0, 99, 1]), np.array([1, 0, 1])
    assert accuracy(LOGITS, labels, where=where) == 0.5
    assert class_means(LOGITS, labels, num_classes=4, where=where)[1].tolist() == [1, 1, 0, 0]


def test_lists_are_arrays_and_one_hot_labels_are_told_how_to_become_indices():
    np.testing.assert_allclose(cross_entropy(LOGITS.tolist(), [0, 1, 2]), np.log(4), rtol=1e-6)
    with pytest.raises(ValueError, match=r"class indices, not one-hot, so labels.argmax\(-1\)"):
        cross_entropy(LOGITS, np.eye(4)[:3])
    with pytest.raises(ValueError, match="labels must be integers, class indices"):
        cross_entropy(LOGITS, [0.0, 1.0, 2.0])


def test_traced_labels_are_ignored_or_refused_under_the_switch():
    loss = jax.jit(cross_entropy)
    labels = np.array([0, 4, 1])
    assert loss(LOGITS, labels)[1] == 0
    with debug_checks():
        with pytest.raises(jax.errors.JaxRuntimeError, match=r"labels must be in \[0, 4\)"):
            jax.block_until_ready(loss(LOGITS, labels))
        with pytest.raises(jax.errors.JaxRuntimeError, match="got 4"):
            jax.block_until_ready(jax.jit(jax.vmap(cross_entropy))(LOGITS, labels))
        with debug_checks(False):
            assert loss(LOGITS, labels)[1] == 0
        np.testing.assert_allclose(loss(LOGITS, np.array([0, -1, 1]))[0], np.log(4), rtol=1e-6)
    assert loss(LOGITS, labels)[1] == 0


def test_the_switch_reaches_scans_and_gradients():
    def run(labels):
        step = lambda total, y: (total + jax.grad(lambda z: cross_entropy(z, y))(LOGITS[0]).sum(), None)
        return jax.lax.scan(step, jnp.float32(0), labels)[0]

    with debug_checks(), pytest.raises(jax.errors.JaxRuntimeError, match="got 7"):
        jax.block_until_ready(jax.jit(run)(np.array([0, 7])))


@pytest.mark.parametrize("mask", [[0.5, 1.0, 1.0], [1, 2, 1], [np.nan, 0, 1], [-1, 0, 1]])
def test_a_mask_that_is_none_is_refused(mask):
    with pytest.raises(ValueError, match="where must be bool or hold 0 and 1"):
        masked_mean(np.ones(3), where=np.array(mask))
    with (
        debug_checks(),
        pytest.raises(jax.errors.JaxRuntimeError, match="where must be bool or hold 0 and 1"),
    ):
        jax.block_until_ready(jax.jit(lambda m: masked_mean(np.ones(3), where=m))(np.array(mask)))


@pytest.mark.parametrize("mask", [[True, False, True], [1, 0, 1], [1.0, 0.0, 1.0]])
def test_masks_of_any_type(mask):
    assert masked_mean(np.array([1.0, 5.0, 3.0]), where=mask) == 2


@pytest.mark.parametrize(
    "value", [1.5, np.float32(1.5), np.array(1.5), np.array([0.5, 1.5]), float("nan"), -0.1]
)
def test_numbers_are_checked_whatever_their_type(value):
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got"):
        check_fraction("share", value)


def test_a_number_must_be_a_number_and_a_traced_one_passes():
    with pytest.raises(ValueError, match="temperature must be a number, got '2'"):
        forward_kl(LOGITS, LOGITS, temperature="2")
    with pytest.raises(ValueError, match="temperature must be positive, got 0.0"):
        forward_kl(LOGITS, LOGITS, temperature=jnp.float32(0))
    with pytest.raises(ValueError, match="length must be at least 0, got -1"):
        cosine_ramp_down(0, length=np.int64(-1))
    assert not jax.jit(lambda t: forward_kl(LOGITS, LOGITS, temperature=t))(2.0).any()
    jax.jit(lambda t: check_positive("t", t))(0.0)


def test_a_schedule_is_no_number():
    state = ema_update(ema_init(jnp.zeros(())), jnp.ones(()), lambda count: 0.5)
    assert state.value == 0.5


def test_a_traced_beta_is_one_inside():
    student, teacher = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    traced = jax.jit(lambda beta: jsd(student, teacher, beta=beta))(0.3)
    np.testing.assert_allclose(traced, jsd(student, teacher, beta=0.3), rtol=1e-5)


def test_logits_are_no_probabilities():
    with pytest.raises(ValueError, match=r"p must be probabilities in \[0, 1\], got 3: apply softmax"):
        check_probabilities("p", np.array([0.2, 3.0]))
    check_probabilities("p", np.array([0.2, 3.0]), where=np.array([True, False]))
    check_probabilities("p", np.array([1.004, -1e-4, np.nan]))  # rounding, and what shows by itself


def test_where_a_choice_is_made_a_nan_is_refused():
    with pytest.raises(ValueError, match=r"losses holds NaN, first at \(1,\)"):
        check_no_nan("losses", np.array([0.1, np.nan]))
    check_no_nan("losses", np.array([0.1, np.nan]), where=np.array([True, False]))


def test_what_is_concrete():
    assert concrete([1, 2]).tolist() == [1, 2]
    seen = []
    jax.jit(lambda x: seen.append((concrete(x), concrete([x, 1]), concrete(np.ones(2)))))(1.0)
    assert seen[0][0] is None
    assert seen[0][1] is None
    assert seen[0][2].tolist() == [1, 1]


def test_integers_and_booleans():
    assert as_integers("index", [2, 0], "rows", 3).tolist() == [2, 0]
    assert as_integers("index", [], "rows", 3).shape == (0,)
    with pytest.raises(ValueError, match=r"index must be in \[0, 3\), got -1"):
        as_integers("index", [2, -1], "rows", 3)
    with pytest.raises(ValueError, match="'word' is no array of numbers"):
        as_integers("index", "word", "rows", 3)
    assert as_bool("mask", [[1, 0]]).tolist() == [[True, False]]


def test_a_queue_cuts_nothing_off():
    with pytest.raises(ValueError, match="dtype is int32: a queue holds floats"):
        queue_init(3, 2, dtype=jnp.int32)
    with pytest.raises(ValueError, match="labels must be integers, any numbers, got float"):
        queue_push(queue_init(3, 2), np.ones((1, 2)), labels=np.array([0.7]))


def test_every_check_of_what_is_given_raises_the_same_error():
    with pytest.raises(InputError, match="temperature must be positive, got 0.0"):
        entropy(np.zeros((1, 2)), temperature=0.0)
    with pytest.raises(InputError, match="must be integers"):
        cross_entropy(np.zeros((1, 2)), np.zeros(1))
    assert issubclass(InputError, ValueError)


def test_who_catches_what_python_raises_catches_what_the_library_raises():
    for ours, caught in (
        (MissingFile, (InputError, FileNotFoundError)),
        (MissingPackage, (InputError, ModuleNotFoundError)),
        (MachineError, (OSError,)),
    ):
        assert all(issubclass(ours, kind) for kind in caught)
        assert str(ours("no file mine.npz")) == "no file mine.npz"
    assert not issubclass(MachineError, InputError)
