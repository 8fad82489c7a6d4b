"""A finished run, for notebooks: its tables, its SAEs, and the SAEs of an arm inside the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clustersae.experiment.plan import Plan, read_plan
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json

if TYPE_CHECKING:
    import torch

    from clustersae.corpora.tokens import TokenFile
    from clustersae.models.description import ModelDescription
    from clustersae.sae.module import SparseAutoencoder


class Run:
    """The results of one model.

    Args:
        folder: `results/{model}`.

    Raises:
        InputError: nothing was finished there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "plan.json").is_file():
            raise InputError(
                f"{folder} has no plan.json: give the folder of a model below results/ in which"
                " SAEs have been trained."
            )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def plan(self) -> Plan:
        """Every arm, the SAEs that serve it, the seeds."""
        return read_plan(self.folder / "plan.json")

    @property
    def arms(self) -> list[str]:
        """Names of the arms, such as `per-layer` or `complete-3 (equal-exposure)`."""
        return [arm.name for arm in self.plan.arms]

    @property
    def tables(self) -> list[str]:
        """Names of the tables that there are."""
        return sorted(path.stem for path in (self.folder / "tables").glob("*.csv"))

    def table(self, name: str) -> pd.DataFrame:
        """One table; cluster names stay text.

        Raises:
            InputError: there is none of that name.
        """
        from clustersae.presentation.tables import read_file

        if name not in self.tables:
            raise InputError(f"{self.folder} has no table {name!r}: use {', '.join(self.tables)}.")
        return read_file(self.folder / "tables" / f"{name}.csv")

    @property
    def partitions(self) -> dict[str, Any]:
        """By name: method, count, clusters and scores of every partition."""
        return read_json(self.folder / "clusters/partitions.json")["partitions"]

    @property
    def verdict(self) -> str:
        """The answer, in a few lines."""
        return (self.folder / "tables/verdict.txt").read_text(encoding="utf-8")

    def saes(
        self, arm: str, seed: int | None = None, device: "torch.device | str" = "cpu"
    ) -> dict[int, "SparseAutoencoder"]:
        """Layer → the SAE that serves it in an arm; layers of a cluster have the same one.

        Args:
            seed: by default the first.

        Raises:
            InputError: there is no such arm or seed, or an SAE has not been trained.
        """
        from clustersae.sae.storage import load_sae

        found: dict[int, SparseAutoencoder] = {}
        for folder in self._sae_folders(arm, self._seed(seed)):
            sae = load_sae(folder, device)
            found |= dict.fromkeys(sae.layers, sae)
        return dict(sorted(found.items()))

    def _seed(self, seed: int | None) -> int:
        seed = self.plan.seeds[0] if seed is None else seed
        if seed not in self.plan.seeds:
            raise InputError(f"{self.folder} has the seeds {list(self.plan.seeds)}, not {seed}.")
        return seed

    def _sae_folders(self, arm: str, seed: int) -> list[Path]:
        named = {each.name: each for each in self.plan.arms}
        if arm not in named:
            raise InputError(f"{self.folder} has no arm {arm!r}: use {', '.join(named)}.")
        folder = self.folder / "saes"
        return [folder / variant / name / f"seed-{seed}" for variant, name in named[arm].saes]

    @cached_property
    def model_folder(self) -> Path:
        """The language model, a Hugging Face directory; that of another run with `same_as`.

        Raises:
            InputError: it is not there any more.
        """
        from clustersae.sae.storage import read_config

        if (self.folder / "model").is_dir():
            return self.folder / "model"
        variant, name = self.plan.arms[0].saes[0]
        sae = self.folder / "saes" / variant / name / f"seed-{self.plan.seeds[0]}"
        fingerprint = read_config(sae)["fingerprint"]
        for other in sorted(self.folder.parent.glob("*/model/description.json")):
            if read_json(other)["fingerprint"] == fingerprint:
                return other.parent
        raise InputError(f"{self.folder} has no model, and no folder beside it has the same one.")

    @cached_property
    def description(self) -> "ModelDescription":
        """Facts about the language model, and the name of the activation that SAEs read."""
        from clustersae.models.description import read_description

        return read_description(self.model_folder)

    @cached_property
    def corpus(self) -> dict[str, Any] | None:
        """What the text was, how it was cut and how long it is; None if that was deleted."""
        file = self._corpus_folder / "corpus.json"
        return read_json(file) if file.is_file() else None

    @property
    def _corpus_folder(self) -> Path:
        """Beside the model; of a model that was trained here, beside what it is a copy of."""
        own = self.model_folder.parent / "corpus"
        trained = self.folder.parent / "language_models" / Path(self.description.source).parent.name
        return own if own.is_dir() else trained / "corpus"

    def text(self, split: str = "test") -> "TokenFile":
        """The rows of a split: `tokens` int [n_rows, n_ctx]; `kept`, bool of that shape: which SAEs
        are asked about, but for tokens of outlying norm; `scored`, bool [n_rows, n_ctx − 1]: which
        predictions of a next token count.

        Args:
            split: train, validation or test.

        Raises:
            InputError: it was deleted.
        """
        from clustersae.corpora.tokens import read_tokens

        return read_tokens(self._corpus_folder / f"{split}.safetensors")

    def hooks(
        self, saes: Mapping[int, "SparseAutoencoder"], bounded: bool = False
    ) -> list[tuple[str, Callable[..., "torch.Tensor"]]]:
        """`fwd_hooks` for TransformerLens that put the SAEs in place of the stream.

        Pairs of the activation's name and a function of it, [batch, n_ctx, d_model] to the same.
        Every position is replaced, also those that no SAE was trained on (cfg.json, `left_out`):
        `spliced` leaves those of special tokens alone.

        Args:
            bounded: as of `spliced`.

        Raises:
            InputError: as of `spliced`.
        """
        _check_alone(saes)
        hook = self.description.hook

        def replacing(layer: int, sae: "SparseAutoencoder") -> Callable[..., "torch.Tensor"]:
            return lambda x, hook=None: sae.reconstruct(x, layer, bounded)

        return [(hook.format(l=layer), replacing(layer, sae)) for layer, sae in saes.items()]

    @contextmanager
    def spliced(
        self,
        model: Any,
        saes: Mapping[int, "SparseAutoencoder"],
        keep: "torch.Tensor | None" = None,
        bounded: bool = False,
    ) -> Iterator[None]:
        """While the context lasts, a Hugging Face model runs with the SAEs in place.

        Args:
            model: as `transformers.AutoModelForCausalLM` loads it.
            keep: bool [batch, n_ctx], positions whose stream stays as it is, such as those of BOS.
            bounded: no reconstruction is longer than what it replaces; for SAEs of several layers
                that have a common start (`SparseAutoencoder.reconstruct`).

        Raises:
            InputError: one of them is a crosscoder.
        """
        _check_alone(saes)
        import torch

        from clustersae.models.residual import ResidualStream

        def change(layer: int, sae: "SparseAutoencoder") -> Callable[..., "torch.Tensor"]:
            def replaced(x: "torch.Tensor") -> "torch.Tensor":
                found = sae.reconstruct(x, layer, bounded)
                return found if keep is None else torch.where(keep[..., None], x, found)

            return replaced

        stream = ResidualStream(model, self.description)
        with stream.replaced({layer: change(layer, sae) for layer, sae in saes.items()}):
            yield

    def push_to_hub(
        self,
        repo: str,
        arm: str | None = None,
        seed: int | None = None,
        formats: Sequence[str] = ("saelens",),
        upload: bool = False,
        private: bool = False,
    ) -> Path:
        """Put the SAEs of an arm on the Hugging Face Hub, with a model card.

        Without `upload` nothing leaves this machine: the folder that would be uploaded is made,
        and its files are printed. The token is that of huggingface_hub, from the environment
        variable HF_TOKEN or a login.

        Args:
            repo: `owner/name` on the Hub; it is made if it is not there.
            arm: by default the one that the verdict names.
            seed: by default the first.
            formats: for other tools, of `exports.formats.FORMATS`; the SAEs themselves go along.
            private: whether a repository that is made is private.

        Returns:
            the folder, `hub/{repo}` below that of the run.

        Raises:
            InputError: there is no such arm, seed or format, or the Hub refuses.
        """
        from clustersae.exports import hub
        from clustersae.exports.card import Published
        from clustersae.presentation.arms import best

        hub.check_repository(repo)
        arms = self.table("arms")
        arm = best(arms)["arm"] if arm is None else arm
        seed = self._seed(seed)
        saes = self.saes(arm, seed)
        quality = self.table("layer_quality")
        rows = (quality["arm"] == arm) & (quality["seed"] == seed) & (quality["split"] == "test")
        published = Published(
            repo,
            self.description,
            self.corpus,
            arms.set_index("arm", drop=False).loc[arm],
            quality[rows],
            saes,
            formats,
        )
        sources = {
            layer: self.folder
            / "saes"
            / sae.config["variant"]
            / sae.config["cluster"]
            / f"seed-{seed}"
            for layer, sae in saes.items()
        }
        folder = self.folder / "hub" / repo
        hub.write_folder(folder, published, sources)
        if upload:
            print(f"Uploaded: {hub.upload(folder, repo, private)}")
        else:
            print(hub.described(folder, repo))
        return folder


def _check_alone(saes: Mapping[int, "SparseAutoencoder"]) -> None:
    """Raise InputError unless each layer's stream can be replaced by what is made of it alone."""
    for layer, sae in saes.items():
        if sae.joint:
            raise InputError(
                f"The crosscoder of the layers {list(sae.layers)} cannot take the place of layer"
                f" {layer} while the model runs: its code is made of all of these layers, also of"
                " those that have not been run by then. Use SAEs of single layers or clusters."
            )
