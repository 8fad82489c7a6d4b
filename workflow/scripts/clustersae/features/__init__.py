"""What the latents of SAEs mean on each layer that they serve, judged without a language model.

In the order of use:

    spread      on which layers a latent is active (Lawson et al. 2024)
    rules       a few tokens, or tokens after tokens, that tell when a latent fires
    meaning     whether the rule of one layer holds on another
    matched     the same of per-layer SAEs, matched between layers: the control
    shares      how much a rule must keep to count
    sweep       how much a rule must keep, and whether that matters
    similarity  decoder directions beside those of per-layer SAEs
    coverage    the best latent for each known factor of toy English
    contexts    the passages in which a latent is most active, and some in which it is silent
    baseline    the per-layer SAEs of all seeds
    measuring   all of this for one group, layer by layer
"""
