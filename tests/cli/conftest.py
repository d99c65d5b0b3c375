"""A small real model for the commands that need one, and Ctrl-C."""

import signal
import subprocess
from pathlib import Path

import pytest
from ase.io import write

import castile
from evaluation.emt_model import labelled_copper


def interrupt(child: subprocess.Popen[str]) -> str:
    """Send Ctrl-C to a command, which must end as one interrupted, and return the rest of its stderr."""
    child.send_signal(signal.SIGINT)
    _, rest = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in rest
    return rest


@pytest.fixture(scope="session")
def copper_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rattled copper with labels of effective medium theory, the forces with a little noise."""
    path = tmp_path_factory.mktemp("data") / "copper.xyz"
    write(path, labelled_copper(10, noise=0.01))
    return path


@pytest.fixture(scope="session")
def copper_model(tmp_path_factory: pytest.TempPathFactory, copper_data: Path) -> Path:
    """A potential fitted to it."""
    path = tmp_path_factory.mktemp("model") / "copper.castile"
    castile.GAP(n_sparse=15, n_max=4, l_max=3, cutoff=4.5, seed=0).fit(copper_data).save(path)
    return path
