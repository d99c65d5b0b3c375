"""Density channels learned from the data: elements whose bonds behave alike share channels."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.cutoffs import SmoothCutoff
from castile.errors import InputError
from castile.potentials.composition import fit_composition
from castile.potentials.environment import Environment, Rows
from castile.potentials.pair_term import PairTerm
from castile.potentials.settings import CompositionSettings
from castile.potentials.survey import take_survey
from castile.structures.labels import LabelledStructure
from castile.structures.readers import StructureSource, as_source

_STRUCTURES, _POINTS = 400, 10
_ENERGY_SCALE, _FORCE_SCALE = 0.05, 0.5
_RIDGE = 1e-3

Array = NDArray[np.float64]


def learned_mixing(structures: StructureSource | Iterable[LabelledStructure], n_channels: int) -> Array:
    """Return the mixing matrix (n_elements, n_channels) whose channels keep most of how elements interact.

    A sum of pair potentials V_ab(r) is fitted to the energies and forces by ridge regression; element a is
    described by all its potentials, v_a = (V_ab(r_k)) over partners b and distances r_k. The leading
    eigenvectors of the cosines between the v_a, scaled by the roots of their eigenvalues, are the channels:
    elements with equal potentials get equal weights.

    Parameters
    ----------
    structures : labelled structures
        With energies or forces; at most 400 are used.
    n_channels : int
        Between 1 and the number of elements.

    Raises
    ------
    InputError
        If ``n_channels`` is out of range or there are no energies and forces.
    """
    sample = list(islice(as_source(structures), _STRUCTURES))
    survey = take_survey(sample)
    n_elements = len(survey.elements)
    if not 1 <= n_channels <= n_elements:
        raise InputError(
            f"channels = {n_channels}: give a number between 1 and the number of elements ({n_elements})"
        )
    cutoff = 2.5 * survey.bond_length
    starts = np.minimum(np.where(np.isfinite(survey.shortest), survey.shortest, cutoff), 0.8 * cutoff)
    points = np.array([np.linspace(start, cutoff, _POINTS) for start in starts])
    term = PairTerm(
        "channels", survey.elements, SmoothCutoff(cutoff, 0.4 * cutoff), 1.5 * cutoff / _POINTS, points
    )
    weights = _pair_weights(sample, term, survey.elements)
    radii = np.linspace(float(starts.min()), cutoff, 40)
    potentials = {
        pair: term.basis(kind, radii)[0] @ weights[columns]
        for kind, (pair, (_, columns)) in enumerate(zip(term.kinds, term.blocks(), strict=True))
    }
    signatures = np.array(
        [np.concatenate([potentials[min(a, b), max(a, b)] for b in survey.elements]) for a in survey.elements]
    )
    gram = signatures @ signatures.T
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-12 * max(float(np.trace(gram)), 1e-300)))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    largest = np.argsort(values)[::-1][:n_channels]
    mixing = vectors[:, largest] * np.sqrt(np.maximum(values[largest], 0.0))
    signs = np.sign(mixing[np.abs(mixing).argmax(axis=0), np.arange(n_channels)])
    return mixing * np.where(signs == 0.0, 1.0, signs)


def _pair_weights(sample: list[LabelledStructure], term: PairTerm, elements: tuple[int, ...]) -> Array:
    """Return the ridge solution of the pair potentials, from normal equations (some hundred columns)."""
    n_columns = term.n_columns
    gram, right = np.zeros((n_columns, n_columns)), np.zeros(n_columns)
    composition = fit_composition(sample, elements, CompositionSettings())
    n_labels = 0
    for structure in sample:
        environment = Environment.of(structure.atoms, term.cutoff)
        n_atoms = environment.n_atoms
        n_force_rows = 3 * n_atoms if structure.forces is not None else 0
        rows = Rows(np.zeros(n_columns), np.zeros((n_force_rows, n_columns)), np.zeros((0, n_columns)))
        term.add_rows(environment, rows)
        if structure.energy is not None:
            target = structure.energy - composition.atom_energies(environment.numbers).sum()
            row = rows.energy / (_ENERGY_SCALE * n_atoms)
            gram += np.outer(row, row)
            right += row * (target / (_ENERGY_SCALE * n_atoms))
            n_labels += 1
        if structure.forces is not None:
            scaled = rows.forces / _FORCE_SCALE
            gram += scaled.T @ scaled
            right += scaled.T @ (np.ravel(structure.forces) / _FORCE_SCALE)
            n_labels += n_force_rows
    if n_labels == 0:
        raise InputError(
            "learned channels need structures with energies or forces; choose mixing = 'chemical'"
        )
    ridge = _RIDGE * float(np.trace(gram)) / n_columns
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(n_columns), right), dtype=np.float64)
