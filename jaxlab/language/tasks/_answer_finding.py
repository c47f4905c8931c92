"""Where in a text its answer is."""

import bisect
import itertools
import re
from collections.abc import Iterator

from jaxlab.language.tasks._answer_tokens import group_ends, segments
from jaxlab.language.tasks._answer_units import is_unit_word

_Segment = tuple[int, int, str]
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+(?!\{)([^$\n]+?)(?=\s*(?:\$|\n|\.\s|\.?\s*\Z))")
_MAX_CHARACTERS = 20_000  # of a longer text the end
_IS = (
    r"(?:\s+to\s+[^.:\n]{1,40}?)?\**\s*(?:is|are|will be|would be|must be|equals|:|=)(?!\w)"
    r"\s*(?:therefore|thus|then|equal to|given by|simply)?[\s:]*"
)
_MARKER = re.compile(rf"####|\b(?:answer|solution|result|option|choice)s?{_IS}", re.IGNORECASE)
_FINAL = re.compile(rf"\bfinal answers?{_IS}", re.IGNORECASE)
_BETWEEN = re.compile(r"(?:\\quad|\\[()\[\]]|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|[\s,;.$])*")
_SENTENCE = re.compile(r"[.!?](?=\s|$|\*|\")|\n")
_NOT = re.compile(r"\b(?:not|than)\s*$")
_LETTER = re.compile(r"(?![aAI]\b)[A-Za-z]'?")
_FUNCTION = re.compile(r"-?(?:sin|cos|tan|ln|log|sqrt|exp|pi|abs)(?![a-z])")
_MATHEMATICAL = re.compile(r"[\d=+*/^\\<>|√π∞≤≥±×÷−½¼¾²³°]|^[-(\[{]")
_CHOSEN = re.compile(r"[\s*:]*(?:\(([A-Ha-h])\)|([A-H])(?=[\s.,:;)*]|$))")
_NAMED = re.compile(r"\b(?:answer|option|choice)(?=\s*\(|\s+[A-H]\b)", re.IGNORECASE)
_OFFERED = re.compile(r"\(([A-H])\)")
_TRAILING = ".,;:!?*\"'"


def candidates(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces of a text that may be its answer, the likeliest first, and whether a piece decides whatever it says.

    The last `<answer>`, then the last boxes, then what follows "answer is" or the like, the text as a whole, its last
    line, and backwards through its sentences the last formulas or else the last number in prose.
    """
    text = _answer_part(text)
    boxes, after = boxed(text)
    if boxes:
        if final := list(_FINAL.finditer(text, after)):
            yield from _after_marker(text[final[-1].end() :])
        yield boxes, True
        return
    if markers := list(_MARKER.finditer(text)):
        yield from _after_marker(text[markers[-1].end() :])
    yield _bare(text), False
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        yield _bare(lines[-1]), False
    for sentence in reversed(_sentences(text)):
        if found := [
            each for each in segments(sentence) if not _NOT.search(sentence, max(0, each[0] - 9), each[0])
        ]:
            yield _joined(sentence, found), False
        yield from ((span, False) for span in reversed(spans(sentence)))


def choice(text: str) -> str | None:
    """The letter that a text chooses: behind "answer is" or the like, or else the last one in parentheses."""
    text = _answer_part(text)
    if boxed(text)[0]:
        return None
    for marker in (_MARKER, _NAMED):
        if chosen := [
            found for match in marker.finditer(text) if (found := _CHOSEN.match(text, match.end()))
        ]:
            return (chosen[-1][1] or chosen[-1][2]).upper()
    return (_OFFERED.findall(text) or [None])[-1]


def _answer_part(text: str) -> str:
    text = text[-_MAX_CHARACTERS:].rpartition("</think>")[2]
    text = _BARE_BOX.sub(lambda match: rf"\boxed{{{match[1]}}}", text)
    start, end = (text.lower().rfind(tag) for tag in ("<answer>", "</answer>"))
    return (text[start + len("<answer>") : end] if 0 <= start < end else text).strip()


def boxed(text: str) -> tuple[str | None, int]:
    """The content of the last box, or of several with nothing but commas and words between; and where it ends."""
    found: list[_Segment] = []
    ends = group_ends(text)
    for match in _BOX.finditer(text):
        end = ends.get(match.end() - 1, 0)
        inside = text[match.end() : end - 1]
        if end and inside.strip() and (not found or match.start() >= found[-1][1]):
            found.append((match.start(), end, inside))
    if not found:
        return None, 0
    return re.sub(r"\\(?:boxed|fbox)(?=\s*\{)", "", _joined(text, found)), found[-1][1]


def _joined(text: str, found: list[_Segment]) -> str:
    """The last pieces that belong together."""
    first = len(found) - 1
    while first and _BETWEEN.fullmatch(text[found[first - 1][1] : found[first][0]]):
        first -= 1
    pieces = [inside.strip().rstrip(".,;") for _, _, inside in found[first:]]
    between = [text[one[1] : other[0]] for one, other in itertools.pairwise(found[first:])]
    joints = [
        next((word for word in ("or", "and") if re.search(rf"\b{word}\b", each)), ",") for each in between
    ]
    return pieces[0] + "".join(f" {joint} {piece}" for joint, piece in zip(joints, pieces[1:]))


def _bare(text: str) -> str:
    """Without Markdown's marks and the end of the sentence."""
    text = text.strip()
    if text.startswith(("**", "__")) and text.endswith(("**", "__", "**.")):
        text = text.strip("*_. ")
    text = text.strip("`")
    return text if text.endswith("...") else text.rstrip(" .,;:")


def _sentences(text: str) -> list[str]:
    """Cut at full stops and line ends that are not inside of a formula, and behind a formula that ends in one."""
    formulas = segments(text)
    edges = [edge for start, stop, _ in formulas for edge in (start, stop)]
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    ends = [end for end in ends if bisect.bisect_left(edges, end) % 2 == 0]
    ends += [stop for _, stop, inside in formulas if inside.rstrip().endswith(".")]
    places = sorted({0, *ends, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(places) if text[start:end].strip()]


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
    """Runs of words in a line that look like mathematics, each with the words behind it that are its unit."""
    words, found, current = line.split(), [], []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        joins = current and word in ("and", "or", "-", "x") and _looks_mathematical(following)
        if joins or _looks_mathematical(word):
            current.append(word)
            if word[-1:] in ".;:?" or word.endswith((".**", ".*")):
                found, current = _ended(found, current, []), []
        elif current:
            found, current = _ended(found, current, words[place : place + 3]), []
        if word in ("not", "than") and _looks_mathematical(following):
            words[place + 1] = ""
    return _ended(found, current, []) if current else found


def _looks_mathematical(word: str) -> bool:
    core = word.strip(_TRAILING + "()$")
    return bool(
        _LETTER.fullmatch(core) or _FUNCTION.match(core) or _MATHEMATICAL.search(word.strip(_TRAILING))
    )


def _ended(found: list[str], current: list[str], behind: list[str]) -> list[str]:
    text = re.sub(rf"^[{_TRAILING} ](?!\d)|[{_TRAILING} ]+$", "", " ".join(current))
    if not re.search(r"\d|\\|π|[A-Za-z]\s*[=+*/^<>-]|√|∞|½|[=+*/^<>-]\s*[A-Za-z]|-?\bpi\b", text):
        return found
    units = itertools.takewhile(is_unit_word, (word.strip(_TRAILING) for word in behind))
    return [*found, " ".join([text, *units])]
