"""Descriptors of structures under one interface, and models of properties on them."""

from castile.properties.descriptor import Cost, StructureDescriptor
from castile.properties.foreign import ForeignDescriptor
from castile.properties.inputs import Inputs, describe
from castile.properties.model import PropertyModel
from castile.properties.registry import DESCRIPTORS, make_descriptor, parse_descriptor

__all__ = [
    "DESCRIPTORS",
    "Cost",
    "ForeignDescriptor",
    "Inputs",
    "PropertyModel",
    "StructureDescriptor",
    "describe",
    "make_descriptor",
    "parse_descriptor",
]
