"""What a piece of text can mean as an answer: formulas, words, the letter of a choice."""

import re
from fractions import Fraction

from jaxlab.language.tasks._answer_grammar import Answers
from jaxlab.language.tasks._answer_tokens import Token, Unreadable, group_ends, simplify, tokenize
from jaxlab.language.tasks._answer_tree import SCALARS, Node, is_name, negative, number

MAX_CHARACTERS = 1000
_COUNT = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_PARTS = "half third quarter fifth sixth seventh eighth ninth tenth"
_NUMBERS = {word: value for value, word in enumerate(_COUNT.split())}
_NUMBERS |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
_DENOMINATORS = {word: value for value, word in enumerate(_PARTS.split(), start=2)} | {
    "fourth": 4,
    "halve": 2,
}
_REALS = {"all real numbers", "real numbers", "all reals", "all real", "set of real numbers"}
_FONT = re.compile(r"\\(?:text\w*|mathrm|mathbf|mbox|operatorname|emph)\s*(?=\{)|[{}$*]|\\[,;:! ()]")
_OPTION = r"(?:(?i:option|choice)\s+)?"
_CHOICE = re.compile(rf"{_OPTION}(?:\(\s*([A-Ha-h])\s*\)|([A-H])\s*[).:]?)")
_SMALL_LETTER = re.compile(rf"{_OPTION}([a-df-h])\s*[).:]?")
_CHOICE_AND_MORE = re.compile(r"(?:\(\s*([A-Ha-h])\s*\)|([A-H])\s*[).:])\s*(.+)", re.DOTALL)
_POINTS = re.compile(r"[A-Z]{2,4}")
_VERDICT = re.compile(r"(yes|no|true|false)\s*[,.;:!—–]", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the) ")
_MINUS = re.compile(r"(?:minus|negative)\s+(?=\S)", re.IGNORECASE)
_NO_WORDS = re.compile(r"[\\^_=<>+|]|\d\.\d")
_SPELLED = 12  # words of a number in words with its unit
_LISTED = 3  # words of an item in a list of words


def readings(text: str) -> list[Node]:
    """Everything a text can mean as an answer, formulas first.

    Raises:
      Unreadable: it has no meaning in the grammar.
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"it has more than {MAX_CHARACTERS} characters")
    text = re.sub(r"^\s*(?:=|\\approx|≈)", "", text).strip()
    text = text if text.endswith("...") else text.rstrip(".,;:").strip()
    if not text:
        raise Unreadable("it is empty")
    words = plain_words(text)
    if words in _REALS:
        return [Node("reals")]
    if in_words := _numbers_in_words(text, words):
        return [*in_words, Node("text", (), words)]
    error: Unreadable | None = None
    try:
        found = _formulas(text)
    except Unreadable as problem:
        found, error = [], problem
    found += _choices(text)
    if _POINTS.fullmatch(text):  # also the name that its letters spell
        found.append(Node("text", (), words))
    found = found or _texts(text, words)
    if not found:
        raise error or Unreadable("it is no answer")
    return found


def is_words(node: Node) -> bool:
    """Whether it is no formula, but words or several of them."""
    return node.kind == "text" or (node.kind == "list" and all(map(is_words, node.parts)))


def plain_words(text: str) -> str:
    """A text answer without LaTeX, case, punctuation and article."""
    text = re.sub(r"[-_–—]", " ", _FONT.sub(" ", text).replace("’", "'"))
    text = re.sub(r"(?<=[A-Za-z])\.(?=[A-Za-z]\b)", "", text)  # a.m.
    text = " ".join(re.sub(r"[.,;:!?\"“”]", " ", text).casefold().split())
    return _ARTICLE.sub("", text)


def _numbers_in_words(text: str, words: str) -> list[Node]:
    """`three`, `half an hour`, `minus 4`, `negative five dollars`."""
    parts = text.split()
    if len(parts) > _SPELLED:
        return []
    if (value := _spelled_out(words)) is not None:
        return [number(value)]
    if match := _MINUS.match(text):
        try:
            return [
                negative(node)
                for node in readings(text[match.end() :])
                if node.kind in SCALARS | {"quantity"}
            ]
        except Unreadable:
            return []
    for count in range(len(parts) - 1, 0, -1):
        if (value := _spelled_out(plain_words(" ".join(parts[:count])))) is not None:
            unit = re.sub(r"^(?:an?|of)\s+", "", " ".join(parts[count:]))
            try:
                return [node for node in _formulas(f"{value} {unit}") if node.kind == "quantity"]
            except Unreadable:
                return []
    return []


def _spelled_out(words: str) -> Fraction | None:
    """The value of `twenty one`, `two hundred`, `three quarters`, `3 and a half`."""
    if match := re.fullmatch(r"(.+) and (?:an? )?(\w+(?: \w+)?)", words):
        whole = Fraction(match[1]) if match[1].isascii() and match[1].isdigit() else _spelled_out(match[1])
        part = _spelled_out(match[2])
        if whole is not None and part is not None and part.denominator > 1:
            return whole + part
    *before, last = words.split() or [""]
    denominator = _DENOMINATORS.get(last) or _DENOMINATORS.get(last.removesuffix("s"))
    if (
        denominator
        and len(before) <= 1
        and (not before or before[0] in _NUMBERS)
        and (before or last == "half")
    ):
        return Fraction(_NUMBERS[before[0]] if before else 1, denominator)
    total, part = 0, 0
    for word in words.split():
        if word in ("hundred", "thousand") and part:
            part, total = (part * 100, total) if word == "hundred" else (0, total + part * 1000)
        elif word in _NUMBERS and (
            part % 100 == 0 or (part % 100 >= 20 and part % 10 == 0 < _NUMBERS[word] < 10)
        ):
            part += _NUMBERS[word]
        elif word != "and":
            return None
    return Fraction(total + part) if words else None


def _choices(text: str) -> list[Node]:
    """B, (b), \textbf{(B) } 12; a small letter by itself is one only as an answer, not as a reference."""
    bare = re.sub(r"\\text\w*\s*|\\math\w+\s*|[{}$*]", "", text).strip()
    if match := _CHOICE.fullmatch(bare):
        return [Node("choice", (), (match[1] or match[2]).upper())]
    if match := _SMALL_LETTER.fullmatch(bare):
        return [Node("letter", (), match[1].upper())]
    if match := _CHOICE_AND_MORE.fullmatch(bare):
        try:
            rest = readings(match[3])
        except Unreadable:
            rest = []
        return [Node("choice", (), (match[1] or match[2]).upper()), *rest]
    return []


def _texts(text: str, words: str) -> list[Node]:
    """Words as they are, a leading yes or no, and a list of words."""
    if not re.search(r"[^\W\d_]{2}", words) or _NO_WORDS.search(words):
        return []
    found = [Node("text", (), words)]
    if verdict := _VERDICT.match(text):
        found.append(Node("text", (), verdict[1].lower()))
    items = [plain_words(item) for item in re.split(r"\s*[,;]\s*(?:and\s|or\s)?|\s+(?:and|or)\s+", text)]
    if len(items) > 1 and all(items) and all(len(item.split()) <= _LISTED for item in items):
        found.append(Node("list", tuple(Node("text", (), item) for item in items), ","))
    return found


def _formulas(text: str) -> list[Node]:
    """Its trees: with digits grouped by commas or not, e as a number or an exponent, m as a unit or a name."""
    text = simplify(text)
    if re.fullmatch(r"<[^<>]*,[^<>]*>", text):
        text = f"\\langle {text[1:-1]} \\rangle"
    if group_ends(f"{{{text}}}").get(0) != len(text) + 2:
        raise Unreadable("its braces are not balanced")
    kept: list[list[Token]] = []
    found: list[Node] = []
    first: Unreadable | None = None
    for grouped, euler in ((True, False), (True, True), (False, False), (False, True)):
        tokens = tokenize(text, grouped=grouped, euler=euler)
        if tokens in kept or (not grouped and _has_padded_number(tokens)):
            continue
        kept.append(tokens)
        for units in (True, False):
            try:
                node = Answers(tokens, units=units).answer()
            except Unreadable as problem:
                first = first or problem
                continue
            found += [each for each in _approximations(node) if each not in found]
    if not found:
        raise first or Unreadable("it is empty")
    return found


def _approximations(node: Node) -> list[Node]:
    """sqrt 2 = 1.414... written with a wavy sign is both of its sides; x and a number are an equation."""
    if node.kind != "relation" or "~" not in node.value:
        return [node]
    if len(node.parts) == 2 and is_name(node.parts[0]):
        return [node._replace(value=("=",))]
    if not is_name(node.parts[0]):
        return list(node.parts[-2:])
    return [Node("relation", (node.parts[0], side), ("=",)) for side in node.parts[-2:]]


def _has_padded_number(tokens: list[Token]) -> bool:
    """000 in 1,000 is no answer."""
    return any(re.fullmatch(r"0\d+", token.value) for token in tokens if token.kind == "number")
