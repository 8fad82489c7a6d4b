"""Forward pass and loss of each architecture and those of a tool that has it, on equal weights."""

from functools import partial

import pytest
import torch
from every_architecture import moved_sae
from peer_tools import INTEROP, ROOT, needs_interop, run
from safetensors.torch import load_file, save_file

from clustersae.sae.loss import fvu_loss

pytestmark = [pytest.mark.long, needs_interop]

SPARSITY = 0.7


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka", "jumprelu", "relu", "gated"])
def test_the_tool_has_the_same_reconstruction_and_loss(name, tmp_path):
    sae = moved_sae(name, (0,), (1.0,))
    x = torch.randn(50, sae.d_model, generator=torch.Generator().manual_seed(4))
    given = {each: value.detach() for each, value in sae.state_dict().items()}
    given |= {"x": x, "k": torch.tensor(sae.k), "sparsity": torch.tensor(SPARSITY)}
    if name == "matryoshka":
        given["prefixes"] = torch.tensor(sae.prefixes)
    save_file({each: value.contiguous() for each, value in given.items()}, tmp_path / "given")
    arguments = [ROOT / "tests/interop/losses.py", name, tmp_path / "given", tmp_path / "found"]
    run(INTEROP, *arguments)
    found = load_file(tmp_path / "found")

    output = sae.forward_training(x)
    torch.testing.assert_close(found["reconstruction"], output.reconstruction)
    # They sum errors over dimensions and average over tokens; FVU divides by d_model as well.
    # The weight of L1 is divided by d_model here, that of the squared distance from k is not.
    own = SPARSITY / sae.d_model if name == "jumprelu" else SPARSITY
    loss = (
        sae.loss(fvu_loss(x, output.reconstruction), partial(fvu_loss, x), output, own)
        * sae.d_model
    )
    # SAELens adds inner losses up, here is their mean.
    losses = 1 + len(sae.prefixes) if name == "matryoshka" else 1
    torch.testing.assert_close(found["loss"], loss.detach() * losses)
