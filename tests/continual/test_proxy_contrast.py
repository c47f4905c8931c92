"""Replay by proxies: the authors' numbers, the form by pairs, masks, extremes, devices."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.continual import proxy_contrast as p
from jaxlab.core import multi_positive_cross_entropy, prototype_logits

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "hpcr.npz"))
RNG = np.random.default_rng(0)
F, W = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(5, 4)).astype(np.float32)
LABELS = np.array([0, 2, 2, 4, 0, 2])
WHERE = np.array([1, 1, 0, 1, 1, 1], bool)
pcr = jax.jit(p.proxy_contrastive_loss)
pcr_grad = jax.jit(jax.grad(lambda *a, **k: jnp.sum(p.proxy_contrastive_loss(*a, **k)), argnums=(0, 1)))
pairs = jax.jit(p.all_pairs_contrastive_loss)
relation = jax.jit(p.sample_relation_loss)


def _total(case):
    """The authors' loss of one batch as a function of features and proxies, and what is stored."""
    stored = {k: np.float32(GOLDEN[f"in_{case}_old_{k}_mem"]) for k in ("logits", "feat")}
    labels = {k: np.tile(GOLDEN[f"in_{case}_y_{k}"], 2) for k in ("mem", "batch")}
    joint = np.concatenate([labels["mem"], labels["batch"]])
    contrast = p.all_pairs_contrastive_loss if case == "pcr_all" else p.proxy_contrastive_loss
    holistic = case.startswith("hpcr")

    def total(batch, memory, proxies):
        logits = prototype_logits(memory, proxies, temperature=0.09)
        loss = jnp.mean(contrast(jnp.concatenate([memory, batch]), proxies, joint))
        loss *= p.gradient_temperature(0) if holistic else 1.0
        if holistic and case != "hpcr_task0":
            old_logits, old_features = (np.tile(stored[k], (2, 1)) for k in ("logits", "feat"))
            loss += 0.1 * jnp.mean(p.proxy_distillation_loss(logits, old_logits, joint))
            loss += 0.5 * jnp.mean(p.sample_relation_loss(memory, old_features))
        return loss, (prototype_logits(batch, proxies, temperature=0.09), logits)

    return total


@pytest.mark.parametrize("case", ["hpcr", "hpcr_task0", "hpcr_hard", "pcr", "pcr_all"])
def test_the_authors_numbers(case):
    names = ("feat_batch", "feat_mem", "proxies")
    inputs = [np.float32(GOLDEN[f"in_{case}_{name}"]) for name in names]
    (value, logits), grads = jax.jit(jax.value_and_grad(_total(case), (0, 1, 2), has_aux=True))(*inputs)
    np.testing.assert_allclose(value, GOLDEN[f"out_{case}_loss"], rtol=1e-5)
    for name, got in zip(("batch", "mem"), logits):
        np.testing.assert_allclose(got, GOLDEN[f"out_{case}_logits_{name}"], rtol=1e-5, atol=1e-5)
    for name, got in zip(names, grads):
        expected = GOLDEN[f"grad_{case}_{name}"]
        # A batch of one class has no gradient but their rounding.
        atol = max(1e-5 * np.abs(expected).max(), 1e-12)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=atol, err_msg=name)


def test_counts_are_the_pairs_with_the_proxy_of_every_row():
    similar = prototype_logits(F, W[LABELS], temperature=0.09)
    same = LABELS[:, None] == LABELS
    np.testing.assert_allclose(
        pcr(F, W, LABELS), multi_positive_cross_entropy(similar, same, ~same), rtol=1e-5
    )


def test_absent_classes_get_no_gradient_and_a_nan_in_them_leaves_no_trace():
    spoiled = np.where(np.isin(np.arange(5), LABELS)[:, None], W, np.nan)
    np.testing.assert_array_equal(pcr(F, spoiled, LABELS), pcr(F, W, LABELS))
    of_features, of_proxies = pcr_grad(F, spoiled, LABELS)
    assert np.isfinite(of_features).all()
    assert np.abs(of_proxies[1::2]).max() == 0 < np.abs(of_proxies[0]).max()  # classes 1 and 3


def test_rows_that_do_not_count_are_dropped():
    spoiled = np.where(WHERE[:, None], F, np.nan)
    for loss in (pcr, pairs):
        got = loss(spoiled, W, LABELS, where=WHERE)
        np.testing.assert_allclose(got[WHERE], loss(F[WHERE], W, LABELS[WHERE]), rtol=1e-5)
        assert got[2] == 0
        np.testing.assert_allclose(loss(spoiled, W, np.where(WHERE, LABELS, -1)), got, rtol=1e-5)
        assert np.abs(loss(F, W, LABELS, where=np.zeros(6))).max() == 0
        assert np.isnan(loss(spoiled, W, LABELS)).any()
    assert all(np.isfinite(g).all() for g in pcr_grad(F, W, LABELS, where=np.zeros(6)))
    kept = relation(spoiled, F[:, :3], where=WHERE)
    np.testing.assert_allclose(kept[WHERE], relation(F[WHERE], F[WHERE, :3]), rtol=1e-5)
    assert kept[2] == 0 == np.abs(relation(F[:1], F[:1])).max()  # a sample alone has no relation


def test_what_is_stored_receives_no_gradient_and_zeros_are_no_trouble():
    stored = jax.grad(lambda old: jnp.sum(p.sample_relation_loss(F, old)))(F)
    assert np.abs(stored).max() == 0
    kept = lambda old: jnp.sum(p.proxy_distillation_loss(W, old, LABELS % 4))
    assert np.abs(jax.grad(kept)(W + 1)).max() == 0
    assert all(np.isfinite(g).all() for g in pcr_grad(0 * F, 0 * W, LABELS))
    assert np.isfinite(jax.grad(lambda f: jnp.sum(p.sample_relation_loss(f, F)))(0 * F)).all()
    assert np.isfinite(pcr(1e4 * F, -1e4 * W, LABELS)).all()


def test_kept_logits_by_hand():
    logits, joint = np.array([[1.0, 2.0, np.nan], [3.0, 0.0, np.nan]], np.float32), np.array([0, 0, 1, -1])
    got = p.proxy_distillation_loss(logits, np.zeros((2, 3), np.float32), joint, where=np.array([1, 0]))
    np.testing.assert_allclose(got, [(2 * 1 + 4) / 3, 0.0])
    none = p.proxy_distillation_loss(logits, np.zeros((2, 3), np.float32), joint, labels_where=np.zeros(4))
    assert np.abs(none).max() == 0


def test_the_factor_swings_from_its_lowest_to_its_highest():
    assert p.gradient_temperature(0) == np.float32(0.5625)
    np.testing.assert_allclose(p.gradient_temperature(250), 1.8, rtol=1e-6)
    np.testing.assert_allclose(p.gradient_temperature(500), 0.5625, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: p.proxy_contrastive_loss(F, W[:, :2], LABELS),
            r"features \(6, 4\) must be \[N, D\], proxies",
        ),
        (lambda: p.proxy_contrastive_loss(F, W, LABELS + 1), r"labels must be in \[0, 5\).*got 5"),
        (lambda: p.all_pairs_contrastive_loss(F, W, LABELS[:2]), r"labels \(2,\) \[N\]"),
        (lambda: p.proxy_distillation_loss(F, F[:2], LABELS), r"must both be \[M, C\]"),
        (lambda: p.sample_relation_loss(F, F[:2]), r"stored_features \(2, 4\) \[M, E\]"),
        (lambda: p.gradient_temperature(0, period=0.0), "period must be positive"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
