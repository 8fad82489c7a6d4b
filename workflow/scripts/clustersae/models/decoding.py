"""Next-token logits of a GPT-2, one sequence at a time, with a cache of keys and values.

Written on the weights alone, and so that every step of one kind runs the same kernels on the same
memory: on a GPU, where a small model spends its time in launching kernels, both kinds of step are
recorded once as CUDA graphs and replayed. All in float32 and without dropout.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2LMHeadModel


class Decoder:
    """A model that reads a window of tokens whole (`read`) or one token more (`extend`).

    Positions are learned and counted from the start of the window, so what is cached holds only
    as long as the window begins at the same token.

    Args:
        model: a GPT-2 with float32 weights, on any device.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        config = model.config
        self.n_ctx, self.n_heads = config.n_positions, config.n_head
        self.vocab_size = config.vocab_size
        self.epsilon = config.layer_norm_epsilon
        self.weights = model.transformer
        self.unembedding = model.lm_head.weight
        self.device = self.unembedding.device
        d_head = config.n_embd // config.n_head
        shape = (config.n_layer, 2, config.n_head, config.n_positions, d_head)
        self._cache = torch.zeros(shape, device=self.device)
        self._places = torch.arange(self.n_ctx, device=self.device)
        # What the recorded kernels read: a window, or a token; and the place of the last token.
        self._window = torch.zeros(self.n_ctx, dtype=torch.int64, device=self.device)
        self._token = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._last = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._graphs: dict[str, Callable[[], Tensor]] = {}
        if self.device.type == "cuda":
            self._graphs = {
                "read": _recorded(lambda: self._read(self._window, self._last)),
                "extend": _recorded(lambda: self._extend(self._token, self._last)),
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

    def _stream(
        self,
        tokens: Tensor,
        places: Tensor,
        attend: Callable[[int, Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """The stream after the last block, [n, d_model], of tokens [n] at places [n].

        Args:
            attend: layer, query, key and value [n_heads, n, d_head] to what is attended to.
        """
        x = self.weights.wte.weight[tokens] + self.weights.wpe.weight[places]
        for layer, block in enumerate(self.weights.h):
            qkv = _linear(self._norm(x, block.ln_1), block.attn.c_attn)
            heads = qkv.view(len(tokens), 3, self.n_heads, -1).permute(1, 2, 0, 3)
            attended = attend(layer, *heads).transpose(0, 1).reshape(len(tokens), -1)
            x = x + _linear(attended, block.attn.c_proj)
            hidden = F.gelu(_linear(self._norm(x, block.ln_2), block.mlp.c_fc))
            x = x + _linear(hidden, block.mlp.c_proj)
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self._norm(x, self.weights.ln_f), self.unembedding)[0]

    def _norm(self, x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, self.epsilon)


def _linear(x: Tensor, layer: torch.nn.Module) -> Tensor:
    """transformers' Conv1D: weight [d_in, d_out]."""
    return torch.addmm(layer.bias, x, layer.weight)


@torch.no_grad()
def _recorded(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`function`, which reads and writes the same memory each time, as a CUDA graph.

    The tensor it returns is overwritten by the next call.
    """
    warm = torch.cuda.Stream()
    warm.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm):  # libraries allocate what they need before recording
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(warm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay
