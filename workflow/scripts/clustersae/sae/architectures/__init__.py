"""One file for each architecture of SAEs."""
