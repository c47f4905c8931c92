"""Trees of answers, the names that stand in them, and what can be asked of a tree."""

from fractions import Fraction
from typing import Any, NamedTuple

from jaxlab.language.tasks._answer_tokens import Unreadable


class Node(NamedTuple):
    """A tree.

    Attributes:
      kind: "number", "symbol", "add", ...; the kinds in `SCALARS` have a number as their value.
      parts: what it is made of.
      value: what distinguishes it from others of its kind: a number's value, a symbol's name.
      place: of a decimal its last place, such as 1/100; otherwise None.
    """

    kind: str
    parts: tuple = ()
    value: Any = None
    place: Fraction | None = None


SCALARS = {
    "number",
    "symbol",
    "constant",
    "add",
    "multiply",
    "divide",
    "power",
    "call",
    "sign",
    "degree",
    "percent",
}
_CIRCULAR = ["sin", "cos", "tan", "cot", "sec", "csc"]
_HYPERBOLIC = ["sinh", "cosh", "tanh"]
FUNCTIONS = {
    **{name: name for name in [*_CIRCULAR, *_HYPERBOLIC, "coth", "sech", "csch"]},
    **{name: name for name in ["ln", "log", "lg", "exp", "abs", "sqrt", "cbrt", "floor", "ceil"]},
    **{name: name for name in ["min", "max", "gcd", "lcm"]},
    **{f"{prefix}{name}": f"a{name}" for prefix in ("a", "arc") for name in _CIRCULAR},
    **{f"{prefix}{name}": f"a{name}" for prefix in ("a", "ar", "arc") for name in _HYPERBOLIC},
    **{"tg": "tan", "ctg": "cot"},
}
CIRCULAR, INVERTIBLE = set(_CIRCULAR), {*_CIRCULAR, *_HYPERBOLIC}
_LETTERS = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau
upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar
"""
GREEK = set(_LETTERS.split())
ACCENTS = {"vec", "hat", "bar", "overline", "tilde", "dot", "ddot", "underline", "widehat", "overrightarrow"}
INFINITE = {"infty", "infinity", "inf", "oo"}


def number(value: Fraction | int, place: Fraction | None = None) -> Node:
    """A number."""
    return Node("number", (), Fraction(value), place)


def scalar(node: Node) -> Node:
    """The node, if its value is a number."""
    if node.kind not in SCALARS:
        raise Unreadable(f"arithmetic with a {node.kind}")
    return node


def call(name: str, *parts: Node) -> Node:
    """A function of numbers."""
    return Node("call", tuple(map(scalar, parts)), name)


def times(one: Node, other: Node) -> Node:
    """A product of numbers, or a number times a matrix."""
    if other.kind in ("matrix", "row"):
        return other._replace(parts=tuple(times(one, part) for part in other.parts))
    return Node("multiply", (scalar(one), scalar(other)))


def plus(terms: list[Node]) -> Node:
    """A sum of numbers, or of matrices of one shape."""
    if len(terms) == 1:
        return terms[0]
    if all(term.kind in ("matrix", "row") for term in terms):
        if len({len(term.parts) for term in terms}) > 1:
            raise Unreadable("a sum of matrices of different shapes")
        return terms[0]._replace(
            parts=tuple(plus(list(parts)) for parts in zip(*(term.parts for term in terms)))
        )
    return Node("add", tuple(map(scalar, terms)))


def matrix(rows: list[list[Node]]) -> Node:
    """A matrix."""
    return Node("matrix", tuple(Node("row", tuple(row)) for row in rows))


def determinant(rows: list[list[Node]]) -> Node:
    """The determinant, by its first row."""
    if len(rows) > 4 or any(len(row) != len(rows) for row in rows):
        raise Unreadable("a determinant that is not square, or of more than 4 rows")
    if len(rows) == 1:
        return scalar(rows[0][0])
    minors = [[row[:column] + row[column + 1 :] for row in rows[1:]] for column in range(len(rows))]
    terms = [times(entry, determinant(minor)) for entry, minor in zip(rows[0], minors)]
    return plus([negative(term) if column % 2 else term for column, term in enumerate(terms)])


def negative(node: Node) -> Node:
    """Minus the node."""
    if node.kind == "number":
        return node._replace(value=-node.value)
    if node.kind in ("quantity", "degree", "percent"):
        return node._replace(parts=(negative(node.parts[0]),))
    return times(number(-1), node)


def has_symbols(node: Node) -> bool:
    """Whether there is a variable in it."""
    return node.kind == "symbol" or any(map(has_symbols, node.parts))


def symbols(node: Node) -> set[str]:
    """The variables in it."""
    return {node.value} if node.kind == "symbol" else set().union(*map(symbols, node.parts))


def mentions(node: Node, name: str) -> bool:
    """Whether a function or constant is in it."""
    return (node.kind in ("call", "constant") and node.value == name) or any(
        mentions(p, name) for p in node.parts
    )


def is_name(node: Node) -> bool:
    """Whether it names something whose value is elsewhere: x, f(x), AB, |AB|, (x, y), P(3), words."""
    if node.kind == "multiply":
        first, other = node.parts
        first = first.parts[0] if first.kind == "power" else first
        return is_name(first) and (is_name(other) or other.kind == "number")
    composite = node.kind in ("divide", "tuple", "ratio") or (node.kind, node.value) == ("call", "abs")
    return node.kind in ("symbol", "name") or (composite and all(map(is_name, node.parts)))


def is_whole(node: Node) -> bool:
    """Whether it is written as a whole number."""
    return node.kind == "number" and node.place is None and node.value.denominator == 1


def is_literal(node: Node) -> bool:
    """Whether it is a number as one writes it: 3, 0.5, 3 1/2, 1/2, 6.02 * 10^23."""
    if node.kind in ("add", "divide", "multiply", "power"):
        return all(map(is_literal, node.parts))
    return node.kind == "number"
