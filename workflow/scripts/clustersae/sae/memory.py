"""What a training step needs, and what to say where it does not fit."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clustersae.runtime import device
from clustersae.runtime.errors import InputError
from clustersae.sae.module import SparseAutoencoder

#: Batches that can be read in blocks are multiples of this.
MULTIPLE = 128


def fitting_batch(sae: SparseAutoencoder, free: int) -> int:
    """The largest batch, a multiple of 128, that `free` bytes have room for; 0 if none does."""
    return free // sae.bytes_per_token() // MULTIPLE * MULTIPLE


@contextmanager
def room_for_batch(sae: SparseAutoencoder, batch_size: int) -> Iterator[None]:
    """Around a step: memory that runs out becomes an InputError that names what would fit."""
    try:
        yield
    except torch.OutOfMemoryError as error:  # which devices alone raise
        traceback.clear_frames(error.__traceback__)  # what the step still holds is free for another
        free = device.free_bytes(sae.W_dec.device)
        fits = min(fitting_batch(sae, free), max(batch_size - MULTIPLE, 0))
        remedy = (
            f"a batch of {fits:,} would fit: set sae.batch_size to it"
            if fits
            else "no batch fits: lower sae.expansion_factor or sae.d_sae, or free the device"
        )
        raise InputError(
            f"Out of memory in a training step: a batch of {batch_size:,} needs about"
            f" {batch_size * sae.bytes_per_token() / 2**30:.2g} GiB beside the weights, and"
            f" {free / 2**30:.2g} GiB are free on {sae.W_dec.device}; {remedy}."
        ) from error
