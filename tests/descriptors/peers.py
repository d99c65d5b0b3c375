"""Other packages' SOAP in Castile's feature order (l slowest, then pairs k <= k' of k = species * n_max + n).

Each function skips the calling test where its package is missing.
"""

import numpy as np
import pytest
from ase.data import atomic_numbers

REASON = "the peer package is not installed; pip install 'castile[peers]' brings it"


def quippy_columns(n_species: int, n_max: int, l_max: int) -> np.ndarray:
    """Columns of quippy's descriptor in Castile's order: ``castile = quippy[..., columns]``."""
    small, large = np.triu_indices(n_species * n_max)
    pair = large * (large + 1) // 2 + small
    return (pair[None, :] * (l_max + 1) + np.arange(l_max + 1)[:, None]).ravel()


def quippy_soap(
    atoms, species, cutoff, width, n_max, l_max, sigma, normalize, central_weight, extra="", grad=False
):
    """Values (n_atoms, n_features) by quippy; ``grad`` adds derivatives (n_atoms, n_atoms, 3, n_features).

    derivatives[i, j]: of the features of atom i with respect to the position of atom j (all its images).
    """
    descriptors = pytest.importorskip("quippy.descriptors", reason=REASON)
    numbers = " ".join(str(atomic_numbers[symbol]) for symbol in species)
    descriptor = descriptors.Descriptor(
        f"soap cutoff={cutoff} cutoff_transition_width={width} n_max={n_max} l_max={l_max} "
        f"atom_sigma={sigma} normalise={'T' if normalize else 'F'} central_weight={central_weight} "
        f"Z=0 central_reference_all_species=F n_species={len(species)} species_Z={{{numbers}}} {extra}"
    )
    columns = quippy_columns(len(species), n_max, l_max)
    output = descriptor.calc(atoms, grad=grad)
    values = output["data"][:, columns]
    if not grad:
        return values
    derivatives = np.zeros((len(atoms), len(atoms), 3, columns.size))
    pairs = output["grad_index_0based"]
    np.add.at(derivatives, (pairs[:, 0], pairs[:, 1]), output["grad_data"][:, :, columns])
    return values, derivatives


def featomic_soap(
    atoms, species, cutoff, width, n_max, l_max, sigma, central_weight, scaling=None, grad=False
):
    """Unnormalized values (n_atoms, n_features) and, with ``grad``, derivatives as `quippy_soap` by featomic.

    ``scaling``: a castile ``Willatt2018``.
    """
    featomic = pytest.importorskip("featomic", reason=REASON)
    density = {"type": "Gaussian", "width": sigma, "center_atom_weight": central_weight}
    if scaling is not None:
        density["scaling"] = {
            "type": "Willatt2018",
            "rate": scaling.rate,
            "scale": scaling.scale,
            "exponent": scaling.exponent,
        }
    calculator = featomic.SoapPowerSpectrum(
        cutoff={"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": width}},
        density=density,
        basis={
            "type": "TensorProduct",
            "max_angular": l_max,
            "radial": {"type": "Gto", "max_radial": n_max - 1},
            "spline_accuracy": None,
        },
    )
    tensor = calculator.compute(atoms, gradients=["positions"] if grad else [])
    return featomic_to_castile(tensor, species, len(atoms), n_max, l_max, grad)


def featomic_to_castile(tensor, species, n_atoms, n_max, l_max, grad):
    """Dense arrays in Castile's order from the TensorMap of featomic's SOAP of one structure.

    featomic stores the off-diagonal pairs of one species twice instead of with sqrt 2, and its coupling has
    the sign (-1)^l of the Clebsch-Gordan coefficient; both are taken out.
    """
    channel = {atomic_numbers[symbol]: s for s, symbol in enumerate(species)}
    size = len(species) * n_max
    full = np.zeros((n_atoms, l_max + 1, size, size))
    full_grad = np.zeros((n_atoms, n_atoms, 3, l_max + 1, size, size)) if grad else None
    for key, block in tensor.items():
        l, n_1, n_2 = (block.properties.column(name) for name in ("l", "n_1", "n_2"))
        k_1 = channel[int(key["neighbor_1_type"])] * n_max + n_1
        k_2 = channel[int(key["neighbor_2_type"])] * n_max + n_2
        small, large = np.minimum(k_1, k_2), np.maximum(k_1, k_2)
        same_species = key["neighbor_1_type"] == key["neighbor_2_type"]
        factor = np.where(same_species & (k_1 != k_2), np.sqrt(2.0), 1.0) * (-1.0) ** l
        atom = block.samples.column("atom")
        full[atom[:, None], l, small, large] = block.values * factor
        if grad:
            gradient = block.gradient("positions")
            center = atom[gradient.samples.column("sample")]
            neighbor = gradient.samples.column("atom")
            for axis in range(3):
                full_grad[center[:, None], neighbor[:, None], axis, l, small, large] = (
                    gradient.values[:, axis] * factor
                )
    row, column = np.triu_indices(size)
    values = full[:, :, row, column].reshape(n_atoms, -1)
    if not grad:
        return values
    return values, full_grad[..., row, column].reshape(n_atoms, n_atoms, 3, -1)
