"""The package `benchmarks` stands beside `src`; `python -m pytest` finds it, a bare `pytest` needs this."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)
