"""Where in a text its answer is."""

import itertools
import re
from collections.abc import Iterator

from jaxlab.language.tasks._answer_tokens import group_end, segments
from jaxlab.language.tasks._answer_units import is_unit_word

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_MARKER = re.compile(
    r"####|\b(?:answer|solution|result|option|choice)s?(?:\s+to\s+[^.:\n]{1,40}?)?\**\s*"
    r"(?:is|are|will be|would be|must be|equals|:|=)(?!\w)\s*(?:therefore|thus|then|equal to|given by|simply)?[\s:]*",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[\s,;.]*(?:\b(?:and|or)\b)?[\s,;]*")
_SENTENCE = re.compile(r"[.!?](?=\s|$|\*|\")|\n")
_LETTER = re.compile(r"(?![aAI]\b)[A-Za-z]'?")
_FUNCTION = re.compile(r"-?(?:sin|cos|tan|ln|log|sqrt|exp|pi|abs)(?![a-z])")
_MATHEMATICAL = re.compile(r"[\d=+*/^\\<>|√π∞≤≥±×÷−½¼¾²³°]|^[-(\[{]")
_TRAILING = ".,;:!?*\"'"


def candidates(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces of a text that may be its answer, the likeliest first, and whether a piece decides whatever it says.

    The last `<answer>`, then the last boxes, then what follows "answer is" or the like, the text as a whole, the last
    formulas in it, and the last number or formula in its prose.
    """
    text = text.rpartition("</think>")[2]
    if tags := _TAG.findall(text):
        text = tags[-1]
    text = text.strip()
    if boxes := boxed(text):
        yield boxes, True
        return
    markers = list(_MARKER.finditer(text))
    if markers:
        yield from _after_marker(text[markers[-1].end() :])
    yield _bare(text), False
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        yield _bare(lines[-1]), False
    if found := segments(text):
        yield _joined(text, found), False
    for line in reversed(lines):
        yield from ((span, False) for span in reversed(spans(line)))


def boxed(text: str) -> str | None:
    """The content of the last box, or of several with nothing but commas and words between them."""
    found = []
    for match in _BOX.finditer(text):
        end = group_end(text, match.end() - 1)
        if end > 0 and (not found or match.start() >= found[-1][1]):
            found.append((match.start(), end, text[match.end() : end - 1]))
    if not found:
        return None
    inside = _joined(text.replace("$", " "), found)
    return boxed(inside) or inside


def _joined(text: str, found: list[tuple[int, int, str]]) -> str:
    """The last pieces that belong together."""
    first = len(found) - 1
    while first and _BETWEEN.fullmatch(text[found[first - 1][1] : found[first][0]].strip("$")):
        first -= 1
    pieces = [inside.strip().rstrip(".,;") for _, _, inside in found[first:]]
    words = text[found[first][1] : found[-1][0]]
    return (
        " or " if re.search(r"\bor\b", words) else " and " if re.search(r"\band\b", words) else ", "
    ).join(pieces)


def _bare(text: str) -> str:
    """Without Markdown's marks and the end of the sentence."""
    text = text.strip()
    if text.startswith(("**", "__")) and text.endswith(("**", "__", "**.")):
        text = text.strip("*_. ")
    text = text.strip("`")
    return text if text.endswith("...") else text.rstrip(" .,;:")


def _after_marker(tail: str) -> Iterator[tuple[str, bool]]:
    tail = tail.lstrip(" \n\t:*_`")
    found = segments(tail)
    if found and found[0][0] == 0:
        last = 0
        while last + 1 < len(found) and _BETWEEN.fullmatch(tail[found[last][1] : found[last + 1][0]]):
            last += 1
        rest = _SENTENCE.split(tail[found[last][1] :])[0]
        together = _joined(tail, found[: last + 1])
        if re.match(r"\s*[A-Za-z°%]", rest) and not re.search("[$=]", rest):  # a unit
            yield f"{together} {_bare(rest)}", False
        yield together, False
        return
    sentence = _bare(_SENTENCE.split(tail)[0])
    yield sentence, False
    yield from ((span, False) for span in spans(sentence)[:1])


def spans(line: str) -> list[str]:
    """Runs of words in a line that look like mathematics, each with the words behind it that may be its unit."""
    words, found, current = line.split(), [], []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if _looks_mathematical(word) or (
            current and word in ("and", "or", "-", "x") and _looks_mathematical(following)
        ):
            current.append(word)
            if word[-1:] in ".;:?" or word.endswith((".**", ".*")):
                found, current = _ended(found, current, []), []
        elif current:
            found, current = _ended(found, current, words[place : place + 3]), []
    return _ended(found, current, []) if current else found


def _looks_mathematical(word: str) -> bool:
    core = word.strip(_TRAILING + "()$")
    return bool(
        _LETTER.fullmatch(core) or _FUNCTION.match(core) or _MATHEMATICAL.search(word.strip(_TRAILING))
    )


def _ended(found: list[str], current: list[str], behind: list[str]) -> list[str]:
    text = " ".join(current).strip(_TRAILING + " ")
    if not re.search(r"\d|\\|π|[A-Za-z]\s*[=+*/^<>-]|√|∞|½|[=+*/^<>-]\s*[A-Za-z]|-?\bpi\b", text):
        return found
    units = itertools.takewhile(is_unit_word, (word.strip(_TRAILING) for word in behind))
    return [*found, " ".join([text, *units])]
