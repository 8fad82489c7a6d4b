"""One command for a GPU: tests, speed and the published models, within the time that there is."""
