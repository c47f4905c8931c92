"""The countdown game: reach a target with given numbers; many answers are right, so the verifier calculates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, digit_values, token_at
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, decimal, pack, spell

_TRIES = 16  # expressions tried per problem; the sum of the numbers is the last of them
_ADD, _SUBTRACT, _MULTIPLY = range(3)
_OVERSIZED = 10**8  # a longer number matches none that was given, and ten times it still fits int32


def countdown(
    numbers: Range = 3, *, largest: int = 9, target: int = 99, tokenizer: CharacterTokenizer | None = None
) -> Task:
    """Write an expression with `+`, `-` and `*` that uses each given number exactly once and equals the target.

    A prompt is `3 5 7=22:` and a solution `5*3+7` with an end of sequence. The grammar has no parentheses and no
    signs: whole numbers without leading zeros, joined by operators, `*` binding tighter, otherwise from left to
    right. That is the form; the answer is right if the expression also uses the numbers and has the value. Every
    problem has a solution, found by drawing random expressions until one has a value in range. A wrong
    demonstration uses the numbers but misses the target.

        expression = number | expression (+ | - | *) number

    Args:
        numbers: how many numbers are given, at least 2, or (low, high) for a uniform mixture.
        largest: the numbers are uniform on 1 ... largest.
        target: the largest target; at least `largest` times the most numbers, so that their sum will do.
        tokenizer: one that knows `0123456789+-*=: `; by default one of just these.

    Returns:
        A task whose answers are one solution, `numbers` `[n, N]` and `operators` `[n, N - 1]` (0, 1, 2 for
        `+-*`), with their `count` `[n]` and the `target` `[n]`.

    Raises:
        ValueError: numbers that leave int32 when multiplied, a target that is too small, or a tokenizer that
            lacks a character.

    Reference: Gandhi et al., Stream of Search (SoS): Learning to Search in Language, 2024, section 3, there with
      division, parentheses by steps, and numbers up to 99.

    >>> import jax
    >>> task = countdown(numbers=3)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.text(problems, completions)
    ['4 3 7=19: 7+4*3']
    """
    low, high = _check(numbers, largest, target)
    tokenizer = tokenizer_for("0123456789+-*=: ", tokenizer)
    symbols = _Symbols(
        np.array(tokenizer.encode("0123456789"), np.int32), np.array(tokenizer.encode("+-*"), np.int32)
    )
    equals, colon, space = tokenizer.encode("=: ")
    width, target_width = len(str(largest)), len(str(target))
    slot = np.arange(high)

    def form(reading):
        return _is_expression(reading, symbols)

    def draw(words, k):
        answers, order = _solvable(words, k, high, largest, target)
        shown, keep = _write_numbers(answers["numbers"][order], slot < k, space, width, symbols)
        goal, keep_goal = decimal(answers["target"], target_width)
        pieces = [shown, jnp.array([equals]), spell(goal, symbols.digits), jnp.array([colon])]
        keeps = [keep, np.array([True]), keep_goal, np.array([True])]
        return jnp.concatenate(pieces).astype(jnp.int32), jnp.concatenate(keeps), answers

    def correct(answers, reading):
        value, used = _evaluate(reading, answers["numbers"], slot < answers["count"], symbols)
        return _is_expression(reading, symbols) & used & (value == answers["target"])

    def solve(words, answers, wrong):
        operators = jnp.where(wrong, _missing(words, answers), answers["operators"])
        joints = spell(operators, symbols.operators)
        return _write_numbers(answers["numbers"], slot < answers["count"], joints, width, symbols)

    return make_task(
        "countdown",
        tokenizer,
        prompt_length=high * (width + 1) + target_width + 2,
        completion_length=high * (width + 1),
        levels=(low, high),
        rules=Rules(draw, correct, form, solve, len(_bounds(high, largest)), _TRIES * (high - 1)),
    )


class _Symbols(NamedTuple):
    """Token ids of 0 ... 9 and of `+-*`."""

    digits: np.ndarray
    operators: np.ndarray


def _check(numbers: Range, largest: int, target: int) -> tuple[int, int]:
    low, high = check_range("numbers", numbers, 2, 20)
    if largest < 1 or largest**high > 10**9:
        raise InputError(f"largest ** numbers must be in [1, 10^9], got {largest} ** {high}")
    if not largest * high <= target <= 10**9:
        raise InputError(
            f"target must be in [largest * numbers, 10^9] = [{largest * high}, 10^9], got {target}"
        )
    return low, high


def _value(numbers: jax.Array, operators: jax.Array, count: jax.Array) -> jax.Array:
    """The first `count` numbers joined by operators, `*` first."""
    total, term = jnp.int32(0), numbers[0]
    for place in range(1, numbers.shape[0]):
        new = _join(total, term, operators[place - 1], numbers[place])
        total, term = (jnp.where(place < count, a, b) for a, b in zip(new, (total, term)))
    return total + term


def _join(total: jax.Array, term: jax.Array, operator: jax.Array, number: jax.Array):
    """Sum of the finished terms and the term in hand, after one more operator and number."""
    multiply = operator == _MULTIPLY
    signed = jnp.where(operator == _SUBTRACT, -number, number)
    return jnp.where(multiply, total, total + term), jnp.where(multiply, term * number, signed)


def _bounds(most: int, largest: int) -> np.ndarray:
    """Of what a problem is drawn from: its numbers, their order, and the operators to try."""
    return np.concatenate(
        [np.full(most, largest), np.full(most, _OVERSIZED), np.full(_TRIES * (most - 1), 3)]
    )


def _solvable(words: jax.Array, k: jax.Array, most: int, largest: int, target: int):
    """Numbers and operators whose value lies in [1, target], and another order of the numbers to show them in."""
    slot = np.arange(most)
    numbers, order, operators = jnp.split(below(words, _bounds(most, largest)), [most, 2 * most])
    numbers, order = jnp.where(slot < k, numbers + 1, 0), jnp.argsort(jnp.where(slot < k, order, _OVERSIZED))
    operators = operators.reshape(_TRIES, most - 1).at[-1].set(_ADD)
    values = jax.vmap(_value, in_axes=(None, 0, None))(numbers, operators, k)
    chosen = jnp.argmax((values >= 1) & (values <= target))
    answers = {"numbers": numbers, "operators": operators[chosen], "target": values[chosen], "count": k}
    return answers, order


def _missing(words: jax.Array, answers: dict[str, jax.Array]) -> jax.Array:
    """Operators with which the same numbers miss the target.

    Of the sum and the sum with its last number subtracted, at least one does.
    """
    numbers, count = answers["numbers"], answers["count"]
    last = np.arange(numbers.shape[0] - 1) == count - 2
    drawn = below(words, np.full((_TRIES, numbers.shape[0] - 1), 3))
    operators = drawn.at[-2].set(_ADD).at[-1].set(jnp.where(last, _SUBTRACT, _ADD))
    values = jax.vmap(_value, in_axes=(None, 0, None))(numbers, operators, count)
    return operators[jnp.argmax(values != answers["target"])]


def _write_numbers(numbers: jax.Array, keep: jax.Array, joints, width: int, symbols: _Symbols):
    """The kept numbers with a joint between each two: one token for all, or `[N - 1]`."""
    digits, keep_digits = jax.vmap(lambda number: decimal(number, width))(numbers)
    before = jnp.broadcast_to(jnp.asarray(joints, jnp.int32), (numbers.shape[0] - 1,))
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), before])[:, None]
    tokens = jnp.concatenate([before, spell(digits, symbols.digits)], axis=1).reshape(-1)
    has_joint = (np.arange(numbers.shape[0]) > 0)[:, None]
    kept = jnp.concatenate([has_joint, keep_digits], axis=1) & keep[:, None]
    return pack(tokens, kept.reshape(-1), tokens.shape[0] - 1)


def _is_expression(reading: Reading, symbols: _Symbols) -> jax.Array:
    """Numbers without leading zeros with one operator between each two."""
    tokens, position = reading.tokens, np.arange(reading.tokens.shape[0])
    within = position < reading.length
    _, digit = digit_values(tokens, symbols.digits)
    operator = jnp.any(tokens[:, None] == symbols.operators, -1)
    after_digit = jnp.concatenate([jnp.zeros(1, bool), digit])[: tokens.shape[0]]
    fits = jnp.where(after_digit, digit | operator, digit & (tokens != symbols.digits[0]))
    ends_in_digit = digit_values(token_at(reading, reading.length - 1), symbols.digits)[1]
    return reading.ended & ends_in_digit & jnp.all(fits | ~within)


def _evaluate(reading: Reading, numbers: jax.Array, given: jax.Array, symbols: _Symbols):
    """Value of a well-formed expression, and whether it uses each given number once."""
    digits, is_digit = digit_values(reading.tokens, symbols.digits)
    operators = jnp.argmax(reading.tokens[:, None] == symbols.operators, -1).astype(jnp.int32)

    def use(free, number):
        fitting = free & (numbers == number)
        first = fitting & (jnp.cumsum(fitting) == 1)
        return free & ~first, jnp.any(fitting)

    def step(state, token):
        total, term, operator, number, free, known = state
        digit, is_digit, next_operator, within = token
        left, fits = use(free, number)
        longer = (total, term, operator, jnp.minimum(10 * number + digit, _OVERSIZED), free, known)
        joined = (*_join(total, term, operator, number), next_operator, jnp.int32(0), left, known & fits)
        new = jax.tree.map(lambda a, b: jnp.where(is_digit, a, b), longer, joined)
        return jax.tree.map(lambda a, b: jnp.where(within, a, b), new, state), None

    zero = jnp.int32(0)
    within = jnp.arange(reading.tokens.shape[0]) < reading.length
    start = (zero, zero, zero, zero, given, jnp.bool_(True))
    (total, term, operator, number, free, known), _ = jax.lax.scan(
        step, start, (digits, is_digit, operators, within)
    )
    free, fits = use(free, number)
    return sum(_join(total, term, operator, number)), known & fits & ~jnp.any(free)
