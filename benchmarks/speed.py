"""Speed of SOAP values, SOAP gradients and a GAP beside the installed peers, one thread and two."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.data import MissingData, data_files
from benchmarks.isolation import run_isolated
from benchmarks.records import Check, Record, Table, figure
from benchmarks.systems import System, speed_systems
from benchmarks.thread_gain import thread_gains

Numbers = dict[str, float]

VALUES_TARGETS = {"si": 5.0, "gaas": 4.0, "cu": 6.0, "alloy": 4.0}
GRADIENTS_TARGET = 50.0
GAP_TARGET = 50.0
SMALL_TARGET_MS = 0.4
ROUNDS = 9
DESCRIPTORS = ("castile", "dscribe", "featomic", "quippy")
POTENTIALS = ("castile", "quippy", "lammps", "ace-jax")
ACE_ORDER, ACE_DEGREE = 3, 16


def speed(quick: bool, threads: tuple[int, ...] = (1, 2)) -> Record:
    """Everything, each thread count in a process of its own."""
    systems = speed_systems(quick)
    runs: dict[int, dict[str, Any]] = {}
    notes: dict[str, None] = {}
    with tempfile.TemporaryDirectory(prefix="castile-benchmark-") as folder:
        xml = _quip_model(Path(folder), quick, notes)
        for count in threads:
            medians: dict[str, Any] = {}
            for index in range(len(systems)):
                arguments = {"index": index, "quick": quick, "threads": count}
                found = run_isolated("benchmarks.speed:measure_descriptors", arguments, count)
                notes |= dict.fromkeys(found.pop("notes"))
                medians |= found
            given: dict[str, Any] = {"xml": xml, "quick": quick, "threads": count}
            found = run_isolated("benchmarks.speed:measure_potentials", given, count)
            notes |= dict.fromkeys(found.pop("notes"))
            runs[count] = medians | found
    numbers = {f"{key}_threads_{n}": value for n, run in runs.items() for key, value in run.items()}
    tables, checks = [], []
    for count, run in runs.items():
        tables += [
            _descriptor_table(systems, run, "values", count),
            _descriptor_table(systems, run, "gradients", count),
            _potential_table(run, count),
        ]
    if 1 in runs:
        checks += _one_thread_checks(systems, runs[1])
    if 1 in runs and 2 in runs:
        gains, table, gain_checks = thread_gains(quick)
        numbers |= gains
        tables.append(table)
        checks += gain_checks
    return Record("speed", quick, numbers, tuple(checks), tuple(tables), tuple(notes))


def _quip_model(folder: Path, quick: bool, notes: dict[str, None]) -> str | None:
    """The XML file of a silicon GAP of the published sizes, fitted to energies by QUIP, or None."""
    import ase.io

    from benchmarks.models import run_gap_fit
    from benchmarks.peers import PeerMissing

    try:
        (train,) = data_files("mlearn/Si_training.xyz.gz")
        structures = ase.io.read(train, "::30" if quick else "::8")
        return str(run_gap_fit(list(structures), folder, 100 if quick else 1000, False, "random"))
    except (PeerMissing, MissingData) as error:
        notes[f"no GAP by QUIP: {error}"] = None
        return None


def measure_descriptors(index: int, quick: bool, threads: int) -> dict[str, Any]:
    """Microseconds per atom of SOAP values and gradients of one system."""
    from benchmarks import peers

    system = speed_systems(quick)[index]
    measured: dict[str, Any] = {}
    notes: list[str] = []
    values: dict[str, Callable[[], Any]] = {
        "castile": lambda: peers.castile_values(system, threads),
        "dscribe": lambda: peers.dscribe_values(system),
        "featomic": lambda: peers.featomic_values(system),
        "quippy": lambda: peers.quippy_values(system),
    }
    gradients: dict[str, Callable[[], Any]] = {
        "castile": lambda: peers.castile_gradients(system, threads),
        "featomic": lambda: peers.featomic_values(system, gradients=True),
        "quippy": lambda: peers.quippy_values(system, gradients=True),
    }
    for kind, makers in (("values", values), ("gradients", gradients)):
        for name, micros in _time(makers, system.n_atoms, quick, notes).items():
            measured[f"{system.key}_{kind}_{name}_us_per_atom"] = micros
    return measured | {"notes": notes}


def measure_potentials(xml: str | None, quick: bool, threads: int) -> dict[str, Any]:
    """Microseconds per atom of energy, forces and stress; ms per call of a small cell; agreement."""
    from benchmarks import models, peers

    notes: list[str] = []
    large = models.silicon_system((2, 2, 2) if quick else (4, 4, 4))
    small = models.silicon_system((1, 1, 1))
    predict = models.random_model(large, 100 if quick else 1000, 4.0).predict
    imported = None if xml is None else models.import_quip(Path(xml))
    if imported is not None:
        predict = imported.fitted_model.predict
    else:
        notes.append("Castile ran a GAP of the same sizes with random weights, not the one of QUIP")
    measured: dict[str, Any] = {}

    def castile_call(system: System) -> Callable[[], Any]:
        copies = system.alternating()
        return lambda: predict(next(copies), threads)

    def quippy_call(system: System) -> Callable[[], Any]:
        if xml is None:
            raise peers.PeerMissing("quippy has no GAP to run")
        other, copies = peers.quippy_potential(xml), system.alternating()
        return lambda: other(next(copies))

    steps = 2 if quick else 10
    makers = {
        "castile": lambda: castile_call(large),
        "quippy": lambda: quippy_call(large),
        "lammps": lambda: peers.LammpsSnap(large.copies[0], steps),
        "ace-jax": lambda: peers.ace_potential(large, ACE_ORDER, 6 if quick else ACE_DEGREE),
    }
    for name, micros in _time(makers, large.n_atoms, quick, notes).items():
        share = steps if name == "lammps" else 1
        measured[f"gap_{name}_us_per_atom"] = micros / share
    makers = {"castile": lambda: castile_call(small), "quippy": lambda: quippy_call(small)}
    for name, micros in _time(makers, small.n_atoms, quick, [], rounds=25).items():
        measured[f"small_{name}_ms_per_call"] = micros * small.n_atoms / 1000.0
    if xml is not None and imported is not None and "gap_quippy_us_per_atom" in measured:
        measured |= _agreement(predict, peers.quippy_potential(xml), large)
    return measured | {"notes": notes}


def _agreement(predict: Callable, other: Callable, system: System) -> Numbers:
    ours = predict(system.copies[0])
    energy, forces, stress = other(system.copies[0])
    return {
        "gap_energy_difference_ev": abs(ours.energy - energy),
        "gap_force_difference_ev_per_angstrom": float(abs(ours.forces - forces).max()),
        "gap_stress_difference_ev_per_cubic_angstrom": float(abs(ours.stress - stress).max()),
    }


def _time(
    makers: dict[str, Callable[[], Any]], n_atoms: int, quick: bool, notes: list[str], rounds: int = ROUNDS
) -> Numbers:
    """Median microseconds per atom of what the makers make; absent peers become notes."""
    from benchmarks.peers import PeerMissing
    from benchmarks.timing import time_interleaved

    calls = {}
    for name, make in makers.items():
        try:
            calls[name] = make()
        except PeerMissing as error:
            notes.append(f"left out: {error}")
    timings = time_interleaved(calls, 3 if quick else rounds)
    return {name: 1e6 * timing.median / n_atoms for name, timing in timings.items()}


def _descriptor_table(systems: tuple[System, ...], run: Numbers, kind: str, threads: int) -> Table:
    what = {
        "values": "SOAP values",
        "gradients": "SOAP values with gradients (Castile: vector-Jacobian product)",
    }[kind]
    return Table(
        f"{what}, {_threads(threads)}: microseconds per atom (times Castile's)",
        ("system", "atoms", *DESCRIPTORS),
        tuple(
            (s.label, str(s.n_atoms), *(_cell(run, f"{s.key}_{kind}", name) for name in DESCRIPTORS))
            for s in systems
        ),
    )


def _potential_table(run: Numbers, threads: int) -> Table:
    small = {name: run.get(f"small_{name}_ms_per_call") for name in POTENTIALS}
    rows = (
        (
            "Si, energy, forces, stress: microseconds per atom",
            *(_cell(run, "gap", name) for name in POTENTIALS),
        ),
        (
            "8 Si atoms: milliseconds per call",
            *("" if value is None else figure(value) for value in small.values()),
        ),
    )
    return Table(
        f"GAP, {_threads(threads)} (LAMMPS: SNAP, 2J = 8; ace-jax: order {ACE_ORDER}, degree {ACE_DEGREE})",
        ("", *POTENTIALS),
        rows,
    )


def _cell(run: Numbers, prefix: str, name: str) -> str:
    own, value = run[f"{prefix}_castile_us_per_atom"], run.get(f"{prefix}_{name}_us_per_atom")
    if value is None:
        return ""
    return figure(value) if name == "castile" else f"{figure(value)} ({figure(value / own)}x)"


def _ratio(run: Numbers, prefix: str, names: tuple[str, ...]) -> float | None:
    others = [run[key] for name in names if (key := f"{prefix}_{name}_us_per_atom") in run]
    return min(others) / run[f"{prefix}_castile_us_per_atom"] if others else None


def _one_thread_checks(systems: tuple[System, ...], run: Numbers) -> list[Check]:
    wanted = [
        (f"SOAP values, {s.label}, against the faster of DScribe and featomic",
         _ratio(run, f"{s.key}_values", ("dscribe", "featomic")), VALUES_TARGETS[s.key])
        for s in systems
    ]  # fmt: skip
    wanted += [
        (f"SOAP gradients, {s.label}, against featomic", _ratio(run, f"{s.key}_gradients", ("featomic",)),
         GRADIENTS_TARGET)
        for s in systems
    ]  # fmt: skip
    wanted += [
        ("GAP, energy, forces and stress, against quippy", _ratio(run, "gap", ("quippy",)), GAP_TARGET),
        ("GAP against LAMMPS SNAP, 2J = 8", _ratio(run, "gap", ("lammps",)), 1.0),
    ]
    checks = [Check(label, ratio, target, "x", "at least") for label, ratio, target in wanted if ratio]
    checks.append(
        Check("8 atoms, energy and forces", run["small_castile_ms_per_call"], SMALL_TARGET_MS, "ms")
    )
    return checks


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
