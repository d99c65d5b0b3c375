"""Descriptors of other packages: scikit-learn transformers, DScribe descriptors, matminer featurizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from inspect import isclass, signature
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from castile.descriptors.base import as_structures
from castile.errors import InputError
from castile.properties.descriptor import Float64Array, Scaling, Seen, StructureDescriptor

_METHODS = ("transform", "create", "featurize")


class ForeignDescriptor(StructureDescriptor):
    """Anything that turns structures into rows of numbers.

    Parameters
    ----------
    maker : object
        With ``transform(list of ase.Atoms)`` (scikit-learn; ``fit`` is called where there is one),
        ``create(ase.Atoms)`` (DScribe), or ``featurize(structure or composition)`` (matminer, which needs
        pymatgen for the conversion).
    name : str, optional
        Name in tables; default: that of the class.
    """

    kind: ClassVar[str] = "foreign"
    scaling: ClassVar[Scaling] = "each"

    def __init__(self, maker: Any, name: str | None = None) -> None:
        self.maker = maker
        self.name = name

    @classmethod
    def by_name(cls, path: str, options: Mapping[str, Any]) -> ForeignDescriptor:
        """Return ``module:Class`` made with ``options``; "species" and "n_atoms_max" come from the data where
        the class asks for them and the options do not say.

        The module is imported, which runs its code: name only packages that you trust.

        Raises
        ------
        InputError
            If there is no such class, it is no descriptor, or it refuses the options.
        """
        module_name, _, class_name = path.partition(":")
        try:
            found = getattr(import_module(module_name), class_name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"descriptor {path!r}: {error}; give an installed module:Class") from error
        if not isclass(found) or not any(callable(getattr(found, name, None)) for name in _METHODS):
            raise InputError(
                f"descriptor {path!r}: is no class with a method {', '.join(_METHODS[:-1])} or {_METHODS[-1]}"
            )
        return cls(_Recipe(path, found, dict(options)), class_name)

    @property
    def source(self) -> str:
        """What the descriptor is, for messages: module:Class."""
        if isinstance(self.maker, _Recipe):
            return self.maker.path
        return f"{type(self.maker).__module__}:{type(self.maker).__qualname__}"

    def fit(self, structures: Atoms | Iterable[Atoms], y: Any = None) -> Self:
        """Note elements and size, and fit the descriptor itself where it has a ``fit``."""
        listed = as_structures(structures)
        super().fit(listed)
        if hasattr(self._made, "fit") and not hasattr(self._made, "featurize"):
            self._made.fit(listed, y)
        self._try(listed[0])
        return self

    def _settle(self, seen: Seen) -> None:
        self._made = self.maker.make(seen) if isinstance(self.maker, _Recipe) else self.maker
        self._width: int | None = None

    def _try(self, atoms: Atoms) -> None:
        """Learn the number of features."""
        self._width = len(self._row(atoms))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names that the descriptor gives, or numbered ones."""
        width = self._width or 0
        for method in ("get_feature_names_out", "feature_labels"):
            if hasattr(self._made, method):
                try:
                    names = np.array(list(getattr(self._made, method)()), dtype=object)
                except Exception:
                    continue
                if len(names) == width or not width:
                    return names
        return np.array([f"feature {k}" for k in range(width)], dtype=object)

    def _rows(self, listed: Sequence[Atoms]) -> Float64Array:
        if not hasattr(self._made, "transform") or hasattr(self._made, "featurize"):
            return super()._rows(listed)
        try:
            rows = self._made.transform(list(listed))
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{type(self._made).__name__} fails: {type(error).__name__}: {error}") from error
        rows = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(listed):
            raise InputError(
                f"{type(self._made).__name__} gives an array {rows.shape} for {len(listed)} structures; a "
                "descriptor of structures has one row for each"
            )
        return rows

    def _row(self, atoms: Atoms) -> Float64Array:
        made = self._made
        try:
            if hasattr(made, "featurize"):
                row = made.featurize(_for_matminer(made, atoms))
            elif hasattr(made, "transform"):
                return np.asarray(self._rows([atoms])[0])
            else:
                row = made.create(atoms)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{type(made).__name__} fails: {type(error).__name__}: {error}") from error
        values = np.asarray(row.toarray() if hasattr(row, "toarray") else row, dtype=np.float64)
        if values.ndim == 2 and len(values) > 1:
            raise InputError(
                f"{type(made).__name__} gives {len(values)} rows for one structure; choose its average "
                "over atoms"
            )
        return values.ravel()


class _Recipe:
    """A class and the options to make it with, once elements and size are known."""

    def __init__(self, path: str, found: type, options: dict[str, Any]) -> None:
        self.path, self.found, self.options = path, found, options

    def make(self, seen: Seen) -> Any:
        """Return the descriptor; InputError if the class refuses the options."""
        options = dict(self.options)
        try:
            known = signature(self.found).parameters
        except (TypeError, ValueError):
            known = {}  # type: ignore[assignment]
        if "species" in known and "species" not in options:
            options["species"] = [chemical_symbols[z] for z in seen.species]
        if "n_atoms_max" in known and "n_atoms_max" not in options:
            options["n_atoms_max"] = seen.n_atoms_max
        preset = options.pop("preset", None)
        try:
            if preset is not None and hasattr(self.found, "from_preset"):
                return self.found.from_preset(preset, **options)
            return self.found(**options)
        except Exception as error:
            raise InputError(
                f"descriptor {self.path!r} refuses {options}: {type(error).__name__}: {error}"
            ) from error


def _for_matminer(made: Any, atoms: Atoms) -> Any:
    """The pymatgen object that a matminer featurizer takes: a composition, or a structure."""
    try:
        from pymatgen.core import Composition
        from pymatgen.io.ase import AseAtomsAdaptor
    except ImportError as error:
        raise InputError(
            "matminer featurizers need pymatgen; install them: pip install matminer pymatgen"
        ) from error
    if ".composition" in type(made).__module__:
        return Composition(atoms.get_chemical_formula())
    if atoms.pbc.all():
        return AseAtomsAdaptor.get_structure(atoms)
    return AseAtomsAdaptor.get_molecule(atoms)
