"""What every function of the room must survive: jit, vmap, narrow and wide types, finite differences."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxlab.core as core
from jaxlab import metrics

X, Y = (np.asarray(jax.random.normal(jax.random.key(i), (3, 4, 5)), np.float64) for i in (0, 1))
MASK = np.asarray(jax.random.bernoulli(jax.random.key(2), 0.6, (3, 4, 5))).copy()
MASK[..., :2] = True
LABELS = np.arange(12).reshape(3, 4) % 5
ROWS = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]])


def _bank(mean, mass):
    dtype = jnp.promote_types(mean.dtype, jnp.float32)
    return core.PrototypeBank(jnp.asarray(mean, dtype), jnp.asarray(mass, dtype))


# Each takes two float arrays [4, 5], a mask [4, 5], labels [4] and a row mask [4].
CASES = {
    "masked_sum": lambda x, y, m, c, r: core.masked_sum(x, where=m, axis=0),
    "masked_mean": lambda x, y, m, c, r: core.masked_mean(x, where=m, axis=0),
    "masked_var": lambda x, y, m, c, r: core.masked_var(x, where=m, axis=1, ddof=1),
    "masked_std": lambda x, y, m, c, r: core.masked_std(x, where=m, axis=1),
    "masked_max": lambda x, y, m, c, r: core.masked_max(x, where=m, axis=1),
    "masked_softmax": lambda x, y, m, c, r: core.masked_softmax(x, where=m),
    "masked_log_softmax": lambda x, y, m, c, r: core.masked_log_softmax(x, where=m) * m,
    "masked_logsumexp": lambda x, y, m, c, r: core.masked_logsumexp(x, where=m, axis=1),
    "forward_kl": lambda x, y, m, c, r: core.forward_kl(x, y, temperature=2.0, classes=m),
    "reverse_kl": lambda x, y, m, c, r: core.reverse_kl(x, y, classes=m),
    "jsd": lambda x, y, m, c, r: core.jsd(x, y, beta=0.3, classes=m),
    "total_variation": lambda x, y, m, c, r: core.total_variation(x, y, classes=m),
    "entropy": lambda x, y, m, c, r: core.entropy(x, classes=m),
    "cross_entropy": lambda x, y, m, c, r: core.cross_entropy(x, c),
    "normalize": lambda x, y, m, c, r: core.normalize(x),
    "class_means": lambda x, y, m, c, r: core.class_means(
        x,
        c,
        num_classes=6,
        weights=jnp.square(y[:, 0].astype(jnp.promote_types(y.dtype, jnp.float32))),
        where=r,
    ),
    "prototype_logits": lambda x, y, m, c, r: core.prototype_logits(x, y, classes=r)[:, :3] * r[:3],
    "exchange": lambda x, y, m, c, r: core.exchange(x, y, x.T @ y, y.T @ x),
    "pearson": lambda x, y, m, c, r: core.pearson(x, y, where=m),
    "cosine_similarity": lambda x, y, m, c, r: core.cosine_similarity(x, y),
    "expected_calibration_error": lambda x, y, m, c, r: metrics.expected_calibration_error(x, c, where=r),
    "accuracy": lambda x, y, m, c, r: metrics.accuracy(x, c, where=r),
    "top_k_accuracy": lambda x, y, m, c, r: metrics.top_k_accuracy(x, c, k=2, where=r),
    "bank_update": lambda x, y, m, c, r: core.bank_update(_bank(x, r), y, r, decay=0.7).mean,
    "queue_push": lambda x, y, m, c, r: core.queue_items(
        core.queue_push(core.queue_init(6, 5), x, labels=c, where=r)
    ),
}
cases = pytest.mark.parametrize("f", CASES.values(), ids=CASES)


def _example(i, dtype):
    return X[i].astype(dtype), Y[i].astype(dtype), MASK[i], LABELS[i], ROWS[i]


def _close(a, b, **tolerance):
    chex.assert_trees_all_close(a, b, **tolerance)


@cases
def test_jit_is_eager_and_vmap_is_a_loop(f):
    jitted = jax.jit(f)
    loop = [jitted(*_example(i, np.float32)) for i in range(3)]
    _close(f(*_example(0, np.float32)), loop[0], rtol=2e-5, atol=1e-6)
    whole = (X.astype(np.float32), Y.astype(np.float32), MASK, LABELS, ROWS)
    mapped = jax.jit(jax.vmap(f))(*whole)
    _close(mapped, jax.tree.map(lambda *rows: np.stack(rows), *loop), rtol=2e-5, atol=1e-6)


@cases
def test_bfloat16_gives_finite_float32(f):
    narrow = _example(0, jnp.bfloat16)
    wide = [x.astype(np.float32) if x.dtype == jnp.bfloat16 else x for x in narrow]
    for got, expected in zip(*(jax.tree.leaves(out) for out in jax.jit(lambda: (f(*narrow), f(*wide)))())):
        assert got.dtype in (jnp.float32, jnp.bool_)
        assert np.all(np.isfinite(got))
        np.testing.assert_allclose(got, expected, rtol=2e-2 if f is CASES["exchange"] else 1e-5, atol=1e-6)


WITHOUT_GRADIENT = {"accuracy", "top_k_accuracy", "bank_update", "queue_push"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_GRADIENT])
def test_gradient_is_the_finite_difference_in_float64(name):
    with jax.enable_x64(True):
        x, y, *rest = _example(1, np.float64)
        f = jax.jit(lambda x, y: CASES[name](x, y, *rest))
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(f(x, y)))
        check_grads(f, (x, y), order=1, modes=["rev"], eps=1e-6, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(WITHOUT_GRADIENT))
def test_the_others_have_gradient_zero(name):
    x, y, *rest = _example(1, np.float32)
    f = lambda x, y: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(CASES[name](x, y, *rest)))
    for gradient in jax.jit(jax.grad(f, argnums=(0, 1)))(x, y):
        np.testing.assert_array_equal(gradient, np.zeros_like(x))


def test_every_public_function_is_documented_in_one_order():
    for name in core.__all__:
        if name in ("MASKED_LOGIT", "Learner", "Computed", "TrainState", "UntilState"):
            continue
        doc = getattr(core, name).__doc__
        assert ">>>" in doc, name
        if name[0].islower():
            parts = [doc.find(p) for p in ("Args:", "Returns:", "Raises:", "Reference:", ">>>")]
            present = [p for p in parts if p >= 0]
            assert parts[0] > 0 < parts[1], name
            assert present == sorted(present), name
