"""What circuits are found in: a tiny model of every family, and SAEs of it."""

import pytest
from language_models import D_MODEL, FAMILIES, tiny_stream
from tiny_circuits import D_SAE, K, random_sae

from clustersae.circuits.dictionaries import dictionaries_of


@pytest.fixture(scope="module", params=FAMILIES)
def stream(request, tmp_path_factory):
    return tiny_stream(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def saes():
    """One SAE for the layers 0 and 2, one for layer 1: none of them any good."""
    shared = random_sae((0, 2), D_MODEL, D_SAE, K, seed=1)
    return dictionaries_of([shared, random_sae((1,), D_MODEL, D_SAE, K, seed=2)])
