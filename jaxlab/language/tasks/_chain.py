"""Running sums modulo ten: a task with intermediate steps, whose difficulty is their number."""

import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, digit_values, token_at
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, spell


def chain(difficulty: Range = (1, 6), *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Add up k signed digits, writing down every running sum modulo 10, then the answer.

    A prompt is `+3-4+8:` and its solution `397=7` with an end of sequence: k running sums, `=`, the answer. The
    verifier asks only for the right digit after a last `=` that is followed by nothing else; the running sums are
    scratch work and may be anything. The form is one or more digits, `=`, one digit. A wrong demonstration makes
    one slip and carries it on, so that its steps still agree with its answer.

        s_j = (s_{j-1} +- d_j) mod 10,   s_0 = 0,   answer = s_k

    Args:
        difficulty: k, at least 1, or (low, high) for a uniform mixture.
        tokenizer: one that knows `0123456789+-=:`; by default one of just these (17 ids).

    Returns:
        A task with prompts of `2 k + 2` and completions of `k + 3` tokens for the largest k. Its answers are
        `steps` `[n, k]` and their `count` `[n]`.

    Raises:
        ValueError: a difficulty that is not a positive integer or pair, or a tokenizer that lacks a character.

    Reference: intermediate steps as in Nye et al., Show Your Work: Scratchpads for Intermediate Computation with
      Language Models, 2021; sums modulo 10 keep every step a single token.

    >>> import jax
    >>> task = chain(difficulty=3)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.text(problems, completions)
    ['-2-6-5: 827=7']
    """
    low, high = check_range("difficulty", difficulty, 1, 1000)
    tokenizer = tokenizer_for("0123456789+-=:", tokenizer)
    digits = np.array(tokenizer.encode("0123456789"), np.int32)
    plus, minus, equals, colon = tokenizer.encode("+-=:")
    slot = np.arange(high)

    def draw(words, k):
        number, negative = below(words, np.array([[10], [2]]).repeat(high, axis=1))
        steps = jnp.cumsum(number * (1 - 2 * negative), dtype=jnp.int32) % 10
        signs = spell(negative, np.array([plus, minus]))
        signed = jnp.stack([signs, spell(number, digits)], axis=1)
        tokens = jnp.append(signed.reshape(-1), colon).astype(jnp.int32)
        keep = jnp.append(jnp.repeat(slot < k, 2), True)
        return tokens, keep, {"steps": jnp.where(slot < k, steps, 0), "count": k}

    def correct(answers, reading):
        answer = spell(answers["steps"][answers["count"] - 1], digits)
        ending = [token_at(reading, reading.length - place) for place in (2, 1)]
        return reading.ended & (ending[0] == equals) & (ending[1] == answer)

    def form(reading: Reading):
        _, is_digit = digit_values(reading.tokens, digits)
        position = np.arange(reading.tokens.shape[0])
        is_sign = position == reading.length - 2
        fits = jnp.where(is_sign, reading.tokens == equals, is_digit | (position >= reading.length))
        return reading.ended & (reading.length >= 3) & jnp.all(fits)

    def solve(words, answers, wrong):
        place, slip = below(words, jnp.stack([answers["count"], 9]))
        steps = (answers["steps"] + jnp.where(wrong & (slot >= place), slip + 1, 0)) % 10
        ending = jnp.stack([equals, spell(steps[answers["count"] - 1], digits)])
        tokens = jnp.concatenate([spell(steps, digits), ending]).astype(jnp.int32)
        return tokens, jnp.append(slot < answers["count"], np.array([True, True]))

    return make_task(
        "chain",
        tokenizer,
        prompt_length=2 * high + 2,
        completion_length=high + 3,
        levels=(low, high),
        rules=Rules(draw, correct, form, solve, draw_words=2 * high, solve_words=2),
    )
