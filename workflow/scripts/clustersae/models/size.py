"""Whether a model can be as large as it says: what a file only claims takes no memory.

Loaders reserve what a header or a configuration names before they look for it in the file.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from clustersae.experiment.layers import MOST_LAYERS
from clustersae.runtime.errors import InputError

#: The least that a weight takes in a file: two bits.
WEIGHTS_PER_BYTE = 4

#: Numbers and texts in the header of a GGUF file; a vocabulary of 500,000 takes 3 million.
MOST_VALUES = 1 << 22


def check_size(config: Any, place: Path, n_bytes: int) -> None:
    """Refuse a configuration that asks for more weights than there can be.

    Args:
        config: of transformers.
        place: the file that it was read from, for messages.
        n_bytes: of all weights.

    Raises:
        InputError: it does, or transformers cannot make a model of it.
    """
    n_weights = sum(each.numel() for each in _outline(config, place).parameters())
    if n_weights > WEIGHTS_PER_BYTE * n_bytes:
        raise InputError(
            f"{place} asks for {n_weights} weights, more than the {n_bytes} bytes beside it can"
            " hold. Use the checkpoint of a whole language model."
        )


def _outline(config: Any, place: Path) -> torch.nn.Module:
    """The model that a configuration describes, without any weights: shapes alone."""
    from transformers import AutoModelForCausalLM

    n_layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if not isinstance(n_layers, int) or n_layers > MOST_LAYERS:
        raise InputError(f"{place} asks for {n_layers} layers; at most {MOST_LAYERS} are read.")
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, trust_remote_code=False
            )
    except Exception as error:  # values of a wrong kind or size break any part of it
        reason = " ".join(str(error).split()).partition(" Model type should be one of")[0][:300]
        raise InputError(
            f"transformers cannot make a causal language model of what {place} says"
            f" ({type(error).__name__}: {reason}) Use the checkpoint of a whole language model; of"
            " one that also sees or hears, save the language model alone."
        ) from error


def block_weights(config: Any, place: Path) -> int:
    """Parameters of all blocks of the model that a configuration of transformers describes.

    Args:
        place: the file that it was read from, for messages.

    Raises:
        InputError: it is too deep, or transformers makes no model of it.
    """
    model = _outline(config, place)
    n_layers = config.get_text_config().num_hidden_layers
    lists = (
        each
        for each in model.modules()
        if isinstance(each, torch.nn.ModuleList) and len(each) == n_layers
    )
    return max((sum(weight.numel() for weight in each.parameters()) for each in lists), default=0)


class _Header(gguf.GGUFReader):
    """Reads a file's header, and nothing behind its end.

    The reader itself takes what is beyond the end for empty, and goes on for as many values as
    the file says there are.
    """

    _n_values = 0

    def _get(
        self, offset: int, dtype: Any, count: int = 1, override_order: Any = None
    ) -> np.ndarray:
        end = int(offset) + np.dtype(dtype).itemsize * int(count)
        if end > len(self.data):
            raise ValueError(f"it ends at byte {len(self.data)}, but speaks of byte {end}")
        self._n_values += 1
        if self._n_values > MOST_VALUES:
            raise ValueError(f"its header has more than {MOST_VALUES} values")
        return super()._get(offset, dtype, count, override_order)


def check_header(file: Path) -> None:
    """Read the header of a GGUF file.

    Raises:
        Exception: of any kind, if it is damaged or speaks of more than the file holds.
    """
    _Header(file)
