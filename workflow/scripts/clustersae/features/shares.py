"""How much of a rule must be left on another layer; apart from the measuring, which needs torch."""

#: A meaning is kept if as much of what the rule has above the floor is left on the other layer.
KEPT_SHARE = 0.5
#: Other shares that may be asked for, to see whether it matters which.
SHARES = (0.25, KEPT_SHARE, 0.75, 0.9)
