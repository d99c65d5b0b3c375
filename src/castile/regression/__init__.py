"""Sparse Gaussian process regression: streaming QR, evidence, posterior; a dense exact one beside it."""

from castile.regression.priors import PriorFactor, factor_prior, factor_priors
from castile.regression.problem import LabelFactor, Noise, PriorBlock
from castile.regression.streaming_qr import PackedFactor, StreamingQR, merge_tree

__all__ = [
    "LabelFactor",
    "Noise",
    "PackedFactor",
    "PriorBlock",
    "PriorFactor",
    "StreamingQR",
    "factor_prior",
    "factor_priors",
    "merge_tree",
]
