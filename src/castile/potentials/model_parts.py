"""The predicting part of a potential to and from header and arrays; every term class knows its own form."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from castile.errors import ModelFileError
from castile.potentials.composition import Composition
from castile.potentials.core_term import CoreTerm
from castile.potentials.glue_core import GlueCore
from castile.potentials.model import PotentialModel
from castile.potentials.pair_term import PairTerm
from castile.potentials.quip_pair_term import QuipPairTerm
from castile.potentials.quip_soap_term import QuipSoapTerm
from castile.potentials.quip_soap_variant import QuipSoapVariant
from castile.potentials.quip_triplet_term import QuipTripletTerm
from castile.potentials.soap_term import SoapTerm
from castile.potentials.stored_term import Core, PredictingTerm, StoredTerm

TERM_CLASSES: tuple[type[Any], ...] = (
    SoapTerm,
    PairTerm,
    QuipSoapTerm,
    QuipSoapVariant,
    QuipPairTerm,
    QuipTripletTerm,
)
"""Every class of terms; tests go through this list."""
CORE_CLASSES: tuple[type[Any], ...] = (CoreTerm, GlueCore)
"""Every class of cores; tests go through this list."""

Arrays = dict[str, NDArray[Any]]


def model_header(model: PotentialModel, arrays: Arrays) -> dict[str, Any]:
    """Return the JSON values of a model and add its arrays to ``arrays``."""
    terms = []
    for k, (term, weights) in enumerate(zip(model.terms, model.weights, strict=True)):
        terms.append(_header(term, f"term{k}", arrays))
        arrays[f"term{k}.weights"] = weights
    return {
        "elements": [chemical_symbols[z] for z in model.elements],
        "composition": {
            "energies": {chemical_symbols[z]: float(e) for z, e in model.composition.energies.items()},
            "source": model.composition.source,
        },
        "core": None if model.core is None else _header(model.core, "core", arrays),
        "terms": terms,
    }


def model_from_header(header: Mapping[str, Any], arrays: Arrays) -> PotentialModel:
    """Return the model that :func:`model_header` described.

    Raises
    ------
    ModelFileError
        If it names a class of terms that this version does not have.
    """
    energies = {atomic_numbers[s]: float(e) for s, e in header["composition"]["energies"].items()}
    core: Core | None = None
    if header["core"] is not None:
        core = _part(CORE_CLASSES, header["core"], "core", arrays)
    terms: list[PredictingTerm] = [
        _part(TERM_CLASSES, entry, f"term{k}", arrays) for k, entry in enumerate(header["terms"])
    ]
    return PotentialModel(
        tuple(atomic_numbers[symbol] for symbol in header["elements"]),
        Composition(energies, header["composition"]["source"]),
        core,
        tuple(terms),
        tuple(np.array(arrays[f"term{k}.weights"]) for k in range(len(terms))),
    )


def _header(part: PredictingTerm | Core, prefix: str, arrays: Arrays) -> dict[str, Any]:
    stored = part.store()
    arrays.update({f"{prefix}.{name}": values for name, values in stored.arrays.items()})
    return {"type": part.kind, **stored.header}


def _part(classes: tuple[type[Any], ...], entry: Mapping[str, Any], prefix: str, arrays: Arrays) -> Any:
    own = {
        name.removeprefix(f"{prefix}."): values
        for name, values in arrays.items()
        if name.startswith(f"{prefix}.") and name != f"{prefix}.weights"
    }
    for cls in classes:
        if cls.kind == entry["type"]:
            return cls.restore(StoredTerm(entry, own))
    known = ", ".join(cls.kind for cls in classes)
    raise ModelFileError(
        f"the model file holds a {entry['type']!r}, this version of Castile knows {known}; upgrade with pip"
    )
