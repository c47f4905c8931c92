"""Words with properties: many are right, and how many of the properties a word has is a grade."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, spell

_LETTERS, _LONGEST = "abcd", 6
PROPERTIES = {
    "A": lambda word: "a" in word,
    "B": lambda word: word[0] == "b",
    "C": lambda word: word[-1] == "c",
    "D": lambda word: word.count("d") >= 2,
    "E": lambda word: len(word) % 2 == 0,
    "F": lambda word: len(word) >= 5,
    "G": lambda word: any(one == other for one, other in itertools.pairwise(word)),
    "H": lambda word: word[0] == word[-1],
    "I": lambda word: word.count("a") > word.count("b"),
    "J": lambda word: len(set(word)) >= 3,
}
"""What a word of `abcd` may be asked to be, by the letter that asks for it."""

_TRIES = 32  # words tried per problem, of which the last has eight of the properties
_SURE = "adccda"  # A D E F G H I J


def properties(count: Range = (1, 4), *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Write a word with k properties.

    A prompt is `BEG:`; a solution is any word of one to six letters of `abcd` that begins with b (B), is of even length
    (E) and has two equal neighbours (G); the others are in `PROPERTIES`. Such a word is the form. `verify` asks for
    all properties, `score` is the share of those that the word has. A demonstration is the word that the problem was
    made from, a wrong one a word that lacks a property.

    Args:
        count: k in [1, 8], or (low, high) for a uniform mixture.
        tokenizer: one that knows `abcdABCDEFGHIJ:`; by default one of just these.

    Returns:
        A task with prompts of `k + 2` tokens for the largest k, and completions of 7. Its answers are `asked` `[n, 10]`
        bool and `word` `[n]`, the number of a word; its random policy draws one of the words of a random length.

    Raises:
        ValueError: a count that is not in range, or a tokenizer that lacks a character.

    Reference: Yu et al., Skill-Mix: a Flexible and Expandable Family of Evaluations for AI Models, 2023 (k skills at
      once, graded by how many are shown).

    >>> task = properties(count=3)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.score(problems, completions, mask).tolist()
    [1.0]
    """
    low, high = check_range("count", count, 1, 8)
    tokenizer = tokenizer_for(_LETTERS + "".join(PROPERTIES) + ":", tokenizer)
    words_of = _Words(np.array(tokenizer.encode(_LETTERS), np.int32))
    asks, (colon,) = np.array(tokenizer.encode("".join(PROPERTIES)), np.int32), tokenizer.encode(":")
    every = [w for n in range(1, _LONGEST + 1) for w in map("".join, itertools.product(_LETTERS, repeat=n))]
    has = np.array([[has(word) for has in PROPERTIES.values()] for word in every])
    likely = np.array([1 / _LONGEST / len(_LETTERS) ** len(word) for word in every], np.float32)
    sure = every.index(_SURE)

    def share(answers: dict, reading: Reading) -> jax.Array:
        number = jnp.clip(words_of.number(reading), 0, len(every) - 1)
        met = jnp.sum(jnp.asarray(has)[number] & answers["asked"]) / jnp.sum(answers["asked"])
        return jnp.where(words_of.fits(reading), met, 0.0)

    def draw(words: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array, dict]:
        order, tries = words[: len(PROPERTIES)], words[len(PROPERTIES) :].reshape(_TRIES, 2)
        numbers = jax.vmap(words_of.draw)(tries).at[-1].set(sure)
        chosen = numbers[jnp.argmax(jnp.sum(jnp.asarray(has)[numbers], axis=1) >= k)]
        true = jnp.asarray(has)[chosen]
        rank = jnp.argsort(jnp.argsort(jnp.where(true, order >> 1, jnp.uint32(2**32 - 1))))
        asked = rank < k
        return jnp.append(asks, colon), jnp.append(asked, True), {"asked": asked, "word": chosen}

    def solve(words: jax.Array, answers: dict, wrong: jax.Array) -> tuple[jax.Array, jax.Array]:
        tries = jax.vmap(words_of.draw)(words.reshape(_TRIES, 2))
        lacks = jnp.any(~jnp.asarray(has)[tries] & answers["asked"], axis=1)
        bad = jnp.where(jnp.any(lacks), tries[jnp.argmax(lacks)], _lacking(has, answers["asked"]))
        return words_of.spelled(jnp.where(wrong, bad, answers["word"]))

    return make_task(
        "properties",
        tokenizer,
        prompt_length=high + 2,
        completion_length=_LONGEST + 1,
        levels=(low, high),
        rules=Rules(
            draw, lambda answers, reading: share(answers, reading) >= 1, words_of.fits, solve,
            draw_words=len(PROPERTIES) + 2 * _TRIES, solve_words=2 * _TRIES, score=share,
            guess=lambda words, answers: words_of.spelled(words_of.draw(words)), guess_words=2,
            chance=lambda answers: jnp.sum(likely * jnp.all(has | ~answers["asked"], axis=1)),
        ),
    )  # fmt: skip


class _Words:
    """All words of one to six letters by number, short ones first."""

    def __init__(self, letters: np.ndarray):
        self._letters, self._slots = letters, np.arange(_LONGEST)
        self._first = np.cumsum([0] + [len(_LETTERS) ** n for n in range(1, _LONGEST)])  # of each length

    def draw(self, words: jax.Array) -> jax.Array:
        """The number of a word of a random length."""
        length = below(words[0], _LONGEST)
        size = jnp.asarray(len(_LETTERS) ** np.arange(1, _LONGEST + 1))[length]
        return jnp.asarray(self._first)[length] + (words[1] % size.astype(jnp.uint32)).astype(jnp.int32)

    def spelled(self, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Tokens `[6]` and which of them there are."""
        length = jnp.sum(number >= self._first)
        rest = number - jnp.asarray(self._first)[length - 1]
        place = jnp.maximum(length - 1 - self._slots, 0)
        return spell(rest // len(_LETTERS) ** place % len(_LETTERS), self._letters), self._slots < length

    def number(self, reading: Reading) -> jax.Array:
        """The inverse, of what fits."""
        found = jnp.pad(reading.tokens, (0, max(_LONGEST - reading.tokens.shape[0], 0)))[:_LONGEST]
        values = jnp.argmax(found[:, None] == self._letters, axis=1)
        worth = values * len(_LETTERS) ** jnp.maximum(reading.length - 1 - self._slots, 0)
        rest = jnp.sum(jnp.where(self._slots < reading.length, worth, 0))
        return jnp.asarray(self._first)[jnp.clip(reading.length - 1, 0, _LONGEST - 1)] + rest

    def fits(self, reading: Reading) -> jax.Array:
        """Whether an answer is a word."""
        beyond = jnp.arange(reading.tokens.shape[0]) >= reading.length
        right = (reading.length >= 1) & (reading.length <= _LONGEST)
        return reading.ended & right & jnp.all(jnp.isin(reading.tokens, self._letters) | beyond)


def _lacking(has: np.ndarray, asked: jax.Array) -> jax.Array:
    """A word that lacks one of the properties asked for."""
    return jnp.argmax(jnp.any(~has & asked, axis=1)).astype(jnp.int32)
