"""A model as QUIP's XML, for models whose terms QUIP can express; the others are refused by name."""

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CosineCutoff
from castile.errors import InputError
from castile.formats.quip_strings import ParameterString, write_list, write_number
from castile.formats.quip_xml import QuipCoordinates, QuipGlue, QuipPotential, QuipSpline
from castile.formats.quip_xml_writer import write_quip_xml
from castile.potentials.core_term import CoreTerm
from castile.potentials.covariance import SQUARED_EXPONENTIAL, ScalarKernel
from castile.potentials.fit import FitOutcome
from castile.potentials.gap import GAP
from castile.potentials.glue_core import GlueCore
from castile.potentials.glue_table import pair_glue, tabulated
from castile.potentials.imported import ImportedModel
from castile.potentials.model import PotentialModel
from castile.potentials.pair_term import PairTerm
from castile.potentials.quip_kernels import COVARIANCE_TYPES
from castile.potentials.quip_pair_term import QuipPairTerm
from castile.potentials.quip_soap_export import (
    native_soap_blocks,
    quip_soap_block,
    quip_variant_block,
    quip_version,
)
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.quip_triplet_term import QuipTripletTerm
from castile.potentials.soap_term import SoapTerm
from castile.potentials.stored_term import Core, PredictingTerm

LABEL = "GAP_castile"

Array = NDArray[np.float64]


def export_gap(model: GAP, path: str | Path) -> list[Path]:
    """Write a model as a GAP's XML file, with a file of sparse points per block beside it.

    SOAP terms become ``soap`` blocks, pair terms with a cosine cutoff ``distance_2b`` blocks; other pair
    terms and the core repulsion go into the spline table of a Glue core, the energies of the elements into
    ``e0``.

    Parameters
    ----------
    model : GAP
        Fitted or imported.
    path : path
        XML file to write; its folder must exist.

    Returns
    -------
    list of Path
        All files written, the XML file last.

    Raises
    ------
    InputError
        If a term cannot be expressed in QUIP: term, reason and remedy are named, and nothing is written.
    """
    content = getattr(model, "outcome_", None)
    if not isinstance(content, FitOutcome | ImportedModel):
        raise InputError(
            "export_gap needs a fitted or loaded model; call fit(structures) or castile.load(path)"
        )
    potential = quip_potential(content.model, _amplitudes(content))
    return write_quip_xml(path, potential)


def quip_potential(model: PotentialModel, amplitudes: dict[str, float]) -> QuipPotential:
    """Return the content of the XML file.

    Parameters
    ----------
    model : PotentialModel
    amplitudes : dict
        delta (eV) of each part of a term; 1 for those that are not there.

    Raises
    ------
    InputError
        As :func:`export_gap`.
    """
    blocks: list[QuipCoordinates] = []
    tables: list[tuple[PairTerm, Array]] = []
    for term, weights in zip(model.terms, model.weights, strict=True):
        if isinstance(term, PairTerm) and not isinstance(term.cutoff_function, CosineCutoff):
            tables.append((term, weights))
        else:
            blocks += _blocks(term, weights, amplitudes)
    energies = tuple((z, float(model.composition.energies.get(z, 0.0))) for z in model.elements)
    soap_terms = [term for term in model.terms if isinstance(term, QuipSoapTerm | QuipSoapVariant)]
    return QuipPotential(
        LABEL,
        quip_version(soap_terms),
        0.0,
        energies,
        tuple(blocks),
        _glue(model.elements, model.core, tables),
    )


def _amplitudes(content: FitOutcome | ImportedModel) -> dict[str, float]:
    if isinstance(content, ImportedModel):
        return {}
    return {part.name: float(part.amplitude) for part in content.report.amplitudes}


def _blocks(term: PredictingTerm, weights: Array, amplitudes: dict[str, float]) -> list[QuipCoordinates]:
    if isinstance(term, SoapTerm):
        return native_soap_blocks(term, weights, amplitudes)
    if isinstance(term, QuipSoapTerm):
        return [quip_soap_block(term, weights)]
    if isinstance(term, QuipSoapVariant):
        string, points = quip_variant_block(term)
        return [_kernel_block(term.name, string, term.kernel, points, weights, np.ones(len(weights)))]
    if isinstance(term, PairTerm):
        return _native_pair_blocks(term, weights, amplitudes)
    if isinstance(term, QuipPairTerm):
        return [_pair_block(term, weights)]
    if isinstance(term, QuipTripletTerm):
        return [_triplet_block(term, weights)]
    raise InputError(
        f"the term {term.name!r} ({term.kind}) cannot be expressed in QUIP; fit a model without it"
    )


def _native_pair_blocks(
    term: PairTerm, weights: Array, amplitudes: dict[str, float]
) -> list[QuipCoordinates]:
    """Return one distance_2b block per pair of elements; QUIP counts each bond twice."""
    envelope = CosineCutoff(term.cutoff_function.cutoff, term.cutoff_function.width)
    blocks = []
    for kind, ((first, second), (label, columns)) in enumerate(zip(term.kinds, term.blocks(), strict=True)):
        delta = 0.5 * amplitudes.get(label, 2.0)
        kernel = ScalarKernel(SQUARED_EXPONENTIAL, delta, 0.0, (term.theta,))
        points = term.points[kind][:, None]
        quip_term = QuipPairTerm(
            label, (first, second), envelope, (1.0,), 0, 1.0, kernel, points, np.ones(len(points))
        )
        blocks.append(_pair_block(quip_term, weights[columns] / (2.0 * delta**2)))
    return blocks


def _pair_block(term: QuipPairTerm, weights: Array) -> QuipCoordinates:
    words = [
        f"distance_2b cutoff={write_number(term.cutoff)}",
        f"cutoff_transition_width={write_number(term.envelope.width)}",
        f"Z1={term.numbers[0]} Z2={term.numbers[1]}",
    ]
    if term.exponents != (1.0,):
        words.append(f"n_exponents={len(term.exponents)} exponents={write_list(term.exponents)}")
    if term.tail_exponent:
        words.append(f"tail_exponent={term.tail_exponent} tail_range={write_number(term.tail_range)}")
    return _scalar_block(term.name, words, term.kernel, term.points, weights, term.sparse_cutoffs)


def _triplet_block(term: QuipTripletTerm, weights: Array) -> QuipCoordinates:
    words = [
        f"angle_3b cutoff={write_number(term.cutoff)}",
        f"cutoff_transition_width={write_number(term.envelope.width)}",
        f"Z_center={term.center} Z1={term.numbers[0]} Z2={term.numbers[1]}",
    ]
    return _scalar_block(term.name, words, term.kernel, term.points, weights, term.sparse_cutoffs)


def _scalar_block(
    name: str, words: list[str], kernel: ScalarKernel, points: Array, weights: Array, cutoffs: Array
) -> QuipCoordinates:
    words.append(
        f"covariance_type={kernel.form} delta={write_number(kernel.delta)} f0={write_number(kernel.f0)}"
    )
    string = ParameterString.parse(" ".join([*words, "add_species=F"]))
    return _kernel_block(name, string, kernel, points, weights, cutoffs)


def _kernel_block(
    name: str, string: ParameterString, kernel: ScalarKernel, points: Array, weights: Array, cutoffs: Array
) -> QuipCoordinates:
    """Return a block whose kernel is that of Castile's terms; the weights hold the cutoffs."""
    return QuipCoordinates(
        name,
        string,
        COVARIANCE_TYPES[kernel.form],
        kernel.delta,
        kernel.f0,
        kernel.zeta,
        np.array(kernel.theta),
        (tuple(range(len(kernel.theta))),),
        points,
        np.divide(weights, cutoffs, out=np.zeros_like(weights), where=cutoffs != 0.0),
        cutoffs,
    )


def _glue(
    elements: tuple[int, ...], core: Core | None, tables: list[tuple[PairTerm, Array]]
) -> QuipGlue | None:
    if isinstance(core, GlueCore):
        if tables:
            names = ", ".join(term.name for term, _ in tables)
            raise InputError(f"the pair terms {names} and a Glue core cannot both be tabulated for QUIP")
        return core.glue
    if core is not None and not isinstance(core, CoreTerm):
        raise InputError(f"the core {core.kind!r} cannot be expressed in QUIP; fit with core=False")
    if core is None and not tables:
        return None
    splines: dict[tuple[int, int], QuipSpline] = {}
    for first, second in combinations_with_replacement(elements, 2):
        breaks = [radius for term, _ in tables for radius in term.cutoff_function.knots]
        if core is not None:
            breaks += _core_ends(core, first, second)
        splines[first, second] = tabulated(_Sum(first, second, core, tables), breaks)
    return pair_glue(splines)


def _core_ends(core: CoreTerm, first: int, second: int) -> list[float]:
    """Return the switching radii of two elements."""
    repulsion = core.repulsion
    wanted = {chemical_symbols[first], chemical_symbols[second]}
    kind = next(k for k, pair in enumerate(repulsion.pairs) if set(pair) == wanted)
    return [repulsion.inner[kind], repulsion.outer[kind]]


class _Sum:
    """Pair potential of two elements: core repulsion and pair terms together."""

    def __init__(
        self, first: int, second: int, core: CoreTerm | None, tables: list[tuple[PairTerm, Array]]
    ) -> None:
        self.first, self.second, self.core, self.tables = first, second, core, tables

    def __call__(self, r: Array) -> tuple[Array, Array]:
        """Return energies and slopes at the distances r."""
        value, slope = np.zeros_like(r), np.zeros_like(r)
        if self.core is not None:
            first, second = np.full(len(r), self.first), np.full(len(r), self.second)
            energy, change = self.core.repulsion.pair_energy(r, first, second)
            value, slope = value + energy, slope + change
        for term, weights in self.tables:
            kind = next(k for k, pair in enumerate(term.kinds) if set(pair) == {self.first, self.second})
            values, slopes = term.basis(kind, r)
            columns = term.blocks()[kind][1]
            value, slope = value + values @ weights[columns], slope + slopes @ weights[columns]
        return value, slope
