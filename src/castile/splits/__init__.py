"""Splits that do not leak, audits of splits, and the similarity search below both."""

from castile.splits.settings import SimilaritySettings
from castile.splits.splitters import LeakproofKFold, LeakproofSplit, similar_components
from castile.splits.threshold import ThresholdCurve, suggest_threshold

__all__ = [
    "LeakproofKFold",
    "LeakproofSplit",
    "SimilaritySettings",
    "ThresholdCurve",
    "similar_components",
    "suggest_threshold",
]
