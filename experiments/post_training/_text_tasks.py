"""Questions with a scorer, from somebody else's package or built in, split so that no question is in two splits."""

import dataclasses
import random
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments.parts.checks import check_name, choose
from jaxlab.core import InputError
from jaxlab.language.tasks import ReasoningGym

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
ANSWERS: dict[str, Callable[[str], str | None]] = {
    "whole": lambda text: text.strip() or None,
    "number": lambda text: text.strip() if _NUMBER.fullmatch(text.strip()) else None,
    "last_number": lambda text: (_NUMBER.findall(text) or [None])[-1],
}


@dataclasses.dataclass(frozen=True)
class Scorer:
    """`(item, text) -> reward` for `verify_text`: find the answer in the text, then ask the one who knows.

    Attributes:
      know: `(item, answer) -> score in [0, 1]`.
      answer: a key of `ANSWERS`, where in a completion its answer is; no answer scores 0.
      partial_credit: pay a score below 1 as it is; otherwise only a full one counts.
    """

    know: Callable[[int, str], float]
    answer: str
    partial_credit: bool

    def find(self, text: str) -> str | None:
        """The answer in a completion, or None."""
        return ANSWERS[self.answer](text)

    def __call__(self, item: int, text: str) -> float:
        answer = self.find(text)
        score = 0.0 if answer is None else self.know(item, answer)
        return score if self.partial_credit else float(score >= 1)


class TextTask(NamedTuple):
    """Questions and right answers by item, the items of each split, and who scores."""

    questions: Mapping[int, str]
    answers: Mapping[int, str]
    splits: Mapping[str, list[int]]
    scorer: Scorer


class Sums:
    """All sums of two numbers below `size`: for trying things out, needs no package."""

    def __init__(self, size: int):
        self._side = size

    def __len__(self) -> int:
        return self._side**2

    def __getitem__(self, index: int) -> tuple[str, str]:
        first, second = divmod(index, self._side)
        return f"{first}+{second}=", str(first + second)

    def score(self, index: int, text: str) -> float:
        """1 for the sum, else 0."""
        return float(text == self[index][1])


def _reasoning_gym(spec: ConfigDict) -> ReasoningGym:
    return ReasoningGym(spec.name, size=spec.size, seed=spec.split_seed, **spec.options.to_dict())


SOURCES: dict[str, Callable] = {
    "reasoning_gym": _reasoning_gym,
    "sums": lambda spec: Sums(**spec.options.to_dict()),
}


def text_task(spec: ConfigDict, *, test: bool) -> TextTask:
    """The task of a config: each different question once, shuffled by `split_seed`, then cut into splits."""
    check_name("task.answer", spec.answer, ANSWERS)
    source = choose("task.source", spec.source, SOURCES)(spec)
    first: dict[str, int] = {}
    pairs = [source[index] for index in range(len(source))]
    for index, (question, _) in enumerate(pairs):
        first.setdefault(question, index)
    items = list(first.values())
    random.Random(spec.split_seed).shuffle(items)
    scorer = Scorer(source.score, spec.answer, spec.partial_credit)
    questions = {item: _after(spec.after, pairs[item][0]) for item in items}
    answers = {item: pairs[item][1] for item in items}
    return TextTask(questions, answers, _cut(spec, items, test=test), scorer)


def _after(mark: str, question: str) -> str:
    """What follows the last `mark`, for models too small to read the words before it."""
    return question.rpartition(mark)[2] if mark else question


def _cut(spec: ConfigDict, items: list[int], *, test: bool) -> dict[str, list[int]]:
    sizes = spec.splits.to_dict()
    if min(sizes.values()) < 1 or sum(sizes.values()) > len(items):
        asked = " + ".join(str(size) for size in sizes.values())
        raise InputError(f"task.splits ask for {asked} questions, at least 1 each: there are {len(items)}")
    cut, start = {}, 0
    for name, size in sizes.items():
        cut[name] = items[start : start + size]
        start += size
    return {name: chosen for name, chosen in cut.items() if test or name != "test"}
