"""Difficulty that is measured again before each stage, and expert solutions that a policy rewrites in its own words.

    from jaxlab.post_training import adcl_egsr

ADCL: `stages_by_difficulty` once, then, in a `Turn` before each stage, `resort` of that stage alone. EGSR: where a
group has failed (`ampo.needs_guidance`), sample on `guided_prompts`, verify, and `post_training.inject` what is right;
the loss scores it on the prompt without guidance. No code is public.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_bool, check_same_shape, full_mask
from jaxlab.metrics import spearman
from jaxlab.post_training._contracts import check_tokens, zero_outside


def difficulty(correct: jax.Array) -> jax.Array:
    """How hard problems are for a policy: the share of its answers that are wrong.

        d = 1 - mean_n correct

    Args:
      correct: `[..., n]` bool or {0, 1}, several answers to each problem.

    Returns:
      `[...]` float32 in [0, 1].

    Raises:
      ValueError: no answers, or numbers that are neither 0 nor 1.

    Reference: Learning Like Humans (ADCL and EGSR), 2025, section 3.1; the number of answers is not given.

    >>> difficulty(jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]])).tolist()
    [0.75, 0.0]
    """
    if np.ndim(correct) == 0 or np.shape(correct)[-1] == 0:
        raise InputError(
            f"correct {np.shape(correct)} must be [..., n], at least one answer for each problem"
        )
    return 1 - jnp.mean(as_bool("correct", correct).astype(jnp.float32), axis=-1)


def stages_by_difficulty(scores: jax.Array, *, stages: int, key: jax.Array | None = None) -> jax.Array:
    """The rows of a data set from easy to hard, cut into stages of equal size, which keep their members for good.

    Args:
      scores: `[N]`, larger for what is harder.
      stages: static number of stages, a divisor of N.
      key: orders equals at random; None leaves them as they stand.

    Returns:
      int32 `[stages, N / stages]`, rows, each stage from easy to hard.

    Raises:
      ValueError: scores that are not `[N]`, stages that do not divide them, or a known score that is NaN.

    Reference: Learning Like Humans, 2025, section 3.1, algorithm 1, line 1.

    >>> stages_by_difficulty(jnp.array([0.5, 0.0, 1.0, 0.25]), stages=2).tolist()
    [[1, 3], [0, 2]]
    """
    size = np.shape(scores)
    if len(size) != 1 or stages < 1 or size[0] % stages:
        raise InputError(f"scores {size} must be [N], and stages {stages} a divisor of N")
    rows = resort(jnp.arange(size[0], dtype=jnp.int32), scores, key=key)
    return rows.reshape(stages, -1)


def resort(rows: jax.Array, scores: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
    """The rows of one stage from easy to hard as the policy now finds them: a stable sort.

    Args:
      rows: `[M]` integers.
      scores: `[M]`, how hard each of these rows is.
      key: orders equals at random; None leaves them as they stand.

    Returns:
      `[M]`.

    Raises:
      ValueError: shapes that differ, or a known score that is NaN.

    Reference: Learning Like Humans, 2025, section 3.1, algorithm 1: only the next batch is sorted again.

    >>> resort(jnp.array([7, 8, 9]), jnp.array([0.5, 0.0, 0.5])).tolist()
    [8, 7, 9]
    """
    check_same_shape("[M]", rows=rows, scores=scores)
    check_no_nan("scores", scores)
    rows, scores = jnp.asarray(rows), as_float(jax.lax.stop_gradient(scores))
    if key is not None:
        mixed = jax.random.permutation(key, rows.shape[0])
        rows, scores = rows[mixed], scores[mixed]
    return rows[jnp.argsort(scores, stable=True)]


def difficulty_shift(before: jax.Array, now: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """How far what was hard at the beginning is hard no longer: 0 where the order has stayed.

        1 - spearman(before, now)

    Args:
      before: `[N]` difficulties.
      now: `[N]`.
      where: `[N]` bool or {0, 1}; None means all.

    Returns:
      Scalar float32 in [0, 2]; NaN where all are equally hard.

    Raises:
      ValueError: as `metrics.spearman`.

    Reference: Learning Like Humans, 2025, figure 2 (Difficulty Shift).

    >>> round(difficulty_shift(jnp.array([0.0, 0.5, 1.0]), jnp.array([0.3, 0.2, 0.1])).item(), 4)
    2.0
    """
    return 1 - spearman(before, now, where=where)


def perplexity(log_probs: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """How foreign a text is to a policy: that of its own rewriting is low, that of an expert's text high.

        exp(-mean_t log_probs)

    Args:
      log_probs: `[..., T]` of its tokens.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the text's tokens; None means all.

    Returns:
      `[...]` float32, 1 for a text without tokens.

    Raises:
      ValueError: a mask that does not broadcast.

    Reference: Learning Like Humans, 2025, section 3.2.

    >>> perplexity(jnp.log(jnp.array([[0.5, 0.125]]))).round(3).tolist()
    [4.0]
    """
    check_tokens(log_probs=log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    return jnp.exp(-masked_mean(zero_outside(keep, log_probs), where=keep, axis=-1))


def guided_prompts(
    prompts: jax.Array, prompt_mask: jax.Array, guidance: jax.Array, guidance_mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Prompts with an expert's answer, solution or both behind them, for the policy to say in its own words.

    Args:
      prompts: `[P, T]` int32, padding on either side.
      prompt_mask: `[P, T]` bool or {0, 1}.
      guidance: `[P, H]` int32, the tokens of the guidance, markers included.
      guidance_mask: `[P, H]` bool or {0, 1}; false throughout for a prompt without guidance.

    Returns:
      `(prompts [P, T + H], prompt_mask)`, padded on the left.

    Raises:
      ValueError: shapes that do not belong together.

    Reference: Learning Like Humans, 2025, section 3.2: EGSR(a), EGSR(s) and EGSR(s, a).

    >>> prompts, mask = guided_prompts(
    ...     jnp.array([[0, 5], [6, 7]]), jnp.array([[0, 1], [1, 1]]), jnp.array([[8], [8]]), jnp.array([[1], [0]]))
    >>> prompts.tolist(), mask.tolist()
    ([[0, 5, 8], [0, 6, 7]], [[False, True, True], [False, True, True]])
    """
    check_same_shape("[P, T]", prompts=prompts, prompt_mask=prompt_mask)
    check_same_shape("[P, H]", guidance=guidance, guidance_mask=guidance_mask)
    if np.shape(prompts)[0] != np.shape(guidance)[0]:
        raise InputError(
            f"prompts {np.shape(prompts)} and guidance {np.shape(guidance)} must have as many rows"
        )
    masks = as_bool("prompt_mask", prompt_mask), as_bool("guidance_mask", guidance_mask)
    keep = jnp.concatenate(masks, axis=1)
    tokens = jnp.where(keep, jnp.concatenate([jnp.asarray(prompts), jnp.asarray(guidance)], axis=1), 0)
    order = jnp.argsort(keep, axis=1, stable=True)
    return jnp.take_along_axis(tokens, order, axis=1), jnp.take_along_axis(keep, order, axis=1)
