"""Curricula in federated learning: every client orders its own examples, and the server orders the clients.

    from jaxlab.curriculum import federated

`federated_learner` takes the local steps of all participants of a round side by side; its turn ends a round (average,
scores, the next participants) and is the `fn` of an engine's `Turn`. Where data are, see there.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import Learner, as_float, masked_mean
from jaxlab.core.check import InputError, check_choice, check_fraction, check_least, full_mask
from jaxlab.curriculum._difficulty import ORDERS, curriculum_order
from jaxlab.curriculum._pacing import paced_count

SCORES = ("global", "local", "both", "expert")
"""Whose loss judges examples: the server's, that of the client's last own model, their sum, or an expert's."""


class FederatedState(NamedTuple):
    """State of `federated_learner`.

    Attributes:
      server: the parameters that rounds begin with.
      average: the last average of participants, which is evaluated; the server's own unless that has momentum.
      local: `[M, ...]` parameters of the participants of this round.
      opt_state: `[M, ...]`.
      last: `[K, ...]` the parameters with which each client left its last round; None where nobody asks for them.
      seen: `[K]` bool, whether a client took part in any round.
      pool: `[K]` int32 clients in the order in which the pool is gone through.
      pool_size: int32, how many of them are in the pool.
      place: int32, where in the pool the participants begin.
      orders: `[M, N]` int32, each participant's examples from first to last.
      local_step: int32, steps of this round.
      updates: int32, how often a client took part so far.
    """

    server: Any
    average: Any
    local: Any
    opt_state: Any
    last: Any
    seen: jax.Array
    pool: jax.Array
    pool_size: jax.Array
    place: jax.Array
    orders: jax.Array
    local_step: jax.Array
    updates: jax.Array


class Federated(NamedTuple):
    """What `federated_learner` returns: `learner`, and `turn`, the `fn` of the engine's `Turn`."""

    learner: Learner
    turn: Callable[[FederatedState, Any, jax.Array, jax.Array, Any], FederatedState]


def fedavg(server: Any, clients: Any, sizes: jax.Array, *, where: jax.Array | None = None) -> Any:
    """The parameters of clients in the mean, weighted by how many examples each has; the server's if there is none.

    Gradients flow into the parameters, not into the sizes.

        sum_k n_k w_k / sum_k n_k

    Args:
      server: pytree of arrays `[...]`, returned where no client counts.
      clients: the same pytree with arrays `[M, ...]`.
      sizes: `[M]` n_k, at least 0.
      where: `[M]` bool or {0, 1}, the clients that count; None means all. What is masked leaves no trace.

    Returns:
      The pytree of the server, in its dtypes.

    Raises:
      ValueError: shapes that do not belong together.

    Reference: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, 2017.

    >>> fedavg(jnp.zeros(1), jnp.array([[1.0], [4.0]]), jnp.array([2, 1])).tolist()
    [2.0]
    """
    sizes = jax.lax.stop_gradient(as_float(sizes))
    if sizes.ndim != 1 or jax.tree.structure(server) != jax.tree.structure(clients):
        raise InputError(f"sizes must be [M] and server and clients the same pytree, got {sizes.shape}")
    for one, many in zip(jax.tree.leaves(server), jax.tree.leaves(clients), strict=True):
        if np.shape(many) != (*sizes.shape, *np.shape(one)):
            raise InputError(
                f"clients {np.shape(many)} must be [M, ...] of server {np.shape(one)}, with sizes {sizes.shape}"
            )
    counts = full_mask(where, sizes.shape, "sizes")
    total = jnp.sum(jnp.where(counts, sizes, 0.0))
    share = jnp.where(counts, sizes, 0.0) / jnp.where(total == 0, 1.0, total)

    def mean(one: jax.Array, many: jax.Array) -> jax.Array:
        one, many = jnp.asarray(one), as_float(many)
        rows = (len(sizes),) + (1,) * one.ndim
        kept = jnp.where((counts & (sizes != 0)).reshape(rows), many, 0.0)
        return jnp.where(total == 0, one, jnp.sum(share.reshape(rows) * kept, 0).astype(one.dtype))

    return jax.tree.map(mean, server, clients)


def server_momentum(server: Any, average: Any, *, momentum: float | jax.Array = 0.0) -> Any:
    """The server's parameters, a part of the way to the clients' average.

        w <- beta w + (1 - beta) w_average

    Args:
      server: pytree of arrays.
      average: the same, of `fedavg`.
      momentum: beta in [0, 1].

    Returns:
      The pytree.

    Raises:
      ValueError: a momentum outside of [0, 1].

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, authors' code.

    >>> server_momentum(jnp.array(0.0), jnp.array(1.0), momentum=0.25).item()
    0.75
    """
    check_fraction("momentum", momentum)
    return jax.tree.map(
        lambda old, new: (momentum * old + (1 - momentum) * new).astype(jnp.asarray(old).dtype),
        server,
        average,
    )


def decayed_rate(rate: float, *, speed: float = 0.001, power: float = 0.75) -> optax.Schedule:
    """The learning rate of a local step, an optax schedule; it begins anew in every round.

        rate (1 + speed i)^-power

    Args:
      rate: at step 0.
      speed: at least 0.
      power: of the decay.

    Returns:
      `step -> rate`.

    Raises:
      ValueError: a negative speed.

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, authors' code.

    >>> round(float(decayed_rate(0.01)(100)), 6)
    0.00931
    """
    check_least("speed", speed, 0)
    return lambda step: rate * (1 + speed * step) ** -power


def local_steps(sizes: jax.Array, *, batch_size: int, epochs: int = 1) -> jax.Array:
    """How many steps each client takes in a round.

        (n_k // batch_size + 1) epochs,   0 for a client without examples

    Args:
      sizes: `[...]` integers n_k.
      batch_size: at least 1.
      epochs: at least 0.

    Returns:
      `[...]` int32.

    Raises:
      ValueError: a batch size below 1 or a negative number of epochs.

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, authors' code.

    >>> local_steps(jnp.array([40, 9, 0]), batch_size=10, epochs=2).tolist()
    [10, 2, 0]
    """
    check_least("batch_size", batch_size, 1)
    check_least("epochs", epochs, 0)
    sizes = jnp.asarray(sizes)
    return jnp.where(sizes > 0, (sizes // batch_size + 1) * epochs, 0).astype(jnp.int32)


def federated_learner(
    init: Callable[[jax.Array, Any], Any],
    example_loss: Callable[[Any, Mapping[str, jax.Array]], jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    clients: tuple[int, int],
    members: int,
    client_updates: int,
    batch_size: int = 10,
    epochs: int = 1,
    order: str = "easy_first",
    pace: Mapping[str, Any] | None = None,
    score: str = "global",
    client_order: str = "random",
    client_pace: Mapping[str, Any] | None = None,
    momentum: float | jax.Array = 0.0,
) -> Federated:
    """Federated averaging in which examples and clients come in an order.

    The batch is the data themselves (`stream=lambda train, key, step: train`): a dict of `"row"` `[K, N]` and `"where"`
    `[K, N]` as in `client_shards`, and arrays over all examples. A step draws uniformly from the part of each
    participant's order that the pace allows. Clients take `local_steps`, then wait. Nobody takes part before the first
    turn; turns follow each other by at least the most local steps.

    Args:
      init: `(key, context) -> params`.
      example_loss: `(params, batch) -> [B]`, a batch having the arrays' rows.
      optimizer: of a client; it begins anew in every round.
      clients: `(K, N)`, static.
      members: M, how many take part in a round.
      client_updates: the budget R M of all rounds, for the pace of clients.
      batch_size, epochs: of local steps.
      order: in which a client takes its examples, of `ORDERS`.
      pace: keywords of `paced_count` for examples; linear from 0.2 to all at 0.8, at least 32 by default.
      score: whose loss is their difficulty, of `SCORES`; "expert" are the parameters `context["expert"]`.
      client_order: in which clients, by the mean difficulty of their examples, enter the pool.
      client_pace: keywords of `paced_count` for clients; all from the beginning by default.
      momentum: of the server, in [0, 1].

    Returns:
      Learner and turn. The learner's metrics are `loss`, the mean over participants, and `members`, which still step.

    Raises:
      ValueError: an order, score or size that cannot be.

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023; the authors go through each part
      in shuffled batches, where here batches are drawn with replacement.

    >>> one = federated_learner(lambda key, context: jnp.zeros(()), lambda w, batch: (w - batch["x"]) ** 2,
    ...                         optax.sgd(0.1), clients=(2, 3), members=1, client_updates=10)
    >>> one.learner.init(jax.random.key(0), {}).orders.shape
    (1, 3)
    """
    check_choice("order", order, ORDERS)
    check_choice("client_order", client_order, ORDERS)
    check_choice("score", score, SCORES)
    check_fraction("momentum", momentum)
    _check_sizes(clients, members, batch_size)
    count = functools.partial(paced_count, **{"start": 0.2, "full_at": 0.8, "least": 32, **(pace or {})})
    pool_size = {"start": 1.0, "full_at": 1.0, "num_steps": client_updates, **(client_pace or {})}
    steps = functools.partial(local_steps, batch_size=batch_size, epochs=epochs)

    def begin(key: jax.Array, context: Any) -> FederatedState:
        remembers = score in ("local", "both")
        return _begin(init(key, context), optimizer, clients, members, remembers=remembers)

    def update(state: FederatedState, train: Any, key: jax.Array, context: Any) -> tuple[FederatedState, Any]:
        rows, active = _draw(state, train, key, batch_size, count, steps)
        loss = lambda params, rows: jnp.mean(example_loss(params, _rows(train, rows)))
        losses, grads = jax.vmap(jax.value_and_grad(loss))(state.local, rows)
        updates, opt_state = jax.vmap(optimizer.update)(grads, state.opt_state, state.local)
        moved = (optax.apply_updates(state.local, updates), opt_state)
        local, opt_state = _where(active, moved, (state.local, state.opt_state))
        new = state._replace(local=local, opt_state=opt_state, local_step=state.local_step + 1)
        return new, {
            "loss": masked_mean(losses, where=active),
            "members": jnp.sum(active).astype(jnp.float32),
        }

    def turn(
        state: FederatedState, train: Any, step: jax.Array, key: jax.Array, context: Any
    ) -> FederatedState:
        pool_key, order_key = jax.random.split(key)
        state = _close_round(state, jnp.sum(train["where"], 1), momentum)
        difficulty = _difficulty(example_loss, score, state, train, context)
        state = _refill_pool(state, difficulty, train["where"], pool_key, client_order, pool_size)
        ids, _ = _members(state)
        local = _copies(state.server, members)
        return state._replace(
            local=local,
            opt_state=jax.vmap(optimizer.init)(local),
            orders=curriculum_order(difficulty[ids], order=order, key=order_key, where=train["where"][ids]),
            local_step=jnp.int32(0),
        )

    return Federated(Learner(begin, update), turn)


def _check_sizes(clients: tuple[int, int], members: int, batch_size: int) -> None:
    if min(*clients, batch_size) < 1 or not 1 <= members <= clients[0]:
        raise InputError(
            f"clients {clients} and batch_size {batch_size} must be positive, members {members} in [1, K]"
        )


def _begin(
    server: Any,
    optimizer: optax.GradientTransformation,
    clients: tuple[int, int],
    members: int,
    *,
    remembers: bool,
) -> FederatedState:
    """The state before the first turn, in which nobody takes part."""
    zero, local = jnp.int32(0), _copies(server, members)
    return FederatedState(
        server=server,
        average=server,
        local=local,
        opt_state=jax.vmap(optimizer.init)(local),
        last=_copies(server, clients[0]) if remembers else None,
        seen=jnp.zeros(clients[0], bool),
        pool=jnp.arange(clients[0], dtype=jnp.int32),
        pool_size=zero,
        place=zero,
        orders=jnp.zeros((members, clients[1]), jnp.int32),
        local_step=zero,
        updates=zero,
    )


def _members(state: FederatedState) -> tuple[jax.Array, jax.Array]:
    """The participants of a round, and which of them there are: the last of a pool may be fewer."""
    place = state.place + jnp.arange(len(state.orders))
    return state.pool[jnp.minimum(place, len(state.pool) - 1)], place < state.pool_size


def _draw(
    state: FederatedState,
    train: Any,
    key: jax.Array,
    batch_size: int,
    count: Callable[..., jax.Array],
    steps: Callable[..., jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Rows `[M, B]` from the part of each participant's order that the pace allows, and who still takes steps."""
    ids, present = _members(state)
    sizes = jnp.sum(train["where"], 1)[ids]
    allowed = count(state.local_step, num_steps=steps(sizes), size=sizes)
    place = jax.random.randint(key, (len(ids), batch_size), 0, jnp.maximum(allowed, 1)[:, None])
    rows = train["row"][ids[:, None], jnp.take_along_axis(state.orders, place, 1)]
    return rows, present & (state.local_step < steps(sizes))


def _close_round(state: FederatedState, sizes: jax.Array, momentum: float | jax.Array) -> FederatedState:
    """Average, remember what the participants have learned, and go on in the pool."""
    ids, present = _members(state)
    begun = state.local_step > 0
    present &= begun
    average = fedavg(state.server, state.local, sizes[ids], where=present)
    slot = jnp.where(present, ids, len(state.pool))
    keep = lambda last, local: last.at[slot].set(local, mode="drop")
    return state._replace(
        server=server_momentum(state.server, average, momentum=momentum),
        average=average,
        last=None if state.last is None else jax.tree.map(keep, state.last, state.local),
        seen=state.seen.at[slot].set(True, mode="drop"),
        place=jnp.where(begun, state.place + len(ids), state.place),
        updates=state.updates + jnp.sum(present, dtype=jnp.int32),
    )


def _refill_pool(
    state: FederatedState,
    difficulty: jax.Array,
    where: jax.Array,
    key: jax.Array,
    order: str,
    pace: Mapping[str, Any],
) -> FederatedState:
    """A new pool, in random order, once the old one has been gone through: by the scores and the pace of now."""
    order_key, shuffle_key = jax.random.split(key)
    exist, number = jnp.any(where, 1), len(state.pool)
    mean = masked_mean(difficulty, where=where, axis=1)
    ranked = curriculum_order(mean, order=order, key=order_key, where=exist)
    size = jnp.minimum(paced_count(state.updates, size=number, **pace), jnp.sum(exist)).astype(jnp.int32)
    shuffled = jnp.lexsort((jax.random.uniform(shuffle_key, (number,)), jnp.arange(number) >= size))
    through = state.place >= state.pool_size
    return state._replace(
        pool=jnp.where(through, ranked[shuffled], state.pool),
        pool_size=jnp.where(through, size, state.pool_size),
        place=jnp.where(through, 0, state.place),
    )


def _difficulty(
    example_loss: Callable[..., jax.Array], score: str, state: FederatedState, train: Any, context: Any
) -> jax.Array:
    """`[K, N]` losses of all examples, one client after another."""
    under = context["expert"] if score == "expert" else state.server
    difficulty = jax.lax.map(lambda rows: example_loss(under, _rows(train, rows)), train["row"])
    if state.last is None:
        return difficulty
    own = jax.lax.map(lambda x: example_loss(x[0], _rows(train, x[1])), (state.last, train["row"]))
    seen = state.seen[:, None]
    if score == "local":
        return jnp.where(seen, own, difficulty)
    return difficulty + jnp.where(seen, own, 0.0)


def _rows(train: Mapping[str, jax.Array], rows: jax.Array) -> dict[str, jax.Array]:
    return {name: table[rows] for name, table in train.items() if name not in ("row", "where")}


def _copies(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), tree)


def _where(active: jax.Array, new: Any, old: Any) -> Any:
    """Leaf by leaf, of the participants that are active the new, of the others the old."""
    choose = lambda new, old: jnp.where(active.reshape(active.shape + (1,) * (new.ndim - 1)), new, old)
    return jax.tree.map(choose, new, old)
