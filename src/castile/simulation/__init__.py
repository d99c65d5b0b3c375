"""Dynamics, relaxation, elasticity, equations of state and phonons with any ASE calculator."""

from castile.simulation.birch_murnaghan import (
    EquationOfState,
    equation_of_state,
    fit_equation_of_state,
)
from castile.simulation.close_contacts import CloseContact, find_fused_atoms
from castile.simulation.elastic_tensors import IsotropicModuli
from castile.simulation.elasticity import ElasticConstants, elastic_constants
from castile.simulation.md_record import LogRow, MolecularDynamicsFiles, read_log
from castile.simulation.md_result import MolecularDynamicsProgress, MolecularDynamicsResult
from castile.simulation.md_settings import Ensemble, MolecularDynamicsSettings
from castile.simulation.molecular_dynamics import run_molecular_dynamics
from castile.simulation.phonons import Phonons, compute_phonons
from castile.simulation.relaxation import Optimizer, RelaxationProgress, RelaxationResult, relax

__all__ = [
    "CloseContact",
    "ElasticConstants",
    "Ensemble",
    "EquationOfState",
    "IsotropicModuli",
    "LogRow",
    "MolecularDynamicsFiles",
    "MolecularDynamicsProgress",
    "MolecularDynamicsResult",
    "MolecularDynamicsSettings",
    "Optimizer",
    "Phonons",
    "RelaxationProgress",
    "RelaxationResult",
    "compute_phonons",
    "elastic_constants",
    "equation_of_state",
    "find_fused_atoms",
    "fit_equation_of_state",
    "read_log",
    "relax",
    "run_molecular_dynamics",
]
