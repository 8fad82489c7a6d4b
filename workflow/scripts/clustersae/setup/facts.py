"""What a model and a machine are like, found without loading the model."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clustersae.experiment.layers import MOST_LAYERS
from clustersae.experiment.shape import (
    D_MODEL_KEYS,
    N_CTX_KEYS,
    N_LAYERS_KEYS,
    Shape,
    positive,
    text_facts,
)
from clustersae.experiment.sources import gguf_file
from clustersae.models.loading import read_config
from clustersae.models.size import block_weights
from clustersae.runtime import machine
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import GIVEN, read_object
from clustersae.runtime.machine import Machine

#: Where a model that says it nowhere else has how many tokens it was trained on.
MORE_N_CTX_KEYS = ("n_ctx", "seq_length", "max_seq_len", "context_length")
#: A name of the Hugging Face Hub.
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelFacts:
    """A language model, as its config.json or the head of its GGUF file describes it.

    Attributes:
        key: of the configuration: path or repo.
        place: value of that key.
        n_ctx: longest sequence in tokens; None if it is not said.
        dtype: number format of the weights, as torch names it.
        tokenizer: its tokenizer.json, if there is one.
        n_block_weights: parameters of all blocks; None where transformers does not know the model.
    """

    key: str
    place: str
    n_layers: int
    d_model: int
    vocab_size: int
    n_ctx: int | None
    dtype: str
    tokenizer: Path | None = None
    n_block_weights: int | None = None

    def shape(self, n_ctx: int) -> Shape:
        """The model as it reads rows of `n_ctx` tokens.

        Blocks that are not known are taken for 12·d_model²: attention 4, MLP 8.
        """
        weights = self.n_block_weights or 12 * self.n_layers * self.d_model**2
        return Shape(self.n_layers, self.d_model, n_ctx, self.vocab_size, weights)


def look_at_machine(folder: Path) -> Machine:
    """This machine; the disk is that of `folder`."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return machine.look(folder, gpu)


def look_at_model(place: str) -> ModelFacts:
    """The model at `place`: a Hugging Face directory, a GGUF file, or a repository of the Hub.

    Raises:
        InputError: there is no such model, or it does not say how many layers it has.
    """
    local = Path(os.path.expanduser(place))  # without a home folder as it is, and not there
    if os.path.exists(local):
        packed = gguf_file(local)
        if packed:
            return _packed_facts(packed)
        return _facts("path", str(local), local / "config.json", local / "tokenizer.json")
    if not REPOSITORY.fullmatch(place) or place.startswith("."):
        raise InputError(
            f"--model {place}: there is no such directory or GGUF file, and a repository of the"
            " Hugging Face Hub is written OWNER/NAME."
        )
    config = _from_hub(place, "config.json")
    assert config is not None, "an absent one is an error"
    return _facts("repo", place, config, _from_hub(place, "tokenizer.json", optional=True))


def _from_hub(repository: str, name: str, optional: bool = False) -> Path | None:
    """One file of a repository, by the Hub's cache.

    Honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, endpoint=os.environ.get("HF_ENDPOINT")))
    except EntryNotFoundError as error:
        # Of a file that could not be asked for, the Hub's library says the same.
        if optional and not isinstance(error, LocalEntryNotFoundError):
            return None
        reason: Exception = error
    except Exception as error:  # its HTTP library, and so its errors, change with its version
        reason = error
    raise InputError(
        f"--model {repository} is no folder here, and {name} could not be fetched from the"
        f" Hugging Face Hub ({first_line(reason)}). Check the name and the network, or download"
        " the model elsewhere, copy it here and give its folder."
    ) from reason


def _facts(key: str, place: str, config: Path, tokenizer: Path | None) -> ModelFacts:
    facts = text_facts(read_object(config, GIVEN), config)

    def whole(keys: Sequence[str], most: float = math.inf) -> int:
        found = positive(facts, keys, config, most)
        if found is None:
            raise InputError(
                f"--model {place}: config.json has none of {', '.join(keys)}, so that it is no"
                " language model that this workflow knows."
            )
        return found

    return ModelFacts(
        key,
        place,
        n_layers=whole(N_LAYERS_KEYS, MOST_LAYERS),
        d_model=whole(D_MODEL_KEYS),
        vocab_size=whole(["vocab_size"]),
        n_ctx=next(
            (facts[k] for k in (*N_CTX_KEYS, *MORE_N_CTX_KEYS) if isinstance(facts.get(k), int)),
            None,
        ),
        # Older versions of transformers say torch_dtype.
        dtype=str(facts.get("dtype") or facts.get("torch_dtype") or "float32"),
        tokenizer=tokenizer if tokenizer and tokenizer.is_file() else None,
        n_block_weights=_block_weights(config, facts),
    )


def _block_weights(config: Path, facts: Mapping[str, Any]) -> int | None:
    """Raises InputError for a kind of model that transformers does not know, or not as one of
    language alone."""
    try:
        known = read_config(config.parent)
    except InputError:
        # With code of its own, which is said when it is imported; or it does not say its kind.
        if "model_type" in facts and "auto_map" not in facts:
            raise
        return None
    return block_weights(known, config)


def _packed_facts(file: Path) -> ModelFacts:
    """Of a GGUF file, whose weights are mapped but not read."""
    import gguf

    try:
        reader = gguf.GGUFReader(file)
        fields = reader.fields
        name = fields["general.architecture"].contents()
        n_layers, d_model, n_ctx = (
            int(fields[f"{name}.{key}"].contents())
            for key in ("block_count", "embedding_length", "context_length")
        )
        vocabulary = len(fields["tokenizer.ggml.tokens"].data)
        if not 1 <= n_layers <= MOST_LAYERS or d_model < 1:
            raise ValueError(f"{n_layers} layers, d_model {d_model}")
        blocks = sum(int(x.n_elements) for x in reader.tensors if x.name.startswith("blk."))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"--model {file} is not a complete GGUF file ({type(error).__name__}: {error})."
        ) from None
    return ModelFacts(
        key="path",
        place=str(file),
        n_layers=n_layers,
        d_model=d_model,
        vocab_size=vocabulary,
        n_ctx=n_ctx,
        dtype="float32",
        n_block_weights=blocks,
    )
