"""The parent's end of the helper process: one per process, started when first needed, restarted when it dies."""

import atexit
import builtins
import codecs
import importlib.util
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from jaxlab.core import InputError, MissingPackage
from jaxlab.language.tasks import _worker

_PATIENCE = 2.0
_MOST = 1 << 20  # more than a pipe holds
_MARK = "JAXLAB_HELPER"
_OURS = {"InputError": InputError, "MissingPackage": MissingPackage}
_IMPORTABLE = "a scorer runs in another process: define it in a module, or install cloudpickle"


class _Helper:
    """A running helper and the pipes to it."""

    def __init__(self):
        # Without hash randomisation: some generators walk over sets of strings, and would differ from run to run.
        # Without accelerators: those belong to the parent.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "JAX_PLATFORMS": "cpu", _MARK: "1"}
        self.owner = os.getpid()
        replies, their_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-u", _worker.__file__, str(their_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[their_end],
            env=environment,
            start_new_session=True,
        )
        os.close(their_end)
        self._replies = os.fdopen(replies, "rb")
        decoder = codecs.getincrementaldecoder("utf-8")
        self._printed = {
            self._process.stdout: ("stdout", decoder("replace")),
            self._process.stderr: ("stderr", decoder("replace")),
        }
        self._send(sys.path)

    def _send(self, message: Any) -> None:
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def request(self, kind: str, payload: bytes) -> tuple[str, Any]:
        """One question, one answer; what is printed meanwhile is shown at once, and before the answer comes back."""
        self._send((kind, payload))
        while self._replies not in wait([self._replies, *self._printed]):
            self._show_printed()
        self._show_printed()
        return pickle.load(self._replies)

    def _show_printed(self) -> None:
        for stream in wait([*self._printed], timeout=0):
            name, decoder = self._printed[stream]
            data = os.read(stream.fileno(), _MOST)
            if not data:
                del self._printed[stream]
            target = getattr(sys, name)  # now, since notebooks and tests exchange it
            encoding = getattr(target, "encoding", None) or "utf-8"
            text = decoder.decode(data, final=not data)
            print(text.encode(encoding, "replace").decode(encoding), end="", file=target, flush=True)

    def close(self) -> None:
        """End it and its child, whatever they are doing."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr, self._replies):
            try:
                pipe.close()
            except BrokenPipeError:
                continue


_lock = threading.Lock()
_running: list[_Helper] = []


def _close() -> None:
    while _running:
        helper = _running.pop()
        if helper.owner == os.getpid():
            helper.close()


atexit.register(_close)


def _request(kind: str, payload: bytes) -> tuple[str, Any]:
    """Ask the helper; one that was killed from outside is replaced once."""
    for last_try in (False, True):
        if not _running or _running[0].owner != os.getpid():
            _running[:] = [_Helper()]
        try:
            return _running[0].request(kind, payload)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            _close()
            if last_try:
                raise RuntimeError("the helper process died twice; is there enough memory?") from error
        except BaseException:  # interrupted between question and answer: the pipes are out of step
            _close()
            raise
    raise AssertionError("unreachable")


def ask(kind: str, function: Any, *args: Any) -> Any:
    """What the helper makes of a picklable function: its value ("call"), or the scores it gives ("score").

    An exception in the helper comes back as one of the same type, if that is built in or the library's own.
    """
    payload = _dumps((function, *args))
    with _lock:
        status, value = _request(kind, payload)
    if status == "value":
        return value
    message, where = value
    if status == "AttributeError" and "__main__" in message:
        raise InputError(f"{_IMPORTABLE}, got {function!r}")
    kind = _OURS.get(status) or getattr(builtins, status, RuntimeError)
    error = (kind if issubclass(kind, Exception) else RuntimeError)(message)
    error.add_note(f"In the helper process:\n{where}")
    raise error


def call_in_helper(function: Callable, *args: Any) -> Any:
    """The function's value in the helper: strings hash there as in every other run, and it keeps its caches."""
    return function(*args) if _MARK in os.environ else ask("call", function, *args)


def _dumps(call: tuple) -> bytes:
    """By value where that is possible, so that functions of a notebook work too."""
    try:
        if importlib.util.find_spec("cloudpickle"):
            import cloudpickle

            return cloudpickle.dumps(call)
        return pickle.dumps(call)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"{_IMPORTABLE}, got {call[0]!r}: {error}") from error
