"""Compilation of the kernels: where its results are kept, the wait at the first call, and Ctrl-C."""

import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import numba
from numba import njit
from numba.core import event

Result = TypeVar("Result")

_logger = logging.getLogger("castile")
_COMPILATION, _COMPILER_LOCK = "numba:compile", "numba:compiler_lock"


class _Announcer(event.Listener):
    """Says once that kernels are being compiled; what comes from Numba's cache does not count."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """Log the line at the first function of Castile."""
        function = getattr(event.data.get("dispatcher"), "py_func", None)
        if not self.said and getattr(function, "__module__", "").startswith("castile."):
            self.said = True
            _logger.warning(
                "compiling the numerical kernels for this machine: under half a minute, only the first time"
            )

    def on_end(self, event: Any) -> None:
        """Nothing to do."""
        return None


def announce_compilation() -> None:
    """Log one line (logger ``castile``, level warning) when the first kernel is compiled in this process."""
    event.register(_COMPILATION, _Announcer())


class _InterruptionDelay(event.Listener):
    """Keeps Ctrl-C until the compiler is done.

    Numba compiles and loads through callbacks from C, which print an exception and go on: an interruption
    would be lost, or leave a kernel without code.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._pending = False
        self._previous: Any = None

    def on_start(self, event: Any) -> None:
        """Keep interruptions from here on; compilations may be nested."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python interrupts the main thread only
        self._depth += 1
        if self._depth == 1:
            self._previous = signal.getsignal(signal.SIGINT)
            if callable(self._previous):
                signal.signal(signal.SIGINT, self._keep)

    def on_end(self, event: Any) -> None:
        """Restore the handler after the outermost compilation, and interrupt if that was asked for."""
        if threading.current_thread() is not threading.main_thread() or self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0 and callable(self._previous):
            signal.signal(signal.SIGINT, self._previous)
            pending, self._pending = self._pending, False
            if pending:
                signal.raise_signal(signal.SIGINT)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._pending = True


def call_kernel(kernel: Callable[..., Result], *arguments: Any) -> Result:
    """Call a compiled function that returns arrays, and let Ctrl-C be a KeyboardInterrupt there, too.

    Numba runs a little Python to wrap arrays. An interruption that comes just then leaves a SystemError,
    which a loop that carries on after errors would take for an error of the item at hand.
    """
    try:
        return kernel(*arguments)
    except SystemError as error:
        cause: BaseException | None = error
        while isinstance(cause, SystemError):
            cause = cause.__cause__
        if isinstance(cause, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def delay_interruptions() -> None:
    """Let Ctrl-C act after the kernel that is being compiled or loaded, not in the middle of it."""
    event.register(_COMPILER_LOCK, _InterruptionDelay())


def find_cache_folder() -> None:
    """Compile into a temporary folder where neither the package's nor the user's folders can be written.

    Numba keeps compiled kernels beside the package, or else in the user's cache folder; with neither,
    decorating a kernel would fail. The temporary folder belongs to this process alone, since Numba's files
    are pickles.
    """

    def probe() -> None:
        """Any function: decorating it makes Numba look for a folder."""
        return None

    try:
        njit(cache=True)(probe)
    except RuntimeError:
        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="castile-kernels-")  # type: ignore[attr-defined]
        _logger.warning(
            "no folder for compiled kernels can be written: they are compiled again by every process; "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        )
