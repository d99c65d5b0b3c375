"""Items in batches, so that what travels to a worker is worth the journey."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

BATCH_ITEMS = 64
BATCH_ATOMS = 2000


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """Items that travel together; ``first`` is the number of the first."""

    first: int
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """First and last item, for messages."""
        names = [
            getattr(item, "name", None) or f"structure {index}"
            for index, item in (
                (self.first, self.items[0]),
                (self.first + len(self.items) - 1, self.items[-1]),
            )
        ]
        return names[0] if len(self.items) == 1 else f"{names[0]} to {names[1]}"


def split_batches(items: Iterable[Item], n_atoms: Callable[[Item], int]) -> Iterator[Batch[Item]]:
    """Yield items in batches of bounded numbers of items and atoms.

    An error of the iterable comes after the items before it.
    """
    batch: list[Item] = []
    first, size, stream = 0, 0, iter(items)
    while True:
        error: Exception | None = None
        try:
            batch.append(next(stream))
            size += n_atoms(batch[-1])
        except Exception as reason:
            error = reason
        if batch and (error is not None or len(batch) >= BATCH_ITEMS or size >= BATCH_ATOMS):
            yield Batch(first, tuple(batch))
            first, size = first + len(batch), 0
            batch.clear()
        if isinstance(error, StopIteration):
            return
        if error is not None:
            raise error
