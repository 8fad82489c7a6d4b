"""Which files a local language model consists of: a Hugging Face directory, or one GGUF file."""

from pathlib import Path

from clustersae.experiment.paths import RULE
from clustersae.runtime.errors import InputError

GGUF = ".gguf"


def gguf_file(path: str | Path) -> Path | None:
    """The GGUF file that `path` names or holds; None if `path` is a Hugging Face directory.

    A directory that has a config.json is one, whatever else lies in it.

    Raises:
        InputError: `path` is neither, or holds several GGUF files.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix == GGUF:
            return path
        raise InputError(
            f"{path} is a file, but no GGUF file. Give a Hugging Face directory, or a file that"
            f" ends in {GGUF}."
        )
    if not path.is_dir():
        raise InputError(f"{path} is not a directory, and no GGUF file. {RULE}")
    if (path / "config.json").is_file():
        return None
    files = sorted(path.glob(f"*{GGUF}"))
    if len(files) > 1:
        raise InputError(
            f"{path} holds {len(files)} GGUF files. Give the path of one of them, such as"
            f" {files[0]}."
        )
    if not files:
        raise InputError(
            f"{path} has no config.json, so it is not a Hugging Face model directory. Save the"
            " model there with save_pretrained, or correct the path."
        )
    return files[0]
