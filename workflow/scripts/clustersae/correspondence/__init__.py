"""Whether the latents of SAEs with a common start correspond, by index, across layers."""
