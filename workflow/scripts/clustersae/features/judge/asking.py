"""Questions asked until they are answered, within bounds."""

import logging
import threading
import time
from typing import Any

from clustersae.features.judge.endpoint import Endpoint, Refused, Unavailable
from clustersae.features.judge.questions import Malformed, Question
from clustersae.features.judge.store import Store, digest
from clustersae.runtime.errors import InputError

logger = logging.getLogger(__name__)

#: Questions without any reply, with none replied to between them, after which a judge is given up.
PATIENCE = 10


class Stopped(Exception):
    """Another thread has given up, or the job is being ended."""


class Judge:
    """A language model that answers questions; many threads may ask it.

    A question is asked `1 + retries` times at most. Its malformed replies of earlier runs count:
    they are in the store. An endpoint that says when to come back keeps all threads waiting.

    Args:
        first_pause: seconds before a question is asked again; the next pauses double.
        longest_pause: seconds, also if the endpoint asks for more.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: Store,
        retries: int,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
    ) -> None:
        self.endpoint, self.store, self.retries = endpoint, store, retries
        self.first_pause, self.longest_pause = first_pause, longest_pause
        self.n_replies = self.n_lost = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost_in_a_row = 0
        self._resume_at = 0.0
        self._reason = ""

    def ask(self, question: Question) -> Any | None:
        """What the question reads from the judge's reply; None if it remains unanswered.

        Raises:
            InputError: the endpoint takes no questions, or has given no reply for long.
            Stopped: `stop` was called.
        """
        key = digest([self.endpoint.base_url, self.endpoint.model, question.messages])
        replies = self.store.replies(key)
        for reply in replies:
            try:
                return question.read(reply)
            except Malformed:
                continue
        # First the most likely words. A model would then repeat itself, and some accept no
        # temperature but their own.
        temperature = None if replies else 0.0
        lost = False
        for attempt in range(len(replies), self.retries + 1):
            self._wait_for_turn()
            try:
                reply = self.endpoint.reply(question.messages, temperature)
            except Refused as error:
                lost, self._reason = True, str(error)
                if temperature is None:
                    break
                temperature = None
            except Unavailable as error:
                lost, self._reason = True, str(error)
                if attempt < self.retries:
                    self._pause(attempt - len(replies), error.wait)
            else:
                lost, temperature = False, None
                self.store.add(key, reply)
                self._replied()
                try:
                    return question.read(reply)
                except Malformed as error:
                    logger.info("The judge gave a malformed answer: %s", error)
        if lost:
            self._count_lost()
        return None

    def stop(self) -> None:
        """Let threads that ask or wait end soon."""
        self._stop.set()

    def conclude(self) -> None:
        """Say what remains unanswered.

        Raises:
            InputError: the endpoint has been asked and has never replied.
        """
        if self.n_lost and not self.n_replies:
            raise self._given_up()
        if self.n_lost:
            logger.warning(
                "%d questions got no reply (the last: %s). Delete the scores and run again to ask"
                " only these.",
                self.n_lost,
                self._reason,
            )

    def _wait_for_turn(self) -> None:
        # Another thread may prolong the wait; each makes it no longer than the longest pause.
        while (left := self._resume_at - time.monotonic()) > 0:
            self._sleep(left)
        self._sleep(0)

    def _pause(self, attempt: int, asked: float | None) -> None:
        if asked is None:
            self._sleep(min(self.first_pause * 2**attempt, self.longest_pause))
            return
        with self._lock:
            until = time.monotonic() + min(asked, self.longest_pause)
            self._resume_at = max(self._resume_at, until)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped

    def _replied(self) -> None:
        with self._lock:
            self.n_replies += 1
            self._lost_in_a_row = 0

    def _count_lost(self) -> None:
        logger.warning("A question got no reply: %s", self._reason)
        with self._lock:
            self.n_lost += 1
            self._lost_in_a_row += 1
            if self._lost_in_a_row >= PATIENCE:
                raise self._given_up()

    def _given_up(self) -> InputError:
        return InputError(
            f"The judge does not reply ({self._reason}). See evaluation.judge, or wait, and run"
            " again: answers so far are kept."
        )
