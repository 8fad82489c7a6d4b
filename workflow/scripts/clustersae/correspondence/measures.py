"""Names of what is measured between latents; apart from the measuring, so that none need torch."""

#: Of every pairing of latents (see `evaluation.correspondence`), means over its pairs.
CORRESPONDENCE_MEASURES = (
    *("mean_cosine", "share_above_0.9"),
    *("jaccard", "jaccard_weighted", "correlation"),
)
