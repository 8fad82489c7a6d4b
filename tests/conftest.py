"""Shared by all tests: one thread per process, since tensors here are tiny."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
