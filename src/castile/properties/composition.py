"""Statistics of the composition: what the chemical formula alone says."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.base import element_codes
from castile.descriptors.channels import element_properties
from castile.properties.descriptor import Float64Array, Scaling, Seen, StructureDescriptor

_PROPERTIES = ("period", "outer electrons", "electronegativity", "covalent radius", "mass", "atomic number")
_STATISTICS = ("mean", "deviation", "smallest", "largest")


class CompositionStatistics(StructureDescriptor):
    r"""Mole fractions, and statistics of properties of the elements weighted by them.

    .. math:: \bar f = \sum_e x_e f_e, \qquad s_f = \Bigl(\sum_e x_e (f_e - \bar f)^2\Bigr)^{1/2}, \qquad
              \min_e f_e, \qquad \max_e f_e

    with the mole fraction :math:`x_e` and period, outer electrons, electronegativity, covalent radius, mass
    and atomic number as :math:`f`. Elements not seen in ``fit`` are an error only for the fractions; with
    ``fractions=False`` any element will do.

    Parameters
    ----------
    fractions : bool
        Whether the mole fractions themselves are features.

    Notes
    -----
    The statistics follow Ward et al., npj Comput. Mater. 2, 16028 (2016), with fewer properties.
    """

    kind: ClassVar[str] = "composition"
    scaling: ClassVar[Scaling] = "each"

    def __init__(self, fractions: bool = True) -> None:
        self.fractions = fractions

    def _settle(self, seen: Seen) -> None:
        numbers = np.arange(1, len(chemical_symbols))
        table = np.full((len(chemical_symbols), len(_PROPERTIES)), np.nan)
        table[1:, :4] = element_properties(numbers)
        table[1:, 4] = atomic_masses[numbers] / 100.0
        table[1:, 5] = numbers / 50.0
        self._table = table

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return names such as ``mean electronegativity`` and ``fraction Si``."""
        names = [f"{statistic} {name}" for statistic in _STATISTICS for name in _PROPERTIES]
        if self.fractions:
            names += [f"fraction {chemical_symbols[z]}" for z in self.seen_.species]
        return np.array(names, dtype=object)

    def _row(self, atoms: Atoms) -> Float64Array:
        values = self._table[atoms.numbers]
        parts = [values.mean(axis=0), values.std(axis=0), values.min(axis=0), values.max(axis=0)]
        if self.fractions:
            codes = element_codes(atoms, self.seen_.species, "structure 0")
            parts.append(np.bincount(codes, minlength=len(self.seen_.species)) / len(atoms))
        return np.concatenate(parts)
