"""A configuration scaled to a model, a text and a machine, and its commented YAML."""

import json
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.cost.memory import token_bytes
from clustersae.experiment.config import RESERVED_NAMES
from clustersae.runtime.errors import InputError
from clustersae.runtime.machine import Machine
from clustersae.runtime.words import counted
from clustersae.setup.facts import ModelFacts
from clustersae.setup.sample import TextFacts

#: Layers that are studied without a GPU, at most.
LAYERS_ON_CPU = 12
#: Activations to train on, at most, without and with a GPU.
TRAIN_TOKENS = {False: 400_000, True: 4_000_000}
HELD_OUT_TOKENS = 30_000
#: Share of the text that tokens are asked of: special tokens do not count, and its number of
#: tokens is an estimate.
SAFE = 0.8
#: Fewer make no SAE.
LEAST_TOKENS = 4_000
#: Of free disk, for cached activations.
DISK_SHARE = 0.25
#: Bytes of one shard, and of the streams of one forward pass.
SHARD_BYTES, PASS_BYTES = 1.5e9, 0.25e9
#: From this width on, activations are stored in half the bytes.
WIDE = 512


def propose(model: ModelFacts, text: TextFacts, machine: Machine) -> dict[str, Any]:
    """The configuration, as YAML would give it.

    Raises:
        InputError: there is too little text.
    """
    on_gpu = machine.gpu is not None
    step = 1 if on_gpu else math.ceil(model.n_layers / LAYERS_ON_CPU)
    n_studied = len(range(0, model.n_layers, step))
    dtype = "bfloat16" if model.d_model >= WIDE else "float32"
    n_ctx = max(4, min(model.n_ctx or 256, 256))
    per_token = token_bytes(n_studied, model.d_model, n_ctx, dtype)
    most = int(DISK_SHARE * machine.disk / per_token)
    tokens, fraction = _tokens(text, on_gpu, most, n_ctx)
    rows = _power_of_two(PASS_BYTES / (n_ctx * model.d_model * 4 * (n_studied + 16)))
    rows = max(1, min(64, rows))

    corpus: dict[str, Any] = {**text.corpus, "n_ctx": n_ctx}
    if text.n_tokens is None:
        corpus["max_tokens"] = round(
            max(
                tokens["train"] / (1 - 2 * fraction) / SAFE,
                (tokens["test"] / SAFE + n_ctx / 2) / fraction + n_ctx,  # see `_held_out`
            )
        )
    corpus["fractions"] = {"validation": fraction, "test": fraction}
    settings: dict[str, Any] = {model.key: model.place, "corpus": corpus}
    if on_gpu and model.dtype in ("bfloat16", "float16"):
        settings["dtype"] = "auto"
    return {
        "models": {model_name(model.place): settings},
        "activations": {
            "layers": "all" if step == 1 else {"step": step},
            "tokens": tokens,
            "shard_tokens": rounded(min(250_000, max(1000, SHARD_BYTES / per_token))),
            "dtype": dtype,
            "batch_rows": rows,
        },
        "sae": _sae(model, tokens["train"], on_gpu),
        "arms": _arms(n_studied),
        "evaluation": {"batch_rows": rows},
    }


def model_name(place: str) -> str:
    """A name for the model that can be a folder's: of its place, the last part."""
    last = Path(place).name.removesuffix(".gguf")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:100] or "model"
    return f"{name}-model" if name in RESERVED_NAMES else name


def _tokens(text: TextFacts, on_gpu: bool, most: int, n_ctx: int) -> tuple[dict[str, int], float]:
    """Tokens of every split, and the fraction that validation and test each get of the text."""
    target, held_out = min(TRAIN_TOKENS[on_gpu], 0.8 * most), min(HELD_OUT_TOKENS, 0.1 * most)
    train, fraction = target, 0.05
    if text.n_tokens is not None:
        safe = SAFE * text.n_tokens
        fraction = 0.05 if safe * 0.05 >= held_out else 0.1
        train = min(target, safe * (1 - 2 * fraction))
        held_out = min(held_out, _held_out(text.n_tokens, fraction, n_ctx))
    if train < LEAST_TOKENS:
        where = (
            f"the text has about {text.n_tokens:,} tokens: give more of it"
            if train < target
            else "the disk has too little room for activations: free some"
        )
        raise InputError(f"{where}; SAEs need {LEAST_TOKENS:,} tokens at least to train on.")
    splits = {"train": train, "validation": held_out, "test": held_out}
    return {split: rounded(number) for split, number in splits.items()}, fraction


def _held_out(n_tokens: int, fraction: float, n_ctx: int) -> float:
    """What may be asked of validation or test: they get whole rows, half a row too few at worst.

    Of the text, less than a row may be left over.
    """
    return SAFE * (fraction * (n_tokens - n_ctx) - n_ctx / 2)


def _sae(model: ModelFacts, train: int, on_gpu: bool) -> dict[str, Any]:
    expansion = 16 if on_gpu else 8 if model.d_model < WIDE else 4
    d_sae = expansion * model.d_model
    k = 16 if model.d_model <= 256 else 32 if model.d_model < 768 else 64
    training_tokens = rounded((4 if on_gpu else 2) * train)
    # Rates that were the best of presets from 384 to 12,288 latents lie around this.
    rate = 0.2 / math.sqrt(d_sae)
    return {
        "expansion_factor": expansion,
        "k": min(k, max(1, d_sae // 8)),
        "training_tokens": training_tokens,
        "batch_size": min(4096 if on_gpu else 2048, max(128, _power_of_two(train / 16))),
        "learning_rate": [float(f"{rate * factor:.1g}") for factor in (1 / 3, 1, 3)],
        "seeds": [0, 1, 2],
    }


def _arms(n_studied: int) -> dict[str, Any]:
    if n_studied == 1:  # nothing to share
        return {"per_layer": [1, 0.5], "shared": {"counts": []}, "specialised": [], "auto": []}
    counts = sorted({1, max(1, round(n_studied / 3))})
    return {
        "per_layer": [1, 0.5],
        "shared": {"counts": counts},
        "specialised": [{"from": 1, "budgets": [0.5]}],
        "auto": [],
    }


def _power_of_two(number: float) -> int:
    """The largest power of two up to `number`, at least 1."""
    return 2 ** int(math.log2(max(1.0, number)))


def rounded(number: float) -> int:
    """Down to two digits."""
    digits = max(0, len(str(int(number))) - 2)
    return int(number) // 10**digits * 10**digits


def as_yaml(config: Mapping[str, Any], model: ModelFacts, text: TextFacts, file: Path) -> str:
    """The configuration with a comment on every choice; `file` is its name."""
    (name, settings), *_ = config["models"].items()
    corpus, activations, sae = settings["corpus"], config["activations"], config["sae"]
    arms, tokens = config["arms"], activations["tokens"]
    lines = [
        f"# {name}: {counted(model.n_layers, 'layer')}, d_model {model.d_model}, vocabulary"
        f" {model.vocab_size:,}. Written by clustersae init; change what you like.",
        "#   snakemake --cores all --resources gpu=1 --configfile"
        f" {_printable(shlex.quote(str(file)))}",
        "# gpu: how many there are, or 0. Every key, its meaning and its default: docs/config.md.",
        "",
        "models:",
        f"  {_flow(name)}:  # the folder below results/",
        *(f"    {key}: {_flow(settings[key])}" for key in (model.key, "dtype") if key in settings),
        "    corpus:",
        *(f"      {_entry(key, value, text)}" for key, value in corpus.items()),
        "",
        "activations:",
        _commented(
            "layers", activations["layers"], "or all, at a cost that grows with their number"
        )
        if activations["layers"] != "all"
        else _commented("layers", "all", "or every third, say: {step: 3}"),
        _commented("tokens", tokens, "cached of each split; they must be in the text"),
        _commented("shard_tokens", activations["shard_tokens"], "one shard is one job"),
        _commented("dtype", activations["dtype"], "on disk; float32: 4 bytes, int8: 1, others: 2"),
        _commented("batch_rows", activations["batch_rows"], "fewer if memory is short"),
        "",
        "sae:",
        _commented("expansion_factor", sae["expansion_factor"], _latents(sae, model)),
        _commented("k", sae["k"], "active latents per token"),
        _commented("training_tokens", sae["training_tokens"], _passes(sae, tokens)),
        _commented("batch_size", sae["batch_size"], "halved where a training would be short"),
        _commented("learning_rate", sae["learning_rate"], "of each SAE, the best on validation"),
        _commented("seeds", sae["seeds"], "five give narrower intervals"),
        "",
        "# All that is compared. A budget is training over that of full per-layer SAEs.",
        "arms:",
        _commented("per_layer", arms["per_layer"], "an SAE for every layer"),
        _commented("shared", arms["shared"], "so many SAEs, each for layers that are alike"),
        _commented("specialised", arms["specialised"], "one for each layer, from shared ones"),
        _commented("auto", arms["auto"], "[shared]: more numbers are tried, by short pilots"),
        "",
        "evaluation:",
        _commented("batch_rows", config["evaluation"]["batch_rows"], "fewer if memory is short"),
        "  # Circuits take long. Tasks that the model may be able to do:",
        "  # tasks: [agreement_simple, indirect_object, induction]",
    ]
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, text: TextFacts) -> str:
    about = {
        "n_ctx": "tokens per row",
        "max_tokens": "reading stops there",
        "separator": "between documents" if value else "none was found: a file is one document",
        "fractions": "of the text, held out",
    }.get(key, "")
    if key in ("files", "dataset") and text.n_tokens is not None:
        about = f"about {rounded(text.n_tokens):,} tokens"
    return _commented(key, value, about, indent="")


def _latents(sae: Mapping[str, Any], model: ModelFacts) -> str:
    return f"{sae['expansion_factor'] * model.d_model:,} latents"


def _passes(sae: Mapping[str, Any], tokens: Mapping[str, int]) -> str:
    return f"of each SAE: {sae['training_tokens'] / tokens['train']:.3g} passes over what is cached"


def _commented(key: str, value: Any, about: str, indent: str = "  ") -> str:
    line = f"{indent}{key}: {_flow(value)}"
    return f"{line}  # {about}" if about else line


def _flow(value: Any) -> str:
    """YAML's flow style; words without quotes where YAML reads them as text anyway."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z/~][\w/.~-]*", value):
        reserved = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
        return value if value.lower() not in reserved else json.dumps(value)
    if isinstance(value, float):  # YAML takes 5e-05 for text
        return f"{value:.10f}".rstrip("0").removesuffix(".")
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """A text in quotes, without characters that YAML refuses."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
