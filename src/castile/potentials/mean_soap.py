"""Where a structure is among others: a few numbers of its mean SOAP vector."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from castile.execution.threads import map_chunks
from castile.potentials.environment import Environment
from castile.potentials.soap_term import SoapTerm, element_chunks
from castile.structures.labels import LabelledStructure

SIZE = 48
"""Numbers of a projection; at most 64, the bits of one random integer."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeanSoap:
    r"""Random projection of the mean SOAP vector of a structure.

    .. math:: \mathbf m = \frac{1}{N} \sum_i \mathbf S_{z_i}^T \mathbf p_i

    with a matrix S of random signs over the root of 48 for each element. Distances of mean SOAP vectors
    survive the projection. A supercell has the m of its cell. The signs are bits of a generator whose stream
    never changes, so the numbers of a model file keep their meaning.

    Source: Achlioptas, J. Comput. Syst. Sci. 66, 671 (2003), theorem 1.1.

    Attributes
    ----------
    term : SoapTerm
        Whose SOAP vectors.
    """

    term: SoapTerm

    @classmethod
    def of(cls, terms: Iterable[object]) -> "MeanSoap | None":
        """Return that of the first SOAP term; None if there is none."""
        soap = next((term for term in terms if isinstance(term, SoapTerm)), None)
        return None if soap is None else cls(soap)

    def of_environment(self, environment: Environment) -> Array:
        """Return m of a structure, (48,)."""
        ordered = self.term.sorted_pairs(environment)
        total = np.zeros((len(self.term.elements), self.term.engine.n_features))
        for begin, end, element in element_chunks(ordered.center_elements, len(self.term.elements)):
            total[element] += self.term.engine.chunk(ordered, begin, end).features.sum(axis=0)
        return self.of_sums(total, environment.n_atoms)

    def of_sums(self, sums: Array, n_atoms: int) -> Array:
        """Return m of the sums of SOAP vectors over the atoms of each element, (n_elements, n_features)."""
        signs = _signs(*sums.shape)
        present = np.flatnonzero(sums.any(axis=1))
        found = sum((np.einsum("f,fk->k", sums[e], signs[e]) for e in present), np.zeros(SIZE))
        return np.asarray(found / (n_atoms * np.sqrt(SIZE)))

    def of_structures(self, structures: Iterable[LabelledStructure], threads: int | None) -> Array:
        """Return m of each structure, (n_structures, 48)."""

        def one(structure: LabelledStructure) -> Array:
            """Return that of a structure."""
            return self.of_environment(Environment.of(structure.atoms, self.term.cutoff))

        found: Sequence[Array] = list(map_chunks(one, structures, threads))
        return np.array(found).reshape(-1, SIZE)


@lru_cache(maxsize=4)
def _signs(n_elements: int, n_features: int) -> NDArray[np.int8]:
    """Random signs, (n_elements, n_features, 48): bits of the generator's raw integers."""
    raw = np.random.PCG64(0).random_raw(n_elements * n_features)
    bits = (raw[:, None] >> np.arange(SIZE, dtype=np.uint64)) & np.uint64(1)
    return (2 * bits.astype(np.int8) - 1).reshape(n_elements, n_features, SIZE)
