"""Tests that want a GPU: left out where there is none, unless they are sent elsewhere."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

#: Names another device than the GPU: cpu, to rehearse.
DEVICE = "CLUSTERSAE_GPU_TESTS"


@pytest.fixture
def where() -> torch.device:
    """The device under test; float32 products are float32 there."""
    name = os.environ.get(DEVICE, "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


@pytest.fixture
def close(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Holds ‖found − expected‖ / ‖expected‖ against a limit, and writes both down."""

    def check(found: Tensor, expected: Tensor, limit: float, what: str = "result") -> None:
        found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
        assert found.shape == expected.shape
        error = ((found - expected).norm() / expected.norm().clamp_min(1e-30)).item()
        record_property(f"{what}: relative error", error)
        record_property(f"{what}: allowed", limit)
        assert error <= limit, f"{what} differs by {error:.2g}, and {limit:g} is allowed"

    return check


@pytest.fixture
def same(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Holds two tensors against each other, bit by bit."""

    def check(found: Tensor, expected: Tensor, what: str = "result") -> None:
        n_other = int((found.detach().cpu() != expected.detach().cpu()).sum())
        record_property(f"{what}: entries of other bits", n_other)
        assert n_other == 0, f"{what}: {n_other} of {found.numel()} entries have other bits"

    return check
