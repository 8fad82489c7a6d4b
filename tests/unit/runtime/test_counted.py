"""Numbers with the noun that they count."""

import numpy as np
import pytest

from clustersae.runtime.words import counted


@pytest.mark.parametrize(
    ("count", "said"),
    [
        *[(0, "0 tokens"), (1, "1 token"), (2, "2 tokens"), (np.int64(1), "1 token")],
        *[(1.0, "1 token"), (1.4, "1 token"), (1.6, "2 tokens"), (12345, "12345 tokens")],
    ],
)
def test_one_is_singular(count, said):
    assert counted(count, "token") == said
