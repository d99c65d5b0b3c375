"""Effective medium theory that appends a line to a log for each execution, and variants that go wrong."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import CalculationFailed, all_changes
from ase.calculators.emt import EMT


class CountingEMT(EMT):
    """Writes the positions' hash to ``log`` when an execution has ended; sleeps ``delay`` s before."""

    def __init__(self, log, delay=0.0):
        super().__init__()
        self.log, self.delay = Path(log), delay

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute, then write."""
        time.sleep(self.delay)
        super().calculate(atoms, properties, system_changes)
        self.write(atoms)

    def write(self, atoms):
        """One line, appended in one system call."""
        self.number = executions(self.log) + 1
        with self.log.open("ab", buffering=0) as log:
            log.write(f"{np.round(atoms.positions, 9).tobytes().hex()}\n".encode())


class FlakyEMT(CountingEMT):
    """Fails on every third execution, returns NaN on every tenth."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute, then spoil it."""
        super().calculate(atoms, properties, system_changes)
        if self.number % 10 == 0:
            self.results["forces"] = np.full((len(atoms), 3), np.nan)
        elif self.number % 3 == 0:
            print("the third execution ends badly", flush=True)
            raise CalculationFailed("as every third time")


class CrashingEMT(CountingEMT):
    """Ends its process."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute, then crash as a library in C does."""
        super().calculate(atoms, properties, system_changes)
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class ExhaustedEMT(CountingEMT):
    """Fails from the tenth execution on, until a file ``more`` lies beside the log."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute, then fail."""
        super().calculate(atoms, properties, system_changes)
        if self.number >= 10 and not (self.log.parent / "more").exists():
            raise CalculationFailed("the licence has expired")


class UnconvergedEMT(CountingEMT):
    """Gives numbers but says that they have not converged."""

    converged = False


def executions(log):
    """Number of executions that the log has."""
    return len(Path(log).read_bytes().splitlines()) if Path(log).exists() else 0
