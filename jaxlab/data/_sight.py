"""What two people and a language model said of the same comments on lectures: real labels, without the comments."""

import pathlib
from typing import NamedTuple

import numpy as np

_FILE = pathlib.Path(__file__).parent / "sight" / "labels.npz"

SIGHT_CATEGORIES = (
    "general",
    "confusion",
    "pedagogy",
    "setup",
    "gratitude",
    "personal_experience",
    "clarification",
    "non_english",
    "none",
)


class RaterLabels(NamedTuple):
    """Labels `[N, L]` int32 of N texts by L categories, 1 for yes, 0 for no, -1 for a missing one: `sight_labels`.

    Attributes:
      human1, human2: of two people.
      zero_shot: of a language model that was told the category alone.
      few_shot: with three examples; a third of its labels is missing in most categories.
      reasoning: with three examples and a reason for each.
    """

    human1: np.ndarray
    human2: np.ndarray
    zero_shot: np.ndarray
    few_shot: np.ndarray
    reasoning: np.ndarray


def sight_labels() -> RaterLabels:
    """289 comments on recorded mathematics lectures in nine categories of feedback, `SIGHT_CATEGORIES`.

    Counts of yes and no alone: neither the comments nor who wrote them. The prompts behind the model's labels were
    improved on part of these comments. The labels are the authors', under the MIT licence that lies beside them.

    Returns:
      `RaterLabels` of `[289, 9]`.

    Reference: Wang et al., SIGHT: A Large Annotated Dataset on Student Insights Gathered from Higher Education
      Transcripts, 2023: github.com/rosewang2008/sight.

    >>> labels = sight_labels()
    >>> labels.human1.shape, int((labels.human1[:, 4] == 1).sum())
    ((289, 9), 38)
    """
    with np.load(_FILE) as file:
        return RaterLabels(*(file[name].astype(np.int32) for name in RaterLabels._fields))
