"""Partitions of the layers into clusters: linkage, contiguous optimum, k-means and controls."""
