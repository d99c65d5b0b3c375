"""Peak memory of a fit, estimated before the work starts, and held under a cap."""

import math

from castile.errors import FitError, InputError
from castile.potentials.defaults import Explanation
from castile.potentials.settings import FitSettings, SoapSettings
from castile.potentials.sparse_selection import CANDIDATE_BYTES, CANDIDATES_PER_POINT
from castile.potentials.survey import Survey

BASE_BYTES = 380_000_000
_ROW_SCRATCH = 8_000_000
_TRIANGLES = 11.0
_FEWEST = 10


def estimate_memory(settings: FitSettings, survey: Survey, threads: int) -> int:
    """Return the peak memory of a fit in bytes.

    Interpreter, libraries and compiler; the sparse points in three forms, and in two more for structures of
    some of the elements; plus the larger of the candidates
    for them (twice, as they are put together) and the sum of (a) the triangles: one per kind of label, their
    Gram matrices and K_mm, M^2 numbers each, and (b) the rows of the structures in flight, 3 n_atoms M
    numbers each.
    """
    columns = _n_columns(settings, survey)
    triangles = int(_TRIANGLES * 8 * columns**2)
    rows = (2 * threads + 1) * 8 * (3 * survey.largest + 7) * columns + 2 * threads * _ROW_SCRATCH
    structures = 200 * min(survey.n_atoms, 400_000)
    assert settings.soap != "auto"
    forms = 3 if len(survey.elements) == 1 else 5
    points = sum(8 * forms * _n_features(term, survey) * (term.n_sparse or 0) for term in settings.soap)
    candidates = max((_candidate_bytes(term, survey) for term in settings.soap), default=0)
    return BASE_BYTES + structures + points + max(candidates, triangles + rows)


def _n_features(term: SoapSettings, survey: Survey) -> int:
    channels = term.channels if isinstance(term.channels, int) else len(survey.elements)
    combined = channels * (term.n_max or 0)
    return ((term.l_max or 0) + 1) * combined * (combined + 1) // 2


def _candidate_bytes(term: SoapSettings, survey: Survey) -> int:
    size = 8 * _n_features(term, survey)
    rows = max(CANDIDATES_PER_POINT * (term.n_sparse or 0), CANDIDATE_BYTES // size)
    return 2 * size * min(rows, survey.n_atoms)


def check_cap(memory: object) -> float | None:
    """Return the cap on the memory in gigabytes, None for no cap.

    Raises
    ------
    InputError
        If it is no positive number.
    """
    if memory is None:
        return None
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not 0.0 < memory < math.inf:
        raise InputError(f"memory = {memory!r}: give a positive number of gigabytes, or None for no limit")
    return float(memory)


def check_memory(
    settings: FitSettings, survey: Survey, threads: int, cap: float | None
) -> tuple[FitSettings, tuple[Explanation, ...]]:
    """Return settings that fit under ``cap`` gigabytes, with fewer sparse points where needed, and what was
    changed.

    Raises
    ------
    FitError
        If the cap cannot be met.
    """
    if cap is None:
        return settings, ()
    limit = int(cap * 1e9)
    changed = settings
    assert settings.soap != "auto"
    while estimate_memory(changed, survey, threads) > limit:
        assert changed.soap != "auto"
        smaller = tuple(_fewer(term) for term in changed.soap)
        if all(term.n_sparse == old.n_sparse for term, old in zip(smaller, changed.soap, strict=True)):
            least = estimate_memory(changed, survey, threads) / 1e9
            raise FitError(f"--memory {cap:g} GB is too little: even the smallest fit needs {least:.2f} GB")
        changed = changed.model_copy(update={"soap": smaller})
    if changed is settings:
        return settings, ()
    assert changed.soap != "auto"
    reason = f"so that the fit stays under {cap:g} GB"
    notes = tuple(Explanation(f"{term.name}.n_sparse", str(term.n_sparse), reason) for term in changed.soap)
    return changed, notes


def _fewer(term: SoapSettings) -> SoapSettings:
    return term.model_copy(update={"n_sparse": max(_FEWEST, int(0.9 * (term.n_sparse or _FEWEST)))})


def _n_columns(settings: FitSettings, survey: Survey) -> int:
    assert settings.soap != "auto"
    assert settings.pair != "auto"
    n_elements = len(survey.elements)
    pairs = n_elements * (n_elements + 1) // 2
    soap = sum(min(term.n_sparse or 0, survey.n_atoms) for term in settings.soap)
    return soap + sum((term.n_sparse or 0) * pairs for term in settings.pair)
