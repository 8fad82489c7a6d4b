"""Load an export with the tool that it is for, and let that encode and decode.

    python tests/interop/peer.py FORMAT FOLDER X OUTPUT

X is a safetensors file with `x` [n, d_model], OUTPUT gets `active` [n, d_sae] (dense) and `decoded`
[n, d_model]. Runs in the peers' environment, which knows nothing of this project.
"""

import sys

import torch
from safetensors.torch import load_file, save_file


@torch.no_grad()
def main(format: str, folder: str, x_file: str, output: str) -> None:
    x = load_file(x_file)["x"]
    if format == "saelens":
        from sae_lens import SAE

        sae = SAE.load_from_disk(folder, device="cpu")
        active = sae.encode(x)
        decoded = sae.decode(active)
    elif format == "dictionary_learning":
        from dictionary_learning.utils import load_dictionary

        sae, _ = load_dictionary(folder, device="cpu")
        active = sae.encode(x)
        decoded = sae.decode(active)
    else:
        from sparsify import SparseCoder

        sae = SparseCoder.load_from_disk(folder, device="cpu")
        found = sae.encode(x)
        active = torch.zeros(len(x), sae.num_latents)
        active.scatter_(1, found.top_indices.long(), found.top_acts)
        decoded = sae.decode(found.top_acts, found.top_indices)
    save_file({"active": active.contiguous(), "decoded": decoded.contiguous()}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
