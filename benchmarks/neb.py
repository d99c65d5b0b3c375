"""Barriers by a band on a surrogate beside a plain climbing-image band: the same barrier, fewer calls."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atom, Atoms
from ase.build import add_adsorbate, bulk, fcc100, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from scipy.spatial.transform import Rotation

from benchmarks.records import Check, Record, Table, figure
from castile.active.oracle_settings import OracleSettings
from castile.active.oracles import LabelTask, close_oracle_processes, label_structure
from castile.barriers.neb import neb
from castile.barriers.neb_ends import first_path, prepare_ends
from castile.barriers.neb_settings import NebSettings
from castile.errors import SimulationError

FORCE = 0.03  # eV/A, of both bands
END_FORCE = 0.01
MAX_STEPS = 400
EMT = OracleSettings.model_validate({"preset": "emt"})
GFN2 = OracleSettings.model_validate({"preset": "tblite"})
DFT = OracleSettings.model_validate(
    {
        "preset": "espresso",
        "stress": "none",
        "options": {
            "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF", "Li": "Li.pbesol-s-rrkjus_psl.0.2.1.UPF"},
            "plane_wave_cutoff_ry": 20.0,
            "k_spacing_per_angstrom": 0.6,
            "input_data": {"system": {"input_dft": "PBESOL"}, "control": {"tstress": False}},
        },
    }
)
QUICK = ("Cu vacancy, 31 Cu", "ethane, turn of CH3")


@dataclass(frozen=True)
class Case:
    """Two ends that are not relaxed yet, and what computes them."""

    name: str
    ends: Callable[[], tuple[Atoms, Atoms]]
    oracle: OracleSettings
    program: str
    n_images: int = 5


@dataclass(frozen=True)
class Outcome:
    """What both bands found: barriers in eV, calls between the ends, seconds of the surrogate's work."""

    case: Case
    plain_barrier: float
    plain_calls: int
    optimizer: str
    barrier: float
    calls: int
    failed: int
    converged: bool
    own_seconds: float

    @property
    def ratio(self) -> float:
        """Plain calls for each call of the surrogate's band."""
        return self.plain_calls / self.calls

    @property
    def difference(self) -> float:
        """Between the barriers, meV."""
        return 1000.0 * abs(self.barrier - self.plain_barrier)


class CountedOracle(Calculator):
    """The oracle as a calculator that counts its calls."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, oracle: OracleSettings, folder: Path, calls: list[int]) -> None:
        super().__init__()
        self.oracle, self.folder, self.calls = oracle, folder, calls

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """Compute one structure."""
        super().calculate(atoms, properties, system_changes)
        self.calls[0] += 1
        bare = atoms.copy()
        bare.info = {}
        task = LabelTask(str(self.folder / f"{self.calls[0]:05d}"), bare, self.oracle)
        result = label_structure(task)
        if result.status != "converged":
            raise SimulationError(result.reason)
        self.results = {
            "energy": result.energy, "free_energy": result.energy, "forces": np.array(result.forces),
        }  # fmt: skip


def cases(quick: bool) -> tuple[Case, ...]:
    """All cases."""
    found = (
        Case("Cu on Cu(100), hop", lambda: _hop("Cu", "Cu", (3, 3, 3)), EMT, "EMT"),
        Case("Cu on Cu(100), exchange", lambda: _exchange("Cu", "Cu"), EMT, "EMT"),
        Case("Au on Al(100), hop", lambda: _hop("Al", "Au", (2, 2, 3)), EMT, "EMT"),
        Case("Al on Al(100), exchange", lambda: _exchange("Al", "Al"), EMT, "EMT"),
        Case("Pt on Pt(100), exchange", lambda: _exchange("Pt", "Pt"), EMT, "EMT"),
        Case("Al vacancy, 31 Al", lambda: _vacancy("Al"), EMT, "EMT"),
        Case("Cu vacancy, 31 Cu", lambda: _vacancy("Cu"), EMT, "EMT"),
        Case("ethane, turn of CH3", _ethane, GFN2, "GFN2-xTB"),
        Case("vinyl alcohol to acetaldehyde", _acetaldehyde, GFN2, "GFN2-xTB"),
        Case("Li in silicon, Si8Li", _lithium, DFT, "Quantum ESPRESSO, PBEsol"),
    )
    return tuple(case for case in found if not quick or case.name in QUICK)


def _slab(metal: str, adatom: str, size: tuple[int, int, int]) -> Atoms:
    slab = fcc100(metal, size=size, vacuum=8.0)
    add_adsorbate(slab, adatom, 1.8, "hollow")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() >= size[2]))
    slab.info = {}
    return slab


def _hop(metal: str, adatom: str, size: tuple[int, int, int]) -> tuple[Atoms, Atoms]:
    """An adatom to the next hollow."""
    initial = _slab(metal, adatom, size)
    final = initial.copy()
    final.positions[-1, 0] += initial.cell[0, 0] / size[0]
    return initial, final


def _exchange(metal: str, adatom: str) -> tuple[Atoms, Atoms]:
    """An adatom takes the place of a surface atom, which goes up into the hollow across."""
    initial = _slab(metal, adatom, (3, 3, 3))
    last = len(initial) - 1
    top = [atom.index for atom in initial if atom.tag == 1]
    pushed = top[int(np.argmin(initial.get_distances(last, top, mic=True)))]
    move = initial.get_distance(last, pushed, mic=True, vector=True)
    final = initial.copy()
    final.positions[last] += move
    final.positions[pushed] += move * [1.0, 1.0, -1.0]
    return initial, final


def _vacancy(metal: str) -> tuple[Atoms, Atoms]:
    """A neighbour jumps into an empty site."""
    crystal = bulk(metal, cubic=True) * (2, 2, 2)
    neighbor = 1 + int(np.argmin(crystal.get_distances(0, range(1, len(crystal)), mic=True)))
    move = crystal.get_distance(neighbor, 0, mic=True, vector=True)
    initial = crystal[1:]
    final = initial.copy()
    final.positions[neighbor - 1] += move
    return initial, final


def _ethane() -> tuple[Atoms, Atoms]:
    """One methyl group turns by 120 degrees."""
    initial = molecule("C2H6")
    final = initial.copy()
    axis = initial.positions[1] - initial.positions[0]
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * 2.0 * np.pi / 3.0)
    for atom in range(2, 8):
        if initial.get_distance(0, atom) < 1.3:
            final.positions[atom] = initial.positions[0] + turn.apply(
                initial.positions[atom] - initial.positions[0]
            )
    return initial, final


def _acetaldehyde() -> tuple[Atoms, Atoms]:
    """The hydrogen of a hydroxyl group goes to the other carbon."""
    heavy = [[-1.23, -0.20, 0.0], [0.0, 0.42, 0.0], [1.20, -0.22, 0.0]]
    alcohol = [[-2.13, 0.40, 0.0], [-1.33, -1.28, 0.0], [0.06, 1.51, 0.0], [1.05, -1.17, 0.0]]
    aldehyde = [
        [-1.17, -0.15, 0.0], [0.23, 0.40, 0.0], [1.23, -0.28, 0.0], [-1.90, 0.65, 0.0],
        [-1.30, -0.78, 0.88], [0.31, 1.50, 0.0], [-1.30, -0.78, -0.88],
    ]  # fmt: skip
    return Atoms("CCOHHHH", [*heavy, *alcohol]), Atoms("CCOHHHH", aldehyde)


def _lithium() -> tuple[Atoms, Atoms]:
    """Lithium from one tetrahedral interstitial site of silicon to the next."""
    edge = 5.44
    initial, final = (
        bulk("Si", cubic=True, a=edge) + Atoms([Atom("Li", [x * edge] * 3)]) for x in (0.5, 0.75)
    )
    return initial, final


def run_case(case: Case, folder: Path) -> Outcome:
    """Relax the ends, then run both bands from the same first path."""
    ends, calls = [], [0]
    for number, end in enumerate(case.ends()):
        end.calc = CountedOracle(case.oracle, folder / f"end-{number}", [0])
        if not BFGS(end, logfile=None).run(fmax=END_FORCE, steps=MAX_STEPS):
            raise SimulationError(f"{case.name}: an end does not relax")
        end.calc = None
        ends.append(end)
    first, last = prepare_ends(*ends)
    optimizer = "BFGS"
    try:
        barrier = plain_band(case, first, last, folder / "plain", calls, BFGS)
    except SimulationError:
        optimizer, calls = "FIRE", [0]
        barrier = plain_band(case, first, last, folder / "plain-again", calls, FIRE)
    settings = NebSettings(n_images=case.n_images, max_force=FORCE)
    before = time.process_time()
    result = neb(ends[0], ends[1], case.oracle, folder / "band", settings)
    seconds = time.process_time() - before
    return Outcome(
        case, barrier, calls[0], optimizer, result.barrier, result.n_oracle_calls, result.n_failed_calls,
        result.converged, seconds,
    )  # fmt: skip


def plain_band(
    case: Case, first: Atoms, last: Atoms, folder: Path, calls: list[int], optimizer: type
) -> float:
    """ASE's climbing-image band with the oracle at every image of every step; calls between the ends."""
    images = first_path(first, last, case.n_images, "idpp")
    for number, image in enumerate(images):
        counter = calls if 0 < number < len(images) - 1 else [0]
        place = folder if counter is calls else folder / f"end-{number}"
        image.calc = CountedOracle(case.oracle, place, counter)
    band = NEB(images, k=0.1, climb=True, method="improvedtangent")
    if not optimizer(band, logfile=None).run(fmax=FORCE, steps=MAX_STEPS):
        raise SimulationError(f"{case.name}: the plain band does not converge")
    energies = [image.get_potential_energy() for image in images]
    return float(max(energies) - energies[0])


def run_neb(quick: bool) -> Record:
    """All cases, and the two targets."""
    outcomes = []
    with TemporaryDirectory() as folder:
        for number, case in enumerate(cases(quick)):
            print(f"  {case.name}", flush=True)
            outcomes.append(run_case(case, Path(folder) / str(number)))
            close_oracle_processes()
    numbers: dict[str, Any] = {}
    for outcome in outcomes:
        key = "".join(c if c.isalnum() else "_" for c in outcome.case.name.lower()).replace("__", "_")
        numbers |= {
            f"{key}/barrier_ev": outcome.barrier,
            f"{key}/plain_barrier_ev": outcome.plain_barrier,
            f"{key}/oracle_calls": outcome.calls,
            f"{key}/plain_oracle_calls": outcome.plain_calls,
            f"{key}/converged": outcome.converged,
            f"{key}/own_cpu_seconds": outcome.own_seconds,
        }
    median = float(np.median([outcome.ratio for outcome in outcomes]))
    worst = max(outcome.difference for outcome in outcomes)
    numbers |= {"median_call_ratio": median, "largest_barrier_difference_mev": worst}
    checks = (
        Check("plain calls for one call, median", median, 8.0, "", "at least"),
        Check("largest difference of a barrier", worst, 5.0, "meV"),
    )
    return Record("neb", quick, numbers, checks, (_table(outcomes),), _notes(outcomes))


def _table(outcomes: list[Outcome]) -> Table:
    rows = tuple(
        (
            o.case.name, o.case.program, f"{o.plain_barrier:.4f}", f"{o.barrier:.4f}",
            figure(o.difference), f"{o.plain_calls} ({o.optimizer})", str(o.calls), f"{o.ratio:.1f}",
            figure(o.own_seconds),
        )
        for o in outcomes
    )  # fmt: skip
    columns = (
        "case", "oracle", "plain band (eV)", "castile neb (eV)", "difference (meV)", "plain calls", "calls",
        "ratio", "own CPU time (s)",
    )  # fmt: skip
    return Table("Barriers and calls of the oracle between the ends", columns, rows)


def _notes(outcomes: list[Outcome]) -> tuple[str, ...]:
    notes = [
        f"Both bands: {FORCE} eV/A, climbing image, improved tangent, the same first path and 5 images. "
        "The ends are relaxed before and counted on neither side.",
    ]
    lost = [o.case.name for o in outcomes if not o.converged]
    if lost:
        notes.append(f"Not converged: {', '.join(lost)}.")
    failed = [f"{o.case.name} {o.failed}" for o in outcomes if o.failed]
    if failed:
        notes.append(f"Calls that gave no labels (counted): {', '.join(failed)}.")
    return tuple(notes)
