"""Memory of this process."""

import sys


def peak_memory() -> int:
    """Return the largest memory (bytes) that this process has held so far, 0 where the system does not
    tell.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)
