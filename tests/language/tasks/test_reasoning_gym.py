"""Third-party tasks by index."""

import pickle
import sys
from importlib.util import find_spec

import pytest

from jaxlab.language.tasks import ReasoningGym, _helper, math_answer_matches, verify_text

needs_gym = pytest.mark.skipif(not find_spec("reasoning_gym"), reason="no reasoning-gym")


@pytest.fixture(scope="module")
def gym():
    return ReasoningGym("chain_sum", size=20, seed=3, max_terms=3, max_digits=1)


@needs_gym
def test_items(gym):
    assert len(gym) == 20
    for index in (0, 19):
        question, answer = gym[index]
        expression = question.split(":")[1].rstrip("= ")
        assert int(answer) == eval(expression)
        assert (gym.score(index, answer), gym.score(index, str(int(answer) + 1))) == (1.0, 0.0)
    assert len({gym[i] for i in range(20)}) > 15


@needs_gym
def test_an_item_depends_on_seed_and_index_alone(gym):
    other = ReasoningGym("chain_sum", size=7, seed=3, max_terms=3, max_digits=1)
    assert [other[i] for i in (5, 2, 5)] == [gym[i] for i in (5, 2, 5)]
    assert ReasoningGym("chain_sum", size=7, seed=103, max_terms=3, max_digits=1)[5] != gym[5]


@needs_gym
def test_the_same_items_and_scores_in_the_next_run(gym):
    # ransom_note walks over a set of characters: with random string hashes every process makes other items.
    notes = ReasoningGym("ransom_note", size=10, seed=3)
    before = [notes[i] for i in range(10)]
    copies = pickle.loads(pickle.dumps((gym, notes)))
    _helper._close()
    # A new helper: loading the package takes seconds, but not on the clock of the first answer.
    indices = range(10)
    rewards, counts = verify_text(
        copies[1].score, [*indices, *indices], [a for _, a in before] + ["?"] * 10, seconds=1.0
    )
    assert rewards.tolist() == [1] * 10 + [0] * 10
    assert sum(counts.values()) == 0
    assert [copies[1][i] for i in indices] == before
    assert copies[0][4] == gym[4]


@needs_gym
def test_an_open_answer_is_none():
    colours = ReasoningGym("graph_color", size=2, seed=0)
    assert colours[0][1] is None
    assert colours.score(0, "no colouring") < 1


@needs_gym
@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "no task 'chain_sums'; the nearest are chain_sum", dict(name="chain_sums")),
        (ValueError, "has no option terms; it has .*max_terms", dict(terms=3)),
        (ValueError, "does not accept .*: max_terms must be", dict(max_terms=0)),
        (ValueError, "does not accept .*: size must be positive", dict(size=0)),
    ],
)
def test_errors_are_one_line(error, message, call):
    with pytest.raises(error, match=message) as info:
        ReasoningGym(**({"name": "chain_sum", "size": 5, "seed": 0} | call))
    assert "\n" not in str(info.value)


@needs_gym
@pytest.mark.parametrize("index", [-1, 20])
def test_index_out_of_range(gym, index):
    with pytest.raises(IndexError, match=f"item {index} is not one of the 20 of chain_sum"):
        gym[index]
    with pytest.raises(IndexError, match=f"item {index}"):
        gym.score(index, "1")


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("reasoning_gym", lambda: ReasoningGym("chain_sum", size=1, seed=0)),
        ("mpmath", lambda: math_answer_matches("1", "2")),
    ],
)
def test_missing_extra(monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "jaxlab\[language\]"'):
        call()
