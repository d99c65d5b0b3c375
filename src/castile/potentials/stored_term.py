"""A part of a potential as JSON values and arrays: each term class writes and reads itself in this form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CUTOFF_FUNCTIONS, CutoffFunction
from castile.descriptors.quip_radial_bases import QUIP_BASES
from castile.descriptors.radial_bases import RADIAL_BASES, ContractedBasis, RadialBasis
from castile.descriptors.radial_scaling import RADIAL_SCALINGS, RadialScaling
from castile.descriptors.soap_engine import SoapEngine
from castile.errors import ModelFileError
from castile.potentials.environment import Environment, Response

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class StoredTerm:
    """JSON values and arrays of one part of a potential.

    Parameters
    ----------
    header : Mapping of JSON values
    arrays : Mapping of name to ndarray
    """

    header: Mapping[str, Any]
    arrays: Arrays


class PredictingTerm(Protocol):
    """A weighted term of a potential, as prediction and files need it."""

    @property
    def kind(self) -> str:
        """Name of the class of terms in files."""

    @property
    def name(self) -> str:
        """Label of the term."""

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""

    @property
    def n_columns(self) -> int:
        """Number of weights."""

    def add_response(
        self, environment: Environment, weights: NDArray[np.float64], response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial, given the weights (n_columns,)."""

    def store(self) -> StoredTerm:
        """Return the term without its weights."""


class Core(Protocol):
    """A part of a potential without weights: a core repulsion."""

    @property
    def kind(self) -> str:
        """Name of the class of cores in files."""

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""

    def add_response(self, environment: Environment, response: Response) -> None:
        """Add energies, forces and virial."""

    def store(self) -> StoredTerm:
        """Return the core."""


def store_engine(engine: SoapEngine) -> StoredTerm:
    """Return everything that :func:`restore_engine` needs to build the engine again."""
    arrays = {"mixing": engine.mixing, "central": engine.central}
    basis = engine.basis
    if isinstance(basis, ContractedBasis):
        arrays["contraction"] = basis.matrix
        basis = basis.base
    header = {
        "basis": _named(basis),
        "cutoff": store_cutoff(engine.cutoff),
        "scaling": _named(engine.scaling),
        "normalize": engine.normalize,
    }
    return StoredTerm(header, arrays)


def restore_engine(stored: StoredTerm) -> SoapEngine:
    """Return the engine that :func:`store_engine` described."""
    header = stored.header
    basis: RadialBasis = _from_name((*RADIAL_BASES, *QUIP_BASES), header["basis"])
    if "contraction" in stored.arrays:
        basis = ContractedBasis(basis, stored.arrays["contraction"])
    scaling: RadialScaling = _from_name(RADIAL_SCALINGS, header["scaling"])
    cutoff = restore_cutoff(header["cutoff"])
    return SoapEngine(
        basis, cutoff, scaling, stored.arrays["mixing"], stored.arrays["central"], header["normalize"]
    )


def store_cutoff(cutoff: CutoffFunction) -> dict[str, Any]:
    """Return a cutoff function as JSON values."""
    return _named(cutoff)


def restore_cutoff(values: Mapping[str, Any]) -> CutoffFunction:
    """Return the cutoff function that :func:`store_cutoff` described."""
    cutoff: CutoffFunction = _from_name(CUTOFF_FUNCTIONS, values)
    return cutoff


def _named(part: Any) -> dict[str, Any]:
    return {"name": part.name, **asdict(part)}


def _from_name(classes: tuple[type[Any], ...], values: Mapping[str, Any]) -> Any:
    arguments = dict(values)
    name = arguments.pop("name")
    for cls in classes:
        if cls.name == name:
            return cls(**arguments)
    raise ModelFileError(
        f"the model file names {name!r}, which this version of Castile does not have; upgrade"
    )
