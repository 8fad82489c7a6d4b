"""Write all SAEs of a model as another tool stores them: one folder for each SAE and layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustersae.experiment.architectures import check_export
from clustersae.exports.formats import FOLDERS, FORMATS, LayerSAE
from clustersae.models.description import read_description
from clustersae.runtime import log
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_json
from clustersae.runtime.log import Progress
from clustersae.sae.storage import load_sae

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(saes: Sequence[Path], model_dir: Path, format: str, index: Path) -> None:
    """Write `{variant}/{sae}/seed-{seed}/layer_{layer}` beside `index`, and then that.

    The index names every folder with its cluster, layers, variant, ancestry and seed.

    Args:
        saes: folders of SAEs, `saes/{variant}/{sae}/seed-{seed}`.
        format: one of `exports.formats.FORMATS`.

    Raises:
        InputError: there is no such format, or an SAE that it cannot express.
    """
    if format not in FORMATS:
        raise InputError(f"exports.formats has {format!r}: use {', '.join(FORMATS)}.")
    model = read_description(model_dir)
    entries: list[dict[str, Any]] = []
    progress = Progress(f"Exporting to {format}", len(saes))
    for source in saes:
        sae = load_sae(source, fingerprint=model.fingerprint)
        check_export(format, sae.config["architecture"], f"{source} is to be exported to {format}")
        name, _, start = sae.config["cluster"].partition("@")
        for layer in sae.layers:
            place = Path(*source.parts[-3:], FOLDERS[format].format(layer=layer))
            FORMATS[format](index.parent / place, LayerSAE(sae, layer, model))
            entries.append(
                {
                    "folder": place.as_posix(),
                    "layer": layer,
                    "cluster": name,
                    "starts_from": start or None,
                    "layers": list(sae.layers),
                    "variant": sae.config["variant"],
                    "seed": sae.config["seed"],
                }
            )
        progress.update()
    progress.close()
    write_json(index, {"format": format, "model": model.source, "saes": entries})


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        saes=[Path(path).parent for path in snakemake.input.saes],
        model_dir=Path(snakemake.input.description).parent,
        format=snakemake.wildcards.format,
        index=Path(snakemake.output[0]),
    )
