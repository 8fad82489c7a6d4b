"""Downstream tasks as text, and the same tasks as tokens of one model."""
