"""Error rates of judges of mathematical answers, on pairs of prediction and reference decided by hand.

`python -m benchmarks.answers` prints them for ours, for math-verify as it comes (extra `bench`), for math-verify with
`$...$` around whatever has no formula marks, and for plain comparison of strings. The pairs are those of the tests. A
reference that nobody can read is right as an error; whoever gives 0 for it is silent.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from jaxlab.core import InputError, MissingPackage
from jaxlab.language.tasks import math_answer_matches
from tests.language.tasks.answers import PAIRS
from tests.language.tasks.answers_later import LATER, LIMITS
from tests.language.tasks.answers_near import NEAR
from tests.language.tasks.answers_other import OTHER

Pair = tuple[str, str, bool | None]
Judge = Callable[[str, str], bool | None]


def ours(prediction: str, reference: str) -> bool | None:
    """The library's; None where it refuses the reference."""
    try:
        return math_answer_matches(prediction, reference)
    except MissingPackage:
        raise
    except InputError:
        return None


def math_verify(prediction: str, reference: str) -> bool:
    """math-verify's own parsing and comparison, both as they come."""
    from math_verify import parse, verify

    return verify(parse(reference), parse(prediction))


def math_verify_wrapped(prediction: str, reference: str) -> bool:
    """The same with `$...$` around what holds neither `$` nor a box."""
    wrap = lambda text: text if "$" in text or "boxed" in text else f"${text}$"
    return math_verify(wrap(prediction), wrap(reference))


def strings(prediction: str, reference: str) -> bool:
    """Equal but for white space around them."""
    return prediction.strip() == reference.strip()


JUDGES: Mapping[str, Judge] = {
    "ours": ours,
    "math-verify": math_verify,
    "math-verify in $": math_verify_wrapped,
    "strings": strings,
}


def lists() -> dict[str, dict[str, list[Pair]]]:
    """The pairs of the tests by list and category; the known limits belong to the list that was written first."""
    limits = [(*pair, verdict) for pair, (verdict, _) in LIMITS.items()]
    later = {
        f"written later: {name}": pairs
        for name, pairs in {**LATER, "last": NEAR, "another author's": OTHER}.items()
    }
    return {"written first": {**PAIRS, "known limits": limits}, **later}


def rates(judge: Judge, pairs: Iterable[Pair]) -> tuple[list[int], list[int]]:
    """How many wrong answers are accepted, right ones refused, unreadable references passed over; of how many."""
    errors, totals = [0, 0, 0], [0, 0, 0]
    for prediction, reference, right in pairs:
        kind = (False, True, None).index(right)
        verdict = judge(prediction, reference)
        totals[kind] += 1
        errors[kind] += bool(verdict) if right is False else verdict is not right
    return errors, totals


def row(name: str, found: Iterable[tuple[list[int], list[int]]]) -> None:
    """One line of the table: for each judge the three counts of errors."""
    found = list(found)
    cells = [" ".join(f"{count:3}" for count in errors) for errors, _ in found]
    print(f"{name:34} {'/'.join(map(str, found[0][1])):>12}   " + "   ".join(f"{cell:>16}" for cell in cells))


def main() -> None:
    """Print errors by category, then rates by list, and how long a judgement takes."""
    logging.disable(logging.CRITICAL)
    print("errors: wrong accepted, right refused, unreadable reference passed over in silence")
    print(f"{'':34} {'of':>12}   " + "   ".join(f"{name:>16}" for name in JUDGES))
    seconds, judged, summary = dict.fromkeys(JUDGES, 0.0), 0, {}
    for title, categories in lists().items():
        print(f"\n{title}")
        whole = {name: ([0] * 3, [0] * 3) for name in JUDGES}
        for category, pairs in categories.items():
            found, judged = [], judged + len(pairs)
            for name, judge in JUDGES.items():
                start = time.perf_counter()
                found.append(rates(judge, pairs))
                seconds[name] += time.perf_counter() - start
                whole[name] = tuple([a + b for a, b in zip(*both)] for both in zip(whole[name], found[-1]))
            row(f"  {category}", found)
        row("  all", whole.values())
        summary[title] = whole
    print("\nper cent: wrong accepted, right refused, unreadable passed over")
    for title, whole in summary.items():
        cells = [" ".join(f"{100 * e / max(t, 1):4.1f}" for e, t in zip(*whole[name])) for name in JUDGES]
        print(f"{title:47}   " + "   ".join(f"{cell:>16}" for cell in cells))
    for name, total in seconds.items():
        print(f"{name}: {1000 * total / judged:.2f} ms an answer")


if __name__ == "__main__":
    main()
