"""A task: problems from a key, a verifier of answers, and demonstrations; all of it pure and inside of jit."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._characters import BOS, EOS, CharacterTokenizer
from jaxlab.language.tasks._reading import Reading, read
from jaxlab.language.tasks._writing import below, pack

Answers = Any
Range = int | tuple[int, int]

# The characters of all tasks of this room: one tokenizer made of it serves a mixture of them.
ALPHABET = "0123456789+-*=: "


class Problems(NamedTuple):
    """A batch of problems; a pytree, so it can be gathered, repeated per group and scanned over.

    `prompts` `[n, P]` int32, padded on the left, BOS first. `prompt_mask` `[n, P]`, false on padding. `answers`:
    what the verifier knows, a pytree of `[n, ...]` arrays. `difficulty` `[n]` int32.
    """

    prompts: jax.Array
    prompt_mask: jax.Array
    answers: Answers
    difficulty: jax.Array


@dataclasses.dataclass(frozen=True)
class Task:
    """What a language model is to do, and how it is checked; the functions are pure and may be jitted and vmapped.

    `sample(key, n, *, difficulty=None) -> Problems`: row i depends on the key and i alone, not on n. Difficulties
    are uniform over the task's range; `difficulty`, a scalar or `[n]`, traced if need be, asks for others of the
    range (traced ones are clipped to it).

    `verify(problems, completions, mask) -> [n]` float32 in {0, 1}: is the final answer exactly right? It takes
    `Problems` or their `answers`. `completions` `[n, T]`, any T; `mask` `[n, T]` is true for the tokens that were
    written, the EOS among them. What stands after the first EOS is ignored, and a completion without one is wrong.
    A position with a false mask ends the row unread: padding never reaches the verifier.

    `well_formed(completions, mask) -> [n]` float32 in {0, 1}: does it have the form of an answer, right or wrong?

    `demonstrate(key, problems, *, noise=0.0) -> (completions [n, T], mask [n, T])`: correct and well formed; with
    probability `noise`, per row, still well formed but wrong, as of an imperfect teacher.

    `score(problems, completions, mask) -> [n]` float32 in [0, 1]: how much of the answer is right, 1 where `verify` is;
    tasks without degrees have `verify` here.

    `guess(key, problems) -> (completions, mask)`: a random policy, which knows the form of an answer and nothing else;
    `chance(problems) -> [n]`: how often it succeeds. None where a task does not say.

    Args:
        name: the task's name.
        tokenizer: its characters.
        prompt_length: P, enough for the longest prompt.
        completion_length: T, enough for the longest right answer and its EOS.
        sample: see above.
        verify: see above.
        well_formed: see above.
        demonstrate, score, guess, chance: see above.

    >>> import jax
    >>> from jaxlab.language.tasks import addition
    >>> task = addition(digits=2)
    >>> problems = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 3)
    >>> completions, mask = jax.jit(task.demonstrate)(jax.random.key(1), problems)
    >>> jax.jit(task.verify)(problems, completions, mask).tolist()
    [1.0, 1.0, 1.0]
    """

    name: str
    tokenizer: CharacterTokenizer
    prompt_length: int
    completion_length: int
    sample: Callable[..., Problems]
    verify: Callable[..., jax.Array]
    well_formed: Callable[..., jax.Array]
    demonstrate: Callable[..., tuple[jax.Array, jax.Array]]
    score: Callable[..., jax.Array] | None = None
    guess: Callable[..., tuple[jax.Array, jax.Array]] | None = None
    chance: Callable[..., jax.Array] | None = None

    def __post_init__(self) -> None:
        if self.score is None:
            object.__setattr__(self, "score", self.verify)

    def text(self, problems: Problems, completions: jax.Array | None = None) -> list[str]:
        """The rows for people to read; a completion that did not end is shown with an ellipsis.

        Args:
            problems: n problems.
            completions: `[n, T]`, or None for the prompts alone.

        Returns:
            n strings.
        """
        prompts = [self.tokenizer.decode(row) for row in np.asarray(problems.prompts)]
        if completions is None:
            return prompts
        rows = np.asarray(completions)
        if len(rows) != len(prompts):
            raise InputError(f"completions {rows.shape} must have one row per problem, {len(prompts)}")
        ending = ["" if EOS in row else "…" for row in rows]
        answers = [self.tokenizer.decode(row) for row in rows]
        return [f"{prompt} {answer}{end}" for prompt, answer, end in zip(prompts, answers, ending)]


class Rules(NamedTuple):
    """One row of a task; `make_task` does the rest.

    `draw(words, difficulty) -> (tokens, keep, answers)`: the prompt without BOS and padding, only `keep` counts.
    `correct(answers, reading)` and `form(reading)` -> bool. `solve(words, answers, wrong) -> (tokens, keep)`: the
    completion without EOS. `words` are random uint32, `draw_words` and `solve_words` of them: one call of the
    generator per batch, since each adds a second to the compilation of whatever uses the task. `score(answers,
    reading)`, `guess(words, answers) -> (tokens, keep)` and `chance(answers)` may be left out.
    """

    draw: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array, Answers]]
    correct: Callable[[Answers, Reading], jax.Array]
    form: Callable[[Reading], jax.Array]
    solve: Callable[[jax.Array, Answers, jax.Array], tuple[jax.Array, jax.Array]]
    draw_words: int
    solve_words: int
    score: Callable[[Answers, Reading], jax.Array] | None = None
    guess: Callable[[jax.Array, Answers], tuple[jax.Array, jax.Array]] | None = None
    guess_words: int = 0
    chance: Callable[[Answers], jax.Array] | None = None


def make_task(
    name: str,
    tokenizer: CharacterTokenizer,
    *,
    prompt_length: int,
    completion_length: int,
    levels: tuple[int, int],
    rules: Rules,
    kind: type[Task] = Task,
    **more: Any,
) -> Task:
    """The task of these rules: padding, masks, keys and the batch axis are the same for all.

    `kind` is a task that can do `more`.
    """
    return kind(
        name=name,
        tokenizer=tokenizer,
        prompt_length=prompt_length,
        completion_length=completion_length,
        sample=functools.partial(_sample, rules, levels, prompt_length),
        verify=functools.partial(_verify, rules.correct),
        well_formed=functools.partial(_well_formed, rules),
        demonstrate=functools.partial(_demonstrate, rules, completion_length),
        score=rules.score and functools.partial(_verify, rules.score),
        guess=rules.guess and functools.partial(_guess, rules, completion_length),
        chance=rules.chance and functools.partial(_chance, rules),
        **more,
    )


def check_range(name: str, value: Range, least: int, most: int) -> tuple[int, int]:
    """An integer or a pair (low, high) as that pair, if it lies in [least, most]."""
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if (
        len(pair) != 2
        or not all(isinstance(end, Integral) for end in pair)
        or not least <= pair[0] <= pair[1] <= most
    ):
        raise InputError(f"{name} must be an integer or a pair (low, high) in [{least}, {most}], got {value}")
    return pair


def tokenizer_for(alphabet: str, tokenizer: CharacterTokenizer | None) -> CharacterTokenizer:
    """The tokenizer given, if it knows the characters of the task, or one of just these."""
    if tokenizer is None:
        return CharacterTokenizer(alphabet)
    tokenizer.encode(alphabet)
    return tokenizer


def _random_words(key: jax.Array, n: int, count: int) -> tuple[jax.Array, jax.Array]:
    """One word for every row, and `count` more; with JAX's own generator a row does not depend on n."""
    words = jax.random.bits(key, (n, 1 + count), jnp.uint32)
    return words[:, 0], words[:, 1:]


def _levels(words: jax.Array, levels: tuple[int, int], difficulty: int | jax.Array | None) -> jax.Array:
    """The difficulty of every row: drawn, or as asked for."""
    low, high = levels
    if difficulty is None:
        return low + below(words, np.full(words.shape, high + 1 - low))
    if isinstance(difficulty, int) and not low <= difficulty <= high:
        raise InputError(f"difficulty must lie in the range of the task, [{low}, {high}], got {difficulty}")
    n, difficulty = words.shape[0], jnp.asarray(difficulty, jnp.int32)
    if difficulty.shape not in ((), (n,)):
        raise InputError(f"difficulty {difficulty.shape} must be a scalar or one per row, ({n},)")
    return jnp.broadcast_to(jnp.clip(difficulty, low, high), (n,))


def _sample(
    rules: Rules,
    levels: tuple[int, int],
    length: int,
    key: jax.Array,
    n: int,
    *,
    difficulty: int | jax.Array | None = None,
) -> Problems:
    first_word, words = _random_words(key, n, rules.draw_words)
    level = _levels(first_word, levels, difficulty)
    tokens, keep, answers = jax.vmap(rules.draw)(words, level)
    first = jnp.full((n, 1), BOS, jnp.int32)
    tokens = jnp.concatenate([first, tokens], axis=1)
    keep = jnp.concatenate([first == BOS, keep], axis=1)
    prompts, mask = jax.vmap(functools.partial(pack, length=length, side="left"))(tokens, keep)
    return Problems(prompts, mask, answers, level)


def _answers(problems: Problems | Answers) -> Answers:
    return problems.answers if isinstance(problems, Problems) else problems


def _num_rows(answers: Answers) -> int:
    return jax.tree.leaves(answers)[0].shape[0]


def _read(completions: jax.Array, mask: jax.Array) -> Reading:
    completions, mask = jnp.asarray(completions), jnp.asarray(mask)
    if completions.ndim != 2 or mask.shape != completions.shape:
        raise InputError(f"completions {completions.shape} and mask {mask.shape} must both be [n, T]")
    if not jnp.issubdtype(completions.dtype, jnp.integer):
        raise InputError(f"completions must be integers, got {completions.dtype}")
    return jax.vmap(read)(completions, mask.astype(bool))


def _verify(
    judge: Callable[[Answers, Reading], jax.Array],
    problems: Problems | Answers,
    completions: jax.Array,
    mask: jax.Array,
) -> jax.Array:
    answers, reading = _answers(problems), _read(completions, mask)
    n, rows = _num_rows(answers), reading.tokens.shape[0]
    if n != rows:
        raise InputError(f"{rows} completions need as many answers, got {n}; repeat the problems per group")
    return jax.vmap(judge)(answers, reading).astype(jnp.float32)


def _well_formed(rules: Rules, completions: jax.Array, mask: jax.Array) -> jax.Array:
    return jax.vmap(rules.form)(_read(completions, mask)).astype(jnp.float32)


def _demonstrate(
    rules: Rules, length: int, key: jax.Array, problems: Problems | Answers, *, noise: float | jax.Array = 0.0
) -> tuple[jax.Array, jax.Array]:
    if isinstance(noise, int | float) and not 0.0 <= noise <= 1.0:
        raise InputError(f"noise must be in [0, 1], got {noise}")
    answers = _answers(problems)
    first_word, words = _random_words(key, _num_rows(answers), rules.solve_words)
    wrong = (first_word >> 8).astype(jnp.float32) * 2.0**-24 < noise

    return jax.vmap(lambda *row: ended(*rules.solve(*row), length))(words, answers, wrong)


def ended(tokens: jax.Array, keep: jax.Array, length: int) -> tuple[jax.Array, jax.Array]:
    """The kept tokens of one row and an end of sequence, padded to a length."""
    tokens = jnp.concatenate([tokens, jnp.full(1, EOS, tokens.dtype)])
    return pack(tokens, jnp.concatenate([keep, jnp.full(1, True)]), length)


def _guess(
    rules: Rules, length: int, key: jax.Array, problems: Problems | Answers
) -> tuple[jax.Array, jax.Array]:
    answers = _answers(problems)
    _, words = _random_words(key, _num_rows(answers), rules.guess_words)
    return jax.vmap(lambda *row: ended(*rules.guess(*row), length))(words, answers)


def _chance(rules: Rules, problems: Problems | Answers) -> jax.Array:
    return jax.vmap(rules.chance)(_answers(problems)).astype(jnp.float32)
