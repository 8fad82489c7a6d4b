"""One request to an endpoint that speaks as OpenAI's chat completions do.

The key goes into the request's header and nowhere else: no message of this module holds it.
"""

import http.client
import json
import math
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from clustersae.runtime.errors import InputError

#: Bytes of the longest body read.
LARGEST = 1 << 24

#: Answers that every question would get: a wrong address, key or model, or no money left.
_HOPELESS = (301, 302, 303, 307, 308, 401, 402, 404, 405)
#: Answers that may be another one in a while, as are all from 500 on.
_PASSING = (408, 409, 425, 429)


class Unavailable(Exception):
    """No answer for now.

    Args:
        wait: seconds after which the endpoint asks to be tried again; None if it did not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Refused(Exception):
    """The endpoint does not take this question."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected question would lose its body, and show the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Endpoint:
    """Where a judge is asked.

    Args:
        base_url: up to where `/chat/completions` follows.
        model: its name there.
        key: None for an endpoint that asks for none.
        timeout: seconds to wait for an answer.

    Raises:
        InputError: an address or key that cannot be one.
    """

    def __init__(self, base_url: str, model: str, key: str | None, timeout: float) -> None:
        if not _is_address(base_url):
            raise InputError(
                f"evaluation.judge.base_url is {base_url!r}, which is no address: write one such as"
                " http://localhost:8000/v1."
            )
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise InputError(
                "The judge's key has spaces, line breaks or foreign letters in it. Set its"
                " environment variable (evaluation.judge.key_variable) to the key alone."
            )
        self.base_url, self.model, self.timeout = base_url.rstrip("/"), model, timeout
        self._key = key
        self._opener = urllib.request.build_opener(_NoRedirect)

    def reply(self, messages: list[dict[str, str]], temperature: float | None) -> str:
        """What the model says, "" if nothing; at its own temperature if `temperature` is None.

        Raises:
            Unavailable: time-out, no connection, too many requests, or no such answer as expected.
            Refused: the endpoint will not take this question.
            InputError: it would take no question at all.
        """
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if temperature is not None:
            body["temperature"] = temperature
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "User-Agent": "clustersae"},
        )
        if self._key is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        deadline = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return self._content(self._read(response, deadline))
        except urllib.error.HTTPError as error:
            with error:
                raise self._failure(error, deadline) from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{self.base_url}: {self._start(reason)}") from None

    def _read(self, response: Any, deadline: float) -> bytes:
        """The body, however slowly it drips."""
        pieces, size = [], 0
        while piece := response.read1(1 << 16):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
            if size > LARGEST:
                raise Unavailable(f"{self.base_url}: an answer of more than {LARGEST} bytes")
        return b"".join(pieces)

    def _failure(self, error: urllib.error.HTTPError, deadline: float) -> Exception:
        if error.code in _HOPELESS:
            key = "a key was sent" if self._key else "no key was sent: the variable is not set"
            return InputError(
                f"The judge at {self.base_url} answers {error.code} {self._start(error.reason)}."
                " Check evaluation.judge: base_url, model, and the environment variable named by"
                f" key_variable ({key}). Answers so far are kept."
            )
        try:
            said = self._read(error, deadline).decode(errors="replace")
        except (OSError, http.client.HTTPException, Unavailable):
            said = ""  # the status says enough
        reason = f"{self.base_url}: {self._start(f'{error.code} {error.reason} {said}')}"
        if error.code in _PASSING or error.code >= 500:
            return Unavailable(reason, _retry_after(error.headers.get("Retry-After")))
        return Refused(reason)

    def _content(self, body: bytes) -> str:
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            start = self._start(body.decode(errors="replace"))
            raise Unavailable(
                f"{self.base_url}: no choices[0].message.content in the answer {start!r}"
            ) from None
        return content if isinstance(content, str) else ""

    def _start(self, text: str) -> str:
        """The beginning of what an endpoint says, on one line and without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:200]


def _is_address(base_url: str) -> bool:
    try:
        parts = urlsplit(base_url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _retry_after(header: str | None) -> float | None:
    """Seconds from now: the header holds them, or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        # A date without a zone is in UTC.
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
