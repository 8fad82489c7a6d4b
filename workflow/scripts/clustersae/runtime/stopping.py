"""Being asked to stop: a scheduler warns a job with a signal before it kills it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What schedulers send when the time is up or a node is wanted back, and what users ask them for.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(SystemExit):
    """The job ends as if the signal had ended it, so that the scheduler tries again."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Stop:
    """Whether the process was asked to stop; `check` is to be called where all is saved."""

    def __init__(self) -> None:
        self.asked_by: int | None = None

    def note(self, number: int, frame: FrameType | None = None) -> None:
        self.asked_by = number

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.asked_by is not None:
            raise Stopped(self.asked_by)


@contextmanager
def listening() -> Iterator[Stop]:
    """While entered, SIGTERM and SIGUSR1 are noted instead of ending the process.

    Only the main thread is told of signals; in another one nothing is noted.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.note) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
