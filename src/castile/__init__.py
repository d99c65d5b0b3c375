"""Castile: from quantum-mechanical calculations to a force field you can trust.

Public names are loaded on first use, so that ``import castile`` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "SOAP": "castile.descriptors.soap",
    "RadialDistribution": "castile.descriptors.rdf",
    "CoulombMatrix": "castile.descriptors.distance_matrices",
    "DotProductKernel": "castile.kernels",
    "GAP": "castile.potentials.gap",
    "Prediction": "castile.potentials.prediction",
    "UncertainPrediction": "castile.potentials.prediction",
    "load": "castile.potentials.gap",
    "import_gap": "castile.potentials.quip_import",
    "export_gap": "castile.potentials.quip_export",
    "StructureSource": "castile.structures",
    "LabelKeys": "castile.structures",
    "evaluate": "castile.evaluation",
    "CastileError": "castile.errors",
    "FitError": "castile.errors",
    "InputError": "castile.errors",
    "ModelFileError": "castile.errors",
    "SimulationError": "castile.errors",
}

__all__ = [
    "GAP",
    "SOAP",
    "CastileError",
    "CoulombMatrix",
    "DotProductKernel",
    "FitError",
    "InputError",
    "LabelKeys",
    "ModelFileError",
    "Prediction",
    "RadialDistribution",
    "SimulationError",
    "StructureSource",
    "UncertainPrediction",
    "__version__",
    "evaluate",
    "export_gap",
    "import_gap",
    "load",
]

if TYPE_CHECKING:
    from castile.descriptors.distance_matrices import CoulombMatrix
    from castile.descriptors.rdf import RadialDistribution
    from castile.descriptors.soap import SOAP
    from castile.errors import CastileError, FitError, InputError, ModelFileError, SimulationError
    from castile.evaluation import evaluate
    from castile.kernels import DotProductKernel
    from castile.potentials.gap import GAP, load
    from castile.potentials.prediction import Prediction, UncertainPrediction
    from castile.potentials.quip_export import export_gap
    from castile.potentials.quip_import import import_gap
    from castile.structures import LabelKeys, StructureSource


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'castile' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
