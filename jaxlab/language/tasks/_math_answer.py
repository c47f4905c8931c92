"""Free-form mathematical answers, compared by value."""

import functools
import importlib.util
from collections.abc import Sequence

from jaxlab.core import InputError, MissingPackage
from jaxlab.language.tasks._answer_finding import candidates, choice
from jaxlab.language.tasks._answer_matching import same
from jaxlab.language.tasks._answer_readings import is_words, readings
from jaxlab.language.tasks._answer_tokens import Unreadable
from jaxlab.language.tasks._answer_tree import Node
from jaxlab.language.tasks._answer_values import undefined


def math_answer_matches(prediction: str, reference: str) -> bool:
    """Whether a free-form answer is that of the reference, by value and not by spelling.

    The answer in a text is the last `\\boxed{}`, else what follows "answer is" or `####`, else the text as a whole if
    it is a formula, else the last formula or number. It may be an expression, several values in any order, a tuple,
    an interval, a matrix, an equation, an inequality, a ratio, a quantity with a unit, a choice or words; in LaTeX,
    Unicode or plain text. Expressions are equal if their values are wherever both have a real one. Words are equal
    but for case, punctuation and an article.

    Numbers are compared exactly. Only if the reference itself is a decimal of at least three digits, an answer that
    rounds to it is right: 22/7 is 3.14 and 2/3 is 0.67, but 0.333 is not 1/3, and 2.51 is not 2.5. Where two of the
    digits are significant, as in 0.67, a decimal has to show two more of them: 0.6667, not 0.668.

    A unit or `x =` that only one of the two has is forgiven; where both have it, it must agree, and units are
    converted. The answer may leave out a percent sign (50 or 0.5 for 50%), brackets around a tuple and a number's
    base; a percent sign that only the answer has means a hundredth, or nothing where the reference is above 1. An
    equation that names a value has to be solved; another may be rearranged.

    Nothing of a text is executed, and the time of a comparison has a bound, whatever is in it: numbers of more than
    some 9,000 digits only equal what is written alike.

    Args:
        prediction: any text; what cannot be read is wrong.
        reference: the right answer.

    Returns:
        True if they are the same answer.

    Raises:
        MissingPackage: mpmath is not installed.
        ValueError: the reference cannot be read, so that no answer would be right. `MathAnswers` finds out before
            training begins.

    Reference: Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset, 2021, for the kinds of
      answers.

    >>> math_answer_matches("So it must be $0.5$.", r"\\frac{1}{2}")
    True
    """
    if importlib.util.find_spec("mpmath") is None:
        raise MissingPackage('math_answer_matches needs mpmath: pip install "jaxlab[language]"')
    wanted = _wanted(reference)
    if prediction.strip() == reference.strip():
        return True
    words = all(is_words(node) or node.kind == "choice" for node in wanted)
    found = _found(prediction, words=words, letter=any(node.kind == "choice" for node in wanted))
    return any(same(one, other) for one in found for other in wanted)


def math_score(reference: str, text: str) -> float:
    """1 if the text's answer is that of the reference, else 0: `math_answer_matches` for `verify_text`.

    Args:
        reference: the right answer.
        text: any text.

    Returns:
        0.0 or 1.0.

    Raises:
        ValueError: the reference cannot be read.

    Reference: Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset, 2021.

    >>> math_score("42", "It is 12 + 30 = 42")
    1.0
    """
    return float(math_answer_matches(text, reference))


def _load() -> None:
    math_answer_matches("$x^2 + 1$", "$1 + x^2$")


math_score.prepare = _load  # the import of mpmath


class MathAnswers:
    """Right answers by index, each of them readable, with a score for texts: a task for `verify_text`.

    `answers.score(i, text)` is 1.0 if `math_answer_matches(text, references[i])`, else 0.0. It is a scorer for
    `text_rlvr_learner`, whose items are the indices.

    Args:
        references: the right answers of the problems, in their order.

    Raises:
        MissingPackage: mpmath is not installed.
        ValueError: references that cannot be read: how many, which is the first, and why.

    >>> answers = MathAnswers([r"\\frac{1}{2}", r"\\$18.90"])
    >>> answers.score(1, "It costs $18.90.")
    1.0
    """

    def __init__(self, references: Sequence[str]):
        self.references = tuple(references)
        faults = []
        for index, reference in enumerate(self.references):
            try:
                math_answer_matches("", reference)
            except MissingPackage:
                raise
            except InputError as error:
                faults.append((index, error))
        if faults:
            (index, error), count = faults[0], len(faults)
            raise InputError(
                f"{count} of {len(self.references)} references cannot be read; number {index}: {error}"
            )

    def __len__(self) -> int:
        """Number of references."""
        return len(self.references)

    def score(self, index: int, text: str) -> float:
        """1 if the text's answer is that of reference `index`, else 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} is not one of the {len(self)} references")
        return math_score(self.references[index], text)

    score.prepare = _load


@functools.lru_cache(maxsize=4096)
def _wanted(reference: str) -> tuple[Node, ...]:
    """What a reference can mean; its first piece decides."""
    candidate, _ = next(candidates(reference))
    try:
        found = tuple(node for node in readings(candidate) if not undefined(node))
        if not found:
            raise Unreadable("it has no value")
    except Unreadable as error:
        raise InputError(f"the reference {reference[:80]!r} cannot be read as an answer: {error}") from error
    return found


def _found(prediction: str, *, words: bool, letter: bool) -> list[Node]:
    """What the first readable piece of a text can mean."""
    if letter and (chosen := choice(prediction)):
        return readings(chosen)
    for candidate, decides in candidates(prediction):
        try:
            found = readings(candidate)
        except Unreadable:
            found = []
        if decides or (found and (words or not all(map(is_words, found)))):
            return found
    return []
