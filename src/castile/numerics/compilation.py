"""Compilation of the kernels: where its results are kept, and why the first call takes long."""

import logging
import tempfile
from typing import Any

import numba
from numba import njit
from numba.core import event

_logger = logging.getLogger("castile")
_COMPILATION = "numba:compile"


class _Announcer(event.Listener):
    """Says once that kernels are being compiled; what comes from Numba's cache does not count."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        function = getattr(event.data.get("dispatcher"), "py_func", None)
        if not self.said and getattr(function, "__module__", "").startswith("castile."):
            self.said = True
            _logger.warning(
                "compiling the numerical kernels for this machine: under half a minute, only the first time"
            )

    def on_end(self, event: Any) -> None:
        return None


def announce_compilation() -> None:
    """Log one line (logger ``castile``, level warning) when the first kernel is compiled in this process."""
    event.register(_COMPILATION, _Announcer())


def find_cache_folder() -> None:
    """Compile into a temporary folder where neither the package's nor the user's folders can be written.

    Numba keeps compiled kernels beside the package, or else in the user's cache folder; with neither,
    decorating a kernel would fail. The temporary folder belongs to this process alone, since Numba's files
    are
    pickles.
    """

    def probe() -> None:
        return None

    try:
        njit(cache=True)(probe)
    except RuntimeError:
        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="castile-kernels-")  # type: ignore[attr-defined]
        _logger.warning(
            "no folder for compiled kernels can be written: they are compiled again by every process; "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        )
