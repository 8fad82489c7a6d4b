"""How many SAEs a script holds: those of real models take GB each."""

from types import ModuleType
from weakref import WeakSet

from clustersae.sae.storage import load_sae


class Held:
    """Stands in for `load_sae` in a script, and counts what has been loaded and not let go.

    Attributes:
        most: SAEs that were alive at once, each counted from when it was read.
    """

    def __init__(self, monkeypatch, script: ModuleType) -> None:
        self._alive, self.most = WeakSet(), 0
        monkeypatch.setattr(script, "load_sae", self)

    def __call__(self, *arguments):
        sae = load_sae(*arguments)
        self._alive.add(sae)
        self.most = max(self.most, len(self._alive))
        return sae
