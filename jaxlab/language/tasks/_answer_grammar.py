"""The grammar of answers: lists, relations, sets, intervals, matrices, quantities and words, around expressions."""

import itertools
import re

from jaxlab.language.tasks._answer_atoms import END
from jaxlab.language.tasks._answer_expressions import Expressions
from jaxlab.language.tasks._answer_tokens import Token, Unreadable
from jaxlab.language.tasks._answer_tree import (
    Node,
    determinant,
    has_symbols,
    matrix,
    negative,
    number,
    scalar,
    times,
)
from jaxlab.language.tasks._answer_units import CURRENCIES, base, read_unit

_RELATIONS = {
    "=": "=",
    "\\approx": "~",
    "<": "<",
    ">": ">",
    "\\le": "<=",
    "\\ge": ">=",
    "\\ne": "!=",
    "\\in": "in",
}
_SEPARATORS = {",", ";", "&", "\\&", "and", "or", "\\lor", "\\land", "\\vee", "\\wedge"}
_MATRICES = {"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"}


class Answers(Expressions):
    """The parser of whole answers."""

    fault: Unreadable | None = None  # the first one, which explains the others

    def answer(self) -> Node:
        """All tokens as one answer."""
        node = self.listing()
        if self.peek() is not END:
            raise self.fault or self.unexpected("the end of the answer")
        return node

    def listing(self) -> Node:
        """Answers with commas or words between them."""
        items, between = [self._relation()], []
        while (word := self.take(*_SEPARATORS)) is not None:
            while (more := self.take("and", "or")) is not None:
                word = more
            between.append(_AS_WORDS.get(word, word))
            items.append(self._relation())
        if len(items) == 1:
            return items[0]
        joint = "or" if "or" in between else "and" if "and" in between else ","
        return Node("list", _grouped(items, between) or tuple(items), joint)

    def _relation(self) -> Node:
        sides, relations = [self._side()], []
        while self.peek().value in _RELATIONS:
            relations.append(_RELATIONS[self.tokens[self.position].value])
            self.position += 1
            sides.append(self._side())
        node = Node("relation", tuple(sides), tuple(relations)) if relations else sides[0]
        if self.bars and self.take("|", ":", "\\mid"):  # {x | x > 3}, {x in R | x > 3}
            condition = self.listing()
            return Node("intersection", (node, condition)) if relations else condition
        return node

    def _side(self) -> Node:
        """One side of a relation; what stands on the left of an equals sign may be anything, as a name."""
        start, tokens, bars, depth = self.position, list(self.tokens), self.bars, self.depth
        try:
            node = self._union()
            if self.peek() is END or self.peek().value in _FOLLOWS:
                return node
            raise self.unexpected("the end of an expression")
        except Unreadable as problem:
            self.fault = self.fault or problem
            self.tokens, self.position, self.bars, self.depth = tokens, start, bars, depth
            name = list(itertools.takewhile(lambda token: token.value not in _NAME_ENDS, tokens[start:]))
            end = start + len(name)
            if bars or not name or end == len(tokens) or tokens[end].value not in ("=", "\\approx"):
                raise self.fault from None
            if any(token.value in _SEPARATORS for token in tokens) and any(map(_is_prose, name)):
                raise self.fault from None
            self.position = end
            return Node("name", (), " ".join(token.value for token in name))

    def _union(self) -> Node:
        parts = [self._ratio()]
        while (operator := self.take("\\cup", "\\setminus", "\\backslash", "-")) is not None:
            other = self._ratio()
            if operator == "\\cup":
                parts.append(other)
            else:
                parts = [
                    Node("difference", (Node("union", tuple(parts)) if len(parts) > 1 else parts[0], other))
                ]
        return parts[0] if len(parts) == 1 else Node("union", tuple(parts))

    def _ratio(self) -> Node:
        parts = [self._quantity()]
        while not self.bars and self.take(":", "\\colon") is not None:
            parts.append(scalar(self._quantity()))
        return Node("ratio", tuple(parts)) if len(parts) > 1 else parts[0]

    def _quantity(self) -> Node:
        """An expression with a currency before it or a unit behind it; 1 h 30 min is one."""
        total, dimensions = self._one_quantity(), None
        parts = [total]
        while total.kind == "quantity" and self.peek().kind == "number":
            dimensions = total.value.dimensions
            total = self._one_quantity()
            if total.kind != "quantity" or total.value.dimensions != dimensions or not dimensions:
                raise Unreadable("two numbers side by side")
            parts.append(total)
        return parts[0] if len(parts) == 1 else add_quantities(parts)

    def _one_quantity(self) -> Node:
        minus = self.peek().value == "-" and self.peek(1).value in CURRENCIES
        self.position += minus
        currency = self.take(*CURRENCIES)
        node = self.expression()
        node = negative(node) if minus else node
        currency = currency or self.take(*CURRENCIES)
        unit = base(CURRENCIES[currency]) if currency else None
        found = read_unit(self.tokens, self.position) if self.units and not has_symbols(node) else None
        if found and (unit is None or found[1].dimensions in ((), unit.dimensions)):
            scale, named, self.position = found
            node, unit = node if scale == 1 else times(number(scale), node), unit or named
        if node.kind in ("degree", "percent"):
            node, unit = node.parts[0], base(node.kind)
        return node if unit is None or node.kind == "quantity" else Node("quantity", (scalar(node),), unit)

    def atom(self) -> Node:
        """What only answers have, or a part of an expression."""
        if self.take("\\emptyset", "\\varnothing", "\\O"):
            return Node("empty")
        if self.peek().value == "\\{" and self.peek(1).value == "\\}":
            self.position += 2
            return Node("empty")
        if self.take("\\mathbb"):
            self.take("{")
            self.expect("R")
            self.take("}")
            return Node("reals")
        if self.take("\\begin"):
            return self._matrix()
        return super().atom()

    def _matrix(self) -> Node:
        name = self.braced()
        if name not in _MATRICES | {"vmatrix"}:
            raise Unreadable(f"the environment {name}")
        if name == "array":
            self.braced()
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self._relation())
            if self.take("&"):
                continue
            if self.take("\\\\") and self.peek().value != "\\end":
                rows.append([])
                continue
            self.expect("\\end")
            if self.braced() != name:
                raise Unreadable(f"{name} is not closed")
            return determinant(rows) if name == "vmatrix" else matrix(rows)


_FOLLOWS = _SEPARATORS | set(_RELATIONS) | {")", "]", "}", "\\}", "&", "\\\\", "\\end", "|", "\\rvert", "\\mid", ":",
                                            "\\rfloor", "\\rceil", "\\rangle"}  # fmt: skip


_AS_WORDS = {"&": "and", "\\&": "and", "\\lor": "or", "\\vee": "or", "\\land": "and", "\\wedge": "and"}
_NAME_ENDS = _SEPARATORS | set(_RELATIONS)


def _grouped(items: list[Node], between: list[str]) -> tuple[Node, ...] | None:
    """x = 1, y = 2; x = 3, y = 4 are two answers of two values each."""
    groups = [[items[0]]]
    for item, word in zip(items[1:], between):
        groups = [*groups[:-1], [*groups[-1], item]] if word == "," else [*groups, [item]]
    named = [{part.parts[0] for part in group if part.kind == "relation"} for group in groups]
    alike = all(len(each) == len(group) > 1 and each == named[0] for each, group in zip(named, groups))
    return tuple(Node("list", tuple(group), ",") for group in groups) if len(groups) > 1 and alike else None


def _is_prose(token: Token) -> bool:
    return token.kind == "letters" and len(token.value) > 1 and re.search("[aeiouy]", token.value) is not None


def add_quantities(parts: list[Node]) -> Node:
    """The sum of quantities of one kind, in base units."""
    terms = tuple(Node("multiply", (number(part.value.factor), part.parts[0])) for part in parts)
    return Node("quantity", (Node("add", terms),), parts[0].value._replace(factor=number(1).value))
