"""Every descriptor: the tests of values and derivatives go through this list."""

from castile.descriptors.distance_matrices import CoulombMatrix
from castile.descriptors.rdf import RadialDistribution

DESCRIPTORS = (RadialDistribution, CoulombMatrix)
