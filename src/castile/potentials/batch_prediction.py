"""Predictions of many structures: threads of this process, or batches on workers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from ase import Atoms

from castile.errors import CastileError
from castile.execution.task_pool import SerialPool, TaskPool
from castile.execution.threads import map_chunks
from castile.potentials.model import PotentialModel
from castile.potentials.prediction import Prediction

BATCH_STRUCTURES = 64
BATCH_ATOMS = 2000


@dataclass(frozen=True)
class Batch:
    """Structures that travel together; ``first`` is the number of the first."""

    first: int
    structures: tuple[Atoms, ...]

    @property
    def name(self) -> str:
        """First and last structure."""
        return f"structures {self.first} to {self.first + len(self.structures) - 1}"


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
    for batch in pool.map(partial(predict_batch, model), split_batches(structures)):
        yield from batch.predictions
        if batch.error is not None:
            raise batch.error


def split_batches(structures: Iterable[Atoms]) -> Iterator[Batch]:
    """Yield structures in batches of bounded numbers of structures and atoms.

    An error of the iterable comes after the structures before it.
    """
    batch: list[Atoms] = []
    first, n_atoms, stream = 0, 0, iter(structures)
    while True:
        error: Exception | None = None
        try:
            batch.append(next(stream))
            n_atoms += len(batch[-1])
        except Exception as reason:
            error = reason
        full = len(batch) >= BATCH_STRUCTURES or n_atoms >= BATCH_ATOMS
        if batch and (full or error is not None):
            yield Batch(first, tuple(batch))
            first, n_atoms = first + len(batch), 0
            batch.clear()
        if isinstance(error, StopIteration):
            return
        if error is not None:
            raise error


def predict_batch(model: PotentialModel, batch: Batch) -> PredictedBatch:
    """Predict a batch with the threads of this process."""
    items = list(enumerate(batch.structures, batch.first))
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
