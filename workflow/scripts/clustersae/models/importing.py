"""Bring a language model from a directory, a GGUF file or the Hub into the results folder.

Only safetensors and GGUF weights are read: pickle files can run code when they are opened.
"""

import dataclasses
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from clustersae.corpora.tokenizer import read_tokenizer
from clustersae.experiment.shape import text_facts
from clustersae.experiment.sources import INDEX, WEIGHTS, check_complete, gguf_file
from clustersae.models import gguf, loading
from clustersae.models.anatomy import describe
from clustersae.models.description import DTYPES
from clustersae.models.size import check_size
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import GIVEN, read_object, replacing, write_json
from clustersae.runtime.tensors import load_tensors, open_tensors, save_tensors
from clustersae.runtime.words import counted

logger = logging.getLogger(__name__)


def import_model(
    place: str,
    output_dir: Path,
    on_hub: bool = False,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dtype: str = "float32",
    device_map: str | None = None,
) -> None:
    """Make `output_dir` a complete model: config, one weight file, tokenizer and description.

    Args:
        place: the model's directory or GGUF file, or its repository on the Hub
            ("EleutherAI/pythia-160m").
        revision: branch, tag or commit on the Hub; the commit it stands for is recorded.
        trust_remote_code: lets Python code from the model's own directory run. Off unless the
            user asked for it.
        dtype: number format that later jobs run the model in, "auto" for that of its config.json.
        device_map: "auto" lets later jobs spread the model over several GPUs.

    Raises:
        InputError: the model cannot be fetched, is incomplete, has only pickle weights, is not a
            causal language model that TransformerLens knows, or has no tokenizer that can be
            read. Whether the tokenizer is the model's own shows with the text.
    """
    folder = fetch(place, revision, trust_remote_code) if on_hub else Path(place)
    # The Hub's cache names each snapshot after its commit.
    commit = folder.name if on_hub else None
    output_dir = Path(output_dir)
    file = None if on_hub else gguf_file(folder)
    if file:
        gguf.convert(file, output_dir)
    else:
        _copy_config(folder, output_dir)
        check_complete(folder)
        _copy_tokenizer(folder, output_dir)
        _copy_weights(folder, output_dir / WEIGHTS)
        if trust_remote_code:
            for code in folder.glob("*.py"):
                _copy(code, output_dir / code.name)
        else:
            n_bytes = (output_dir / WEIGHTS).stat().st_size
            check_size(loading.read_config(output_dir), folder / "config.json", n_bytes)

    description = describe(output_dir, place, commit, trust_remote_code)
    described = dataclasses.replace(
        description, dtype=dtype_name(output_dir, dtype), device_map=device_map
    )
    write_json(output_dir / "description.json", dataclasses.asdict(described))


def fetch(repository: str, revision: str | None = None, with_code: bool = False) -> Path:
    """Download a model from the Hub into its local cache, or find it there; its snapshot folder.

    A broken connection is taken up where it broke, a few times; after that, or when the job is
    killed, files that arrived whole are kept for the next attempt. Honours HF_ENDPOINT,
    HF_HOME and HF_HUB_OFFLINE.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", *(["*.py"] if with_code else [])],
                ignore_patterns=["*/*", "consolidated*"],  # Mistral's own copy of all weights
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        )
    except Exception as error:  # its HTTP library, and so its errors, change with its version
        at = f" at revision {revision}" if revision else ""
        raise InputError(
            f"{repository}{at} could not be fetched from the Hugging Face Hub"
            f" ({first_line(error)}). Check the name and run again (files that arrived"
            " whole are kept); or download it elsewhere, copy it here and give its folder as path"
            " instead of repo; or set HF_HUB_OFFLINE=1 if it is already in the cache (HF_HOME)."
        ) from error


def dtype_name(model_dir: Path, asked: str) -> str:
    """The number format that is meant by `asked`: itself, or for "auto" that of config.json.

    float32 where config.json names none, or one that is no format of a whole model.
    """
    if asked != "auto":
        return asked
    config = read_object(model_dir / "config.json")
    config = {**(config.get("text_config") or {}), **config}
    # Older versions of transformers say torch_dtype.
    named = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return named if named in DTYPES else "float32"


def _copy_config(folder: Path, output_dir: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no config.json: it is not a model directory as"
            " transformers' save_pretrained writes it."
        )
    text_facts(read_object(folder / "config.json", GIVEN), folder / "config.json")  # can be told
    _copy(folder / "config.json", output_dir / "config.json")


def _copy_tokenizer(folder: Path, output_dir: Path) -> None:
    read_tokenizer(folder / "tokenizer.json")  # is one, before it is copied
    _copy(folder / "tokenizer.json", output_dir / "tokenizer.json")
    config = folder / "tokenizer_config.json"
    facts = read_object(config, GIVEN) if config.is_file() else {}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **_special_names(folder), **facts}
    write_json(output_dir / config.name, settings)


def _special_names(folder: Path) -> dict[str, str | list[str]]:
    """What special_tokens_map.json calls the special tokens.

    transformers reads that file of old models only, and tokenizer_config.json of all.
    """
    path = folder / "special_tokens_map.json"
    if not path.is_file():
        return {}

    def name(key: str, token: Any) -> str:
        content = token.get("content") if isinstance(token, dict) else token
        if not isinstance(content, str):
            raise InputError(
                f"{path}: {key} is {json.dumps(token)}, but must be a text, or have one as"
                f" content. {GIVEN}"
            )
        return content

    names: dict[str, str | list[str]] = {}
    for key, value in read_object(path, GIVEN).items():
        if value and isinstance(value, list):
            names["extra_special_tokens"] = [name(key, token) for token in value]
        elif value and key.endswith("_token"):
            names[key] = name(key, value)
    return names


def _copy_weights(folder: Path, output: Path) -> None:
    if (folder / WEIGHTS).is_file():
        with open_tensors(folder / WEIGHTS):  # whose header is then known to be true
            _copy(folder / WEIGHTS, output)
    else:
        _merge(folder, output)


def _merge(folder: Path, output: Path) -> None:
    """Write the weights that lie in several files into one; they are mapped, not loaded."""
    where = read_object(folder / INDEX, GIVEN).get("weight_map")
    if not isinstance(where, dict) or not all(map(_is_plain, where.values())):
        raise InputError(
            f"{folder / INDEX} does not say in which .safetensors file beside it each tensor is"
            " (weight_map): a file elsewhere is not read. Fetch the model again."
        )
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(set(where.values())):
        tensors |= load_tensors(folder / name)[0]
    missing = where.keys() - tensors.keys()
    if missing:
        raise InputError(
            f"The weight files in {folder} lack {counted(len(missing), 'tensor')} that {INDEX}"
            f" lists, such as {min(missing)}. Fetch the model again."
        )
    logger.info("Merging %d weight files into one", len(set(where.values())))
    save_tensors(output, tensors, {"format": "pt"})


def _is_plain(name: Any) -> bool:
    """Whether a file of weights is named, and one of this folder."""
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")


def _copy(source: Path, target: Path) -> None:
    """Copy a file whole or not at all.

    No hard link: Snakemake stamps the time on what a job made, which would touch the user's own
    file, and a later change of that file would reach into the results.
    """
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
