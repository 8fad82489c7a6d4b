"""Questions asked until they are answered, within bounds."""

import logging
import threading
from typing import Any

from clustersae.experiment.judge import check_address
from clustersae.features.judge.questions import Malformed, Question
from clustersae.features.judge.store import Store, digest
from clustersae.runtime.errors import InputError

logger = logging.getLogger(__name__)

#: Questions without any reply, with none replied to between them, after which a judge is given up.
PATIENCE = 10

#: Answers that every question would get: a wrong address, key or model, or no money left.
_HOPELESS = (401, 402, 404, 405)


class Stopped(Exception):
    """Another thread has given up, or the job is being ended."""


class Judge:
    """A language model behind an endpoint that speaks as OpenAI's does; many threads may ask it.

    A malformed reply is asked for again, `retries` times at most; those of earlier runs count:
    they are in the store. So is, by the client, what fails on the way; it keeps to the pauses
    that the endpoint asks for.

    Args:
        base_url: up to where `/chat/completions` follows.
        model: its name there.
        key: None for an endpoint that asks for none. No message of this class holds it.
        timeout: seconds to wait for an answer.

    Raises:
        InputError: an address or key that cannot be one, or no `openai` package.
    """

    def __init__(
        self, base_url: str, model: str, key: str | None, store: Store, timeout: float, retries: int
    ) -> None:
        _check(base_url, key)
        self.base_url, self.model, self._key = base_url.rstrip("/"), model, key
        self.store, self.retries = store, retries
        self.n_replies = self.n_lost = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost_in_a_row = 0
        self._reason = ""
        try:
            import openai  # here, since only those who have a judge need it
        except ImportError:
            raise InputError(
                "The judge needs the openai package: pip install"
                " 'clustered-sparse-autoencoders[judge]', or set evaluation.judge.base_url to null."
            ) from None
        self._openai = openai
        self._client = openai.OpenAI(
            base_url=self.base_url,
            api_key=key or "none",  # without one, the client would look for one by itself
            timeout=timeout,
            max_retries=retries,
        )
        self._headers = {} if key else {"Authorization": openai.Omit()}
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it writes a line per request

    def ask(self, question: Question) -> Any | None:
        """What the question reads from the judge's reply; None if it remains unanswered.

        Raises:
            InputError: the endpoint takes no questions, or has given no reply for long.
            Stopped: `stop` was called.
        """
        key = digest([self.base_url, self.model, question.messages])
        replies = self.store.replies(key)
        for earlier in replies:
            try:
                return question.read(earlier)
            except Malformed:
                continue
        for attempt in range(len(replies), self.retries + 1):
            if self._stop.is_set():
                raise Stopped
            # First the most likely words. A model would then repeat itself.
            reply = self._reply(question.messages, None if attempt else 0.0)
            if reply is None:
                return None
            self.store.add(key, reply)
            try:
                return question.read(reply)
            except Malformed as error:
                logger.info("The judge gave a malformed answer: %s", error)
        return None

    def stop(self) -> None:
        """Let threads ask nothing more, nor again what they ask now."""
        self._stop.set()
        self._client.close()

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

    def _reply(self, messages: list[Any], temperature: float | None) -> str | None:
        """What the model says, "" if nothing; None if no reply comes to this question.

        Args:
            temperature: None for the model's own.
        """
        completion: Any = None
        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                temperature=self._openai.omit if temperature is None else temperature,
                extra_headers=self._headers,
            )
        except self._openai.APIStatusError as error:
            if error.status_code in _HOPELESS:
                raise self._hopeless(error.message) from None
            if error.status_code == 400 and temperature is not None:
                return self._reply(messages, None)  # some models take none but their own
            self._lost(error.message)
            return None
        except self._openai.OpenAIError as error:
            self._lost(f"{error} {error.__cause__ or ''}")
            return None
        except RuntimeError:
            if not self._stop.is_set():
                raise
            raise Stopped from None  # the client was closed
        except ValueError:
            pass  # no JSON
        try:
            reply = _text_of(completion.choices[0].message.content)
        except (AttributeError, LookupError, TypeError):
            self._lost("the answer is no chat completion; is base_url right?")
            return None
        with self._lock:
            self.n_replies += 1
            self._lost_in_a_row = 0
        return reply

    def _lost(self, reason: str) -> None:
        """Count a question that gets no reply."""
        with self._lock:
            self._reason = f"{self.base_url}: {self._line(reason)}"
            logger.warning("A question got no reply: %s", self._reason)
            self.n_lost += 1
            self._lost_in_a_row += 1
            if self._lost_in_a_row >= PATIENCE:
                raise self._given_up()

    def _hopeless(self, said: str) -> InputError:
        key = "a key was sent" if self._key else "no key was sent: the variable is not set"
        return InputError(
            f"The judge at {self.base_url} answers: {self._line(said)}. Check evaluation.judge:"
            f" base_url, model, and the environment variable named by key_variable ({key})."
            " Answers so far are kept."
        )

    def _given_up(self) -> InputError:
        return InputError(
            f"The judge does not reply ({self._reason}). See evaluation.judge, or wait, and run"
            " again: answers so far are kept."
        )

    def _line(self, text: str) -> str:
        """The beginning of what an endpoint says, on one line and without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:200]


def _text_of(content: Any) -> str:
    """Of a message, which models that think may give in parts; "" of none.

    Raises:
        AttributeError, LookupError, TypeError: it is no message.
    """
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if not isinstance(content, str | None):
        raise TypeError(f"{type(content).__name__} is no text")
    return content or ""


def _check(base_url: str, key: str | None) -> None:
    check_address("", base_url)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError(
            "The judge's key has spaces, line breaks or foreign letters in it. Set its"
            " environment variable (evaluation.judge.key_variable) to the key alone."
        )
