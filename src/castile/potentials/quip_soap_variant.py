"""QUIP's ``soap`` block where it is more than a power of a dot product of whole spectra of single atoms."""

import re
from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.soap_engine import SoapEngine, SortedPairs, chunk_spans
from castile.execution.scratch import Scratch
from castile.execution.threads import map_chunks
from castile.formats.quip_strings import ParameterString
from castile.numerics.pair_sorting import add_center_gradients
from castile.potentials.covariance import ScalarKernel
from castile.potentials.environment import Environment, Response
from castile.potentials.quip_soap_energy import VariantEnergy
from castile.potentials.quip_soap_engine import (
    ALL_CENTRAL_BEFORE,
    WITHOUT_ROOT_BEFORE,
    central_everywhere,
    quip_density,
)
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_spectrum import SpectrumRule
from castile.potentials.soap_response import Piece, add_soap_response
from castile.potentials.stored_term import StoredTerm

Array = NDArray[np.float64]
Span = tuple[int, int]


@dataclass(frozen=True)
class QuipSoapVariant:
    r"""Kernel sum over parts or sums of the power spectrum, of single atoms or of the sum of their densities.

    .. math:: E = \sum_i \sum_s w_s k(\hat x_i, x_s) \quad\text{or}\quad
              E = \sum_s w_s k(\hat x, x_s), \quad x = x\Big[\sum_i c_i\Big]

    Parameters
    ----------
    name : str
    descriptor : str
        The descriptor string; everything but kernel and points follows from it.
    root : bool
        Whether the spectrum has its factor 1 / sqrt(2l + 1).
    kernel : ScalarKernel
    points : ndarray, shape (n_sparse, n_components)
        In QUIP's order, with the constant as the last component.

    Source: the ``soap`` descriptor of QUIP; Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013).
    """

    kind: ClassVar[str] = "quip_soap_variant"
    name: str
    descriptor: str
    root: bool
    kernel: ScalarKernel
    points: Array
    average: bool = field(init=False)
    _centers: QuipSoapTerm = field(init=False, repr=False)
    _energy_part: VariantEnergy = field(init=False, repr=False)

    @classmethod
    def build(
        cls, name: str, string: ParameterString, version: int, kernel: ScalarKernel, points: Array
    ) -> "QuipSoapVariant":
        """Return the term of a descriptor string in an XML of this ``gap_version``.

        Raises
        ------
        InputError
            For values that make no descriptor.
        """
        text = string.text
        if central_everywhere(string, version):  # a version says it too, so it is written down
            text = re.sub(r"(?i)\bcentral_reference_all_species\s*=\s*\S+", "", text)
            text = " ".join([*text.split(), "central_reference_all_species=T"])
        return cls(name, text, version >= WITHOUT_ROOT_BEFORE, kernel, points)

    def __post_init__(self) -> None:
        string = ParameterString.parse(self.descriptor)
        version = ALL_CENTRAL_BEFORE if self.root else WITHOUT_ROOT_BEFORE - 1
        found = quip_density(string, version, False)
        basis, sigma0 = found.engine.basis, string.real("covariance_sigma0", 0.0)
        rows = SpectrumRule.of(string).matrix(found.species, basis.n_max, basis.l_max)
        normalize = string.flag("normalise", True, "normalize")
        nothing = np.empty((0, found.engine.n_features))
        values = {
            "average": string.flag("average", False),
            "_centers": QuipSoapTerm(
                self.name, found.engine, found.species, found.centers, 1.0, sigma0, 1.0, nothing
            ),
            "_energy_part": VariantEnergy(rows, normalize, sigma0, self.kernel, self.points, np.empty(0)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic number of each density channel; (0,) puts all elements into one."""
        return self._centers.species

    @property
    def centers(self) -> tuple[int, ...]:
        """Atomic numbers of the centres; (0,) takes every atom."""
        return self._centers.centers

    @property
    def engine(self) -> SoapEngine:
        """Density and whole, unnormalised power spectrum."""
        return self._centers.engine

    @property
    def n_components(self) -> int:
        """Length of the descriptor, its constant included."""
        return int(self._energy_part.map.shape[0]) + 1

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self._centers.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return len(self.points)

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the term, given its weights (n_columns,).

        A term of the summed density needs the environment of the whole structure.
        """
        found = self._centers.sorted_centers(environment, threads)
        if found is None:
            return
        ordered, begin = found
        spans = list(chunk_spans(begin, ordered.n_centers))
        part = self._energy_part
        energy = VariantEnergy(part.map, part.normalize, part.sigma0, self.kernel, self.points, weights)
        if self.average:
            self._add_summed(ordered, spans, energy, response, threads)
        else:
            pieces = [Piece(*span, energy) for span in spans]
            add_soap_response(self.engine, ordered, pieces, response, threads)

    def _add_summed(
        self,
        ordered: SortedPairs,
        spans: list[Span],
        energy: VariantEnergy,
        response: Response,
        threads: int,
    ) -> None:
        """Add the energy of the summed density, shared evenly, and its derivatives."""
        engine, scratch = self.engine, Scratch()

        def density(span: Span) -> Array:
            """Sum of the densities of some centres."""
            values = engine.density(ordered, *span, scratch).reshape(span[1] - span[0], -1)
            return np.asarray(values.sum(axis=0))

        total = np.sum(list(map_chunks(density, spans, threads)), axis=0)
        features, norms = engine.power_spectrum(total, 1)
        energies, cotangent = energy.respond(features)
        change = engine.power_spectrum_vjp(total, features, norms, cotangent).copy()
        centers = ordered.center_atoms[spans[0][0] :]
        response.energies[centers] += energies[0] / len(centers)

        def gradient(span: Span) -> tuple[Span, Array]:
            """Derivatives with respect to the vectors of the pairs of some centres."""
            first, last = engine.pair_range(ordered, *span)
            found = np.empty((last - first, 3), dtype=engine.dtype)
            engine.density_vjp(ordered, *span, np.tile(change, span[1] - span[0]), found, scratch)
            return span, found

        for span, found in map_chunks(gradient, spans, threads):
            add_center_gradients(
                ordered.center_atoms,
                ordered.first,
                engine.n_elements,
                *span,
                ordered.neighbor,
                ordered.vectors,
                found,
                response.forces,
                response.virial,
            )

    def store(self) -> StoredTerm:
        """Return the term without its weights."""
        header = {
            "name": self.name,
            "descriptor": self.descriptor,
            "root": self.root,
            "kernel": {**asdict(self.kernel), "theta": []},
        }
        return StoredTerm(header, {"points": self.points, "theta": np.array(self.kernel.theta)})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "QuipSoapVariant":
        """Return the term that :meth:`store` described."""
        header = stored.header
        kernel = ScalarKernel.restore({**header["kernel"], "theta": stored.arrays["theta"].tolist()})
        return cls(header["name"], header["descriptor"], header["root"], kernel, stored.arrays["points"])
