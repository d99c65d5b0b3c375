"""Compiled kernels: the line while they compile, where they are kept, and how long the first energy takes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ase import Atoms

import castile
import castile.numerics
from castile.numerics.compilation import call_kernel
from castile.structures.neighbors import neighbor_pairs

FIRST_ENERGY = """
import sys, time
import castile
from ase import Atoms
energy = castile.load(sys.argv[1], verify=False).predict(Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]])).energy
print(time.process_time())
"""


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    cleared = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=240, check=True,
        env={**cleared, **environment},
    )  # fmt: skip


def test_the_first_energy_of_a_process(tmp_path: Path) -> None:
    """One line while the kernels compile, and none afterwards; the processor time of either."""
    atoms = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]])
    atoms.info["energy"] = 1.0
    model = tmp_path / "m.castile"
    castile.GAP(cutoff=4.0, n_max=3, l_max=2, threads=1).fit(atoms).save(model)
    folder = str(tmp_path / "kernels")
    cold = run(FIRST_ENERGY, str(model), NUMBA_CACHE_DIR=folder)
    assert cold.stderr.count("compiling") == cold.stderr.count("\n") == 1
    warm = run(FIRST_ENERGY, str(model), NUMBA_CACHE_DIR=folder)
    assert warm.stderr == ""
    assert float(cold.stdout) < 30.0
    assert float(warm.stdout) < 2.5


@pytest.mark.parametrize("home", ["writable", "missing"])
def test_a_package_that_cannot_be_written(tmp_path: Path, home: str) -> None:
    """A file where the folder of compiled kernels would be stops even the superuser from writing there."""
    package = tmp_path / "site" / "castile"
    shutil.copytree(Path(castile.numerics.__file__).parent, package / "numerics", ignore=_no_caches)
    (package / "__init__.py").write_text("")
    (package / "numerics" / "__pycache__").write_text("in the way")
    script = (
        "import numpy as np, castile.numerics;"
        "from castile.numerics.kernel_powers import raise_dots;"
        "a = np.full((1, 1), 0.5); b = a.copy(); raise_dots(a, 3.0, b); print(castile.__file__, b[0, 0])"
    )
    folder = tmp_path / "home"
    if home == "writable":
        folder.mkdir()
    else:
        folder.write_text("no folder")
    done = run(
        script, PYTHONPATH=str(tmp_path / "site"), HOME=str(folder), XDG_CACHE_HOME=str(folder / "cache"),
        TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert done.stdout == f"{package / '__init__.py'} 0.25\n"
    if home == "writable":
        assert list(folder.rglob("*.nbi"))
        assert "NUMBA_CACHE_DIR" not in done.stderr
    else:
        assert "set NUMBA_CACHE_DIR" in done.stderr
        assert list(tmp_path.glob("castile-kernels-*"))


def _no_caches(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}


INTERRUPTED = """
import signal
import castile.numerics
from numba import njit
from numba.core import event

signal.signal(signal.SIGINT, signal.default_int_handler)
reached = []


class Interrupt(event.Listener):
    def on_start(self, event):
        signal.raise_signal(signal.SIGINT)
        reached.append("compiling went on")

    def on_end(self, event):
        reached.append("compiled")


def double(x):
    return 2 * x


kernel = njit(double)
with event.install_listener("numba:compile", Interrupt()):
    try:
        kernel(1)
    except KeyboardInterrupt:
        reached.append("interrupted")
print(reached, kernel(2), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_an_interruption_waits_for_the_compiler() -> None:
    said = "['compiling went on', 'compiled', 'interrupted'] 4 True"
    assert run(INTERRUPTED).stdout.strip() == said


def test_import_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import time; t = time.perf_counter(); import castile, sys; t = time.perf_counter() - t;"
        "print(t, [m for m in ('numba', 'numpy', 'ase', 'matplotlib', 'torch') if m in sys.modules])"
    )
    seconds, loaded = run(script).stdout.strip().split(" ", 1)
    assert float(seconds) < 1.0
    assert loaded == "[]"


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="only there are signals"
)
def test_interruptions_at_any_moment_are_keyboard_interruptions() -> None:
    """Many interrupted searches for neighbours; some are interrupted while Numba wraps their arrays."""
    atoms = Atoms("Cu4", [[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5]], cell=[5.0, 5.0, 5.0], pbc=True)
    n_pairs = len(neighbor_pairs(atoms, 4.0).center)
    generator, n_interrupted = random.Random(0), 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, generator.uniform(2e-5, 4e-4))
                while True:
                    assert len(neighbor_pairs(atoms, 4.0).center) == n_pairs
            except KeyboardInterrupt:
                n_interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert n_interrupted == 400


def test_other_errors_of_kernels_stay_what_they_are() -> None:
    def fails() -> None:
        raise SystemError("something else")

    with pytest.raises(SystemError, match="something else"):
        call_kernel(fails)
