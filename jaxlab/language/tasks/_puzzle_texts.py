"""Scores for texts that answer puzzles, on the host: scorers for `verify_text` and `text_rlvr_learner`.

An answer is what follows the first header of an assistant's turn, as chat templates write it. These read as the
verifiers do with which models were trained on several domains.
"""

import ast
import json
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.core.check import InputError

_HEADERS = "Assistant:", "<|im_start|>assistant"
_OPERATIONS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow, ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip


def _turn(text: str) -> str | None:
    """What stands behind the header; None without one."""
    header = next((header for header in _HEADERS if header in text), None)
    return None if header is None else text.split(header, 1)[1]


def _tagged(text: str | None) -> str | None:
    """What stands between the last tags of an answer."""
    found = re.findall(r"<answer>(.*?)</answer>", text or "", re.DOTALL)
    return found[-1].strip() if found else None


def knights_score(roles: Mapping[str, str], text: str) -> float:
    """1 if the answer of a text tells everybody's role and nothing more about roles, else 0.

    The answer stands in the last `<answer>` tags behind "Assistant:"; it has to say "Ann is a knight" of everybody, and
    the words knight and knave as often as there are people.

    Args:
        roles: "knight" or "knave" by name.
        text: any text.

    Returns:
        0.0 or 1.0.

    Raises:
        ValueError: a role that is neither, or nobody.

    Reference: Can One Domain Help Others?, 2025, the verifier of the authors' code; first in
      Xie et al., Logic-RL, 2025.

    >>> knights_score({"Ann": "knight", "Bo": "knave"}, "Assistant: <answer>Ann is a knight, Bo is a knave</answer>")
    1.0
    """
    if not roles or any(role not in ("knight", "knave") for role in roles.values()):
        raise InputError(f"roles must be 'knight' or 'knave' by name, got {dict(roles)}")
    answer = (_tagged(_turn(text)) or "").lower()
    if answer.count("knight") + answer.count("knave") != len(roles):
        return 0.0
    said = {
        name: re.search(rf"\b{re.escape(name.lower())}\b\s+is\s+a\s+(knight|knave)\b", answer)
        for name in roles
    }
    return float(all(said[name] and said[name][1] == role for name, role in roles.items()))


def countdown_score(problem: tuple[Sequence[int], float], text: str, *, format_score: float = 0.0) -> float:
    """1 if the answer of a text is an expression of the given numbers, each once, with the value that is wanted.

    The answer stands in the last `<answer>` tags of the text's last line, behind "Assistant:".

    Args:
        problem: the numbers and the target.
        text: any text.
        format_score: what an answer in tags is worth that is wrong.

    Returns:
        1.0, `format_score`, or 0.0 without an answer.

    Raises:
        ValueError: a problem that is not two things.

    Reference: Can One Domain Help Others?, 2025, the verifier of the authors' code; first in TinyZero, 2025.

    >>> countdown_score(([3, 4, 4], 24), "Assistant: <answer>3 * (4 + 4)</answer>")
    1.0
    """
    if len(problem) != 2:
        raise InputError(f"problem must be (numbers, target), got {problem}")
    numbers, target = problem
    answer = _tagged((_turn(text) or "").split("\n")[-1])
    if answer is None:
        return 0.0
    if sorted(map(int, re.findall(r"\d+", answer))) != sorted(numbers):
        return format_score
    if not re.fullmatch(r"[\d+\-*/().\s]+", answer):
        return format_score
    try:
        return 1.0 if abs(_value(ast.parse(answer, mode="eval").body) - target) < 1e-5 else format_score
    except (ArithmeticError, SyntaxError, TypeError, ValueError):
        return format_score


def _value(node: ast.expr) -> float:
    """Of arithmetic alone: whatever else Python can say is a ValueError."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    operation = _OPERATIONS.get(type(getattr(node, "op", None)))
    if operation is None or not isinstance(node, ast.BinOp | ast.UnaryOp):
        raise ValueError("this is no arithmetic")
    operands = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.operand,)
    return operation(*map(_value, operands))


def grid_score(truth: Mapping[str, Mapping[str, Any]], text: str) -> float:
    """The share of right cells of a grid puzzle, from the last JSON object of a text: its "solution".

    A row is known by its first value and not by its name: rows whose names are mixed up keep the score. A row that
    is named as none of the truth, or begins with a value that begins none there, scores nothing.

    Args:
        truth: of each row by its name, values by the names of attributes, the first of them alike in no two rows.
        text: any text.

    Returns:
        In [0, 1], if no row is told twice.

    Raises:
        ValueError: a truth without cells.

    Reference: Can One Domain Help Others?, 2025, the verifier of the authors' code for zebra puzzles.

    >>> truth = {"House 1": {"Name": "Ann", "Pet": "cat"}, "House 2": {"Name": "Bo", "Pet": "dog"}}
    >>> grid_score(truth, '{"solution": {"House 2": {"Name": "Ann", "Pet": "cat"}}}')
    0.5
    """
    cells = sum(map(len, truth.values()))
    if not cells:
        raise InputError(f"truth must have rows with values, got {dict(truth)}")
    told = _last_object(text)
    told = told.get("solution") if isinstance(told, dict) else None
    first = {next(iter(row.values())): row for row in truth.values() if row}
    right = 0
    for name, row in (told if isinstance(told, dict) else {}).items():
        if name not in truth or not isinstance(row, dict) or not row:
            continue
        begins = next(iter(row.values()))
        own = first.get(begins, {}) if isinstance(begins, str | int | float) else {}
        right += sum(key in own and own[key] == value for key, value in row.items())
    return right / cells


def _last_object(text: str) -> Any:
    """The last JSON object whose braces are balanced; None if it cannot be read."""
    depth, start, last = 0, 0, None
    for place, character in enumerate(text):
        if character == "{":
            start = place if depth == 0 else start
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            last = text[start : place + 1] if depth == 0 else last
    try:
        return None if last is None else json.loads(last.replace("\n", ""))
    except json.JSONDecodeError:
        return None
