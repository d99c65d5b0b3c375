"""Labels of a structure: energy, forces, stress, their noise and masks, under whichever names a file uses.

Conventions: eV, Angstrom, stress in eV/A^3 with ASE's sign (negative when compressed) and Voigt order.
Virials W become stress = -W/V. A per-atom array ``force_mask`` follows QUIP: True EXCLUDES an atom's force;
in `LabelledStructure.force_mask` True means that the force is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from castile.errors import InputError
from castile.structures.validation import cell_volume
from castile.structures.voigt import symmetric_tensor_to_voigt, virial_to_stress

ENERGY_NAMES = (
    "energy", "Energy", "dft_energy", "DFT_energy", "REF_energy", "ref_energy", "qm_energy", "QM_energy",
    "energy_dft", "energy_eV", "total_energy", "TotEnergy", "totalenergy",
)  # fmt: skip
ENERGY_FALLBACK_NAMES = ("free_energy", "dft_free_energy", "DFT_free_energy", "REF_free_energy")
FORCES_NAMES = (
    "forces", "force", "Forces", "dft_forces", "dft_force", "DFT_forces", "DFT_force", "REF_forces",
    "REF_force", "ref_forces", "ref_force", "qm_forces", "qm_force", "QM_forces", "forces_dft",
)  # fmt: skip
STRESS_NAMES = ("stress", "Stress", "dft_stress", "DFT_stress", "REF_stress", "ref_stress", "qm_stress")
VIRIAL_NAMES = (
    "virial", "virials", "Virial", "dft_virial", "dft_virials", "DFT_virial", "REF_virial", "REF_virials",
    "ref_virial", "qm_virial",
)  # fmt: skip
IGNORE = "none"


@dataclass(frozen=True)
class LabelKeys:
    """Names under which labels are found; None looks under the usual names, "none" ignores the label.

    A named key is looked up in ``atoms.info`` (``atoms.arrays`` for forces) and then in the results of the
    attached calculator, where ASE's readers put ``energy``, ``forces`` and ``stress``.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None
    config_type: str = "config_type"
    energy_sigma: str = "energy_sigma"
    force_sigma: str = "force_sigma"
    stress_sigma: str = "stress_sigma"
    virial_sigma: str = "virial_sigma"
    force_atom_sigma: str = "force_atom_sigma"
    force_mask: str = "force_mask"

    def __post_init__(self) -> None:
        """Reject keys that contradict each other."""
        for field in fields(self):
            if getattr(self, field.name) == "":
                raise InputError(f"label key {field.name!r} is empty; name a key or leave the option out")
        if self.stress not in (None, IGNORE) and self.virial not in (None, IGNORE):
            raise InputError(
                f"both a stress key {self.stress!r} and a virial key {self.virial!r} are named; "
                "they are the same label, so name one (--stress-key or --virial-key)"
            )


@dataclass(frozen=True)
class LabelledStructure:
    """A structure with its reference labels.

    Attributes:
        atoms: the structure, not copied.
        name: "train.xyz[17]" or "structure 17".
        energy: total energy, eV.
        forces: (n_atoms, 3), eV/A; zero where `force_mask` is False and the file has NaN.
        stress: (6,), eV/A^3, ASE sign and order.
        force_mask: (n_atoms,), True = use.
        config_type: kind of structure, "" if none.
        energy_sigma: noise of the energy of the whole structure, eV.
        force_sigma: noise of the force components, eV/A, one for all atoms or (n_atoms,).
        stress_sigma: noise of the stress components, eV/A^3.
        energy_key, forces_key, stress_key: where each label was found, "" if nowhere.
        ignored: labels that were present but could not be used, and why.
        left_out: labels with an error that the reader of this structure can do without, and which.

    """

    atoms: Atoms
    name: str
    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None
    force_mask: NDArray[np.bool_] | None = None
    config_type: str = ""
    energy_sigma: float | None = None
    force_sigma: float | NDArray[np.float64] | None = None
    stress_sigma: float | None = None
    energy_key: str = ""
    forces_key: str = ""
    stress_key: str = ""
    ignored: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A label value and the key it was found under."""

    key: str
    value: Any


def label_structure(atoms: Atoms, name: str, keys: LabelKeys | None = None) -> LabelledStructure:
    """Labels of one structure; the structure itself is taken to be valid (see `validate_structure`).

    Args:
        atoms: structure; labels are read from info, arrays and the results of its calculator (nothing is
            calculated).
        name: used in messages.
        keys: names of the labels; automatic where None.

    Raises:
        InputError: a label that is not finite, has the wrong shape, or is present twice with other values.

    """
    keys = LabelKeys() if keys is None else keys
    results, ignored = _calculator_results(atoms)
    energy = _find_energy(atoms, results, keys.energy, name)
    forces = _find(keys.forces, FORCES_NAMES, atoms.arrays, results, f"{name}: forces", "--forces-key")
    stress_key, stress, unused = _find_stress(atoms, results, keys, name)
    mask = _force_mask(atoms, keys.force_mask, name)
    return LabelledStructure(
        atoms=atoms,
        name=name,
        energy=None if energy is None else _finite_scalar(energy.value, f"{name}: energy {energy.key!r}"),
        forces=None if forces is None else _forces(forces, len(atoms), mask, name),
        stress=stress,
        force_mask=mask,
        config_type=str(atoms.info.get(keys.config_type, "")),
        energy_sigma=_sigma(atoms, keys.energy_sigma, name),
        force_sigma=_force_sigma(atoms, keys, name),
        stress_sigma=_stress_sigma(atoms, keys, name),
        energy_key="" if energy is None else energy.key,
        forces_key="" if forces is None else forces.key,
        stress_key=stress_key,
        ignored=ignored + unused,
    )


def _calculator_results(atoms: Atoms) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Results attached by a reader or left by a calculation, unless they belong to other positions."""
    results = getattr(atoms.calc, "results", None)
    if not results:
        return {}, ()
    check_state = getattr(atoms.calc, "check_state", None)
    if check_state is not None and check_state(atoms):
        return {}, ("calculator results of another geometry (recalculate after moving atoms)",)
    return results, ()


def _find_energy(atoms: Atoms, results: Mapping[str, Any], key: str | None, name: str) -> _Found | None:
    what, option = f"{name}: energy", "--energy-key"
    found = _find(key, ENERGY_NAMES, atoms.info, results, what, option)
    if found is None and key is None:
        found = _find(None, ENERGY_FALLBACK_NAMES, atoms.info, results, what, option)
    return found


def _find(
    key: str | None,
    names: tuple[str, ...],
    stored: Mapping[str, Any],
    results: Mapping[str, Any],
    what: str,
    option: str,
) -> _Found | None:
    """Value under the named key, or under the usual names as long as these agree."""
    if key == IGNORE:
        return None
    if key is not None:
        values = [place[key] for place in (stored, results) if place.get(key) is not None]
        return _Found(key, values[0]) if values else None
    found = [
        _Found(candidate, place[candidate])
        for candidate in names
        for place in (results, stored)
        if place.get(candidate) is not None
    ]
    for other in found[1:]:
        if not _agree(found[0].value, other.value):
            same = found[0].key == other.key
            raise InputError(
                f"{what}: two keys with different values, {found[0].key!r} ({_brief(found[0].value)}) and "
                f"{other.key!r}{' beside the calculator' if same else ''} ({_brief(other.value)}); say which "
                f"one is meant with {option}"
            )
    return found[0] if found else None


def _agree(first: Any, second: Any) -> bool:
    try:
        one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return one.size == two.size and bool(
        np.allclose(one.ravel(), two.ravel(), rtol=1e-9, atol=1e-6, equal_nan=True)
    )


def _brief(value: Any) -> str:
    text = np.array2string(np.asarray(value).ravel()[:3], separator=", ")
    return text if np.size(value) <= 3 else f"{text[:-1]}, ...]"


def _find_stress(
    atoms: Atoms, results: Mapping[str, Any], keys: LabelKeys, name: str
) -> tuple[str, NDArray[np.float64] | None, tuple[str, ...]]:
    """Stress from a stress or a virial key: (key, stress, what had to be ignored)."""
    stress_named = keys.stress not in (None, IGNORE)
    virial_named = keys.virial not in (None, IGNORE)
    direct = None
    if not virial_named:
        direct = _find(keys.stress, STRESS_NAMES, atoms.info, results, f"{name}: stress", "--stress-key")
    virial = None
    if not stress_named:
        virial = _find(keys.virial, VIRIAL_NAMES, atoms.info, results, f"{name}: virial", "--virial-key")
    found = direct if direct is not None else virial
    if found is None:
        return "", None, ()
    volume = cell_volume(atoms)
    if volume == 0.0:
        return "", None, (f"{found.key} of a structure without cell volume",)
    candidates = []
    if direct is not None:
        candidates.append(symmetric_tensor_to_voigt(direct.value, f"{name}: stress {direct.key!r}"))
    if virial is not None:
        candidates.append(virial_to_stress(virial.value, volume, f"{name}: virial {virial.key!r}"))
    stress = candidates[0]
    if not np.isfinite(stress).all():
        raise InputError(f"{name}: {found.key} {stress.tolist()} is not finite; remove it or recalculate")
    if direct is not None and virial is not None and not _same_stress(stress, candidates[1]):
        raise InputError(
            f"{name}: stress {direct.key!r} and virial {virial.key!r} disagree: stress xx {stress[0]:.6g}, "
            f"-virial/volume xx {candidates[1][0]:.6g} eV/A^3; say which one is meant with --stress-key or "
            "--virial-key (a virial is positive, an ASE stress negative, in a compressed cell)"
        )
    return found.key, stress, ()


def _same_stress(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return bool(np.allclose(first, second, rtol=1e-3, atol=1e-3 * float(np.abs(first).max()) + 1e-5))


def _finite_scalar(value: Any, what: str) -> float:
    try:
        number = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what} is {value!r}, not a number; name another key or correct the file"
        ) from error
    if number.size != 1:
        raise InputError(f"{what} has {number.size} values, one was expected; name another key")
    if not np.isfinite(number).all():
        raise InputError(f"{what} is {number.item()}; remove the structure or recalculate it")
    return float(number.item())


def _forces(found: _Found, n_atoms: int, mask: NDArray[np.bool_] | None, name: str) -> NDArray[np.float64]:
    what = f"{name}: forces {found.key!r}"
    try:
        forces = np.array(found.value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} are not numeric; name another key with --forces-key") from error
    if forces.shape != (n_atoms, 3):
        raise InputError(f"{what} have shape {forces.shape}, expected ({n_atoms}, 3)")
    if mask is not None:
        forces[~mask & ~np.isfinite(forces).all(axis=1)] = 0.0
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
    if bad.size:
        raise InputError(
            f"{what}: atom {bad[0]} has force {forces[bad[0]].tolist()}; recalculate the structure, or "
            "exclude the atom with a per-atom array force_mask that is True for it"
        )
    return forces


def _force_mask(atoms: Atoms, key: str, name: str) -> NDArray[np.bool_] | None:
    """Atoms whose force is used; the stored array marks those that are not (QUIP)."""
    if key not in atoms.arrays:
        if key in atoms.info:
            raise InputError(
                f"{name}: {key} = {atoms.info[key]!r} stands for the whole structure, but a mask has one "
                f"value per atom; make it a column of the atoms (Properties=...:{key}:L:1)"
            )
        return None
    stored = np.asarray(atoms.arrays[key])
    if stored.shape != (len(atoms),) or not np.isin(stored, (0, 1)).all():
        raise InputError(
            f"{name}: {key} must hold one True (exclude) or False (use) per atom; it has shape "
            f"{stored.shape} and starts with {stored.ravel()[:1].tolist()}"
        )
    return ~stored.astype(bool)


def _sigma(atoms: Atoms, key: str, name: str) -> float | None:
    if key not in atoms.info:
        return None
    sigma = _finite_scalar(atoms.info[key], f"{name}: {key}")
    if sigma <= 0.0:
        raise InputError(f"{name}: {key} is {sigma}; a noise level must be positive")
    return sigma


def _force_sigma(atoms: Atoms, keys: LabelKeys, name: str) -> float | NDArray[np.float64] | None:
    if keys.force_atom_sigma not in atoms.arrays:
        return _sigma(atoms, keys.force_sigma, name)
    sigma = np.array(atoms.arrays[keys.force_atom_sigma], dtype=np.float64)
    if sigma.shape != (len(atoms),):
        raise InputError(f"{name}: {keys.force_atom_sigma} has shape {sigma.shape}, expected ({len(atoms)},)")
    bad = np.flatnonzero(~(np.isfinite(sigma) & (sigma > 0.0)))
    if bad.size:
        raise InputError(
            f"{name}: {keys.force_atom_sigma} of atom {bad[0]} is {sigma[bad[0]]}; it must be positive"
        )
    return sigma


def _stress_sigma(atoms: Atoms, keys: LabelKeys, name: str) -> float | None:
    stress_sigma = _sigma(atoms, keys.stress_sigma, name)
    virial_sigma = _sigma(atoms, keys.virial_sigma, name)
    volume = cell_volume(atoms)
    if virial_sigma is None or volume == 0.0:
        return stress_sigma
    if stress_sigma is not None and not np.isclose(stress_sigma, virial_sigma / volume, rtol=1e-3):
        raise InputError(
            f"{name}: {keys.stress_sigma} {stress_sigma} eV/A^3 and {keys.virial_sigma} {virial_sigma} eV "
            "disagree (virial = stress x volume); keep one"
        )
    return virial_sigma / volume
