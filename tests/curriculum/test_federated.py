"""Federated averaging with curricula: the authors' average, rounds in the engine, and who takes part with what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import client_shards, federated, paced_count
from jaxlab.training import Plan, Turn, fit

GOLDEN_FILE = "federated_curriculum.npz"


def test_the_authors_average_rate_and_pool(golden):
    clients, shares = {"w": golden["in_fed_w"]}, golden["in_fed_freq"]
    server = {"w": np.zeros((6, 4), np.float32)}
    average = federated.fedavg(server, clients, 90 * shares)
    np.testing.assert_allclose(average["w"], golden["out_fedavg"], rtol=1e-5, atol=1e-7)
    rates = federated.decayed_rate(0.01)(np.arange(10) * 100)
    np.testing.assert_allclose(rates, golden["out_lr"], rtol=1e-6)
    pool = paced_count(np.array([0, 10, 20, 32, 40]), num_steps=40, size=4, start=0.4, full_at=0.8)
    np.testing.assert_array_equal(pool, golden["out_client_pool"])
    mixed = federated.server_momentum(golden["in_w_body.weight"], average["w"], momentum=0.1)
    np.testing.assert_allclose(mixed, golden["out_interp_0_1"], rtol=1e-5, atol=1e-7)


def test_the_authors_local_steps_and_subsets(golden):
    """40 examples, batches of 10, 2 epochs; the code looks at the pace after each pass over its subset."""
    assert federated.local_steps(np.array([40]), batch_size=10, epochs=2).tolist() == [10]
    step, sizes = 0, [int(paced_count(np.int32(0), num_steps=10, size=40, least=32))]
    while step < 10:
        step += -(-sizes[-1] // 10)
        sizes.append(int(paced_count(np.int32(step), num_steps=10, size=40, least=32)))
    assert sizes == golden["out_local_subset_sizes"].tolist()
    assert step == golden["out_local_steps"]  # two more than a look at every step would take


def test_the_average_of_equal_clients_is_the_client_and_weights_drop_clients():
    tree = {"a": np.array([1.5, -2.0], np.float32), "b": np.float32(3.0)}
    copies = jax.tree.map(lambda x: np.stack([x] * 4), tree)
    for found in (
        federated.fedavg(tree, copies, np.array([1, 5, 2, 0])),
        federated.fedavg(tree, copies, np.zeros(4)),
    ):
        jax.tree.map(np.testing.assert_allclose, found, tree)
    clients = np.array([[1.0], [np.nan], [5.0]], np.float32)
    server = np.array([9.0], np.float32)
    masked = federated.fedavg(server, clients, np.array([1, 7, 3]), where=np.array([1, 0, 1]))
    np.testing.assert_array_equal(masked, federated.fedavg(server, clients[[0, 2]], np.array([1, 3])))
    np.testing.assert_array_equal(federated.fedavg(server, clients, np.array([1, 0, 3])), masked)
    assert masked == 4.0
    assert federated.fedavg(server, clients, np.array([1, 7, 3]), where=np.zeros(3)) == 9.0
    assert np.isnan(federated.fedavg(server, clients, np.array([1, 7, 3])))


# Five clients, whose examples are numbers; the parameter is drawn to them. Client 4 has none.
SIZES = np.array([8, 6, 4, 8, 0])
WHERE = np.arange(8) < SIZES[:, None]
ROW = np.where(WHERE, np.cumsum(WHERE.reshape(-1)).reshape(5, 8) - 1, 0).astype(np.int32)
VALUE = (np.repeat([0.0, 1.0, 2.0, 3.0], SIZES[:4]) + 0.01 * np.arange(26)).astype(np.float32)
TRAIN = {"row": ROW, "where": WHERE, "value": VALUE}


def example_loss(params, batch):
    return 0.5 * (params - batch["value"]) ** 2


def made(**options):
    options = {"members": 2, "client_updates": 8, "batch_size": 4, **options}
    start = lambda key, context: jnp.float32(-1.0)
    return federated.federated_learner(start, example_loss, optax.sgd(0.1), clients=(5, 8), **options)


@functools.cache
def one_round(**options):
    made_of = made(**options)
    step, turn = jax.jit(made_of.learner.update), jax.jit(made_of.turn)
    return made_of.learner.init(jax.random.key(0), {}), step, turn


def test_nothing_happens_before_the_first_turn_and_then_everyone_in_the_pool_takes_part():
    state, update, turn = one_round()
    idle, metrics = update(state, TRAIN, jax.random.key(1), {})
    assert metrics == {"loss": 0.0, "members": 0.0}
    assert isinstance(idle, federated.FederatedState)
    assert idle.server == idle.average == -1.0
    met = []
    state = turn(idle, TRAIN, 1, jax.random.key(2), {})
    assert int(state.pool_size) == 4  # those with examples
    for round_number in range(2):
        place = int(state.place)
        met += state.pool[place : place + 2].tolist()
        losses = []
        for step in range(4):
            state, metrics = update(state, TRAIN, jax.random.key(10 * round_number + step), {})
            losses.append(float(metrics["members"]))
        assert losses[:2] == [2.0, 2.0]
        assert losses[3] == 0.0
        ids, before = np.asarray(state.pool[place : place + 2]), state.local
        state = turn(state, TRAIN, 1, jax.random.key(3), {})
        np.testing.assert_allclose(state.average, np.average(before, weights=SIZES[ids]), rtol=1e-5)
    assert sorted(met) == [0, 1, 2, 3]
    assert int(state.updates) == 4


def test_orders_follow_the_difficulty_under_the_servers_model():
    for order, client_order, first in (("easy_first", "easy_first", 0), ("hard_first", "hard_first", 3)):
        pace = {"start": 0.2, "full_at": 1.0}
        state, _, turn = one_round(
            members=1, order=order, client_order=client_order, client_pace=_Frozen(pace)
        )
        state = turn(state, TRAIN, 1, jax.random.key(0), {})
        assert int(state.pool_size) == 1
        assert int(state.pool[0]) == first
        values = VALUE[ROW[first]][np.asarray(state.orders[0])]
        assert (np.diff(values) > 0).all() == (order == "easy_first")


class _Frozen(dict):
    """Options that a cache can tell apart."""

    def __hash__(self):
        return hash(tuple(sorted(self.items())))


@pytest.mark.parametrize("score", ["local", "both", "expert"])
def test_scores_under_other_models(score):
    state, update, turn = one_round(members=4, score=score)
    context = {"expert": jnp.float32(3.0)} if score == "expert" else {}
    state = turn(state, TRAIN, 1, jax.random.key(0), context)
    slot = state.pool[:4].tolist().index(0)
    easy = VALUE[ROW[0]][np.asarray(state.orders[slot])]
    assert (np.diff(easy) > 0).all() == (score != "expert")
    if score == "expert":
        return
    state, _ = update(state, TRAIN, jax.random.key(1), {})
    state = state._replace(local=jnp.full(4, 5.0))  # now its own model finds large numbers easy
    state = turn(state, TRAIN, 2, jax.random.key(2), {})
    slot = state.pool[:4].tolist().index(0)
    order = VALUE[ROW[0]][np.asarray(state.orders[slot])]
    assert (np.diff(order) < 0).all()
    assert state.seen.tolist() == [True, True, True, True, False]
    assert int(state.updates) == 4


def test_the_pace_bounds_what_is_drawn():
    """With a share of 1/8 of the easiest, each client sees its first example alone."""
    options = {"start": 0.125, "full_at": np.inf, "least": 1}
    state, update, turn = one_round(members=4, pace=_Frozen(options))
    state = turn(state, TRAIN, 1, jax.random.key(0), {})
    new, _ = update(state, TRAIN, jax.random.key(1), {})
    nearest = np.array([VALUE[ROW[client][0]] for client in np.asarray(state.pool[:4])])
    np.testing.assert_allclose(new.local, -1 + 0.1 * (nearest + 1), rtol=1e-5)


def test_it_runs_in_the_engine():
    """Rounds of 5 steps after 5 without: the server goes to where the clients' average lies."""
    made_of = made(members=2, epochs=1)
    done = fit(
        made_of.learner,
        data={"train": jax.tree.map(jnp.asarray, TRAIN), "val": jnp.asarray(VALUE)},
        stream=lambda train, key, step: train,
        turn=Turn(made_of.turn, every=5),
        steps=60,
        plan=Plan(seeds=(0, 1), log_every=5),
        evaluate=lambda state, split, context: {"mse": jnp.mean((state.average - split) ** 2)},
    )
    assert list(done.rows[0]["train/members"]) == [0.0, 0.0]
    errors = done.history["val/mse"]
    assert (errors[-1] < 0.5 * errors[0]).all()
    assert done.state.updates.tolist() == [22, 22]


def test_partitions():
    labels = np.repeat(np.arange(4), 100)
    spread = {}
    for beta in (0.05, 100.0):
        rows, where = client_shards.dirichlet_partition(labels, num_clients=5, beta=beta, seed=1, least=5)
        assert sorted(rows[where].tolist()) == list(range(400))
        assert where.sum(1).min() >= 5
        shares = np.array([np.bincount(labels[r[w]], minlength=4) / w.sum() for r, w in zip(rows, where)])
        spread[beta] = shares.max(1).mean()
    assert spread[0.05] > 0.6 > spread[100.0]
    again = client_shards.dirichlet_partition(labels, num_clients=5, beta=0.05, seed=1, least=5)
    other = client_shards.dirichlet_partition(labels, num_clients=5, beta=0.05, seed=2, least=5)
    first = client_shards.dirichlet_partition(labels, num_clients=5, beta=0.05, seed=1, least=5)
    np.testing.assert_array_equal(again[0], first[0])
    assert not np.array_equal(again[0], other[0])
    even, where = client_shards.dirichlet_partition(
        labels, num_clients=5, beta=0.05, seed=1, least=5, most=120
    )
    assert 5 <= where.sum(1).min() <= where.sum(1).max() <= 120
    assert sorted(even[where].tolist()) == list(range(400))
    difficulty = np.random.default_rng(0).random(23)
    rows, where = client_shards.difficulty_partition(difficulty, num_clients=3)
    means = [difficulty[r[w]].mean() for r, w in zip(rows, where)]
    assert means == sorted(means)
    assert where.sum(1).tolist() == [8, 8, 7]
    hard, _ = client_shards.difficulty_partition(difficulty, num_clients=3, order="hard_first")
    assert difficulty[hard[0]].min() > difficulty[hard[1]].max()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: made(order="odd"), "order must be one of"),
        (lambda: made(score="odd"), "score must be one of"),
        (lambda: made(members=6), r"members 6 in \[1, K\]"),
        (lambda: made(momentum=2.0), "momentum must be in"),
        (lambda: federated.fedavg(np.zeros(2), np.zeros((3, 1)), np.ones(3)), "clients"),
        (lambda: federated.fedavg(np.zeros(2), {"a": np.zeros((3, 2))}, np.ones(3)), "same pytree"),
        (lambda: federated.local_steps(np.array([3]), batch_size=0), "batch_size must be at least 1"),
        (lambda: federated.decayed_rate(0.1, speed=-1), "speed must be at least 0"),
        (
            lambda: client_shards.dirichlet_partition(np.zeros(5), num_clients=2, beta=1, seed=0),
            "2 clients with 10",
        ),
        (
            lambda: client_shards.dirichlet_partition(np.zeros(20), num_clients=2, beta=0, seed=0),
            "beta must be pos",
        ),
        (
            lambda: client_shards.dirichlet_partition(np.zeros(60), num_clients=2, beta=1, seed=0, most=20),
            "2 clients with at most 20 examples each cannot have all 60",
        ),
        (lambda: client_shards.difficulty_partition(np.zeros(2), num_clients=3), "3 clients with 1"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()
