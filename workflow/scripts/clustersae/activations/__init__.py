"""Cached residual-stream activations: shards on disk, their statistics, training batches."""
