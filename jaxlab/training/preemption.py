"""Being asked to stop: SIGTERM or Ctrl-C set a flag that the loop reads between chunks."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

EXIT_CODE = 75
"""Exit status of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""


class Preempted(Exception):
    """The run was asked to stop and has saved its state.

    Attributes:
      step: the step of the checkpoint.
    """

    def __init__(self, step: int):
        super().__init__(f"stopped at step {step}")
        self.step = step


@contextlib.contextmanager
def watch(signals: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)) -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM and the first Ctrl-C only set a flag; a second Ctrl-C interrupts as usual.

    Args:
      signals: those that are watched.

    Yields:
      A function that says whether any process of the run was asked to stop. All processes of a multi-host run must
      call it at the same steps, since they agree on the answer.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: any_process(asked.is_set())
        return

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGINT and asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield lambda: any_process(asked.is_set())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def any_process(mine: bool) -> bool:
    """Whether it is so in any process of the run; all must ask at the same steps."""
    if jax.process_count() == 1:
        return mine
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(mine)).any())
