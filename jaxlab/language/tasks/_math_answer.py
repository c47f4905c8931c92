"""Free-form mathematical answers, compared by value."""

import importlib.util
import re
import threading

_SECONDS = 5
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}")


def math_answer_matches(prediction: str, reference: str) -> bool:
    """Whether a free-form answer has the value of the reference, by way of math-verify.

    A text without words is one formula. In any other the last expression counts: LaTeX in `$...$` or `\\boxed{...}`,
    or else a plain number or fraction. Equal strings match. It may take seconds, or for ever outside of the main
    thread: score many answers with `verify_text(math_score, references, predictions)`.

    Args:
        prediction: any text.
        reference: the right answer.

    Returns:
        True if they are mathematically equal.

    Raises:
        ModuleNotFoundError: math-verify is not installed.

    Reference: math-verify, Kydlicek, 2025; its default extraction and comparison, which are not symmetric.

    >>> math_answer_matches("So it must be $0.5$.", r"\\frac{1}{2}")
    True
    """
    if importlib.util.find_spec("math_verify") is None:
        raise ModuleNotFoundError('math_answer_matches needs math-verify: pip install "jaxlab[language]"')
    from math_verify import verify

    if prediction.strip() == reference.strip():
        return bool(reference.strip())
    expected, found = (_expressions(text, _limit()) for text in (reference, prediction))
    return bool(expected and found) and verify(expected, found, timeout_seconds=_limit())


def math_score(reference: str, text: str) -> float:
    """1 if the text's answer has the value of the reference, else 0: `math_answer_matches` for `verify_text`.

    Args:
        reference: the right answer.
        text: any text.

    Returns:
        0.0 or 1.0.

    Reference: see `math_answer_matches`.

    >>> math_score("42", "It is 12 + 30 = 42")
    1.0
    """
    return float(math_answer_matches(text, reference))


def _load() -> None:
    math_answer_matches("$x^2 + 1$", "$1 + x^2$")


math_score.prepare = _load  # the import and the first parse take half a second


def _limit() -> int | None:
    """math-verify's own limit is an alarm, which only the main thread can set."""
    return _SECONDS if threading.current_thread() is threading.main_thread() else None


def _expressions(text: str, seconds: int | None) -> list:
    from math_verify import parse

    is_formula = "$" not in text and "\\boxed" not in text and not _WORD.search(text)
    return (is_formula and parse(f"${text}$", parsing_timeout=seconds)) or parse(
        text, parsing_timeout=seconds
    )
