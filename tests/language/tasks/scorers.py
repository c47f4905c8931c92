"""Scorers for the verifier, good and bad; the standard library only, so that the helper imports them fast."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time


def equal(item, text):
    return float(item == text)


def _loop():
    while True:
        pass


def _ignore_termination():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _loop()


def _swallow_everything():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


FAULTS = {
    "raises": lambda: 1 / 0,
    "exits": lambda: sys.exit(0),
    "recurses": lambda: (f := lambda: f())(),
    "kills the child": lambda: os._exit(0),
    "segfaults": lambda: ctypes.string_at(0),
    "returns None": lambda: None,
    "returns text": lambda: "yes",
    "nan": lambda: float("nan"),
    "infinite": lambda: float("-inf"),
    "loops": _loop,
    "sleeps": lambda: time.sleep(60),
    "ignores SIGTERM": _ignore_termination,
    "swallows exceptions": _swallow_everything,
    "hangs in C": lambda: re.match("(a+)+$", "a" * 40 + "b"),
}


def faulty(item, text):
    """The fault that the text names, else whether the text is right."""
    return FAULTS[text]() if text in FAULTS else item == text


def starts_a_process(item, text):
    """Write down the id of a process that would live for a minute, then wait for it."""
    process = subprocess.Popen(["sleep", "60"])
    with open(item, "w") as file:
        file.write(str(process.pid))
    process.wait()


def sleeps(item, text):
    """Write down who sleeps, then do."""
    with open(item, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(60)


def noisy(item, text):
    print("to the standard output", flush=True)
    print("to the standard error", file=sys.stderr, flush=True)
    os.write(1, b"straight to the descriptor")
    return float(sys.stdin.read() == "")


def environment(item, text):
    """Whether the helper leaves accelerators alone and strings hash alike in every run."""
    return os.environ["JAX_PLATFORMS"] == "cpu" and not sys.flags.hash_randomization


def who(item, text):
    """The helper's process id: the parent of the child that scores."""
    return os.getppid()


def slow_start(item, text):
    return float(slow_start.ready)


def _prepare():
    time.sleep(0.4)
    slow_start.ready = True


slow_start.ready = False
slow_start.prepare = _prepare


def talkative(item, text):
    """Print the item, then hang if asked to."""
    print(item, end="")
    if text == "sleeps":
        time.sleep(60)
    return 1.0


def _look_up(key):
    return {}[key]


def wrong(item, text):
    """Fail in the way that the text names, in this file or another."""
    if text == "divides":
        return 1 / 0
    if text == "index":
        return [][0]
    if text.startswith("missing"):
        return _look_up(text)
    if text == "leaves":
        os._exit(3)
    if text == "sleeps":
        time.sleep(60)
    return {"None": None, "text": "0.5", "nan": float("nan"), "right": 1}[text]
