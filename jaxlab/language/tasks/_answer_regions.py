"""Sets of real numbers: intervals, their unions, and what inequalities of one variable leave."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

from jaxlab.language.tasks._answer_tree import Node, is_name, symbols
from jaxlab.language.tasks._answer_values import Evaluator, constant

MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}


class Piece(NamedTuple):
    """An interval: its ends, and whether they belong to it."""

    low: Any
    has_low: bool
    high: Any
    has_high: bool


Region = tuple[Piece, ...]
LINE = Piece(-math.inf, False, math.inf, False)


def region(node: Node) -> Region | None:
    """The real numbers that an answer describes, sorted and merged; None if it describes no such set."""
    if node.kind == "reals":
        return (LINE,)
    if node.kind == "empty":
        return ()
    if node.kind == "tuple" and len(node.parts) == 2:
        return _interval(*node.parts, has_low=node.value[0] == "[", has_high=node.value[1] == "]")
    if node.kind == "set":
        points = [_real(part) for part in node.parts]
        return None if None in points else merge([Piece(point, True, point, True) for point in points])
    if node.kind == "union":
        parts = [region(part) for part in node.parts]
        return None if None in parts else merge([piece for part in parts for piece in part])
    if node.kind == "difference":
        whole, taken = map(region, node.parts)
        return None if None in (whole, taken) else intersect(whole, complement(taken))
    if node.kind == "intersection":
        both = [region(part) for part in node.parts]
        return None if None in both else intersect(*both)
    if node.kind == "relation":
        return _from_relation(node)
    if node.kind == "list" and all(part.kind == "relation" and part.value != ("=",) for part in node.parts):
        return _from_list(node)
    return None


def _real(node: Node) -> Any:
    """An end of an interval, or None."""
    value = constant(node)
    return None if value is None or hasattr(value, "_mpc_") else value


def _interval(low: Node, high: Node, *, has_low: bool, has_high: bool) -> Region | None:
    ends = _real(low), _real(high)
    if None in ends or not _less(*ends):
        return None
    return (Piece(ends[0], has_low and ends[0] != -math.inf, ends[1], has_high and ends[1] != math.inf),)


def _from_relation(node: Node) -> Region | None:
    """x > 3, 1 < x <= 2, x in (1, 2], x != 3, |x| < 1, 0 < f(x) < 1."""
    if node.value == ("in",) and node.parts[0].kind == "symbol":
        return region(node.parts[1])
    at = [index for index, part in enumerate(node.parts) if symbols(part)]
    if len(at) != 1 or not is_name(node.parts[at[0]]):
        return None
    found: Region = (LINE,)
    for index, relation in enumerate(node.value):
        left, right = node.parts[index : index + 2]
        if index == at[0]:
            bound, relation = _real(right), relation
        elif index + 1 == at[0]:
            bound, relation = _real(left), MIRRORED.get(relation)
        else:
            return None
        if bound is None or relation not in MIRRORED:
            return None
        found = intersect(found, _half_line(relation, bound))
    return _mirrored(found) if node.parts[at[0]].kind == "call" else found


def _mirrored(pieces: Region) -> Region:
    """The numbers whose absolute values are in it."""
    right = intersect(pieces, (Piece(Fraction(0), True, math.inf, False),))
    return merge([*right, *(Piece(-high, has_high, -low, has_low) for low, has_low, high, has_high in right)])


def _half_line(relation: str, bound: Any) -> Region:
    if relation == "=":
        return (Piece(bound, True, bound, True),)
    below, above = (
        Piece(-math.inf, False, bound, relation == "<="),
        Piece(bound, relation == ">=", math.inf, False),
    )
    return {"<": (below,), "<=": (below,), ">": (above,), ">=": (above,)}.get(relation, (below, above))


def _from_list(node: Node) -> Region | None:
    parts = [region(part) for part in node.parts]
    variables = {name for part in node.parts for name in symbols(part)}
    if None in parts or len(variables) != 1:
        return None
    either = merge([piece for part in parts for piece in part])
    both: Region = (LINE,)
    for part in parts:
        both = intersect(both, part)
    if node.value == "or":
        return either
    return both if node.value == "and" or both else either


def merge(pieces: list[Piece]) -> Region:
    """The same set in pieces that are sorted and do not touch."""
    found: list[Piece] = []
    for piece in _sorted(pieces):
        last = found[-1] if found else None
        if last and (
            _less(piece.low, last.high) or (_same(piece.low, last.high) and (piece.has_low or last.has_high))
        ):
            if _less(last.high, piece.high):
                found[-1] = last._replace(high=piece.high, has_high=piece.has_high)
            elif _same(last.high, piece.high):
                found[-1] = last._replace(has_high=last.has_high or piece.has_high)
        else:
            found.append(piece)
    return tuple(found)


def _sorted(pieces: list[Piece]) -> list[Piece]:
    order: list[Piece] = []
    for piece in pieces:
        place = len(order)
        while place and (
            _less(piece.low, order[place - 1].low)
            or (_same(piece.low, order[place - 1].low) and piece.has_low and not order[place - 1].has_low)
        ):
            place -= 1
        order.insert(place, piece)
    return order


def complement(pieces: Region) -> Region:
    """What is not in it."""
    found, low, has_low = [], -math.inf, False
    for piece in pieces:
        if _less(low, piece.low) or (_same(low, piece.low) and has_low and not piece.has_low):
            found.append(Piece(low, has_low, piece.low, not piece.has_low and piece.low != -math.inf))
        low, has_low = piece.high, not piece.has_high
    if low != math.inf:
        found.append(Piece(low, has_low, math.inf, False))
    return tuple(found)


def intersect(one: Region, other: Region) -> Region:
    """What is in both."""
    found = []
    for a in one:
        for b in other:
            low, has_low = max_end(a.low, a.has_low, b.low, b.has_low)
            high, has_high = min_end(a.high, a.has_high, b.high, b.has_high)
            if _less(low, high) or (_same(low, high) and has_low and has_high):
                found.append(Piece(low, has_low, high, has_high))
    return merge(found)


def max_end(a: Any, has_a: bool, b: Any, has_b: bool) -> tuple[Any, bool]:
    """The larger lower end."""
    if _same(a, b):
        return a, has_a and has_b
    return (b, has_b) if _less(a, b) else (a, has_a)


def min_end(a: Any, has_a: bool, b: Any, has_b: bool) -> tuple[Any, bool]:
    """The smaller upper end."""
    if _same(a, b):
        return a, has_a and has_b
    return (a, has_a) if _less(a, b) else (b, has_b)


def same_region(one: Region, other: Region) -> bool:
    """Whether two sets are the same."""
    return len(one) == len(other) and all(
        (a.has_low, a.has_high) == (b.has_low, b.has_high) and _same(a.low, b.low) and _same(a.high, b.high)
        for a, b in zip(one, other)
    )


def _difference(a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a - b
    lift = Evaluator({}, real=True).lift
    return lift(a) - lift(b)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, float) and isinstance(b, float) and a == b
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    return abs(_difference(a, b)) < 10.0**-100


def _less(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return a == -math.inf != b or b == math.inf != a
    return not _same(a, b) and _difference(a, b) < 0
