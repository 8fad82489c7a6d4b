"""What jobs have cost, from their records."""

import json

from clustersae.cost.measure import cost_rows


def record(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def benchmark(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
    return path


def test_an_sae_that_was_trained_window_by_window_has_the_time_of_all_its_jobs(tmp_path):
    runs = tmp_path / "benchmarks/m"
    saes, windows = [], []
    for name, earlier in {"0": [3.0, 5.0], "1": []}.items():
        folder = tmp_path / f"saes/base/{name}/seed-7"
        record(folder / "cfg.json", variant="base", cluster=name, seed=7)
        place = f"base/{name}/seed-7"
        own = benchmark(runs / f"train_sae/{place}.tsv", 2.0)
        saes.append((record(folder / "training.json", seconds=1.0), own))
        windows += [
            benchmark(runs / f"train_sae_window/{place}/{window}.tsv", seconds)
            for window, seconds in enumerate(earlier)
        ]
    rows = cost_rows([], saes, windows=windows)
    assert [row["job_seconds"] for row in rows] == [10.0, 2.0]
    assert [row["seconds"] for row in rows] == [1.0, 1.0]


def test_shards_that_pass_by_are_of_the_training_split(tmp_path):
    caching = [
        (
            record(tmp_path / f"activations/{place}/shard-4.json", seconds=1.0, n_tokens=9),
            benchmark(tmp_path / f"{place}.tsv", 2.0),
        )
        for place in ("train", "stream/12")
    ]
    rows = cost_rows(caching, [])
    assert [(row["kind"], row["split"], row["shard"]) for row in rows] == [
        ("caching", "train", "4")
    ] * 2
