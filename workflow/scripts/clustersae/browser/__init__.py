"""A page on which the latents of a run can be looked through, offline and from a file.

In the order of use:

    directions  what latents write: effects on logits, and the per-layer latents nearest to them
    groups      whose latents are shown, and which SAEs started from which
    contexts    passages with the highest activations, as arrays
    reading     what was measured of the latents of one group
    index       a few numbers and words for each latent, for the list
    details     everything else, in chunks that the page loads when they are looked at
    pieces      data as scripts: what a page that was opened from a file may load
    page/       the page itself
    neuronpedia the same latents as Neuronpedia and SAEDashboard store them
"""
