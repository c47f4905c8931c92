"""Click models: a document is clicked when its position was examined and its text seemed relevant."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import check_values
from jaxlab.core.check import (
    InputError,
    check_fraction,
    check_least,
    check_probabilities,
    check_together,
    fitted,
    full_mask,
)

# Eye tracking on ten results, as the public code of DLA has them.
_EXAMINED = (0.68, 0.61, 0.48, 0.34, 0.28, 0.20, 0.11, 0.10, 0.08, 0.06)


def position_bias_examination(length: int, *, eta: float | jax.Array = 1.0) -> jax.Array:
    """The probability that users look at each position, in the position-based model.

        E_i = rho_i^eta,    rho = .68 .61 .48 .34 .28 .20 .11 .10 .08 .06, and .06 after the tenth

    Args:
      length: number of positions L.
      eta: severity of the bias: 0 for none, 1 as measured, more for impatient users.

    Returns:
      `[L]` float32, falling.

    Raises:
      ValueError: if `length` is below 1, or a static `eta` is negative.

    Reference: Joachims et al., Accurately Interpreting Clickthrough Data as Implicit Feedback, SIGIR 2005, for eye
      tracking; Ai et al., Unbiased Learning to Rank with Unbiased Propensity Estimation, SIGIR 2018, section 5, for
      eta. The ten numbers are those of the latter's public code.

    >>> [round(x, 4) for x in position_bias_examination(3, eta=2.0).tolist()]
    [0.4624, 0.3721, 0.2304]
    """
    if length < 1:
        raise InputError(f"length is {length}: it must be at least 1")
    check_least("eta", eta, 0)
    positions = [_EXAMINED[min(i, len(_EXAMINED) - 1)] for i in range(length)]
    return jnp.asarray(positions, jnp.float32) ** eta


def click_probability(
    grades: jax.Array, *, max_grade: int = 4, noise: float = 0.1, positive: float = 1.0
) -> jax.Array:
    """The probability that a document of some grade is clicked once it is examined.

        p(r) = noise + (positive - noise) (2^r - 1) / (2^max_grade - 1)

    Args:
      grades: `[...]` numbers in [0, max_grade]; known ones are checked.
      max_grade: the best grade, at least 1.
      noise: clicks on grade 0.
      positive: clicks on the best grade.

    Returns:
      `[...]` float32 (float64 for float64 grades).

    Raises:
      ValueError: if `max_grade` is below 1, a grade lies outside [0, max_grade], or not 0 <= noise <= positive <= 1.

    Reference: Ai et al., Unbiased Learning to Rank with Unbiased Propensity Estimation, SIGIR 2018, section 5, after
      expected reciprocal rank (Chapelle et al., CIKM 2009).

    >>> [round(x, 2) for x in click_probability(jnp.arange(5)).tolist()]
    [0.1, 0.16, 0.28, 0.52, 1.0]
    """
    check_together(
        "max_grade must be at least 1 and 0 <= noise <= positive <= 1",
        lambda most, low, high: (most >= 1) & (low >= 0) & (low <= high) & (high <= 1),
        max_grade=max_grade,
        noise=noise,
        positive=positive,
    )
    check_values(lambda x: _beyond(x, max_grade), grades)
    grades = as_float(grades).clip(0, max_grade)
    lowest = 2.0**-max_grade  # divided out, so that high grades do not overflow
    return noise + (positive - noise) * (jnp.exp2(grades - max_grade) - lowest) / (1 - lowest)


def _beyond(grades: np.ndarray, most: int) -> str | None:
    bad = (grades < 0) | (grades > most)
    return f"grades must be in [0, {most}], got {grades[bad][0]}" if bad.any() else None


def trust_bias_click_probability(
    relevance: jax.Array, *, trust: float = 0.65, doubt: float = 0.01
) -> jax.Array:
    """The probability of a click on an examined document where users trust the ranking's top positions.

    At the top even an irrelevant document seems worth a click, and further down a relevant one a little less. No
    weighting of clicks by position undoes it.

        p_i = plus_i R_i + minus_i (1 - R_i),    minus_i = trust / i,    plus_i = 1 - doubt (i + 1),    i = 1, 2, ...

    Args:
      relevance: `[..., L]` probabilities that the document seems relevant when looked at, in the order shown.
      trust: clicks on an irrelevant document in first place.
      doubt: what a relevant one loses with every position.

    Returns:
      `[..., L]` float32 (float64 for float64 relevance).

    Raises:
      ValueError: if `relevance` is a scalar, `trust` is not in [0, 1], or `doubt` makes a probability negative.

    Reference: Agarwal et al., Addressing Trust Bias for Unbiased Learning-to-Rank, WWW 2019, for the model; Vardasbi,
      Oosterhuis and de Rijke, When Inverse Propensity Scoring does not Work, CIKM 2020, for numbers of this size.

    >>> [round(x, 3) for x in trust_bias_click_probability(jnp.array([1.0, 0.0, 0.0])).tolist()]
    [0.98, 0.325, 0.217]
    """
    if not np.ndim(relevance):
        raise InputError(f"relevance {np.shape(relevance)} must have shape [..., L]")
    length = np.shape(relevance)[-1]
    check_fraction("trust", trust)
    check_fraction("doubt times L + 1", doubt * (length + 1))
    check_probabilities("relevance", relevance)
    relevance = as_float(relevance)
    place = 1 + jnp.arange(length, dtype=relevance.dtype)
    return (1 - doubt * (place + 1)) * relevance + trust / place * (1 - relevance)


def sample_clicks(
    key: jax.Array, probabilities: jax.Array, examination: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Clicks of the position-based model: every position is examined or not, whatever happens at the others.

        c_i ~ Bernoulli(E_i p_i)

    Args:
      key: `jax.random.key`.
      probabilities: `[..., L]`, of a click once examined, in the order shown.
      examination: broadcastable to `[..., L]`, of being examined.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; the others are never clicked.

    Returns:
      `[..., L]` float32, 0 or 1; NaN where a probability is.

    Raises:
      ValueError: if shapes do not broadcast, or known values are no probabilities.

    Reference: Richardson, Dominowska and Ragno, Predicting Clicks, WWW 2007 (the examination hypothesis).

    >>> sample_clicks(jax.random.key(0), jnp.ones((2, 3)), jnp.array([1.0, 1.0, 0.0])).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
    """
    shape = np.shape(probabilities)
    examination, valid = fitted(examination, shape, "examination", "lists"), full_mask(where, shape, "lists")
    for name, x in (("probabilities", probabilities), ("examination", examination)):
        check_probabilities(name, x, where=valid)
    chance = jnp.where(valid, as_float(probabilities) * examination, 0.0)
    clicks = (_chances(key, shape) < chance).astype(jnp.float32)
    return jnp.where(jnp.isnan(chance), jnp.nan, clicks)


def sample_cascade_clicks(
    key: jax.Array,
    probabilities: jax.Array,
    *,
    after_click: float = 0.3,
    after_skip: float = 0.9,
    where: jax.Array | None = None,
) -> jax.Array:
    """Clicks of a user who reads from the top and may stop after each document, sooner after a click.

    Whether a position is examined depends on the documents above it, so that no curve over positions is quite right.

        E_1 = 1,    c_i ~ Bernoulli(p_i) if examined,    go on with after_click if clicked, else after_skip

    Args:
      key: `jax.random.key`.
      probabilities: `[..., L]`, of a click once examined, in the order shown.
      after_click, after_skip: probabilities of going on.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; the others are passed over.

    Returns:
      `[..., L]` float32, 0 or 1; NaN where a probability is.

    Raises:
      ValueError: if a probability of going on is not in [0, 1], or `where` does not broadcast.

    Reference: Guo, Liu and Wang, Efficient Multiple-Click Models in Web Search, WSDM 2009 (the dependent click model,
      with one probability for all positions); after_click 0 and after_skip 1 is the cascade model of Craswell et al.,
      WSDM 2008.

    >>> always = jnp.ones((1, 3))
    >>> sample_cascade_clicks(jax.random.key(0), always, after_click=0.0, after_skip=1.0).tolist()
    [[1.0, 0.0, 0.0]]
    """
    shape = np.shape(probabilities)
    _check_going_on(after_click, after_skip, shape)
    valid = full_mask(where, shape, "lists")
    check_probabilities("probabilities", probabilities, where=valid)
    click_key, stay_key = jax.random.split(key)
    p = jnp.where(valid, as_float(probabilities), 0.0)
    seems = _chances(click_key, shape) < p
    stays = _chances(stay_key, shape) < jnp.where(seems, after_click, after_skip)
    stays = jnp.where(valid, stays, True)
    before = jnp.concatenate([jnp.ones_like(stays[..., :1]), stays[..., :-1]], axis=-1)
    examined = jnp.cumprod(before.astype(jnp.int32), axis=-1) > 0
    unknown = jnp.cumsum(jnp.isnan(p), axis=-1) > 0  # and with it all that comes after
    return jnp.where(unknown, jnp.nan, (seems & examined).astype(jnp.float32))


def cascade_examination(
    probabilities: jax.Array,
    *,
    after_click: float = 0.3,
    after_skip: float = 0.9,
    where: jax.Array | None = None,
) -> jax.Array:
    """The probability that `sample_cascade_clicks` gets to each position of these very lists.

    Averaged over lists it is the best that a curve over positions can do.

        E_1 = 1,    E_{i+1} = E_i (p_i after_click + (1 - p_i) after_skip)

    Args:
      probabilities: `[..., L]`, of a click once examined, in the order shown.
      after_click, after_skip: probabilities of going on.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; the others are passed over.

    Returns:
      `[..., L]` float32 (float64 for float64 probabilities).

    Raises:
      ValueError: if a probability of going on is not in [0, 1], or `where` does not broadcast.

    Reference: Craswell et al., An Experimental Comparison of Click Position-Bias Models, WSDM 2008.

    >>> [round(x, 2) for x in cascade_examination(jnp.array([1.0, 0.5, 0.0])).tolist()]
    [1.0, 0.3, 0.18]
    """
    shape = np.shape(probabilities)
    _check_going_on(after_click, after_skip, shape)
    valid = full_mask(where, shape, "lists")
    check_probabilities("probabilities", probabilities, where=valid)
    p = as_float(probabilities)
    on = jnp.where(valid, after_skip + p * (after_click - after_skip), 1.0)
    return jnp.cumprod(jnp.concatenate([jnp.ones_like(on[..., :1]), on[..., :-1]], axis=-1), axis=-1)


def _chances(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, jnp.float32)


def _check_going_on(after_click: float, after_skip: float, shape: tuple[int, ...]) -> None:
    if not shape:
        raise InputError(f"probabilities {shape} must have shape [..., L]")
    check_fraction("after_click", after_click)
    check_fraction("after_skip", after_skip)
