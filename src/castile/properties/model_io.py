"""Property models in ``.castile`` files: descriptor, process, and predictions that are verified at load."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import CastileError, ModelFileError
from castile.formats.model_file import read_model_file, write_model_file
from castile.properties.covariance import Scaler
from castile.properties.descriptor import Seen, StructureDescriptor
from castile.properties.foreign import ForeignDescriptor
from castile.properties.hyperparameters import HyperParameters, profiled
from castile.properties.model import PropertyModel
from castile.properties.process import Basis, ExactProcess, Process, SparseProcess, prior_covariance
from castile.properties.registry import make_descriptor

KIND = "property"
_TOLERANCE = 1e-6
Arrays = dict[str, NDArray[Any]]


def save_property_model(model: PropertyModel, path: str | os.PathLike[str]) -> str:
    """Write a fitted model and return the SHA-256 of its content.

    Raises
    ------
    ModelFileError
        If the file cannot be written, or an option of the descriptor is nothing that JSON can hold.
    """
    arrays: Arrays = {"ratios": model.ratios_}
    header = {
        "kind": KIND,
        "target": model.target,
        "unit": model.unit,
        "scope": model.scope,
        "kernel": model.kernel,
        "solver": model.solver,
        "n_sparse": model.n_sparse,
        "seed": model.seed,
        "descriptor": descriptor_header(model.descriptor),
        "summary": asdict(model.summary_),
        "process": _process_header(model.process_, arrays),
        "references": _write_references(model, arrays),
    }
    return write_model_file(path, header, arrays)


def load_property_model(
    path: str | os.PathLike[str], descriptor: StructureDescriptor | None = None
) -> PropertyModel:
    """Read what ``save_property_model`` wrote.

    Raises
    ------
    ModelFileError
        If the file is damaged, holds another kind of model, or does not predict what it predicted.
    """
    content = read_model_file(path)
    header, arrays = content.header, dict(content.arrays)
    if header.get("kind") != KIND:
        raise ModelFileError(
            f"{os.fspath(path)}: holds a {header.get('kind')!r}, not a model of a property; use the command "
            "made for it"
        )
    try:
        made = _restored(path, header["descriptor"], descriptor)
        model = PropertyModel(
            made, scope=header["scope"], kernel=header["kernel"], target=header["target"],
            unit=header["unit"], solver=header["solver"], n_sparse=header["n_sparse"], seed=header["seed"],
        )  # fmt: skip
        summary = header["summary"]
        model._adopt(_read_process(header["process"], arrays), summary["n_structures"], summary["fit_cpu_s"])
        model.references_ = _read_references(header["references"], arrays)
    except (KeyError, TypeError, IndexError) as error:
        raise ModelFileError(
            f"{os.fspath(path)}: the header lacks or garbles {error}; the file was not written by Castile"
        ) from error
    _verify(path, model, arrays)
    return model


def descriptor_header(descriptor: StructureDescriptor) -> dict[str, Any]:
    """Return what a file says of a fitted descriptor."""
    seen = {"species": list(descriptor.seen_.species), "n_atoms_max": descriptor.seen_.n_atoms_max}
    if isinstance(descriptor, ForeignDescriptor):
        return {"kind": descriptor.kind, "name": descriptor.source, "seen": seen}
    return {"kind": descriptor.kind, "options": descriptor.get_params(deep=False), "seen": seen}


def _restored(
    path: str | os.PathLike[str], header: Any, given: StructureDescriptor | None
) -> StructureDescriptor:
    seen = Seen(tuple(header["seen"]["species"]), header["seen"]["n_atoms_max"])
    if header["kind"] == ForeignDescriptor.kind:
        if given is None:
            raise ModelFileError(
                f"{os.fspath(path)}: was made with the descriptor {header['name']}, which is not Castile's; "
                "hand it over in Python: PropertyModel.load(path, descriptor=...)"
            )
        return given.settle(seen)
    return make_descriptor(header["kind"], header["options"]).settle(seen)


def _process_header(process: Process, arrays: Arrays) -> dict[str, Any]:
    basis = process.basis
    arrays["scaler.shift"], arrays["scaler.scale"] = basis.scaler.shift, basis.scaler.scale
    arrays["composition_mean"] = basis.composition_mean
    if isinstance(process, ExactProcess):
        arrays["rows"], arrays["linear"] = process.rows, process.linear
        arrays["weights"] = process.weights
    elif isinstance(process, SparseProcess):
        for name in ("points", "lower", "weights", "values", "vectors", "residuals", "residual_variances"):
            arrays[name] = getattr(process, name)
    return {
        "exact": isinstance(process, ExactProcess),
        "kernel": basis.kernel,
        "unit_rows": basis.scaler.unit,
        "parameters": asdict(basis.parameters),
        "composition_scale": basis.composition_scale,
        "offset": basis.offset,
        "spread": basis.spread,
        "per_atom": basis.per_atom,
    }


def _read_process(header: Any, arrays: Arrays) -> Process:
    basis = Basis(
        header["kernel"],
        Scaler(arrays["scaler.shift"], arrays["scaler.scale"], header["unit_rows"]),
        HyperParameters(**header["parameters"]),
        arrays["composition_mean"],
        header["composition_scale"],
        header["offset"],
        header["spread"],
        header["per_atom"],
    )
    if not header["exact"]:
        names = ("points", "lower", "weights", "values", "vectors", "residuals", "residual_variances")
        return SparseProcess(basis, *(arrays[name] for name in names))
    rows, linear, weights = arrays["rows"], arrays["linear"], arrays["weights"]
    K = prior_covariance(basis, rows, linear)
    K[np.diag_indices(len(K))] += np.exp(2.0 * basis.parameters.noise)
    solved = profiled(K, np.zeros(len(K)))
    if solved is None:
        raise ModelFileError("the covariance of the stored structures cannot be factorized; repeat the fit")
    return ExactProcess(basis, rows, linear, solved[3], weights)


def _write_references(model: PropertyModel, arrays: Arrays) -> int:
    mean, deviation = model.predict(model.references_)
    arrays["reference.mean"], arrays["reference.deviation"] = mean, deviation
    for k, atoms in enumerate(model.references_):
        arrays[f"reference{k}.numbers"] = np.asarray(atoms.numbers, dtype=np.int64)
        arrays[f"reference{k}.positions"] = np.asarray(atoms.positions)
        arrays[f"reference{k}.cell"] = np.asarray(atoms.cell[:])
        arrays[f"reference{k}.pbc"] = np.asarray(atoms.pbc)
    return len(model.references_)


def _read_references(n_references: int, arrays: Arrays) -> list[Atoms]:
    return [
        Atoms(
            arrays[f"reference{k}.numbers"],
            positions=arrays[f"reference{k}.positions"],
            cell=arrays[f"reference{k}.cell"],
            pbc=arrays[f"reference{k}.pbc"],
        )
        for k in range(n_references)
    ]


def _verify(path: str | os.PathLike[str], model: PropertyModel, arrays: Arrays) -> None:
    try:
        mean, deviation = model.predict(model.references_)
    except (CastileError, ValueError) as error:
        raise ModelFileError(
            f"{os.fspath(path)}: the stored reference structures cannot be predicted ({error}); is the "
            "descriptor the one of the fit?"
        ) from error
    allowed = _TOLERANCE * model.process_.basis.spread * max(1, max(len(a) for a in model.references_))
    off = max(
        float(np.abs(mean - arrays["reference.mean"]).max()),
        float(np.abs(deviation - arrays["reference.deviation"]).max()),
    )
    if not off <= allowed:
        raise ModelFileError(
            f"{os.fspath(path)}: reference structures are predicted {off:.3g} {model.unit} off what was "
            "written; do not use it with this version of Castile, or hand over the descriptor of the fit"
        )
