"""The tasks of reasoning-gym as a fixed, indexed set of questions."""

import dataclasses
import difflib
import functools
import importlib.util
import json
from typing import Any

from jaxlab.core import InputError, MissingPackage
from jaxlab.language.tasks._helper import call_in_helper


class ReasoningGym:
    """A data set of reasoning-gym: questions by index, each with a scorer of answers.

    Item i is made from `seed + i` alone, so a run resumed at step s asks for the items of that step and gets the
    same ones. Some of the package's generators also depend on Python's random string hashes, which differ from
    run to run; items are therefore made in the helper process of `verify_text`, which has that randomness off.

    `gym[i]` is `(question, answer)`; `answer` is None where many answers are right. `gym.score(i, text)` is the
    package's own score in [0, 1], which gives partial credit in many tasks. To score many answers under a time
    limit: `verify_text(gym.score, indices, texts)`.

    Args:
        name: a task of reasoning-gym, such as "chain_sum".
        size: number of items.
        seed: which items.
        **options: the options of that task; JSON values.

    Raises:
        MissingPackage: reasoning-gym is not installed.
        ValueError: an unknown name (the nearest ones are named), or options that the task does not take.

    >>> gym = ReasoningGym("chain_sum", size=10, seed=0, max_terms=2, max_digits=1)
    >>> question, answer = gym[3]
    >>> gym.score(3, answer)
    1.0
    """

    def __init__(self, name: str, *, size: int, seed: int, **options: Any):
        if importlib.util.find_spec("reasoning_gym") is None:
            raise MissingPackage('ReasoningGym needs reasoning-gym: pip install "jaxlab[language]"')
        self.name, self.size, self.seed, self.options = name, size, seed, options
        self._spec = (name, json.dumps({**options, "size": size, "seed": seed}, sort_keys=True))
        call_in_helper(_check, self._spec)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickled in the helper it loads its task there, before the clock of an answer runs."""
        self.__dict__.update(state)
        call_in_helper(_check, self._spec)

    def __len__(self) -> int:
        """Number of items."""
        return self.size

    def __getitem__(self, index: int) -> tuple[str, str | None]:
        """The question and its answer."""
        return call_in_helper(_question, self._spec, self._within(index))

    def score(self, index: int, text: str) -> float:
        """The package's score of a text as the answer to item `index`."""
        return call_in_helper(_score, self._spec, self._within(index), text)

    def _within(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"item {index} is not one of the {self.size} of {self.name}")
        return int(index)


@functools.lru_cache(maxsize=64)
def _dataset(spec: tuple[str, str]) -> Any:
    from reasoning_gym.factory import DATASETS, create_dataset

    name, options = spec[0], json.loads(spec[1])
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.3) or sorted(DATASETS)[:3]
        raise InputError(f"reasoning-gym has no task {name!r}; the nearest are {', '.join(near)}")
    allowed = sorted(field.name for field in dataclasses.fields(DATASETS[name][1]))
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(allowed)}")
    try:
        return create_dataset(name, **options)
    except (AssertionError, TypeError, ValueError) as error:
        message = f"{name} does not accept {options}: {error}"
        raise InputError(" ".join(message.split())) from error


@functools.lru_cache(maxsize=8192)
def _entry(spec: tuple[str, str], index: int) -> dict[str, Any]:
    return _dataset(spec)[index]


def _check(spec: tuple[str, str]) -> None:
    _dataset(spec)


def _question(spec: tuple[str, str], index: int) -> tuple[str, str | None]:
    entry = _entry(spec, index)
    return entry["question"], entry["answer"]


def _score(spec: tuple[str, str], index: int, text: str) -> float:
    return float(_dataset(spec).score_answer(text, _entry(spec, index)))
