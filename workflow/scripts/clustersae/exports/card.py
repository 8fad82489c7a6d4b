"""The model card of SAEs on the Hugging Face Hub: what they are, how good, and how to load them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from clustersae import __version__
from clustersae.experiment.architectures import ARCHITECTURES
from clustersae.exports.formats import FOLDERS, ancestry
from clustersae.models.description import ModelDescription
from clustersae.presentation.arms import full_label
from clustersae.presentation.words import interval_text, percent
from clustersae.runtime.words import counted
from clustersae.sae.module import SparseAutoencoder

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

#: Where the SAEs themselves lie in a repository, beside the exports.
OWN = "clustersae"
#: What a dataset begins with in a corpus.json; on the Hub it is NAME or OWNER/NAME.
_DATASET = "dataset "
_ON_HUB = re.compile(_DATASET + r"\w[\w.-]*(/[\w.-]+)?( [^/]*)?( refs/\S+)?")


class Published(NamedTuple):
    """The SAEs of one arm and seed, and what is known of them."""

    repo: str  # owner/name on the Hub
    model: ModelDescription
    corpus: Mapping[str, Any] | None  # corpus.json, where it is still there
    arm: pd.Series  # its row of tables/arms.csv
    quality: pd.DataFrame  # its rows of tables/layer_quality.csv, of this seed
    saes: Mapping[int, SparseAutoencoder]  # by layer
    formats: Sequence[str]

    @property
    def model_name(self) -> str:
        """Repository of the language model; of one that lay on this machine, the folder's name."""
        return self.model.source if self.model.revision else public_name(self.model.source)

    def own_folder(self, layer: int) -> str:
        """Where `clustersae.load` finds the SAE of a layer in the repository."""
        config = self.saes[layer].config
        return f"{OWN}/{config['variant']}/{config['cluster']}"


def public_name(source: str) -> str:
    """What may be told of a path of this machine: its last part that says something.

    In results, that of a model is above `model`; elsewhere what is above may be a person's name.
    """
    path = PurePosixPath(source)
    made_here = path.name == "model" and "results" in path.parts[:-2]
    return path.parent.name if made_here else path.name


def public_text(source: str) -> str:
    """The same of the `source` in a corpus.json: files, or a dataset with subset and so on."""
    if _ON_HUB.fullmatch(source):
        return source
    if source.startswith(_DATASET):
        return _DATASET + public_name(source.removeprefix(_DATASET))
    return ", ".join(public_name(name) for name in source.split(", "))


def model_card(published: Published) -> "ModelCard":
    """The card, with its YAML header."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        base_model=published.model.source if published.model.revision else None,
        library_name="saelens" if "saelens" in published.formats else None,
        tags=["sparse-autoencoder", "interpretability", "clustersae"],
    )
    parts = [_what(published), _training(published), _quality(published), _loading(published)]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(parts))


def _what(published: Published) -> str:
    sae = next(iter(published.saes.values()))
    n_saes = len({id(each) for each in published.saes.values()})
    kind = ARCHITECTURES[sae.config["architecture"]]
    active = f", {kind.active.format(k=sae.k)} of them active on a token" if kind.active else ""
    return (
        f"# Sparse autoencoders of {published.model_name}\n\n"
        f"{counted(n_saes, f'{kind.title} SAE')} for {counted(len(published.saes), 'layer')}"
        f" ({full_label(published.arm)} of full training; seed {sae.config['seed']}):"
        f" {sae.d_sae} latents{active}. They read the residual stream after a block,"
        f" `{published.model.hook.format(l='LAYER')}` in TransformerLens. Made with Clustered"
        f" Sparse Autoencoders {__version__}, in which neighbouring layers may share an SAE, or"
        " each have one that was fine-tuned from a shared one.\n"
    )


def _training(published: Published) -> str:
    model, corpus = published.model, published.corpus
    commit = f", commit `{model.revision}`" if model.revision else ""
    lines = [
        f"- Language model: {published.model_name}{commit}; SHA-256 of configuration and weights"
        f" `{model.fingerprint}`"
    ]
    if corpus:
        lines.append(
            f"- Text: {public_text(corpus['source'])}; {corpus['n_tokens']['train']:,} training"
            f" tokens in rows of {corpus['n_ctx']}; SHA-256 of the text `{corpus['source_sha256']}`"
        )
    left_out = published.saes[min(published.saes)].config.get("left_out")
    if left_out:
        lines.append(f"- Left out of training: {_left_out(left_out)}. Do not ask the SAEs there.")
    return "## What they were trained on\n\n" + "\n".join(lines) + "\n"


def _left_out(mask: Mapping[str, Any]) -> str:
    kinds = ["special tokens"]
    if mask.get("first_without_bos"):
        kinds.append("the first token of a row without BOS")
    if mask.get("max_norm_multiple"):
        kinds.append(
            f"tokens of more than {mask['max_norm_multiple']:g} times a layer's median norm"
        )
    return ", ".join(kinds)


def _quality(published: Published) -> str:
    arm = published.arm
    seeds, seeds_all = (_seeds(arm[name]) for name in ("n_seeds", "n_seeds_all"))
    rows = published.quality.set_index("layer")
    lines = [
        "| layer | cluster | started from | activations | FVU | L0 | dead | ΔCE | CE recovered |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for layer, sae in published.saes.items():
        row = rows.loc[layer]
        cluster, start = ancestry(sae)
        n_read = sae.config["n_steps"] * sae.config["batch_size"]
        lines.append(
            f"| {layer} | {cluster} | {start or '–'} | {n_read:,} | {row['fvu']:.4f} |"
            f" {row['l0']:.1f} | {percent(row['dead_fraction'])} | {row['delta_ce']:+.4f} |"
            f" {percent(row['ce_recovered_mean'])} |"
        )
    excess = (
        f" FVU is {percent(arm['excess_fvu'], signed=True)} beside full per-layer SAEs"
        f" ({interval_text(arm['excess_fvu_low'], arm['excess_fvu_high'])};"
        f" worst layer {percent(arm['excess_fvu_worst'], signed=True)}), mean of layers"
        f" and {seeds}."
    )
    return (
        f"## Quality\n\nOn {int(published.quality['n_tokens'].max()):,} held-out tokens, this seed:"
        "\n\n" + "\n".join(lines) + "\n\n"
        "FVU: fraction of variance unexplained. L0: active latents per token. Dead: latents that"
        f" fired on none of {int(published.quality['n_tokens_dead'].max()):,}, those of validation"
        " among them. ΔCE: what cross-entropy of the next token gains in nats with the SAE"
        " in place of that layer; recovered: of what ablating the layer to its mean loses.\n\n"
        f"With the SAEs of all layers in place at once, cross-entropy is {arm['ce_all']:.4f}"
        f" instead of {arm['ce_clean']:.4f} nats, mean of {seeds_all}."
        f"{'' if arm['role'] == 'baseline' else excess}\n"
    )


def _seeds(count: float) -> str:
    return "one seed" if count == 1 else f"{count:.0f} seeds"


_LOADERS = {
    "saelens": 'from sae_lens import SAE\n\nsae = SAE.from_pretrained("{repo}", "{folder}")',
    "dictionary_learning": (
        "from dictionary_learning.utils import load_dictionary\n"
        "from huggingface_hub import snapshot_download\n\n"
        'repository = snapshot_download("{repo}", allow_patterns="{folder}/*")\n'
        'dictionary, config = load_dictionary(f"{{repository}}/{folder}", device="cpu")'
    ),
    "sparsify": (
        'from sparsify import SparseCoder\n\nsae = SparseCoder.load_from_hub("{repo}", "{folder}")'
    ),
    OWN: (
        "import clustersae\n"
        "from huggingface_hub import snapshot_download\n\n"
        'repository = snapshot_download("{repo}", allow_patterns="{folder}/*")\n'
        'sae = clustersae.load(f"{{repository}}/{folder}")\n'
        "latents = sae.encode(x, layer={layer})  # x [..., d_model], raw activations\n"
        "reconstruction = sae.decode(latents, layer={layer})"
    ),
}


def loading_code(published: Published, format: str, layer: int) -> str:
    """Python that loads the SAE of a layer from the Hub with the tool of `format`, or OWN."""
    folder = (
        published.own_folder(layer)
        if format == OWN
        else (Path(format) / FOLDERS[format].format(layer=layer)).as_posix()
    )
    return _LOADERS[format].format(repo=published.repo, folder=folder, layer=layer)


def _loading(published: Published) -> str:
    layer = min(published.saes)
    codes = [loading_code(published, format, layer) for format in (*published.formats, OWN)]
    text = "## How to load them\n\n" + "\n\n".join(f"```python\n{code}\n```" for code in codes)
    return (
        f"{text}\n\nExports take raw activations of one layer; `{OWN}/` has the SAEs as they were"
        " trained, one for all layers of a cluster. `index.json` says which folder is whose.\n"
    )
