"""Every descriptor: the tests of values and derivatives go through this list."""

from castile.descriptors.base import Descriptor
from castile.descriptors.distance_matrices import CoulombMatrix
from castile.descriptors.rdf import RadialDistribution
from castile.descriptors.soap import SOAP

DESCRIPTORS: tuple[type[Descriptor], ...] = (SOAP, RadialDistribution, CoulombMatrix)
