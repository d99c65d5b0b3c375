"""The model that a comparison recommends, fitted to all data."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.base import clone

from castile.comparison.choices import NamedDescriptor
from castile.comparison.result import Comparison
from castile.properties.foreign import ForeignDescriptor
from castile.properties.inputs import Scope
from castile.properties.model import PropertyModel
from castile.splits.dataset import ENERGY, Dataset


def chosen_descriptor(comparison: Comparison, descriptors: Sequence[NamedDescriptor]) -> NamedDescriptor:
    """Return the cheapest descriptor for the wanted error, or the one of least error if none reaches it.

    Descriptors of other packages come last: a model file cannot name their code, so that only
    ``PropertyModel.load(path, descriptor=...)`` reads a model on one.
    """
    own = [named for named in descriptors if not isinstance(named.descriptor, ForeignDescriptor)]
    among = {named.label: named for named in own or descriptors}
    for result, _ in comparison.ranking():
        if result.label in among:
            return among[result.label]
    errors = {
        result.label: result.by_split(comparison.judged_by).measured(comparison.metric)[-1][1]
        for result in comparison.descriptors
        if result.label in among
    }
    return among[min(errors, key=lambda label: errors[label])]


def fit_chosen(
    dataset: Dataset, named: NamedDescriptor, target: str, unit: str, scope: Scope
) -> PropertyModel:
    """Return a property model on a fresh copy of the descriptor, fitted to all structures of a data set.

    Raises
    ------
    InputError
        If a structure cannot be described or has no finite target.
    """
    values = dataset.target(target)
    if target == ENERGY and scope == "atoms":
        values = values * dataset.table.n_atoms
    structures = [dataset.table.atoms(k) for k in range(len(dataset))]
    model = PropertyModel(clone(named.descriptor), scope=scope, target=target, unit=unit)
    return model.fit(structures, values)
