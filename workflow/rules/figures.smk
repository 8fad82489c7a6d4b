# The figures, each from the tables alone, and the captions that say how to read them.

FIGURES = []
