"""One page of everything that a run has found: an HTML file that needs nothing else."""
