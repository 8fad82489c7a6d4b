"""Tables drawn: one module per figure, no torch."""
