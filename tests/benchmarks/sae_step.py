"""One optimiser step of this trainer beside those of others: `make bench`.

`measure FOLDER` runs in the environment of envs/interop.txt, all trainers in one process and in
turns, on the same activations: sparse sums of a planted dictionary. Every time is also given in
units of the bare product x @ W_enc in float32 of the same shape and run, since machines differ and
are shared. `draw FOLDER` makes the figure from the tables. Asserts nothing.
"""

import argparse
import csv
import ctypes
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

SHAPE = ("batch", "d_model", "d_sae", "k")
SHAPES = [(4096, 384, 3072, 32), (2048, 768, 12288, 32), (512, 576, 4608, 32), (128, 576, 4608, 32)]
#: Where FVU is compared: the best of these learning rates, each for so many steps.
LEARNING, STEPS, RATES = (512, 128, 1024, 16), 2000, (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
CPU = "cpu"


def planted(n: int, batch: int, d_model: int):
    """n batches [batch, d_model]: sums of few of 4 · d_model directions, common and rare ones."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(
        torch.randn(4 * d_model, d_model, generator=generator), dim=1
    )
    often = torch.logspace(-1, -3, 4 * d_model)
    for _ in range(n):
        on = torch.rand(batch, 4 * d_model, generator=generator) < often
        x = (on * (0.5 + torch.rand(on.shape, generator=generator))) @ rows
        x += 0.02 * torch.randn(x.shape, generator=generator)
        yield x * (d_model / x.square().sum(1).mean()).sqrt()


def ours(batch: int, d_model: int, d_sae: int, k: int, rate: float) -> dict[str, Any]:
    """This trainer: compiled, as it is, and with PyTorch's own operations."""
    import torch
    from gpu.peers import Contestant
    from sae_settings_of import topk_settings

    from clustersae.sae.architectures.topk import TopK
    from clustersae.sae.eager import EagerStep
    from clustersae.sae.training import Trainer, choose_step

    settings = topk_settings(d_sae, k, n_steps=10**6, batch_size=batch, learning_rate=rate)

    def made(choose: Callable[..., Any]) -> Any:
        sae = TopK((0,), d_sae, k, torch.zeros(1, d_model), torch.ones(1))
        sae.initialise(torch.Generator().manual_seed(0))
        return Contestant(Trainer(sae, settings, choose).step, sae.reconstruct)

    return {"as it is": partial(made, choose_step), "without compiler": partial(made, EagerStep)}


def makers(rate: float) -> dict[str, Callable[..., dict[str, Any]]]:
    """Every trainer by name; each makes its variants for (batch, d_model, d_sae, k)."""
    import torch
    from gpu import peers

    def of(peer: Callable[..., dict[str, Any]], batch: int, *shape: int) -> dict[str, Any]:
        return peer(*shape, batch, torch.device(CPU), rate)

    return {"clustersae": partial(ours, rate=rate)} | {
        name: partial(of, peer) for name, peer in peers.PEERS.items()
    }


def contestants(
    shape: tuple[int, ...], data: list[Any], rate: float = 1e-4
) -> dict[tuple[str, str], Any]:
    """Every variant that can do a step here, after its first."""
    made = {}
    for name, make in makers(rate).items():
        for variant, each in make(*shape).items():
            try:
                contestant = each()
                contestant.step(data[0])
            except Exception as error:  # of another project's code, which may fail in any way
                print(f"left out: {name}, {variant}: {type(error).__name__}", file=sys.stderr)
                continue
            made[name, variant] = contestant
    return made


def milliseconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


def time_shape(shape: tuple[int, int, int, int], seconds: float) -> list[dict[str, Any]]:
    """A row for each trainer, after at least two turns of all of them."""
    import torch

    batch, d_model, d_sae, _ = shape
    data = list(planted(4, batch, d_model))
    weights, out = torch.randn(d_sae, d_model).t(), torch.empty(batch, d_sae)
    steps = {key: each.step for key, each in contestants(shape, data).items()}
    product: dict[Any, Callable[[torch.Tensor], Any]] = {
        ("product", "float32"): lambda x: torch.mm(x, weights, out=out)
    }
    times: dict[Any, list[float]] = {key: [] for key in product | steps}
    started, turn = time.monotonic(), 0
    while turn < 2 or time.monotonic() - started < seconds * len(steps):
        for key, step in (product | steps).items():
            times[key].append(milliseconds(partial(step, data[turn % len(data)])))
        turn += 1
    bare = min(times["product", "float32"])
    return [
        {
            "batch": batch, "d_model": d_model, "d_sae": d_sae, "k": shape[3],
            "trainer": name, "variant": variant, "turns": turn,
            "min_ms": min(each), "median_ms": statistics.median(each),
            "ratio_to_product": min(each) / bare,
            "activations_per_second": round(1000 * batch / min(each)),
        }
        for (name, variant), each in times.items()
    ]  # fmt: skip


def resident(field: str) -> float:
    """MB of this process, now (VmRSS) or at its peak (VmHWM), as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def memory_of(name: str, variant: str, shape: tuple[int, int, int, int]) -> None:
    """Print the MB that making this trainer and three steps took, in a process of its own."""
    data = list(planted(1, shape[0], shape[1]))
    made = makers(1e-4)[name](*shape)[variant]
    ctypes.CDLL(None).malloc_trim(0)  # what is free is given back, ...
    Path("/proc/self/clear_refs").write_text("5")  # ... and the peak so far forgotten
    before = resident("VmRSS")
    step = made().step
    for _ in range(3):
        step(data[0])
    print(resident("VmHWM") - before)


def peak_megabytes(name: str, variant: str, shape: Sequence[int]) -> float:
    command = [sys.executable, __file__, "memory", name, variant, *map(str, shape)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return round(float(done.stdout.strip().splitlines()[-1]), 1)


def learn() -> list[dict[str, Any]]:
    """FVU on held-out activations after equal steps, at every learning rate."""
    import torch

    batch, d_model, *_ = LEARNING
    *data, held_out = planted(201, batch, d_model)
    rows = []
    for rate in RATES:
        for (name, variant), each in contestants(LEARNING, data, rate).items():
            for step in range(1, STEPS):
                each.step(data[step % len(data)])
            with torch.no_grad():
                rest = held_out - each.reconstruct(held_out)
            centred = held_out - held_out.mean(0)
            fvu = (rest.square().sum() / centred.square().sum()).item()
            rows.append({"trainer": name, "variant": variant, "rate": rate, "fvu": fvu})
            print(rows[-1], flush=True)
    return rows


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
            for row in rows
        )


def measure(folder: Path, seconds: float) -> None:
    import torch
    from gpu import card, peers

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    versions = card.versions(tuple(peers.DISTRIBUTIONS.values()))
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "versions": versions,
    }
    (folder / "machine.json").write_text(json.dumps(machine, indent=2) + "\n")
    rows = [row for shape in SHAPES for row in time_shape(shape, seconds)]
    write(folder / "steps.csv", rows)
    for row in rows:
        key, shape = (row["trainer"], row["variant"]), [row[name] for name in SHAPE]
        row["peak_mb"] = "" if key[0] == "product" else peak_megabytes(*key, shape)
    write(folder / "steps.csv", rows)
    write(folder / "fvu.csv", learn())


def draw(folder: Path) -> None:
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = pd.read_csv(folder / "steps.csv")
    table = table[table["trainer"] != "product"]
    shapes = list(dict.fromkeys(zip(table["batch"], table["d_model"], table["d_sae"], table["k"])))
    figure, axes = plt.subplots(
        1, len(shapes), figsize=(11, 3.4), sharey=True, layout="constrained"
    )
    for axis, (batch, d_model, d_sae, k) in zip(axes, shapes):
        here = table[(table["batch"] == batch) & (table["d_sae"] == d_sae)][::-1]
        names = here["trainer"] + ", " + here["variant"]
        colours = ["#0072b2" if name == "clustersae" else "#999999" for name in here["trainer"]]
        bars = axis.barh(names, here["ratio_to_product"], color=colours)
        axis.axvline(1, color="black", linewidth=0.8)
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axis.bar_label(bars, fmt="%.2g", padding=3, fontsize=8, bbox=plain)
        axis.set_title(f"batch {batch:,}, {d_model} → {d_sae:,}, k {k}", fontsize=9)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("time of a step, in units of the product x @ W_enc in float32", fontsize=9)
    figure.savefig(folder / "steps.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("measure", "draw"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
    about = "time for each trainer at each shape"
    commands.choices["measure"].add_argument("--seconds", type=float, default=20.0, help=about)
    one = commands.add_parser("memory")
    one.add_argument("trainer")
    one.add_argument("variant")
    one.add_argument("shape", type=int, nargs=4)
    given = parser.parse_args()
    if given.command == "draw":
        draw(given.folder)
        return
    from gpu import peers

    with peers.empty_modules():
        if given.command == "measure":
            measure(given.folder, given.seconds)
        else:
            memory_of(given.trainer, given.variant, tuple(given.shape))


if __name__ == "__main__":
    main()
