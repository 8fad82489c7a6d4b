"""Which local files a language model or a data set consists of, and whether they are there."""

import os
from pathlib import Path

from clustersae.experiment.paths import RULE
from clustersae.runtime.errors import InputError

GGUF = ".gguf"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def gguf_file(path: str | Path) -> Path | None:
    """The GGUF file that `path` names or holds; None if `path` is a Hugging Face directory.

    A directory that has a config.json is one, whatever else lies in it.

    Raises:
        InputError: `path` is neither, or holds several GGUF files.
    """
    path = Path(path)
    if os.path.isfile(path):  # Path would fail at a name too long
        if path.suffix == GGUF:
            return path
        raise InputError(
            f"{path} is a file, but no GGUF file. Give a Hugging Face directory, or a file that"
            f" ends in {GGUF}."
        )
    if not os.path.isdir(path):
        raise InputError(f"{path} is not a directory, and no GGUF file. {RULE}")
    if (path / "config.json").is_file():
        return None
    files = sorted(path.glob(f"*{GGUF}"))
    if len(files) > 1:
        raise InputError(
            f"{path} holds {len(files)} GGUF files. Give the path of one of them, such as"
            f" {files[0]}."
        )
    if (path / "adapter_config.json").is_file() and not files:
        raise InputError(
            f"{path} holds an adapter (adapter_config.json), not a model: join it to its model with"
            " PEFT's merge_and_unload(), and save what that gives with save_pretrained."
        )
    # As of the Hub's cache, or of a run's checkpoints.
    inner = sorted([*path.glob("*/config.json"), *path.glob("snapshots/*/config.json")])
    if inner and not files:
        raise InputError(
            f"{path} has no config.json, but {inner[-1].parent} has one: give the path of that"
            " folder."
        )
    if not files:
        raise InputError(
            f"{path} has no config.json, so it is not a Hugging Face model directory. Save the"
            " model there with save_pretrained, or correct the path."
        )
    return files[0]


def check_complete(folder: Path) -> None:
    """A Hugging Face directory has its weights as safetensors, and a fast tokenizer.

    Raises:
        InputError: names what is missing and how to make it.
    """
    if not (folder / WEIGHTS).is_file() and not (folder / INDEX).is_file():
        others = sorted(folder.glob("*.safetensors"))
        if others:
            raise InputError(
                f"{folder} holds neither {WEIGHTS} nor {INDEX}, but {others[0].name}: rename it to"
                f" {WEIGHTS} if it has all weights; if they lie in several files, put the index"
                " beside them."
            )
        if any(file for kind in ("bin", "pt", "pth") for file in folder.glob(f"*.{kind}")):
            raise InputError(
                f"{folder} holds its weights as pickle only, which can run code when opened."
                " Convert it where you trust it, with transformers:"
                ' AutoModelForCausalLM.from_pretrained("…").save_pretrained("…"), which writes'
                " safetensors."
            )
        raise InputError(
            f"{folder} holds neither {WEIGHTS} nor {INDEX}: the weights are missing, or only other"
            " formats (pickle .bin, say) were published. Use a revision or a copy with safetensors."
        )
    if not (folder / "tokenizer.json").is_file():
        raise InputError(
            f"{folder} holds no tokenizer.json. Write one with"
            ' transformers.AutoTokenizer.from_pretrained("…").save_pretrained("…") and put it'
            " there."
        )


def model_files(path: str | Path, with_code: bool = False) -> list[Path]:
    """The files that a model is imported from: a GGUF file, or those of a directory.

    Args:
        with_code: also Python files, which `trust_remote_code` lets run.

    Raises:
        InputError: as `gguf_file`.
    """
    packed = gguf_file(path)
    if packed:
        return [packed]
    patterns = ("*.json", "*.safetensors", *(["*.py"] if with_code else []))
    return [file for pattern in patterns for file in sorted(Path(path).glob(pattern))]


def dataset_files(dataset: str | None) -> list[Path]:
    """All files of a data set that is a folder or a file here; nothing if it is on the Hub.

    Hidden ones are left out, as the datasets library does.
    """
    if not dataset:
        return []
    place = Path(dataset)
    if place.is_file():
        return [place]

    def is_hidden(file: Path) -> bool:
        return any(part.startswith(".") for part in file.relative_to(place).parts)

    files = (file for file in sorted(place.rglob("*")) if file.is_file())
    return [file for file in files if not is_hidden(file)]
