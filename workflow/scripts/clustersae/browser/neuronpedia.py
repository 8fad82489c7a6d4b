"""Latents as Neuronpedia and SAEDashboard store them: batches of features of one SAE on one layer.

The keys are those of SAEDashboard's `NeuronpediaDashboardBatch` (0.8), which Neuronpedia imports:
logits that a feature moves, how often it fires, and passages. Activations are those of the exported
SAE (`SparseAutoencoder.fold`), which Neuronpedia runs on texts of its own. What is not measured
here stays as empty as it leaves features that it has skipped: histograms, and alignments with
neurons.
"""

import re
from collections.abc import Iterator
from typing import Any

from clustersae.browser.groups import Shown
from clustersae.browser.reading import Rows

#: Features of a batch.
BATCH = 128
#: Significant digits: activations are small where the stream is.
DIGITS = 4
#: What stands in the place of a bin for the passages with the highest activations.
TOP = -1

_UNMEASURED = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_l1", "correlated_neurons_pearson"),
    *("correlated_features_indices", "correlated_features_l1", "correlated_features_pearson"),
    *("freq_hist_data_bar_values", "freq_hist_data_bar_heights"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist"),
)


def set_name(group: Shown) -> str:
    """What the SAEs of its arm are called, which has one for each layer: a set in Neuronpedia."""
    return re.sub(r"[^a-z0-9]+", "-", f"{group.variant}-{group.partition}".lower())


def batches(model: str, group: Shown, rows: Rows, layer: int) -> Iterator[dict[str, Any]]:
    """The batches of one layer; features are the latents that fire there.

    Args:
        model: what Neuronpedia calls the language model.
    """
    fires = rows.by_layer[(rows.by_layer["layer"] == layer) & (rows.by_layer["firing_rate"] > 0)]
    rates = dict(zip(fires["latent"], fires["firing_rate"]))
    on_layer = rows.directions[rows.directions["layer"] == layer]
    written = {row["latent"]: row for row in on_layer.to_dict("records")}
    spans = rows.contexts.spans()
    latents = sorted(rates)
    for start in range(0, len(latents), BATCH):
        features = [
            {
                "feature_index": int(latent),
                **{name: [] for name in _UNMEASURED},
                **_logits(written.get(latent)),
                "frac_nonzero": float(rates[latent]),
                "n_prompts_total": 0,
                "n_tokens_in_prompt": 0,
                "dataset": "",
                "activations": [
                    _activation(rows, place, written[latent]["scale"])
                    for place in spans.get((latent, layer), ())
                ],
            }
            for latent in latents[start : start + BATCH]
        ]
        yield {"model_id": model, "layer": layer, "sae_set": set_name(group), "features": features}


def _logits(row: dict[str, Any] | None) -> dict[str, list[Any]]:
    """Tokens that a feature suppresses (neg) and promotes (pos), and by how much."""
    found: dict[str, list[Any]] = {}
    for short, name in (("neg", "suppressed"), ("pos", "promoted")):
        found[f"{short}_str"] = [] if row is None else list(row[name])
        effects = [] if row is None else row[f"{name}_effect"]
        found[f"{short}_values"] = [_rounded(value) for value in effects]
    return found


def _activation(rows: Rows, place: int, scale: float) -> dict[str, Any]:
    """One of the passages with the highest activations, times `scale`."""
    contexts = rows.contexts
    span = slice(contexts.first[place], contexts.first[place + 1])
    values = [_rounded(value * scale) for value in contexts.activation[span]]
    return {
        "bin_min": TOP,
        "bin_max": max(values),
        "bin_contains": TOP,
        "tokens": [contexts.words[token] for token in contexts.token[span]],
        "values": values,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
