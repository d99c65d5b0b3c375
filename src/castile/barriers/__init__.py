"""Migration barriers from the path of an ion: a Gaussian process on SOAP and ionic physics, and screening."""

from castile.barriers.crossval import CrossValidation, cross_validate
from castile.barriers.features import Featurizer, PathFeatures
from castile.barriers.model import BarrierModel, BarrierPrediction, SuspiciousLabel
from castile.barriers.model_io import load_barrier_model, save_barrier_model
from castile.barriers.path import MigrationPath, path_from_ends, path_from_images
from castile.barriers.path_reading import BrokenPath, read_paths
from castile.barriers.prediction_table import predict_stream, write_predictions
from castile.barriers.scores import BarrierScores, score
from castile.barriers.views import View

__all__ = [
    "BarrierModel",
    "BarrierPrediction",
    "BarrierScores",
    "BrokenPath",
    "CrossValidation",
    "Featurizer",
    "MigrationPath",
    "PathFeatures",
    "SuspiciousLabel",
    "View",
    "cross_validate",
    "load_barrier_model",
    "path_from_ends",
    "path_from_images",
    "predict_stream",
    "read_paths",
    "save_barrier_model",
    "score",
    "write_predictions",
]
