"""Read and change the residual stream of a Hugging Face causal language model.

The stream after block l is `blocks.{l}.hook_resid_post`, [batch, n_ctx, d_model]. Plain forward
hooks on the blocks read it, so the model keeps its fused attention; that the blocks are the right
ones was verified when the model was described (`models.anatomy`).

Sequences are padded at the right and no attention mask is given: attention is causal, so padding
at the right cannot reach the tokens before it, and what is computed at padding is never read.
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch

from clustersae.models.description import ModelDescription

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

#: Of what two passes of one model give, in float32, that is still rounding.
TOLERANCE = 1e-3

#: Takes a block's output [batch, n_ctx, d_model]; returns what replaces it, or None to keep it.
Change = Callable[[torch.Tensor], torch.Tensor | None]


def tolerance(dtype: torch.dtype) -> float:
    """How far apart two passes of one model may be by rounding: other rows in a batch, another GPU.

    Of parts of the largest number, or of nats per token; 1e-3 in float32, 0.03 in bfloat16.
    """
    return max(TOLERANCE, 4 * torch.finfo(dtype).eps)


class _Seen(Exception):
    """All layers that were asked for have been visited."""


class ResidualStream:
    """The residual stream of one model, at all of its layers.

    Args:
        model: a causal language model of transformers.
        blocks: dotted path of its list of blocks, or the description that holds it.
    """

    def __init__(self, model: "PreTrainedModel", blocks: str | ModelDescription) -> None:
        self.restartable = not isinstance(blocks, ModelDescription) or blocks.restartable
        path = blocks.blocks if isinstance(blocks, ModelDescription) else blocks
        self.model = model
        self.blocks = cast(torch.nn.ModuleList, model.get_submodule(path))
        self.n_layers = len(self.blocks)
        self.vocab_size: int = model.get_output_embeddings().weight.shape[0]
        # What a block returns beside its stream, e.g. the None of (stream, None); seen on any
        # forward pass, and needed to stand in for the block.
        self._extras: dict[int, tuple[Any, ...] | None] = {}
        self._dtype: torch.dtype | None = None  # of the stream, seen likewise

    @contextmanager
    def replaced(self, changes: Mapping[int, Change]) -> Iterator[None]:
        """While the context lasts, pass the output of each given layer through its function.

        Later blocks, and later functions, see the replacement.
        """
        handles = []
        try:
            for layer, change in changes.items():
                hook = self._hook(layer, change)
                handles.append(self.blocks[layer].register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, layer: int, change: Change):
        home = self._home()

        def hook(module, arguments, output):
            extras = output[1:] if isinstance(output, tuple) else None
            self._extras[layer] = extras
            x = output if extras is None else output[0]
            self._dtype = x.dtype
            replacement = change(x if home is None else x.to(home))
            return None if replacement is None else _pack(replacement.to(x), extras)

        return hook

    def _home(self) -> torch.device | None:
        """Where a model in several places hands over every stream: where its tokens come in."""
        if not hasattr(self.model, "hf_device_map"):
            return None
        device = self.model.get_input_embeddings().get_parameter("weight").device
        return None if device.type == "meta" else device  # which waits on the disk

    def n_weights(self, n_layers: int | None = None) -> int:
        """Parameters of the first `n_layers` blocks; of all by default."""
        return sum(each.numel() for each in self.blocks[:n_layers].parameters())

    @torch.no_grad()
    def visit(
        self,
        tokens: torch.Tensor,
        visitor: Callable[[int, torch.Tensor], None],
        layers: Iterable[int] | None = None,
    ) -> None:
        """Call `visitor(layer, x)` with the stream x [batch, n_ctx, d_model] after every block.

        One forward pass over `tokens` [batch, n_ctx], without the unembedding.

        Args:
            layers: visit only these; blocks after the last of them are not run.
        """
        visited = list(range(self.n_layers) if layers is None else layers)
        visits = {layer: functools.partial(visitor, layer) for layer in visited}

        def stop(_: torch.Tensor) -> None:
            raise _Seen

        with contextlib.suppress(_Seen), self.replaced(visits), self.replaced({max(visited): stop}):
            self.model.base_model(input_ids=tokens, use_cache=False)

    @torch.no_grad()
    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [batch, n_ctx, vocab_size] of the model as it is now, replacements included."""
        return self.forward(tokens)

    def forward(self, tokens: torch.Tensor, past: Any = None) -> torch.Tensor:
        """`logits` for a caller who takes gradients.

        Args:
            past: transformers' cache of the tokens before these, to which these are added.
        """
        if past is None:
            return self.model(input_ids=tokens, use_cache=False).logits
        return self.model(input_ids=tokens, past_key_values=past, use_cache=True).logits

    def capture(
        self, tokens: torch.Tensor, layers: Iterable[int] | None = None
    ) -> list[torch.Tensor]:
        """The stream after every block, or after these, each [batch, n_ctx, d_model].

        One forward pass, without the unembedding.
        """
        streams: list[torch.Tensor] = []
        self.visit(tokens, lambda _, x: streams.append(x), layers)
        return streams

    def logits_and_streams(self, tokens: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Both `logits` and `capture` from one forward pass."""
        streams: list[torch.Tensor] = []
        with self.replaced(dict.fromkeys(range(self.n_layers), streams.append)):
            return self.logits(tokens), streams

    def logits_from(
        self,
        layer: int,
        x: torch.Tensor,
        tokens: torch.Tensor,
        with_gradient: bool = False,
        past: Any = None,
    ) -> torch.Tensor:
        """Logits when the stream after block `layer` is `x` [batch, n_ctx, d_model].

        Runs only the blocks after `layer`, where the architecture allows it.

        Args:
            with_gradient: they can be differentiated by x, if it asks for a gradient.
            past: see `forward`.
        """
        if self.restartable:
            self.learn_extras(layer, tokens)
            put = self._standing_in(layer, x)
        else:
            put = self.replaced({layer: lambda _: x})
        with torch.set_grad_enabled(with_gradient), put:
            return self.forward(tokens, past)

    @torch.no_grad()
    def last_from(self, layer: int, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The stream after the last block when that after block `layer` is `x`, same shape.

        As `logits_from`, without the unembedding, which costs as much as many blocks.
        """
        last = self.n_layers - 1
        if layer == last:
            return x
        found: list[torch.Tensor] = []
        if not self.restartable:
            with self.replaced({layer: lambda _: x}), self.replaced({last: found.append}):
                self.model.base_model(input_ids=tokens, use_cache=False)
            return found[0]
        self.learn_extras(layer, tokens)
        with self._standing_in(layer, x), self.replaced({last: found.append}):
            self.model.base_model(input_ids=tokens, use_cache=False)
        return found[0]

    def unembed(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, vocab_size] of single vectors x [n, d_model] of the stream after the last
        block: final norm, unembedding and whatever the architecture does to logits."""
        tokens = torch.zeros(len(x), 1, dtype=torch.int64, device=x.device)
        with torch.no_grad():
            self.learn_extras(self.n_layers - 1, tokens)
            with self._standing_in(self.n_layers - 1, x[:, None]):
                return self.logits(tokens)[:, 0]

    def learn_extras(self, layer: int, tokens: torch.Tensor) -> None:
        """See what the blocks up to `layer` return beside the stream, if that is not known yet.

        `logits_from` does it as well, but with whatever replacements are in place, which may not
        fit a single row of `tokens` [batch, n_ctx].
        """
        if any(index not in self._extras for index in range(layer + 1)):
            self.logits_and_streams(tokens[:1])

    @contextmanager
    def _standing_in(self, layer: int, x: torch.Tensor) -> Iterator[None]:
        """Let the blocks up to `layer` return `x` at once.

        The rest of the model's forward pass stays its own: positions, rotary embeddings and masks
        reach the later blocks as always, whatever the architecture.
        """
        skipped = self.blocks[: layer + 1]
        # A block that lies on another device has a forward of its own, by accelerate.
        own = [vars(block).get("forward") for block in skipped]
        try:
            for index, block in enumerate(skipped):
                output = _pack(x.to(self._dtype), self._extras[index])
                block.forward = lambda *_, output=output, **__: output
            yield
        finally:
            for block, forward in zip(skipped, own):
                vars(block).pop("forward", None)
                if forward is not None:
                    block.forward = forward


def _pack(x: torch.Tensor, extras: tuple[Any, ...] | None) -> Any:
    """A block's output: the stream alone, or a tuple that begins with it."""
    return x if extras is None else (x, *extras)
