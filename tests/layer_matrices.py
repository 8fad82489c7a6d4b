"""Distance matrices between layers, made by hand or drawn by hypothesis."""

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.distance import squareform


def on_a_line(*positions: float) -> np.ndarray:
    """Distances between layers at these positions."""
    x = np.array(positions, dtype=float)
    return abs(x[:, None] - x)


def random_matrix(n_layers: int, seed: int) -> np.ndarray:
    """Distances all different from one another."""
    n_pairs = n_layers * (n_layers - 1) // 2
    return squareform(np.random.default_rng(seed).random(n_pairs))


@st.composite
def _tied(draw) -> np.ndarray:
    n_layers = draw(st.integers(2, 8))
    n_pairs = n_layers * (n_layers - 1) // 2
    few = st.sampled_from([0.25, 0.5, 1.0])
    return squareform(np.array(draw(st.lists(few, min_size=n_pairs, max_size=n_pairs))))


#: Two to eight layers with few different distances, so that ties are everywhere.
tied_matrices = _tied()

#: Two to eight layers without ties.
tie_free_matrices = st.builds(random_matrix, st.integers(2, 8), st.integers(0, 10**6))
