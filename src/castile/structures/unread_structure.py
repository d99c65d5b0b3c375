"""A structure before the work of reading: what travels when workers do that work."""

from dataclasses import dataclass

from ase import Atoms

from castile.errors import InputError
from castile.structures.labels import LabelKeys, LabelledStructure, label_structure
from castile.structures.usable_labels import usable_labels
from castile.structures.validation import validate_structure
from castile.structures.xyz_frames import parse_frame


@dataclass(frozen=True)
class UnreadStructure:
    """A structure that is not parsed, checked and labelled yet: the work of reading, wherever it is done.

    ``content`` is the text of an extended XYZ frame, an ``ase.Atoms``, or what is labelled already. Without
    ``needs_labels`` those that cannot be used are left out.
    """

    name: str
    content: str | Atoms | LabelledStructure
    keys: LabelKeys
    smallest_distance: float
    needs_labels: bool = True

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        content = self.content
        if isinstance(content, str):
            return int(content[: content.index("\n")])
        return len(content.atoms if isinstance(content, LabelledStructure) else content)

    def read(self) -> LabelledStructure:
        """Return the structure.

        Raises:
            InputError: a frame that cannot be parsed, a structure that cannot be computed, or labels that
                contradict each other.

        """
        if isinstance(self.content, LabelledStructure):
            return self.content
        atoms = self._parsed(self.content) if isinstance(self.content, str) else self.content
        validate_structure(atoms, self.name, self.smallest_distance)
        find_labels = label_structure if self.needs_labels else usable_labels
        return find_labels(atoms, self.name, self.keys)

    def _parsed(self, text: str) -> Atoms:
        try:
            return parse_frame(text)
        except Exception as error:
            raise InputError(
                f"{self.name}: not a readable extended XYZ frame ({error}); correct its "
                "comment line or columns"
            ) from error
