"""Corpora of the literature, by name: where they come from, how they are checked and split.

Imported by the Snakefile, so it loads nothing heavy.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clustersae.runtime.environment import user_cache

#: Names the folder of downloaded corpora where the configuration does not.
VARIABLE = "CLUSTERSAE_DATA"

#: corpus.checksum of a file that is meant to differ from the published one.
ANY = "any"


@dataclass(frozen=True)
class NamedCorpus:
    """A text of one symbol per byte, as published."""

    name: str
    url: str
    file: str  # in the cache; also what it is called inside an archive
    n_bytes: int  # of the file, unpacked
    algorithm: str  # of the published checksum: md5 or sha256
    checksum: str  # of the file, unpacked
    splits: Mapping[str, tuple[int, int]]  # from where to where, in thousandths of the text

    @property
    def zipped(self) -> bool:
        return self.url.endswith(".zip")

    def bounds(self, n_bytes: int) -> dict[str, tuple[int, int]]:
        """First byte of each split and the one after its last, in a text of `n_bytes`."""
        return {
            split: (n_bytes * start // 1000, n_bytes * stop // 1000)
            for split, (start, stop) in self.splits.items()
        }


# The last 10 M of 100 M characters: half for validation, half for test (Al-Rfou et al. 2018).
_LARGE = {"train": (0, 900), "validation": (900, 950), "test": (950, 1000)}

NAMED = {
    corpus.name: corpus
    for corpus in (
        # Published losses on it are of the whole last tenth, and there is no test split: so that
        # the language model's validation loss can be compared, validation is the whole tenth, and
        # test its second half. SAEs are tested there, and may be chosen on the first half alone.
        NamedCorpus(
            "shakespeare_char",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt",
            "tinyshakespeare.txt",
            1_115_394,
            "sha256",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            {"train": (0, 900), "validation": (900, 1000), "test": (950, 1000)},
        ),
        NamedCorpus(
            "enwik8",
            "http://mattmahoney.net/dc/enwik8.zip",
            "enwik8",
            100_000_000,
            "md5",
            "a1fa5ffddb56f4953e226637dabbb36a",
            _LARGE,
        ),
        NamedCorpus(
            "text8",
            "http://mattmahoney.net/dc/text8.zip",
            "text8",
            100_000_000,
            "md5",
            "3bea1919949baf155f99411df5fada7e",
            _LARGE,
        ),
    )
}


def cache_folder(configured: str | None) -> Path:
    """Where downloaded corpora lie: what the configuration, else the environment names, else
    the user's cache.

    Raises:
        InputError: nothing is named, and there is no home folder.
    """
    named = configured or os.environ.get(VARIABLE)
    return Path(os.path.expanduser(named)) if named else user_cache()
