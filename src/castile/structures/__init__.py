"""Labelled structures: reading them in a stream, finding their labels, and saying what is wrong with them."""

from castile.structures.census import KindCensus, LabelCensus, check_census, take_census
from castile.structures.labels import LabelKeys, LabelledStructure, label_structure
from castile.structures.readers import StructureSource, as_source
from castile.structures.validation import cell_volume, is_isolated_atom, validate_structure

__all__ = [
    "KindCensus",
    "LabelCensus",
    "LabelKeys",
    "LabelledStructure",
    "StructureSource",
    "as_source",
    "cell_volume",
    "check_census",
    "is_isolated_atom",
    "label_structure",
    "take_census",
    "validate_structure",
]
