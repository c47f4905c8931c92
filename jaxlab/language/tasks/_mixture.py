"""Several tasks as one: a batch has problems of each, and each is verified as it would be alone."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language.tasks._task import Problems, Task


class _Part(NamedTuple):
    task: Task
    level: int  # the lowest of the task
    first: int  # the difficulty that stands for it


def mixture(tasks: Mapping[str, tuple[Task, tuple[int, int]]]) -> Task:
    """The union of tasks that share a tokenizer.

    Its difficulty counts through the levels of the tasks, one task after another: with levels 2 to 4 and 3 to 5, the
    numbers 0 to 2 are the first task's, 3 to 5 the second's. Without one asked for, all are alike likely. A problem's
    answers are `which` `[n]`, the number of its task, and `parts`, the answers of every task, of which one counts.

    Args:
        tasks: by name, each with its `(low, high)` levels.

    Returns:
        A task whose prompts and completions are as long as the longest.

    Raises:
        ValueError: no tasks, tokenizers that differ, or levels in the wrong order.

    Reference: Can One Domain Help Others? A Data-Centric Study on Multi-Domain Reasoning via Reinforcement Learning,
      2025, section 2 (mixed training sets).

    >>> from jaxlab.language import CharacterTokenizer
    >>> from jaxlab.language.tasks import addition, sorting
    >>> shared = CharacterTokenizer("0123456789+:=")
    >>> both = mixture({"sum": (addition(digits=2, tokenizer=shared), (2, 2)),
    ...                 "sort": (sorting(length=(2, 3), tokenizer=shared), (2, 3))})
    >>> both.sample(jax.random.key(0), 3, difficulty=jnp.array([0, 1, 2])).answers["which"].tolist()
    [0, 1, 1]
    """
    if not tasks:
        raise InputError("a mixture needs at least one task")
    parts, first = [], 0
    for name, (task, (low, high)) in tasks.items():
        if low > high:
            raise InputError(f"{name}: levels are ({low}, {high}): the lowest comes first")
        parts.append(_Part(task, low, first))
        first += high - low + 1
    if len({part.task.tokenizer for part in parts}) > 1:
        raise InputError(
            "the tasks have different tokenizers: give all of them one that knows every character"
        )
    sizes = {
        name: max(getattr(p.task, name) for p in parts) for name in ("prompt_length", "completion_length")
    }
    own = lambda name: functools.partial(_judged, tuple(parts), name)
    writing = lambda name: functools.partial(_written, tuple(parts), name, sizes["completion_length"])
    guesses = all(part.task.guess for part in parts)
    return Task(
        "+".join(tasks), parts[0].task.tokenizer, **sizes,
        sample=functools.partial(_sample, tuple(parts), first, sizes["prompt_length"]),
        verify=own("verify"), score=own("score"),
        well_formed=lambda completions, mask: functools.reduce(
            jnp.maximum, (part.task.well_formed(completions, mask) for part in parts)
        ),
        demonstrate=writing("demonstrate"), guess=writing("guess") if guesses else None,
        chance=own("chance") if guesses else None,
    )  # fmt: skip


def _padded(x: jax.Array, length: int, side: str) -> jax.Array:
    more = length - x.shape[1]
    return jnp.pad(x, ((0, 0), (more, 0) if side == "left" else (0, more)))


def _sample(
    parts: tuple[_Part, ...], count: int, length: int, key: jax.Array, n: int, *, difficulty: Any = None
) -> Problems:
    if isinstance(difficulty, int) and not 0 <= difficulty < count:
        raise InputError(f"difficulty must be in [0, {count}), got {difficulty}")
    drawn = jax.random.randint(jax.random.fold_in(key, len(parts)), (n,), 0, count)
    level = drawn if difficulty is None else jnp.broadcast_to(jnp.asarray(difficulty, jnp.int32), (n,))
    which = jnp.sum(level[:, None] >= np.array([part.first for part in parts]), axis=1) - 1
    made = [
        part.task.sample(
            jax.random.fold_in(key, i), n, difficulty=part.level + jnp.maximum(level - part.first, 0)
        )
        for i, part in enumerate(parts)
    ]
    chosen = lambda arrays: _choose(which, [_padded(x, length, "left") for x in arrays])
    prompts, mask = chosen([own.prompts for own in made]), chosen([own.prompt_mask for own in made])
    return Problems(prompts, mask, {"which": which, "parts": tuple(own.answers for own in made)}, level)


def _choose(which: jax.Array, arrays: list[jax.Array]) -> jax.Array:
    """Row i of the array that `which` names."""
    return jnp.stack(arrays)[which, jnp.arange(len(which))]


def _answers(problems: Problems | Mapping[str, Any]) -> Mapping[str, Any]:
    return problems.answers if isinstance(problems, Problems) else problems


def _judged(parts: tuple[_Part, ...], name: str, problems: Any, *written: jax.Array) -> jax.Array:
    answers = _answers(problems)
    own = [getattr(part.task, name)(of, *written) for part, of in zip(parts, answers["parts"])]
    return _choose(answers["which"], own)


def _written(
    parts: tuple[_Part, ...], name: str, length: int, key: jax.Array, problems: Any, **options: Any
) -> tuple[jax.Array, jax.Array]:
    answers = _answers(problems)
    own = [getattr(part.task, name)(key, of, **options) for part, of in zip(parts, answers["parts"])]
    chosen: Callable = lambda arrays: _choose(answers["which"], [_padded(x, length, "right") for x in arrays])
    return chosen([tokens for tokens, _ in own]), chosen([mask for _, mask in own])
