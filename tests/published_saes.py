"""SAEs of one arm with made-up quality, as they are put on a hub."""

from collections.abc import Mapping, Sequence

import pandas as pd

from clustersae.exports.card import Published
from clustersae.models.description import ModelDescription
from clustersae.sae.module import SparseAutoencoder

CORPUS = {
    "source": "data/text/stories.txt",
    "source_sha256": "a" * 64,
    "n_ctx": 64,
    "n_tokens": {"train": 12345, "validation": 10, "test": 10},
}
ARM = pd.Series(
    {
        **{"arm": "complete-2", "partition": "complete-2", "variant": "base", "role": "main"},
        **{"method": "complete", "count": 2, "matched_count": 2.0, "n_layers": 4, "n_seeds": 3},
        **{"excess_fvu": 0.25, "excess_fvu_low": 0.2, "excess_fvu_high": 0.31},
        **{"excess_fvu_worst": 0.5, "ce_clean": 2.5, "ce_all": 2.75, "n_seeds_all": 3},
    }
)


def published(
    repo: str,
    model: ModelDescription,
    saes: Mapping[int, SparseAutoencoder],
    formats: Sequence[str],
) -> Published:
    quality = pd.DataFrame(
        {
            **{"layer": layer, "n_tokens": 500, "fvu": 0.125 + layer, "l0": 5.0},
            **{
                "dead_fraction": 0.25,
                "n_tokens_dead": 900,
                "delta_ce": 0.03,
                "ce_recovered_mean": 0.9,
            },
        }
        for layer in saes
    )
    return Published(repo, model, CORPUS, ARM, quality, saes, formats)
