"""Seconds and memory of building a corpus of 100 MB; prints, asserts nothing.

    python tests/benchmarks/named_corpus.py [megabytes]

Random bytes of 205 values, as many as enwik8 has, in a folder for temporary files (TMPDIR), which
takes five times their size. Memory is the highest resident set of the process.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from build_corpus import main

from clustersae.corpora import characters
from clustersae.corpora.build import CorpusFiles

N_CTX = 256
PIECE = 1_000_000
NAMES = ("train.safetensors", "validation.safetensors", "test.safetensors", "corpus.json")


def measure(megabytes: int, folder: Path) -> None:
    path = folder / "text"
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(megabytes):
            file.write(rng.integers(20, 225, PIECE, dtype=np.uint8).data)
    before = _peak()
    started = time.perf_counter()
    symbols = characters.read_symbols(path)
    letters = characters.alphabet(symbols)
    characters.encode(symbols, letters)
    print(f"bytes to ids: {time.perf_counter() - started:.2f} s, {len(letters)} symbols")
    del symbols
    settings = {"source": "named", "name": "enwik8", "path": str(path), "checksum": "any"}
    started, cpu_started = time.perf_counter(), time.process_time()
    files = CorpusFiles(*(folder / name for name in NAMES))
    main(files, folder / "a.json", folder / "b.json", None, settings, N_CTX, asked={})
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    print(
        f"{megabytes} MB read, checked, encoded and written: {seconds:.2f} s ({cpu_seconds:.2f} s"
        f" of processor time), {_peak():.0f} MB at most, {before:.0f} MB of them before"
    )


def _peak() -> float:
    """Megabytes; Linux counts in kibibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100, Path(temporary))
