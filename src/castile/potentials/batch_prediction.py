"""Predictions of many structures: threads of this process, or batches on workers."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ase import Atoms

from castile.errors import CastileError
from castile.execution.batches import BATCH_ATOMS, Batch, split_batches
from castile.execution.task_pool import SerialPool, TaskPool
from castile.execution.threads import map_chunks
from castile.potentials.model import PotentialModel
from castile.potentials.prediction import Prediction


@dataclass(frozen=True)
class PredictedBatch:
    """Predictions of a batch, up to a structure that cannot be predicted."""

    predictions: tuple[Prediction, ...]
    error: CastileError | None = None


def predict_each(
    model: PotentialModel, structures: Iterable[Atoms], pool: TaskPool, threads: int | None
) -> Iterator[Prediction]:
    """Yield the predictions in order; a few structures per thread or worker are in memory.

    Raises
    ------
    InputError
        For the first structure that cannot be predicted, after the predictions of those before it.
    """
    if isinstance(pool, SerialPool):
        yield from map_chunks(partial(_predict_one, model), enumerate(structures), threads)
        return
    for batch in pool.map(partial(predict_batch, model), split_batches(_ready(model, structures), len)):
        yield from batch.predictions
        if batch.error is not None:
            raise batch.error


@dataclass(frozen=True)
class ManyPredictor:
    """A model as far as predictions need it: small enough to travel to workers."""

    model: PotentialModel

    def predict_many(self, structures: Iterable[Atoms]) -> Iterator[Prediction]:
        """Yield the predictions in order, computed by the threads of this process."""
        return predict_each(self.model, structures, SerialPool(), None)


def _ready(model: PotentialModel, structures: Iterable[Atoms]) -> Iterator[Atoms]:
    """Yield the structures; the first, if small, is predicted here before it is handed out.

    So the kernels are compiled once and not by every worker at the same time.
    """
    for index, atoms in enumerate(structures):
        if index == 0 and len(atoms) <= BATCH_ATOMS:
            with suppress(CastileError):  # the worker tells
                model.predict(atoms, 1)
        yield atoms


def predict_batch(model: PotentialModel, batch: Batch[Atoms]) -> PredictedBatch:
    """Predict a batch with the threads of this process."""
    items = list(enumerate(batch.items, batch.first))
    if len(items) == 1:
        results = iter([_predict_large(model, items[0])])
    else:
        results = map_chunks(partial(_predicted_or_error, model), items)
    predictions: list[Prediction] = []
    for result in results:
        if isinstance(result, CastileError):
            return PredictedBatch(tuple(predictions), result)
        predictions.append(result)
    return PredictedBatch(tuple(predictions))


def _predict_one(model: PotentialModel, item: tuple[int, Atoms]) -> Prediction:
    return model.predict(item[1], 1, f"structure {item[0]}")


def _predicted_or_error(
    model: PotentialModel, item: tuple[int, Atoms], threads: int | None = 1
) -> Prediction | CastileError:
    """Return the prediction or, as a value, why there is none."""
    try:
        return model.predict(item[1], threads, f"structure {item[0]}")
    except CastileError as error:
        return error


def _predict_large(model: PotentialModel, item: tuple[int, Atoms]) -> Prediction | CastileError:
    """Predict a structure that is a batch by itself with all threads."""
    return _predicted_or_error(model, item, None)
