"""Sparse feature circuits (Marks et al. 2024): which latents carry a behaviour, and how much of it.

In the order of use:

    pairs         prompts with and without the behaviour; the metric m
    recording     what the model alone does on them: streams and gradients, shared by all SAEs
    dictionaries  how the stream of a layer is written as latents and an error
    nodes         all latents and errors of all layers, numbered and ranked
    attribution   their indirect effects: attributed (cheap, all of them) and exact (a few)
    ablation      what stands in for the nodes outside a circuit
    splicing      the stream of a layer with a circuit kept and the rest ablated
    faithfulness  m of the circuits of many sizes, all at once
    curves        faithfulness, completeness, areas under their curves, intervals
    controls      random circuits
"""
