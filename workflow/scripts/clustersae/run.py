"""A finished run, for notebooks: its tables, its SAEs, and the SAEs of an arm inside the model."""

from collections.abc import Callable, Iterator, Mapping
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
        """Names of the arms, such as `per-layer` or `per-layer@single (tokens-3of10@base)`."""
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

        named = {each.name: each for each in self.plan.arms}
        if arm not in named:
            raise InputError(f"{self.folder} has no arm {arm!r}: use {', '.join(named)}.")
        seed = self.plan.seeds[0] if seed is None else seed
        if seed not in self.plan.seeds:
            raise InputError(f"{self.folder} has the seeds {list(self.plan.seeds)}, not {seed}.")
        found: dict[int, SparseAutoencoder] = {}
        for variant, name in named[arm].saes:
            sae = load_sae(self.folder / "saes" / variant / name / f"seed-{seed}", device)
            found |= dict.fromkeys(sae.layers, sae)
        return dict(sorted(found.items()))

    @cached_property
    def description(self) -> "ModelDescription":
        """Facts about the language model, and the name of the activation that SAEs read."""
        from clustersae.models.description import read_description

        return read_description(self.folder / "model")

    def hooks(
        self, saes: Mapping[int, "SparseAutoencoder"]
    ) -> list[tuple[str, Callable[..., "torch.Tensor"]]]:
        """`fwd_hooks` for TransformerLens that put the SAEs in place of the stream.

        Every position is replaced, also those that no SAE was trained on (cfg.json, `left_out`):
        `spliced` leaves those of special tokens alone.
        """
        hook = self.description.hook

        def replacing(layer: int, sae: "SparseAutoencoder") -> Callable[..., "torch.Tensor"]:
            return lambda x, hook=None: sae.reconstruct(x, layer)

        return [(hook.format(l=layer), replacing(layer, sae)) for layer, sae in saes.items()]

    @contextmanager
    def spliced(
        self,
        model: Any,
        saes: Mapping[int, "SparseAutoencoder"],
        keep: "torch.Tensor | None" = None,
    ) -> Iterator[None]:
        """While the context lasts, a Hugging Face model runs with the SAEs in place.

        Args:
            model: as `transformers.AutoModelForCausalLM` loads it.
            keep: bool [batch, n_ctx], positions whose stream stays as it is, such as those of BOS.
        """
        import torch

        from clustersae.models.residual import ResidualStream

        def change(layer: int, sae: "SparseAutoencoder") -> Callable[..., "torch.Tensor"]:
            def replaced(x: "torch.Tensor") -> "torch.Tensor":
                found = sae.reconstruct(x, layer)
                return found if keep is None else torch.where(keep[..., None], x, found)

            return replaced

        stream = ResidualStream(model, self.description)
        with stream.replaced({layer: change(layer, sae) for layer, sae in saes.items()}):
            yield
