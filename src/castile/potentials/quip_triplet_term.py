"""QUIP's ``angle_3b`` block: a kernel of the three distances of a centre and two of its neighbours."""

from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from castile.descriptors.cutoffs import CosineCutoff
from castile.execution.threads import map_chunks
from castile.numerics.compilation import call_kernel
from castile.numerics.pair_sorting import add_pair_gradients, sort_pairs
from castile.numerics.triplets import triplet_response
from castile.potentials.covariance import DOT_PRODUCT, ScalarKernel
from castile.potentials.environment import Environment, Response
from castile.potentials.quip_kernels import COVARIANCE_TYPES
from castile.potentials.stored_term import StoredTerm

ANY = 0
_CHUNK = 16

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QuipTripletTerm:
    r"""Kernel of triplets.

    .. math::

        E = \sum_i \sum_{j \ne k} f(r_{ij}) f(r_{ik}) \sum_s w_s\, k(x_{ijk}, x_s), \quad
        x = (r_{ij} + r_{ik},\ (r_{ij} - r_{ik})^2,\ r_{jk})

    over ordered pairs of different neighbours, each triplet twice; all of it goes to the centre.

    Parameters
    ----------
    name : str
    center : int
        Atomic number of the centre, 0 for every element.
    numbers : tuple of two int
        Atomic numbers of the two neighbours in any order, 0 for every element.
    envelope : CosineCutoff
        f(r).
    kernel : ScalarKernel
    points : ndarray, shape (n_sparse, 3)
    sparse_cutoffs : ndarray, shape (n_sparse,)
        f f of the sparse points, which the weights contain.

    Source: the ``angle_3b`` descriptor of QUIP; Bartok, Csanyi, Int. J. Quantum Chem. 115, 1051 (2015).
    """

    kind: ClassVar[str] = "quip_triplet"
    name: str
    center: int
    numbers: tuple[int, int]
    envelope: CosineCutoff
    kernel: ScalarKernel
    points: Array
    sparse_cutoffs: Array
    _role_of: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # bit 1: may be the first neighbour, bit 2: may be the second
        role = np.zeros(120, dtype=np.int64)
        for bit, z in enumerate(self.numbers):
            role[np.arange(120) == z if z != ANY else slice(None)] |= 1 << bit
        object.__setattr__(self, "_role_of", role)

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Angstrom."""
        return self.envelope.cutoff

    @property
    def n_columns(self) -> int:
        """Number of weights."""
        return len(self.points)

    def add_response(
        self, environment: Environment, weights: Array, response: Response, threads: int = 1
    ) -> None:
        """Add energies, forces and virial of the term, given its weights (n_columns,)."""
        pairs, numbers = environment.pairs, environment.numbers
        roles = self._role_of[numbers]
        seen = np.where(roles > 0, 0, -1)
        n_atoms = environment.n_atoms
        first, order = call_kernel(
            sort_pairs, pairs.center, pairs.neighbor, seen, self.cutoff**2, pairs.vectors, n_atoms, 1
        )
        vectors, neighbor = pairs.vectors[order], pairs.neighbor[order]
        distances = np.sqrt(np.einsum("pa,pa->p", vectors, vectors))
        cut, slope = self.envelope.values(distances), self.envelope.derivatives(distances)
        centers = pairs.order[(numbers[pairs.order] == self.center) | (self.center == ANY)]
        theta = np.array(self.kernel.theta or (1.0, 1.0, 1.0))
        scaled_points = np.ascontiguousarray((self.points / theta).T)
        amplitudes = self.kernel.delta**2 * weights
        constant = self.kernel.f0**2 * float(weights.sum())
        form, power = COVARIANCE_TYPES[self.kernel.form], _power(self.kernel)
        roles = roles[neighbor]

        def work(begin: int) -> tuple[NDArray[np.int64], Array, Array]:
            """Energies of a chunk of centres, and derivatives with respect to their pairs."""
            chosen = centers[begin : begin + _CHUNK]
            energies = np.zeros(len(chosen))
            gradient = np.zeros((int((first[chosen + 1] - first[chosen]).sum()), 3))
            triplet_response(
                chosen,
                first,
                roles,
                vectors,
                distances,
                cut,
                slope,
                theta,
                scaled_points,
                amplitudes,
                constant,
                form,
                power,
                energies,
                gradient,
            )
            return chosen, energies, gradient

        for chosen, energies, gradient in map_chunks(work, range(0, len(centers), _CHUNK), threads):
            response.energies[chosen] += energies
            own = np.concatenate([np.arange(first[i], first[i + 1]) for i in chosen])
            add_pair_gradients(
                np.repeat(chosen, first[chosen + 1] - first[chosen]),
                neighbor[own],
                vectors[own],
                gradient,
                response.forces,
                response.virial,
            )

    def store(self) -> StoredTerm:
        """Return the term without its weights."""
        header = {
            "name": self.name,
            "center": self.center,
            "numbers": list(self.numbers),
            "cutoff": self.envelope.cutoff,
            "cutoff_width": self.envelope.width,
            "kernel": asdict(self.kernel),
        }
        return StoredTerm(header, {"points": self.points, "sparse_cutoffs": self.sparse_cutoffs})

    @classmethod
    def restore(cls, stored: StoredTerm) -> "QuipTripletTerm":
        """Return the term that :meth:`store` described."""
        header = stored.header
        first, second = header["numbers"]
        return cls(
            header["name"],
            header["center"],
            (first, second),
            CosineCutoff(header["cutoff"], header["cutoff_width"]),
            ScalarKernel.restore(header["kernel"]),
            stored.arrays["points"],
            stored.arrays["sparse_cutoffs"],
        )


def _power(kernel: ScalarKernel) -> float:
    """Return the exponent of the form of a kernel; a whole one as an integer, whose powers are cheap."""
    if kernel.form != DOT_PRODUCT:
        return kernel.power
    return int(kernel.zeta) if kernel.zeta == int(kernel.zeta) else kernel.zeta
