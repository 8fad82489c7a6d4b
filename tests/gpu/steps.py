"""Stage b: one SAE step beside those of other trainers, and beside what it cannot do without."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from sae_settings_of import topk_settings
from torch import Tensor

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.errors import first_line
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import EagerStep
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.training import Step, Trainer, choose_step
from clustersae.sae.triton_step import TritonStep
from gpu import card, peers
from gpu.stages import Job

Chooser = Callable[[SparseAutoencoder, SAESettings], Step]
#: Batches that are taken in turn, so that no cache holds what is measured.
N_BATCHES = 8
GOALS = {"against_fastest_peer": 3.0, "against_floor": 2.0}


def run(job: Job) -> None:
    """Every shape: ours, the floor, every peer; TF32 on and off."""
    versions = card.versions(tuple(peers.DISTRIBUTIONS.values()))
    job.record.put(versions=versions)
    with peers.empty_modules() as replaced:
        for batch, *shape in job.settings["shapes"]:
            for tf32 in (True, False):
                _measure(job, batch, tuple(shape), tf32)
                job.record.put(replaced_by_empty_modules=sorted(replaced))
    card.set_precision(job.settings["tf32"])
    rows = [compared(name, found) for name, found in job.record.content["shapes"].items()]
    job.record.put(compared=rows, summary=[_line(row) for row in rows])


def shape_name(batch: int, d_model: int, d_sae: int, k: int) -> str:
    return f"batch {batch}, d_model {d_model}, d_sae {d_sae}, k {k}"


def _measure(job: Job, batch: int, shape: tuple[int, int, int], tf32: bool) -> None:
    name, products = shape_name(batch, *shape), "tf32" if tf32 else "float32"
    found: dict[str, Any] = job.record.content.get("shapes", {}).get(name, {})
    card.set_precision(tf32)
    data = batches(batch, shape[0], job.where)

    def timed(label: str, make: Callable[[], Callable[[Tensor], Any]]) -> None:
        key = f"{label}, {products}"
        if "median" in found.get(key, {}):
            return
        try:
            step = make()
            found[key] = time_of(step, data, job) | done_by(step)
        except Exception as error:  # of another project's code, which may fail in any way
            found[key] = {"missing": reason(error)}
        job.record.add("shapes", name, found)

    found["floor"] = floor(shape, batch, job) if "floor" not in found else found["floor"]
    for label, choose in OURS.items():
        timed(label, partial(our_step, *shape, job.where, choose))
    for peer, make in peers.PEERS.items():
        try:
            contestants = make(*shape, batch, job.where)
        except Exception as error:
            job.record.add("left_out", peer, {"missing": reason(error)})
            continue
        for variant, each in contestants.items():
            timed(f"{peer} {variant}", partial(_step_of, each))


def _step_of(make: Callable[[], Any]) -> Any:
    return make().step


def reason(error: Exception) -> str:
    """Its kind and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)[:200]}"


def batches(n: int, d_model: int, where: torch.device) -> list[Tensor]:
    """Random activations of unit variance, [n, d_model] each."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, d_model, generator=generator).to(where) for _ in range(N_BATCHES)]


def time_of(step: Callable[[Tensor], Any], data: list[Tensor], job: Job) -> dict[str, float]:
    return card.milliseconds(
        lambda number: step(data[number % len(data)]),
        job.where,
        job.settings["inner"],
        job.settings["repeats"],
    )


def triton(halves: bool) -> Chooser:
    """The step in Triton, or the reason why there is none."""

    def choose(sae: SparseAutoencoder, settings: SAESettings) -> Step:
        if sae.W_dec.device.type != "cuda":
            raise RuntimeError("the Triton step is not available on a CPU")
        from clustersae.sae import triton_kernels

        return TritonStep(sae, settings, triton_kernels, halves)

    return choose


#: Our steps: the one that a job takes, and others to compare it with.
OURS: dict[str, Chooser] = {
    "ours": choose_step,
    "ours, PyTorch's operations": EagerStep,
    "ours, Triton with float32 products": triton(halves=False),
    "ours, Triton with bfloat16 products": triton(halves=True),
}


def done_by(step: Any) -> dict[str, Any]:
    """What does a step of ours, and whether its encoder's product is one of bfloat16."""
    trainer = getattr(step, "__self__", None)
    if not isinstance(trainer, Trainer):
        return {}
    return {"step": trainer.optimise.name, "halves": getattr(trainer.optimise, "halves", False)}


def our_step(
    d_model: int, d_sae: int, k: int, where: torch.device, choose: Chooser = choose_step
) -> Callable[[Tensor], None]:
    """A whole step of this project's trainer: gradients, optimiser, norms and counters."""
    settings = topk_settings(d_sae, k, n_steps=10**6, batch_size=0, learning_rate=1e-4)
    sae = TopK((0,), d_sae, k, torch.zeros(1, d_model), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(0))
    return Trainer(sae.to(where), settings, choose).step


def floor(shape: tuple[int, int, int], batch: int, job: Job) -> dict[str, float]:
    """Milliseconds of the encoder's product in bfloat16 and of one write of its result."""
    d_model, d_sae, _ = shape
    data = [each.bfloat16() for each in batches(batch, d_model, job.where)]
    weights = torch.randn(d_model, d_sae).to(job.where, torch.bfloat16)
    output = torch.empty(batch, d_sae, device=job.where, dtype=torch.bfloat16)
    target = torch.empty(batch, d_sae, device=job.where)
    product = time_of(lambda x: torch.mm(x, weights, out=output), data, job)["median"]
    write = time_of(lambda x: target.fill_(1.5), data, job)["median"]
    return {"encoder_product_bfloat16": product, "write_float32": write, "sum": product + write}


def compared(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Our fastest step beside the fastest of the peers, and beside the floor."""
    times = {key: each["median"] for key, each in found.items() if "median" in each}
    ours = min((value, key) for key, value in times.items() if key.startswith("ours"))
    rivals = [(value, key) for key, value in times.items() if not key.startswith("ours")]
    fastest = min(rivals) if rivals else None
    row: dict[str, Any] = {"shape": name, "ours_ms": ours[0], "ours": ours[1]}
    row |= {"floor_ms": found["floor"]["sum"], "against_floor": ours[0] / found["floor"]["sum"]}
    row["within_twice_the_floor"] = row["against_floor"] <= GOALS["against_floor"]
    if fastest:
        ratio = fastest[0] / ours[0]
        row |= {"fastest_peer_ms": fastest[0], "fastest_peer": fastest[1]}
        row |= {"times_faster": ratio, "goal_met": ratio >= GOALS["against_fastest_peer"]}
    return row


def _line(row: dict[str, Any]) -> str:
    rival = (
        f"fastest peer {row['fastest_peer_ms']:.3f} ms ({row['fastest_peer']}):"
        f" {row['times_faster']:.2f} x"
        if "fastest_peer" in row
        else "no peer"
    )
    return (
        f"{row['shape']}: {row['ours_ms']:.3f} ms ({row['ours']}); {rival}; floor"
        f" {row['floor_ms']:.3f} ms: {row['against_floor']:.1f} x"
    )
