"""Tasks with grades: random policies succeed as often as they say, and what is right is what a slow reader says."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.language import CharacterTokenizer
from jaxlab.language.tasks import (
    CORRUPTIONS,
    GUIDANCE,
    PROPERTIES,
    STYLES,
    StepwiseTask,
    addition,
    knights,
    mixture,
    properties,
    sorting,
    stack_program,
    stepwise,
)

ROWS = 400
SHARED = CharacterTokenizer("0123456789+-*%=:?>abcdef&|!")
FAMILIES = stepwise((2, 4), operations=("+", "*-"), moduli=(7, 10), styles=("values", "equations"), room=4)
CASES = {
    "stepwise": FAMILIES,
    "knights": knights((2, 4)),
    "stack_program": stack_program((2, 5)),
    "properties": properties((1, 4)),
    "mixture": mixture(
        {
            "knights": (knights((2, 3), tokenizer=SHARED), (2, 3)),
            "steps": (stepwise((1, 2), tokenizer=SHARED), (1, 2)),
        }
    ),
}


@functools.cache
def _drawn(name):
    """Problems, and completions: right, wrong and random, all judged."""
    task = CASES[name]

    @jax.jit
    def draw(key):
        problems = task.sample(jax.random.fold_in(key, 0), ROWS)
        written = {
            "right": task.demonstrate(jax.random.fold_in(key, 1), problems),
            "wrong": task.demonstrate(jax.random.fold_in(key, 2), problems, noise=1.0),
            "random": task.guess(jax.random.fold_in(key, 3), problems),
        }
        judged = {
            kind: (task.verify(problems, *own), task.score(problems, *own), task.well_formed(*own))
            for kind, own in written.items()
        }
        return problems, written, judged, task.chance(problems)

    return jax.tree.map(np.asarray, draw(jax.random.key(3)))


@pytest.mark.parametrize("name", CASES)
def test_a_random_policy_succeeds_as_often_as_the_task_says(name):
    _, _, judged, chance = _drawn(name)
    found, expected = judged["random"][0].mean(), chance.mean()
    assert 0 < expected < 1
    assert abs(found - expected) < 4 * np.sqrt((chance * (1 - chance)).mean() / ROWS)
    assert judged["random"][2].all()


@pytest.mark.parametrize("name", CASES)
def test_demonstrations_are_right_or_wrong_as_they_should_be_and_scores_grade_them(name):
    _, _, judged, _ = _drawn(name)
    verified, scores, formed = judged["right"]
    assert verified.all()
    assert (scores == 1).all()
    assert formed.all()
    verified, scores, formed = judged["wrong"]
    assert not verified.any()
    assert ((scores >= 0) & (scores < 1)).all()
    assert formed.all()
    assert scores.std() > 0


def _texts(name, kind):
    problems, written, _, _ = _drawn(name)
    task = CASES[name]
    prompts = [task.tokenizer.decode(row) for row in problems.prompts]
    return problems, prompts, [task.tokenizer.decode(row) for row in written[kind][0]]


def test_derivations_are_those_of_slow_arithmetic():
    problems, prompts, answers = _texts("stepwise", "right")
    lengths = set()
    for prompt, answer, count in zip(prompts, answers, problems.difficulty):
        text, modulus = prompt[:-1].split("%")
        modulus, value, work, full = int(modulus) or 10, int(text[0]), "", ""
        for op, digit in zip(text[1::2], text[2::2]):
            value = {"+": value + int(digit), "-": value - int(digit), "*": value * int(digit)}[op] % modulus
            work, full = work + str(value), full + op + digit + str(value)
        assert answer in (f"{work}={value}", f"{full}={value}")
        lengths.add(len(answer) > count + 2)
        assert len(text) == 1 + 2 * count
        assert set(text[1::2]) <= {"+"} or "+" not in text
    assert lengths == {True, False}  # both styles are written


def test_puzzles_have_the_one_solution_that_is_asked_for():
    problems, prompts, answers = _texts("knights", "right")
    says = {
        "&": lambda a, b: a and b,
        "|": lambda a, b: a or b,
        "=": lambda a, b: a == b,
        "!": lambda a, b: a != b,
    }
    for prompt, answer, count in list(zip(prompts, answers, problems.difficulty))[:100]:
        statements = [prompt[i : i + 3] for i in range(0, 3 * count, 3)]
        found = [
            way
            for way in itertools.product((False, True), repeat=int(count))
            if all(
                role == says[s[0]](way["abcd".index(s[1])], way["abcd".index(s[2])])
                for role, s in zip(way, statements)
            )
        ]
        assert ["".join("01"[role] for role in way) for way in found] == [answer]
    assert len(set(answers)) > 10


def test_programs_leave_the_stack_that_is_asked_for():
    _, prompts, answers = _texts("stack_program", "right")
    for prompt, answer in zip(prompts, answers):
        stack = []
        for one in prompt[:-1]:
            if one.isdigit():
                stack.append(int(one))
            elif one == "d":
                stack.append(stack[-1])
            elif one == "s":
                stack[-2:] = stack[:-3:-1]
            else:
                right, left = stack.pop(), stack.pop()
                stack.append({"+": left + right, "-": left - right, "*": left * right}[one] % 10)
        assert answer == "".join(map(str, stack))
    assert set("+-*ds") <= set("".join(prompts))


def test_words_have_the_properties_that_are_asked_for_and_scores_count_them():
    problems, prompts, answers = _texts("properties", "random")
    _, _, judged, _ = _drawn("properties")
    for prompt, answer, score in zip(prompts, answers, judged["random"][1]):
        held = [PROPERTIES[letter](answer) for letter in prompt[:-1]]
        np.testing.assert_allclose(score, np.mean(held), rtol=1e-6)
    assert {len(prompt) - 1 for prompt in prompts} == {1, 2, 3, 4}
    assert (problems.answers["asked"].sum(1) == problems.difficulty).all()


CORRUPTED = stepwise((3, 5), operations="+-*", styles=("equations", "values"))


@functools.cache
def _corrupted():
    """For each corruption, and for none: what is wrong, where, and the form."""
    place, shift = jnp.arange(ROWS) % 3, 1 + jnp.arange(ROWS) % 9

    @jax.jit
    def judge(key):
        problems, found = CORRUPTED.sample(key, ROWS), {}
        for kind in (None, *CORRUPTIONS):
            written = CORRUPTED.derive(problems, "values", corruption=kind, place=place, shift=shift)
            first = CORRUPTED.first_error(problems, *written, "values")
            found[str(kind)] = (CORRUPTED.verify(problems, *written), first, CORRUPTED.well_formed(*written))
        return problems.difficulty, place, found

    return jax.tree.map(np.asarray, judge(jax.random.key(0)))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corruption_is_wrong_from_its_step_on_and_nowhere_before(corruption):
    count, place, found = _corrupted()
    verified, first, formed = found[corruption]
    assert not verified.any()
    assert formed.all()
    if corruption == "answer":
        np.testing.assert_array_equal(first, count)
    elif corruption == "slip":
        np.testing.assert_array_equal(first, place)
    else:  # another operation, or none, may give the same
        assert (first >= place).all()
        assert (first == place).mean() > 0.7
    verified, first, _ = found["None"]
    np.testing.assert_array_equal(first, count)
    assert verified.all()


def test_hints_and_revisions_are_written_as_they_are_read():
    task = stepwise((2, 3), styles=tuple(STYLES), room=4)
    assert isinstance(task, StepwiseTask)

    @jax.jit
    def write(key):
        problems = task.sample(key, 20, difficulty=2)
        hints = [task.guidance(problems, kind, "values")[0] for kind in GUIDANCE]
        wrong = task.derive(problems, "values", corruption="slip", shift=3)
        more = task.revision(problems, problems.answers["values"][:, -1])
        place = jnp.sum(wrong[1], axis=1, keepdims=True) - 1 + jnp.arange(4)  # the end is taken off
        revised = [old.at[jnp.arange(20)[:, None], place].set(new) for old, new in zip(wrong, more)]
        return task.derive(problems, "direct")[0], hints, more[0], task.verify(problems, *revised)

    direct, hints, more, verified = write(jax.random.key(0))
    decode = lambda rows: [task.tokenizer.decode(row) for row in np.asarray(rows)]
    answers = [text[-1] for text in decode(direct)]
    for answer, hint, solution, both in zip(answers, *map(decode, hints)):
        assert hint == f">={answer}:"
        assert both == solution[:-1] + hint[1:]
    assert decode(more) == [f"?={answer}" for answer in answers]
    assert verified.all()


def test_a_mixture_judges_each_row_as_its_own_task_does():
    problems, written, judged, _ = _drawn("mixture")
    which = problems.answers["which"]
    assert set(which) == {0, 1}
    np.testing.assert_array_equal(which, problems.difficulty // 2)
    other = knights((2, 3), tokenizer=SHARED)
    own = other.verify(problems.answers["parts"][0], *written["random"])
    np.testing.assert_array_equal(judged["random"][0][which == 0], own[which == 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stepwise(2, operations="/"), "operations are '/'"),
        (lambda: stepwise(2, moduli=11), "modulus is 11"),
        (lambda: stepwise(2, styles="prose"), "style"),
        (lambda: knights(9), "people must be"),
        (lambda: properties(11), "count must be"),
        (lambda: mixture({}), "at least one task"),
        (lambda: mixture({"a": (sorting(2), (2, 2)), "b": (addition(2), (2, 2))}), "different tokenizers"),
    ],
)
def test_worlds_that_make_no_sense_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
