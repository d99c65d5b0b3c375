"""Sparse Gaussian process regression: streaming QR, evidence, posterior; a dense exact one beside it."""

from castile.regression.evidence import EvidenceResult, EvidenceStep, maximize_evidence
from castile.regression.exact import ExactGP, fit_exact
from castile.regression.posterior import Posterior, solve
from castile.regression.priors import PriorFactor, factor_prior, factor_priors
from castile.regression.problem import LabelFactor, Noise, PriorBlock
from castile.regression.streaming_qr import PackedFactor, StreamingQR, merge_tree
from castile.regression.triangles import pack_triangle, unpack_triangle

__all__ = [
    "EvidenceResult",
    "EvidenceStep",
    "ExactGP",
    "LabelFactor",
    "Noise",
    "PackedFactor",
    "Posterior",
    "PriorBlock",
    "PriorFactor",
    "StreamingQR",
    "factor_prior",
    "factor_priors",
    "fit_exact",
    "maximize_evidence",
    "merge_tree",
    "pack_triangle",
    "solve",
    "unpack_triangle",
]
