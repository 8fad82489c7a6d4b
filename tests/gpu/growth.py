"""Stage g: how a step grows with the number of latents and with k."""

import math

from gpu import steps
from gpu.stages import Job


def run(job: Job) -> None:
    """Every pair of d_sae and k at one d_model, and the slopes in between."""
    settings = job.settings
    data = steps.batches(settings["batch"], settings["d_model"], job.where)
    for d_sae in settings["d_sae"]:
        for k in settings["k"]:
            name = f"{d_sae}, {k}"
            if not job.record.has("milliseconds", name):
                step = steps.our_step(settings["d_model"], d_sae, k, job.where)
                job.record.add("milliseconds", name, steps.time_of(step, data, job))
    times = {
        tuple(map(int, name.split(", "))): found["median"]
        for name, found in job.record.content["milliseconds"].items()
    }
    k, d_sae = settings["k"][0], settings["d_sae"][-1]
    growth = {
        "with_d_sae": slope([(each, times[each, k]) for each in settings["d_sae"]]),
        "with_k": slope([(each, times[d_sae, each]) for each in settings["k"]]),
    }
    line = (
        f"d_model {settings['d_model']}: a step grows as d_sae^{growth['with_d_sae']:.2f} (k {k})"
        f" and as k^{growth['with_k']:.2f} (d_sae {d_sae})"
    )
    job.record.put(exponents=growth, summary=[line])


def slope(points: list[tuple[int, float]]) -> float:
    """The exponent p of y ~ x^p, by least squares of logarithms."""
    x, y = zip(*((math.log(a), math.log(b)) for a, b in points))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    return above / sum((a - mean_x) ** 2 for a in x)
