"""Potentials to and from one ``.castile`` file: arrays plus a JSON header, verified by a reference
prediction.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from castile.errors import ModelFileError
from castile.formats.model_file import read_model_file, write_model_file
from castile.potentials.calibration import KINDS, Calibration
from castile.potentials.defaults import Explanation
from castile.potentials.fit import FitOutcome
from castile.potentials.fit_report import FitReport, LearnedAmplitude, LearnedNoise
from castile.potentials.imported import ImportedModel, Origin
from castile.potentials.local_errors import LocalErrors
from castile.potentials.model_parts import model_from_header, model_header
from castile.potentials.settings import parse_settings
from castile.regression import PackedFactor, Posterior, pack_triangle, unpack_triangle
from castile.regression.priors import PriorFactor
from castile.structures.census import LabelCensus
from castile.structures.labels import LabelledStructure

KIND = "gap"
_ENERGY_TOLERANCE, _FORCE_TOLERANCE = 1e-6, 1e-5

Arrays = dict[str, np.ndarray[Any, Any]]


def write_potential(path: str | Path, outcome: FitOutcome | ImportedModel) -> None:
    """Write a fitted or imported model; the file replaces an old one only when it is complete."""
    arrays: Arrays = {}
    header = {
        "kind": KIND,
        **model_header(outcome.model, arrays),
        "reference": _write_reference(outcome, arrays),
    }
    if isinstance(outcome, ImportedModel):
        header["origin"] = asdict(outcome.origin)
    else:
        header["settings"] = outcome.settings.model_dump(mode="json")
        header["census"] = outcome.report.census.to_dict()
        header["report"] = _report_header(outcome.report)
        header["factors"] = [_write_factor(factor, arrays) for factor in outcome.factors]
        header["posterior"] = _write_posterior(outcome.posterior, arrays)
        header["calibration"] = outcome.calibration.to_header()
        if outcome.calibration.local is not None:
            arrays["calibration.means"] = outcome.calibration.local.means
            arrays["calibration.forces"] = outcome.calibration.local.forces
            for kind, ratios in outcome.calibration.local.ratios.items():
                arrays[f"calibration.ratios.{kind}"] = ratios
                arrays[f"calibration.levels.{kind}"] = outcome.calibration.local.levels[kind]
        arrays["fingerprints"] = outcome.fingerprints
    write_model_file(path, header, arrays)


def read_potential(path: str | Path, verify: bool = True) -> FitOutcome | ImportedModel:
    """Return what :func:`write_potential` wrote.

    Raises
    ------
    ModelFileError
        If the file is damaged, of another kind, or its reference prediction is not reproduced.
    """
    content = read_model_file(path)
    header, arrays = content.header, dict(content.arrays)
    if header.get("kind") != KIND:
        raise ModelFileError(
            f"{path}: holds a {header.get('kind')!r}, not a potential; use the command made for it"
        )
    try:
        outcome = _assemble(header, arrays)
    except (KeyError, TypeError, IndexError) as error:
        raise ModelFileError(
            f"{path}: the header lacks or garbles {error}; the file was not written by Castile"
        ) from error
    if verify:
        _verify(path, outcome, arrays)
    return outcome


def _assemble(header: Any, arrays: Arrays) -> FitOutcome | ImportedModel:
    model = model_from_header(header, arrays)
    reference = _read_reference(header["reference"], arrays)
    if "origin" in header:
        return ImportedModel(model, Origin(**header["origin"]), reference)
    return FitOutcome(
        model,
        parse_settings(header["settings"], "settings in the model file"),
        _read_report(header),
        tuple(_read_factor(entry, arrays) for entry in header["factors"]),
        _read_posterior(header["posterior"], arrays),
        reference,
        Calibration.from_header(header.get("calibration"), _read_local_errors(arrays)),
        arrays.get("fingerprints", np.empty((0, 16), dtype=np.uint8)),
    )


def _read_local_errors(arrays: Arrays) -> LocalErrors | None:
    if "calibration.means" not in arrays:
        return None
    known = [kind for kind in KINDS if f"calibration.levels.{kind}" in arrays]
    ratios = {kind: arrays[f"calibration.ratios.{kind}"] for kind in known}
    levels = {kind: arrays[f"calibration.levels.{kind}"] for kind in known}
    means = arrays["calibration.means"]
    forces = arrays.get("calibration.forces", np.full(len(means), np.nan))
    return LocalErrors(means, forces, ratios, levels)


def _write_factor(factor: PackedFactor, arrays: Arrays) -> dict[str, Any]:
    arrays[f"factor.{factor.kind}"] = factor.values
    return {
        "kind": factor.kind,
        "n_rows": factor.n_rows,
        "n_columns": factor.n_columns,
        "log_relative_sigma_sum": factor.log_relative_sigma_sum,
    }


def _read_factor(entry: Any, arrays: Arrays) -> PackedFactor:
    return PackedFactor(
        entry["kind"],
        arrays[f"factor.{entry['kind']}"],
        entry["n_rows"],
        entry["n_columns"],
        entry["log_relative_sigma_sum"],
    )


def _write_posterior(posterior: Posterior, arrays: Arrays) -> dict[str, Any]:
    arrays["posterior.weights"] = posterior.weights
    arrays["posterior.R"] = pack_triangle(posterior.R)
    for k, prior in enumerate(posterior.priors):
        arrays[f"posterior.prior{k}"] = pack_triangle(np.ascontiguousarray(prior.lower.T))
    return {
        "priors": [
            {"name": p.name, "start": p.columns.start, "stop": p.columns.stop, "jitter": p.jitter}
            for p in posterior.priors
        ],
        "amplitudes": list(posterior.amplitudes),
        "kinds": list(posterior.kinds),
        "sigmas": list(posterior.sigmas),
        "effective_parameters": list(posterior.effective_parameters),
        "log_evidence": posterior.log_evidence,
    }


def _read_posterior(entry: Any, arrays: Arrays) -> Posterior:
    weights = arrays["posterior.weights"]
    priors = []
    for k, prior in enumerate(entry["priors"]):
        columns = slice(prior["start"], prior["stop"])
        upper = unpack_triangle(arrays[f"posterior.prior{k}"], columns.stop - columns.start)
        priors.append(PriorFactor(prior["name"], columns, np.asfortranarray(upper.T), prior["jitter"]))
    return Posterior(
        weights,
        np.asfortranarray(unpack_triangle(arrays["posterior.R"], len(weights))),
        tuple(priors),
        tuple(entry["amplitudes"]),
        tuple(entry["kinds"]),
        tuple(entry["sigmas"]),
        tuple(entry["effective_parameters"]),
        entry["log_evidence"],
    )


def _write_reference(outcome: FitOutcome | ImportedModel, arrays: Arrays) -> dict[str, Any]:
    atoms = outcome.reference.atoms
    prediction = outcome.model.predict(atoms, 1)
    arrays["reference.numbers"] = np.asarray(atoms.numbers, dtype=np.int64)
    arrays["reference.positions"] = np.asarray(atoms.positions)
    arrays["reference.cell"] = np.asarray(atoms.cell[:])
    arrays["reference.pbc"] = np.asarray(atoms.pbc)
    arrays["reference.forces"] = prediction.forces
    return {"name": outcome.reference.name, "energy": prediction.energy}


def _read_reference(entry: Any, arrays: Arrays) -> LabelledStructure:
    atoms = Atoms(
        arrays["reference.numbers"],
        positions=arrays["reference.positions"],
        cell=arrays["reference.cell"],
        pbc=arrays["reference.pbc"],
    )
    return LabelledStructure(
        atoms, entry["name"], energy=entry["energy"], forces=np.array(arrays["reference.forces"])
    )


def _verify(path: str | Path, outcome: FitOutcome | ImportedModel, arrays: Arrays) -> None:
    reference = outcome.reference
    prediction = outcome.model.predict(reference.atoms, 1)
    energy_error = abs(prediction.energy - float(reference.energy or 0.0)) / len(reference.atoms)
    force_error = float(np.abs(prediction.forces - arrays["reference.forces"]).max())
    if energy_error > _ENERGY_TOLERANCE or force_error > _FORCE_TOLERANCE:
        raise ModelFileError(
            f"{path}: the stored reference structure {reference.name} is predicted "
            f"{energy_error:.2g} eV/atom and {force_error:.2g} eV/A off what was written; "
            "do not use this model with this version of Castile"
        )


def _report_header(report: FitReport) -> dict[str, Any]:
    values = asdict(report)
    del values["census"]
    return values


def _read_report(header: Any) -> FitReport:
    values = dict(header["report"])
    return FitReport(
        census=LabelCensus.from_dict(header["census"]),
        explanations=tuple(Explanation(**entry) for entry in values["explanations"]),
        composition=tuple((symbol, energy) for symbol, energy in values["composition"]),
        composition_source=values["composition_source"],
        noises=tuple(LearnedNoise(**entry) for entry in values["noises"]),
        amplitudes=tuple(LearnedAmplitude(**entry) for entry in values["amplitudes"]),
        n_columns=values["n_columns"],
        log_evidence=values["log_evidence"],
        evidence_message=values["evidence_message"],
        timings=tuple((name, seconds) for name, seconds in values["timings"]),
        estimated_memory=values["estimated_memory"],
        peak_memory=values["peak_memory"],
    )
