"""The grammar's smallest things: numbers, words, commands, functions and what stands in brackets."""

import re
from collections.abc import Sequence
from fractions import Fraction

from jaxlab.language.tasks._answer_tokens import Token, Unreadable
from jaxlab.language.tasks._answer_tree import (
    ACCENTS,
    CIRCULAR,
    FUNCTIONS,
    GREEK,
    INFINITE,
    INVERTIBLE,
    Node,
    call,
    mentions,
    negative,
    number,
    scalar,
    times,
)

END = Token("end", "")
_MAX_EXPONENT = 5000
_BRACKETS = {"(": (")", "]"), "[": ("]", ")"), "\\langle": ("\\rangle",)}
_ATOMIC = {"pi", "sqrt", "surd", "binom", "lvert", "lfloor", "lceil", "langle", "repeating", "infty"}
_PROSE = """
a an the is are was of it its so to we he be as at by in on do for you not if has had have can all any but how see
get got let one two six ten yes no odd say hence am pm
"""
_SMALL_WORDS = set(_PROSE.split())


class Atoms:
    """A cursor over tokens and the smallest things it can read; `Expressions` puts them together."""

    def __init__(self, tokens: Sequence[Token], *, units: bool):
        self.tokens, self.position, self.units = list(tokens), 0, units
        self.depth, self.bars = 0, 0

    def expression(self) -> Node:
        """Terms with signs between them."""
        raise NotImplementedError

    def power(self) -> Node:
        """An atom with what is written behind or above it."""
        raise NotImplementedError

    def listing(self) -> Node:
        """What stands in brackets."""
        raise NotImplementedError

    def unit_is_next(self, node: Node) -> bool:
        """Whether the node ends before a unit."""
        raise NotImplementedError

    # the cursor

    def peek(self, ahead: int = 0) -> Token:
        """A token to come."""
        place = self.position + ahead
        return self.tokens[place] if place < len(self.tokens) else END

    def take(self, *values: str) -> str | None:
        """The next token's value if it is one of these."""
        if self.peek() is END or self.peek().value not in values:
            return None
        self.position += 1
        return self.tokens[self.position - 1].value

    def expect(self, *values: str) -> str:
        """The next token's value, which has to be one of these."""
        found = self.take(*values)
        if found is None:
            raise self.unexpected(" or ".join(values))
        return found

    def unexpected(self, wanted: str) -> Unreadable:
        """The error that something else stands here."""
        return Unreadable(f"{self.peek().value or 'the end'} where {wanted} should be")

    def starts_factor(self) -> bool:
        """Whether a factor begins here."""
        token = self.peek()
        if token.kind == "letters":
            return token.value not in ("and", "or", "choose")
        if token.kind == "text":
            return len(token.value) == 1 or token.value in FUNCTIONS
        if token.kind == "command":
            return token.value[1:] in FUNCTIONS.keys() | GREEK | ACCENTS | _ATOMIC
        return token.value in ("(", "[", "{") or (token.value == "|" and not self.bars)

    def _starts_function(self) -> bool:
        token = self.peek()
        name = token.value.lstrip("\\")
        if token.kind == "letters" and len(name) > 1:
            return name.startswith(tuple(FUNCTIONS))
        return name in FUNCTIONS and name not in ("sqrt", "surd")

    # atoms

    def atom(self) -> Node:
        """The smallest things."""
        token = self.peek()
        if token.kind == "number":
            return self.number()
        if token.kind in ("letters", "text"):
            return self._word()
        if token.value in _BRACKETS or token.value in ("{", "\\{", "|"):
            return self._brackets()
        if token.kind == "command" and token.value[1:2].isalpha():
            return self._command()
        raise self.unexpected("a number or symbol")

    def number(self) -> Node:
        """A number as it is written, with its base."""
        token = self.peek()
        if token.kind != "number":
            raise self.unexpected("a number")
        self.position += 1
        mantissa, _, exponent = re.sub("[, ]", "", token.value).lower().partition("e")
        if len(exponent) > 6 or abs(int(exponent or 0)) > _MAX_EXPONENT:
            raise Unreadable(f"the exponent {exponent[:20]} is too large")
        decimals = len(mantissa.partition(".")[2])
        scale = Fraction(10) ** int(exponent or 0)
        if not decimals and not exponent and self.take("_"):
            base = self.argument()
            if base.kind != "number":
                raise Unreadable("a base that is not a number")
            return Node("based", (), (mantissa.lstrip("0"), base.value))
        return number(Fraction(mantissa) * scale, scale / 10**decimals if decimals else None)

    def argument(self) -> Node:
        """The argument of a command: a group, or the next single character."""
        token = self.peek()
        if self.take("{"):
            node = self.listing()
            self.expect("}")
            return node
        if token.kind in ("number", "letters") and len(token.value) > 1:
            self._split(token.value[0], token.value[1:])
        return self.atom()

    def script(self) -> Node:
        """What stands above or below: a group, or one thing with its sign."""
        if self.peek().value == "{":
            return self.argument()
        minus = self.take("-", "+") == "-"
        node = self.argument() if self.peek().kind == "letters" else self.power()
        return negative(node) if minus else node

    def _split(self, *pieces: str) -> None:
        """Cut the token at hand into several."""
        token = self.peek()
        kinds = ["command" if piece[0] == "\\" else token.kind for piece in pieces]
        cut = [
            Token(kind, piece, token.spaced and not n) for n, (kind, piece) in enumerate(zip(kinds, pieces))
        ]
        self.tokens[self.position : self.position + 1] = cut

    def _word(self) -> Node:
        """A function, a constant, or a product of single letters."""
        token = self.peek()
        if token.kind == "text" and len(token.value) > 1 and token.value not in FUNCTIONS:
            raise Unreadable(f"the word {token.value}")
        pieces = [
            "surd" if piece == "sqrt" else piece for piece in self._pieces(token)
        ]  # takes a whole number
        self._split(*(piece if len(piece) == 1 else f"\\{piece}" for piece in pieces))
        if len(pieces[0]) > 1:
            return self._command()
        self.position += 1
        return self._symbol(pieces[0])

    def _pieces(self, token: Token) -> list[str]:
        word = token.value
        names = FUNCTIONS.keys() | GREEK | {"pi"}
        if len(word) == 1 or word in names:
            return [word]
        if word.lower() in INFINITE:
            return ["infty"]
        for name in sorted(names, key=len, reverse=True):
            rest = word.removeprefix(name)
            if (
                rest != word
                and (len(rest) <= 2 or rest in names)
                and name not in ("tg", "lg", "mu", "nu", "xi")
            ):
                return [name, *self._pieces(Token("letters", rest))]
        if word.endswith("pi") and len(word) <= 4:
            return [*self._pieces(Token("letters", word[:-2])), "pi"]
        is_word = len(word) > 3 and re.search("[aeiou]", word.lower()) and not self._touches_operator(token)
        if is_word or word.lower() in _SMALL_WORDS:
            raise Unreadable(f"the word {word}")
        return list(word)

    def _touches_operator(self, token: Token) -> bool:
        before, after = (self.tokens[self.position - 1] if self.position else END), self.peek(1)
        joined = before.kind == "number" and not token.spaced
        return joined or (after.value in ("+", "*", "^", "/") and not after.spaced)

    def _symbol(self, name: str) -> Node:
        if name in ("e", "i") and self.peek().value != "_":
            return Node("constant", (), name)
        while self.take("'"):
            name += "'"
        if self.take("_"):
            name += f"_{self._subscript()}"
        return Node("symbol", (), name)

    def _subscript(self) -> str:
        """What stands below a symbol, as a part of its name."""
        if self.peek().value == "{":
            return self.braced()
        token = self.peek()
        if token.kind == "letters" and len(token.value) > 1:
            self._split(token.value[0], token.value[1:])
        self.position += 1
        return self.tokens[self.position - 1].value if token is not END else ""

    def braced(self) -> str:
        """The text of a group."""
        self.expect("{")
        depth, value = 1, ""
        while True:
            if self.peek() is END:
                raise Unreadable("a brace is not closed")
            token = self.tokens[self.position]
            self.position += 1
            depth += (token.value == "{") - (token.value == "}")
            if not depth:
                return value
            value += token.value

    # commands

    def _command(self) -> Node:
        name = self.peek().value[1:]
        self.position += 1
        if name in FUNCTIONS:
            return self._function(FUNCTIONS[name])
        if name == "pi":
            return Node("constant", (), "pi")
        if name in INFINITE:
            return Node("constant", (), "infinity")
        if name in GREEK:
            return self._symbol(name)
        if name in ACCENTS:
            return self._accented(name)
        reader = _READERS.get(name)
        if reader is None:
            raise Unreadable(f"\\{name} is not in the grammar")
        return reader(self)

    def _accented(self, name: str) -> Node:
        """A vector is its letter; other marks belong to the name."""
        inner = self.argument()
        if inner.kind == "constant" and name == "hat":
            return inner
        if inner.kind != "symbol":
            raise Unreadable(f"\\{name} over more than one symbol")
        return (
            inner
            if name in ("vec", "hat", "underline", "overrightarrow")
            else self._symbol(f"{name} {inner.value}")
        )

    def _fraction(self) -> Node:
        return Node("divide", (scalar(self.argument()), scalar(self.argument())))

    def _binomial(self) -> Node:
        return call("binomial", self.argument(), self.argument())

    def _enclosed(self, name: str, *closing: str) -> Node:
        node = self.listing()
        self.expect(*closing)
        return call(name, node)

    def _repeating(self) -> Node:
        """0.1666... is 1/6."""
        shown, repeated = (self.braced() for _ in range(2))
        whole, _, decimals = shown.partition(".")
        tail = Fraction(int(repeated), 10 ** len(repeated) - 1)
        return number((int(whole + decimals or 0) + tail) / 10 ** len(decimals))

    # functions

    def _function(self, name: str) -> Node:
        """A function with its base, its power and its argument."""
        if name in ("sqrt", "cbrt"):
            return self._root(3 if name == "cbrt" else 2)
        base = number(10)
        if name == "log" and self.take("_"):
            base = self.number() if self.peek().kind == "number" else self.argument()
        power = self.script() if self.take("^") else None
        if power == number(-1) and name in INVERTIBLE:
            name, power = f"a{name}", None
        node = self._apply(name, self._arguments(name), base)
        return node if power is None else Node("power", (node, scalar(power)))

    def _root(self, degree: int) -> Node:
        order = number(degree)
        if self.take("["):
            order = self.expression()
            self.expect("]")
        inner = self._brackets() if self.peek().value == "(" else self.argument()
        return call("root", inner, order)

    def _apply(self, name: str, arguments: tuple, base: Node) -> Node:
        if name in ("min", "max", "gcd", "lcm"):
            return call(name, *arguments)
        if name == "log" and len(arguments) == 2:
            arguments, base = arguments[:1], arguments[1]
        if len(arguments) != 1:
            raise Unreadable(f"{name} of {len(arguments)} arguments")
        if name == "exp":
            return Node("power", (Node("constant", (), "e"), scalar(arguments[0])))
        return call("log", arguments[0], base) if name in ("log", "lg") else call(name, arguments[0])

    def _arguments(self, name: str) -> tuple:
        """What is in brackets, or else the product that follows, up to a bracket or the next function."""
        if self.peek().value in ("(", "{", "["):
            node = self._brackets()
            return node.parts if node.kind in ("tuple", "list", "set") else (node,)
        minus = self.take("-") is not None
        node = self.power()
        while self.starts_factor() and self.peek().value not in ("(", "[") and not self._starts_function():
            if self.units and self.unit_is_next(node):
                break
            node = times(node, self.power())
        is_angle = name in CIRCULAR and mentions(node, "pi")
        if is_angle and self.peek().value == "/" and self.peek(1).kind == "number":  # sin pi/6
            self.position += 1
            node = Node("divide", (node, scalar(self.number())))
        return (negative(node) if minus else node,)

    # brackets

    def _brackets(self) -> Node:
        """A group, a tuple, an interval, a set or an absolute value."""
        opening = self.expect("{", "\\{", "|", *_BRACKETS)
        bars = self.bars
        self.bars = int(opening in ("|", "\\{"))  # there a bar closes, or says "such that"
        node = self.expression() if opening == "|" else self.listing()
        self.bars = bars
        if opening == "|":
            self.expect("|", "\\rvert")
            return call("abs", node)
        if opening in ("{", "\\{"):
            return self._closed_brace(opening, node)
        closing = self.expect(*_BRACKETS[opening])
        if node.kind == "list":
            return Node("tuple", node.parts, "()" if opening == "\\langle" else opening + closing)
        if (opening, closing) not in (("(", ")"), ("[", "]")):
            raise Unreadable("an interval has two ends")
        return Node("tuple", (node,), "[]") if node.kind == "tuple" and opening == "[" else node

    def _closed_brace(self, opening: str, node: Node) -> Node:
        self.expect("}" if opening == "{" else "\\}")
        if node.kind == "list":
            return Node("set", node.parts)
        return (
            node
            if opening == "{" or node.kind in ("relation", "empty", "intersection")
            else Node("set", (node,))
        )


_READERS = {
    "frac": Atoms._fraction,
    "binom": Atoms._binomial,
    "repeating": Atoms._repeating,
    "surd": lambda atoms: call("root", atoms.atom(), number(2)),
    "lvert": lambda atoms: atoms._enclosed("abs", "\\rvert", "|"),
    "lfloor": lambda atoms: atoms._enclosed("floor", "\\rfloor"),
    "lceil": lambda atoms: atoms._enclosed("ceil", "\\rceil"),
}
