"""Reinforcement on several domains: rewards for answers with blanks, stages, and a policy that starts afresh in each.

from jaxlab.post_training import multi_domain
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import as_float, masked_mean, master_weights
from jaxlab.core.check import InputError, as_bool, as_integers, check_choice, check_fits, full_mask

STYLES = ("binary", "partial", "formatted", "signed")
"""How `blanks_reward` may pay: all or nothing, by the blank, with the form paid too, or between -1 and 1."""


def blanks_reward(
    right: jax.Array,
    *,
    style: str = "binary",
    partial: bool = False,
    well_formed: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Reward of an answer that fills in several blanks, in the styles that the paper compares.

    With c = share of right blanks, and all = [c = 1]:

        binary: all;   partial: c;   formatted: all or c, + well_formed;   signed: 2 all - 1 or 2 c - 1

    Args:
      right: `[..., N]` bool or {0, 1}, the blanks that are filled in rightly.
      style: one of `STYLES`: R1 to R4 of the paper.
      partial: whether "formatted" and "signed" pay by the blank: False for knights and knaves, True for grid puzzles.
      well_formed: `[...]`, what the form is worth, for "formatted" only.
      where: `[..., N]` bool or {0, 1}, the blanks that the problem has; None means all.

    Returns:
      `[...]` float32; a problem without blanks is worth nothing before it is shifted.

    Raises:
      ValueError: a style that does not exist, or `well_formed` with another style, or shapes that disagree.

    Reference: Can One Domain Help Others?, 2025, section 7.

    >>> right = jnp.array([[1, 1, 0, 1]])
    >>> [blanks_reward(right, style=style, partial=True).item() for style in ("binary", "partial", "signed")]
    [0.0, 0.75, 0.5]
    """
    check_choice("style", style, STYLES)
    if np.ndim(right) == 0:
        raise InputError("right must be [..., N], one for each blank, got a scalar")
    if (well_formed is not None) != (style == "formatted"):
        raise InputError(f"well_formed belongs to style 'formatted', and that style needs it; got {style!r}")
    keep = full_mask(where, np.shape(right), "right")
    filled = masked_mean(as_bool("right", right).astype(jnp.float32), where=keep, axis=-1)
    every = (jnp.all(as_bool("right", right) | ~keep, axis=-1) & jnp.any(keep, axis=-1)).astype(filled.dtype)
    paid = filled if style == "partial" or (partial and style != "binary") else every
    if style == "signed":
        return 2 * paid - 1
    if well_formed is not None:
        check_fits(well_formed, paid.shape, "well_formed", "rewards")
        return paid + as_float(well_formed)
    return paid


def grid_reward(cells: jax.Array, truth: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Share of right cells of a grid puzzle, where a row is known by its first cell and not by its place.

    A row that begins with no name of the truth, or is not there, scores nothing. Rows in another order keep the score.

        sum over rows h of sum_a [cells_{h,a} = truth_{row of the same name, a}] / (H A)

    Args:
      cells: `[..., H, A]` integers, what was answered.
      truth: `[..., H, A]` integers, the first of each row alike in no two rows.
      where: `[..., H]` bool or {0, 1}, the rows that were answered at all; None means all.

    Returns:
      `[...]` float32 in [0, 1], if no name is answered twice.

    Raises:
      ValueError: shapes that disagree, or cells that are not integers.

    Reference: Can One Domain Help Others?, 2025, the verifier of the authors' code for zebra puzzles.

    >>> truth = jnp.array([[0, 5], [1, 6]])
    >>> grid_reward(jnp.array([[1, 6], [0, 6]]), truth).item()
    0.75
    """
    cells, truth = (as_integers(*x, "values of a grid") for x in (("cells", cells), ("truth", truth)))
    if cells.ndim < 2 or cells.shape != truth.shape:
        raise InputError(f"cells {cells.shape} and truth {truth.shape} must have one shape [..., H, A]")
    keep = full_mask(where, cells.shape[:-1], "rows of the cells")
    named = (cells[..., :, None, 0] == truth[..., None, :, 0]) & keep[..., None]
    equal = jnp.mean((cells[..., :, None, :] == truth[..., None, :, :]).astype(jnp.float32), axis=-1)
    return jnp.sum(jnp.where(named, equal, 0.0), axis=(-2, -1)) / max(cells.shape[-2], 1)


def stage(step: jax.Array, *, steps_each: int, stages: int) -> jax.Array:
    """The stage of a curriculum of equal stages that a step belongs to; the last one goes on.

    Args:
      step: int, counted from 0.
      steps_each: at least 1.
      stages: at least 1.

    Returns:
      int32 in [0, stages).

    Raises:
      ValueError: a number below 1.

    Reference: Can One Domain Help Others?, 2025, section 6: one stage for each size of the puzzle.

    >>> [stage(step, steps_each=10, stages=3).item() for step in (0, 9, 10, 99)]
    [0, 0, 1, 2]
    """
    for name, value in (("steps_each", steps_each), ("stages", stages)):
        if value < 1:
            raise InputError(f"{name} is {value}: it must be at least 1")
    return jnp.minimum(jnp.asarray(step, jnp.int32) // steps_each, stages - 1)


def transfer_matrix(scores: jax.Array, start: jax.Array) -> jax.Array:
    """What training on each domain has changed on every other: negative where one is forgotten for another.

        scores_{train, test} - start_test

    Args:
      scores: `[D, E]`, on each of E tests after training on each of D domains or mixtures.
      start: `[E]`, before training.

    Returns:
      `[D, E]` float32 in the unit of the scores.

    Raises:
      ValueError: shapes that disagree.

    Reference: Can One Domain Help Others?, 2025, section 3 (tables 4, 6, 8 and 9 less their first rows).

    >>> transfer_matrix(jnp.array([[0.75, 0.25], [0.5, 1.0]]), jnp.array([0.5, 0.5])).tolist()
    [[0.25, -0.25], [0.0, 0.5]]
    """
    if np.ndim(scores) != 2 or np.shape(start) != np.shape(scores)[1:]:
        raise InputError(f"scores {np.shape(scores)} and start {np.shape(start)} must be [D, E] and [E]")
    return as_float(scores) - as_float(start)


def policy_refresh(state: Any, optimizer: optax.GradientTransformation) -> Any:
    """What happens between two stages: the optimizer forgets, and the reference is the policy as it now is.

    For a `Turn`. The reference lives in the memory of the state, under "reference", where it has one.

    Args:
      state: a `PolicyState`.
      optimizer: the one that the learner was given.

    Returns:
      The state.

    Reference: Can One Domain Help Others?, 2025, section 6 (policy refresh).

    >>> from jaxlab.post_training import PolicyState
    >>> params, optimizer = jnp.ones(2), optax.adam(0.1)
    >>> state = PolicyState(params, optimizer.init(jnp.zeros(2)), 7, 0.5, {"reference": jnp.zeros(2)})
    >>> policy_refresh(state, optimizer).memory["reference"].tolist()
    [1.0, 1.0]
    """
    memory = state.memory
    if isinstance(memory, dict) and "reference" in memory:
        memory = {**memory, "reference": jax.tree.map(jnp.copy, state.params)}  # states may be donated
    return state._replace(opt_state=master_weights(optimizer).init(state.params), memory=memory)
