"""The helper process: calls functions for its parent, and scores answers in children that can be killed.

Run as a script, with nothing but the standard library, so that it starts fast. It is single-threaded and has no
accelerator, hence it may fork where its parent, a JAX process full of threads, may not. Requests come on the
standard input, replies leave on the descriptor it is told of, one pickle each; what anybody prints goes to the
parent, which shows it. It ends when its parent does.
"""

import ctypes
import math
import os
import pickle
import select
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SCORED, RAISED, TIMED_OUT, NOT_FINITE = "scored", "raised", "timed_out", "not_finite"
_SIZE = struct.Struct("<I")
_LONGEST = 4000  # characters of a report
_SIGNAL_ON_PARENTS_DEATH = 1  # of prctl, Linux only


class Result(NamedTuple):
    """What came of one answer; where that is no score, the kind of failure, and a report for people."""

    status: str
    score: float = 0.0
    kind: str = ""
    report: str = ""


def call(function: Callable, *args: Any) -> Any:
    """The function's value."""
    return function(*args)


def score(
    scorer: Callable[[Any, str], float], pairs: Sequence[tuple[Any, str]], seconds: float
) -> list[tuple]:
    """The fields of a `Result` for every answer, in order; a child that hangs or dies is replaced by the next one."""
    getattr(scorer, "prepare", tuple)()  # here, so that every child inherits it
    results: list[Result] = []
    while len(results) < len(pairs):
        results += _score_in_child(scorer, pairs[len(results) :], seconds)
    seen: set[str] = set()
    for i, result in enumerate(results):  # one report per kind is enough
        results[i] = result._replace(report="") if result.kind in seen else result
        seen.add(result.kind)
    return list(map(tuple, results))


def _score_in_child(scorer, pairs, seconds):
    """The results up to the first answer that hangs or kills the child, that one included."""
    reader, writer = os.pipe()
    helper, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reader)
        _be_child(scorer, pairs, writer, helper)
    os.close(writer)
    try:
        return _collect(reader, len(pairs), seconds)
    finally:
        os.close(reader)
        _kill(child)


def _collect(reader: int, count: int, seconds: float) -> list[Result]:
    results = []
    while len(results) < count:
        ready, _, _ = select.select([reader], [], [], seconds)
        if not ready:
            told = f"the scorer took longer than {seconds:g} s; its imports count, unless scorer.prepare() has them"
            return [*results, Result(TIMED_OUT, kind=TIMED_OUT, report=told)]
        size = _read(reader, _SIZE.size)
        record = size and _read(reader, *_SIZE.unpack(size))
        if not record:
            told = "the process of the scorer died: by os._exit, by a signal, or for want of memory"
            return [*results, Result(RAISED, kind="died", report=told)]
        results.append(Result(*pickle.loads(record)))
    return results


def _read(reader: int, size: int) -> bytes:
    """So many bytes, or none where the other end closed before."""
    found = b""
    while len(found) < size and (more := os.read(reader, size - len(found))):
        found += more
    return found if len(found) == size else b""


def _be_child(scorer, pairs, writer, helper):
    """Score one answer after another and never come back."""
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with(helper)
        for item, text in pairs:
            record = pickle.dumps(tuple(_score_one(scorer, item, text)))
            os.write(writer, _SIZE.pack(len(record)) + record)
    finally:
        os._exit(0)


def _die_with(helper: int) -> None:
    """A child that hangs must not outlive a helper that is killed; elsewhere than on Linux it may."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_ON_PARENTS_DEATH, signal.SIGKILL)
    if os.getppid() != helper:
        os._exit(0)


def _score_one(scorer, item, text) -> Result:
    try:
        value = scorer(item, text)
    except BaseException as error:  # a scorer may well raise SystemExit
        return _raised(error)
    try:
        number = None if isinstance(value, (str, bytes)) or getattr(value, "ndim", 0) else float(value)
    except BaseException:
        number = None
    kind = f"returned {type(value).__name__}"
    if number is None:
        return Result(
            RAISED, 0.0, kind, f"the scorer returned {_shown(value)}: one number is due for one answer"
        )
    if not math.isfinite(number):
        return Result(NOT_FINITE, 0.0, f"returned {number}", f"the scorer returned {number}")
    return Result(SCORED, number)


def _raised(error: BaseException) -> Result:
    """The scorer's own traceback, and a kind: the type, and where in the scorer's file it came up.

    Messages differ from answer to answer, as does the place where a package or executed code gives up.
    """
    own = error.__traceback__.tb_next
    frames = traceback.extract_tb(own)
    lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
    place = f" at {frames[0].filename}:{lines[-1]}" if frames else ""
    try:
        report = "".join(traceback.format_exception(type(error), error, own)).rstrip()
    except BaseException:  # its message may fail, too
        report = type(error).__name__
    if not frames:
        report += "\na scorer is called as scorer(item, text), for one answer at a time"
    if len(report) > _LONGEST:
        report = f"{report[: _LONGEST // 4]}\n...\n{report[-_LONGEST // 2 :]}"
    return Result(RAISED, 0.0, f"{type(error).__name__}{place}", report)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.200}"
    except BaseException:
        return f"a {type(value).__name__}"


def _kill(child: int) -> None:
    """End the child and whatever it has started."""
    for kill in (os.killpg, os.kill):  # the group exists only once the child has come that far
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os.waitpid(child, 0)


def _answer(kind: str, payload: bytes) -> tuple[str, Any]:
    try:
        return "value", {"call": call, "score": score}[kind](*pickle.loads(payload))
    except Exception as error:
        return type(error).__name__, (str(error), traceback.format_exc())


def main(replies_to: int) -> None:
    """Serve until the input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(replies_to, "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # through the `finally` that ends the child
    sys.path[:] = pickle.load(requests)
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        reply = _answer(*request)
        try:
            pickle.dump(reply, replies)
            replies.flush()
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
