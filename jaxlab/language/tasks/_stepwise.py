"""Derivations step by step, modulo a small number: styles of writing, kinds of wrong steps, hints, revisions."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError, check_choice
from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, read, token_at
from jaxlab.language.tasks._task import Problems, Range, Rules, Task, check_range, ended, make_task
from jaxlab.language.tasks._writing import below, pack

ALPHABET = "0123456789+-*%=:?>"
STYLES = {"direct": (), "values": ("value",), "operands": ("operand", "value"),
          "equations": ("operation", "operand", "value")}  # fmt: skip
"""What a step is written as, by the name of the style."""
CORRUPTIONS = ("slip", "operation", "copy", "answer")
"""What may go wrong: a value, the operation, a step left out, the answer after right steps."""
GUIDANCE = ("answer", "solution", "both")
_PARTS = ("operation", "operand", "value")
_MOST_SHIFT = 9


@dataclasses.dataclass(frozen=True)
class StepwiseTask(Task):
    """A `Task` that knows the steps of its answers; all functions take `Problems` with n rows.

    `derive(problems, style, *, corruption=None, place=0, shift=1) -> (completions, mask)`: the derivation in a style,
    by name; with a corruption, by name, step `place` `[n]` (from 0) is wrong, and what follows agrees with it. A wrong
    value is off by `shift` `[n]`. Where an error cancels, the answer is made wrong.

    `first_error(problems, completions, mask, style) -> [n]` int32: the first step that is not as it should be, read in
    a style; the number of steps if there is none.

    `guidance(problems, kind, style) -> (tokens [n, H], mask)`: a hint to put behind a prompt, marked by `>`: the
    answer, the solution in a style, or both.

    `revision(problems, answer) -> (tokens [n, 4], mask)`: reconsidered, the answer is another: `?=` and the digit
    `answer` `[n]`, with an end of sequence.
    """

    derive: Callable[..., tuple[jax.Array, jax.Array]] = None
    first_error: Callable[..., jax.Array] = None
    guidance: Callable[..., tuple[jax.Array, jax.Array]] = None
    revision: Callable[..., tuple[jax.Array, jax.Array]] = None


def stepwise(
    steps: Range = (2, 6),
    *,
    operations: str | Sequence[str] = "+-",
    moduli: int | Sequence[int] = 10,
    styles: str | Sequence[str] = "values",
    room: int = 0,
    tokenizer: CharacterTokenizer | None = None,
) -> StepwiseTask:
    """Apply k operations to a digit, one after another, modulo m.

    A prompt is `7+3-4*2:` and its solution, in the style "values", `062=2` with an end of sequence: what each step
    gives, `=`, the answer. The verifier asks only for the right digit after a last `=`; what stands before may be
    anything. The form is any work without `:`, `%` and `>`, then `=` and one digit. `score` is the mean of a right
    answer and the share of steps before the first error, in whichever of the styles that is largest.

        v_j = (v_{j-1} op_j d_j) mod m,   d_j ~ Uniform{1, ..., 9}

    Args:
        steps: k, at least 1, or (low, high) for a uniform mixture.
        operations: of `+`, `-` and `*`, those that a problem draws from; several texts are families of problems, of
            which each problem has one.
        moduli: in [2, 10]; of several each problem has one, shown as `%7` (10 as `%0`).
        styles: of `STYLES`, in which demonstrations are written; of several each row has one.
        room: tokens that completions may have beyond the longest derivation, for revisions.
        tokenizer: one that knows the alphabet; by default one of just these.

    Returns:
        A `StepwiseTask`, whose random policy writes `=` and a digit below m. Its answers are `start` `[n]`,
        `operations`, `operands` and `values` `[n, k]`, `modulus`, `family` and `count` `[n]`.

    Raises:
        ValueError: steps that are not a positive integer or pair, or an operation, modulus or style that there is not.

    Reference: intermediate steps as in Nye et al., Show Your Work: Scratchpads for Intermediate Computation with
      Language Models, 2021.

    >>> task = stepwise(steps=3, styles="equations")
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 1)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> task.chance(problems).round(3).tolist(), task.verify(problems, completions, mask).tolist()
    ([0.10000000149011612], [1.0])
    """
    low, high = check_range("steps", steps, 1, 100)
    world = _world(high, operations, moduli, styles, room, tokenizer)
    return make_task(
        "stepwise",
        world.tokenizer,
        prompt_length=2 * high + 3 + 2 * (len(world.moduli) > 1),
        completion_length=world.length,
        levels=(low, high),
        rules=Rules(
            functools.partial(_draw, world), functools.partial(_correct, world), functools.partial(_form, world),
            functools.partial(_solve, world), draw_words=3 + 2 * high, solve_words=3,
            score=functools.partial(_score, world), guess=functools.partial(_guess, world), guess_words=1,
            chance=lambda answers: 1 / answers["modulus"],
        ),
        kind=StepwiseTask,
        derive=functools.partial(_derive, world),
        first_error=functools.partial(_first_error, world),
        guidance=functools.partial(_guidance, world),
        revision=functools.partial(_revision, world),
    )  # fmt: skip


class _World(NamedTuple):
    tokenizer: CharacterTokenizer
    digits: np.ndarray  # token ids of 0 ... 9
    operators: np.ndarray  # of + - *
    families: tuple[np.ndarray, ...]  # indices of operators
    moduli: np.ndarray
    styles: tuple[str, ...]
    slots: np.ndarray
    length: int

    def id(self, character: str) -> int:
        return self.tokenizer.encode(character)[0]


def _world(
    high: int, operations: str | Sequence[str], moduli: int | Sequence[int], styles: str | Sequence[str], room: int,
    tokenizer: CharacterTokenizer | None,
) -> _World:  # fmt: skip
    several = lambda given, kind: (given,) if isinstance(given, kind) else tuple(given)
    operations, moduli, styles = several(operations, str), several(moduli, int), several(styles, str)
    for family in operations:
        if not family or set(family) - set("+-*"):
            raise InputError(f"operations are {family!r}: they must be some of '+-*'")
    for modulus in moduli:
        if not 2 <= modulus <= 10:
            raise InputError(f"modulus is {modulus}: it must be in [2, 10]")
    for style in styles:
        check_choice("style", style, tuple(STYLES))
    if room < 0 or not (operations and moduli and styles):
        raise InputError("stepwise needs operations, moduli and styles, and a room of at least 0")
    tokenizer = CharacterTokenizer(ALPHABET) if tokenizer is None else tokenizer
    tokenizer.encode(ALPHABET)
    longest = max(len(STYLES[style]) for style in styles)
    return _World(
        tokenizer, np.array(tokenizer.encode("0123456789")), np.array(tokenizer.encode("+-*")),
        tuple(np.array(["+-*".index(one) for one in family]) for family in operations), np.array(moduli), styles,
        np.arange(high), longest * high + 3 + room,
    )  # fmt: skip


def _apply(operation: jax.Array, value: jax.Array, operand: jax.Array, modulus: jax.Array) -> jax.Array:
    results = jnp.stack([value + operand, value - operand, value * operand])
    return results[operation] % modulus


def _run(answers: dict, high: int, wrong: Callable = lambda j, value, result: result) -> jax.Array:
    """The value after each step; `wrong` may put another in the place of a step's result."""
    value, values = answers["start"], []
    for j in range(high):
        result = _apply(answers["operations"][j], value, answers["operands"][j], answers["modulus"])
        value = jnp.where(j < answers["count"], wrong(j, value, result) % answers["modulus"], value)
        values.append(value)
    return jnp.stack(values)


def _draw(world: _World, words: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array, dict]:
    high = len(world.slots)
    which, family, start = words[:3]
    modulus = jnp.asarray(world.moduli, jnp.int32)[below(which, len(world.moduli))]
    family = below(family, len(world.families))
    drawn = jnp.stack(
        [jnp.asarray(own)[below(words[3 : 3 + high], np.full(high, len(own)))] for own in world.families]
    )
    answers = {
        "start": (start % modulus.astype(jnp.uint32)).astype(jnp.int32), "operations": drawn[family],
        "operands": 1 + below(words[3 + high :], np.full(high, 9)), "modulus": modulus, "family": family,
        "count": count,
    }  # fmt: skip
    answers["values"] = _run(answers, high)
    digits = jnp.asarray(world.digits)
    pairs = jnp.stack([jnp.asarray(world.operators)[answers["operations"]], digits[answers["operands"]]], 1)
    tokens = [digits[answers["start"]][None], pairs.reshape(-1)]
    keep = [np.array([True]), jnp.repeat(world.slots < count, 2)]
    if len(world.moduli) > 1:
        tokens.append(jnp.stack([jnp.int32(world.id("%")), digits[modulus % 10]]))
        keep.append(np.array([True, True]))
    tokens.append(jnp.array([world.id(":")]))
    keep.append(np.array([True]))
    return jnp.concatenate(tokens).astype(jnp.int32), jnp.concatenate(keep), answers


def _answer(answers: dict) -> jax.Array:
    return answers["values"][-1]  # beyond the last step values stay


def _correct(world: _World, answers: dict, reading: Reading) -> jax.Array:
    last = token_at(reading, reading.length - 1) == jnp.asarray(world.digits)[_answer(answers)]
    return reading.ended & last & (token_at(reading, reading.length - 2) == world.id("="))


def _form(world: _World, reading: Reading) -> jax.Array:
    forbidden = jnp.isin(reading.tokens, np.array([world.id(one) for one in ":%>"]))
    digit = jnp.isin(token_at(reading, reading.length - 1), world.digits)
    return (
        reading.ended & digit & (token_at(reading, reading.length - 2) == world.id("=")) & ~jnp.any(forbidden)
    )


def _steps(world: _World, answers: dict, style: str) -> jax.Array:
    """Tokens of the steps, `[k, parts]`."""
    of = {
        "operation": jnp.asarray(world.operators)[answers["operations"]],
        "operand": jnp.asarray(world.digits)[answers["operands"]],
        "value": jnp.asarray(world.digits)[answers["values"]],
    }
    return (
        jnp.stack([of[part] for part in STYLES[style]], 1)
        if STYLES[style]
        else jnp.zeros((len(world.slots), 0), int)
    )


def _written(world: _World, answers: dict, answer: jax.Array, style: str) -> tuple[jax.Array, jax.Array]:
    """A derivation without its end."""
    steps = _steps(world, answers, style)
    ending = jnp.stack([jnp.int32(world.id("=")), jnp.asarray(world.digits)[answer].astype(jnp.int32)])
    keep = jnp.repeat(world.slots < answers["count"], steps.shape[1])
    tokens = jnp.concatenate([steps.reshape(-1), ending]).astype(jnp.int32)
    return tokens, jnp.concatenate([keep, np.array([True, True])])


def _corrupted(
    answers: dict, high: int, kind: jax.Array, place: jax.Array, shift: jax.Array
) -> tuple[dict, jax.Array]:
    """The answers with a wrong step, and the answer that it leads to; `kind` beyond the corruptions is none."""

    def wrong(j: int, value: jax.Array, result: jax.Array) -> jax.Array:
        other = _apply((answers["operations"][j] + 1) % 3, value, answers["operands"][j], answers["modulus"])
        made = jnp.stack([result + shift, other, value, result, result])[kind]
        return jnp.where(j == place, made, result)

    values = _run(answers, high, wrong)
    right, answer, modulus = _answer(answers), values[-1], answers["modulus"]
    off = right + 1 + (shift - 1) % (modulus - 1)
    answer = jnp.where((kind < len(CORRUPTIONS)) & (answer == right), off % modulus, answer)
    return answers | {"values": values}, answer


def _solve(world: _World, words: jax.Array, answers: dict, wrong: jax.Array) -> tuple[jax.Array, jax.Array]:
    place, shift = below(words[:2], jnp.stack([answers["count"], answers["modulus"] - 1]))
    kind = jnp.where(wrong, 0, len(CORRUPTIONS))
    changed, answer = _corrupted(answers, len(world.slots), kind, place, 1 + shift)
    rows = [pack(*_written(world, changed, answer, style), world.length - 1) for style in world.styles]
    chosen = below(words[2], len(rows))
    return tuple(jnp.stack(parts)[chosen] for parts in zip(*rows))


def _derive(
    world: _World, problems: Problems, style: str, *, corruption: str | None = None, place: jax.Array | int = 0,
    shift: jax.Array | int = 1,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    check_choice("style", style, tuple(STYLES))
    check_choice("corruption", corruption, (None, *CORRUPTIONS))
    longest = len(STYLES[style]) * len(world.slots) + 3
    if longest > world.length:
        raise InputError(
            f"style is {style!r}: it needs {longest} tokens, and with its room the task has {world.length}"
        )
    kind = len(CORRUPTIONS) if corruption is None else CORRUPTIONS.index(corruption)

    def row(answers: dict, place: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        changed, answer = _corrupted(answers, len(world.slots), jnp.int32(kind), place, shift)
        return ended(*_written(world, changed, answer, style), world.length)

    spread = lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.int32), problems.difficulty.shape)
    return jax.vmap(row)(problems.answers, spread(place), spread(shift))


def _right_steps(world: _World, answers: dict, reading: Reading, style: str) -> jax.Array:
    """Which steps, `[k]`, are as they should be where they should be."""
    steps = _steps(world, answers, style)
    high, width = steps.shape
    if not width:
        return jnp.broadcast_to(_correct(world, answers, reading), (high,))
    short = max(high * width - reading.tokens.shape[0], 0)
    found = jnp.pad(reading.tokens, (0, short))[: high * width].reshape(high, width)
    return jnp.all(found == steps, axis=1)


def _errors(world: _World, answers: dict, reading: Reading, style: str) -> jax.Array:
    wrong = ~_right_steps(world, answers, reading, style) & (world.slots < answers["count"])
    return jnp.where(jnp.any(wrong), jnp.argmax(wrong), answers["count"]).astype(jnp.int32)


def _first_error(
    world: _World, problems: Problems, completions: jax.Array, mask: jax.Array, style: str
) -> jax.Array:
    check_choice("style", style, tuple(STYLES))
    return jax.vmap(lambda answers, tokens, mask: _errors(world, answers, read(tokens, mask), style))(
        problems.answers, completions, mask
    )


def _score(world: _World, answers: dict, reading: Reading) -> jax.Array:
    shares = [_errors(world, answers, reading, style) / answers["count"] for style in world.styles]
    return (_correct(world, answers, reading) + jnp.max(jnp.stack(shares))) / 2


def _guess(world: _World, words: jax.Array, answers: dict) -> tuple[jax.Array, jax.Array]:
    digit = (words[0] % answers["modulus"].astype(jnp.uint32)).astype(jnp.int32)
    tokens = jnp.stack([jnp.int32(world.id("=")), jnp.asarray(world.digits, jnp.int32)[digit]])
    return tokens, jnp.full(2, True)


def _guidance(world: _World, problems: Problems, kind: str, style: str) -> tuple[jax.Array, jax.Array]:
    check_choice("kind", kind, GUIDANCE)
    check_choice("style", style, tuple(STYLES))

    def row(answers: dict) -> tuple[jax.Array, jax.Array]:
        tokens, keep = _written(world, answers, _answer(answers), style)
        steps = np.arange(len(tokens)) < len(tokens) - 2
        keep &= {"answer": ~steps, "solution": steps, "both": np.ones_like(steps)}[kind]
        one = lambda character: jnp.array([world.id(character)], jnp.int32)
        tokens = jnp.concatenate([one(">"), tokens, one(":")])
        return pack(tokens, jnp.concatenate([np.array([True]), keep, np.array([True])]), len(tokens))

    return jax.vmap(row)(problems.answers)


def _revision(world: _World, problems: Problems, answer: jax.Array) -> tuple[jax.Array, jax.Array]:
    def row(answer: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = jnp.array([world.id("?"), world.id("=")], jnp.int32)
        tokens = jnp.append(start, jnp.asarray(world.digits, jnp.int32)[answer])
        return ended(tokens, jnp.full(3, True), 4)

    return jax.vmap(row)(answer)
