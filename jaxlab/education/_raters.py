"""A model beside two people who label the same texts, category by category."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError, as_integers, full_mask
from jaxlab.metrics import cohen_kappa


class RaterKappas(NamedTuple):
    """Agreement per category, from `rater_kappas`.

    Attributes:
      humans: `[L]` kappa of the two people.
      model: `[L]` mean of the model's kappa with each of them.

    >>> RaterKappas(jnp.zeros(2), jnp.ones(2))._fields
    ('humans', 'model')
    """

    humans: jax.Array
    model: jax.Array


def rater_kappas(
    human1: jax.Array,
    human2: jax.Array,
    model: jax.Array,
    *,
    num_classes: int = 2,
    where: jax.Array | None = None,
    undefined: float = jnp.nan,
) -> RaterKappas:
    """Cohen's kappa of two people, and of a model with them, for every category.

    Each kappa is over the texts that both sides labelled: two of them need not be over the same ones. No gradient
    passes.

    Args:
      human1: `[N, L]` integers in [0, C), N texts by L categories; a negative one is a missing label.
      human2: `[N, L]`.
      model: `[N, L]`.
      num_classes: C, static; 2 for yes and no.
      where: bool or {0, 1}, broadcastable to `[N, L]`, the labels that count; None means all.
      undefined: what stands for a kappa that is 0 / 0.

    Returns:
      `RaterKappas` of `[L]` float32.

    Raises:
      ValueError: if the three are not all `[N, L]` integers in [0, C).

    Reference: Wang et al., SIGHT: A Large Annotated Dataset on Student Insights Gathered from Higher Education
      Transcripts, 2023.

    >>> x, y = jnp.array([[0], [0], [1], [1]]), jnp.array([[0], [0], [1], [0]])
    >>> kappas = rater_kappas(x, y, y)
    >>> kappas.humans.tolist(), kappas.model.tolist()
    ([0.5], [0.75])
    """
    shapes = [np.shape(x) for x in (human1, human2, model)]
    if len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise InputError(f"human1, human2 and model must all be [N, L], got {', '.join(map(str, shapes))}")
    counts = full_mask(where, shapes[0], "labels")
    kappa = lambda x, y, where: cohen_kappa(x, y, num_classes=num_classes, where=where, undefined=undefined)
    each = jax.vmap(kappa, in_axes=1)
    # Before the map over categories, in which values cannot be seen.
    human1, human2, model = (
        as_integers(name, x, "categories", num_classes, where=where, ignore="a missing label")
        for name, x in (("human1", human1), ("human2", human2), ("model", model))
    )
    with_model = each(human1, model, counts), each(human2, model, counts)
    return RaterKappas(each(human1, human2, counts), (with_model[0] + with_model[1]) / 2)


def parse_true_false(text: str, *, inverted: bool = False) -> int:
    """The label in a model's one-word answer.

    Args:
      text: "true" or "false", in any case, with blanks, quotes or a full stop around it.
      inverted: for a statement that says the opposite of the category.

    Returns:
      1 or 0; -1 for any other text, a missing label.

    Reference: Wang et al., SIGHT, 2023, whose prompts end in a statement that is true or false.

    >>> parse_true_false(" True."), parse_true_false("false", inverted=True), parse_true_false("maybe")
    (1, 1, -1)
    """
    word = text.strip().strip("\"'.").strip().lower()
    if word not in ("true", "false"):
        return -1
    return int((word == "true") != inverted)
