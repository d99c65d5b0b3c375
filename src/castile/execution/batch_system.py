"""Workers as jobs of a batch system (Slurm and its kin) through dask-jobqueue."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from castile.errors import InputError

SYSTEMS = {
    "slurm": "dask_jobqueue.SLURMCluster",
    "pbs": "dask_jobqueue.PBSCluster",
    "sge": "dask_jobqueue.SGECluster",
    "lsf": "dask_jobqueue.LSFCluster",
    "oar": "dask_jobqueue.OARCluster",
    "moab": "dask_jobqueue.MoabCluster",
    "htcondor": "dask_jobqueue.HTCondorCluster",
    "local": "dask_jobqueue.local.LocalCluster",  # jobs are programs on this machine: to try a file out
}
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": ":0"}


class BatchCluster(Protocol):
    """What a pool needs of a cluster."""

    scheduler_address: str


@dataclass(frozen=True)
class BatchSettings:
    """A batch system, the number of jobs, and what its class in dask-jobqueue takes."""

    system: str
    jobs: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """Cores of a worker process; one where the options do not tell."""
        return max(1, int(self.options.get("cores", 1)) // int(self.options.get("processes", 1)))


def read_batch_settings(workers: str) -> BatchSettings:
    """Return the settings of "slurm:4", or of a TOML file.

    Such as::

        system = "slurm"        # slurm, pbs, sge, lsf, oar, moab, htcondor; local to try it out
        jobs = 4

        [options]               # of the class in dask-jobqueue
        cores = 16
        memory = "32GB"
        queue = "batch"
        walltime = "02:00:00"

    Raises
    ------
    InputError
        Naming what is wrong, and what is allowed.
    """
    if Path(workers).suffix == ".toml":
        return _of_file(Path(workers))
    system, colon, jobs = workers.partition(":")
    if not colon or not jobs.isdigit():
        raise InputError(
            f"workers {workers!r}: give a number of processes, an address such as tcp://node7:8786, a TOML "
            f"file, or SYSTEM:JOBS such as slurm:4, with a system of {', '.join(SYSTEMS)}"
        )
    return _checked(BatchSettings(system, int(jobs)), f"workers {workers!r}")


def _of_file(path: Path) -> BatchSettings:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a TOML file of workers ({error})") from error
    unknown = sorted(set(content) - {"system", "jobs", "options"})
    if unknown:
        raise InputError(f"{path}: {', '.join(unknown)} is unknown; there are system, jobs and [options]")
    system, jobs, options = content.get("system"), content.get("jobs", 1), content.get("options", {})
    if not isinstance(system, str) or not isinstance(options, dict):
        raise InputError(f'{path}: give system = "slurm" and, below it, a table [options]')
    if not isinstance(jobs, int) or isinstance(jobs, bool):
        raise InputError(f"{path}: jobs = {jobs!r}; give a number of jobs")
    return _checked(BatchSettings(system, jobs, options), str(path))


def _checked(settings: BatchSettings, place: str) -> BatchSettings:
    if settings.system not in SYSTEMS:
        raise InputError(f"{place}: system {settings.system!r} is none of {', '.join(SYSTEMS)}")
    if settings.jobs < 1:
        raise InputError(f"{place}: jobs = {settings.jobs}; give a positive number of jobs")
    return settings


@contextmanager
def open_batch_cluster(settings: BatchSettings) -> Iterator[BatchCluster]:
    """Submit the jobs; they are cancelled at the end of the context.

    Each worker process runs one task of Dask at a time, which has all its cores.

    Raises
    ------
    InputError
        If dask-jobqueue refuses the options or is not installed.
    """
    module, _, name = SYSTEMS[settings.system].rpartition(".")
    try:
        cluster_class = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"workers in jobs of {settings.system} need dask-jobqueue, which is not installed: "
            "pip install dask-jobqueue"
        ) from error
    options = dict(settings.options)
    options["worker_extra_args"] = [*options.get("worker_extra_args", ()), "--nthreads", "1"]
    scheduler = _NO_DASHBOARD | options.pop("scheduler_options", {})
    try:
        cluster = cluster_class(**options, scheduler_options=scheduler)
    except (TypeError, ValueError) as error:
        raise InputError(f"{settings.system}: dask-jobqueue refuses the options: {error}") from error
    with cluster:
        cluster.scale(jobs=settings.jobs)
        yield cluster
