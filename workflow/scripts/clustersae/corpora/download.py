"""One file from the web: continued where it broke off, tried again, and never an error page."""

import contextlib
import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clustersae.runtime.log import Progress

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 18

#: An attempt that brings so many bytes was no failure: patience begins anew.
PROGRESS_BYTES = 1 << 20

#: Bytes per second below which a connection counts as stalled.
LEAST_RATE = 1024

#: Answers that may be different the next time; so may all of 500 and above.
_PASSING = (408, 425, 429)


@dataclass(frozen=True)
class Patience:
    """How long to go on with a download that fails. Times in seconds."""

    attempts: int = 6  # in a row that bring hardly anything
    first_pause: float = 1.0  # before the second attempt; every later pause doubles
    longest_pause: float = 30.0
    timeout: float = 30.0  # without a connection, or with hardly a byte


class DownloadError(Exception):
    """The file cannot be had; the message says why, `advice` what to do about it."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.advice = advice


class _Passing(Exception):
    """This attempt has failed, the next one may not. `pause`: seconds that the server asks for."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def download(url: str, part: Path, largest: int, patience: Patience) -> None:
    """Fetch `url` into the file `part`, which may hold its beginning already.

    What has arrived stays in `part` when the download fails or the job is killed, and is not
    asked for again. The caller checks the content.

    Args:
        largest: bytes; a server that sends more is given up.

    Raises:
        DownloadError: the server refuses or sends something else, or all attempts have failed.
        OSError: `part` cannot be written.
    """
    attempt, reason = 0, ""
    while attempt < patience.attempts:
        held = _size(part)
        try:
            _attempt(url, part, largest, patience.timeout)
            return
        except _Passing as error:
            attempt = 1 if _size(part) - held >= PROGRESS_BYTES else attempt + 1
            reason = str(error)
            logger.warning("%s: %s (attempt %d)", url, reason, attempt)
            if attempt < patience.attempts:
                pause = max(patience.first_pause * 2 ** (attempt - 1), error.pause)
                time.sleep(min(pause, patience.longest_pause))
    raise DownloadError(
        f"{url}: {reason}, at the last of {patience.attempts} attempts",
        "get online and run again (a download goes on where it broke off)",
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _attempt(url: str, part: Path, largest: int, timeout: float) -> None:
    held = _size(part)
    headers = {"User-Agent": "clustersae", "Accept-Encoding": "identity"}
    if held:
        headers["Range"] = f"bytes={held}-"
    opener = urllib.request.build_opener(_SameHost)
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and held:
                return _check_beyond(error, part, held)
            raise _failure(url, error) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(_reason(error)) from None
    with response:
        start = _start(response, part, held)
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        _check_kind(url, response, total, largest)
        _store(url, response, part, start, total, largest, timeout)


def _check_beyond(error: urllib.error.HTTPError, part: Path, held: int) -> None:
    """The server has nothing after the `held` bytes: they are all, or not from this file."""
    if error.headers.get("Content-Range", "").replace(" ", "") == f"bytes*/{held}":
        return
    part.unlink()
    raise _Passing("what was here already is no beginning of the file")


def _failure(url: str, error: urllib.error.HTTPError) -> Exception:
    """What a status other than success means."""
    said = f"the server answers {error.code} {' '.join(str(error.reason).split())[:100]}"
    if error.code in _PASSING or error.code >= 500:
        asked = error.headers.get("Retry-After", "")
        return _Passing(said, float(asked) if asked.isdigit() else 0.0)
    return DownloadError(f"{url}: {said}", "see in a browser where the file is now")


def _start(response: Any, part: Path, held: int) -> int:
    """At which byte of the file the response begins: the server may not do as it was asked."""
    if response.status != 206:
        return 0
    place = re.match(r"bytes\s+(\d+)-", response.headers.get("Content-Range", ""))
    if place is None or int(place[1]) != held:
        part.unlink(missing_ok=True)
        raise _Passing("the server continues at another byte than it was asked to")
    return held


def _check_kind(url: str, response: Any, total: int | None, largest: int) -> None:
    if response.headers.get_content_type() == "text/html":
        raise _web_page(url)
    if total is not None and total > largest:
        raise _too_large(url, largest)


def _store(
    url: str,
    response: Any,
    part: Path,
    start: int,
    total: int | None,
    largest: int,
    timeout: float,
) -> None:
    """Write the body to `part` from byte `start` on."""
    done = start
    label = f"downloading {Path(urlsplit(url).path).name}, bytes"
    progress = Progress(label, (total or largest) - start)
    file: Any = None
    with contextlib.ExitStack() as stack:
        for piece in _pieces(response, timeout):
            if done == 0 and piece.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
                raise _web_page(url)
            done += len(piece)
            if done > largest:
                part.unlink(missing_ok=True)
                raise _too_large(url, largest)
            # Not before there is something to write: an error page leaves no file behind.
            file = file or stack.enter_context(open(part, "ab" if start else "wb"))
            file.write(piece)
            progress.update(done - start)
    progress.close()
    if total is not None and done < total:
        raise _Passing(f"the connection broke off after {done} of {total} bytes")
    if done == 0:
        raise _Passing("the server sends an empty file")


def _pieces(response: Any, timeout: float) -> Iterator[bytes]:
    """The body in pieces; a connection that stands still or drips counts as broken off."""
    since, gained = time.monotonic(), 0
    try:
        while piece := response.read1(PIECE_BYTES):
            yield piece
            gained += len(piece)
            elapsed = time.monotonic() - since
            if elapsed >= timeout:
                if gained < LEAST_RATE * elapsed:
                    raise TimeoutError
                since, gained = time.monotonic(), 0
    except TimeoutError:
        raise _Passing(f"hardly a byte has come for {timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(_reason(error)) from None


def _web_page(url: str) -> DownloadError:
    return DownloadError(
        f"{url}: a web page has come instead of the file",
        "see in a browser what it says (a login of the network, perhaps), and run again",
    )


def _too_large(url: str, largest: int) -> DownloadError:
    return DownloadError(
        f"{url}: more has come than the {largest} bytes that the file can have",
        "see in a browser what is there now",
    )


def _reason(error: BaseException) -> str:
    """What a failed connection says, on one line."""
    error = getattr(error, "reason", None) or error
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"the connection failed ({' '.join(str(error).split())[:200] or type(error).__name__})"


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects within a server, e.g. to https; elsewhere may be a network's login page."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        same = _bare(old.hostname) == _bare(new.hostname) and new.scheme in ("http", "https")
        if not same:
            raise DownloadError(
                f"{req.full_url}: the server redirects to {newurl[:200]}",
                "see in a browser what is there (a login of the network, perhaps), and run again",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _bare(host: str | None) -> str:
    return (host or "").removeprefix("www.")
