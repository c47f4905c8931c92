"""Addition and multiplication of whole numbers, digit by digit as characters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, all_digits, matches, token_at
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import POWERS, below, decimal, pack, spell

_MOST = 9  # a wrong answer is off by at most this


def addition(digits: Range = 2, *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Add two numbers of d digits each.

    A prompt is `12+34=` and its solution `46` with an end of sequence. The answer must be exactly that number,
    without leading zeros; the form is any number without leading zeros. A wrong demonstration is off by 1 to 9.

        a, b ~ Uniform{10^(d-1), ..., 10^d - 1}  (from 0 for d = 1),   answer = a + b

    Args:
        digits: d in [1, 9], or (low, high) for a uniform mixture.
        tokenizer: one that knows `0123456789+=`; by default one of just these.

    Returns:
        A task with prompts of `2 d + 3` and completions of `d + 2` tokens for the largest d. Its answers are
        `value` `[n]`.

    Raises:
        ValueError: digits outside of [1, 9], or a tokenizer that lacks a character.

    Reference: Brown et al., Language Models are Few-Shot Learners, 2020, section 3.9.1, there with numbers from 0 on.

    >>> import jax
    >>> task = addition(digits=2)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.text(problems, completions)
    ['42+15= 57']
    """
    levels = check_range("digits", digits, 1, 9)
    return _two_numbers("addition", "+", jnp.add, levels, levels[1] + 1, tokenizer)


def multiplication(digits: Range = 2, *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Multiply two numbers of d digits each.

    A prompt is `12*34=` and its solution `408` with an end of sequence. The answer must be exactly that number,
    without leading zeros; the form is any number without leading zeros. A wrong demonstration is off by 1 to 9.

        a, b ~ Uniform{10^(d-1), ..., 10^d - 1}  (from 0 for d = 1),   answer = a b

    Args:
        digits: d in [1, 4], or (low, high) for a uniform mixture.
        tokenizer: one that knows `0123456789*=`; by default one of just these.

    Returns:
        A task with prompts of `2 d + 3` and completions of `2 d + 1` tokens for the largest d. Its answers are
        `value` `[n]`.

    Raises:
        ValueError: digits outside of [1, 4] (larger products leave int32), or a tokenizer that lacks a character.

    Reference: Dziri et al., Faith and Fate: Limits of Transformers on Compositionality, 2023, section 3.

    >>> import jax
    >>> task = multiplication(digits=1)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.text(problems, completions)
    ['2*6= 12']
    """
    levels = check_range("digits", digits, 1, 4)
    return _two_numbers("multiplication", "*", jnp.multiply, levels, 2 * levels[1], tokenizer)


def _two_numbers(
    name: str,
    symbol: str,
    operate: Callable[[jax.Array, jax.Array], jax.Array],
    levels: tuple[int, int],
    width: int,
    tokenizer: CharacterTokenizer | None,
) -> Task:
    """The task `a symbol b =` whose answer has at most `width` digits."""
    tokenizer = tokenizer_for("0123456789" + symbol + "=", tokenizer)
    digits = np.array(tokenizer.encode("0123456789"), np.int32)
    high = levels[1]
    operator, equals = tokenizer.encode(symbol + "=")

    def draw(words, d):
        # Digit by digit, the last one first; the leading one of several is not 0.
        place = np.arange(high)
        positive = ((place == d - 1) & (d > 1)).astype(jnp.int32)
        drawn = below(words, jnp.tile(10 - positive, (2, 1))) + positive
        numbers = jnp.sum(jnp.where(place < d, drawn * POWERS[:high], 0), axis=1, dtype=jnp.int32)
        (a, keep_a), (b, keep_b) = (decimal(number, high) for number in numbers)
        tokens = jnp.concatenate(
            [spell(a, digits), jnp.array([operator]), spell(b, digits), jnp.array([equals])]
        )
        keep = jnp.concatenate([keep_a, np.array([True]), keep_b, np.array([True])])
        return tokens.astype(jnp.int32), keep, {"value": operate(*numbers)}

    def number(value):
        written, keep = decimal(value, width)
        return spell(written, digits), keep

    def correct(answers, reading):
        tokens, mask = pack(*number(answers["value"]), width)
        return matches(reading, tokens, jnp.sum(mask))

    def form(reading: Reading):
        leading_zero = (token_at(reading, 0) == digits[0]) & (reading.length > 1)
        return all_digits(reading, digits) & ~leading_zero

    def solve(words, answers, wrong):
        down, size = below(words, [2, _MOST]) + np.array([0, 1])
        down = (down == 1) & (answers["value"] >= size)
        return number(answers["value"] + jnp.where(wrong, jnp.where(down, -size, size), 0))

    return make_task(
        name,
        tokenizer,
        prompt_length=2 * high + 3,
        completion_length=width + 1,
        levels=levels,
        rules=Rules(draw, correct, form, solve, draw_words=2 * high, solve_words=2),
    )
