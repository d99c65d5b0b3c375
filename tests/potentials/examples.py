"""Small structures, labelled training sets, and one example of every part of a potential."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from castile.descriptors.cutoffs import CosineCutoff, SmoothCutoff
from castile.descriptors.radial_bases import GTO, EquispacedGaussians
from castile.descriptors.radial_scaling import NoScaling, Willatt2018
from castile.descriptors.soap_engine import SoapEngine
from castile.formats.quip_strings import ParameterString
from castile.formats.quip_xml import GluePair, GlueType, QuipGlue, QuipSpline
from castile.potentials.core_repulsion import CoreRepulsion
from castile.potentials.core_term import CoreTerm
from castile.potentials.covariance import ScalarKernel
from castile.potentials.environment import Environment, Response
from castile.potentials.glue_core import GlueCore
from castile.potentials.pair_term import PairTerm
from castile.potentials.prediction import Prediction
from castile.potentials.quip_pair_term import QuipPairTerm
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.quip_triplet_term import QuipTripletTerm
from castile.potentials.soap_term import SoapTerm

CU, AU = 29, 79
CUTOFF = 3.93
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def labelled(atoms: Atoms, *, energy: bool = True, forces: bool = True, stress: bool = True) -> Atoms:
    """A copy with labels of effective medium theory."""
    work = atoms.copy()
    work.calc = EMT()
    results: dict[str, Any] = {}
    if energy:
        results["energy"] = work.get_potential_energy()
    if forces:
        results["forces"] = work.get_forces()
    if stress and work.pbc.all():
        results["stress"] = work.get_stress()
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def metal(seed: int, symbols: str = "Cu4", lattice: float = 3.7, rattle: float = 0.1) -> Atoms:
    """Rattled cubic cell of four atoms."""
    atoms = bulk("Cu", "fcc", a=lattice, cubic=True)
    atoms.symbols = symbols
    atoms.rattle(rattle, seed=seed)
    return atoms


def copper_set(n: int = 6, **labels: bool) -> list[Atoms]:
    """Labelled copper cells of different volumes."""
    return [labelled(metal(k, lattice=3.55 + 0.05 * k), **labels) for k in range(n)]


def alloy_set(n: int = 8, **labels: bool) -> list[Atoms]:
    """Labelled copper-gold cells of all compositions."""
    names = ("Cu4", "Cu3Au", "Cu2Au2", "CuAu3", "Au4")
    return [labelled(metal(k, names[k % 5], 3.7 + 0.06 * (k % 5)), **labels) for k in range(n)]


def structures() -> dict[str, Atoms]:
    """Copper and gold in every periodicity; most cells are smaller than the cutoff."""
    slab = Atoms("CuAuCu", [[0, 0, 8.0], [1.9, 0.3, 9.9], [0.2, 1.9, 11.6]], pbc=(True, True, False))
    slab.cell = [3.8, 3.7, 20.0]
    skewed = Atoms("CuAu", cell=[[3.0, 0.1, 0.0], [2.6, 2.9, 0.2], [-1.9, 1.1, 4.0]], pbc=True)
    skewed.set_scaled_positions([[0.1, 0.2, 0.3], [0.55, 0.6, 0.82]])
    cluster = Atoms("Cu2Au2", [[0, 0, 0], [2.3, 0.2, 0.1], [0.3, 2.5, -0.2], [1.4, 1.2, 2.1]])
    primitive = Atoms("Cu", cell=[[0.0, 1.8, 1.85], [1.8, 0.1, 1.8], [1.9, 1.8, 0.0]], pbc=True)
    wire = Atoms("CuAu", [[0, 0, 0], [0.8, 0.3, 1.9]], cell=[0, 0, 3.7], pbc=(False, False, True))
    return {
        "crystal": metal(3, "Cu2Au2", 3.8),
        "slab": slab,
        "skewed": skewed,
        "cluster": cluster,
        "primitive": primitive,
        "wire": wire,
    }


@dataclass(frozen=True)
class PartModel:
    """A single part of a potential with the face of a model."""

    part: Any
    weights: np.ndarray | None = None

    @property
    def cutoff(self) -> float:
        return self.part.cutoff

    def predict(self, atoms: Atoms) -> Prediction:
        environment = Environment.of(atoms, self.cutoff)
        response = Response.zeros(len(atoms))
        if self.weights is None:
            self.part.add_response(environment, response)
        else:
            self.part.add_response(environment, self.weights, response)
        stress = None if environment.volume is None else response.virial[VOIGT] / environment.volume
        return Prediction(float(response.energies.sum()), response.energies, response.forces, stress)


def soap_engine(n_elements: int = 2, channels: int | None = None, **options: Any) -> SoapEngine:
    mixing = np.eye(n_elements)
    if channels is not None:
        mixing = np.random.default_rng(5).uniform(0.2, 1.0, (n_elements, channels))
    arguments = {
        "basis": GTO(4, 3, CUTOFF, 0.5),
        "cutoff": SmoothCutoff(CUTOFF, 1.5),
        "scaling": NoScaling(),
        "central": np.eye(n_elements),
    } | options
    return SoapEngine(mixing=mixing, **arguments)


def _soap(engine: SoapEngine, zeta: float) -> PartModel:
    rng = np.random.default_rng(1)
    points = rng.uniform(0.0, 1.0, (5, engine.n_features))
    points /= np.linalg.norm(points, axis=1)[:, None]
    return PartModel(SoapTerm("soap", engine, (CU, AU), zeta, points, (3, 2)), rng.normal(size=5))


def _soap_examples() -> dict[str, PartModel]:
    scaled = soap_engine(
        basis=EquispacedGaussians(4, 3, CUTOFF, 0.5),
        cutoff=CosineCutoff(CUTOFF, 0.7),
        scaling=Willatt2018(1.0, 2.0, 4.0),
    )
    return {
        "channels of the elements": _soap(soap_engine(), 4.0),
        "mixed channels, broken zeta": _soap(soap_engine(channels=1), 2.5),
        "equispaced, scaled": _soap(scaled, 2.0),
        "linear, not normalized": _soap(soap_engine(normalize=False), 1.0),
    }


def _pair_examples() -> dict[str, PartModel]:
    points = np.tile(np.linspace(1.8, CUTOFF, 7), (3, 1))
    term = PairTerm("pair", (CU, AU), SmoothCutoff(CUTOFF, 1.0), 0.4, points)
    return {"": PartModel(term, np.random.default_rng(2).normal(size=21))}


def _quip_soap_examples() -> dict[str, PartModel]:
    engine = soap_engine(central=np.vstack([np.eye(2), np.zeros(2)]))
    points = np.random.default_rng(3).uniform(0.0, 1.0, (4, engine.n_features))
    points /= np.linalg.norm(points, axis=1)[:, None]
    term = QuipSoapTerm("soap", engine, (CU, AU), (CU,), 4.0, 0.3, 1.0, points)
    return {"": PartModel(term, np.random.default_rng(4).normal(size=4))}


def _quip_variant_examples() -> dict[str, PartModel]:
    text = f"soap cutoff={CUTOFF} n_max=4 l_max=3 atom_sigma=0.5 n_species=2 species_Z={{29 79}} Z=29"
    rng = np.random.default_rng(7)

    def term(options: str, n_components: int, kernel: ScalarKernel) -> QuipSoapVariant:
        string = ParameterString.parse(f"{text} {options}")
        points = rng.uniform(0.0, 0.4, (4, n_components))
        return QuipSoapVariant.build("soap", string, 1_500_000_000, kernel, points)

    power = ScalarKernel("dot_product", 1.0, 0.0, (), 2.5)
    wide = ScalarKernel("ard_se", 1.0, 0.1, (0.9,) * 145)
    models = {
        "equal radial index, broken zeta": term("diagonal_radial=T covariance_sigma0=0.2", 49, power),
        "whole spectrum, squared exponential": term("", 145, wide),
    }
    return {name: PartModel(model, rng.normal(size=4)) for name, model in models.items()}


def _quip_pair_examples() -> dict[str, PartModel]:
    points = np.linspace(1.9, 3.7, 6)[:, None]
    kernel = ScalarKernel("ard_se", 1.0, 0.1, (0.6,))
    weights = np.random.default_rng(6).normal(size=6)
    envelope = CosineCutoff(CUTOFF, 0.8)

    def term(exponents: tuple[float, ...], tail: int) -> QuipPairTerm:
        return QuipPairTerm(
            "pair", (CU, AU), envelope, exponents, tail, 0.7, kernel, points, np.ones(len(points))
        )

    return {"": PartModel(term((1.0,), 0), weights), "with a tail": PartModel(term((1.0,), 6), weights)}


def _quip_triplet_examples() -> dict[str, PartModel]:
    rng = np.random.default_rng(8)
    points = np.stack([rng.uniform(4, 7, 5), rng.uniform(0, 1, 5), rng.uniform(2, 4, 5)], axis=1)
    term = QuipTripletTerm(
        "triplet", CU, (CU, AU), CosineCutoff(CUTOFF, 0.9), ScalarKernel("ard_se", 1.0, 0.0, (1.0, 1.0, 1.0)),
        points, np.ones(5),
    )  # fmt: skip
    return {"": PartModel(term, rng.normal(size=5))}


def _core_examples() -> dict[str, PartModel]:
    repulsion = CoreRepulsion(("Cu", "Au"), (1.2, 1.3, 1.4), (3.2, 3.0, 3.5))
    return {"": PartModel(CoreTerm(repulsion))}


def _glue_examples() -> dict[str, PartModel]:
    x = tuple(np.linspace(1.0, CUTOFF, 8))
    fall = tuple((CUTOFF - np.array(x)) ** 3 / 10.0)
    rho = tuple(np.linspace(0.0, 30.0, 8))
    embedding = QuipSpline(rho, tuple(-np.sqrt(np.array(rho) + 1.0)), None, None)
    density = QuipSpline(x, fall, None, None)
    types = tuple(GlueType(z, density, True, embedding) for z in (CU, AU))
    pairs = tuple(GluePair(p, QuipSpline(x, fall, None, None)) for p in ((CU, CU), (CU, AU), (AU, AU)))
    return {"": PartModel(GlueCore(QuipGlue(types, pairs)))}


EXAMPLES: dict[type[Any], Callable[[], dict[str, PartModel]]] = {
    SoapTerm: _soap_examples,
    PairTerm: _pair_examples,
    QuipSoapTerm: _quip_soap_examples,
    QuipSoapVariant: _quip_variant_examples,
    QuipPairTerm: _quip_pair_examples,
    QuipTripletTerm: _quip_triplet_examples,
    CoreTerm: _core_examples,
    GlueCore: _glue_examples,
}


def part_examples() -> dict[str, PartModel]:
    """All examples by name."""
    return {
        f"{cls.kind} {name}".strip(): model
        for cls, build in EXAMPLES.items()
        for name, model in build().items()
    }
