"""Memory of this process."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Return the largest memory (bytes) that this process has held so far, 0 where the system does not
    tell.

    Linux keeps the mark of this address space; ``ru_maxrss`` of a new process starts at the size of the
    process that made it, and serves elsewhere.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)
