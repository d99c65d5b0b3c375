"""Barrier models in ``.castile`` files: features and hyper-parameters; the rest follows from them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from castile.barriers.calibration import IntervalScale
from castile.barriers.features import PathFeatures
from castile.barriers.gaussian_process import condition
from castile.barriers.model import SMALLEST_TARGET, BarrierModel
from castile.barriers.process_inputs import HyperParameters
from castile.barriers.views import View
from castile.errors import ModelFileError
from castile.formats.model_file import read_model_file, write_model_file

KIND = "barriers"
FORMAT = 3  # of what a model computes: features, kernels, intervals


def save_barrier_model(model: BarrierModel, path: str | os.PathLike[str]) -> str:
    """Write a fitted model and return the SHA-256 of its content.

    Raises
    ------
    ModelFileError
        If the file cannot be written.
    """
    header: dict[str, Any] = {
        "kind": KIND,
        "shift": model.shift,
        "n_steps": model.n_steps,
        "robust": model.robust,
        "coverage": model.coverage,
        "straight": model.straight,
        "mixing": model.mixing,
        "format": FORMAT,
        "views": [
            {"patterns": list(view.patterns), "soap": view.soap, "limit": view.limit} for view in model.views
        ],
        "n_descriptors": len(model.features_.soap),
        "names": list(model.features_.names),
        "path_ids": list(model.path_ids_),
        "systems": list(model.systems_),
        "mobile": list(model.mobile_),
        "offset": model.offset_,
        "intervals": [
            model.scale_of_intervals_.spread,
            model.scale_of_intervals_.ratio,
            model.scale_of_intervals_.noise,
        ],
        "usual_variance": model.usual_variance_,
    }
    arrays = {
        "physical": model.features_.physical,
        "barriers": model.barriers_,
        "center": model.center_,
        "scale": model.scale_,
    }
    for k, blocks in enumerate(model.features_.soap):
        arrays[f"soap_{k}"] = blocks.astype(np.float32)
    for k, process in enumerate(model.processes):
        arrays[f"parameters_{k}"] = process.parameters.pack()
        arrays[f"weights_{k}"] = process.weights
    return write_model_file(path, header, arrays)


def load_barrier_model(path: str | os.PathLike[str]) -> BarrierModel:
    """Read a model that ``save_barrier_model`` wrote.

    Raises
    ------
    ModelFileError
        If the file is damaged, or holds another kind of model.
    """
    content = read_model_file(path)
    header, arrays = content.header, content.arrays
    if header.get("kind") != KIND:
        raise ModelFileError(
            f"{os.fspath(path)}: holds no model of barriers; name one that 'castile barriers fit' wrote"
        )
    if header.get("format") != FORMAT:
        raise ModelFileError(
            f"{os.fspath(path)}: this model of barriers was written by another version of Castile "
            f"(format {header.get('format', 1)}, needed {FORMAT}), whose features differ; fit it again with "
            "'castile barriers fit'"
        )
    model = BarrierModel(
        header["shift"],
        header["n_steps"],
        robust=header["robust"],
        coverage=header["coverage"],
        views=tuple(View(tuple(view["patterns"]), view["soap"], view["limit"]) for view in header["views"]),
        straight=header["straight"],
        mixing=header["mixing"],
    )
    soap = tuple(arrays[f"soap_{k}"].astype(np.float64) for k in range(header["n_descriptors"]))
    model.features_ = PathFeatures(tuple(header["names"]), arrays["physical"], soap)
    model.barriers_, model.center_, model.scale_ = arrays["barriers"], arrays["center"], arrays["scale"]
    model.path_ids_, model.systems_ = tuple(header["path_ids"]), tuple(header["systems"])
    model.mobile_ = tuple(header["mobile"])
    model.offset_, model.scale_of_intervals_ = header["offset"], IntervalScale(*header["intervals"])
    model.usual_variance_ = header["usual_variance"]
    targets = np.log(np.maximum(model.barriers_, SMALLEST_TARGET) + model.shift) - model.offset_
    model.processes_ = tuple(
        condition(
            HyperParameters.unpack(arrays[f"parameters_{k}"], inputs),
            inputs,
            targets,
            arrays[f"weights_{k}"],
        )
        for k, inputs in enumerate(model._inputs(model.features_))
    )
    return model
