"""Whether two answers are the same."""

import itertools
import math
from fractions import Fraction
from typing import Any

from jaxlab.language.tasks._answer_grammar import add_quantities
from jaxlab.language.tasks._answer_regions import MIRRORED, region, same_region
from jaxlab.language.tasks._answer_tree import SCALARS, Node, is_name, is_whole, number, symbols
from jaxlab.language.tasks._answer_units import Unit
from jaxlab.language.tasks._answer_values import constant, identical, ratio_at_a_point, within

_NONE = Unit(Fraction(1), ())
_PERCENT, _DEGREE, _RADIAN = ((("percent", 1),), (("degree", 1),), (("radian", 1),))
_COLLECTIONS = {"list", "set"}


def same(found: Node, wanted: Node) -> bool:
    """Whether an answer is the one that is wanted."""
    if found == wanted:
        return True
    if {"choice", "letter", "text"} & {found.kind, wanted.kind}:
        kind = "choice" if found.kind == "letter" else found.kind
        return (kind, found.value) == (wanted.kind, wanted.value)
    if _is_region(found) or _is_region(wanted):
        regions = region(found), region(wanted)
        if None not in regions:
            return _alike(found, wanted) and same_region(*regions)
    if wanted.kind == "relation" and wanted.value != ("in",):
        return _same_relation(found, wanted)
    if found.kind == "relation":
        return set(found.value) <= {"=", "in"} and same(found.parts[-1], wanted)
    if wanted.kind == "relation":
        return same(found, wanted.parts[-1])
    found, wanted = map(_spread, (found, wanted))
    if {found.kind, wanted.kind} & _COLLECTIONS:
        return _same_collection(found, wanted)
    if found.kind in SCALARS | {"quantity"} and wanted.kind in SCALARS | {"quantity"}:
        return _same_quantity(found, wanted)
    return _same_structure(found, wanted)


def _is_region(node: Node) -> bool:
    """Whether it has to be compared as a set of real numbers."""
    if node.kind in ("list", "relation"):
        inner = node.parts if node.kind == "list" else (node,)
        return all(part.kind == "relation" and set(part.value) - {"="} for part in inner)
    return node.kind in ("union", "difference", "intersection", "reals", "empty")


def _alike(found: Node, wanted: Node) -> bool:
    """Inequalities have to speak of the same variable."""
    both = symbols(found), symbols(wanted)
    return both[0] == both[1] or not all(both)


def _spread(node: Node) -> Node:
    """The two values of a plus-or-minus as a list."""
    if node.kind in SCALARS and _has_sign(node):
        return Node("list", tuple(_choose(node, sign) for sign in (1, -1)), "or")
    if node.kind in _COLLECTIONS:
        items = []
        for part in node.parts:
            spread = _spread(part)
            items += spread.parts if spread.kind == "list" != part.kind else (spread,)
        return node._replace(parts=tuple(items))
    if node.kind == "quantity" and _has_sign(node.parts[0]):
        return Node(
            "list", tuple(node._replace(parts=(_choose(node.parts[0], sign),)) for sign in (1, -1)), "or"
        )
    return node


def _has_sign(node: Node) -> bool:
    return node.kind == "sign" or any(map(_has_sign, node.parts))


def _choose(node: Node, sign: int) -> Node:
    if node.kind == "sign":
        return Node("multiply", (number(sign * node.value), _choose(node.parts[0], sign)))
    return node._replace(parts=tuple(_choose(part, sign) for part in node.parts))


# relations


def _same_relation(found: Node, wanted: Node) -> bool:
    """An equation that names a value is wanted solved; any other may be written in another way."""
    if len(set(wanted.value)) > 1 or (len(wanted.value) > 1 and wanted.value[0] != "="):
        return _same_chain(found, wanted)
    if found.kind != "relation":
        if wanted.value[0] != "=" or not is_name(wanted.parts[0]):
            return False
        found = _spread(found)
        return same(found, wanted.parts[-1])
    if wanted.value[0] == "=" and found.value[0] == "=":
        named, answered = _solved(wanted), _solved(found)
        if named and (named[0].kind == "name" or (named[0].kind == "symbol" and not symbols(named[1]))):
            return bool(answered) and _same_name(answered[0], named[0]) and same(answered[1], named[1])
        if named and answered and _same_name(answered[0], named[0]) and same(answered[1], named[1]):
            return True
    return len(found.value) == len(wanted.value) == 1 and _proportional(found, wanted)


def _solved(node: Node) -> tuple[Node, Node] | None:
    """Name and value of x = 3 or 3 = x."""
    first, last = node.parts[0], node.parts[-1]
    if is_name(first):
        return first, last
    return (last, first) if len(node.parts) == 2 and is_name(last) and last.kind == "symbol" else None


def _is_function(node: Node) -> bool:
    """f(x), which reads as a product of two symbols."""
    return node.kind == "multiply" and all(part.kind == "symbol" for part in node.parts)


def _same_name(found: Node, wanted: Node) -> bool:
    """y may stand for f(x), and words on the left are no part of the answer."""
    if found == wanted or "name" in (found.kind, wanted.kind):
        return True
    function, other = (found, wanted) if _is_function(found) else (wanted, found)
    return _is_function(function) and other == Node("symbol", (), "y")


def _same_chain(found: Node, wanted: Node) -> bool:
    if found.kind != "relation" or len(found.parts) != len(wanted.parts):
        return False
    parts, values = found.parts, found.value
    if values != wanted.value:
        parts, values = parts[::-1], tuple(MIRRORED.get(value, value) for value in values[::-1])
    return values == wanted.value and all(map(same, parts, wanted.parts))


def _proportional(found: Node, wanted: Node) -> bool:
    """Whether left minus right are the same up to a constant factor, of the right sign for inequalities."""
    sides = found.parts + wanted.parts
    if any(part.kind not in SCALARS for part in sides) or symbols(found) != symbols(wanted):
        return all(same(a, b) for a, b in zip(found.parts, wanted.parts)) and found.value == wanted.value
    one, other = (_minus(*node.parts) for node in (found, wanted))
    relation = found.value[0]
    ratio = ratio_at_a_point(one, other)
    for factor in (1, -1) if ratio is None else (ratio,):
        direction = relation if factor > 0 else MIRRORED.get(relation, relation)
        if direction == wanted.value[0] and identical(one, Node("multiply", (number(factor), other))):
            return True
    return False


def _minus(left: Node, right: Node) -> Node:
    return Node("add", (left, Node("multiply", (number(-1), right))))


# collections


def _same_collection(found: Node, wanted: Node) -> bool:
    """The same elements in any order; a list without brackets may stand for a tuple, assignments too."""
    if wanted.kind == "tuple":
        return found.kind == "list" and _same_as_tuple(found, wanted)
    if found.kind == "tuple" and wanted.kind == "list":
        return _same_as_tuple(wanted, found) and all(part.kind == "relation" for part in wanted.parts)
    summed = [_summed(node) for node in (found, wanted)]
    if any(summed):
        return same(*(total or node for total, node in zip(summed, (found, wanted))))
    if _is_named(wanted) and not any(part.kind == "relation" for part in found.parts):
        return len(found.parts) == len(wanted.parts) and all(map(same, found.parts, wanted.parts))
    parts, targets = _elements(found), _elements(wanted)
    if len(parts) > 2 * len(targets) + 2:
        return False
    return all(any(same(a, b) for a in parts) for b in targets) and all(
        any(same(a, b) for b in targets) for a in parts
    )


def _is_named(node: Node) -> bool:
    """Whether it is a list of values of different things."""
    named = [part.parts[0] for part in node.parts if part.kind == "relation" and part.value == ("=",)]
    return node.kind == "list" and len(named) == len(node.parts) == len(set(named))


def _elements(node: Node) -> tuple:
    """x = 1, 2 are x = 1 and x = 2."""
    parts = node.parts if node.kind in _COLLECTIONS else (node,)
    found, name = [], None
    for part in parts:
        if part.kind == "relation" and part.value == ("=",) and part.parts[0].kind == "symbol":
            name = part.parts[0]
            inner = _spread(part.parts[1])
            found += [
                part._replace(parts=(name, each))
                for each in (inner.parts if inner.kind == "list" else (inner,))
            ]
        else:
            found.append(part)
    if name and len({part.parts[0].value for part in found if part.kind == "relation"}) == 1:
        return tuple(part.parts[-1] if part.kind == "relation" else part for part in found)
    return tuple(found)


def _same_as_tuple(found: Node, wanted: Node) -> bool:
    parts = found.parts
    if all(
        part.kind == "relation" and part.value == ("=",) and part.parts[0].kind == "symbol" for part in parts
    ):
        ordered = sorted(parts, key=lambda part: part.parts[0].value)
        if len({part.parts[0].value for part in ordered}) < len(ordered):
            return False
        parts = tuple(part.parts[-1] for part in ordered)
    return (
        _without_ends(wanted).value == "()"
        and len(parts) == len(wanted.parts)
        and all(map(same, parts, wanted.parts))
    )


def _summed(node: Node) -> Node | None:
    """5 feet and 3 inches are one length."""
    if node.kind != "list" or node.value != "and" or any(part.kind != "quantity" for part in node.parts):
        return None
    factors = [part.value.factor for part in node.parts]
    kinds = {part.value.dimensions for part in node.parts}
    falling = all(a > b for a, b in itertools.pairwise(factors))
    return add_quantities(list(node.parts)) if len(kinds) == 1 and kinds != {()} and falling else None


def _same_structure(found: Node, wanted: Node) -> bool:
    """Tuples, matrices, ratios and numbers in a base, part by part."""
    if found.kind == "ratio" or wanted.kind == "ratio":
        return _same_ratio(found, wanted)
    if found.kind == "based" or wanted.kind == "based":
        return _same_based(found, wanted)
    found, wanted = map(_without_ends, (found, wanted))
    found, wanted = _as_vector(found, wanted), _as_vector(wanted, found)
    if found.kind != wanted.kind or len(found.parts) != len(wanted.parts):
        return False
    if found.kind == "tuple" and found.value != wanted.value:
        return False
    return found.kind in ("tuple", "matrix", "row", "union") and all(map(same, found.parts, wanted.parts))


def _without_ends(node: Node) -> Node:
    """Square brackets say nothing where there are more than an interval's two ends."""
    return node._replace(value="()") if node.kind == "tuple" and len(node.parts) > 2 else node


def _as_vector(node: Node, other: Node) -> Node:
    """A column or row beside a tuple is a tuple; rows of tuples beside a matrix are a matrix."""
    if node.kind == "matrix" and other.kind == "tuple" and other.value == "()":
        if all(len(row.parts) == 1 for row in node.parts):
            return Node("tuple", tuple(row.parts[0] for row in node.parts), "()")
        return Node("tuple", node.parts[0].parts, "()") if len(node.parts) == 1 else node
    if node.kind == "tuple" and other.kind == "matrix" and all(part.kind == "tuple" for part in node.parts):
        return Node("matrix", tuple(Node("row", part.parts) for part in node.parts))
    return node


def _same_ratio(found: Node, wanted: Node) -> bool:
    """2:4 is 1:2, and of two parts also the quotient."""
    if wanted.kind == "ratio" and _is_clock(wanted):
        return False  # and it is not the same one
    if found.kind != wanted.kind:
        ratio, other = (found, wanted) if found.kind == "ratio" else (wanted, found)
        return (
            len(ratio.parts) == 2 and other.kind in SCALARS and identical(Node("divide", ratio.parts), other)
        )
    return len(found.parts) == len(wanted.parts) and all(
        identical(Node("multiply", (a, wanted.parts[0])), Node("multiply", (b, found.parts[0])))
        for a, b in zip(found.parts, wanted.parts)
    )


def _is_clock(node: Node) -> bool:
    """12:30 and 1:00 are times, since a ratio would be in lowest terms."""
    whole = [int(part.value) for part in node.parts if is_whole(part)]
    if len(node.parts) != 2 or len(whole) != 2 or not (whole[0] < 24 and whole[1] < 60):
        return False
    return whole[1] == 0 or (whole[1] >= 10 and math.gcd(*whole) > 1)


def _same_based(found: Node, wanted: Node) -> bool:
    """The same digits in the same base; the answer may leave the base out."""
    if wanted.kind != "based":
        return found.value[1] == 10 and same(number(Fraction(found.value[0] or 0)), wanted)
    if found.kind == "number" and found.value.denominator == 1:
        return str(found.value) == wanted.value[0]
    return found.value == wanted.value


# quantities


def _same_quantity(found: Node, wanted: Node) -> bool:
    """The same number of the same thing. A unit may be left out, or added to a bare number."""
    pairs = [
        (node.parts[0], node.value) if node.kind == "quantity" else (node, _NONE) for node in (found, wanted)
    ]
    (value, unit), (target, target_unit) = pairs
    bare = found.kind != "quantity", wanted.kind != "quantity"
    if _same_dimensions(unit, target_unit):
        return _same_value(value, target, unit.factor, target_unit.factor)
    kinds = {unit.dimensions, target_unit.dimensions}
    if kinds == {_DEGREE, _RADIAN} or (_DEGREE in kinds and any(bare)):
        turned = [Node("degree", (v,)) if u.dimensions == _DEGREE else v for v, u in pairs]
        return (any(bare) and _same_value(value, target)) or identical(*turned)
    if not any(bare) and () not in kinds:
        return False
    if bare[1] and not unit.sure:
        return False
    if target_unit.dimensions == _PERCENT:
        return _same_value(value, target) or _same_value(value, target, 1, Fraction(1, 100))
    if unit.dimensions == _PERCENT:
        large = constant(target)
        large = isinstance(large, Fraction) and abs(large) > 1
        return _same_value(value, target, Fraction(1, 100)) or (large and _same_value(value, target))
    return _same_value(value, target)


def _same_dimensions(unit: Unit, other: Unit) -> bool:
    """Of things that no table knows, one may be described more closely: `red apples` are apples."""
    if unit.dimensions == other.dimensions:
        return True
    labels = []
    for each in (unit, other):
        if len(each.dimensions) != 1 or not each.dimensions[0][0].startswith("label "):
            return False
        labels.append(set(each.dimensions[0][0].split()))
    return labels[0] <= labels[1] or labels[1] <= labels[0]


def _same_value(value: Node, target: Node, factor: Any = 1, target_factor: Any = 1) -> bool:
    """Exactly, or by rounding to the last place of a reference that is a decimal."""
    scaled, wanted = (_times(node, size) for node, size in ((value, factor), (target, target_factor)))
    if identical(scaled, wanted):
        return True
    if not symbols(value) and _may_be_rounded(value, target):
        return within(scaled, wanted, decimal(target)[0] * target_factor / 2)
    return _has_degree(value) != _has_degree(target) and identical(_no_degree(scaled), _no_degree(wanted))


def _may_be_rounded(value: Node, target: Node) -> bool:
    """Three significant digits are enough, or two such as 0.67, unless the answer is a decimal hardly longer."""
    shown, wanted = decimal(value), decimal(target)
    if wanted is None or wanted[1] < 2:
        return False
    if wanted[1] == 2:
        return wanted[2] <= Fraction(1, 100) and (shown is None or shown[0] * 100 <= wanted[0])
    return True


def _times(node: Node, factor: Any) -> Node:
    return node if factor == 1 else Node("multiply", (number(factor), node))


def decimal(node: Node) -> tuple[Fraction, int, Fraction] | None:
    """Of a decimal its last place, the number of its significant digits, and the last place as it is written."""
    if node.kind == "number" and node.place is not None:
        return node.place, len(str(abs(int(node.value / node.place)))), node.place
    if node.kind != "multiply":
        return None
    for one, other in (node.parts, node.parts[::-1]):
        is_power = one.kind == "power" and one.parts[0] == number(10)
        scale = constant(one) if is_whole(one) or is_power else None  # 2.53 million, 6.02 * 10^23
        if isinstance(scale, Fraction) and scale and (inner := decimal(other)):
            return inner[0] * abs(scale), *inner[1:]
    return None


def _has_degree(node: Node) -> bool:
    return node.kind == "degree" or any(map(_has_degree, node.parts))


def _no_degree(node: Node) -> Node:
    if node.kind == "degree":
        return node.parts[0]
    return node._replace(parts=tuple(map(_no_degree, node.parts)))
