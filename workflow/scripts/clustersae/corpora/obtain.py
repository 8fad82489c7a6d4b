"""The file of a named corpus: from the cache, or downloaded, unpacked and checked into it."""

import functools
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import pooch

from clustersae.corpora.named import VARIABLE, NamedCorpus
from clustersae.runtime.errors import InputError

CHUNK_BYTES = 1 << 18

#: Times that a failed download is begun again, after pauses of 1, 2, 3, … seconds.
RETRIES = 4

#: Seconds without a connection or a byte after which an attempt has failed.
TIMEOUT = 30.0

#: Set to 1 by those who want nothing downloaded, of the hub or elsewhere.
OFFLINE = "HF_HUB_OFFLINE"


def obtain(corpus: NamedCorpus, folder: Path) -> Path:
    """The corpus's file in `folder`, which is downloaded if it is not there.

    A file that is there is not checked here but by its reader. One that is downloaded gets its
    name once it is whole and its checksum right, so jobs may fetch it at the same time.

    Raises:
        InputError: the file cannot be had, or not be written; with the ways out.
    """
    target = folder / corpus.file
    if target.is_file():
        return target
    if os.environ.get(OFFLINE, "").lower() in ("1", "on", "yes", "true"):
        raise _absent(corpus, folder, f"{OFFLINE} forbids a download", "unset it and run again")
    source = pooch.create(
        path=folder,
        base_url="",
        registry={corpus.file: f"{corpus.algorithm}:{corpus.checksum}"},
        urls={corpus.file: corpus.url},
        retry_if_failed=RETRIES,
    )
    downloader: Any = functools.partial(_download, corpus)
    try:
        source.fetch(corpus.file, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        advice = "see to it that this folder can be written and that there is a network"
        raise _absent(corpus, folder, f"{corpus.url}: {_line(error)}", advice) from error
    return target


def _absent(corpus: NamedCorpus, folder: Path, reason: str, advice: str) -> InputError:
    return InputError(
        f"Corpus {corpus.name} is not in {folder} ({reason}). Ways out: {advice}; put"
        f" {corpus.file} there by hand, from {corpus.url}; name the folder that holds it as"
        f" corpus.cache or in {VARIABLE}; or give a copy of it as corpus.path."
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


class _Bounded:
    """A file that takes no more than it should ever hold: neither a download without an end nor
    an archive that unpacks to terabytes fills the disk."""

    def __init__(self, file: IO[bytes], n_bytes: int) -> None:
        self._file, self._left, self._most = file, n_bytes, n_bytes

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more has come than the {self._most} bytes of the text")
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _download(corpus: NamedCorpus, url: str, output_file: str, source: pooch.Pooch) -> None:
    """What pooch calls to fill `output_file`, whose checksum it then compares.

    Archives are unpacked on the way: it is the checksum of the text that is published.
    """
    os.remove(output_file)  # it was made readable to this user alone; a cache may be shared
    progress = sys.stderr.isatty()
    http = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK_BYTES, timeout=TIMEOUT)
    if not corpus.zipped:
        with open(output_file, "wb") as file:
            http(url, _Bounded(file, corpus.n_bytes), source)
        return
    with tempfile.TemporaryFile(dir=Path(output_file).parent) as archive:
        http(url, _Bounded(archive, corpus.n_bytes), source)
        try:
            with (
                zipfile.ZipFile(archive) as opened,
                opened.open(corpus.file) as text,
                open(output_file, "wb") as unpacked,
            ):
                shutil.copyfileobj(text, _Bounded(unpacked, corpus.n_bytes), CHUNK_BYTES)
        except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
            raise ValueError(f"what has come is no whole zip archive of it: {error}") from None
