"""Curricula in federated learning: every client orders its own examples, and the server orders the clients.

    from jaxlab.curriculum import federated

Data are shards of K clients, `{"...": [K, N, ...], "where": [K, N]}`, padded to the largest. `federated_learner` takes
local steps of all participants of a round side by side; `federated_turn` ends a round (average, scores, the next
participants) and is the `fn` of the engine's `Turn(every=local steps)`. The batch of a step is the shards themselves:
`Experiment.stream = lambda train, key, step: train`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import Learner, as_float, masked_mean
from jaxlab.core.check import InputError, check_choice, check_fraction, check_least, check_positive, full_mask
from jaxlab.curriculum._difficulty import ORDERS, curriculum_order
from jaxlab.curriculum._pacing import paced_count

SCORES = ("global", "local", "both")
"""Under which model examples are judged: the server's, the client's last own, or the sum of both losses."""


class FederatedState(NamedTuple):
    """State of `federated_learner`.

    Attributes:
      server: the global parameters; those that are evaluated.
      average: the last average of the participants; the server's own unless it has momentum.
      local: `[M, ...]` parameters of the participants of this round.
      opt_state: `[M, ...]`.
      last: `[K, ...]` the parameters with which each client left its last round.
      seen: `[K]` bool, whether it took part in any.
      pool: `[K]` int32 the clients in the order in which the pool is gone through.
      pool_size: int32, how many of them are in the pool.
      place: int32, where in the pool the participants begin.
      orders: `[M, N]` int32, each participant's examples from first to last.
      local_step: int32, steps taken in this round.
      updates: int32, client updates of all rounds before this one.
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


def fedavg(server: Any, clients: Any, sizes: jax.Array, *, where: jax.Array | None = None) -> Any:
    """The parameters of clients in the mean, weighted by how many examples each has; the server's if there is none.

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
    sizes = as_float(sizes)
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

    Reference: When Do Curricula Work in Federated Learning?, 2023, authors' code.

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

    Reference: When Do Curricula Work in Federated Learning?, 2023, authors' code.

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

    Reference: When Do Curricula Work in Federated Learning?, 2023, authors' code.

    >>> local_steps(jnp.array([40, 9, 0]), batch_size=10, epochs=2).tolist()
    [10, 2, 0]
    """
    check_least("batch_size", batch_size, 1)
    check_least("epochs", epochs, 0)
    sizes = jnp.asarray(sizes)
    return jnp.where(sizes > 0, (sizes // batch_size + 1) * epochs, 0).astype(jnp.int32)


def dirichlet_partition(
    labels: np.ndarray, *, num_clients: int, beta: float, seed: int, least: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Examples dealt out to clients whose classes differ: the smaller beta, the more. On the host.

        m_k ~ Dirichlet(beta C prior);   client k gets the share m_kc / sum_j m_jc of class c

    Args:
      labels: `[N]` integers, at least 0.
      num_clients: K, at least 1.
      beta: positive.
      seed: of the mixtures; same arguments, same parts.
      least: mixtures are drawn again until every client has as many examples.

    Returns:
      `(rows [K, M] int32, where [K, M] bool)`, padded to the largest client with row 0.

    Raises:
      ValueError: fewer examples than `num_clients * least`, a beta that is not positive, or no such mixtures among a
        thousand.

    Reference: When Do Curricula Work in Federated Learning?, 2023, authors' code ("noniid-labeldir").

    >>> rows, where = dirichlet_partition(np.arange(100) % 2, num_clients=4, beta=0.5, seed=0)
    >>> sorted(rows[where].tolist()) == list(range(100))
    True
    """
    labels = _host_labels(labels, num_clients, least)
    check_positive("beta", beta)
    classes, counts = np.unique(labels, return_counts=True)
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        mixtures = rng.dirichlet(
            np.maximum(beta * len(classes) * counts / len(labels), 1e-6), size=num_clients
        ).T
        parts: list[list[np.ndarray]] = [[] for _ in range(num_clients)]
        for label, mixture in zip(classes, mixtures, strict=True):
            rows = np.flatnonzero(labels == label)
            share = np.cumsum(mixture) / max(mixture.sum(), 1e-30)
            for part, piece in zip(parts, np.split(rows, (share * len(rows)).astype(int)[:-1]), strict=True):
                part.append(piece)
        dealt = [np.concatenate(part) for part in parts]
        if min(map(len, dealt)) >= least:
            return _padded(dealt)
    raise InputError(
        f"no mixtures in a thousand gave each of {num_clients} clients {least} examples: a larger beta, or fewer clients"
    )


def difficulty_partition(
    difficulty: np.ndarray, *, num_clients: int, order: str = "easy_first", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Examples dealt out in the order of their difficulty, so that clients differ in it. On the host.

    Args:
      difficulty: `[N]` scores.
      num_clients: K, in [1, N]; sizes differ by at most one example.
      order: of `ORDERS`; with "random" the clients are alike.
      seed: of the random order.

    Returns:
      `(rows [K, M] int32, where [K, M] bool)`, padded with row 0.

    Raises:
      ValueError: more clients than examples, or an order that does not exist.

    Reference: When Do Curricula Work in Federated Learning?, 2023, authors' code.

    >>> difficulty_partition(np.array([3.0, 1.0, 2.0, 0.0]), num_clients=2)[0].tolist()
    [[3, 1], [2, 0]]
    """
    difficulty = np.asarray(difficulty)
    _host_labels(difficulty, num_clients, 1)
    rows = np.asarray(curriculum_order(difficulty, order=order, key=jax.random.key(seed)))
    return _padded(np.array_split(rows, num_clients))


def _host_labels(labels: np.ndarray, num_clients: int, least: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or num_clients < 1 or len(labels) < num_clients * max(least, 1):
        raise InputError(
            f"{num_clients} clients with {least} examples each need an array [N] of at least as many, got {labels.shape}"
        )
    return labels


def _padded(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    where = np.arange(max(map(len, parts))) < np.array([len(part) for part in parts])[:, None]
    rows = np.zeros(where.shape, np.int32)
    rows[where] = np.concatenate(parts)
    return rows, where
