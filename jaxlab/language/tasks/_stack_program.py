"""Programs of a stack machine: what stands on the stack when they have run?"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, all_digits, digit_values, matches
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, spell

_OPERATIONS = "+-*ds"
_BINARY = 3  # the first of them take two values and leave one


def stack_program(instructions: Range = (2, 6), *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Run k instructions and write the stack from bottom to top.

    A prompt is `34+d:` and its solution `77` with an end of sequence. A digit is pushed; `+`, `-` and `*` take the two
    topmost values and leave one, modulo 10; `d` doubles the topmost, `s` swaps the two topmost. No instruction finds
    too few values. The answer must be exactly the stack; the form is one or more digits. `score` is the share of right
    values, of an answer with as many. A wrong demonstration has one value replaced.

    Args:
        instructions: k, at least 1, or (low, high) for a uniform mixture.
        tokenizer: one that knows `0123456789+-*ds:`; by default one of just these.

    Returns:
        A task with prompts of `k + 2` and completions of `k + 1` tokens for the largest k. Its answers are `stack`
        `[n, k]` and its `count` `[n]`; its random policy knows how many values there are and draws their digits.

    Raises:
        ValueError: instructions that are not a positive integer or pair, or a tokenizer that lacks a character.

    Reference: Zaremba and Sutskever, Learning to Execute, 2014 (programs as sequences).

    >>> task = stack_program(instructions=4)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(1), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.verify(problems, completions, mask).tolist()
    [1.0]
    """
    low, high = check_range("instructions", instructions, 1, 100)
    tokenizer = tokenizer_for("0123456789" + _OPERATIONS + ":", tokenizer)
    digits = np.array(tokenizer.encode("0123456789"), np.int32)
    operations = np.array(tokenizer.encode(_OPERATIONS), np.int32)
    (colon,) = tokenizer.encode(":")
    slots = np.arange(high)

    def draw(words: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array, dict]:
        push, digit, operation = (words.reshape(3, high)[i] for i in range(3))
        digit, operation = below(digit, np.full(high, 10)), below(operation, np.full(high, len(_OPERATIONS)))
        state, tokens = (jnp.zeros(high, jnp.int32), jnp.int32(0)), []
        for j in range(high):
            pushes = (state[1] < 2) | (push[j] % 2 == 0)
            after = _step(state, digit[j], operation[j], pushes)
            state = jax.tree.map(lambda new, old, j=j: jnp.where(j < count, new, old), after, state)
            tokens.append(jnp.where(pushes, spell(digit[j], digits), spell(operation[j], operations)))
        answers = {"stack": jnp.where(slots < state[1], state[0], 0), "count": state[1]}
        return (
            jnp.append(jnp.stack(tokens), colon).astype(jnp.int32),
            jnp.append(slots < count, True),
            answers,
        )

    def correct(answers: dict, reading: Reading) -> jax.Array:
        return matches(reading, spell(answers["stack"], digits), answers["count"])

    def share(answers: dict, reading: Reading) -> jax.Array:
        found, _ = digit_values(jnp.pad(reading.tokens, (0, max(high - reading.tokens.shape[0], 0))), digits)
        right = (found[:high] == answers["stack"]) & (slots < answers["count"])
        whole = all_digits(reading, digits) & (reading.length == answers["count"])
        return jnp.where(whole, jnp.sum(right) / answers["count"], 0.0)

    def solve(words: jax.Array, answers: dict, wrong: jax.Array) -> tuple[jax.Array, jax.Array]:
        place, shift = below(words, jnp.stack([answers["count"], 9]))
        slip = jnp.where(wrong & (slots == place), shift + 1, 0)
        return spell((answers["stack"] + slip) % 10, digits), slots < answers["count"]

    def guess(words: jax.Array, answers: dict) -> tuple[jax.Array, jax.Array]:
        return spell(below(words, np.full(high, 10)), digits), slots < answers["count"]

    return make_task(
        "stack_program",
        tokenizer,
        prompt_length=high + 2,
        completion_length=high + 1,
        levels=(low, high),
        rules=Rules(
            draw, correct, lambda reading: all_digits(reading, digits), solve, draw_words=3 * high, solve_words=2,
            score=share, guess=guess, guess_words=high, chance=lambda answers: 0.1 ** answers["count"],
        ),
    )  # fmt: skip


def _step(
    state: tuple[jax.Array, jax.Array], digit: jax.Array, operation: jax.Array, pushes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The stack and its height after one instruction."""
    stack, height = state
    top, below_top = (stack[jnp.maximum(height - place, 0)] for place in (1, 2))
    pushed = jnp.where(pushes, digit, top)
    results = jnp.stack([below_top + top, below_top - top, below_top * top])
    binary, swaps = ~pushes & (operation < _BINARY), ~pushes & (operation == len(_OPERATIONS) - 1)
    lower = jnp.where(swaps, top, results[jnp.minimum(operation, _BINARY - 1)] % 10)
    under = stack.at[jnp.maximum(height - 2, 0)].set(lower)
    swapped = under.at[jnp.maximum(height - 1, 0)].set(below_top)
    grown = stack.at[jnp.minimum(height, len(stack) - 1)].set(pushed)
    new = jnp.where(binary, under, jnp.where(swaps, swapped, grown))
    return new, height + jnp.where(binary, -1, jnp.where(swaps, 0, 1))
