"""Finding out what later jobs must know of a language model, once, when the model arrives.

The only user of TransformerLens: it knows the anatomy of each architecture, and its hooks are the
independent check on ours.
"""

import gc
from pathlib import Path
from typing import Any

import torch

from clustersae.corpora.special import SpecialTokens, special_tokens
from clustersae.corpora.tokenizer import read_tokenizer
from clustersae.models import loading, residual
from clustersae.models.description import HOOK, ModelDescription, fingerprint
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import read_object
from clustersae.runtime.words import counted

#: Relative difference allowed between our hooks and TransformerLens's. Eager and fused attention
#: differ by rounding (1e-6 to 1e-4); reading the wrong place differs by more than 1e-1.
TOLERANCE = 1e-3

#: Relative change of earlier positions, when the last token changes, that still is rounding.
CAUSAL_TOLERANCE = 1e-6


def describe(
    model_dir: Path, source: str, revision: str | None = None, trust_remote_code: bool = False
) -> ModelDescription:
    """Find a model's blocks and verify, on a short probe, that we read the stream where we say.

    TransformerLens's TransformerBridge knows the anatomy of each architecture it supports. It
    names the list of blocks, and its own `blocks.{l}.hook_resid_post` is compared with what plain
    forward hooks on these blocks give. It is used only here: it is slower than the Hugging Face
    model with fused attention, which all later jobs use.

    Raises:
        InputError: the architecture is unknown to TransformerLens; our hooks disagree with its;
            the model is not causal (padding at the right would then change what stands before
            it); its activations are not finite.
    """
    model_dir = Path(model_dir)
    mark = fingerprint(model_dir)
    bridge = _bridge(loading.load_pretrained(model_dir, trust_remote_code), model_dir)
    blocks = bridge.adapter.component_mapping["blocks"].name
    tokens = _probe(bridge.cfg.d_vocab, bridge.cfg.n_ctx)
    names = [HOOK.format(l=layer) for layer in range(bridge.cfg.n_layers)]
    expected = _run(bridge, tokens, names, model_dir)
    n_ctx = int(bridge.cfg.n_ctx)
    del bridge
    gc.collect()  # it points at itself, and two copies of a large model may not fit

    model = loading.load_pretrained(model_dir, trust_remote_code)
    stream = residual.ResidualStream(model, blocks)
    streams = stream.capture(tokens)
    _check_same(streams, expected, model_dir)
    _check_causal(stream, tokens, streams, model_dir)
    vocab_size = model.get_input_embeddings().get_parameter("weight").shape[0]
    special = _special_tokens(model, model_dir, vocab_size, trust_remote_code)
    return ModelDescription(
        n_layers=stream.n_layers,
        d_model=streams[0].shape[-1],
        n_ctx=n_ctx,
        vocab_size=vocab_size,
        **special._asdict(),
        blocks=blocks,
        restartable=_is_restartable(stream, tokens, streams),
        n_block_weights=stream.n_weights(),
        fingerprint=mark,
        source=source,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )


def _bridge(model: torch.nn.Module, model_dir: Path):
    """TransformerLens's view of `model`, which it changes in place."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    architecture = type(model).__name__
    try:
        bridge = build_bridge_from_module(model, architecture, hf_config=model.config)
        if "blocks" not in (bridge.adapter.component_mapping or {}):
            raise ValueError("it names no list of blocks.")
    except Exception as error:  # what an adapter misses shows anywhere, as any kind of error
        raise _unreadable(model_dir, architecture, error) from error
    return bridge


def _run(
    bridge: Any, tokens: torch.Tensor, names: list[str], model_dir: Path
) -> list[torch.Tensor]:
    """What TransformerLens's hooks of these names give, each [batch, n_ctx, d_model]."""
    try:
        with torch.no_grad():
            _, cache = bridge.run_with_cache(tokens, names_filter=names)
        return [cache[name] for name in names]
    except Exception as error:  # as above; models with a state of their own want a cache, say
        raise _unreadable(model_dir, type(bridge.original_model).__name__, error) from error


def _unreadable(model_dir: Path, architecture: str, error: Exception) -> InputError:
    return InputError(
        f"TransformerLens cannot read the model in {model_dir} ({architecture}):"
        f" {first_line(error).rstrip('.')}. Use a decoder-only language model that its"
        " TransformerBridge supports."
    )


def _probe(vocab_size: int, n_ctx: int) -> torch.Tensor:
    """Two rows of random token ids, [2, at most 24]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (2, min(24, n_ctx)), generator=generator)


def _difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """|actual − expected| / |expected|, in the Euclidean norm over all entries."""
    actual, expected = actual.double(), expected.double()
    return ((actual - expected).norm() / expected.norm().clamp_min(1e-12)).item()


def _check_same(streams: list[torch.Tensor], expected: list[torch.Tensor], model_dir: Path) -> None:
    if len(streams) != len(expected):
        raise InputError(
            f"{model_dir} has {counted(len(streams), 'block')}, but TransformerLens sees"
            f" {len(expected)}."
        )
    for layer, (ours, theirs) in enumerate(zip(streams, expected)):
        if not ours.isfinite().all():
            raise InputError(
                f"The model in {model_dir} gives NaN or infinite activations at layer {layer}:"
                " its weights are damaged. Fetch or train it again."
            )
        difference = _difference(ours, theirs)
        if not difference < TOLERANCE:
            raise InputError(
                f"The residual stream of {model_dir} at layer {layer} differs by {difference:.2g}"
                f" (relative; allowed {TOLERANCE:g}) from TransformerLens's"
                f" {HOOK.format(l=layer)}. This architecture cannot be read reliably; please report"
                " it."
            )


def _check_causal(
    stream: residual.ResidualStream,
    tokens: torch.Tensor,
    streams: list[torch.Tensor],
    model_dir: Path,
) -> None:
    """Raise unless what stands before the last token is untouched by a change of that token."""
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % (tokens.max() + 1)
    for before, after in zip(streams, stream.capture(changed)):
        if _difference(after[:, :-1], before[:, :-1]) > CAUSAL_TOLERANCE:
            raise InputError(
                f"The model in {model_dir} is not causal: a token changes activations before it."
                " Use a decoder-only (autoregressive) language model."
            )


def _is_restartable(
    stream: residual.ResidualStream, tokens: torch.Tensor, streams: list[torch.Tensor]
) -> bool:
    """Whether running on from each block's output gives the logits of the whole model."""
    clean = stream.logits(tokens)
    return all(
        _difference(stream.logits_from(layer, x, tokens), clean) < TOLERANCE
        for layer, x in enumerate(streams)
    )


def _special_tokens(
    model: torch.nn.Module, model_dir: Path, vocab_size: int, trust_remote_code: bool
) -> SpecialTokens:
    """What the tokenizer beside the model says; a model without one has none."""
    if not (model_dir / "tokenizer.json").is_file():
        return SpecialTokens(None, None, None, (), adds_bos=False)
    own = read_tokenizer(model_dir / "tokenizer.json")
    theirs = loading.load_tokenizer(model_dir, trust_remote_code)
    config = model.config.get_text_config().to_dict()  # type: ignore[operator, union-attr]
    path = model_dir / "tokenizer_config.json"
    settings = read_object(path) if path.is_file() else {}
    return special_tokens(theirs, own, settings, config, vocab_size)
