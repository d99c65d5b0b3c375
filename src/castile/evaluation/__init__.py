"""Errors of a model on labelled data, and predictions written to files."""

from castile.evaluation.deviations import DeviationReport, DeviationStatistics, deviation_statistics
from castile.evaluation.errors import Evaluation, GroupErrors, StructureError
from castile.evaluation.evaluate import evaluate
from castile.evaluation.prediction_file import write_predictions
from castile.evaluation.prediction_stream import PredictedValues, Predictor, predict_stream
from castile.evaluation.sampling import ParityReservoir, ParitySample
from castile.evaluation.statistics import ErrorAccumulator, ErrorStatistics

__all__ = [
    "DeviationReport",
    "DeviationStatistics",
    "ErrorAccumulator",
    "ErrorStatistics",
    "Evaluation",
    "GroupErrors",
    "ParityReservoir",
    "ParitySample",
    "PredictedValues",
    "Predictor",
    "StructureError",
    "deviation_statistics",
    "evaluate",
    "predict_stream",
    "write_predictions",
]
