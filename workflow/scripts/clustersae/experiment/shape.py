"""How large a language model is, before it is loaded: what its config.json or description says."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clustersae.experiment.flops import forward_flops
from clustersae.experiment.layers import MOST_LAYERS
from clustersae.experiment.sources import gguf_file
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import GIVEN, read_json, read_object

#: Where config.json of the usual model families keeps these figures.
N_LAYERS_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
#: Of these the first that is there says how many tokens a model reads, as TransformerLens takes it.
N_CTX_KEYS = ("n_positions", "max_position_embeddings")
D_MODEL_KEYS = ("hidden_size", "n_embd", "d_model")
DECODER = "Use a decoder-only language model."


class Shape(NamedTuple):
    """A language model in numbers.

    Attributes:
        n_ctx: tokens of a row that it reads.
        n_block_weights: parameters of all blocks, without embedding and unembedding.
    """

    n_layers: int
    d_model: int
    n_ctx: int
    vocab_size: int
    n_block_weights: int

    def forward(self, n_blocks: int | None = None) -> int:
        """Operations per token, of the first `n_blocks`; of all by default."""
        run = self.n_layers if n_blocks is None else n_blocks
        weights = self.n_block_weights * run // self.n_layers
        return forward_flops(weights, run, self.n_ctx, self.d_model)


def described_shape(description: Path, settings: Mapping[str, Any]) -> Shape:
    """The shape of a model that has been imported.

    Args:
        description: its description.json.
        settings: of the model; those of its text count.

    Raises:
        InputError: the description is of an earlier version.
    """
    facts = read_json(description)
    if facts.get("n_block_weights") is None:
        raise InputError(f"{description} was written by another version. Delete it and run again.")
    n_ctx = settings["corpus"]["n_ctx"] if settings["corpus"] else facts["n_ctx"]
    return Shape(**{key: facts[key] for key in Shape._fields} | {"n_ctx": n_ctx})


def model_shape(settings: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """n_layers and d_model of a model directory; GGUF files and the Hub tell at the import.

    Args:
        settings: of the model; `path` counts.

    Raises:
        InputError: its config.json says what no model can be.
    """
    if not settings["path"] or gguf_file(settings["path"]):
        return None, None
    file = Path(settings["path"]) / "config.json"
    facts = text_facts(read_object(file, GIVEN), file)
    n_layers = positive(facts, N_LAYERS_KEYS, file, MOST_LAYERS)
    return n_layers, positive(facts, D_MODEL_KEYS, file)


def check_rows(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse rows of text that are longer than what a local model reads.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2`.

    Raises:
        InputError: names the key, and the most that it may be.
    """
    if not settings["path"] or gguf_file(settings["path"]):
        return
    file, asked = Path(settings["path"]) / "config.json", settings["corpus"]["n_ctx"]
    most = positive(text_facts(read_object(file, GIVEN), file), N_CTX_KEYS, file)
    if most is not None and asked > most:
        raise InputError(
            f"{where}.corpus.n_ctx is {asked}, but the model reads at most {most} tokens"
            f" ({file}): lower it."
        )


def text_facts(facts: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """What a config.json says; of a model of several kinds, what it says of text comes first.

    Args:
        facts: the content of `file`.

    Raises:
        InputError: it is of an encoder, or what it says of text is no section.
    """
    if facts.get("is_encoder_decoder"):
        raise InputError(f"{file} is of an encoder-decoder model. {DECODER}")
    named = facts.get("architectures")
    if isinstance(named, list) and any(str(each).endswith("ForMaskedLM") for each in named):
        raise InputError(f"{file} is of an encoder ({named[0]}). {DECODER}")
    of_text = facts.get("text_config") or {}
    if not isinstance(of_text, dict):
        raise InputError(
            f"{file}: text_config is {json.dumps(of_text)}, but must be a section. {GIVEN}"
        )
    return {**facts, **of_text}


def positive(
    facts: Mapping[str, Any], keys: Sequence[str], file: Path, most: float = math.inf
) -> int | None:
    """The whole number under the first of `keys` that has one; None if none has.

    Raises:
        InputError: it is not between 1 and `most`.
    """
    key = next((key for key in keys if isinstance(facts.get(key), int)), None)
    if key is None:
        return None
    if not 1 <= facts[key] <= most:
        limit = "at least 1" if facts[key] < 1 else f"at most {most}"
        raise InputError(f"{file}: {key} is {facts[key]}, but must be {limit}. {GIVEN}")
    return facts[key]
