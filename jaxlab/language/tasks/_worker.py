"""The helper process: calls functions for its parent, and scores answers in children that can be killed.

Run as a script, with nothing but the standard library, so that it starts fast. It is single-threaded and has no
accelerator, hence it may fork where its parent, a JAX process full of threads, may not. Requests come on the
standard input, replies leave on the standard output, one pickle each; it ends when its parent does.
"""

import ctypes
import os
import pickle
import select
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

DONE, RAISED, TIMED_OUT = range(3)
_RECORD = struct.Struct("<Bd")
_SIGNAL_ON_PARENTS_DEATH = 1  # of prctl, Linux only


def call(function: Callable, *args: Any) -> Any:
    """The function's value."""
    return function(*args)


def score(
    scorer: Callable[[Any, str], float], pairs: Sequence[tuple[Any, str]], seconds: float
) -> list[tuple[int, float]]:
    """Status and score of every answer, in order; a child that hangs or dies is replaced by the next one."""
    getattr(scorer, "prepare", tuple)()  # here, so that every child inherits it
    results: list[tuple[int, float]] = []
    while len(results) < len(pairs):
        results += _score_in_child(scorer, pairs[len(results) :], seconds)
    return results


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


def _collect(reader: int, count: int, seconds: float) -> list[tuple[int, float]]:
    results = []
    while len(results) < count:
        ready, _, _ = select.select([reader], [], [], seconds)
        # A record is shorter than a pipe's atomic size, so there is a whole one or none.
        record = os.read(reader, _RECORD.size) if ready else b""
        if not record:
            return [*results, (RAISED if ready else TIMED_OUT, 0.0)]
        results.append(_RECORD.unpack(record))
    return results


def _be_child(scorer, pairs, writer, helper):
    """Score one answer after another, silently, and never come back."""
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with(helper)
        _silence(0, 1, 2)
        for item, text in pairs:
            os.write(writer, _score_one(scorer, item, text))
    finally:
        os._exit(0)


def _die_with(helper: int) -> None:
    """A child that hangs must not outlive a helper that is killed; elsewhere than on Linux it may."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_ON_PARENTS_DEATH, signal.SIGKILL)
    if os.getppid() != helper:
        os._exit(0)


def _score_one(scorer, item, text) -> bytes:
    try:
        return _RECORD.pack(DONE, float(scorer(item, text)))
    except BaseException:  # a scorer may well raise SystemExit
        return _RECORD.pack(RAISED, 0.0)


def _kill(child: int) -> None:
    """End the child and whatever it has started."""
    for kill in (os.killpg, os.kill):  # the group exists only once the child has come that far
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os.waitpid(child, 0)


def _silence(*descriptors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _answer(kind: str, payload: bytes) -> tuple[str, Any]:
    try:
        return "value", {"call": call, "score": score}[kind](*pickle.loads(payload))
    except Exception as error:
        return type(error).__name__, str(error)


def main() -> None:
    """Serve until the input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _silence(0, 1)
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
    main()
