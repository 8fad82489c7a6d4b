"""Next-token logits of a GPT-2, one sequence at a time, with a cache of keys and values.

Every step of one kind runs the same kernels on the same memory: on a GPU, where a small model
spends its time in launching kernels, both kinds of step are recorded once as CUDA graphs and
replayed.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from clustersae.pretraining.network import after_block, embedded
from clustersae.runtime import graphs


class Decoder:
    """A model that reads a window of tokens whole (`read`) or one token more (`extend`).

    Positions are learned and counted from the start of the window, so what is cached holds only
    as long as the window begins at the same token.

    Args:
        model: a GPT-2 in evaluation mode with float32 weights, on any device.

    Raises:
        ValueError: the model is in training mode, where dropout would change the text.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        if model.training:
            raise ValueError("a model in training mode has no text of its own: call model.eval()")
        self.model, config = model, model.config
        self.n_ctx, self.vocab_size = config.n_positions, config.vocab_size
        self.device = model.lm_head.weight.device
        d_head = config.n_embd // config.n_head
        shape = (config.n_layer, 2, config.n_head, config.n_positions, d_head)
        self._cache = torch.zeros(shape, device=self.device)
        self._places = torch.arange(self.n_ctx, device=self.device)
        # What the recorded kernels read: a window, or a token; and the place of the last token.
        self._window = torch.zeros(self.n_ctx, dtype=torch.int64, device=self.device)
        self._token = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._last = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._graphs: dict[str, Callable[[], Tensor]] = {}
        if graphs.can_record(self.device):
            self._graphs = {
                "read": self._recorded(lambda: self._read(self._window, self._last)),
                "extend": self._recorded(lambda: self._extend(self._token, self._last)),
            }

    @torch.no_grad()
    def read(self, tokens: Tensor) -> Tensor:
        """Logits [vocab_size] after `tokens` int64 [1 to n_ctx]; the cache then holds them."""
        if not self._graphs:
            return self._read(tokens, self._places[len(tokens) - 1 : len(tokens)])
        # A graph has one size: what stands behind the last token does not reach it.
        self._window[: len(tokens)].copy_(tokens)
        self._last.fill_(len(tokens) - 1)
        return self._graphs["read"]()

    @torch.no_grad()
    def extend(self, token: Tensor, place: int) -> Tensor:
        """Logits [vocab_size] after one more token int64 [1].

        The cache must hold the tokens of the window before it, `place` of them.
        """
        if not self._graphs:
            return self._extend(token, self._places[place : place + 1])
        self._token.copy_(token)
        self._last.fill_(place)
        return self._graphs["extend"]()

    @torch.no_grad()
    def _recorded(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        for _ in range(graphs.WARM_CALLS):
            graphs.aside(step)
        return graphs.record(step)

    def _read(self, tokens: Tensor, last: Tensor) -> Tensor:
        size = len(tokens)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self._cache[layer, 0, :, :size] = key
            self._cache[layer, 1, :, :size] = value
            return F.scaled_dot_product_attention(
                query[None], key[None], value[None], is_causal=True
            )[0]

        return self._logits(self._stream(tokens, self._places[:size], attend)[last])

    def _extend(self, token: Tensor, place: Tensor) -> Tensor:
        seen = (self._places <= place)[None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._cache[layer]
            keys.index_copy_(1, place, key)
            values.index_copy_(1, place, value)
            scores = query @ keys.transpose(1, 2) / math.sqrt(query.shape[-1])
            return scores.masked_fill(~seen, -math.inf).softmax(-1) @ values

        return self._logits(self._stream(token, place, attend))

    def _stream(self, tokens: Tensor, places: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """The stream after the last block, [n, d_model]; `attend` is also told the layer."""
        network = self.model.transformer
        x = embedded(network, tokens, places)
        for layer, block in enumerate(network.h):
            x = after_block(block, x, partial(attend, layer))
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return self.model.lm_head(self.model.transformer.ln_f(x))[0]
