"""Sparse autoencoders shared by a cluster of layers: module, loss, training, storage."""
