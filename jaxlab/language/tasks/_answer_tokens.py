"""Mathematical text as tokens: the many spellings of Unicode, LaTeX and plain text reduced to one."""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple


class Unreadable(ValueError):
    """A text that is no answer in the grammar."""


class Token(NamedTuple):
    """A piece of text.

    Attributes:
      kind: "number", "letters" (a run), "text" (a run inside of `\\text{}`), "command" (`\\pi`) or "mark".
      value: the piece itself.
      spaced: whether white space stands before it.
    """

    kind: str
    value: str
    spaced: bool = False


MAX_TOKENS = 300
_JOIN = "\x1f"  # between the groups of a number whose separator can be nothing else
_TEXT = {"text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox", "hbox", "emph"}
_FONTS = {
    "mathrm",
    "mathbf",
    "mathit",
    "mathsf",
    "mathcal",
    "operatorname",
    "mathop",
    "boldsymbol",
    "bm",
    "pmb",
    "rm",
}
_SCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉", "0123456789+-n"
_CHARACTERS = str.maketrans(
    dict.fromkeys("−–—‒﹣－‐‑", "-")
    | dict.fromkeys("  \u200a ", " ")
    | dict.fromkeys("\u200b\u2060\ufeff", "")
    | dict.fromkeys("×✕⨯", r"\times ")
    | dict.fromkeys("⋅·∙•∗", r"\cdot ")
    | {"÷": r"\div ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp "}
    | {"∞": r"\infty ", "√": r"\surd ", "∛": r"\sqrt[3]", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in "}
    | {"∅": r"\emptyset ", "ℝ": r"\mathbb{R} ", "⟨": r"\langle ", "⟩": r"\rangle ", "∖": r"\setminus "}
    | {"º": "°", "˚": "°", "′": "'", "’": "'", "，": ",", "：": ":", "…": "...", "¢": r"\text{ cents}"}
    | {"⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∣": "|", "µ": "μ"}
)
_REWRITES: tuple[tuple[str, str | Callable], ...] = (
    (r"\\(?:left|right)\s*\.", ""),
    (r"\\left\s*\|", r"\\lvert "),
    (r"\\right\s*\|", r"\\rvert "),
    (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])", ""),
    (r"\\(?:[dtc]|s|nice|flat)frac(?![A-Za-z])", r"\\frac"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"(?<=\d)\s*(?:\{\s*,\s*\}|\\,|\\!,|,\\!|\\ |\\thinspace)\s*(?=\d{3}(?!\d))", _JOIN),
    (r"\\(?:[hv]space\*?|phantom|color|tag|label)\s*\{[^{}]*\}", ""),
    (r"\\(?:displaystyle|textstyle|limits|nolimits|nonumber|hfill|hline)(?![A-Za-z])", ""),
    (r"(?<!\\)\\!", ""),
    (r"(?<!\\)\\[,;:> ]|~|\\(?:q?quad|thinspace|enspace|medspace|thickspace)(?![A-Za-z])", " "),
    (r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![A-Za-z]))|\\degree(?![A-Za-z])", "°"),
    (r"\^\s*(?:\{\s*\\prime\s*\}|\\prime(?![A-Za-z]))", "'"),
    (r"\\leqs?(?:lant)?(?![A-Za-z])|<=", r"\\le "),
    (r"\\geqs?(?:lant)?(?![A-Za-z])|>=", r"\\ge "),
    (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\*\*", "^"),
    (r"\b(sq|cu|in|ft|yd|mi|lbs?|oz|sec|min|hr|hrs)\.(?!\d)", r"\1 "),
    (r"(?<=[)\]}])\s*U\s*(?=[(\[\\{])", r"\\cup "),
    (r"(\d*\.\d*)\\(?:overline|bar|dot|widebar)\s*\{(\d+)\}", r"\\repeating{\1}{\2}"),
    (r"(\d*\.\d*)\\(?:overline|bar|dot)\s*(\d)", r"\\repeating{\1}{\2}"),
    (r"(\d*\.\d*?)(\d{1,9}?)\2+\s*(?:\.\.\.|\\[lc]?dots)", r"\\repeating{\1}{\2}"),
    (r"(?<=\d)\s*\.\.\.(?!\d)", ""),
)
_COMPILED = tuple((re.compile(pattern), new) for pattern, new in _REWRITES)
_SEGMENT = re.compile(
    r"\$\$(?P<a>(?:\\.|[^$\\])+)\$\$|(?<![\\$])\$(?!\$)(?P<b>(?:\\.|[^$\\])+)(?<!\\)\$(?!\d)"
    r"|\\\((?P<c>(?:(?!\\\().)+?)\\\)|\\\[(?P<d>(?:(?!\\\[).)+?)\\\]",
    re.DOTALL,
)
_AMOUNT_IN_PROSE = re.compile(r"\d[\d,.]*\s+[A-Za-z]{2,}.*\s", re.DOTALL)


def segments(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of what stands between LaTeX's mathematics delimiters; `$5 and $` is money."""
    found = ((match.start(), match.end(), match[match.lastgroup]) for match in _SEGMENT.finditer(text))
    return [(start, end, inside) for start, end, inside in found if not _AMOUNT_IN_PROSE.fullmatch(inside)]


def group_ends(text: str) -> dict[int, int]:
    """Of every brace that is closed, the position after the one that closes it."""
    ends, opened = {}, []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            ends[opened.pop()] = match.end()
    return ends


def simplify(text: str) -> str:
    """One spelling: no mathematics delimiters, ASCII and commands for Unicode, one command per meaning."""
    if "\\begin" not in text:
        text = text.replace("\\\\", "\\")  # escaped twice
    for start, end, inside in reversed(segments(text)):
        text = f"{text[:start]} {inside} {text[end:]}"
    text = re.sub(r"(?<!\\)\$(?=\s*[\d.])", r"\\$", text)
    text = re.sub(r"(?<!\\)\$|\\[()\[\]]", " ", text)
    for scripts, mark in zip(_SCRIPTS[:2], "^_"):
        table = str.maketrans(scripts, _SCRIPTS[2][: len(scripts)])
        text = re.sub(f"[{scripts}]+", lambda run: f"{mark}{{{run[0].translate(table)}}}", text)  # noqa: B023
    text = unicodedata.normalize("NFKC", "".join(map(_character, text.translate(_CHARACTERS))))
    for pattern, new in _COMPILED:
        text = pattern.sub(new, text)
    return text.strip()


def _character(char: str) -> str:
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFKC", char).split("⁄")
    if len(parts) == 2:  # a vulgar fraction
        return rf"\frac{{{parts[0]}}}{{{parts[1]}}}"
    words = unicodedata.name(char, "").split()
    if words[:1] == ["GREEK"] and words[2:3] == ["LETTER"] and len(words) == 4:
        name = words[3].lower().replace("lamda", "lambda")
        return f"\\{name.capitalize() if words[1] == 'CAPITAL' else name} "
    return char


_WHOLE = r"\d+(?:\x1f\d+)*(?:\.\d+)?|\.\d+"
_GROUPED = r"[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?![\d/])(?:\.\d+)?"


def _pattern(grouped: bool, euler: bool) -> re.Pattern:
    number = f"{_GROUPED}|{_WHOLE}" if grouped else _WHOLE
    exponent = r"(?:E[+-]?\d+|e\d+)?" if euler else r"(?:[eE][+-]?\d+)?"
    return re.compile(
        rf"(?P<space>\s+)|(?P<number>(?:{number}){exponent})|(?P<command>\\[A-Za-z]+|\\.)"
        rf"|(?P<letters>[A-Za-z]+)|(?P<mark>.)",
        re.DOTALL,
    )


_PATTERNS = {(grouped, euler): _pattern(grouped, euler) for grouped in (0, 1) for euler in (0, 1)}


def tokenize(text: str, *, grouped: bool, euler: bool, in_text: bool = False) -> list[Token]:
    """The tokens of a simplified text.

    Args:
      text: what `simplify` returns.
      grouped: read `1,234` as one number, not as two.
      euler: read `2e-3` as 2 e - 3, not as 0.002.
      in_text: whether it stands inside of `\\text{}`.

    Raises:
      Unreadable: a brace that is not closed, or too many tokens.
    """
    pattern, found, position, spaced = _PATTERNS[grouped, euler], [], 0, False
    while position < len(text):
        match = pattern.match(text, position)
        kind, value = match.lastgroup, match[0]
        position = match.end()
        if kind == "space":
            spaced = True
            continue
        if kind == "command" and value[1:] in _TEXT | _FONTS:
            inside, position = _argument(text, position)
            is_text = value[1:] in _TEXT or len(inside.strip()) > 1
            inner = tokenize(inside, grouped=grouped, euler=euler, in_text=is_text)
            spaced = spaced or inside[:1].isspace()
            found += [
                token._replace(spaced=True) if spaced and not n else token for n, token in enumerate(inner)
            ]
            spaced = inside[-1:].isspace()
        else:
            kind = "text" if in_text and kind == "letters" else kind
            found.append(Token(kind, value.replace(_JOIN, ""), spaced))
            spaced = False
        if len(found) > MAX_TOKENS:
            raise Unreadable(f"it is longer than {MAX_TOKENS} tokens")
    return found


def _argument(text: str, position: int) -> tuple[str, int]:
    while text[position : position + 1].isspace():
        position += 1
    if text[position : position + 1] != "{":
        return text[position : position + 1], position + 1
    end = group_ends(text[position:]).get(0)
    if end is None:
        raise Unreadable("a brace is not closed")
    return text[position + 1 : position + end - 1], position + end
