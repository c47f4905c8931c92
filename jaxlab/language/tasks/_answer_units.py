"""Units of answers: what they measure and how they convert."""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from jaxlab.language.tasks._answer_tokens import Token


class Unit(NamedTuple):
    """What a number is a number of.

    Attributes:
      factor: its size in the base units.
      dimensions: base units and their powers, sorted; what is in no table is a base unit of its own.
      sure: whether it can be nothing but a unit; `m` in `5m` may be a variable.
    """

    factor: Fraction
    dimensions: tuple[tuple[str, int], ...]
    sure: bool = True


def _table(*rows: tuple[str, str, dict[str, int]]) -> dict[str, tuple[Fraction, dict[str, int]]]:
    return {
        name: (Fraction(factor), dimensions)
        for factor, names, dimensions in rows
        for name in names.split(",")
    }


_FORCE, _ENERGY = {"kg": 1, "m": 1, "s": -2}, {"kg": 1, "m": 2, "s": -2}
_POWER, _PRESSURE = {"kg": 1, "m": 2, "s": -3}, {"kg": 1, "m": -1, "s": -2}
_SYMBOLS = _table(
    ("1", "m", {"m": 1}),
    ("1000", "km", {"m": 1}),
    ("1/10", "dm", {"m": 1}),
    ("1/100", "cm", {"m": 1}),
    ("1/1000", "mm", {"m": 1}),
    ("1/1000000", "μm,um", {"m": 1}),
    ("1/1000000000", "nm", {"m": 1}),
    ("0.0254", "in", {"m": 1}),
    ("0.3048", "ft", {"m": 1}),
    ("0.9144", "yd", {"m": 1}),
    ("1609.344", "mi", {"m": 1}),
    ("1", "kg", {"kg": 1}),
    ("1/1000", "g", {"kg": 1}),
    ("1/1000000", "mg", {"kg": 1}),
    ("0.45359237", "lb,lbs", {"kg": 1}),
    ("0.028349523125", "oz", {"kg": 1}),
    ("1", "s,sec,secs", {"s": 1}),
    ("1/1000", "ms", {"s": 1}),
    ("60", "min,mins", {"s": 1}),
    ("3600", "h,hr,hrs", {"s": 1}),
    ("1/1000", "L,l", {"m": 3}),
    ("1/1000000", "mL,ml,cc", {"m": 3}),
    ("1", "N", _FORCE),
    ("1000", "kN", _FORCE),
    ("1", "J", _ENERGY),
    ("1000", "kJ", _ENERGY),
    ("1", "W", _POWER),
    ("1000", "kW", _POWER),
    ("1", "Pa", _PRESSURE),
    ("1000", "kPa", _PRESSURE),
    ("1", "Hz", {"s": -1}),
    ("1609.344", "mph", {"m": 1, "s": -1}),
    ("1000", "kph,kmh", {"m": 1, "s": -1}),
    ("1", "V", {"V": 1}),
    ("1", "A", {"A": 1}),
    ("1", "C", {"A": 1, "s": 1}),
    ("1", "K", {"K": 1}),
    ("1", "mol", {"mol": 1}),
    ("1", "USD", {"dollar": 1}),
    ("1", "EUR", {"euro": 1}),
    ("1", "rad", {"radian": 1}),
    ("1", "deg", {"degree": 1}),
)
_SYMBOLS |= {name: (_SYMBOLS[name][0] / 3600, _SYMBOLS[name][1]) for name in ("mph", "kph", "kmh")}
_WORDS = _table(
    ("1", "meter,metre", {"m": 1}),
    ("1000", "kilometer,kilometre", {"m": 1}),
    ("1/100", "centimeter,centimetre", {"m": 1}),
    ("1/1000", "millimeter,millimetre", {"m": 1}),
    ("0.0254", "inch,inche", {"m": 1}),
    ("0.3048", "foot,feet", {"m": 1}),
    ("0.9144", "yard", {"m": 1}),
    ("1609.344", "mile", {"m": 1}),
    ("1", "kilogram", {"kg": 1}),
    ("1/1000", "gram", {"kg": 1}),
    ("1/1000000", "milligram", {"kg": 1}),
    ("0.45359237", "pound", {"kg": 1}),
    ("0.028349523125", "ounce", {"kg": 1}),
    ("1", "second", {"s": 1}),
    ("60", "minute", {"s": 1}),
    ("3600", "hour", {"s": 1}),
    ("86400", "day", {"s": 1}),
    ("604800", "week", {"s": 1}),
    ("1", "month", {"month": 1}),
    ("12", "year,yr", {"month": 1}),
    ("1/1000", "liter,litre", {"m": 3}),
    ("1/1000000", "milliliter,millilitre", {"m": 3}),
    ("1", "newton", _FORCE),
    ("1", "joule", _ENERGY),
    ("1", "watt", _POWER),
    ("1", "pascal", _PRESSURE),
    ("1", "hertz", {"s": -1}),
    ("1", "volt", {"V": 1}),
    ("1", "ampere,amp", {"A": 1}),
    ("1", "kelvin", {"K": 1}),
    ("1", "mole", {"mol": 1}),
    ("1", "dollar,buck", {"dollar": 1}),
    ("1/100", "cent", {"dollar": 1}),
    ("1", "euro", {"euro": 1}),
    ("1", "rupee", {"rupee": 1}),
    ("1", "degree", {"degree": 1}),
    ("1", "radian", {"radian": 1}),
    ("1", "percent,pct,percentage", {"percent": 1}),
    ("1", "unit", {}),
)
CURRENCIES = {"\\$": "dollar", "$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yen", "₹": "rupee"}
SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_PREFIXES = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_WEAK = re.compile(r"[A-Za-z]")
_WORDS_OF_PROSE = "is are was it so to we be as at by if on do for you and or not no since because"
_STOP = set(_WORDS_OF_PROSE.split())
_FILLERS = {"of", "the", "a", "an", "in", "total", "different"}


def base(name: str, *, factor: Fraction | int = 1, sure: bool = True) -> Unit:
    """The unit that measures `name`."""
    return Unit(Fraction(factor), ((name, 1),), sure)


def read_unit(tokens: Sequence[Token], start: int) -> tuple[Fraction, Unit, int] | None:
    """What words like `million` multiply by, the unit that begins at a token, and where it ends; None without one."""
    scale, position = Fraction(1), start
    while position < len(tokens) and tokens[position].value.lower() in SCALES:
        scale, position = scale * SCALES[tokens[position].value.lower()], position + 1
    factor, total, sign, sure = Fraction(1), {}, 1, position > start
    position += position > start and position < len(tokens) and tokens[position].value == "of"
    while (one := _read_one(tokens, position)) is not None:
        size, dimensions, position, is_sure = one
        factor, sure = factor * size**sign, sure or is_sure
        for name, power in dimensions.items():
            total[name] = total.get(name, 0) + sign * power
        joint = tokens[position].value if position < len(tokens) else ""
        sign = -1 if joint in ("/", "per") else 1
        position += joint in ("/", "per", "*", "\\cdot")
    if position == start or tokens[position - 1].value in ("/", "*", "\\cdot"):
        return None
    return (
        scale,
        Unit(factor, tuple(sorted((name, power) for name, power in total.items() if power)), sure),
        position,
    )


def _read_one(tokens: Sequence[Token], position: int) -> tuple[Fraction, dict[str, int], int, bool] | None:
    """Size, dimensions and end of one unit with its power, and whether it can be nothing else."""
    power, first = 1, position
    if position < len(tokens) and tokens[position].value.lower() in _PREFIXES:
        power, position = _PREFIXES[tokens[position].value.lower()], position + 1
    if position >= len(tokens) or tokens[position].kind not in ("letters", "text"):
        return None
    token = tokens[position]
    known = _lookup(token.value)
    if known is None:
        return _label(tokens, first)
    sure = token.kind == "text" or token.spaced or not _WEAK.fullmatch(token.value)
    position += 1
    if position < len(tokens) and tokens[position].value in _PREFIXES:
        power, position = _PREFIXES[tokens[position].value], position + 1
    raised = _exponent(tokens, position)
    if raised:
        power, position = power * raised[0], raised[1]
    size, dimensions = known
    return size**power, {name: each * power for name, each in dimensions.items()}, position, sure


def _lookup(word: str) -> tuple[Fraction, dict[str, int]] | None:
    if word in _SYMBOLS:
        return _SYMBOLS[word]
    lower = word.lower()
    return (
        _WORDS.get(lower)
        or _WORDS.get(lower.removesuffix("s"))
        or (_WORDS.get(lower.removesuffix("es")) if lower.endswith("es") else None)
    )


def _exponent(tokens: Sequence[Token], position: int) -> tuple[int, int] | None:
    if position >= len(tokens) or tokens[position].value != "^":
        return None
    values = "".join(token.value for token in tokens[position + 1 : position + 5])
    match = re.match(r"\{(-?)(\d)\}|(-?)(\d)", values)
    if not match:
        return None
    sign, digit = (match[1], match[2]) if match[2] else (match[3], match[4])
    return int(sign + digit), position + 1 + len(match[0])


def _label(tokens: Sequence[Token], position: int) -> tuple[Fraction, dict[str, int], int, bool] | None:
    """Up to four words that no table knows, such as `red apples`, as a unit of their own."""
    words: list[str] = []
    while position < len(tokens) and tokens[position].kind in ("letters", "text") and len(words) < 5:
        token = tokens[position]
        word = token.value.lower()
        if token.kind == "letters" and not words and (len(word) < 3 or not re.search("[aeiouy]", word)):
            return None
        if word in _STOP:
            return None
        if word == "per":
            break
        words.append(word)
        position += 1
    content = sorted({_singular(word) for word in words} - _FILLERS)
    if not content or len(words) > 4 or (len(words) == 1 and len(words[0]) == 1):
        return None
    return Fraction(1), {" ".join(["label", *content]): 1}, position, True


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word


def is_unit_word(word: str) -> bool:
    """Whether a word of prose behind a number is, or belongs to, a unit of a table."""
    return (
        word.lower() in SCALES | _PREFIXES or word == "per" or (len(word) > 1 and _lookup(word) is not None)
    )
