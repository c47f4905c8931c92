"""Every procedural task against a slow verifier of its text, and the contract that all tasks share."""

import collections
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language._characters import CharacterTokenizer
from jaxlab.language.tasks import (
    ALPHABET,
    Problems,
    Task,
    addition,
    chain,
    countdown,
    multiplication,
    parity,
    sorting,
)
from tests.language.tasks import oracle

ROWS, EXTRA = 256, 3  # completions are judged with some room after their end
SHARED = CharacterTokenizer(ALPHABET[::-1])
CASES = {
    "chain": (chain(), (1, 6)),
    "chain, one level, other ids": (chain(difficulty=9, tokenizer=SHARED), (9, 9)),
    "addition": (addition(digits=(1, 3)), (1, 3)),
    "addition, longest": (addition(digits=9, tokenizer=SHARED), (9, 9)),
    "multiplication": (multiplication(digits=(1, 4)), (1, 4)),
    "sorting": (sorting(), (2, 6)),
    "parity": (parity(length=(1, 8)), (1, 8)),
    "countdown": (countdown(numbers=(2, 4)), (2, 4)),
    "countdown, large": (countdown(numbers=3, largest=99, target=999, tokenizer=SHARED), (3, 3)),
}
EVERY = pytest.mark.parametrize("case", CASES)


@functools.cache
def _judge(case):
    """(right, well formed) of `ROWS` completions with `EXTRA` tokens of room, compiled."""
    task = CASES[case][0]
    return jax.jit(lambda problems, *written: (task.verify(problems, *written), task.well_formed(*written)))


@functools.cache
def _drawn(case):
    """Problems, right demonstrations, wrong ones, and a mixture, all from one compiled function."""
    task = CASES[case][0]

    @jax.jit
    def draw(key):
        problem_key, key = jax.random.split(key)
        problems = task.sample(problem_key, ROWS)
        return problems, [task.demonstrate(key, problems, noise=noise) for noise in (0.0, 1.0, 0.3)]

    problems, demonstrations = draw(jax.random.key(7))
    padded = [[np.pad(x, ((0, 0), (0, EXTRA))) for x in written] for written in demonstrations]
    return jax.tree.map(np.asarray, problems), *padded


def _check(case, tokens, mask):
    right, formed = _judge(case)(_drawn(case)[0], tokens, mask)
    assert (right.dtype, formed.dtype, right.shape) == (jnp.float32, jnp.float32, (ROWS,))
    return np.asarray(right), np.asarray(formed)


@EVERY
def test_demonstrations(case):
    task = CASES[case][0]
    _, right, wrong, mixed = _drawn(case)
    assert [(x == 1).all() for x in _check(case, *right)] == [True, True]
    got, formed = _check(case, *wrong)
    assert (got.max(), formed.min()) == (0, 1)
    # 256 rows with probability 0.7: a spread of 0.03.
    assert abs(_check(case, *mixed)[0].mean() - 0.7) < 0.12
    for tokens, mask in (right, wrong):
        length = mask.sum(1)
        assert length.max() <= task.completion_length
        np.testing.assert_array_equal(mask, np.arange(mask.shape[1]) < length[:, None])
        assert (tokens[np.arange(ROWS), length - 1] == task.tokenizer.eos_id).all()
        assert (tokens[~mask] == task.tokenizer.pad_id).all()
        assert (tokens[mask] > task.tokenizer.bos_id).all()
        assert tokens.max() < task.tokenizer.vocab_size


@EVERY
def test_prompts(case):
    task, (low, high) = CASES[case]
    problems = _drawn(case)[0]
    prompts, mask = problems.prompts, problems.prompt_mask
    assert (prompts.shape, prompts.dtype) == ((ROWS, task.prompt_length), np.int32)
    start = mask.argmax(1)
    np.testing.assert_array_equal(mask, np.arange(task.prompt_length) >= start[:, None])
    assert (prompts[np.arange(ROWS), start] == task.tokenizer.bos_id).all()
    assert (prompts[~mask] == task.tokenizer.pad_id).all()
    assert prompts.max() < task.tokenizer.vocab_size
    texts = task.text(problems)
    np.testing.assert_array_equal(
        task.tokenizer.encode_batch(texts, task.prompt_length, bos=True)[0], prompts
    )
    levels = [oracle.level(task.name, text) for text in texts]
    np.testing.assert_array_equal(problems.difficulty, levels)
    count = collections.Counter(levels)
    assert sorted(count) == list(range(low, high + 1))
    # Uniform: 256 / k each, with a spread below the root of that.
    share = ROWS / len(count)
    assert all(abs(c - share) < 4 * share**0.5 for c in count.values())
    assert len(set(texts)) > 0.6 * min(ROWS, 10**low)


def _near_misses(task, problems, rng, *demonstrations):
    """Right and wrong demonstrations, damaged in all ways that a policy might find."""
    tokens = np.where(rng.random((ROWS, 1)) < 0.5, demonstrations[0][0], demonstrations[1][0])
    mask = np.where(tokens == task.tokenizer.pad_id, False, True)
    for row in range(ROWS):
        length = mask[row].sum()
        place, kind = rng.integers(length), rng.integers(9)
        anything = rng.integers(task.tokenizer.vocab_size)
        if kind == 0:
            tokens[row, place] = anything
        elif kind == 1:  # a character less
            tokens[row, place:-1], mask[row, length - 1 :] = tokens[row, place + 1 :], False
        elif kind == 2:  # a character more
            tokens[row, place + 1 :] = tokens[row, place:-1].copy()
            tokens[row, place], mask[row, length] = anything, True
        elif kind == 3:  # two exchanged
            other = rng.integers(length)
            tokens[row, [place, other]] = tokens[row, [other, place]]
        elif kind == 4:  # cut off, or interrupted
            mask[row, place] = False
        elif kind == 5:  # going on after the end
            tokens[row, length:], mask[row, length:] = rng.integers(task.tokenizer.vocab_size), True
        elif kind == 6:  # text where the mask says there is none
            tokens[row, length:] = rng.integers(task.tokenizer.vocab_size, size=mask.shape[1] - length)
        elif kind == 7:  # noise
            tokens[row, :length] = rng.integers(task.tokenizer.vocab_size, size=length)
    return tokens, mask


@EVERY
def test_against_the_slow_verifier(case):
    task = CASES[case][0]
    problems, right, wrong, _ = _drawn(case)
    prompts = task.text(problems)
    kinds = collections.Counter()
    for seed in range(4):
        tokens, mask = _near_misses(task, problems, np.random.default_rng(seed), right, wrong)
        got = np.stack(_check(case, tokens, mask), axis=1)
        expected = [oracle.judge(task, *row) for row in zip(prompts, tokens, mask)]
        np.testing.assert_array_equal(got, np.array(expected, np.float32))
        kinds.update(expected)
    assert min(kinds[True, True], kinds[False, True], kinds[False, False]) > 50, kinds


@EVERY
def test_the_end(case):
    task, (_, (tokens, mask)) = CASES[case][0], _drawn(case)[:2]
    rows, last = np.arange(ROWS), mask.sum(1) - 1
    # Another last character is wrong.
    changed = tokens.copy()
    changed[rows, last - 1] = 3 + (tokens[rows, last - 1] - 2) % (task.tokenizer.vocab_size - 3)
    assert (changed[rows, last - 1] != tokens[rows, last - 1]).all()
    assert _check(case, changed, mask)[0].max() == 0
    # No end of sequence, whether masked, padded or overwritten, is wrong and not well formed.
    hidden, padded, endless = mask.copy(), tokens.copy(), tokens.copy()
    hidden[rows, last] = False
    padded[rows, last] = task.tokenizer.pad_id
    endless[endless == task.tokenizer.eos_id] = 3
    for written in (
        (tokens, hidden),
        (padded, mask),
        (endless, mask),
        (tokens * 0, mask),
        (tokens, mask & False),
    ):
        assert [x.max() for x in _check(case, *written)] == [0, 0]
    # What comes after it does not count: tokens that were written, and what lies where none were.
    garbage = np.random.default_rng(0).integers(task.tokenizer.vocab_size, size=tokens.shape)
    after = np.arange(tokens.shape[1]) > last[:, None]
    for valid in (mask, np.ones_like(mask)):
        assert [x.min() for x in _check(case, np.where(after, garbage, tokens), valid)] == [1, 1]


@EVERY
def test_a_mask_of_numbers_and_a_wider_vocabulary(case):
    problems, (tokens, mask) = _drawn(case)[:2]
    assert _check(case, tokens, mask.astype(np.int32))[0].min() == 1
    # A model may have spare ids; they are characters of no meaning.
    tokens = tokens.copy()
    tokens[:, 0] = 1000
    assert _check(case, tokens, mask)[1].max() == 0
    assert "\ufffd" in CASES[case][0].text(problems, tokens)[0]


def test_countdown_accepts_every_solution_and_no_other_order_of_operations():
    task = countdown(numbers=3)
    # 2 + 3 * 4 = 14 and not 20; given 4 2 3.
    answers = {
        "numbers": np.array([[4, 2, 3]], np.int32),
        "operators": np.array([[0, 0]], np.int32),
        "target": np.array([14], np.int32),
        "count": np.array([3], np.int32),
    }
    texts = {
        "2+3*4": 1, "3*4+2": 1, "4*3+2": 1, "2+4*3": 1, "4+2*3": 0, "2*3+4": 0, "14": 0, "2+12": 0, "2+3*4+0": 0,
        "2+3*4-2+2": 0, "+2+3*4": 0, "2+3**4": 0, "2+3*4=14": 0, "2+3*04": 0, "2 + 3*4": 0, "2+3*": 0, "": 0,
        "99999999999999+2": 0, "2*2*2+2*3": 0,
    }  # fmt: skip
    tokens, mask = task.tokenizer.encode_batch(list(texts), 20, side="right", eos=True)
    many = jax.tree.map(lambda x: x.repeat(len(texts), 0), answers)
    assert jax.jit(task.verify)(many, tokens, mask).tolist() == list(texts.values())
    formed = jax.jit(task.well_formed)(tokens, mask)
    wrong_form = {"+2+3*4", "2+3**4", "2+3*4=14", "2+3*04", "2 + 3*4", "2+3*", "", "2+3*4+0"}
    assert [text for text, good in zip(texts, formed) if not good] == [t for t in texts if t in wrong_form]


@pytest.mark.parametrize("case", ["countdown", "countdown, large"])
def test_countdown_problems(case):
    task = CASES[case][0]
    problems, (tokens, _), (wrong, _), _ = _drawn(case)
    solved = [text.rsplit(":", 1) for text in task.text(problems, tokens)]
    used = [solution.strip().translate(str.maketrans("+-*", "   ")) for _, solution in solved]
    in_order = [prompt.split("=")[0] == numbers for (prompt, _), numbers in zip(solved, used)]
    assert np.mean(in_order) < 0.6, "the prompt gives the order of the solution away"
    operators = collections.Counter(c for _, solution in solved for c in solution if c in "+-*")
    assert min(operators.values()) > 0.05 * sum(operators.values())
    targets = problems.answers["target"]
    assert 1 <= targets.min() < targets.max() <= (99 if case == "countdown" else 999)
    assert (wrong != tokens).any(1).all()


def test_chain_by_hand():
    # +3-4+8: 3, 3 - 4 = -1 = 9, 9 + 8 = 17 = 7 (mod 10).
    task = chain(difficulty=3)
    assert (task.tokenizer.vocab_size, task.prompt_length, task.completion_length) == (17, 8, 6)
    answers = {"steps": jnp.array([[3, 9, 7]] * 5), "count": jnp.full(5, 3)}
    texts = ["397=7", "123=7", "=7", "397=9", "397=70"]
    tokens, mask = task.tokenizer.encode_batch(texts, 7, side="right", eos=True)
    assert jax.jit(task.verify)(answers, tokens, mask).tolist() == [1, 1, 1, 0, 0]
    assert jax.jit(task.well_formed)(tokens, mask).tolist() == [1, 1, 0, 1, 0]
    completions, _ = jax.jit(task.demonstrate)(jax.random.key(0), answers)
    assert task.tokenizer.decode(completions[0]) == "397=7"


def test_a_slip_is_carried_on():
    task, problems, (right, _), (wrong, _) = CASES["chain"][0], *_drawn("chain")[:3]
    for good, bad, k in zip(task.text(problems, right), task.text(problems, wrong), problems.difficulty):
        good, bad = (np.array([int(c) for c in text.split()[1].replace("=", "")]) for text in (good, bad))
        slip = (bad - good)[:k] % 10
        first = int((slip != 0).argmax())
        assert slip[first] != 0
        assert (slip[:first] == 0).all()
        assert (slip[first:] == slip[first]).all()
        assert bad[-1] == bad[-2]


SMALL = ("chain", "countdown")


@pytest.mark.parametrize("case", ["chain", "sorting"])
def test_a_row_depends_on_the_key_and_its_place_alone(case):
    task = CASES[case][0]
    sample = jax.jit(task.sample, static_argnums=1)
    key, many = jax.random.split(jax.random.key(7))[0], _drawn(case)[0]
    few = sample(key, 3)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:3]), few, many)
    eager = task.sample(key, 3)
    chex.assert_trees_all_equal(eager, few)
    assert not np.array_equal(sample(jax.random.key(8), 3).prompts, few.prompts)


@pytest.mark.parametrize("case", SMALL)
def test_seeds_by_vmap_and_steps_by_scan(case):
    task = CASES[case][0]

    def step(key, _):
        key, problem_key, answer_key = jax.random.split(key, 3)
        problems = jax.tree.map(lambda x: jnp.repeat(x, 2, 0), task.sample(problem_key, 3))
        completions, mask = task.demonstrate(answer_key, problems, noise=0.5)
        return key, (problems.prompts, completions, task.verify(problems, completions, mask))

    run = lambda key: jax.lax.scan(step, key, length=4)[1]
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(run))(keys)
    alone = jax.jit(run)
    one_by_one = jax.tree.map(lambda *seeds: jnp.stack(seeds), *[alone(key) for key in keys])
    chex.assert_trees_all_equal(together, one_by_one)
    rewards = together[-1]
    assert rewards.shape == (3, 4, 6)
    assert 0.2 < rewards.mean() < 0.8
    # The two of a group share a problem and not a slip.
    np.testing.assert_array_equal(together[0][:, :, ::2], together[0][:, :, 1::2])
    assert (together[1][:, :, ::2] != together[1][:, :, 1::2]).any()


def test_difficulty_on_demand():
    task = CASES["chain"][0]
    sample = jax.jit(lambda key, level: task.sample(key, 4, difficulty=level).difficulty)
    key = jax.random.key(0)
    assert sample(key, jnp.array([2, 5, 0, 99])).tolist() == [2, 5, 1, 6]
    fixed = jax.jit(lambda: task.sample(key, 4, difficulty=3))()
    assert [oracle.level("chain", text) for text in task.text(fixed)] == [3] * 4


@pytest.mark.parametrize("case", SMALL)
def test_nothing_to_verify(case):
    task = CASES[case][0]
    empty = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 0)
    assert empty.prompts.shape == (0, task.prompt_length)
    three = jax.tree.map(lambda x: x[:3], _drawn(case)[0])
    nothing = jnp.zeros((3, 0), jnp.int32)
    assert jax.jit(task.verify)(three, nothing, nothing == 0).tolist() == [0, 0, 0]
    assert jax.jit(task.well_formed)(nothing, nothing == 0).tolist() == [0, 0, 0]


def test_text():
    task = chain(difficulty=2)
    prompts, mask = task.tokenizer.encode_batch(["+3-4:", "+0+0:"], task.prompt_length, bos=True)
    problems = Problems(prompts, mask, None, jnp.full(2, 2))
    completions, _ = task.tokenizer.encode_batch(["39=9", "0"], 6, side="right")
    completions = completions.at[0, 4].set(task.tokenizer.eos_id)
    assert isinstance(task, Task)
    assert hash(task) == hash(task)
    assert task.text(problems) == ["+3-4:", "+0+0:"]
    assert task.text(problems, completions) == ["+3-4: 39=9", "+0+0: 0…"]
    with pytest.raises(ValueError, match="one row per problem, 2"):
        task.text(problems, completions[:1])


@pytest.mark.parametrize("case", SMALL)
def test_integers_and_float32_under_x64(case):
    task = CASES[case][0]

    def everything(key):
        problems = task.sample(key, 4)
        completions, mask = task.demonstrate(key, problems, noise=0.5)
        return problems, completions, mask, task.verify(problems, completions, mask)

    with jax.enable_x64(True):
        problems, completions, mask, reward = jax.eval_shape(everything, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves((problems, completions, mask))} == {
        jnp.dtype("int32"),
        jnp.dtype(bool),
    }
    assert reward.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chain(0), r"difficulty must be an integer or a pair \(low, high\) in \[1, 1000\], got 0"),
        (lambda: chain((3, 2)), r"difficulty must be .*, got \(3, 2\)"),
        (lambda: chain(2.5), "difficulty must be .*, got 2.5"),
        (lambda: addition((1, 10)), r"digits must be .* in \[1, 9\], got \(1, 10\)"),
        (lambda: multiplication(5), r"digits must be .* in \[1, 4\], got 5"),
        (lambda: sorting((1, 2, 3)), "length must be .*, got"),
        (lambda: parity(0), "length must be"),
        (lambda: countdown(1), r"numbers must be .* in \[2, 20\], got 1"),
        (lambda: countdown(5, largest=99, target=999), r"largest \*\* numbers must be .*, got 99 \*\* 5"),
        (lambda: countdown(3, largest=99), r"target must be in .* = \[297, 10\^9\], got 99"),
        (lambda: chain(tokenizer=CharacterTokenizer("0123456789+=:")), "'-' is not in the alphabet"),
        (lambda: chain().sample(jax.random.key(0), 2, difficulty=7), r"\[1, 6\], got 7"),
        (
            lambda: chain().sample(jax.random.key(0), 2, difficulty=jnp.ones(3, int)),
            r"\(3,\) must be a scalar or one per row, \(2,\)",
        ),
        (
            lambda: chain().demonstrate(jax.random.key(0), {}, noise=1.5),
            r"noise must be in \[0, 1\], got 1.5",
        ),
        (
            lambda: parity().verify({"bit": jnp.zeros(2, int)}, jnp.zeros((6, 3), int), jnp.ones((6, 3))),
            "6 completions need as many answers, got 2; repeat the problems per group",
        ),
        (
            lambda: parity().well_formed(jnp.zeros((6, 3), int), jnp.ones((6, 2))),
            r"\(6, 3\) and mask \(6, 2\) must both be \[n, T\]",
        ),
        (lambda: parity().well_formed(jnp.zeros((6, 3)), jnp.ones((6, 3))), "must be integers, got float32"),
    ],
)
def test_errors_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)
