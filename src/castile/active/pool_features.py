"""Choice from a pool by distances or leverage of SOAP features, or at random."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.active.pool_prior import PriorChoices, default_soap
from castile.active.selection_result import Selection
from castile.active.variance_selection import PoolIndex
from castile.errors import InputError
from castile.execution.threads import map_chunks
from castile.potentials.environment import Environment
from castile.potentials.gap import GAP
from castile.potentials.soap_functionals import full_spectra
from castile.potentials.soap_term import SoapTerm
from castile.selection import SELECTORS, Selector
from castile.selection.strata import stratum_quotas
from castile.selection.stratified import stratified_points
from castile.selection.streamed_cur import streamed_cur_points
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource

Report = Callable[[str, int, int | None], None]
Features = NDArray[np.float32]

_SELECTORS: dict[str, Selector] = SELECTORS | {"cur": streamed_cur_points}


def choose_by_features(
    pool: StructureSource,
    train: StructureSource | None,
    n_select: int,
    method: str,
    what: str,
    stratify: bool,
    model: GAP | None,
    prior: PriorChoices,
    seed: int,
    threads: int | None,
    folder: Path | None,
    report: Report,
) -> Selection:
    """Choose by ``farthest``, ``cur``, ``kmeans`` or ``random``; arguments as of ``select_structures``.

    A structure is described by the mean SOAP vector of its atoms, an atom by its SOAP vector and its element.
    Features wait in a temporary file in single precision.
    """
    if method == "random":
        return _at_random(pool, n_select, what, stratify, seed, report)
    if model is not None:
        prior.refuse_beside_model()
    term = _soap_term(model) if model is not None else default_soap(pool, prior)[0]
    index, n_known = PoolIndex(), 0
    with tempfile.TemporaryFile(dir=folder, prefix="castile-features-") as file:
        if train is not None:
            n_known = _write(train, term, what, threads, file, None, "features of the training set", report)
        n_rows = n_known + _write(pool, term, what, threads, file, index, "features of the pool", report)
        file.flush()
        width = term.engine.n_features + (len(term.elements) if what == "atoms" else 0)
        features: Features = np.memmap(file, dtype=np.float32, mode="r", shape=(n_rows, width))
        known, select = np.arange(n_known), _SELECTORS[method]
        if stratify:
            strata = np.concatenate([np.full(n_known, -1), index.strata(what)])
            chosen = stratified_points(select, features, n_select, strata, seed=seed, initial=known)
        else:
            chosen = select(features, n_select, seed=seed, initial=known)
        report("choosing", len(chosen), len(chosen))
        del features
    return index.selection(method, what, chosen - n_known)


def _at_random(
    pool: StructureSource, n_select: int, what: str, stratify: bool, seed: int, report: Report
) -> Selection:
    index = PoolIndex()
    for structure in pool:
        index.add(structure)
    total = len(index.owners(what))
    rng = np.random.default_rng(seed)
    order = rng.permutation(total)
    if stratify:
        strata = index.strata(what)
        room = stratum_quotas(np.bincount(strata), n_select)
        ranks = np.zeros(total, dtype=np.int64)
        for stratum in range(len(room)):
            mine = np.flatnonzero(strata[order] == stratum)
            ranks[mine] = np.arange(len(mine))
        order = order[ranks < room[strata[order]]]
    chosen = order[:n_select]
    report("choosing", len(chosen), len(chosen))
    return index.selection("random", what, chosen)


def _soap_term(model: GAP) -> SoapTerm:
    for term in model.fitted_model.terms:
        if isinstance(term, SoapTerm):
            return term
    raise InputError("the model has no SOAP term whose features could be compared; leave the model out")


def _write(
    source: StructureSource,
    term: SoapTerm,
    what: str,
    threads: int | None,
    file: IO[Any],
    index: PoolIndex | None,
    step: str,
    report: Report,
) -> int:
    """Append the features of all structures to ``file``; returns the number of rows."""
    total, n_rows = len(source), 0

    def describe(structure: LabelledStructure) -> tuple[LabelledStructure, Features]:
        """Averaged features of a structure, or those of its atoms."""
        return structure, structure_features(structure, term, what)

    for done, (structure, rows) in enumerate(map_chunks(describe, source, threads), start=1):
        file.write(np.ascontiguousarray(rows).data)
        n_rows += len(rows)
        if index is not None:
            index.add(structure)
        report(step, done, total)
    return n_rows


def structure_features(structure: LabelledStructure, term: SoapTerm, what: str) -> Features:
    """Return the mean SOAP vector of a structure, (1, n_features), or those of its atoms with their element.

    Raises
    ------
    InputError
        If the structure holds an element that the term does not know.
    """
    unknown = sorted(set(structure.atoms.numbers.tolist()) - set(term.elements))
    if unknown:
        symbols = ", ".join(chemical_symbols[z] for z in unknown)
        raise InputError(
            f"{structure.name}: holds {symbols}, which the model (without one: the pool) does not know; "
            "remove the structure"
        )
    spectra = full_spectra(term, Environment.of(structure.atoms, term.cutoff))
    if what == "structures":
        return spectra.features.mean(axis=0, keepdims=True).astype(np.float32)
    rows = np.zeros((len(structure.atoms), term.engine.n_features + len(term.elements)), dtype=np.float32)
    rows[spectra.atoms, : term.engine.n_features] = spectra.features
    rows[spectra.atoms, term.engine.n_features + spectra.elements] = 1.0
    return rows
