"""Intervals and ratios, for the tables of all questions."""
