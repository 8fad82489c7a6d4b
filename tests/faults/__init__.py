"""Faults at random moments of a small experiment, and whether the documented commands mend them."""
