"""Cross-entropy of a language model in nat per token."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from clustersae.pretraining.network import BlockFunction, after_causal_block, last_hidden_state

#: Losses of every next token in a batch [n_rows, n_tokens], flattened.
Losses = Callable[[GPT2LMHeadModel, Tensor], Tensor]


def next_token_losses(model: GPT2LMHeadModel, tokens: Tensor, pad_id: int | None) -> Tensor:
    """Cross-entropy in nat of every real next token of `tokens` [n_rows, n_ctx], flattened.

    Columns that are padding in all rows are cut off, and logits are computed only where there is
    a token to predict. Rows are padded on the right.
    """
    if pad_id is None:
        return full_row_losses(model, tokens)
    tokens = tokens.long()
    real = tokens != pad_id
    width = int(real.any(0).nonzero()[-1]) + 1
    tokens, predicted = tokens[:, :width], real[:, 1:width]
    hidden = last_hidden_state(model.transformer, tokens[:, :-1])
    return F.cross_entropy(
        model.lm_head(hidden[predicted]), tokens[:, 1:][predicted], reduction="none"
    )


def full_row_losses(
    model: GPT2LMHeadModel, tokens: Tensor, after: BlockFunction = after_causal_block
) -> Tensor:
    """`next_token_losses` of rows without padding; waits for no device.

    Args:
        after: what blocks are run with (see `last_hidden_state`).
    """
    tokens = tokens.long()
    hidden = last_hidden_state(model.transformer, tokens[:, :-1], after)
    return F.cross_entropy(
        model.lm_head(hidden.flatten(0, 1)), tokens[:, 1:].flatten(), reduction="none"
    )


@torch.no_grad()
def mean_loss(model: GPT2LMHeadModel, tokens: Tensor, pad_id: int | None, batch_rows: int) -> float:
    """Cross-entropy in nat per predicted token over all rows of `tokens` [n_rows, n_ctx]."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in tokens.split(batch_rows):
        losses = next_token_losses(model, batch.to(device), pad_id)
        total += losses.double().sum().item()
        count += losses.numel()
    model.train(was_training)
    return total / count


@torch.no_grad()
def mean_of_batches(
    model: GPT2LMHeadModel, batches: Iterable[Tensor], loss: Callable[[Tensor], Tensor]
) -> float:
    """Mean over `batches` of their mean `loss`, in nat per token; waits for the device once.

    Args:
        loss: of a batch in `model`; what it returns may be overwritten at its next call.
    """
    was_training = model.training
    model.eval()
    means = [loss(batch).clone() for batch in batches]
    model.train(was_training)
    return torch.stack(means).mean().item()
