"""Knights and knaves: who always tells the truth, and who never does."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, matches
from jaxlab.language.tasks._task import Range, Rules, Task, check_range, make_task, tokenizer_for
from jaxlab.language.tasks._writing import below, spell

_NAMES, _KINDS = "abcdef", "&|=!"
_TRIES = 32  # sets of statements tried per problem, of which the last always has one solution


class _World(NamedTuple):
    names: np.ndarray
    kinds: np.ndarray
    bits: np.ndarray
    colon: int
    every: np.ndarray  # [2^n, n] bool, all ways to be knights and knaves


def knights(people: Range = (2, 4), *, tokenizer: CharacterTokenizer | None = None) -> Task:
    """Tell the roles of n people of whom each says one thing about two.

    A prompt is `&bc!ab|ac:`, in which a says that b and c are knights, b that a and b are not alike (`=`: alike), c
    that a or c is a knight. Knights tell the truth, knaves do not; one way to give out the roles is possible. The
    solution is a bit for each, 1 for a knight, and an end of sequence. The answer must be exactly that; the form is one
    or more bits. `score` is the share of right bits, of an answer with as many. A wrong demonstration has one bit
    turned.

        role_i = what i says:   role_j and role_l,  role_j or role_l,  role_j = role_l,  role_j != role_l

    Args:
        people: n in [2, 6], or (low, high) for a uniform mixture.
        tokenizer: one that knows `abcdef&|=!01:`; by default one of just these.

    Returns:
        A task with prompts of `3 n + 2` and completions of `n + 1` tokens for the largest n. Its answers are `roles`
        `[n, people]` and their `count` `[n]`; its random policy tosses a coin for each.

    Raises:
        ValueError: people that are not in range, or a tokenizer that lacks a character.

    Reference: Xie et al., On Memorization of Large Language Models in Logical Reasoning, 2024 (the puzzles);
      Smullyan, What Is the Name of This Book?, 1978.

    >>> task = knights(people=3)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> task.chance(problems).tolist()
    [0.125]
    """
    low, high = check_range("people", people, 2, 6)
    tokenizer = tokenizer_for(_NAMES + _KINDS + "01:", tokenizer)
    ids = lambda text: np.array(tokenizer.encode(text), np.int32)
    every = (np.arange(2**high)[:, None] >> np.arange(high)) % 2 == 1
    world = _World(ids(_NAMES), ids(_KINDS), ids("01"), int(ids(":")[0]), every)
    slots = np.arange(high)

    def solve(words: jax.Array, answers: dict, wrong: jax.Array) -> tuple[jax.Array, jax.Array]:
        place = below(words[0], answers["count"])
        bits = answers["roles"] ^ (wrong & (slots == place))
        return spell(bits.astype(jnp.int32), world.bits), slots < answers["count"]

    def guess(words: jax.Array, answers: dict) -> tuple[jax.Array, jax.Array]:
        return spell(below(words, np.full(high, 2)), world.bits), slots < answers["count"]

    return make_task(
        "knights",
        tokenizer,
        prompt_length=3 * high + 2,
        completion_length=high + 1,
        levels=(low, high),
        rules=Rules(
            functools.partial(_draw, world), functools.partial(_correct, world), functools.partial(_form, world), solve,
            draw_words=1 + 3 * high * _TRIES, solve_words=1, score=functools.partial(_share, world), guess=guess,
            guess_words=high, chance=lambda answers: 0.5 ** answers["count"],
        ),
    )  # fmt: skip


def _truth(roles: jax.Array, kind: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """What each statement is worth under these roles `[..., n]`."""
    one, other = roles[..., first], roles[..., second]
    said = (one & other, one | other, one == other, one != other)
    return functools.reduce(lambda x, i: jnp.where(kind == i, said[i], x), range(1, 4), said[0])


def _draw(world: _World, words: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array, dict]:
    """Statements with one solution: the first of some drawn at random, or that all are like themselves."""
    high = world.every.shape[1]
    here = np.arange(high) < count
    kind, first, second = words[1:].reshape(3, _TRIES, high)
    kind, (first, second) = (
        below(kind, np.full(kind.shape, len(_KINDS))),
        ((x % count.astype(jnp.uint32)).astype(jnp.int32) for x in (first, second)),
    )
    itself = jnp.broadcast_to(np.arange(high), (_TRIES, high))
    last = np.arange(_TRIES)[:, None] == _TRIES - 1
    kind, first, second = (
        jnp.where(last, 2, kind),
        jnp.where(last, itself, first),
        jnp.where(last, itself, second),
    )
    # Those who are not there are knaves, in one of the ways only.
    ways = jnp.all(~world.every | here, axis=1)

    def fits(kind: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        says = _truth(jnp.asarray(world.every), kind, first, second)
        return ways & jnp.all((says == world.every) | ~here, axis=1)

    possible = jax.vmap(fits)(kind, first, second)
    chosen = jnp.argmax(jnp.sum(possible, axis=1) == 1)
    roles = jnp.asarray(world.every)[jnp.argmax(possible[chosen])]
    said = (world.kinds, kind), (world.names, first), (world.names, second)
    statement = [spell(own[chosen], ids) for ids, own in said]
    tokens = jnp.append(jnp.stack(statement, 1).reshape(-1), world.colon).astype(jnp.int32)
    return tokens, jnp.append(jnp.repeat(here, 3), True), {"roles": roles, "count": count}


def _correct(world: _World, answers: dict, reading: Reading) -> jax.Array:
    return matches(reading, spell(answers["roles"].astype(jnp.int32), world.bits), answers["count"])


def _form(world: _World, reading: Reading) -> jax.Array:
    beyond = jnp.arange(reading.tokens.shape[0]) >= reading.length
    return reading.ended & (reading.length > 0) & jnp.all(jnp.isin(reading.tokens, world.bits) | beyond)


def _share(world: _World, answers: dict, reading: Reading) -> jax.Array:
    high = world.every.shape[1]
    found = jnp.pad(reading.tokens, (0, max(high - reading.tokens.shape[0], 0)))[:high]
    here = np.arange(high) < answers["count"]
    right = (found == spell(answers["roles"].astype(jnp.int32), world.bits)) & here
    whole = _form(world, reading) & (reading.length == answers["count"])
    return jnp.where(whole, jnp.sum(right) / answers["count"], 0.0)
