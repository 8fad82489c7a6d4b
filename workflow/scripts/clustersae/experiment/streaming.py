"""Which shards of training tokens jobs read, all of them or those of a window.

Where they pass by, `activations.keep: false`, the shards of window 0 are kept, as statistics and
distances are taken from them. Those of a later window are made when the SAEs have read the window
two before, are read by every SAE that needs them, and are removed. An SAE is trained by one job for
each window; what is left of each of them is a record, and of the last one the SAE.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clustersae.experiment.arms import SAE
from clustersae.experiment.inputs import SAE_FOLDER, InputFunction, Inputs, Wildcards
from clustersae.experiment.windows import Windows, parts_of, windows_of

#: Shards that pass by, and where the end of a window is kept until the next one has been read.
PASSING = "results/{model}/activations/stream/{window}/shard-{shard}"
WINDOW = f"{SAE_FOLDER}/windows/{{window}}"
#: So many windows are on the disk beside window 0: one is read while the next is made.
N_PASSING = 2


class Streaming:
    """The input functions of an experiment that have to do with windows.

    Args:
        inputs: of the same experiment, which know the plan.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self._known: dict[tuple[str, SAE], list[int]] = {}
        #: Model, and when its statistics were made → what is gone.
        self._gone: dict[tuple[str, int], list[str]] = {}

    def later(self, wildcards: Wildcards) -> list[str]:
        """The training shards that stay and that no statistics were taken of: of later windows.

        Of the others, the file of statistics tells a job that they are there, and which: 200
        shards that 1,600 trainings read would be 320,000 edges of Snakemake's graph.
        """
        activations = self.inputs.models[wildcards.model]["activations"]
        windows = windows_of(activations)
        if windows is None or not activations["keep"]:
            return []
        shards = self.inputs.shards("train")(wildcards)
        return [shard for number, shard in enumerate(shards) if number not in windows.shards(0)]

    def gone(self, wildcards: Wildcards) -> list[str]:
        """Shards that statistics were taken of and that were deleted since: they are made again."""
        windows = self.inputs.streams(wildcards.model)
        if windows and self._window(wildcards) % windows.count:
            return []
        statistics = Path(self.inputs.of_home("activations/statistics.safetensors")(wildcards))
        if not statistics.is_file():
            return []  # which then waits for all of them
        version = (wildcards.model, statistics.stat().st_mtime_ns)
        if version not in self._gone:
            shards = self.inputs.first_shards(wildcards)
            self._gone[version] = [shard for shard in shards if not Path(shard).is_file()]
        return self._gone[version]

    def passing(self, wildcards: Wildcards) -> list[str]:
        """Those that do not stay."""
        windows = self.inputs.streams(wildcards.model)
        if windows is None or not self._window(wildcards) % windows.count:
            return []
        return self._passing(f"{PASSING}.safetensors", wildcards.model, self._window(wildcards))

    def text(self, wildcards: Wildcards) -> list[str]:
        """The text in tokens, where shards pass by: those that are gone tell no change of it."""
        if self.inputs.streams(wildcards.model) is None:
            return []
        return [self.inputs.tokens("train")(wildcards)]

    def before(self, wildcards: Wildcards) -> list[str]:
        """Checkpoints and record of the window before the wildcard's; none where it begins."""
        if self.inputs.streams(wildcards.model) is None:
            return []
        own = self._windows(wildcards.model, (wildcards.variant, wildcards.sae))
        number = own.index(self._window(wildcards))
        if not number:
            return []
        folder = WINDOW.format(**_of(wildcards), window=own[number - 1])
        return [folder, f"{folder}.json"]

    def read(self, wildcards: Wildcards) -> list[str]:
        """What tells that every SAE has read the window two before, so that there is room for one.

        Of the models that read the wildcard's activations, all that are in a plan.
        """
        window = int(wildcards.window) - N_PASSING
        if window < 0:
            return []
        found = []
        for model in self.inputs.models:
            if self.inputs.home(model) != wildcards.model:
                continue
            for variant, sae in self.inputs.plan_of(model).trained_saes:
                own = self._windows(model, (variant, sae))
                if window in own:
                    file = "training.json" if window == own[-1] else f"windows/{window}.json"
                    found += [
                        f"{SAE_FOLDER}/{file}".format(
                            model=model, variant=variant, sae=sae, seed=seed
                        )
                        for seed in self.inputs.models[model]["sae"]["seeds"]
                    ]
        return found

    def caching(self, kept: str, passing: str) -> InputFunction:
        """A file of every job that cached training activations, at the model that they are of.

        Held-out splits are cached for the measurements, not for making SAEs: they cost nothing.

        Args:
            kept: with {model} and {shard}; passing: with {window}, too.
        """

        def files(wildcards: Wildcards) -> list[str]:
            model = self.inputs.home(wildcards.model)
            windows = self.inputs.streams(wildcards.model)
            if windows is None:
                shards = range(self.inputs.n_shards(wildcards.model, "train"))
                return [kept.format(model=model, shard=shard) for shard in shards]
            found = [kept.format(model=model, shard=shard) for shard in windows.shards(0)]
            saes = self.inputs.plan(wildcards).trained_saes
            last = max(self._windows(wildcards.model, sae)[-1] for sae in saes)
            for window in made(windows, last):
                found += self._passing(passing, wildcards.model, window)
            return found

        return files

    def of_windows(self, pattern: str) -> InputFunction:
        """`pattern` for every job that trained an SAE of the plan in a window but its last."""
        return lambda wildcards: [
            pattern.format(
                model=wildcards.model, variant=sae[0], sae=sae[1], seed=seed, window=window
            )
            for sae in self.inputs.plan(wildcards).trained_saes
            if self.inputs.streams(wildcards.model)
            for seed in self.inputs.seeds(wildcards)
            for window in self._windows(wildcards.model, sae)[:-1]
        ]

    def _passing(self, pattern: str, model: str, window: int) -> list[str]:
        windows, home = self.inputs.streams(model), self.inputs.home(model)
        assert windows is not None
        return [
            pattern.format(model=home, window=window, shard=shard)
            for shard in windows.shards(window)
        ]

    def _window(self, wildcards: Wildcards) -> int:
        """The wildcard's, or the last that its SAE reads."""
        if hasattr(wildcards, "window"):
            return int(wildcards.window)
        return self._windows(wildcards.model, (wildcards.variant, wildcards.sae))[-1]

    def _windows(self, model: str, sae: SAE) -> list[int]:
        """The windows that an SAE reads, in this order."""
        if (model, sae) not in self._known:
            windows = self.inputs.streams(model)
            assert windows is not None
            settings = self.inputs.models[model]["sae"]
            self._known[model, sae] = list(parts_of(windows, settings, *sae))
        return self._known[model, sae]


def made(windows: Windows, last: int) -> Iterator[int]:
    """The windows up to the last whose shards are made to pass by."""
    return (window for window in range(1, last + 1) if window % windows.count)


def _of(wildcards: Wildcards) -> dict[str, Any]:
    return {key: getattr(wildcards, key) for key in ("model", "variant", "sae", "seed")}
