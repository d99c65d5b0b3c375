"""Labels for work that can do without them: those that cannot be used are left out, and told."""

from dataclasses import replace

from ase import Atoms

from castile.errors import InputError
from castile.structures.labels import IGNORE, LabelKeys, LabelledStructure, label_structure

_NO_LABELS = {"energy": IGNORE, "forces": IGNORE, "stress": IGNORE, "virial": IGNORE}
_NO_NOISE = {
    "energy_sigma": IGNORE, "force_sigma": IGNORE, "stress_sigma": IGNORE, "virial_sigma": IGNORE,
    "force_atom_sigma": IGNORE, "force_mask": IGNORE,
}  # fmt: skip
_KINDS = {"energy": ("energy",), "forces": ("forces", "force_mask"), "stress": ("stress", "virial")}


def usable_labels(atoms: Atoms, name: str, keys: LabelKeys | None = None) -> LabelledStructure:
    """Return what :func:`label_structure` returns, without the labels that it would refuse.

    Where it refuses any, noise levels are left out, too; why each label is missing is in ``left_out``.
    """
    keys = LabelKeys() if keys is None else keys
    try:
        return label_structure(atoms, name, keys)
    except InputError:
        pass
    found = label_structure(atoms, name, replace(keys, **_NO_LABELS, **_NO_NOISE))
    for kind, names in _KINDS.items():
        wanted = {key: getattr(keys, key) for key in names}
        try:
            alone = label_structure(atoms, name, replace(keys, **{**_NO_LABELS, **_NO_NOISE, **wanted}))
        except InputError as error:
            found = replace(found, left_out=(*found.left_out, str(error)))
            continue
        key = f"{kind}_key"
        found = replace(found, **{kind: getattr(alone, kind), key: getattr(alone, key)})
        found = replace(found, ignored=found.ignored + alone.ignored)
        if kind == "forces":
            found = replace(found, force_mask=alone.force_mask)
    return found
