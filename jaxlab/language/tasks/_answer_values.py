"""The values of expressions: exact fractions as long as they can be, else many digits; and whether two always agree.

Nothing here runs for long: whole numbers have a bound on their bits, functions one on their arguments, and identities
are tested at a fixed number of points.
"""

import itertools
import math
import random
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from jaxlab.language.tasks._answer_tree import Node, mentions, symbols

MAX_BITS = 2**15
_DIGITS, _AGREE, _MORE_DIGITS = 200, 150, 600
_MAX_DIGITS = 3000
_POINTS, _NEEDED = 12, 3
_local = threading.local()


class Undefined(Exception):
    """It has no value here: a division by zero, or no real value where real ones are asked for."""


class TooLarge(Exception):
    """Its value would take too long."""


class Evaluator:
    """Values of trees at one point.

    Attributes:
      point: values of the symbols.
      real: refuse what is not real on the way.
      digits: of what is not a fraction.
    """

    def __init__(self, point: Mapping[str, Fraction], *, real: bool, digits: int = _DIGITS):
        import mpmath

        if not hasattr(_local, "context"):  # mpmath's precision is a global of its context
            _local.context = mpmath.MPContext()
        self.mp = _local.context
        self.mp.dps = digits
        self.point, self.real, self.digits = point, real, digits
        self.tiny = self.mp.mpf(10) ** (-digits * 3 // 4)

    def value(self, node: Node) -> Any:
        """A fraction, or a real or complex number of mpmath."""
        result = getattr(self, f"_{node.kind}")(node)
        if isinstance(result, Fraction):
            if result.numerator.bit_length() + result.denominator.bit_length() > 2 * MAX_BITS:
                raise TooLarge
            return result
        return self._checked(result)

    def _checked(self, value: Any) -> Any:
        if isinstance(value, self.mp.mpc):
            if abs(value.imag) <= self.tiny * abs(value.real):
                value = value.real
            elif self.real:
                raise Undefined
        if not self.mp.isfinite(value):
            raise Undefined
        if value and self.mp.mag(value) > 10**7:
            raise TooLarge
        return value

    def lift(self, value: Any) -> Any:
        """A fraction as a number of mpmath."""
        return self.mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value

    def _pair(self, a: Any, b: Any) -> tuple[Any, Any]:
        return (a, b) if isinstance(a, Fraction) and isinstance(b, Fraction) else (self.lift(a), self.lift(b))

    def _number(self, node: Node) -> Fraction:
        return node.value

    def _symbol(self, node: Node) -> Fraction:
        return self.point[node.value]

    def _constant(self, node: Node) -> Any:
        if node.value == "infinity":
            raise Undefined
        return self.mp.mpc(0, 1) if node.value == "i" else +getattr(self.mp, node.value)

    def _add(self, node: Node) -> Any:
        total: Any = Fraction(0)
        for part in node.parts:
            one, other = self._pair(total, self.value(part))
            total = one + other
        return total

    def _multiply(self, node: Node) -> Any:
        one, other = self._pair(*map(self.value, node.parts))
        return one * other

    def _divide(self, node: Node) -> Any:
        one, other = self._pair(*map(self.value, node.parts))
        return self._quotient(one, other)

    def _quotient(self, one: Any, other: Any) -> Any:
        if abs(other) == 0 or (not isinstance(other, Fraction) and abs(other) < self.tiny):
            raise Undefined
        one, other = self._pair(one, other)
        return one / other

    def _degree(self, node: Node) -> Any:
        return self.lift(self.value(node.parts[0])) * self.mp.pi / 180

    def _percent(self, node: Node) -> Any:
        value = self.value(node.parts[0])
        return value / 100

    def _power(self, node: Node) -> Any:
        return self._raise(*map(self.value, node.parts))

    def _raise(self, a: Any, b: Any) -> Any:
        if isinstance(b, Fraction) and b.denominator == 1 and isinstance(a, Fraction):
            return self._whole_power(a, int(b))
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return self._rational_power(a, b)
        if a == 0:
            if isinstance(b, self.mp.mpc) or b <= 0:
                raise Undefined
            return Fraction(0)
        if abs(b) * (abs(self.mp.mag(a)) + 2) > 10**7:
            raise TooLarge
        if self.real and a < 0 and not (isinstance(b, Fraction) and b.denominator % 2):
            raise Undefined
        if not isinstance(a, self.mp.mpc) and a < 0 and isinstance(b, Fraction) and b.denominator % 2:
            return (-1) ** b.numerator * self.mp.power(-a, self.lift(b))
        return self.mp.power(self.lift(a), self.lift(b))

    def _whole_power(self, a: Fraction, b: int) -> Fraction:
        if a == 0 and b < 0:
            raise Undefined
        bits = max(a.numerator.bit_length(), a.denominator.bit_length())
        if a not in (0, 1, -1) and bits * abs(b) > MAX_BITS:
            raise TooLarge
        return a**b if a not in (1, -1) else Fraction(1 if a == 1 or b % 2 == 0 else -1)

    def _rational_power(self, a: Fraction, b: Fraction) -> Any:
        """Of a negative number the real root, if the order is odd; exact where the root is."""
        order = b.denominator
        if order > 10**4:
            raise TooLarge
        if a < 0 and order % 2 == 0:
            if self.real:
                raise Undefined
            return self.mp.power(self.lift(a), self.lift(b))
        roots = [self._exact_root(abs(part), order) for part in (a.numerator, a.denominator)]
        if None in roots:
            size = self.mp.root(self.lift(abs(a)), order)
            if abs(b.numerator) * (abs(self.mp.mag(size)) + 2) > 10**7:
                raise TooLarge
            power = size**b.numerator
            return -power if a < 0 and b.numerator % 2 else power
        return self._whole_power((-1 if a < 0 else 1) * Fraction(*roots), b.numerator)

    def _exact_root(self, value: int, order: int) -> int | None:
        if order == 2:
            root = math.isqrt(value)
            return root if root * root == value else None
        if value.bit_length() > self.digits:
            return None
        root = int(self.mp.nint(self.mp.root(value, order)))
        return root if root**order == value else None

    def _call(self, node: Node) -> Any:
        arguments = [self.value(part) for part in node.parts]
        exact = all(isinstance(argument, Fraction) for argument in arguments)
        if node.value in _COUNTING:
            return self._count(node.value, [self._snapped(argument) for argument in arguments])
        if node.value in ("root", "log"):
            return getattr(self, f"_{node.value}")(*arguments)
        if node.value in ("abs", "floor", "ceil"):
            return self._rounded(node.value, self._snapped(arguments[0]))
        if exact and arguments[0] == 0 and node.value in _ODD:
            return Fraction(0)
        return self._function(node.value, self.lift(arguments[0]))

    def _snapped(self, value: Any) -> Any:
        """A whole number, if it is one to all digits."""
        if isinstance(value, Fraction | self.mp.mpc):
            return value
        if abs(value) < 10**100 and abs(value - self.mp.nint(value)) < self.tiny:
            return Fraction(int(self.mp.nint(value)))
        return value

    def _count(self, name: str, values: list[Any]) -> Any:
        if not all(isinstance(value, Fraction) for value in values):
            raise Undefined
        if name in ("min", "max"):
            return min(values) if name == "min" else max(values)
        if any(value.denominator != 1 for value in values):
            raise Undefined
        whole = [int(value) for value in values]
        if name in ("gcd", "lcm"):
            return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
        if min(whole) < 0:
            raise Undefined
        if max(whole) > 3000:
            raise TooLarge
        return Fraction(math.factorial(whole[0]) if name == "factorial" else math.comb(*whole))

    def _root(self, value: Any, order: Any) -> Any:
        if order == 0:
            raise Undefined
        return self._raise(value, self._quotient(Fraction(1), order))

    def _log(self, value: Any, radix: Any) -> Any:
        return self._quotient(self._function("ln", self.lift(value)), self._function("ln", self.lift(radix)))

    def _rounded(self, name: str, value: Any) -> Any:
        if name == "abs":
            return abs(value)
        if isinstance(value, self.mp.mpc):
            raise Undefined
        if isinstance(value, Fraction):
            return Fraction(math.floor(value) if name == "floor" else math.ceil(value))
        if self.mp.mag(value) > MAX_BITS:
            raise TooLarge
        return Fraction(int(self.mp.floor(value) if name == "floor" else self.mp.ceil(value)))

    def _function(self, name: str, value: Any) -> Any:
        if abs(value) > 10**30 and name != "ln":
            raise TooLarge
        if name == "ln":
            if value == 0 or (self.real and value < 0):
                raise Undefined
            return self.mp.log(value)
        if name in _RECIPROCAL:
            return self._quotient(Fraction(1), self._function(_RECIPROCAL[name], value))
        if name in ("tan", "tanh"):
            return self._quotient(
                self._function(f"sin{name[3:]}", value), self._function(f"cos{name[3:]}", value)
            )
        if name in ("sinh", "cosh") and abs(value) > 10**6:
            raise TooLarge
        if name in ("acot", "asec", "acsc"):
            if name == "acot":
                return self.mp.pi / 2 - self.mp.atan(value)
            return self._function({"asec": "acos", "acsc": "asin"}[name], self._quotient(Fraction(1), value))
        function = getattr(self.mp, name, None)
        if function is None:
            raise Undefined
        try:
            return function(value)
        except (ValueError, ZeroDivisionError) as error:
            raise Undefined from error

    def _sign(self, node: Node) -> Any:
        raise Undefined


_COUNTING = {"factorial", "binomial", "gcd", "lcm", "min", "max"}
_ODD = {"sin", "tan", "sinh", "tanh", "asin", "atan", "asinh", "atanh"}
_RECIPROCAL = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}


def constant(node: Node, *, digits: int = _DIGITS) -> Any:
    """The value of an expression without variables; infinities are floats. None if there is none."""
    if node.kind == "constant" and node.value == "infinity":
        return math.inf
    if node.kind == "multiply" and node.parts[0].value == -1 and constant(node.parts[1]) == math.inf:
        return -math.inf
    try:
        return Evaluator({}, real=False, digits=digits).value(node)
    except (Undefined, TooLarge, KeyError, AttributeError):
        return None


def undefined(node: Node) -> bool:
    """Whether it divides by zero somewhere, as 1/0 does, and so has no value."""
    if node.kind == "divide" and not symbols(node.parts[1]) and constant(node.parts[1]) == 0:
        return True
    return any(map(undefined, node.parts))


def within(a: Node, b: Node, tolerance: Fraction) -> bool:
    """Whether two constants are at most so far apart."""
    one, other = constant(a), constant(b)
    if one is None or other is None or math.inf in (one, other) or -math.inf in (one, other):
        return False
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return abs(one - other) <= tolerance
    lift = Evaluator({}, real=False).lift
    return bool(abs(lift(one) - lift(other)) <= lift(tolerance))


def identical(a: Node, b: Node) -> bool:
    """Whether two expressions have the same value wherever both have a real one.

    Variables take rational values at some points, of both signs; if there is nowhere a real value, complex ones count.
    Where one side alone has an absolute value it must also be defined where the other is: ln x is not ln |x|. Whole
    numbers are compared exactly up to `MAX_BITS` bits, other values to 150 digits; larger ones must be written alike.
    """
    if a == b:
        return True
    variables = sorted(symbols(a) | symbols(b))
    try:
        if not variables:
            return _agree(a, b, {}, real=False) is True
        strict = mentions(a, "abs") != mentions(b, "abs")
        points = _points(variables, whole=_is_discrete(a) or _is_discrete(b))
        real = not (mentions(a, "i") or mentions(b, "i"))
        for reality in (True, False) if real else (False,):
            verdicts = []
            for point in points:
                verdict = _agree(a, b, point, real=reality)
                if verdict is False or (strict and verdict is _ONE_SIDED and reality):
                    return False
                verdicts += [verdict] if verdict is True else []
            if len(verdicts) >= _NEEDED:
                return True
    except TooLarge:
        pass
    return False


_ONE_SIDED = "one-sided"


def _agree(a: Node, b: Node, point: Mapping[str, Fraction], *, real: bool) -> Any:
    """True or False; None where neither is defined, `_ONE_SIDED` where one is."""
    found = _gap(a, b, point, real=real, digits=_DIGITS)
    if not isinstance(found, tuple):
        return found
    ten, room = _local.context.mpf(10), 0
    if found[1] > ten**30:  # digits before the point are none behind it
        room = int(math.log10(2) * _local.context.mag(found[1]))
        if room > _MAX_DIGITS:
            raise TooLarge
        found = _gap(a, b, point, real=real, digits=_DIGITS + room)
    gap, size = found
    if gap <= size * ten ** -(_AGREE + room):
        return True
    if gap > ten ** -(_AGREE // 2):
        return False
    return _gap(a, b, point, real=real, digits=_MORE_DIGITS)[0] <= gap * ten**-_AGREE  # zero, or small?


def _gap(a: Node, b: Node, point: Mapping[str, Fraction], *, real: bool, digits: int) -> Any:
    """Difference and size of two values; for fractions whether they are equal; None or `_ONE_SIDED` without them."""
    evaluator = Evaluator(point, real=real, digits=digits)
    values = []
    for node in (a, b):
        try:
            values.append(evaluator.value(node))
        except Undefined:
            continue
    if len(values) < 2:
        return _ONE_SIDED if values else None
    if all(isinstance(value, Fraction) for value in values):
        return values[0] == values[1]
    one, other = map(evaluator.lift, values)
    return abs(one - other), max(abs(one), abs(other))


def _is_discrete(node: Node) -> bool:
    """Whether its variables are whole numbers: they count something, or are exponents of a negative number."""
    if node.kind == "call" and node.value in _COUNTING - {"min", "max"} and symbols(node):
        return True
    if node.kind == "power" and symbols(node.parts[1]) and not symbols(node.parts[0]):
        value = constant(node.parts[0])
        if isinstance(value, Fraction) and value < 0:
            return True
    return any(map(_is_discrete, node.parts))


def _points(variables: list[str], *, whole: bool) -> list[dict[str, Fraction]]:
    draw = random.Random(0)
    spans = ((-1, 1), (0.05, 4), (-6, 6), (1, 30))
    points = []
    for low, high in itertools.islice(itertools.cycle(spans), _POINTS):
        if whole:
            points.append({name: Fraction(draw.randint(1, 12)) for name in variables})
        else:
            points.append(
                {name: Fraction(round(draw.uniform(low, high) * 97) * 2 + 1, 194) for name in variables}
            )
    return points


def ratio_at_a_point(one: Node, other: Node) -> Fraction | None:
    """By which factor two expressions differ where they have rational values; None if there is no such place."""
    for point in _points(sorted(symbols(one) | symbols(other)), whole=True):
        try:
            values = [Evaluator(point, real=True).value(node) for node in (one, other)]
        except (Undefined, TooLarge):
            continue
        if all(isinstance(value, Fraction) for value in values) and 0 not in values:
            return values[0] / values[1]
    return None
