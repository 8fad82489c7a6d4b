"""What a language model makes of latents: it explains them, and recognises them by its words.

Scores are those of delphi (Paulo et al. 2024, arXiv:2410.13928). In the order of use:

    contexts   which latents are judged, by which of their contexts
    examples   those contexts as text, with tokens marked
    questions  what is asked, and how replies are read
    store      replies on disk, so that nothing is asked twice
    asking     questions asked of an endpoint until they are answered, within bounds
    scoring    balanced accuracies of every latent and layer
"""
