"""Logging of one job: everything into its log file, mistakes of the user as one line."""

import logging
import sys
import time
from pathlib import Path

from clustersae.runtime.errors import InputError

logger = logging.getLogger("clustersae")


def to(path: str | Path) -> None:
    """Send log records to `path`, and uncaught exceptions there and to standard error.

    An InputError appears as its message alone; any other exception with its traceback.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, traceback) -> None:
    if issubclass(kind, InputError):
        logger.error("%s", error)
        print(f"error: {error}", file=sys.stderr)
    else:
        logger.critical("Uncaught exception", exc_info=(kind, error, traceback))
        sys.__excepthook__(kind, error, traceback)


class Progress:
    """Progress of a loop with an estimate of the time left.

    On a terminal one line is rewritten in place; the log gets a plain line now and then.
    """

    def __init__(self, label: str, total: int, log_every: float = 15.0) -> None:
        self.label, self.total, self.log_every = label, total, log_every
        self.started = self.logged = self.drawn = self.asked = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` of `total` steps are finished; cheap enough for every step."""
        now = time.monotonic()
        if now - self.drawn >= 0.5 and sys.stderr.isatty():
            self.drawn = now
            print(f"\r\x1b[K{self._line(done, now)} {note}", end="", file=sys.stderr, flush=True)
        if now - self.logged >= self.log_every or done == self.total:
            self.logged = now
            logger.info("%s %s", self._line(done, now), note)

    def rate(self, steps: int) -> float:
        """Steps per second, for the `steps` done since this was last asked."""
        now = time.monotonic()
        elapsed, self.asked = now - self.asked, now
        return steps / max(elapsed, 1e-9)

    def close(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self, done: int, now: float) -> str:
        elapsed = now - self.started
        left = f"{elapsed * (self.total - done) / done:.0f} s left" if done else "estimating"
        return (
            f"{self.label}: {done}/{self.total} ({100 * done / max(self.total, 1):.0f} %), {left}"
        )
