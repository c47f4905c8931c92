"""The step with Python in its middle: it equals the compiled one, survives its verifier, and resumes bit for bit."""

import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import data
from jaxlab import post_training as pt
from jaxlab.language import CharacterTokenizer, Decoder, attach_lora, init_lora
from jaxlab.post_training import TextProblems, completion_texts, text_problems, text_rlvr_learner
from jaxlab.training import Plan, fit
from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.preemption import Preempted
from tests.post_training import text_scorers

TOKENIZER = CharacterTokenizer("abc=")
MODEL = Decoder(vocab_size=TOKENIZER.vocab_size, width=8, num_layers=1, num_heads=2, mlp_width=8, context=8)
TEXTS = ["a=", "ab=", "b=", "abc="]
PROBLEMS = text_problems(TEXTS, TOKENIZER, MODEL, max_new_tokens=2)
GROUP = 4


def _advantage(r):
    return pt.grpo_advantage(r.rewards, r.group)


def _loss(log_probs, r, advantage):
    return pt.aggregate(pt.gpg_loss(log_probs, advantage), r.mask), {}


SETTINGS = {
    "advantage": _advantage, "loss": _loss, "optimizer": optax.adam(0.05), "group_size": GROUP, "max_new_tokens": 2,
}  # fmt: skip


def _learner(scorer=text_scorers.has_a, **options):
    init = lambda key, context: MODEL.init(jax.random.key(0))
    settings = {"init": init, "scorer": scorer, "seconds": 10.0, **SETTINGS}
    return text_rlvr_learner(MODEL, TOKENIZER, **settings | options)


@pytest.fixture(scope="module")
def learner():
    """One that is paid for completions with an "a", compiled once."""
    return _learner()


def _train(learner, steps):
    state, rows = learner.init(jax.random.key(9), {}), []
    for step in range(steps):
        state, metrics = learner.update(state, PROBLEMS, jax.random.key(step), {})
        rows.append({name: float(value) for name, value in metrics.items()})
    return state, rows


def _same(a, b):
    chex.assert_trees_all_equal(a, b)


def test_a_policy_learns_what_the_scorer_pays_for(learner):
    state, rows = _train(learner, 25)
    rewards = [row["reward"] for row in rows]
    assert np.mean(rewards[:3]) < 0.5
    assert np.mean(rewards[-5:]) > 0.9
    assert set(rows[0]) == {"loss", "gradient_norm", "reward", "length", "entropy", "truncated", "groups_solved",
                            "groups_failed", "mismatch_mean", "mismatch_max", "verifier_raised",
                            "verifier_timed_out", "verifier_not_finite"}  # fmt: skip
    assert rows[-1]["entropy"] < rows[0]["entropy"]
    assert state.step == 25
    np.testing.assert_allclose(state.mean_reward, np.mean(rewards), rtol=1e-5)


def test_it_equals_the_compiled_learner_under_the_same_verifier(learner):
    a = TOKENIZER.encode("a")[0]
    pure = pt.rlvr_learner(
        MODEL, policy=lambda context: MODEL.init(jax.random.key(0)), eos=TOKENIZER.eos_id,
        verify=lambda problems, tokens, mask: ((tokens == a) & mask).any(axis=1), **SETTINGS,
    )  # fmt: skip
    found, rows = _train(learner, 2)
    state, update = pure.init(jax.random.key(9), {}), jax.jit(pure.update)
    for step in range(2):
        state, metrics = update(state, PROBLEMS, jax.random.key(step), {})
        for name, value in metrics.items():
            np.testing.assert_allclose(rows[step][name], value, atol=1e-5, err_msg=name)
    chex.assert_trees_all_close(found.params, state.params, atol=2e-4)


def test_each_completion_is_scored_as_an_answer_to_its_own_problem():
    tell = lambda log_probs, r, advantage: (jnp.sum(log_probs), {"rollouts": r})
    numbered = PROBLEMS._replace(item=jnp.array([3, 1, 0, 2]))
    for items, told in ((None, [3, 1, 0, 2]), ([7, 5, 1, 9], [9, 5, 7, 1])):
        learner = _learner(text_scorers.tenths, items=items, loss=tell)
        state = learner.init(jax.random.key(9), {})
        r = learner.update(state, numbered, jax.random.key(1), {})[1]["rollouts"]
        np.testing.assert_allclose(r.rewards, np.repeat(told, GROUP) / 10, rtol=1e-6)
        assert r.group.tolist() == np.repeat(range(4), GROUP).tolist()


@pytest.mark.filterwarnings("ignore:an answer that the scorer fails on")
def test_a_scorer_that_fails_costs_its_own_answers_and_is_counted():
    learner = _learner(text_scorers.faulty, seconds=1.0)
    state = learner.init(jax.random.key(9), {})
    state, metrics = learner.update(state, PROBLEMS, jax.random.key(1), {})
    counts = {name: value for name, value in metrics.items() if name.startswith("verifier")}
    assert counts == {"verifier_raised": GROUP, "verifier_timed_out": GROUP, "verifier_not_finite": GROUP}
    assert metrics["reward"] == 0.25
    assert np.isfinite(metrics["loss"])
    healthy = PROBLEMS._replace(item=jnp.full(4, 3))
    state, metrics = learner.update(state, healthy, jax.random.key(2), {})
    assert (metrics["reward"], metrics["verifier_raised"]) == (1, 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda item, text: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda completions, **columns: [0.0], "a scorer is called as scorer\\(item, text\\)"),
        (lambda item, text: None, "the scorer returned None: one number is due for one answer"),
    ],
)
def test_a_scorer_that_never_works_stops_the_first_batch(scorer, message):
    pytest.importorskip("cloudpickle")
    learner = _learner(scorer)
    state = learner.init(jax.random.key(9), {})
    with pytest.raises(
        RuntimeError, match=f"(?s)the scorer failed on every answer.*16 of 16 answers.*{message}"
    ):
        learner.update(state, PROBLEMS, jax.random.key(1), {})


def test_later_failures_cost_their_answers_and_are_shown_once(capsys):
    learner = _learner(text_scorers.faulty_later)
    state, shown = learner.init(jax.random.key(9), {}), []
    for items in ([3, 3, 3, 3], [0, 0, 0, 0], [0, 2, 0, 3]):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            problems = PROBLEMS._replace(item=jnp.array(items))
            state, metrics = learner.update(state, problems, jax.random.key(1), {})
        shown.append([str(warning.message) for warning in caught])
    assert [len(messages) for messages in shown] == [0, 1, 1]
    assert 'raise ValueError("no")' in shown[1][0]
    assert "the scorer returned nan" in shown[2][0]
    assert (metrics["verifier_raised"], metrics["verifier_not_finite"], metrics["reward"]) == (8, 4, 0.25)
    assert capsys.readouterr().out.count("asked about") == 3 * 16


def test_prompts_padded_on_the_right_are_answered_alike(learner):
    state, found = learner.init(jax.random.key(9), {}), []
    turn = lambda x: np.stack(
        [np.roll(row, -int(4 - n)) for row, n in zip(x, PROBLEMS.prompt_mask.sum(axis=1))]
    )
    right = PROBLEMS._replace(prompts=turn(PROBLEMS.prompts), prompt_mask=turn(PROBLEMS.prompt_mask))
    for problems in (PROBLEMS, right):
        found.append(learner.update(state, problems, jax.random.key(1), {}))
    _same(*found)
    assert found[0][1]["length"] > 0


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a", "b", "c"], "item 3 is asked about: there are 3 items"),
        ({0: "a", 1: "b", 2: "c"}, "item 3 is asked about"),
        ("abcd", "items must be a list, got 'abcd'"),
    ],
)
def test_items_that_are_not_there_are_named(items, message):
    with pytest.raises(ValueError, match=message):
        _learner(items=items).update(None, PROBLEMS, jax.random.key(1), {})
    learner = _learner(items=["a"] * 9)
    with pytest.raises(ValueError, match="item -1 is asked about: there are 9 items"):
        learner.update(None, PROBLEMS._replace(item=jnp.array([0, 1, -1, 2])), jax.random.key(1), {})


def test_adapters_alone_are_trained_and_kept():
    base = MODEL.init(jax.random.key(0))
    before = jax.tree.map(np.array, base)
    learner = _learner(
        init=lambda key, context: init_lora(key, MODEL, rank=2),
        base=base,
        attach=lambda params, base: attach_lora(base, params, alpha=4.0),
    )
    state = learner.init(jax.random.key(9), {})
    shapes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
    allowed = shapes(init_lora(jax.random.key(0), MODEL, rank=2))
    assert shapes(state) == [
        *allowed,
        (),
        *allowed,
        *allowed,
        (),
        (),
    ]  # params, Adam's count and moments, step, mean
    after, _ = learner.update(state, PROBLEMS, jax.random.key(1), {})
    _same(before, base)
    assert np.abs(after.params[0]["q"]["b"]).max() > 0
    assert np.abs(state.params[0]["q"]["b"]).max() == 0


def _draw(train, key):
    rows = data.draw(train, key, batch_size=4)
    return TextProblems(rows["prompts"], rows["prompt_mask"], rows["item"])


def _fit(learner, seen, folder=None, stop=lambda: False, rows=None):
    def update(state, batch, key, context):
        seen.append(batch.item.tolist())
        return learner.update(state, batch, key, context)

    rows = [] if rows is None else rows
    plan = Plan(seeds=(0, 1), log_every=2, checkpoint_every=4)
    evaluate = lambda state, split, context: {"norm": optax.tree.norm(state.params)}
    done = fit(
        learner._replace(update=update), data={"train": PROBLEMS, "val": PROBLEMS}, draw=_draw, steps=10, plan=plan,
        evaluate=evaluate, checkpoints=folder and Checkpoints(folder), stop=stop, log=rows.append, show=False,
    )  # fmt: skip
    return done, rows


def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(learner, tmp_path):
    expected = _fit(learner, seen := [])
    first, second = [], []
    chunks = iter([False, False, True])
    rows = []
    with pytest.raises(Preempted):
        _fit(learner, first, tmp_path, stop=lambda: next(chunks), rows=rows)
    found, rows = _fit(learner, second, tmp_path, rows=rows)
    for state, other in zip(expected[0].state, found.state):
        _same(state, other)
    assert rows == expected[1]
    # Seed after seed within a chunk of two steps: neither replayed nor lost.
    assert first + second == seen
    assert len({tuple(items) for items in seen}) > 4


def test_prompts_are_padded_on_the_left_to_one_length():
    assert PROBLEMS.prompts.shape == (4, 4)
    assert PROBLEMS.prompt_mask.sum(axis=1).tolist() == [2, 3, 2, 4]
    assert TOKENIZER.decode(PROBLEMS.prompts[1]) == "ab="
    assert PROBLEMS.item.tolist() == [0, 1, 2, 3]
    longer = text_problems(["a"], TOKENIZER, MODEL, max_new_tokens=2, items=[9], length=6)
    assert (longer.prompts.shape, longer.item.tolist()) == ((1, 6), [9])


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (
            ["a", "aaaaaaa"],
            {},
            "prompt 1 has 7 tokens, 'aaaaaaa': the model's context of 8 leaves 6 beside 2 new",
        ),
        (["a", ""], {}, "prompt 1 is empty"),
        ([], {}, "0 items and 0 prompts"),
        (["a"], {"items": [1, 2]}, "2 items and 1 prompts"),
        (["aaa"], {"length": 2}, "has 3 tokens, more than length 2"),
        (["x"], {}, "character 'x' is not in the alphabet"),
        ("ab", {}, "texts must be a list, got 'ab'; a single one is a list of one"),
        (["a", 3], {}, "texts must be a list of texts, got 3 as number 1"),
        (["a", "b"], {"items": "ab"}, "items must be a list, got 'ab'"),
        (
            ["a"],
            {"items": [0.5]},
            "items must be whole numbers, by which the verifier knows the problems, got 0.5",
        ),
        (
            ["a"],
            {"items": ["q1"]},
            "items must be whole numbers, by which the verifier knows the problems, got 'q1'",
        ),
    ],
)
def test_prompts_that_cannot_be_read_are_one_line(texts, options, message):
    with pytest.raises(ValueError, match=message) as error:
        text_problems(texts, TOKENIZER, MODEL, max_new_tokens=2, **options)
    assert "\n" not in str(error.value)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused():
    bigger = CharacterTokenizer("abcd=")
    for refuse in (
        lambda: text_problems(["a"], bigger, MODEL, max_new_tokens=2),
        lambda: text_rlvr_learner(MODEL, bigger, init=None, scorer=None, **SETTINGS),
    ):
        with pytest.raises(ValueError, match="vocabulary of 7 ids and the tokenizer of 8"):
            refuse()


@pytest.mark.parametrize("name", ["group_size", "max_new_tokens", "minibatches", "passes", "microbatches"])
def test_sizes_below_one_are_named(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        _learner(**{name: 0})


def test_texts_end_with_the_sequence_and_skip_what_was_not_sampled():
    a, b, _, _ = TOKENIZER.encode("abc=")
    tokens = jnp.array([[a, b, 2, a], [b, 0, 0, 0], [0, 0, 0, 0], [a, a, a, a]])
    mask = jnp.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    assert completion_texts(TOKENIZER, tokens, mask) == ["ab", "b", "", "aaaa"]
    assert completion_texts(TOKENIZER, tokens, ~mask)[0] == "a"
    for other, where in ((tokens, mask[:2]), (tokens[0], mask[0]), (tokens, mask[:, :2])):
        with pytest.raises(ValueError, match=r"tokens \(.*\) and mask \(.*\) must both be \[B, N\]"):
            completion_texts(TOKENIZER, other, where)
    with pytest.raises(ValueError, match=r"mask must be bool or \{0, 1\}, got 4"):
        completion_texts(TOKENIZER, mask, tokens)


def test_every_end_of_the_tokenizer_ends_a_completion():
    class Two(CharacterTokenizer):
        eos_ids = (2, TOKENIZER.encode("a")[0], TOKENIZER.encode("b")[0])

    learner = text_rlvr_learner(
        MODEL, Two("abc="), init=lambda key, context: MODEL.init(jax.random.key(0)), scorer=text_scorers.tenths,
        **SETTINGS | {"loss": lambda log_probs, r, advantage: (jnp.sum(log_probs), {"rollouts": r})},
    )  # fmt: skip
    r = learner.update(learner.init(jax.random.key(9), {}), PROBLEMS, jax.random.key(1), {})[1]["rollouts"]
    ended = np.isin(r.tokens[:, 0], Two.eos_ids)
    assert 0 < ended.sum() < 16
    np.testing.assert_array_equal(r.mask[:, 1], ~ended)
