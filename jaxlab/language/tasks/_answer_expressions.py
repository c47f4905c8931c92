"""The grammar of expressions: tokens to trees, by recursive descent. Nothing is evaluated here."""

from jaxlab.language.tasks._answer_atoms import END, Atoms
from jaxlab.language.tasks._answer_tokens import Unreadable
from jaxlab.language.tasks._answer_tree import (
    SCALARS,
    Node,
    call,
    has_symbols,
    is_literal,
    is_whole,
    negative,
    plus,
    scalar,
    times,
)
from jaxlab.language.tasks._answer_units import base, read_unit

MAX_DEPTH = 30
_TIMES = {"*", "\\times", "\\cdot", "\\ast", "\\bullet"}
_OVER = {"/", "\\div"}
_SIGNS = {"+", "-", "\\pm", "\\mp"}
_BEHIND_A_UNIT = {",", ";", "=", "<", ">", "\\le", "\\ge", "\\ne", "\\approx"}
_BEHIND_A_UNIT |= {")", "]", "}", "\\}", ":", "and", "or", "&", "\\\\"}


class Expressions(Atoms):
    """Sums, products and powers of atoms."""

    def expression(self) -> Node:
        """Terms with signs between them."""
        terms = [self._signed_term()]
        while self.peek().value in _SIGNS and terms[0].kind in SCALARS | {"matrix"}:
            terms.append(self._signed_term())
        total = plus(terms)
        if self.take("\\over"):
            return Node("divide", (scalar(total), scalar(self.expression())))
        return call("binomial", total, self.expression()) if self.take("\\choose", "choose") else total

    def _signed_term(self) -> Node:
        signs = []
        while (sign := self.take(*_SIGNS)) is not None:
            signs.append(sign)
        node = self._term()
        for sign in reversed(signs):
            if sign in ("\\pm", "\\mp"):
                node = Node("sign", (scalar(node),), 1 if sign == "\\pm" else -1)
            elif sign == "-":
                node = negative(node)
        return node

    def _term(self) -> Node:
        """Factors, with or without a sign of multiplication between them."""
        start = self.position
        node = self.power()
        while True:
            following = self.peek()
            if self._takes_times():
                node = times(node, self._signed_power())
            elif self.take(*_OVER):
                node = Node("divide", (scalar(node), scalar(self._signed_power())))
            elif following.kind == "number" or following.value == "\\frac":
                node = self._mixed_number(node, is_first=self.position == start + 1)
            elif self.take("%", "\\%"):
                node = Node("percent", (scalar(node),))
            elif self.take("°"):  # behind a mixed number
                node = Node("degree", (scalar(node),))
            elif self.units and node.kind in SCALARS and self.unit_is_next(node):
                return node
            elif self.starts_factor() or following.value == "\\begin":
                node = _product(node, self.power())
            else:
                return node

    def _takes_times(self) -> bool:
        if self.peek().value == "x" and self.peek(1).kind == self.tokens[self.position - 1].kind == "number":
            self.position += 1
            return True
        return self.take(*_TIMES) is not None

    def _signed_power(self) -> Node:
        minus = False
        while (sign := self.take("-", "+")) is not None:
            minus ^= sign == "-"
        return negative(self.power()) if minus else self.power()

    def _mixed_number(self, whole: Node, *, is_first: bool) -> Node:
        """3 1/2 and 3\\frac{1}{2} are 7/2; a whole number beside another number is nothing."""
        start, is_mixed = self.position, is_whole(whole) and is_first
        if self.peek().value == "\\frac":
            part = self.atom()
            if is_mixed and _is_proper(part) and self.peek().value != "^":
                return Node("add", (whole, part))
            self.position = start
            return times(whole, self.power())
        if is_mixed and self.peek(1).value == "/" and self.peek(2).kind == "number":
            part = Node("divide", (self.number(), self.take("/") and self.number()))
            if _is_proper(part) and self.peek().value != "^":
                return Node("add", (whole, part))
        raise Unreadable("two numbers side by side")

    def unit_is_next(self, node: Node) -> bool:
        """Whether the node ends before a unit; single letters only count behind a number as it is written."""
        token = self.peek()
        if token.kind not in ("letters", "text") or has_symbols(node):
            return False
        if token.kind == "letters" and len(token.value) == 1 and not is_literal(node):
            return False
        found = read_unit(self.tokens, self.position)
        following = self.tokens[found[-1]] if found and found[-1] < len(self.tokens) else END
        return found is not None and (
            following is END or following.kind == "number" or following.value in _BEHIND_A_UNIT
        )

    def power(self) -> Node:
        """An atom with what is written behind or above it."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("it is nested too deeply")
        node = self.atom()
        while True:
            if self.take("^"):
                node = Node("power", (scalar(node), scalar(self.script())))
            elif self.take("!"):
                node = call("factorial", node)
            elif self.take("°"):
                node = self._degrees(scalar(node))
            else:
                self.depth -= 1
                return node

    def _degrees(self, node: Node) -> Node:
        scale = self.take("C", "F")
        return Node("quantity", (node,), base(f"degree {scale}")) if scale else Node("degree", (node,))


def _product(one: Node, other: Node) -> Node:
    """Two factors side by side; C(5, 2) is a binomial coefficient."""
    if one == Node("symbol", (), "C") and other.kind == "tuple" and len(other.parts) == 2:
        return call("binomial", *other.parts)
    return times(one, other)


def _is_proper(part: Node) -> bool:
    return (
        part.kind == "divide" and all(map(is_whole, part.parts)) and part.parts[0].value < part.parts[1].value
    )
