"""How latents are read: their code of a text, the tokens of that text, and which belong together.

What several questions need; it knows none of them.
"""
