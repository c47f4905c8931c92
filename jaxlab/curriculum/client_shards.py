"""Data sets cut into the shards of clients that differ, for federated learning. On the host.

    from jaxlab.curriculum import client_shards

A partition is `(rows [K, M], where [K, M])`: the rows of the data set that each of K clients has, padded.
"""

import jax
import numpy as np

from jaxlab.core.check import InputError, check_positive
from jaxlab.curriculum._difficulty import curriculum_order


def dirichlet_partition(
    labels: np.ndarray,
    *,
    num_clients: int,
    beta: float,
    seed: int,
    least: int = 10,
    most: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Examples dealt out to clients whose classes differ: the smaller beta, the more. On the host.

        m_k ~ Dirichlet(beta C prior);   client k gets the share m_kc / sum_j m_jc of class c

    Args:
      labels: `[N]` integers, at least 0.
      num_clients: K, at least 1.
      beta: positive.
      seed: of the mixtures; same arguments, same parts.
      least: mixtures are drawn again until every client has as many examples.
      most: and none has more; None sets no bound.

    Returns:
      `(rows [K, M] int32, where [K, M] bool)`, padded to the largest client with row 0.

    Raises:
      ValueError: fewer examples than `num_clients * least` or more than `num_clients * most`, a beta that is not
        positive, or no such mixtures among a thousand.

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, authors' code
      ("noniid-labeldir").

    >>> rows, where = dirichlet_partition(np.arange(100) % 2, num_clients=4, beta=0.5, seed=0)
    >>> sorted(rows[where].tolist()) == list(range(100))
    True
    """
    labels = _host_labels(labels, num_clients, least)
    check_positive("beta", beta)
    most = len(labels) if most is None else most
    if num_clients * most < len(labels):
        raise InputError(
            f"{num_clients} clients with at most {most} examples each cannot have all {len(labels)}"
        )
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
        if least <= min(map(len, dealt)) and max(map(len, dealt)) <= most:
            return _padded(dealt)
    raise InputError(
        f"no mixtures in a thousand gave each of {num_clients} clients {least} to {most} examples: try a larger beta"
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

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, authors' code.

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
            f"{num_clients} clients with {least} examples each need an array [N] of as many, got {labels.shape}"
        )
    return labels


def _padded(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    where = np.arange(max(map(len, parts))) < np.array([len(part) for part in parts])[:, None]
    rows = np.zeros(where.shape, np.int32)
    rows[where] = np.concatenate(parts)
    return rows, where
