"""The builder of learners, stopping at a target, and order without storage."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.core import Learner, TrainState, gradient_learner, mixed_rows, pass_rows, permute_index, until

RATE = 0.25


def test_two_steps_by_hand():
    # p = 0, memory 1, goal 4: value (p - goal * memory)^2 = 16, slope -8, p = 2; then (2 - 4 * 2)^2 = 36, slope -12,
    # p = 5. After each step the memory is the number of steps taken plus one.
    def loss(params, memory, batch, step, key, context):
        return (params - context["goal"] * memory) ** 2, (
            memory,
            {"step": jnp.float32(step), "memory": memory},
        )

    learner = gradient_learner(
        lambda key, context: (context["start"], jnp.float32(1)),
        loss,
        optax.sgd(RATE),
        after=lambda params, memory, step: 1 + step.astype(jnp.float32),
    )
    context = {"goal": jnp.float32(4), "start": jnp.float32(0)}
    state, found = learner.init(jax.random.key(0), context), []
    for _ in range(2):
        state, metrics = jax.jit(learner.update)(state, None, jax.random.key(0), context)
        found.append({name: float(value) for name, value in metrics.items()})
    assert isinstance(state, TrainState)
    assert found == [{"loss": 16, "step": 0, "memory": 1}, {"loss": 36, "step": 1, "memory": 2}]
    assert (float(state.params), float(state.memory), int(state.step)) == (5, 3, 2)


def test_neither_memory_nor_context_gets_gradient():
    """A loss whose memory and context depend on nothing: were they differentiated, tracing would show it."""
    seen = []

    def loss(params, memory, batch, step, key, context):
        value = (params * memory * context - 1) ** 2
        seen.append((memory, context))
        return value, (memory * params, {})

    learner = gradient_learner(lambda key, context: (jnp.float32(2), jnp.float32(1)), loss, optax.sgd(0.1))

    def end(memory, context):
        state = learner.init(jax.random.key(0), context)._replace(memory=memory)
        return learner.update(state, None, jax.random.key(0), context)[0].params

    np.testing.assert_array_equal(jax.grad(end, argnums=(0, 1))(jnp.float32(1), jnp.float32(1)), (0.0, 0.0))


def counting(jit=True):
    return Learner(
        lambda key, context: jnp.float32(0), lambda s, b, k, c: (s + 1, {"loss": 10 - s, "other": s}), jit
    )


@pytest.mark.parametrize("jit", [True, False])
def test_until_keeps_the_state_that_met_the_target(jit):
    # Losses 10, 9, 8, ...; average with decay 1/2 without bias: 10, 28/3, 60/7 < 9 at the third step.
    learner = until(counting(jit), lambda running: running["loss"] < 9, ("loss",), decay=0.5)
    state, reached = learner.init(jax.random.key(0), {}), []
    update = jax.jit(learner.update) if jit else learner.update
    for _ in range(6):
        state, metrics = update(state, None, jax.random.key(0), {})
        reached.append((float(metrics["reached"]), float(metrics["steps_to_target"]), float(state.inner)))
    assert reached == [(0, 1, 1), (0, 2, 2), (1, 3, 3), (1, 3, 3), (1, 3, 3), (1, 3, 3)]
    assert learner.jit == jit


def test_until_by_seed():
    """Mapped over seeds, each stops at its own time."""
    learner = until(counting(), lambda running: running["loss"] <= 0, ("loss",), decay=0.0)
    noisy = Learner(lambda key, context: context, learner.update)
    starts = jax.vmap(lambda x: learner.init(jax.random.key(0), {})._replace(inner=x))(
        jnp.array([9.0, 6.0, 0.0])
    )
    step = lambda state, _: jax.vmap(lambda s: noisy.update(s, None, jax.random.key(0), {}))(state)
    state, _ = jax.lax.scan(step, starts, None, length=7)
    np.testing.assert_array_equal(state.steps, [2, 5, 7])
    np.testing.assert_array_equal(state.reached, [True, True, False])


def test_until_refuses_a_decay_that_is_none():
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        until(counting(), lambda running: True, ("loss",), decay=1.0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 70_001])
def test_a_permutation_sends_every_index_somewhere_else(size):
    found = np.asarray(jax.jit(lambda key: permute_index(key, jnp.arange(size), size))(jax.random.key(5)))
    np.testing.assert_array_equal(np.sort(found), np.arange(size))
    if size > 10:
        assert abs(np.corrcoef(found, np.arange(size))[0, 1]) < 4 / np.sqrt(size)


@pytest.mark.parametrize("below", [1, 2, 5, 63, 64])
def test_a_permutation_below_a_traced_number_is_the_same_walked_further(below):
    key = jax.random.key(5)
    run = jax.jit(lambda key, index, below: permute_index(key, index, 64, below=below))
    found = run(key, jnp.arange(below), below)
    np.testing.assert_array_equal(np.sort(found), np.arange(below))
    whole = np.asarray(permute_index(key, jnp.arange(64), 64))
    by_hand = []
    for index in range(below):
        while (index := whole[index]) >= below:
            pass
        by_hand.append(index)
    np.testing.assert_array_equal(found, by_hand)


@pytest.mark.parametrize("below", [0, 65])
def test_a_permutation_below_a_number_outside_its_range_is_refused(below):
    with pytest.raises(ValueError, match=f"below is {below}: it must be between 1 and the size, 64"):
        permute_index(jax.random.key(5), jnp.arange(4), 64, below=below)


def test_permutations_of_four_are_equally_likely():
    keys = jax.random.split(jax.random.key(0), 24_000)
    found = np.asarray(jax.jit(jax.vmap(lambda key: permute_index(key, jnp.arange(4), 4)))(keys))
    counts = np.unique(found @ [64, 16, 4, 1], return_counts=True)[1]
    assert counts.shape == (24,)
    assert (
        (counts - 1000) ** 2 / 1000
    ).sum() < 49.7  # the 0.001 quantile of chi-square with 23 degrees of freedom


def test_passes_have_orders_of_their_own_and_batches_may_span_two():
    key = jax.random.key(3)
    rows = np.concatenate([np.asarray(pass_rows(key, step, batch_size=4, size=10)) for step in range(10)])
    passes = rows.reshape(4, 10)
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.tile(np.arange(10), (4, 1)))
    assert len({tuple(one) for one in passes}) == 4
    other = np.asarray(pass_rows(jax.random.key(4), 0, batch_size=10, size=10))
    assert (other != passes[0]).any()


@pytest.mark.parametrize(("batch_size", "size"), [(4, 10), (25, 10), (5, 1), (8, 300)])
def test_each_row_is_that_of_its_own_pass(batch_size, size):
    key, step = jax.random.key(3), 7
    rows = pass_rows(key, step, batch_size=batch_size, size=size)
    places = step * batch_size + np.arange(batch_size)
    expected = [
        int(permute_index(jax.random.fold_in(key, place // size), place % size, size)) for place in places
    ]
    assert rows.tolist() == expected


def test_a_mixture_has_its_weights_and_passes_of_its_own():
    sizes, weights = (7, 300, 40), (1, 6.5, 2.5)
    many = jax.vmap(
        lambda step: mixed_rows(jax.random.key(3), step, batch_size=20, sizes=sizes, weights=weights)
    )
    rows = np.asarray(many(jnp.arange(100)))
    member = np.searchsorted(np.cumsum(sizes), rows, side="right")
    assert [int((member == number).sum()) for number in range(3)] == [200, 1300, 500]
    assert np.ptp([(batch == 1).sum() for batch in member]) <= 1
    for number, begin in enumerate((0, 7, 307)):
        own = rows[member == number] - begin
        whole = own[: len(own) // sizes[number] * sizes[number]].reshape(-1, sizes[number])
        np.testing.assert_array_equal(
            np.sort(whole, axis=1), np.tile(np.arange(sizes[number]), (len(whole), 1))
        )
        assert len({tuple(one) for one in whole}) == len(whole)
    alone = mixed_rows(jax.random.key(3), 5, batch_size=4, sizes=(9,), weights=(1,))
    np.testing.assert_array_equal(
        alone, pass_rows(jax.random.fold_in(jax.random.key(3), 0), 5, batch_size=4, size=9)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"sizes": (1,)}, "one size of at least 1 for each weight"),
        ({"sizes": (1, 0)}, "one size of at least 1 for each weight"),
        ({"weights": (1, 0)}, "each must be positive"),
        ({"weights": (1, float("nan"))}, "each must be positive"),
    ],
)
def test_mixtures_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=message):
        mixed_rows(jax.random.key(0), 0, **{"batch_size": 4, "sizes": (2, 3), "weights": (1, 1), **given})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"batch_size": 0, "size": 3}, "batch_size is 0"), ({"batch_size": 1, "size": 0}, "size is 0")],
)
def test_sizes_that_cannot_be(sizes, message):
    with pytest.raises(ValueError, match=message):
        pass_rows(jax.random.key(0), 0, **sizes)
    with pytest.raises(ValueError, match="size is 0: it must be between 1"):
        permute_index(jax.random.key(0), 0, 0)
