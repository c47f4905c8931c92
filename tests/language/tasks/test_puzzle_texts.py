"""Texts that answer puzzles are worth what the authors' verifiers give, and nonsense is worth nothing."""

import functools
import json
import pathlib
import pickle

import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.language.tasks import countdown_score, grid_score, knights_score

G = dict(np.load(pathlib.Path(__file__).parents[2] / "golden" / "multi_domain_rl.npz"))
RIGHT = "(1) Ann is a knight (2) Bob is a knave (3) Cat is a knight"
ROLES = {"Ann": "knight", "Bob": "knave", "Cat": "knight"}


def test_the_authors_knights():
    texts = [
        f"Assistant: <think>x</think><answer>{RIGHT}</answer>",
        f"Assistant: <think>x</think><answer>{RIGHT.replace('knave', 'knight')}</answer>",
        f"Assistant: no tags {RIGHT}",
        f"<answer>{RIGHT}</answer>",
        f"Assistant: <answer>{RIGHT.split(' (3)')[0]}</answer>",
        f"Assistant: <answer>{RIGHT.replace('knight', 'knave')}</answer><answer>{RIGHT}</answer>",
    ]
    assert [knights_score(ROLES, text) for text in texts] == G["out_kk"].tolist()
    assert knights_score(ROLES, f"Assistant:\n<answer>{RIGHT.upper()}\n</answer> bye") == 1
    assert knights_score(ROLES, f"Assistant: <answer>{RIGHT}, no knaves else</answer>") == 0
    assert knights_score(ROLES, f"<|im_start|>assistant<answer>{RIGHT.replace('Cat', 'Dan')}</answer>") == 0


def test_the_authors_expressions():
    cases = [
        ("Assistant: <think>t</think>\n<answer>3*(4+4)</answer>", ([3, 4, 4], 24)),
        ("Assistant: <answer>3*8</answer>", ([3, 4, 4], 24)),
        ("Assistant: <answer>3+4+4</answer>", ([3, 4, 4], 24)),
        ("Assistant: <answer>3*(4+4)</answer>\nbye", ([3, 4, 4], 24)),
        ("<answer>3*(4+4)</answer>", ([3, 4, 4], 24)),
        ("Assistant: <answer>8/(3-8/3)</answer>", ([8, 3, 8, 3], 24)),
        ("Assistant: <answer>4/(2-2)</answer>", ([4, 2, 2], 24)),
    ]
    for format_score, name in ((0.0, "out_countdown"), (0.1, "out_countdown_fmt01")):
        score = functools.partial(countdown_score, format_score=format_score)
        assert [score(problem, text) for text, problem in cases] == G[name].tolist()


@pytest.mark.parametrize(
    "answer", ["1e2", "1 2", "(1)(2)", "1+", "", "print(1, 2)", "1 if 2 else 0", "1.2", "2-1j"]
)
def test_what_is_no_expression_is_wrong(answer):
    text = f"Assistant: <answer>{answer}</answer>"
    assert countdown_score(([1, 2], 100), text, format_score=0.5) == 0.5
    assert countdown_score(([1, 2], -1), "Assistant: <answer>-2 + 1</answer>") == 1
    assert countdown_score(([2, 3], 8), "Assistant: <answer>2**3</answer>") == 1


def test_the_authors_grids():
    truth = {f"House {i + 1}": {"Name": n, "Pet": p} for i, (n, p) in enumerate(zip("abc", "xyz"))}
    row = lambda name, pet: {"Name": name, "Pet": pet}
    answers = [
        truth,
        {"House 1": row("a", "y"), "House 2": row("b", "x"), "House 3": row("c", "z")},
        {"House 1": row("b", "y"), "House 2": row("a", "x"), "House 3": row("c", "z")},
        {"House 9": row("a", "x")},
        {"House 1": row("q", "x")},
        {},
    ]
    texts = ["{} so: " + json.dumps({"solution": answer}, indent=1) + " }" for answer in answers]
    found = [grid_score(truth, text) for text in [*texts, "no answer"]]
    np.testing.assert_allclose(found, G["out_zebra"], rtol=1e-6)
    for text in (
        '{"solution": [1]}',
        '{"solution": {"House 1": {"Name": ["a"]}}}',
        "{'a': 1}",
        '{"solution": {"House 1": 3}}',
    ):
        assert grid_score(truth, text) == 0


def test_they_are_scorers_and_refuse_problems_that_are_none():
    for scorer in (knights_score, countdown_score, grid_score):
        assert pickle.loads(pickle.dumps(scorer)) is scorer  # what verify_text asks of it
    for call, line in (
        (lambda: knights_score({"Ann": "spy"}, ""), "roles must be"),
        (lambda: countdown_score(([1],), ""), "problem must be"),
        (lambda: grid_score({}, ""), "truth must have rows"),
    ):
        with pytest.raises(InputError, match=line):
            call()
