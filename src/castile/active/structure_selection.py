"""Choice of structures, or atoms, from a pool: the ones worth a calculation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from castile.active.pool_features import choose_by_features
from castile.active.pool_prior import PriorChoices, default_points, model_process, prior_process
from castile.active.pool_process import KINDS, PoolProcess
from castile.active.selection_result import Selection
from castile.active.variance_selection import choose_by_variance
from castile.errors import InputError
from castile.potentials.gap import GAP, Structures
from castile.structures.readers import StructureSource, as_source

VARIANCE_METHODS = ("variance", "information", "pool-variance")
FEATURE_METHODS = ("farthest", "cur", "kmeans", "random")
METHODS = VARIANCE_METHODS + FEATURE_METHODS
SUBJECTS = ("structures", "atoms")
LABELS = {"all": KINDS, "energy": ("energy",), "forces": ("forces",), "energy+forces": ("energy", "forces")}

Progress = Callable[[str, int, int | None], None]
"""Called with a step, what is done of it, and how much there is."""


@dataclass(frozen=True)
class SelectionRequest:
    """What is wanted; names as of ``castile select``."""

    n_select: int
    method: str
    what: str
    labels: str
    stratify: bool
    seed: int
    threads: int | None
    folder: Path | None

    def __post_init__(self) -> None:
        """Refuse names that do not exist and numbers that make no sense."""
        for name, value, allowed in (
            ("method", self.method, METHODS),
            ("what", self.what, SUBJECTS),
            ("labels", self.labels, tuple(LABELS)),
        ):
            if value not in allowed:
                raise InputError(f"{name} = {value!r}: use one of {', '.join(allowed)}")
        if self.n_select < 1:
            raise InputError(f"n = {self.n_select}: choose 1 or more")
        if self.folder is not None and not self.folder.is_dir():
            raise InputError(f"{self.folder}: is no folder; make it, or leave the scratch folder out")


def select_structures(
    pool: Structures,
    n_select: int,
    *,
    model: GAP | None = None,
    train: Structures | None = None,
    method: str = "variance",
    what: str = "structures",
    labels: str = "all",
    stratify: bool = False,
    prior: PriorChoices | None = None,
    seed: int = 0,
    threads: int | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Choose what to calculate next, each choice given those before it.

    Memory does not grow with the pool beyond a few numbers per structure: features wait in a temporary file.

    Parameters
    ----------
    pool : paths, globs, ase.Atoms, or a list of them
        Labels are not needed and not used.
    n_select : int
        Fewer are chosen when the pool has fewer.
    model : GAP, optional
        Fitted; its posterior is the start, extended by what only points of the pool express. Without it the
        prior of a SOAP kernel with defaults from the pool.
    train : structures, optional
        Known already: the prior (of the model, if there is one) is conditioned on all their labels; methods
        of features keep away from them.
    method : str
        "variance": largest predictive variance, as far as the calculation takes it away, in units of the
        noise and per label; "information": largest expected information; "pool-variance": largest decrease of
        the squared covariances of the forces of the pool; "farthest", "cur", "kmeans" or "random" of averaged
        SOAP features.
    what : "structures" or "atoms"
    labels : "all", "energy", "forces" or "energy+forces"
        What a calculation brings.
    stratify : bool
        Choose from each ``config_type`` in proportion to its size, at least one of each.
    prior : PriorChoices, optional
    seed : int
        Of random choices.
    threads : int, optional
    folder : path, optional
        For the temporary file; default the system's.
    progress : callable, optional

    Raises
    ------
    InputError
        Naming the structure or argument, its value and the remedy.
    """
    scratch = None if folder is None else Path(folder)
    request = SelectionRequest(n_select, method, what, labels, stratify, seed, threads, scratch)
    known = None if train is None else as_source(train)
    report = progress or (lambda step, done, total: None)
    return _select(as_source(pool), known, model, prior or PriorChoices(), request, report)


def _select(
    pool: StructureSource,
    known: StructureSource | None,
    model: GAP | None,
    choices: PriorChoices,
    request: SelectionRequest,
    report: Progress,
) -> Selection:
    """Choose by features or by variance."""
    what, stratify, threads = request.what, request.stratify, request.threads
    if request.method in FEATURE_METHODS:
        return choose_by_features(
            pool, known, request.n_select, request.method, what, stratify, model, choices, request.seed,
            threads, request.folder, report,
        )  # fmt: skip
    process = _process(pool, model, choices, request, report, known is None)
    return choose_by_variance(
        pool, known, process, request.n_select, request.method, what, stratify, threads, request.folder,
        report,
    )  # fmt: skip


def _process(
    pool: StructureSource,
    model: GAP | None,
    choices: PriorChoices,
    request: SelectionRequest,
    report: Progress,
    with_posterior: bool,
) -> PoolProcess:
    total = len(pool)
    done = 0

    def advance() -> None:
        """Report one more structure."""
        nonlocal done
        done += 1
        report("points of the pool", min(done, total), total)

    kinds = LABELS[request.labels]
    report("points of the pool", 0, total)
    n_points = choices.n_sparse
    if n_points is None:
        n_points = default_points("prior" if model is None else "model", request.n_select)
    if model is None:
        process = prior_process(
            pool, max(n_points, 1), choices, kinds, request.seed, request.threads, advance
        )
    else:
        process = model_process(
            model, pool, n_points, choices, kinds, request.seed, request.threads, advance, with_posterior
        )
    report("points of the pool", total, total)
    return process


__all__ = ["METHODS", "PriorChoices", "Selection", "select_structures"]
