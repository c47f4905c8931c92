"""What protects weights: Fisher information by definition, anchors, projections against a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxlab import continual as c
from jaxlab.continual._gradient_projection import nonnegative_quadratic
from jaxlab.core import cross_entropy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3)).astype(np.float32)
Y = np.array([0, 1, 1, 0, 1, 0, 1])
W = RNG.normal(size=(3, 2)).astype(np.float32)
WHERE = np.array([1, 0, 1, 1, 1, 0, 1], bool)
apply = lambda w, x: jnp.tanh(x @ w)
fisher = jax.jit(lambda w, x, y, kind, **k: c.diag_fisher(apply, w, x, y, kind=kind, **k),
                 static_argnames=("kind", "batch_size"))  # fmt: skip
mas = jax.jit(lambda w, x, **k: c.mas_importance(apply, w, x, **k), static_argnames="batch_size")
gem = jax.jit(c.gem_project, static_argnames=("margin", "damping"))


@jax.jit
def _each():
    """Per example: gradients of all log-probabilities, `[N, C, ...]`, and probabilities."""
    log_probs = lambda w, x: jax.nn.log_softmax(apply(w, x))
    return jax.vmap(jax.jacobian(log_probs), (None, 0))(W, X), jnp.exp(log_probs(W, X))


def test_four_quantities_of_one_name():
    grads, probs = (np.asarray(x, np.float64) for x in _each())
    rows = np.arange(7)
    own, p = grads[rows, Y], probs[rows, Y][:, None, None]
    expected = {
        "empirical": (own**2).mean(0),
        "weighted": (p * own**2).mean(0),
        "exact": (probs[..., None, None] * grads**2).sum(1).mean(0),
    }
    for kind, value in expected.items():
        np.testing.assert_allclose(fisher(W, X, Y, kind), value, rtol=1e-5)
        np.testing.assert_allclose(fisher(W, X, Y, kind, batch_size=2), value, rtol=1e-5)  # only memory
    parts = [own[:3], own[3:6], own[6:]]
    by_batch = np.mean([part.mean(0) ** 2 for part in parts], axis=0)
    np.testing.assert_allclose(fisher(W, X, Y, "batch_mean", batch_size=3), by_batch, rtol=1e-5)


@pytest.mark.parametrize("kind", ["empirical", "weighted", "batch_mean", "exact"])
def test_examples_that_do_not_count_are_dropped(kind):
    spoiled = np.where(WHERE[:, None], X, np.nan)
    expected = fisher(W, X[WHERE], Y[WHERE], kind)
    np.testing.assert_allclose(fisher(W, spoiled, Y, kind, where=WHERE), expected, rtol=1e-5)
    np.testing.assert_allclose(fisher(W, spoiled, np.where(WHERE, Y, -1), kind), expected, rtol=1e-5)
    assert np.abs(fisher(W, X, Y, kind, where=np.zeros(7))).max() == 0
    assert np.isnan(fisher(W, spoiled, Y, kind)).any()
    assert np.isfinite(fisher(1e4 * W, 1e4 * X, Y, kind)).all()


def test_sensitivity_of_the_outputs():
    each = jax.vmap(jax.grad(lambda w, x: jnp.sum(apply(w, x) ** 2)), (None, 0))(W, X)
    np.testing.assert_allclose(mas(W, X, batch_size=3), np.abs(each).mean(0), rtol=1e-5)
    spoiled = np.where(WHERE[:, None], X, np.nan)
    np.testing.assert_allclose(mas(W, spoiled, where=WHERE), mas(W, X[WHERE]), rtol=1e-5)


def test_separate_anchors_have_the_gradient_of_all_their_penalties():
    params = [RNG.normal(size=4).astype(np.float32) for _ in range(4)]
    fishers = [np.array([1, 2, 0, 3]), np.array([4, 0, 0, 1]), np.array([1, 1, 0, 5])]
    anchor = c.anchor_init(params[0])
    for weights, information in zip(params, fishers):
        anchor = c.ewc_anchor(anchor, weights, information, separate=True)
    here = params[3]
    expected = sum(f * (here - w) for w, f in zip(params, fishers))
    got = jax.grad(lambda w: c.quadratic_penalty(w, anchor))(here)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    # Online there is one anchor, at the last weights, and earlier tasks fade.
    online = c.WeightAnchor(params[0], fishers[0].astype(np.float32))
    online = c.ewc_anchor(online, params[1], fishers[1], decay=0.5)
    np.testing.assert_allclose(online.importance, [4.5, 1, 0, 2.5])
    np.testing.assert_allclose(online.params, params[1])


def test_a_penalty_by_hand_and_no_gradient_into_the_anchor():
    anchor = c.WeightAnchor(
        {"w": np.float32([1, 2]), "b": np.float32(0)}, {"w": np.float32([3, 0]), "b": np.float32(2)}
    )
    here = {"w": np.float32([2, 9]), "b": np.float32(-1)}
    np.testing.assert_allclose(c.quadratic_penalty(here, anchor, strength=4.0), 2 * (3 + 2))
    pull = jax.grad(lambda a: c.quadratic_penalty(here, a))(anchor)
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(pull))
    assert c.quadratic_penalty(here, c.anchor_init(here)) == 0
    assert np.isfinite(
        c.quadratic_penalty(np.float32([1e4]), c.WeightAnchor(np.float32([-1e4]), np.float32([1e4])))
    )


def test_the_path_adds_up_to_the_fall_of_the_loss():
    loss = jax.jit(lambda w: jnp.mean(cross_entropy(apply(w, X), Y)))
    step = jax.jit(lambda w: (jax.grad(loss)(w), w - 0.02 * jax.grad(loss)(w)))
    w, path = W, jnp.zeros_like(W)
    for _ in range(50):
        g, after = step(w)
        path, w = c.si_path(path, g, w, after), after
    np.testing.assert_allclose(jnp.sum(path), loss(W) - loss(w), rtol=0.02)
    anchor = c.si_anchor(c.WeightAnchor(W, jnp.zeros_like(W)), w, path, damping=0.5)
    np.testing.assert_allclose(anchor.importance, path / ((w - W) ** 2 + 0.5), rtol=1e-6)
    uphill = c.si_anchor(c.anchor_init(W), W, -jnp.ones_like(W), damping=0.5, clip=True)
    assert np.abs(uphill.importance).max() == 0


def _by_solver(g, memory, margin, damping):
    """The dual by bounded least squares of its Cholesky factor."""
    gram = memory @ memory.T + damping * np.eye(len(memory))
    root = np.linalg.cholesky(gram).T
    target = -np.linalg.solve(root.T, memory @ g)
    v = scipy.optimize.lsq_linear(root, target, bounds=(margin, np.inf), tol=1e-14).x
    return g + memory.T @ v if (memory @ g < 0).any() else g


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("tasks", [1, 2, 6])
def test_projections_are_those_of_a_solver(tasks, margin):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        g, memory = rng.normal(size=8), rng.normal(size=(tasks, 8))
        got = gem(np.float32(g), np.float32(memory), margin=margin, damping=1e-3)
        np.testing.assert_allclose(got, _by_solver(g, memory, margin, 1e-3), rtol=1e-4, atol=1e-4)
        if margin == 0:
            assert (memory @ np.asarray(got) > -2e-3 * (1 + np.abs(memory @ g).max())).all()


def test_the_solver_ends_where_blocks_would_cycle():
    # Nearly singular and strongly coupled: whole blocks flip back and forth.
    for seed in range(40):
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(12, 3)) @ rng.normal(size=(3, 12)) + 0.1 * rng.normal(size=(12, 12))
        matrix, linear = np.float32(root @ root.T + 0.01 * np.eye(12)), rng.normal(size=12).astype(np.float32)
        u = np.asarray(jax.jit(nonnegative_quadratic)(matrix, linear), np.float64)
        slope = matrix @ u + linear
        assert (u >= 0).all()
        assert slope.min() > -2e-3
        assert np.abs(u * slope).max() < 2e-2 * (1 + u.max())


def test_one_remembered_gradient_is_the_averaged_projection():
    tree = {"w": np.float32([[1.0, -2.0]]), "b": np.float32([0.5])}
    other = {"w": np.float32([[-1.0, 3.0]]), "b": np.float32([2.0])}
    agem = c.agem_project(tree, other)
    one = c.gem_project(tree, jax.tree.map(lambda x: x[None], other), margin=0.0, damping=1e-7)
    for a, b in zip(jax.tree.leaves(agem), jax.tree.leaves(one)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    dot = sum(np.sum(a * b) for a, b in zip(jax.tree.leaves(agem), jax.tree.leaves(other)))
    np.testing.assert_allclose(dot, 0.0, atol=1e-5)
    agreeing = jax.tree.map(lambda x: -2 * x, other)
    kept = c.agem_project(tree, agreeing)
    np.testing.assert_array_equal(kept["w"], tree["w"])


def test_degenerate_memories_change_nothing_or_little():
    g = np.float32([1.0, -2.0, 3.0])
    for reference in (np.zeros(3, np.float32), np.full(3, 1e-30, np.float32)):
        got = c.agem_project(g, -reference)
        assert np.isfinite(got).all()
    np.testing.assert_array_equal(c.agem_project(g, np.zeros(3, np.float32)), g)
    np.testing.assert_allclose(c.agem_project(g, -1e15 * g), 0.0, atol=1e-5)
    memory = RNG.normal(size=(3, 3)).astype(np.float32)
    where = np.array([1, 0, 1], bool)
    spoiled = np.where(where[:, None], memory, np.nan)
    np.testing.assert_allclose(gem(g, spoiled, where=where), gem(g, memory[where]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gem(g, memory, where=np.zeros(3)), g)
    np.testing.assert_array_equal(gem(g, memory[:0]), g)  # before the second task there is none
    assert np.isnan(gem(g, np.where(where[:, None], memory, np.nan))).all()
    assert np.isfinite(gem(1e4 * g, -1e4 * np.tile(g, (2, 1)))).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: c.diag_fisher(apply, W, X, Y[:2]), r"labels \(2,\) must be \[N\] for 7 inputs"),
        (lambda: c.diag_fisher(apply, W, X, Y + 1), r"labels must be in \[0, 2\)"),
        (lambda: c.diag_fisher(apply, W, X, Y, kind="true"), "kind must be one of"),
        (lambda: c.diag_fisher(apply, W, X, Y, batch_size=0), "batch_size must be at least 1"),
        (lambda: c.diag_fisher(apply, W, {"a": X, "b": X[:2]}, Y), "must share a leading axis"),
        (
            lambda: c.quadratic_penalty({"w": W}, c.anchor_init({"v": W})),
            "anchor.params must have the structure",
        ),
        (
            lambda: c.quadratic_penalty(W, c.anchor_init(W[:2])),
            r"anchor.params must have the shapes of params",
        ),
        (lambda: c.ewc_anchor(c.anchor_init(W), W, W, decay=2.0), r"decay must be in \[0, 1\]"),
        (lambda: c.si_anchor(c.anchor_init(W), W, W, damping=0.0), "damping must be positive"),
        (lambda: c.agem_project(W, W[:2]), "reference must have the shapes"),
        (lambda: c.gem_project(W, W), "a row of memory_grads must have the shapes"),
        (lambda: c.gem_project(W, W[None], margin=-1.0), "margin must be at least 0"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
