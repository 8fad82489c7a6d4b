"""How much memory the jobs of a rule need, from the configuration and the shape of the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from clustersae.experiment.arms import SAE
from clustersae.experiment.plan import Plan
from clustersae.experiment.sae_settings import SAESettings
from clustersae.experiment.shape import Shape

#: What a process takes before it holds anything: Python, torch, transformers.
PROCESS_BYTES = 5 * 10**8
#: A forward pass holds about as many streams as this beside those of the studied layers.
STREAMS = 16
#: `evaluate_splice.SHARED_BYTES` and `quality.splice.MAX_LOGITS`; logits are held four times.
SHARED_BYTES, MAX_LOGITS = 10**9, 2**26
#: `latents.decoders.HELD_BYTES`.
HELD_BYTES = 2 * 10**9


def token_bytes(n_layers: int, d_model: int, n_ctx: int, dtype: str) -> float:
    """What a cached token takes on disk.

    Its streams, and three int32 (id, column, row). Of every row of `n_ctx`, the token that begins
    it is kept apart, in float32.
    """
    numbers = n_layers * d_model
    width = {"float32": 4, "int8": 1}.get(dtype, 2)
    scales = 4 * n_layers if dtype == "int8" else 0
    return numbers * width + scales + 3 * 4 + 4 * numbers / n_ctx


def needed(
    settings: Mapping[str, Any],
    shape: Shape,
    layers: Sequence[int],
    saes: Mapping[SAE, SAESettings],
    plan: Plan,
) -> dict[str, int]:
    """Bytes of the largest job, by rule: of all rules that hold the model, an SAE or the text.

    Args:
        settings: complete, of one model.
        layers: that are studied.
        saes: all that are trained.
    """
    cached = settings["activations"]
    d_model, n_ctx = shape.d_model, shape.n_ctx
    # Whether embedding and unembedding are one is not known.
    n_weights = shape.n_block_weights + 2 * shape.vocab_size * d_model
    model = PROCESS_BYTES + n_weights * (2 if settings["dtype"] == "bfloat16" else 4)
    n_streams = len(layers) + STREAMS
    n_tokens = min(cached["shard_tokens"], max(cached["tokens"].values()))
    shard = round(n_tokens * token_bytes(len(layers), d_model, n_ctx, cached["dtype"]))
    batch = cached["batch_rows"] * n_ctx * d_model * 4 * n_streams
    n_read = sum(cached["tokens"].values())
    n_read = max(n_read, (settings["corpus"] or {}).get("max_tokens") or 0)
    step = PROCESS_BYTES + max(own.step_bytes(d_model) for own in saes.values())

    weights = {each: own.weight_bytes(d_model) for each, own in saes.items()}
    one = max(weights.values())
    of_seed = max(sum(weights[each] for each in arm.saes) for arm in plan.arms)
    shared = min(len(plan.seeds) * of_seed, SHARED_BYTES)
    # Decoders of a pair beside those that are held; matching copies cosines once.
    decoders = PROCESS_BYTES + min(len(plan.seeds) * of_seed, HELD_BYTES) + 2 * one
    decoders += 2 * 4 * max(own.d_sae for own in saes.values()) ** 2

    entries = n_ctx * shape.vocab_size
    rows = max(1, min(settings["evaluation"]["batch_rows"], MAX_LOGITS // entries))
    text = rows * n_ctx * d_model * 4 * n_streams + 4 * 4 * min(rows * entries, MAX_LOGITS)
    return {
        "tokenise_corpus": PROCESS_BYTES + 2 * 4 * n_read,  # ids, and once more laid out
        "measure_norms": model + batch,
        "cache_activations": model + shard + batch,
        "cache_window": model + shard + batch,
        "train_sae": step,
        "train_sae_window": step,
        "evaluate_reconstruction": PROCESS_BYTES + 2 * one,  # once more while it is read
        "evaluate_language_model": model + text,
        "evaluate_splice": model + max(of_seed, shared) + text,
        "evaluate_transfer": PROCESS_BYTES + max(one, min(len(layers) * one, HELD_BYTES)) + one,
        "evaluate_correspondence": decoders,
        "assess_task": model + text,
        "evaluate_circuits": model + of_seed + text,
        "evaluate_residual_basis": model + text,
        "evaluate_features": decoders,
        "evaluate_probing": PROCESS_BYTES + 2 * one,
        "evaluate_directions": model + 4 * one,
        "export_saes": PROCESS_BYTES + 3 * one,  # as it is read, and written for a layer
    }
