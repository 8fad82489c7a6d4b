"""Logging of one job: everything into its log file, mistakes of the user as one line."""

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clustersae.runtime.errors import InputError, first_line

logger = logging.getLogger("clustersae")

#: Seconds between two lines of progress in the log.
LOG_EVERY = 15.0

#: Without a bar, so that it reads well in a log.
_FORMAT = "{desc}: {n_fmt}/{total_fmt} ({percentage:.0f} %), {remaining} left, {rate_fmt}{postfix}"
_ENDLESS = "{desc}: {n_fmt}, {rate_fmt}{postfix}"

#: Where no job knows better, see `runtime.memory`.
_OUT_OF_MEMORY = (
    "The memory of the GPU ran out. Lower activations.batch_rows or evaluation.batch_rows, the rows"
    " of a pass of text, or let fewer jobs share the GPU."
)


class _File(logging.FileHandler):
    """A log that ends where the disk is full; what went wrong is told on standard error as well."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def to(path: str | Path) -> None:
    """Send log records to `path`, and uncaught exceptions there and to standard error.

    An InputError appears as its message alone, and so does a GPU whose memory ran out, of which
    the log has more; any other exception appears with its traceback.

    Raises:
        InputError: no log can be written there.
    """
    sys.excepthook = _report
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = _File(path, mode="w", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The log {path} cannot be written ({error.strerror}). Mend that, and run again."
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def warn(message: str) -> None:
    """Tell the user of something that is no mistake: in the log and on standard error."""
    logger.warning("%s", message)
    print(f"warning: {message}", file=sys.stderr)


def _report(kind: type[BaseException], error: BaseException, traceback) -> None:
    if issubclass(kind, InputError):
        if logger.hasHandlers():  # there is a log
            logger.error("%s", error)
        print(f"error: {error}", file=sys.stderr)
        return
    logger.critical("Uncaught exception", exc_info=(kind, error, traceback))
    if kind.__name__ == "OutOfMemoryError":  # of PyTorch, which not every job imports
        print(f"error: {_OUT_OF_MEMORY} ({first_line(error)})", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


class Progress(tqdm):
    """Progress of a loop, with an estimate of the time left.

    On a terminal one line is rewritten in place; the log gets a plain line now and then, and one
    at the end. `update` takes the steps done since it was last called, and is cheap enough for
    every step. Where nobody knows the end (`total` None), only what is done is told.
    """

    monitor_interval = 0  # no thread: every update looks at the clock

    def __init__(
        self, label: str, total: int | None, initial: int = 0, disable: bool = False
    ) -> None:
        self.logged = time.monotonic()
        super().__init__(
            **{"desc": label, "total": total, "initial": initial, "disable": disable},
            **{"leave": False, "mininterval": 0.5, "miniters": 1},
            bar_format=_ENDLESS if total is None else _FORMAT,
        )

    def note(self, text: str) -> None:
        """What to say beside the numbers from the next update on."""
        self.set_postfix_str(text, refresh=False)

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        if time.monotonic() - self.logged >= LOG_EVERY:
            self._log()
        return sys.stderr.isatty() and super().display(msg, pos)

    def close(self) -> None:
        if not self.disable:
            self._log()
        super().close()

    def _log(self) -> None:
        self.logged = time.monotonic()
        logger.info("%s", str(self))


# tqdm's own lock is shared with processes that were forked: where one of them is killed while it
# holds the lock, all others would wait for ever.
Progress.set_lock(threading.RLock())
