"""Progressive columns: by hand, and nothing that an earlier task learned ever changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.continual.progressive import lateral_adapter, progressive_apply, progressive_init
from jaxlab.core import cross_entropy

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 3)).astype(np.float32), RNG.integers(0, 2, 16)
make = jax.jit(
    lambda key: progressive_init(key, dim=3, features=(5, 4), num_classes=2, num_tasks=3, adapter=6)
)
PARAMS = jax.tree.map(np.asarray, make(jax.random.key(0)))
apply = jax.jit(progressive_apply)
graded = jax.jit(jax.grad(lambda p, x, y, task: jnp.mean(cross_entropy(progressive_apply(p, x, task), y))))


def _column(k):
    """Hidden layers and logits of column k, by hand."""
    relu = lambda x: np.maximum(x, 0)
    dense = lambda p, j, x: x @ p["kernel"][j] + p["bias"][j]
    hidden = [relu(dense(PARAMS["layers"][0], j, X)) for j in range(k + 1)]
    for depth, (layer, adapter) in enumerate(zip(PARAMS["layers"][1:], PARAMS["adapters"])):
        made = []
        for j in range(k + 1):
            out = dense(layer, j, hidden[j])
            if j:
                read = [adapter["scale"][j][i] * hidden[i] if i < j else 0 * hidden[j] for i in range(3)]
                out = out + dense(adapter["up"], j, relu(dense(adapter["down"], j, np.concatenate(read, 1))))
            made.append(out if depth == 1 else relu(out))
        hidden = made
    return hidden[k]


@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_column_reads_those_before_it(task):
    np.testing.assert_allclose(apply(PARAMS, X, task), _column(task), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(apply(PARAMS, X, 9), apply(PARAMS, X, 2))


def test_one_column_learns_and_the_others_forget_nothing():
    optimizer = optax.sgd(0.5)

    @jax.jit
    def learn(params, opt_state, task):
        def step(carry, _):
            params, opt_state = carry
            updates, opt_state = optimizer.update(graded(params, X, Y, task), opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, opt_state), None, length=100)[0]

    loss = lambda params, task: float(jnp.mean(cross_entropy(apply(params, X, task), Y)))
    params, opt_state = PARAMS, optimizer.init(PARAMS)
    params, opt_state = learn(params, opt_state, 0)
    first = apply(params, X, 0)
    assert loss(params, 0) < 0.7 * loss(PARAMS, 0)
    later, _ = learn(params, opt_state, 1)
    np.testing.assert_array_equal(apply(later, X, 0), first)
    assert loss(later, 1) < 0.7 * loss(params, 1)
    grads = graded(PARAMS, X, Y, 1)
    for leaf in jax.tree.leaves(grads):
        assert np.abs(leaf[0]).max() == 0 == np.abs(leaf[2]).max()
    assert np.abs(grads["adapters"][0]["scale"][1]).max() > 0


def test_the_first_column_has_nothing_to_read():
    dense = lambda i, o: {"kernel": np.ones((i, o), np.float32), "bias": np.ones(o, np.float32)}
    adapter = {"scale": np.ones(2, np.float32), "down": dense(6, 4), "up": dense(4, 5)}
    previous = RNG.normal(size=(2, 7, 3)).astype(np.float32)
    assert np.abs(lateral_adapter(adapter, previous, where=np.zeros(2))).max() == 0
    spoiled = np.stack([previous[0], np.full((7, 3), np.nan)])
    alone = lateral_adapter(adapter, spoiled, where=np.array([1, 0]))
    np.testing.assert_allclose(
        alone, lateral_adapter(adapter, np.stack([previous[0], 0 * previous[1]])), rtol=1e-5
    )
    assert np.isnan(lateral_adapter(adapter, spoiled)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: progressive_apply(PARAMS, X[:, :2], 0), r"x \(16, 2\) must have width 3"),
        (lambda: lateral_adapter({"scale": np.ones(3)}, np.ones((2, 1, 1))), r"previous \(2, 1, 1\) must be"),
        (
            lambda: progressive_init(
                jax.random.key(0), dim=3, features=(), num_classes=2, num_tasks=1, adapter=1
            ),
            "features must name at least one hidden layer",
        ),
        (
            lambda: progressive_init(
                jax.random.key(0), dim=3, features=(2,), num_classes=2, num_tasks=0, adapter=1
            ),
            "num_tasks must be at least 1",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
