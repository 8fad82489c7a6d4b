"""The file of a named corpus: from the cache, or downloaded, unpacked and checked into it."""

import contextlib
import fcntl
import hashlib
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from clustersae.corpora.download import DownloadError, Patience, download
from clustersae.corpora.named import VARIABLE, NamedCorpus
from clustersae.runtime.errors import InputError

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
ARCHIVE_BYTES = 1 << 12  # at most, that an archive adds to a file that it cannot compress

#: Set to 1 by those who want nothing downloaded, of the hub or elsewhere.
OFFLINE = "HF_HUB_OFFLINE"


def obtain(corpus: NamedCorpus, folder: Path, patience: Patience | None = None) -> Path:
    """The corpus's file in `folder`, which is downloaded if it is not there.

    A file that is there is not checked here but by its reader. One that is downloaded gets its
    name once its checksum is right. Jobs that want the same file at the same time wait for one
    of them.

    Raises:
        InputError: the file cannot be had, or not be written; with the ways out.
    """
    target = folder / corpus.file
    if target.is_file():
        return target
    if os.environ.get(OFFLINE, "").lower() in ("1", "on", "yes", "true"):
        raise _absent(corpus, folder, f"{OFFLINE} forbids a download", "unset it and run again")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{corpus.file}.lock"):
            if not target.is_file():
                _fetch(corpus, target, patience or Patience())
    except DownloadError as error:
        raise _absent(corpus, folder, str(error), error.advice) from None
    except OSError as error:
        raise InputError(
            f"Corpus {corpus.name} cannot be written to {folder} ({error.strerror or error}): mend"
            f" that, or name another folder as corpus.cache or in {VARIABLE}."
        ) from error
    return target


def _absent(corpus: NamedCorpus, folder: Path, reason: str, advice: str) -> InputError:
    return InputError(
        f"Corpus {corpus.name} is not in {folder} ({reason}). Three ways out: {advice}; name the"
        f" folder that holds {corpus.file} as corpus.cache or in {VARIABLE}; or give a copy of"
        f" {corpus.file} as corpus.path."
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among the processes that lock `path`; the lock goes with the process that has it."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another job that downloads the same file")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(corpus: NamedCorpus, target: Path, patience: Patience) -> None:
    """Download, unpack and check, under hidden names beside `target`."""
    part = target.with_name(f".{corpus.file}.part")  # kept by a killed job, for the next one
    unpacked = target.with_name(f".{corpus.file}.unpacked")
    while True:
        continued = part.exists()
        download(corpus.url, part, corpus.n_bytes + ARCHIVE_BYTES, patience)
        try:
            digest = _unpack(part, unpacked, corpus)
            if digest != corpus.checksum:
                raise DownloadError(
                    f"what {corpus.url} has sent has {corpus.algorithm} {digest}, and"
                    f" {corpus.checksum} as published",
                    "run again (nothing of it was kept)",
                )
        except DownloadError:
            part.unlink()
            # Its beginning may have come from another version of the file: once more, afresh.
            if not continued:
                raise
        else:
            os.replace(unpacked, target)
            part.unlink()
            logger.info("%s is now in %s", corpus.name, target)
            return
        finally:
            unpacked.unlink(missing_ok=True)


def _unpack(part: Path, unpacked: Path, corpus: NamedCorpus) -> str:
    """Write the content of what was downloaded to `unpacked`; its checksum."""
    digest = hashlib.new(corpus.algorithm, usedforsecurity=False)
    with open(unpacked, "wb") as file:
        for chunk in _members_chunks(part, corpus) if corpus.zipped else _chunks(part):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _members_chunks(archive: Path, corpus: NamedCorpus) -> Iterator[bytes]:
    """The content of the file inside a zip archive, never more than it should be."""
    size = 0
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(corpus.file) as file:
            while chunk := file.read(CHUNK_BYTES):
                size += len(chunk)
                if size > corpus.n_bytes:
                    raise zipfile.BadZipFile(f"{corpus.file} is larger than {corpus.n_bytes} bytes")
                yield chunk
    except KeyError:
        raise _bad_archive(corpus, f"no {corpus.file} inside") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _bad_archive(corpus, str(error)) from None


def _bad_archive(corpus: NamedCorpus, reason: str) -> DownloadError:
    return DownloadError(
        f"what {corpus.url} has sent is no whole zip archive of it: {reason}",
        "run again (nothing of it was kept)",
    )
