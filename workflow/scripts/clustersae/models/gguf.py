"""Turn a GGUF file into a Hugging Face directory: `python -m clustersae.models.gguf FILE FOLDER`.

transformers reads GGUF and undoes its quantisation, but does not write such a model again. So the
weights that it read are given to a fresh model of the same configuration, which is a model like any
other. Its logits are those of the model that was read.
"""

import argparse
import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clustersae.models.size import check_header, check_size
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import replacing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

#: How llama.cpp names the pieces of a model that it has split.
PIECE = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def convert(file: Path, output_dir: Path) -> None:
    """Write config, float32 weights and tokenizer of the GGUF file `file` into `output_dir`.

    Each of them is complete or absent; config.json comes last.

    Raises:
        InputError: transformers cannot read the file; it is one piece of several; it lacks weights.
    """
    if PIECE.search(file.name):
        raise InputError(
            f"{file} is one piece of a model in several files. Join them with llama.cpp's"
            " llama-gguf-split --merge and give the file that this makes."
        )
    model, tokenizer = _read(file)
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=output_dir) as folder:
        # One file of weights, as everything here reads them.
        _plain(model).save_pretrained(folder, max_shard_size="100TB")
        tokenizer.save_pretrained(folder)
        written = sorted(Path(folder).iterdir(), key=lambda path: path.name == "config.json")
        for path in written:
            with replacing(output_dir / path.name) as temporary:
                os.replace(path, temporary)
    logger.info("Read %s: %s, %d parameters", file, type(model).__name__, model.num_parameters())


def _read(file: Path) -> tuple["PreTrainedModel", Any]:
    """The model, dequantised to float32, and its tokenizer."""
    import transformers
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    options: dict[str, Any] = {
        **{"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    }
    try:
        check_header(file)
        # Alone: transformers would also heed adapters and settings that lie beside the file.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, file.name).symlink_to(file.absolute())
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            check_size(config, file, file.stat().st_size)
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                # Else blocks stay packed where kernels for them are installed.
                quantization_config=transformers.GgufConfig(dequantize=True),
                output_loading_info=True,
                **options,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    except InputError:
        raise
    except Exception as error:  # damaged files break its reader anywhere, with any kind of error
        raise InputError(
            f"transformers cannot read the GGUF file {file}: {_reason(error)} Use a Hugging Face"
            " directory of this model (path), or its repository (repo)."
        ) from error
    model, loading = loaded
    if loading["missing_keys"]:
        raise InputError(
            f"{file} lacks weights that its architecture ({type(model).__name__}) asks for:"
            f" {', '.join(sorted(loading['missing_keys'])[:3])}. They would be random. Use the file"
            " of a whole language model."
        )
    return model, tokenizer


def _plain(model: "PreTrainedModel") -> "PreTrainedModel":
    """A model with the weights of `model` that does not remember a quantisation."""
    from transformers import AutoModelForCausalLM

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):  # no second copy of the weights
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    return plain


def _reason(error: Exception) -> str:
    """The first line of an error, named by its kind, as a sentence."""
    return f"{type(error).__name__}: {first_line(error).rstrip('.')}."


def main() -> None:
    parser = argparse.ArgumentParser(description="Turn a GGUF file into a Hugging Face directory.")
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        convert(given.file, given.folder)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
