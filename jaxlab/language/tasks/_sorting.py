"""Digits in ascending order."""

import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import all_digits, matches
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, spell


def sorting(length: Range = (2, 6), *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Sort k digits.

    A prompt is `3141:` and its solution `1134` with an end of sequence. The answer must be exactly that; the form
    is one or more digits. A wrong demonstration has one digit replaced by another.

        answer = sort(d_1, ..., d_k),   d_i ~ Uniform{0, ..., 9}

    Args:
        length: k, at least 1, or (low, high) for a uniform mixture.
        tokenizer: one that knows `0123456789:`; by default one of just these.

    Returns:
        A task with prompts of `k + 2` and completions of `k + 1` tokens for the largest k. Its answers are
        `digits` `[n, k]`, sorted, and their `count` `[n]`.

    Raises:
        ValueError: a length that is not a positive integer or pair, or a tokenizer that lacks a character.

    Reference: Graves, Wayne, Danihelka, Neural Turing Machines, 2014, section 4.5, there with priorities.

    >>> import jax
    >>> task = sorting(length=4)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.text(problems, completions)
    ['2655: 2556']
    """
    low, high = check_range("length", length, 1, 1000)
    tokenizer = tokenizer_for("0123456789:", tokenizer)
    digits = np.array(tokenizer.encode("0123456789"), np.int32)
    slot = np.arange(high)
    (colon,) = tokenizer.encode(":")

    def draw(words, k):
        numbers = below(words, np.full(high, 10))
        ordered = jnp.sort(jnp.where(slot < k, numbers, 10))
        answers = {"digits": jnp.where(slot < k, ordered, 0), "count": k}
        return (
            jnp.append(spell(numbers, digits), colon).astype(jnp.int32),
            jnp.append(slot < k, True),
            answers,
        )

    def correct(answers, reading):
        return matches(reading, spell(answers["digits"], digits), answers["count"])

    def solve(words, answers, wrong):
        place, shift = below(words, jnp.stack([answers["count"], 9]))
        slip = jnp.where(wrong & (slot == place), shift + 1, 0)
        return spell((answers["digits"] + slip) % 10, digits), slot < answers["count"]

    return make_task(
        "sorting",
        tokenizer,
        prompt_length=high + 2,
        completion_length=high + 1,
        levels=(low, high),
        rules=Rules(draw, correct, lambda reading: all_digits(reading, digits), solve, high, 2),
    )
