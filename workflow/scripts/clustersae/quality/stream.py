"""What FVU is about in this model: whether a few tokens or one dimension hold the variance."""

import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.findings import Findings
from clustersae.presentation.words import fitted, share
from clustersae.runtime.words import counted

#: A part of the variance that is more than everything else together.
MOST = 0.5

_CULPRITS = {
    "left_out_share": "tokens that were left out",
    "ten_tokens_share": "ten tokens",
    "largest_dimension_share": "one dimension",
}


def stream_table(stream: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """The stream of every layer, and how much of it per-layer SAEs miss, each way of counting.

    Args:
        stream: `activations.table` of the training split.
        quality: `layers.layer_quality`; means over seeds are taken on the test split.
    """
    rows = quality[(quality["arm"] == PER_LAYER) & (quality["split"] == "test")]
    names = ["fvu", "fvu_all_tokens", "fvu_standardised"]
    means = rows.groupby("layer")[names].mean().add_prefix("per_layer_").reset_index()
    return stream.merge(means, on="layer", how="left", validate="1:1")


def line(found: Findings) -> str:
    """A warning where FVU is about less than half of what it seems to be; else nothing."""
    warned = [each for each, _ in _warnings(found.tables["stream"])]
    return fitted("Variance:", warned) if warned else ""


def paragraph(found: Findings) -> str:
    """Which tokens were left out and what they carry; warnings where that matters."""
    stream = found.tables["stream"]
    first = stream.iloc[0]
    reasons = {
        "n_special": ("special token", ""),
        "n_first": ("token", " at the beginning of a row without a BOS"),
        "n_norm": ("token", " of a norm beyond the limit"),
    }
    parts = [
        counted(first[name], noun) + which for name, (noun, which) in reasons.items() if first[name]
    ]
    left = sum(int(first[name]) for name in reasons)
    read = int(first["n_tokens"]) + left
    if not left:
        sentences = [f"No token of the {read} that were read for training is left out."]
    else:
        carried = stream.loc[stream["left_out_share"].idxmax()]
        sentences = [
            f"Of {read} tokens read for training, {' and '.join(parts)}"
            f" {'is' if left == 1 else 'are'} left out of everything;"
            f" {'it carries' if left == 1 else 'they carry'} up to"
            f" {share(carried['left_out_share'])} of a layer's variance (layer"
            f" {int(carried['layer'])})."
        ]
    rounded = stream["rounding_share"].max()
    if rounded > 0:
        sentences.append(
            f"Rounding in the cache has changed at most {100 * rounded:.2g} % of a layer's"
            " variance."
        )
    return " ".join([*sentences, *(text for _, text in _warnings(stream))])


def _warnings(stream: pd.DataFrame) -> list[tuple[str, str]]:
    """In a few words and in a sentence, for everything that holds more than half of a layer."""
    found = []
    for column, culprit in _CULPRITS.items():
        rows = stream[stream[column] > MOST]
        if rows.empty:
            continue
        worst = rows.loc[rows[column].idxmax()]
        layer, part = int(worst["layer"]), share(worst[column])
        layers = f"in {len(rows)} of {counted(len(stream), 'layer')}"
        holds = "holds" if culprit == "one dimension" else "hold"
        if column == "left_out_share":
            sentence = (
                f"With them FVU would be about them alone {layers}: per-layer SAEs have"
                f" {worst['per_layer_fvu']:.3f} without and {worst['per_layer_fvu_all_tokens']:.3f}"
                f" with them at layer {layer}."
            )
        else:
            sentence = (
                f"Of the tokens kept, {culprit} {holds} more than half of the"
                f" variance {layers} (up to {part}, layer {layer}), so that FVU tells of little"
                f" else; with every dimension standardised it is"
                f" {worst['per_layer_fvu_standardised']:.3f} instead of"
                f" {worst['per_layer_fvu']:.3f} there."
            )
        found.append((f"{culprit} {holds} {part} of layer {layer}", sentence))
    return found
