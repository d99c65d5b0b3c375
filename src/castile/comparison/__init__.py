"""Learning curves, costs and total budgets of descriptors and potentials on the user's own data."""

from castile.comparison.choices import NamedDescriptor, default_descriptors, named_descriptors
from castile.comparison.chosen_model import chosen_descriptor, fit_chosen
from castile.comparison.data import ComparisonData, comparison_data
from castile.comparison.result import Comparison
from castile.comparison.run import ComparisonSettings, compare
from castile.comparison.words import recommendation

__all__ = [
    "Comparison",
    "ComparisonData",
    "ComparisonSettings",
    "NamedDescriptor",
    "chosen_descriptor",
    "compare",
    "comparison_data",
    "default_descriptors",
    "fit_chosen",
    "named_descriptors",
    "recommendation",
]
