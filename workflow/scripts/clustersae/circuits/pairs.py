"""Pairs of prompts that differ in what a task asks for, and the metric m."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError

#: The fields of `Pairs` that are tensors.
TENSORS = ("clean", "corrupted", "answer", "wrong", "group")


class Pairs(NamedTuple):
    """Pairs of prompts, all of one length; the answer comes after the last token.

    A task whose prompts differ in length is a list of these.
    """

    clean: torch.Tensor  # int64 [n_pairs, n_tokens]
    corrupted: torch.Tensor  # int64 [n_pairs, n_tokens]
    answer: torch.Tensor  # int64 [n_pairs], what the clean prompt asks for
    wrong: torch.Tensor  # int64 [n_pairs], what the corrupted prompt asks for
    group: torch.Tensor  # int64 [n_pairs], equal where prompts hang together (`tasks.splits`)
    first: int = 0
    """Tokens before this one (BOS, or the first token where there is none) are studied by no SAE:
    their stream is left as it is."""
    left_out: tuple[int, ...] = ()
    """Ids of special tokens, which are studied by no SAE wherever a prompt spells them out."""

    @property
    def n_tokens(self) -> int:
        return self.clean.shape[1]

    def to(self, device: torch.device) -> "Pairs":
        """The same on `device`, as int64."""
        return self._each(lambda tensor: tensor.long().to(device))

    def rows(self, start: int, stop: int) -> "Pairs":
        """The pairs from `start` up to `stop`."""
        return self._each(lambda tensor: tensor[start:stop])

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Pairs":
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in TENSORS}
        return self._replace(**changed)


def check_pairs(pairs: Pairs) -> None:
    """Refuse what would broadcast into nonsense.

    Raises:
        InputError: shapes do not fit, there is no pair, or no token is left to analyse.
    """
    shapes = [tuple(getattr(pairs, name).shape) for name in TENSORS]
    n_pairs = len(pairs.clean)
    if pairs.clean.dim() != 2 or shapes[1:] != [shapes[0], *[(n_pairs,)] * 3]:
        raise InputError(
            "Pairs of prompts need clean and corrupted tokens [n_pairs, n_tokens] and answers,"
            f" wrong answers and groups [n_pairs], not the shapes {shapes}."
        )
    if not n_pairs or not 0 <= pairs.first < pairs.n_tokens:
        raise InputError(
            f"{n_pairs} pairs of {pairs.n_tokens} tokens, analysed from token {pairs.first} on:"
            " there must be at least one of each."
        )


def logit_difference(logits: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """m = logit(answer) − logit(wrong answer) at the last position, [n_rows].

    Args:
        logits: [n_rows, any, vocab_size]; the rows are the pairs, n_rows / n_pairs times over.
    """
    repeats = len(logits) // len(pairs.answer)
    options = torch.stack([pairs.answer, pairs.wrong], 1).repeat(repeats, 1)
    chosen = logits[:, -1].gather(1, options).float()
    return chosen[:, 0] - chosen[:, 1]


@contextmanager
def last_logits_only(stream: ResidualStream) -> Iterator[None]:
    """While the context lasts, the model computes the logits of the last position alone.

    The unembedding of a real vocabulary at every position would cost as much as many blocks.
    """
    head = stream.model.get_output_embeddings()

    def last(_, inputs: tuple) -> tuple:
        # Contiguous: of rows that lie apart torch multiplies each by itself, and reads the whole
        # unembedding for each. That took a third of the time of a batch of short prompts.
        return inputs[0][:, -1:].contiguous(), *inputs[1:]

    handle = head.register_forward_pre_hook(last)
    try:
        yield
    finally:
        handle.remove()


def device_of(stream: ResidualStream) -> torch.device:
    """Where the model is."""
    return next(stream.model.parameters()).device
