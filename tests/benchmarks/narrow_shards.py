"""What a narrow format of cached activations costs: FVU of SAEs that were trained on them.

    PYTHONPATH=workflow/scripts:tests python tests/benchmarks/narrow_shards.py DATA OUTPUT

A real pretrained model (stories260k, below DATA, see `tests/configs/stories260k.yaml`) is cached in
every format, each in a run of the workflow of its own. On each, one SAE of two layers is trained,
with the same seeds; FVU is that of the test split in float32. `change_where_read` is of the SAE
that was trained on float32, where it reads the test split in that format. Asserts nothing.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import torch
import train_sae
import yaml
from configurations import load
from snakemake_project import REPOSITORY, Project

from clustersae.activations.shards import open_shards
from clustersae.sae.storage import load_sae
from clustersae.sae.validation import validate

CONFIG = REPOSITORY / "tests" / "configs" / "stories260k.yaml"
FORMATS = ("float32", "bfloat16", "int8")
MODEL, CLUSTER, SEEDS = "stories260k", "1+3", range(8)
TOKENS = {"train": 300_000, "validation": 20_000, "test": 30_000}


def cached(folder: Path, config: dict[str, Any], dtype: str) -> Path:
    """The folder of activations of a run up to its statistics, and of the test split."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    project = Project.create(folder / "project", folder / "config.yaml")
    project.configure(activations={"dtype": dtype, "tokens": TOKENS})
    made = f"results/{MODEL}/activations"
    project.run(f"{made}/statistics.safetensors", f"{made}/test/shard-0.safetensors")
    return project.folder / made


def split(activations: Path, name: str) -> list[Path]:
    return sorted((activations / name).glob("*.safetensors"))


def measured(folder: Path, data: Path) -> list[dict[str, Any]]:
    config = yaml.safe_load(CONFIG.read_text().replace("DATA", str(data)))
    config["evaluation"]["tasks"] = []
    (settings,) = load(config).values()
    sae = settings["sae"] | {"training_tokens": TOKENS["train"], "batch_size": 256}
    found = {dtype: cached(folder / dtype, config, dtype) for dtype in FORMATS}
    tests = {dtype: open_shards(split(each, "test")) for dtype, each in found.items()}
    rows = []
    for dtype, activations in found.items():
        shards = split(activations, "train")
        size = sum(file.stat().st_size for file in shards)
        for seed in SEEDS:
            to = folder / f"{dtype}-{seed}"
            train_sae.main(
                shards, activations / "statistics.safetensors", to, CLUSTER, "base", seed, sae,
                [torch.device("cpu")],
            )  # fmt: skip
            fvu = validate(load_sae(to), tests["float32"]).fvu
            plain = load_sae(folder / f"float32-{seed}")
            alone, read = (validate(plain, tests[each]).fvu for each in ("float32", dtype))
            rows.append(
                {
                    **{"format": dtype, "bytes": size, "seed": seed, "fvu": fvu},
                    "change": fvu / alone - 1,
                    "change_where_read": read / alone - 1,
                }
            )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        table = measured(Path(temporary), options.data.resolve())
    options.output.mkdir(parents=True, exist_ok=True)
    with open(options.output / "narrow.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
