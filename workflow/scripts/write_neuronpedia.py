"""Write the latents of the feature browser as Neuronpedia and SAEDashboard store them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clustersae.browser.groups import shown_groups
from clustersae.browser.neuronpedia import batches, set_name
from clustersae.browser.reading import Measured, read_group, read_scores
from clustersae.experiment.plan import Plan, read_plan
from clustersae.runtime import job
from clustersae.runtime.files import remove_unfinished_below, write_json

_BATCH = re.compile(r"batch-\d+\.json")


def main(
    model: str,
    plan: Plan,
    measured: Mapping[tuple[str, str], Measured],
    directions: Path,
    index: Path,
    kinds: Sequence[str],
    n_contexts: int,
) -> None:
    """Write `{layer}-{set}/batch-{number}.json` beside `index`, and then that.

    Batches that an earlier run has left there are removed, and folders that had nothing else.

    Args:
        measured, directions, kinds, n_contexts: see `build_browser.main`.
    """
    remove_unfinished_below(index.parent)
    earlier = [file for file in index.parent.glob("*/batch-*.json") if _BATCH.fullmatch(file.name)]
    for file in earlier:
        file.unlink()
    for parent in {file.parent for file in earlier}:
        if not parent.is_symlink() and not any(parent.iterdir()):
            parent.rmdir()
    entries: list[dict[str, Any]] = []
    for group in shown_groups(plan, kinds):
        files = measured[group.variant, group.partition]
        rows = read_group(group, files, directions, read_scores([]), plan.seeds[0], n_contexts)
        for layer in group.layers:
            folder = f"{layer}-{set_name(group)}"
            for number, batch in enumerate(batches(model, group, rows, layer)):
                write_json(index.parent / folder / f"batch-{number}.json", batch)
            entry = {"folder": folder, "layer": layer, "sae": group.saes[layer]}
            entries.append({**entry, "variant": group.own_variant, "seed": plan.seeds[0]})
    write_json(index, {"model_id": model, "sources": entries})


if __name__ == "__main__":
    job.start(snakemake)
    plan = read_plan(snakemake.input.plan)
    kinds = snakemake.params.settings["arms"]
    main(
        model=snakemake.wildcards.model,
        plan=plan,
        measured=Measured.by_arm(plan.browsed_arms(kinds), snakemake.input),
        directions=Path(snakemake.input.directions),
        index=Path(snakemake.output[0]),
        kinds=kinds,
        n_contexts=snakemake.params.settings["contexts"],
    )
