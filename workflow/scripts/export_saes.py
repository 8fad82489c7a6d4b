"""Write all SAEs of a model as another tool stores them: one folder for each SAE and layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clustersae.exports.formats import LayerSAE, ancestry, write_layer
from clustersae.models.description import read_description
from clustersae.runtime import job
from clustersae.runtime.files import remove_unfinished_below, write_json
from clustersae.runtime.log import Progress
from clustersae.sae.storage import load_sae


def main(
    saes: Sequence[Path],
    model_dir: Path,
    format: str,
    index: Path,
    rows: Mapping[str, Any] | None = None,
) -> None:
    """Write `{variant}/{sae}/seed-{seed}/layer_{layer}` beside `index`, and then that.

    The index names every folder with its cluster, layers, variant, ancestry and seed.

    Args:
        saes: folders of SAEs, `saes/{variant}/{sae}/seed-{seed}`.
        format: a key of `exports.formats.FORMATS`.
        rows: of the text, see `LayerSAE`.

    Raises:
        InputError: there is no such format, or an SAE that it cannot express.
    """
    remove_unfinished_below(index.parent)
    model = read_description(model_dir)
    entries: list[dict[str, Any]] = []
    progress = Progress(f"Exporting to {format}", len(saes))
    for source in saes:
        sae = load_sae(source, fingerprint=model.fingerprint)
        cluster, start = ancestry(sae)
        for layer in sae.layers:
            folder = index.parent / Path(*source.parts[-3:])
            place = write_layer(folder, format, LayerSAE(sae, layer, model, rows))
            entries.append(
                {
                    "folder": place.relative_to(index.parent).as_posix(),
                    "layer": layer,
                    "cluster": cluster,
                    "starts_from": start,
                    "layers": list(sae.layers),
                    "variant": sae.config["variant"],
                    "seed": sae.config["seed"],
                }
            )
        progress.update()
    progress.close()
    write_json(index, {"format": format, "model": model.source, "saes": entries})


if __name__ == "__main__":
    job.start(snakemake)
    main(
        saes=[Path(path).parent for path in snakemake.input.saes],
        model_dir=Path(snakemake.input.description).parent,
        format=snakemake.wildcards.format,
        index=Path(snakemake.output[0]),
        rows=snakemake.params.rows,
    )
