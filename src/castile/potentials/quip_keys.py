"""Keys of QUIP's descriptor strings: those that say something about a fitted model, and gap_fit's own."""

from collections.abc import Iterable

from castile.errors import InputError
from castile.formats.quip_strings import ParameterString

GP_KEYS = (
    "add_species", "config_type_n_sparse", "covariance_type", "delta", "energy_scale", "f0", "label",
    "lengthscale_factor", "lengthscale_file", "lengthscale_uniform", "mark_sparse_atoms", "n_sparse",
    "n_sparsex", "print_sparse_index", "soap_exponent", "sparse_file", "sparse_method", "theta", "theta_fac",
    "theta_file", "theta_uniform", "unique_descriptor_tolerance", "unique_hash_tolerance", "xml_version",
    "zeta",
)  # fmt: skip
"""Keys that steer gap_fit; what they did to the model stands elsewhere in the XML."""
PAIR_KEYS = (
    "distance_2b", "cutoff", "cutoff_transition_width", "z1", "z2", "n_exponents", "exponents",
    "tail_exponent", "tail_range", "only_intra", "only_inter", "resid_name",
)  # fmt: skip
CLUSTER_KEYS = ("distance_nb", "order", "cutoff", "cutoff_transition_width", "z", "compact_clusters")
TRIPLET_KEYS = ("angle_3b", "cutoff", "cutoff_transition_width", "z", "z_center", "z1", "z2")
SOAP_KEYS = (
    "soap", "cutoff", "cutoff_transition_width", "cutoff_dexp", "cutoff_scale", "cutoff_rate", "l_max",
    "n_max", "atom_gaussian_width", "atom_sigma", "central_weight", "central_reference_all_species",
    "average", "diagonal_radial", "covariance_sigma0", "normalise", "normalize", "basis_error_exponent",
    "n_z", "n_species", "species_z", "z", "coupling", "nu_r", "nu_s", "radial_basis", "r_mix", "z_mix",
    "sym_mix", "z_map", "k", "mix_shift",
)  # fmt: skip


def refuse_unknown(string: ParameterString, known: Iterable[str]) -> None:
    """Check that a descriptor string has no other keys than ``known`` and gap_fit's own.

    Raises
    ------
    InputError
        Naming the other keys.
    """
    unknown = string.unknown([*known, *GP_KEYS])
    if unknown:
        raise InputError(
            f"{', '.join(unknown)} in the descriptor '{string.text}' is not supported; if QUIP ignores it "
            "too, remove it from the XML file"
        )
