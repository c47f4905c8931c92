"""Grades against a reference: how far, in which direction, in which order; and the texts that ask for one."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, pearson
from jaxlab.core.check import InputError, check_choice, check_least, check_positive, full_mask
from jaxlab.metrics import kendall_tau, spearman


class GradeAgreement(NamedTuple):
    """How grades go with those of a reference, see `grade_agreement`; float32 scalars.

    Attributes:
      bias: mean of grade less reference.
      mae: mean absolute difference.
      rmse: root of the mean squared difference.
      pearson, spearman, kendall: correlations.
      exact: share of equal grades.
      near: share within the tolerance.

    >>> GradeAgreement(*jnp.zeros(8))._fields[:3]
    ('bias', 'mae', 'rmse')
    """

    bias: jax.Array
    mae: jax.Array
    rmse: jax.Array
    pearson: jax.Array
    spearman: jax.Array
    kendall: jax.Array
    exact: jax.Array
    near: jax.Array


def grade_agreement(
    grades: jax.Array,
    reference: jax.Array,
    *,
    tolerance: float = 0.5,
    where: jax.Array | None = None,
    undefined: float = jnp.nan,
) -> GradeAgreement:
    """How a grader's grades go with a reference's: one number of each kind for a batch.

    Means can agree where single grades do not: look at the bias beside the mean absolute error. Divide assignments of
    different maxima by these first, and correlate them one by one. No gradient passes.

    Args:
      grades: `[N]`.
      reference: `[N]`, the instructor's.
      tolerance: up to which two grades are near, at least 0.
      where: `[N]` bool or {0, 1}, the grades that exist on both sides; None means all.
      undefined: what stands for the correlation with a constant.

    Returns:
      `GradeAgreement`, float32 (float64 for float64 grades); zeros but for the correlations if nothing counts.

    Raises:
      ValueError: if the two are not both `[N]`, or the tolerance is below 0.

    Reference: Golchin et al., Large Language Models As MOOCs Graders, 2024.

    >>> found = grade_agreement(jnp.array([1.0, 3.0, 4.0]), jnp.array([1.0, 2.0, 4.5]))
    >>> round(found.bias.item(), 4), found.mae.item(), round(found.near.item(), 4)
    (0.1667, 0.5, 0.6667)
    """
    if np.ndim(grades) != 1 or np.shape(grades) != np.shape(reference):
        raise InputError(f"grades {np.shape(grades)} and reference {np.shape(reference)} must both be [N]")
    check_least("tolerance", tolerance, 0)
    counts = full_mask(where, np.shape(grades), "grades")
    kept = lambda x: jnp.where(counts, as_float(jax.lax.stop_gradient(x)), 0.0)
    grades, reference = kept(grades), kept(reference)
    gap = grades - reference
    mean = lambda x: masked_mean(x, where=counts)
    share = lambda inside: jnp.where(jnp.isnan(mean(gap)), jnp.nan, mean(inside))
    rho = spearman(grades, reference, where=counts, undefined=undefined)
    line = pearson(grades, reference, where=counts, eps=0.0)
    # Where ranks are constant so are the grades.
    constant = jnp.isnan(spearman(grades, reference, where=counts)) & ~jnp.isnan(mean(gap))
    return GradeAgreement(
        bias=mean(gap),
        mae=mean(jnp.abs(gap)),
        rmse=jnp.sqrt(mean(jnp.square(gap))),
        pearson=jnp.where(constant, undefined, line),
        spearman=rho,
        kendall=kendall_tau(grades, reference, where=counts, undefined=undefined),
        exact=share(gap == 0),
        near=share(jnp.abs(gap) <= tolerance * (1 + 1e-6)),
    )


def aggregate_peers(
    grades: jax.Array, *, how: str = "median", where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """One grade per submission from the peers that graded it.

    The median of an even number is the mean of the two in the middle. No gradient passes.

    Args:
      grades: `[M, N]`, M peers of N submissions.
      how: "median" or "mean".
      where: bool or {0, 1}, broadcastable to `[M, N]`, the grades that exist; None means all.

    Returns:
      (grades `[N]`, which submissions have one bool `[N]`); float32 (float64 for float64 grades), 0 without a peer.

    Raises:
      ValueError: if grades are not `[M, N]`, or `how` is another word.

    Reference: Golchin et al., Large Language Models As MOOCs Graders, 2024; peers' medians are the platform's rule.

    >>> grades, graded = aggregate_peers(jnp.array([[1.0, 5.0], [4.0, 7.0]]), where=jnp.array([[1, 0], [1, 0]]))
    >>> grades.tolist(), graded.tolist()
    ([2.5, 0.0], [True, False])
    """
    if np.ndim(grades) != 2:
        raise InputError(f"grades must be [M, N], got {np.shape(grades)}")
    check_choice("how", how, ("median", "mean"))
    counts = full_mask(where, np.shape(grades), "grades")
    grades = as_float(jax.lax.stop_gradient(grades))
    number = jnp.sum(counts, axis=0)
    if how == "mean" or not grades.shape[0]:
        return masked_mean(grades, where=counts, axis=0), number > 0
    ordered = jnp.sort(jnp.where(counts, grades, jnp.inf), axis=0)
    at = lambda index: jnp.take_along_axis(ordered, jnp.clip(index, 0)[None], axis=0)[0]
    median = (at((number - 1) // 2) + at(number // 2)) / 2
    spoiled = jnp.any(counts & jnp.isnan(grades), axis=0)
    return jnp.where(spoiled, jnp.nan, jnp.where(number > 0, median, 0.0)), number > 0


def spearman_brown(reliability: jax.Array, raters: jax.Array) -> jax.Array:
    """Reliability of the mean of several raters from that of one.

        m r / (1 + (m - 1) r)

    Args:
      reliability: r of one rater, above -1 / (m - 1), of any shape.
      raters: m, at least 1, broadcastable to it.

    Returns:
      The broadcast shape, float32 (float64 for float64 input).

    Raises:
      ValueError: a known number of raters below 1.

    Reference: Spearman, Correlation Calculated from Faulty Data, 1910; Brown, Some Experimental Results, 1910.

    >>> round(spearman_brown(0.5, 4).item(), 4)
    0.8
    """
    check_least("raters", raters, 1)
    reliability, raters = as_float(reliability), as_float(jnp.asarray(raters))
    return raters * reliability / (1 + (raters - 1) * reliability)


def same_mean_p_value(
    key: jax.Array, difference: jax.Array, *, resamples: int = 10_000, where: jax.Array | None = None
) -> jax.Array:
    """Bootstrap p-value of "the mean difference of two graders is 0", two-sided: how often chance is as far from it.

    A large p is no agreement: the test sees the means alone, and few submissions show little. Say `equivalence_p_value`
    and the mean absolute error beside it.

        (1 + #{b: |d*_b - d| >= |d|}) / (1 + R),   d the mean, d*_b that of a resample

    Args:
      key: `jax.random.key`.
      difference: `[N]` of two grades of each submission.
      resamples: R, static.
      where: `[N]` bool or {0, 1}, the submissions that count; None means all.

    Returns:
      float32 scalar in (0, 1]; 1 for fewer than two submissions, which show nothing.

    Raises:
      ValueError: if differences are not `[N]` with N at least 1, or there is no resample.

    Reference: Golchin et al., Large Language Models As MOOCs Graders, 2024 (resampling, 0.05); Efron and Tibshirani,
      An Introduction to the Bootstrap, 1993, section 16.4.

    >>> bool(same_mean_p_value(jax.random.key(0), 5 + jnp.arange(8.0), resamples=99) < 0.05)
    True
    """
    if np.ndim(difference) != 1 or not np.shape(difference)[0]:
        raise InputError(f"difference must be [N] with N at least 1, got {np.shape(difference)}")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}")
    counts = full_mask(where, np.shape(difference), "submissions")
    gap = jnp.where(counts, as_float(jax.lax.stop_gradient(difference)), 0.0)
    number, rows = jnp.sum(counts), jnp.argsort(~counts, stable=True)
    mean = masked_mean(gap, where=counts)
    shape = (resamples, len(counts))
    index = rows[jax.random.randint(key, shape, 0, jnp.maximum(number, 1))]
    drawn = masked_mean(gap[index] - mean, where=jnp.arange(len(counts)) < number, axis=1)
    as_far = (jnp.abs(drawn) >= jnp.abs(mean) * (1 - 1e-6)) | (number < 2)
    return jnp.where(jnp.isnan(mean), mean, (1 + jnp.sum(as_far)) / (1 + resamples))


def render_grading_prompt(
    question: str, reference: str, student: str, *, total: float, rubric: str | None = None
) -> str:
    """What asks a language model for a grade: the answer to compare with, the rubric if there is one, and the marks.

    Args:
      question: of the assignment.
      reference: the instructor's answer.
      student: the answer to grade.
      total: the most that can be had, positive.
      rubric: the instructor's, or one that a model wrote; None leaves it out.

    Returns:
      The prompt; it asks for reasons first and `Score: x/total` at the end, which `parse_score` reads.

    Raises:
      ValueError: a total that is not positive.

    Reference: Golchin et al., Large Language Models As MOOCs Graders, 2024: its three prompts, in our words.

    >>> "Rubric" in render_grading_prompt("Why?", "Because.", "So.", total=3), render_grading_prompt(
    ...     "Why?", "Because.", "So.", total=3).splitlines()[-1]
    (False, 'End with one line: Score: x/3')
    """
    check_positive("total", total)
    parts = [("Question", question), ("Correct answer", reference)]
    parts += [] if rubric is None else [("Rubric", rubric)]
    parts += [("Student's answer", student)]
    body = "\n\n".join(f"{name}:\n{text.strip()}" for name, text in parts)
    most = f"{total:g}"
    task = (
        f"Grade the student's answer with 0 to {most} points. Think step by step and give your reasons first."
    )
    return f"{body}\n\n{task}\nEnd with one line: Score: x/{most}"


_SCORE = re.compile(
    r"(?:score|grade|marks?)?\s*[:=]?\s*(-?\d+(?:\.\d+)?)\s*(?:/|out of)\s*(\d+(?:\.\d+)?)", re.IGNORECASE
)
_PLAIN = re.compile(r"(?:score|grade|marks?)\s*(?:is|of)?\s*[:=]?\s*(-?\d+(?:\.\d+)?)", re.IGNORECASE)


def parse_score(text: str, *, total: float, step: float | None = None) -> float:
    """The last score that a text gives, as a number between 0 and the total.

    "Score: 7/9", "8 out of 9" or "Score: 7". A score out of another number is brought to the total; one outside the
    range is cut off at its end.

    Args:
      text: what a grader wrote.
      total: the most that can be had, positive.
      step: scores are rounded to multiples of it, halves up; None leaves them.

    Returns:
      The score; NaN where there is none.

    Raises:
      ValueError: a total or a step that is not positive.

    Reference: Golchin et al., Large Language Models As MOOCs Graders, 2024.

    >>> parse_score("Good. 8 out of 9", total=9), parse_score("Score: 12/9", total=9), parse_score("?", total=9)
    (8.0, 9.0, nan)
    """
    check_positive("total", total)
    check_positive("step", step)
    found = [(match.start(), float(match[1]), float(match[2])) for match in _SCORE.finditer(text)]
    found = [entry for entry in found if entry[2] > 0]
    if not found:
        found = [(match.start(), float(match[1]), float(total)) for match in _PLAIN.finditer(text)]
    if not found:
        return float("nan")
    _, score, most = found[-1]
    score = score if most == total else score / most * total
    if step is not None:
        score = np.floor(score / step + 0.5) * step
    return float(min(max(score, 0.0), total))
