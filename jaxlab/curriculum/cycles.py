"""Cyclical curriculum: the share of the data goes up and down, and easy examples are drawn more often.

    from jaxlab.curriculum import cycles

Schedules are lists of shares, one for each epoch, made on the host; the sum of a schedule is the budget in passes over
the whole set. Those of functions that end in `counts` are numbers of examples. An epoch of share s draws `int(s N)`
examples by `easiness_log_probs`; `epoch_rows` gives its batches.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_log_softmax
from jaxlab.core.check import (
    InputError,
    check_choice,
    check_fraction,
    check_least,
    check_positive,
    check_together,
    full_mask,
)
from jaxlab.curriculum._weighted_sampling import gumbel_top_k

KINDS = ("easy", "hard", "random")
"""What `easiness_log_probs` may prefer."""

STRATEGIES = ("cycle", "sharp", "grow", "shrink")
"""What `cycle_counts` may do."""

_LONGEST = 10**5


def cycle_shares(
    budget: float, *, start: float = 0.25, end: float = 1.0, factor: float = 0.5, full_first: bool = False
) -> np.ndarray:
    """Shares of the data that grow from a small one to the whole by a factor, shrink back, and so on.

        s_0 = start;   s <- min(s / factor, end) from the start on and while growing, else max(s factor, start)

    until the sum reaches the budget.

    Args:
      budget: passes over the whole set, at least 0.
      start, end: smallest and largest share, in (0, 1], start at most end.
      factor: in (0, 1).
      full_first: half of the (whole) budget, rounded down, is spent on full passes before the cycles begin.

    Returns:
      float64 `[E]`: one share for each epoch; the last one may exceed the budget. At least one epoch.

    Raises:
      ValueError: shares or a factor out of range, or a schedule of more than 100,000 epochs.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, algorithm 1; `full_first` is the authors'
      "111cycle".

    >>> cycle_shares(4).tolist()
    [0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 1.0]
    """
    _check(budget, start, end, factor)
    if full_first:
        passes = int(budget) // 2
        return np.concatenate(
            [np.ones(passes), cycle_shares(budget - passes, start=start, end=end, factor=factor)]
        )
    # The very operations of the paper's algorithm: its turning points are equalities of floats.
    shares = [start]
    before = np.inf
    total = start
    while total < budget:
        share = shares[-1]
        rises = share == start or (before < share and share != end)
        before = share
        shares.append(min(share * (1 / factor), end) if rises else max(share * factor, start))
        total += shares[-1]
        _check_length(shares)
    return np.asarray(shares, np.float64)


def sharp_cycle_shares(
    budget: float, *, start: float = 0.25, end: float = 1.0, factor: float = 0.5
) -> np.ndarray:
    """Shares that grow by a factor from a small one to the largest and fall back at once, a saw-tooth.

        s <- start after the largest, else min(s / factor, end)

    Args:
      budget: passes over the whole set, at least 0.
      start, end: smallest and largest share, in (0, 1], start at most end.
      factor: in (0, 1).

    Returns:
      float64 `[E]`, as `cycle_shares`.

    Raises:
      ValueError: as `cycle_shares`.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, authors' code, strategy "sharp_cycle", in
      shares instead of rounded counts.

    >>> sharp_cycle_shares(3).tolist()
    [0.25, 0.5, 1.0, 0.25, 0.5, 1.0]
    """
    _check(budget, start, end, factor)
    return _grown(budget, start, lambda share: start if share >= end else min(share / factor, end), 1)


def growing_shares(
    budget: float, *, start: float = 0.25, factor: float = 0.5, epochs_each: int = 1
) -> np.ndarray:
    """Shares that grow by a factor from a small one to the whole and stay there.

        min(start / factor^i, 1), each for `epochs_each` epochs

    Args:
      budget: passes over the whole set, at least 0.
      start: the first share, in (0, 1].
      factor: in (0, 1).
      epochs_each: epochs of each share, at least 1.

    Returns:
      float64 `[E]`, until the sum reaches the budget; empty for a budget of 0.

    Raises:
      ValueError: as `cycle_shares`.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, authors' code (lower to bigger).

    >>> growing_shares(2.5).tolist()
    [0.25, 0.5, 1.0, 1.0]
    """
    _check(budget, start, 1.0, factor)
    return _grown(budget, start, lambda share: share * (1 / factor), epochs_each, high=1.0)


def shrinking_shares(
    budget: float, *, end: float = 0.25, factor: float = 0.5, epochs_each: int = 1
) -> np.ndarray:
    """Shares that shrink by a factor from the whole to a small one and stay there.

        max(factor^i, end), each for `epochs_each` epochs

    Args:
      budget: passes over the whole set, at least 0.
      end: the last share, in (0, 1].
      factor: in (0, 1).
      epochs_each: epochs of each share, at least 1.

    Returns:
      float64 `[E]`, until the sum reaches the budget; empty for a budget of 0.

    Raises:
      ValueError: as `cycle_shares`.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, authors' code (bigger to lower).

    >>> shrinking_shares(2).tolist()
    [1.0, 0.5, 0.25, 0.25]
    """
    _check(budget, end, 1.0, factor)
    return _grown(budget, 1.0, lambda share: share * factor, epochs_each, low=end)


def cycle_counts(
    size: int,
    budget: int,
    *,
    strategy: str = "cycle",
    start: float = 0.25,
    end: float = 1.0,
    factor: float = 0.5,
    rising: bool = True,
) -> np.ndarray:
    """Schedules in numbers of examples instead of shares, rounded at every epoch.

    A count follows from the one before it, which was not cut to its bounds: after an epoch of all, a cycle goes on with
    the number that overshot. Cycles round up, "grow" and "shrink" down.

        ceil(start size);   then the last / factor, up to floor(size max(start, end)),
                            or the last factor, down to ceil(size min(start, end))

    Args:
      size: examples of the whole set, at least 1.
      budget: examples of all epochs together, at least 0.
      strategy: of `STRATEGIES`: up and down, up and back at once, up, or down.
      start, end: shares in (0, 1], in any order.
      factor: in (0, 1).
      rising: whether a cycle begins upwards.

    Returns:
      int64 `[E]`: one count for each epoch; the last one may exceed the budget. At least one epoch.

    Raises:
      ValueError: another strategy, shares or a factor out of range, or a schedule of more than 100,000 epochs.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, authors' code (sizes of data in cycles).

    >>> cycle_counts(10, 40).tolist()
    [3, 6, 10, 6, 3, 6, 10]
    """
    check_choice("strategy", strategy, STRATEGIES)
    check_least("size", size, 1)
    _check(budget, min(start, end), max(start, end), factor)
    low, high = math.ceil(size * min(start, end)), int(size * max(start, end))
    rounded = math.ceil if strategy in ("cycle", "sharp") else math.floor
    last = math.ceil(size * start)
    counts, total = [last], last
    while total < budget:
        up = strategy == "grow" or (strategy != "shrink" and rising)
        falls_at_once = strategy == "sharp" and not up
        last = low if falls_at_once else rounded(last * (1 / factor) if up else last * factor)
        counts.append(min(last, high) if up else max(last, low))
        if (last >= high) if up else (last <= low):
            rising = not up
        total += counts[-1]
        _check_length(counts)
    return np.asarray(counts, np.int64)


def exponential_counts(size: int, *, batch_size: int, growth: float = 1.5, start: float = 0.04) -> np.ndarray:
    """How many of the easiest examples the stages of a monotone curriculum have, exponentially more each time.

        max(floor(start size growth^i), batch_size), as long as start size growth^i < size

    Args:
      size: examples of the whole set.
      batch_size: no stage has fewer.
      growth: above 1.
      start: share of the first stage, in (0, 1].

    Returns:
      int64 `[S]`; the whole set is no stage.

    Raises:
      ValueError: a number out of range.

    Reference: Hacohen and Weinshall, On the Power of Curriculum Learning in Training Deep Networks, 2019, section 2.2;
      the numbers are those of the code of Kesgin and Amasyali, 2022.

    >>> exponential_counts(100, batch_size=7).tolist()
    [7, 7, 9, 13, 20, 30, 45, 68]
    """
    _check_stages(size, batch_size, start)
    check_together("growth must be above 1", lambda growth: growth > 1, growth=growth)
    counts, level = [], start * size
    while level < size:
        counts.append(max(int(level), batch_size))
        level = level * growth
        _check_length(counts)
    return np.asarray(counts, np.int64)


def parabolic_counts(size: int, *, batch_size: int, power: float = 1.5, start: float = 0.04) -> np.ndarray:
    """How many of the easiest examples the stages of a monotone curriculum have, more by a power of the stage.

        max(floor(start size i^power), batch_size), i = 1, 2, ...; the stage that reaches the size is the last

    Args:
      size: examples of the whole set.
      batch_size: no stage has fewer.
      power: at least 0.
      start: share of the first stage, in (0, 1].

    Returns:
      int64 `[S]`, at most 1 / start stages.

    Raises:
      ValueError: a number out of range.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, authors' code (parabolic pacing).

    >>> parabolic_counts(100, batch_size=7).tolist()
    [7, 11, 20, 32, 44, 58, 74, 90, 100]
    """
    _check_stages(size, batch_size, start)
    check_least("power", power, 0)
    first, counts = start * size, []
    for stage in range(1, int(size / first + 1)):
        count = int(first * stage**power)
        counts.append(max(count, batch_size) if count < size else size)
        if count >= size:
            break
        _check_length(counts)
    return np.asarray(counts, np.int64)


def _check_stages(size: int, batch_size: int, start: float) -> None:
    for name, value in (("size", size), ("batch_size", batch_size)):
        check_least(name, value, 1)
    check_fraction("start", start)
    check_positive("start", start)


def _grown(
    budget: float,
    share: float,
    next_share: Callable[[float], float],
    epochs_each: int,
    *,
    low: float = 0.0,
    high: float = np.inf,
) -> np.ndarray:
    check_least("epochs_each", epochs_each, 1)
    shares: list[float] = []
    total = 0.0
    while total < budget:
        shares += [float(min(max(share, low), high))] * epochs_each
        total = sum(shares[-epochs_each:], total)
        share = min(max(next_share(share), low), high)
        _check_length(shares)
    return np.asarray(shares, np.float64)


def _check(budget: float, start: float, end: float, factor: float) -> None:
    check_least("budget", budget, 0)
    for name, value in (("start", start), ("end", end), ("factor", factor)):
        check_fraction(name, value)
        check_positive(name, value)
    check_together("start must be at most end", lambda start, end: start <= end, start=start, end=end)
    check_together("factor must be below 1", lambda factor: factor < 1, factor=factor)
    if not np.isfinite(budget):
        raise InputError(f"budget must be finite, got {budget}")


def _check_length(shares: list[float]) -> None:
    if len(shares) > _LONGEST:
        raise InputError(f"the schedule has more than {_LONGEST} epochs: a larger start or a smaller budget")


def easiness_log_probs(
    losses: jax.Array,
    *,
    kind: str = "easy",
    decay: float | jax.Array | None = None,
    floor: float | jax.Array = 1e-7,
    where: jax.Array | None = None,
) -> jax.Array:
    """With which probability each example is drawn, by its loss under a model trained before. No gradient flows.

        easy p_i ~ 1 / l_i, or exp(-decay l_i);   hard p_i ~ l_i;   random p_i ~ 1

    Args:
      losses: `[..., N]`, at least 0.
      kind: one of `KINDS`.
      decay: positive, for the exponential form of "easy"; None is the reciprocal.
      floor: positive; a smaller loss counts as this much, or one example would take all the probability.
      where: `[..., N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[..., N]` float32 log-probabilities, for `gumbel_top_k`; `core.MASKED_LOGIT` for what does not count.

    Raises:
      ValueError: a kind that does not exist, a decay or floor that is not positive, a decay with another kind than
        "easy", or a mask that does not broadcast.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, section 3, and the authors' code. Its
      exponential replaces zeros by the smallest positive weight; in logarithms there are none.

    >>> jnp.exp(easiness_log_probs(jnp.array([1.0, 3.0]))).tolist()
    [0.75, 0.25]
    """
    check_choice("kind", kind, KINDS)
    check_positive("floor", floor)
    losses = jax.lax.stop_gradient(as_float(losses))
    if losses.ndim == 0:
        raise InputError("losses must be [..., N], one for each example, got a scalar")
    if decay is not None:
        if kind != "easy":
            raise InputError(f"decay belongs to kind='easy', got {kind!r}")
        check_positive("decay", decay)
        logits = -decay * losses
    else:
        # Below 0 there is no loss; there the floor holds as well. A NaN passes.
        log_loss = jnp.log(jnp.where(losses < floor, floor, losses))
        logits = {"easy": -log_loss, "hard": log_loss, "random": jnp.zeros_like(losses)}[kind]
    return masked_log_softmax(logits, where=full_mask(where, losses.shape, "losses"))


def epoch_rows(
    key: jax.Array, step: jax.Array, log_probs: jax.Array, shares: np.ndarray, *, batch_size: int
) -> jax.Array:
    """The rows of a batch: every epoch of a schedule draws its share of the examples without replacement, by weight.

    The examples of an epoch come in random order, and follow from key and epoch alone: there is nothing to store. Its
    last batch is filled up with some of the epoch's rows that came before; after the last epoch its last batch repeats.

    Args:
      key: `jax.random.key`, of the seed.
      step: int, counted from 0.
      log_probs: `[N]` of `easiness_log_probs`.
      shares: `[E]` on the host, of `cycle_shares` or another schedule, in (0, 1].
      batch_size: B, static, at least 1 and at most the examples of the shortest epoch.

    Returns:
      int32 `[B]`.

    Raises:
      ValueError: no epoch, a share out of range, or a batch that is longer than an epoch.

    Reference: Kesgin and Amasyali, CCL: Cyclical Curriculum Learning, 2022, section 3.

    >>> rows = [epoch_rows(jax.random.key(0), step, jnp.zeros(4), [0.5, 1.0], batch_size=2) for step in range(3)]
    >>> len(set(rows[0].tolist())), sorted(rows[1].tolist() + rows[2].tolist())
    (2, [0, 1, 2, 3])
    """
    shares, size = np.asarray(shares, np.float64), np.shape(log_probs)[-1]
    if shares.ndim != 1 or not len(shares) or not ((shares > 0) & (shares <= 1)).all():
        raise InputError(f"shares must be [E], at least one, each in (0, 1], got {shares.tolist()}")
    counts = (shares * size).astype(np.int32)
    if not 1 <= batch_size <= counts.min():
        raise InputError(
            f"batch_size must be between 1 and the {counts.min()} examples of the shortest epoch, got {batch_size}"
        )
    ends = np.cumsum(-(-counts // batch_size))
    step = jnp.minimum(step, ends[-1] - 1)
    epoch = jnp.searchsorted(ends, step, side="right")
    begin, count = jnp.asarray(np.r_[0, ends[:-1]])[epoch], jnp.asarray(counts)[epoch]
    draw_key, order_key = jax.random.split(jax.random.fold_in(key, epoch))
    drawn, _ = gumbel_top_k(draw_key, log_probs, size)
    order = jnp.lexsort((jax.random.uniform(order_key, (size,)), jnp.arange(size) >= count))
    place = jnp.minimum((step - begin) * batch_size, count - batch_size)
    return drawn[jax.lax.dynamic_slice(order, (place,), (batch_size,))]
