"""`clustersae init`: a first configuration for a model and a text, and what it will cost."""
