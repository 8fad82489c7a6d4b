"""What later jobs must know of a language model; found out by `models.anatomy`."""

import dataclasses
import hashlib
from pathlib import Path

from clustersae.runtime import written
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json

#: TransformerLens's name of the activation that everything here reads: the residual stream after
#: block l. SAEs carry it, so that other tools know where they belong.
HOOK = "blocks.{l}.hook_resid_post"

#: Number formats that a model may run in, as torch names them.
DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """Facts about a language model, as `model/description.json` holds them."""

    n_layers: int
    """Number of transformer blocks."""
    d_model: int
    """Width of the residual stream."""
    n_ctx: int
    """Longest sequence the model reads, in tokens."""
    vocab_size: int
    """Rows of the embedding; every token id is below it."""
    bos_id: int | None
    """Id of the token that begins a sequence, if there is one."""
    pad_id: int | None
    """Id of the padding token, if there is one."""
    eos_id: int | None
    """Id of the token that ends a text, if there is one."""
    special_ids: tuple[int, ...]
    """Ids of all special tokens of the tokenizer, these three included, ascending."""
    adds_bos: bool
    """Whether the tokenizer puts BOS in front of a text by itself, as the model was trained."""
    blocks: str
    """Dotted path of the list of blocks in the Hugging Face model, e.g. "transformer.h"."""
    restartable: bool
    """Whether the model can be run from the output of a block on, skipping the blocks up to it.
    False where later blocks read more than the residual stream (e.g. keys of earlier blocks)."""
    fingerprint: str
    """SHA-256 over config.json and model.safetensors; marks what was computed from this model."""
    source: str
    """Where the model came from."""
    revision: str | None = None
    """Commit of the Hugging Face repository it came from, if it did."""
    hook: str = HOOK
    """Name of the activation in TransformerLens, with {l} for the layer."""
    trust_remote_code: bool = False
    """Whether the user allowed Python code from the model's repository to run."""
    dtype: str = "float32"
    """Number format that the model runs in, one of DTYPES."""
    device_map: str | None = None
    """"auto" if the model is spread over all GPUs that a job sees, None if it fits one."""
    n_block_weights: int | None = None
    """Parameters of all blocks together, without embedding and unembedding; None in descriptions
    of earlier versions."""


def read_description(path: str | Path) -> ModelDescription:
    """Read `description.json`; `path` is that file or the model directory that holds it."""
    path = Path(path)
    path = path / "description.json" if path.is_dir() else path
    try:
        facts = read_json(path)
        return ModelDescription(**{**facts, "special_ids": tuple(facts.get("special_ids", ()))})
    except TypeError as error:
        raise InputError(
            f"{path} was written by another version ({error}). Delete it and run again."
        ) from None


def fingerprint(model_dir: Path) -> str:
    """SHA-256 over config.json and model.safetensors; see `written.sha256`."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        path = Path(model_dir) / name
        if not path.is_file():
            raise InputError(f"{path} does not exist: {model_dir} is not a complete model.")
        digest.update(bytes.fromhex(written.sha256(path)))
    return digest.hexdigest()
