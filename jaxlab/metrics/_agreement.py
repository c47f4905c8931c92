"""How far raters agree, and items go together, beyond what chance or their levels explain.

No gradient passes. A coefficient that is 0 / 0, such as the kappa of raters who only ever give one category, is
`undefined`, NaN if nothing else is asked for: no number would be true.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_var
from jaxlab.core.check import InputError, as_integers, check_choice, full_mask

_MISSING = "a missing rating"
ICC_KINDS = ("1,1", "A,1", "C,1", "1,k", "A,k", "C,k")


def confusion_matrix(
    x: jax.Array, y: jax.Array, *, num_classes: int, where: jax.Array | None = None
) -> jax.Array:
    """How often one rater says row c and the other column d.

        O_cd = #{i: x_i = c, y_i = d}

    Args:
      x: `[N]` integers in [0, C); a negative one is a missing rating.
      y: `[N]` of the other rater.
      num_classes: C, static.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[C, C]` int32.

    Raises:
      ValueError: if the two are not `[N]` integers in [0, C), or there is no class.

    Reference: Cohen, A Coefficient of Agreement for Nominal Scales, 1960.

    >>> confusion_matrix(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]), num_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    if np.ndim(x) != 1 or np.shape(x) != np.shape(y):
        raise InputError(f"x {np.shape(x)} and y {np.shape(y)} must both be [N]")
    _check_classes(num_classes)
    x, y = (
        as_integers(name, r, "categories", num_classes, where=where, ignore=_MISSING)
        for name, r in (("x", x), ("y", y))
    )
    counts = full_mask(where, x.shape, "examples")
    given = lambda r: (r[:, None] == jnp.arange(num_classes)) & counts[:, None]
    return jnp.einsum("nc,nd->cd", given(x).astype(jnp.int32), given(y).astype(jnp.int32))


def cohen_kappa(
    x: jax.Array,
    y: jax.Array,
    *,
    num_classes: int,
    weights: str = "none",
    where: jax.Array | None = None,
    undefined: float = jnp.nan,
) -> jax.Array:
    """Agreement of two raters beyond that of independent raters with the same margins: one number for a batch.

        1 - sum_cd w_cd O_cd / sum_cd w_cd E_cd,   E = outer product of O's margins over N

    Args:
      x: `[N]` integers in [0, C); a negative one is a missing rating, and its example is left out.
      y: `[N]` of the other rater.
      num_classes: C, static: a fixed list of categories, whether they occur or not.
      weights: of a disagreement: "none" for 1, "linear" for |c - d|, "quadratic" for (c - d)^2.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      undefined: what stands for 0 / 0: no example, or both raters always the same category.

    Returns:
      float32 scalar in [-1, 1].

    Raises:
      ValueError: if the two are not `[N]` integers in [0, C), or the weights are none of these.

    Reference: Cohen, A Coefficient of Agreement for Nominal Scales, 1960; Weighted Kappa, 1968.

    >>> x, y = jnp.array([0, 0, 1, 1]), jnp.array([0, 0, 1, 0])
    >>> cohen_kappa(x, y, num_classes=2).item()
    0.5
    """
    check_choice("weights", weights, ("none", "linear", "quadratic"))
    observed = confusion_matrix(x, y, num_classes=num_classes, where=where).astype(jnp.float32)
    cost = _cost(num_classes, weights)
    expected = jnp.outer(observed.sum(1), observed.sum(0)) / jnp.maximum(observed.sum(), 1.0)
    return _ratio(1.0, jnp.sum(cost * observed), jnp.sum(cost * expected), undefined)


def _cost(num_classes: int, weights: str) -> jax.Array:
    """What it costs that one rater says c and another d, up to a common factor."""
    gap = jnp.abs(jnp.arange(num_classes)[:, None] - jnp.arange(num_classes)).astype(jnp.float32)
    cost = {"none": jnp.sign(gap), "linear": gap, "quadratic": jnp.square(gap)}[weights]
    return cost / max(num_classes - 1, 1)


def fleiss_kappa(
    ratings: jax.Array, *, num_classes: int, where: jax.Array | None = None, undefined: float = jnp.nan
) -> jax.Array:
    """Agreement of several raters, who may differ from example to example, beyond chance: one number for a batch.

        (P - P_e) / (1 - P_e),   P = mean_i sum_c n_ic (n_ic - 1) / (n_i (n_i - 1)),   P_e = sum_c p_c^2

    Args:
      ratings: `[N, R]` integers in [0, C); a negative one is a missing rating. Examples with fewer than two ratings
        are left out.
      num_classes: C, static.
      where: bool or {0, 1}, broadcastable to `[N, R]`, the ratings that count; None means all.
      undefined: what stands for 0 / 0: no example with two ratings, or one category throughout.

    Returns:
      float32 scalar, at most 1.

    Raises:
      ValueError: if ratings are not `[N, R]` integers in [0, C).

    Reference: Fleiss, Measuring Nominal Scale Agreement Among Many Raters, 1971; p_c is the share among all ratings
      where their number differs.

    >>> fleiss_kappa(jnp.array([[0, 0], [1, 1], [0, 1], [1, 0]]), num_classes=2).item()
    0.0
    """
    votes, total = _votes(ratings, num_classes, where)
    enough = total >= 2
    agree = jnp.sum(votes * (votes - 1), axis=1) / jnp.maximum(total * (total - 1), 1.0)
    agreement = masked_mean(agree, where=enough)
    votes = jnp.where(enough[:, None], votes, 0.0)
    share = votes.sum(axis=0) / jnp.maximum(votes.sum(), 1.0)
    chance = jnp.sum(jnp.square(share))
    # Shares of one category have a sum of squares of 1 up to rounding.
    varied = jnp.any(enough) & (jnp.max(share, initial=0.0) < 1)
    return _ratio(1.0, 1 - agreement, jnp.where(varied, 1 - chance, 0.0), undefined)


def krippendorff_alpha(
    ratings: jax.Array,
    *,
    num_classes: int,
    weights: str = "none",
    where: jax.Array | None = None,
    undefined: float = jnp.nan,
) -> jax.Array:
    """Agreement of any raters beyond that of ratings dealt to the examples at random: one number for a batch.

        1 - D_o / D_e,   D_o = mean cost of two ratings of one example (an example with m ratings weighs m),
        D_e = mean cost of any two ratings

    Args:
      ratings: `[N, R]` integers in [0, C); a negative one is a missing rating. Examples with fewer than two ratings
        are left out.
      num_classes: C, static.
      weights: "none" for categories (nominal), "quadratic" for equally spaced numbers (interval), or "linear".
      where: bool or {0, 1}, broadcastable to `[N, R]`, the ratings that count; None means all.
      undefined: what stands for 0 / 0: no example with two ratings, or one category throughout.

    Returns:
      float32 scalar, at most 1.

    Raises:
      ValueError: if ratings are not `[N, R]` integers in [0, C), or the weights have another name.

    Reference: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.

    >>> ratings = jnp.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    >>> round(krippendorff_alpha(ratings, num_classes=2).item(), 4)  # 1 - (1 / 2) / (4 / 7)
    0.125
    """
    check_choice("weights", weights, ("none", "linear", "quadratic"))
    votes, total = _votes(ratings, num_classes, where)
    enough = total >= 2
    votes = jnp.where(enough[:, None], votes, 0.0)
    pairs = jnp.einsum("nc,nd->cd", votes / jnp.where(enough, total - 1, 1.0)[:, None], votes)
    # Of a rating with itself the cost is 0, so that the diagonals need no correction.
    number = votes.sum(axis=0)
    cost, all_of_them = _cost(num_classes, weights), number.sum()
    expected = jnp.sum(cost * jnp.outer(number, number)) / jnp.maximum(all_of_them - 1, 1.0)
    return _ratio(1.0, jnp.sum(cost * pairs), expected, undefined)


def _votes(ratings: jax.Array, num_classes: int, where: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """How many raters say each category of each example `[N, C]`, and how many say any `[N]`."""
    if np.ndim(ratings) != 2:
        raise InputError(f"ratings must be [N, R], got {np.shape(ratings)}")
    _check_classes(num_classes)
    ratings = as_integers("ratings", ratings, "categories", num_classes, where=where, ignore=_MISSING)
    counts = full_mask(where, ratings.shape, "ratings")
    given = (ratings[..., None] == jnp.arange(num_classes)) & counts[..., None]
    votes = jnp.sum(given, axis=1).astype(jnp.float32)
    return votes, votes.sum(axis=1)


def intraclass_correlation(
    scores: jax.Array, *, kind: str = "A,1", where: jax.Array | None = None, undefined: float = jnp.nan
) -> jax.Array:
    """How much of the variance of scores is that of their targets: one number for a batch.

    From the mean squares of a two-way layout: R of targets, C of raters, E of what is left, W of all within targets.

        1,1: (R - W) / (R + (k - 1) W)                      1,k: (R - W) / R
        A,1: (R - E) / (R + (k - 1) E + k (C - E) / n)      A,k: (R - E) / (R + (C - E) / n)
        C,1: (R - E) / (R + (k - 1) E)                      C,k: (R - E) / R

    Args:
      scores: `[N, K]`, N targets by K raters.
      kind: "1" where every target has raters of its own, "A" for absolute agreement and "C" for consistency of the
        same raters; ",1" of a single rater, ",k" of the mean of K.
      where: bool or {0, 1}, broadcastable to `[N, K]`, the scores that exist; a target with a missing one is left out.
      undefined: what stands for 0 / 0: fewer than two targets or raters, or scores that are all equal.

    Returns:
      float32 (float64 for float64 scores) scalar, at most 1.

    Raises:
      ValueError: if scores are not `[N, K]` or the kind is none of these.

    Reference: McGraw and Wong, Forming Inferences About Some Intraclass Correlation Coefficients, 1996, table 4.

    >>> scores = jnp.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    >>> [round(intraclass_correlation(scores, kind=kind).item(), 4) for kind in ("C,1", "A,1")]
    [1.0, 0.6667]
    """
    check_choice("kind", kind, ICC_KINDS)
    rows, scores, raters = _complete("scores", scores, where)
    n = jnp.sum(rows).astype(scores.dtype)
    square = lambda x: jnp.sum(jnp.square(jnp.where(rows[:, None], x, 0.0)))
    by_target = jnp.mean(scores, axis=1, keepdims=True) if raters else jnp.zeros_like(scores)
    by_rater = masked_mean(scores, where=rows[:, None], axis=0)
    within = square(scores - by_target)
    left = square(scores - by_target - by_rater)
    between = square(jnp.broadcast_to(by_target, scores.shape))
    rater_squares = jnp.maximum(within - left, 0.0)
    some = lambda x: jnp.maximum(x, 1.0)
    mean_r, mean_w = between / some(n - 1), within / some(n * (raters - 1))
    mean_c, mean_e = rater_squares / max(raters - 1, 1), left / some((n - 1) * (raters - 1))
    error = mean_w if kind[0] == "1" else mean_e
    single, level = kind[-1] == "1", kind[0] == "A"
    below = mean_r + (raters - 1) * error * single
    below = below + level * (raters if single else 1) * (mean_c - mean_e) / some(n)
    exists = (n > 1) & (raters > 1) & ~(between + within <= 0)  # a NaN stays
    return _ratio(0.0, error - mean_r, jnp.where(exists, below, 0.0), undefined)


def cronbach_alpha(
    items: jax.Array, *, where: jax.Array | None = None, undefined: float = jnp.nan
) -> jax.Array:
    """How far the items of a questionnaire measure one thing: one number for a batch.

        K / (K - 1) (1 - sum_k var_k / var(sum of the items))

    Args:
      items: `[N, K]` answers of N people to K items.
      where: bool or {0, 1}, broadcastable to `[N, K]`, the answers that exist; people with a missing one are left out.
      undefined: what stands for 0 / 0: fewer than two people or items, or everybody has the same sum.

    Returns:
      float32 (float64 for float64 items) scalar, at most 1.

    Raises:
      ValueError: if items are not `[N, K]`.

    Reference: Cronbach, Coefficient Alpha and the Internal Structure of Tests, 1951.

    >>> cronbach_alpha(jnp.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])).item()
    1.0
    """
    rows, items, count = _complete("items", items, where)
    spread = lambda x: masked_var(x, where=rows.reshape(-1, *[1] * (x.ndim - 1)), axis=0, ddof=1)
    own, whole = jnp.sum(spread(items)), spread(jnp.sum(items, axis=1))
    rounding = 1e-10 * jnp.maximum(own, 1e-20)
    exists = (jnp.sum(rows) > 1) & (count > 1) & ~(whole <= rounding)
    factor = count / max(count - 1, 1)
    return _ratio(factor, factor * own, jnp.where(exists, whole, 0.0), undefined)


def _ratio(start: float, over: jax.Array, under: jax.Array, undefined: float) -> jax.Array:
    """`start - over / under`, or `undefined` where there is nothing below."""
    found = start - over / jnp.where(under == 0, 1.0, under)
    return jnp.where(under == 0, jnp.asarray(undefined, found.dtype), found)


def _check_classes(num_classes: int) -> None:
    if num_classes < 1:
        raise InputError(f"num_classes must be at least 1, got {num_classes}")


def _complete(name: str, table: jax.Array, where: jax.Array | None) -> tuple[jax.Array, jax.Array, int]:
    """Which rows have every entry, the table centred at the mean of these and 0 elsewhere, and its columns."""
    if np.ndim(table) != 2:
        raise InputError(f"{name} must be [N, K], got {np.shape(table)}")
    table = as_float(jax.lax.stop_gradient(table))
    rows = jnp.all(full_mask(where, table.shape, name), axis=1)
    if not table.shape[1]:
        rows = jnp.zeros_like(rows)
    middle = masked_mean(table, where=rows[:, None])
    return rows, jnp.where(rows[:, None], table - middle, 0.0), table.shape[1]
