"""Density-functional theory of molecules with PySCF, as an ASE calculator."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from pyscf import dft, gto


class PySCF(Calculator):
    """Energy and forces of a molecule: Kohn-Sham theory with density fitting, without periodicity.

    Parameters
    ----------
    xc : str
        Functional, in PySCF's names.
    basis : str
    charge : int
        Elementary charges.
    spin : int
        Number of unpaired electrons; unrestricted where it is not zero.
    max_cycle : int
        Of the self-consistent field; more is an error that says "not converged".
    grid_level : int
        Of the integration grid, 0 to 9.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]  # type: ignore[misc]

    def __init__(
        self,
        xc: str = "pbe",
        basis: str = "def2-svp",
        charge: int = 0,
        spin: int = 0,
        max_cycle: int = 100,
        grid_level: int = 3,
    ) -> None:
        super().__init__()
        self.xc, self.basis, self.charge, self.spin = xc, basis, charge, spin
        self.max_cycle, self.grid_level = max_cycle, grid_level

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``; raises CalculationFailed for crystals and where the field does not converge."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if self.atoms.pbc.any():
            raise CalculationFailed("pyscf: this preset is for molecules; set pbc to False")
        coordinates = [(s, tuple(p)) for s, p in zip(self.atoms.symbols, self.atoms.positions, strict=True)]
        molecule = gto.M(
            atom=coordinates, unit="Angstrom", basis=self.basis, charge=self.charge, spin=self.spin, verbose=3
        )
        field = (dft.UKS if self.spin else dft.RKS)(molecule).density_fit()
        field.xc, field.max_cycle = self.xc, self.max_cycle
        field.grids.level = self.grid_level
        energy = field.kernel()
        if not field.converged:
            raise CalculationFailed(f"pyscf: not converged in {self.max_cycle} cycles")
        gradients = field.nuc_grad_method()
        gradients.grid_response = True
        forces = -np.asarray(gradients.kernel()) * units.Hartree / units.Bohr
        self.results = {"energy": float(energy) * units.Hartree, "forces": forces}
