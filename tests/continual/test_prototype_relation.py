"""Relations of old prototypes to new samples: both axes by hand, masks, tasks of different sizes, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.continual.prototype_relation import prototype_pull_loss, relation_distillation_loss
from jaxlab.core import supcon_loss

RNG = np.random.default_rng(0)
H, OLD_H = RNG.normal(size=(2, 6, 4)).astype(np.float32)
P, OLD_P = RNG.normal(size=(2, 3, 2, 4)).astype(np.float32)
WHERE = np.array([1, 1, 0, 1, 0, 1], bool)
STATIC = ("axis", "normalize_features")
kept = jax.jit(relation_distillation_loss, static_argnames=STATIC)
kept_grad = jax.jit(jax.grad(relation_distillation_loss, argnums=(0, 1, 2, 3)), static_argnames=STATIC)


def _softmax(z, axis):
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _kl_sums(h, protos, old_h, old_protos, *, axis, temperature, cosine):
    """KL of old from new, `[S, N]` along classes or `[S, C]` along samples."""
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
    of = lambda h, p: np.einsum("nd,scd->snc", unit(h) if cosine else h, unit(p)) / temperature
    new, old = (_softmax(of(*pair).astype(np.float64), axis) for pair in ((h, protos), (old_h, old_protos)))
    return (old * np.log(old / new)).sum(axis)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_both_axes_by_definition(temperature, cosine):
    options = {"temperature": temperature, "normalize_features": cosine}
    of = lambda axis: _kl_sums(H, P, OLD_H, OLD_P, axis=axis, temperature=temperature, cosine=cosine)
    np.testing.assert_allclose(kept(H, P, OLD_H, OLD_P, **options), of(2).sum() / 6, rtol=1e-5)
    np.testing.assert_allclose(kept(H, P, OLD_H, OLD_P, axis="sample", **options), of(1).sum(), rtol=1e-5)


@pytest.mark.parametrize("axis", ["class", "sample"])
def test_what_does_not_exist_is_dropped(axis):
    h, old_h = (np.where(WHERE[:, None], x, np.nan) for x in (H, OLD_H))
    # The second task has one class, the third is still to come.
    classes = np.array([[1, 1], [1, 0], [0, 0]], bool)
    p, old_p = (np.where(classes[..., None], x, np.nan) for x in (P, OLD_P))
    got = kept(h, p, old_h, old_p, axis=axis, classes=classes, where=WHERE)
    first = kept(H[WHERE], P[:1], OLD_H[WHERE], OLD_P[:1], axis=axis)
    second = kept(H[WHERE], P[1:2, :1], OLD_H[WHERE], OLD_P[1:2, :1], axis=axis)
    np.testing.assert_allclose(got, first + second, rtol=1e-5)
    grads = kept_grad(h, p, old_h, old_p, axis=axis, classes=classes, where=WHERE)
    assert np.isfinite(np.asarray(grads[0])[WHERE]).all()
    assert np.isfinite(np.asarray(grads[1])[classes]).all()
    assert kept(H, P, OLD_H, OLD_P, axis=axis, where=np.zeros(6)) == 0
    assert kept(H, P, OLD_H, OLD_P, axis=axis, classes=np.zeros((3, 1))) == 0  # the first task
    assert np.isnan(kept(h, P, OLD_H, OLD_P, axis=axis))


@pytest.mark.parametrize("axis", ["class", "sample"])
def test_the_old_network_gets_no_gradient_and_agreement_costs_nothing(axis):
    h, p, old_h, old_p = kept_grad(H, P, OLD_H, OLD_P, axis=axis)
    assert np.abs(old_h).max() == np.abs(old_p).max() == 0 < np.abs(h).max()
    assert np.abs(p).max() > 0
    np.testing.assert_allclose(kept(H, P, H, P, axis=axis), 0.0, atol=1e-6)
    np.testing.assert_allclose(kept(H, 3 * P, H, P, axis=axis), 0.0, atol=1e-6)  # lengths of prototypes
    for scale in (0.0, 1e4):
        assert np.isfinite(kept(scale * H, scale * P, -scale * OLD_H, OLD_P, axis=axis))
        assert all(np.isfinite(g).all() for g in kept_grad(scale * H, scale * P, OLD_H, OLD_P, axis=axis))


def test_prototypes_are_pulled_to_their_own_samples_alone():
    protos, labels = P[0], np.array([0, 0, 0, -1, 0, 0])
    pulled = lambda h, p: jnp.sum(prototype_pull_loss(h, p, labels))
    cosines = H @ protos[0] / np.linalg.norm(H, axis=1) / np.linalg.norm(protos[0])
    np.testing.assert_allclose(
        prototype_pull_loss(H, protos, labels), (1 - cosines) * (labels == 0), rtol=1e-5
    )
    of_features, of_prototypes = jax.grad(pulled, argnums=(0, 1))(H, protos)
    assert np.abs(of_features).max() == 0 == np.abs(of_prototypes[1]).max()  # class 1 never appears
    assert np.abs(of_prototypes[0]).max() > 0
    spoiled = np.where((labels == 0)[:, None], H, np.nan)
    np.testing.assert_array_equal(
        prototype_pull_loss(spoiled, protos, labels), prototype_pull_loss(H, protos, labels)
    )
    assert np.isfinite(jax.grad(pulled, argnums=1)(0 * H, 0 * protos)).all()


def test_the_contrast_of_the_authors_is_scaled_by_its_base():
    """Two views, temperature .1 over .07, self masked."""
    z = H / np.linalg.norm(H, axis=1, keepdims=True)
    labels = np.array([0, 1, 1, 0, 1, 1])
    s = z @ z.T / 0.1
    np.fill_diagonal(s, -np.inf)
    log_p = s - np.log(np.exp(s).sum(1, keepdims=True))
    expected = [
        -np.mean([log_p[i, j] for j in range(6) if j != i and labels[j] == labels[i]]) for i in range(6)
    ]
    got = supcon_loss(H, labels, temperature=0.1, base_temperature=0.07)
    np.testing.assert_allclose(got, np.array(expected) / 0.7, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: prototype_pull_loss(H, P, np.zeros(6, int)),
            r"features \(6, 4\) must be \[N, D\], prototypes",
        ),
        (lambda: prototype_pull_loss(H, P[0], np.full(6, 2)), r"labels must be in \[0, 2\)"),
        (lambda: relation_distillation_loss(H, P[0], OLD_H, OLD_P), r"prototypes \(2, 4\) \[S, C, D\]"),
        (lambda: relation_distillation_loss(H, P, OLD_H[:2], OLD_P), "must be of the samples of features"),
        (lambda: relation_distillation_loss(H, P, OLD_H, OLD_P, axis="batch"), "axis must be one of"),
        (
            lambda: relation_distillation_loss(H, P, OLD_H, OLD_P, classes=np.ones(4)),
            r"classes has shape \(4,\): it must have the 2 axes",
        ),
        (
            lambda: relation_distillation_loss(H, P, OLD_H, OLD_P, temperature=0.0),
            "temperature must be positive",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
