"""Problems with a verifier that compiles: the task by name, its splits, and how long an answer may be."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import choose
from jaxlab.core import InputError
from jaxlab.core.check import check_least
from jaxlab.language import CharacterTokenizer, Decoder, tasks
from jaxlab.language.tasks import Problems, Task
from jaxlab.training import PerSeed

EVERY_CHARACTER = "0123456789+-*%=:?> &|!abcdefsABCDEFGHIJ"


def _mixture(levels: tuple[int, int], **parts: dict[str, Any]) -> Task:
    """Tasks by name, each with its `task`, its `levels` and its options, under one tokenizer."""
    shared = CharacterTokenizer(EVERY_CHARACTER)

    def make(task: str, levels: tuple[int, int], **options: Any) -> tuple[Task, tuple[int, int]]:
        return choose("task", task, TASKS)(levels, tokenizer=shared, **options), levels

    return tasks.mixture({name: make(**own) for name, own in parts.items()})


TASKS: dict[str, Callable[..., Task]] = {
    "addition": tasks.addition,
    "chain": tasks.chain,
    "countdown": tasks.countdown,
    "knights": tasks.knights,
    "mixture": _mixture,
    "multiplication": tasks.multiplication,
    "parity": tasks.parity,
    "properties": tasks.properties,
    "sorting": tasks.sorting,
    "stack_program": tasks.stack_program,
    "stepwise": tasks.stepwise,
}

EOS = 2


def make_task(spec: ConfigDict) -> Task:
    """The task that `spec` names, of all difficulties that it speaks of."""
    for name in ("train", "pretrain", "harder"):
        if len(spec[name]) != 2 or spec[name][0] > spec[name][1]:
            raise InputError(
                f"task.{name} is {spec[name]}: it must be the lowest and the highest difficulty, 2,3 say"
            )
    levels = (*spec.train, *spec.pretrain, *spec.harder)
    options = spec.options.to_dict() if "options" in spec else {}
    return choose("task.name", spec.name, TASKS)((min(levels), max(levels)), **options)


def draw_problems(task: Task, key: jax.Array, count: int, levels: tuple[int, int]) -> Problems:
    """Problems whose difficulty is uniform over `levels`, both ends included."""
    check_least("number of problems", count, 1)
    low, high = levels
    difficulty = jax.random.randint(jax.random.fold_in(key, 1), (count,), low, high + 1)
    return task.sample(jax.random.fold_in(key, 0), count, difficulty=difficulty)


def problem_splits(task: Task, config: ConfigDict) -> dict[str, Any]:
    """Training problems are drawn afresh; those to be judged by, every seed draws for itself once."""
    counts = config.task

    def drawn(number: int, count: int, levels: tuple[int, int]) -> PerSeed:
        return PerSeed(lambda key: draw_problems(task, jax.random.fold_in(key, number), count, tuple(levels)))

    splits = {"train": jnp.zeros((1,)), "val": drawn(1, counts.val, counts.train)}
    if config.test:
        splits |= {
            "test": drawn(2, counts.test, counts.train),
            "test_harder": drawn(3, counts.test, counts.harder),
        }
        for number, (name, levels) in enumerate(counts.get("parts", {}).items()):
            splits[f"test_{name}"] = drawn(4 + number, counts.test, levels)
    return splits


def longest_answer(task: Task, config: ConfigDict) -> int:
    """How many tokens a completion may have."""
    longest = config.max_new_tokens or task.completion_length
    if longest < task.completion_length:
        raise InputError(
            f"max_new_tokens is {longest}: the longest right answer has {task.completion_length}"
        )
    return longest


def policy_model(spec: ConfigDict, task: Task, config: ConfigDict) -> Decoder:
    """A decoder that the task's prompts and longest answers fit into."""
    shape = {
        "context": task.prompt_length + longest_answer(task, config) + config.get("extra_context", 0),
        "vocab_size": task.tokenizer.vocab_size,
        **spec.shape.to_dict(),
    }
    if shape["vocab_size"] < task.tokenizer.vocab_size:
        raise InputError(
            f"vocab_size is {shape['vocab_size']}: the task writes {task.tokenizer.vocab_size} tokens"
        )
    return Decoder(**shape)
