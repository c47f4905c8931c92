"""Whether the number of ones is odd: easy to check, hard to learn without steps."""

import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import matches
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, spell


def parity(length: Range = (2, 8), *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """The parity of k bits.

    A prompt is `10110:` and its solution `1` with an end of sequence. The answer must be exactly that bit; the
    form is one bit. A wrong demonstration is the other bit. Guessing is right half of the time.

        answer = (b_1 + ... + b_k) mod 2,   b_i ~ Uniform{0, 1}

    Args:
        length: k, at least 1, or (low, high) for a uniform mixture.
        tokenizer: one that knows `01:`; by default one of just these.

    Returns:
        A task with prompts of `k + 2` tokens for the largest k, and completions of 2. Its answers are `bit` `[n]`.

    Raises:
        ValueError: a length that is not a positive integer or pair, or a tokenizer that lacks a character.

    Reference: Hahn, Theoretical Limitations of Self-Attention in Neural Sequence Models, 2020.

    >>> import jax
    >>> task = parity(length=5)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.text(problems, completions)
    ['00111: 1']
    """
    low, high = check_range("length", length, 1, 1000)
    tokenizer = tokenizer_for("01:", tokenizer)
    zero, one, colon = tokenizer.encode("01:")
    bits, slot = np.array([zero, one], np.int32), np.arange(high)

    def draw(words, k):
        drawn = below(words, np.full(high, 2))
        bit = jnp.sum(jnp.where(slot < k, drawn, 0), dtype=jnp.int32) % 2
        return (
            jnp.append(spell(drawn, bits), colon).astype(jnp.int32),
            jnp.append(slot < k, True),
            {"bit": bit},
        )

    def correct(answers, reading):
        return matches(reading, spell(answers["bit"], bits)[None], 1)

    def form(reading):
        return matches(reading, bits[:1], 1) | matches(reading, bits[1:], 1)

    def solve(words, answers, wrong):
        return spell(answers["bit"] ^ wrong, bits)[None], jnp.full(1, True)

    return make_task(
        "parity",
        tokenizer,
        prompt_length=high + 2,
        completion_length=2,
        levels=(low, high),
        rules=Rules(draw, correct, form, solve, draw_words=high, solve_words=0),
    )
