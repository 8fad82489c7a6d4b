from clustersae.run import Run as Run
from clustersae.sae.storage import load_sae as load

__all__ = ["Run", "load"]
__version__: str
