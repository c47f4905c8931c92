"""Classes in every order: which there are, what each learner sees, and what equal learners have in common."""

import functools
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.continual import order_classes
from experiments.continual._class_orders import (
    Orders,
    agreement,
    all_orders,
    class_batches,
    end_of_task,
    own_batch,
    promises,
    qualities,
)
from experiments.continual._strategies import STRATEGIES
from jaxlab import data, nets
from jaxlab.continual import class_order
from tests.experiments.arms import make_all, programs
from tests.experiments.command import changed

PATH = "configs/continual/curriculum_designer.py"
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "curriculum_designer.npz"


def _images(classes=3, each=8):
    images = data.digits()
    rows = np.concatenate([np.flatnonzero(np.asarray(images.label) == one)[:each] for one in range(classes)])
    return data.take(images, rows)


TASK = Orders(all_orders(3), nets.Mlp(features=(6,), num_classes=3), jnp.zeros((1, 8, 8, 1)), 2, 2, 3)


@functools.cache
def _train():
    return {"stream": data.split_classes(_images(), 3)}


@functools.cache
def _programs(method):
    """Start, update at a strength of EWC, and turn."""
    strategy = STRATEGIES[method]
    context = {"backbone": TASK.net.init(jax.random.key(0), TASK.example)}

    def made(strength):
        settings = types.SimpleNamespace(learning_rate=0.01, strength=strength, capacity=4)
        return order_classes._learner(TASK, strategy, settings)

    turn = end_of_task(TASK, functools.partial(strategy.end, TASK.net.apply), 4)
    update = jax.jit(lambda state, batch, key, strength: made(strength).update(state, batch, key, context)[0])
    return jax.jit(lambda key: made(0.0).init(key, context)), update, jax.jit(turn)


_batches = jax.jit(lambda train, key, step: class_batches(TASK, train, key, step))


@functools.cache
def _learned(method, strength=0.0):
    """First and last state: both tasks of two steps, with the turn after each."""
    init, update, turn = _programs(method)
    key = jax.random.key(0)
    state = first = init(key)
    for step in range(4):
        state = update(state, _batches(_train(), key, step), jax.random.fold_in(key, step), strength)
        if step % 2:
            state = turn(state, _train(), step + 1, key, {})
    return first, state


def test_every_order_is_there_once_but_for_its_first_two():
    orders = all_orders(5)
    assert orders.shape == (60, 5)
    assert len({(frozenset(order[:2].tolist()), *order[2:].tolist()) for order in orders}) == 60
    assert (np.sort(orders, 1) == np.arange(5)).all()


def test_the_tables_are_the_authors_and_a_promise_is_the_mean_of_two_orders():
    golden = np.load(GOLDEN)
    for name, table in class_order.MEASURED_DISTANCES.items():
        own = f"{name.removesuffix('_mnist')}5"
        np.testing.assert_allclose(table, golden[f"in_{own}_dist_rownorm"], atol=6e-6)
        perms = golden[f"in_{own}_perms"].astype(int).tolist()
        every = {tuple(perm): score for perm, score in zip(perms, golden[f"out_{own}_score_float"])}
        task = TASK._replace(orders=all_orders(5))
        expected = [(every[tuple(o)] + every[(o[1], o[0], *o[2:])]) / 2 for o in task.orders.tolist()]
        np.testing.assert_allclose(promises(task, jnp.array(table)), expected, atol=1e-4)


def test_orders_see_the_same_images_of_a_class_once_and_replicas_others_first():
    seen = [_batches(_train(), jax.random.key(1), step) for step in range(2)]
    assert seen[0]["classes"]["image"].shape[:3] == (2, 3, 3)
    rows = np.concatenate([batch["classes"]["image"] for batch in seen], axis=2).reshape(2, 3, 6, -1)
    for replica in rows:
        assert [len({one.tobytes() for one in own}) for own in replica] == [6, 6, 6]
    assert np.abs(rows[0] - rows[1]).max() > 0
    order = jnp.array([0, 2, 1])
    classes = jax.tree.map(lambda x: x[0], seen[0]["classes"])
    first, second = (own_batch(classes, order, jnp.int32(number)) for number in (0, 1))
    assert set(first["label"][first["where"]].tolist()) == {0, 2}
    assert set(second["label"][second["where"]].tolist()) == {1}


def test_learners_of_a_replica_start_alike_and_part_where_their_orders_do():
    begun, ended = _learned("naive")
    for leaf in jax.tree.leaves(begun.members.params):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:, :1], leaf.shape))
    first, last = (np.asarray(jax.tree.leaves(tree)[-1]) for tree in (ended.first, ended.members.params))
    assert np.abs(first[:, 0] - first[:, 1]).max() > 0  # 0, 1 and 0, 2
    assert np.abs(last - first).max() > 0
    assert np.abs(first[0] - first[1]).max() > 0
    accuracy, _ = qualities(TASK, ended.members.params, ended.first, _images())
    assert accuracy.shape == (2, 3)


def test_ewc_of_no_strength_does_nothing_and_some_keeps_weights_and_replay_is_another():
    params = lambda *given, **settings: _learned(*given, **settings)[1].members.params
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(same, params("ewc"), params("naive"))
    moved = lambda params: sum(
        float(jnp.square(a - b).sum())
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(_learned("naive")[1].first))
    )
    assert moved(params("ewc", strength=1e4)) < 0.9 * moved(params("naive"))
    assert moved(params("replay")) != moved(params("naive"))
    memory = _learned("replay")[1].members.memory
    assert memory.seen.tolist() == [[18] * 3] * 2  # two classes of six, then one
    assert memory.valid.all()


def test_constant_qualities_agree_with_nothing():
    assert agreement(jnp.ones(4), jnp.arange(4.0)) == 0


def test_a_search_learns_other_images_than_comparisons_are_tested_on():
    searched, compared = (order_classes.build(changed(PATH, variant)).data for variant in ("tune", "smoke"))
    rows = lambda images: {one.tobytes() for seed in np.asarray(images) for one in seed}
    used = rows(searched["train"]["stream"].rows.images.image) | rows(searched["train"]["others"].rows.image)
    assert not used & rows(compared["test"].rows.image)


def test_settings_of_a_strategy_that_differ_in_numbers_are_one_program():
    assert programs(order_classes.build(changed(PATH, "tune"))) == {"": (18, 3)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms__naive__method": "odd"}, "arm naive: method is 'odd': it must be one of naive, ewc, replay"),
        ({"distances": "odd"}, "distances is 'odd': it must be one of mnist, fashion_mnist"),
        ({"data__classes": (0, 1, 2)}, "data.classes and others.classes are 3 and 5: the distances are of 5"),
        ({"replicas": 1}, "replicas is 1: it must be between 2 and 100"),
    ],
)
def test_settings_of_orders_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make_all(order_classes.build(changed(PATH, **changes)))
