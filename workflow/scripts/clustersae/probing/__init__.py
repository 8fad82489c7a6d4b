"""How well a few latents tell what is known of a token, beside the whole activation.

labels    what is known of tokens: what generated them, or what their text shows
probes    choose k latents, fit a logistic regression, judge it on other tokens
table     means over layers and labels, with intervals over seeds
text      the same in words
figure    and drawn
"""
