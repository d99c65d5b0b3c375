"""The selection after the @ of "file.xyz@::10": an index or a slice of the structures of a file."""

from dataclasses import dataclass

from castile.errors import InputError

_HELP = "use @5, @-1, @:20, @10: or @::10"


@dataclass(frozen=True)
class FrameSelection:
    """Structures chosen from a file: `start:stop:step` as in Python, step positive."""

    start: int | None = None
    stop: int | None = None
    step: int = 1

    @property
    def needs_length(self) -> bool:
        """True if indices count from the end."""
        return (self.start or 0) < 0 or (self.stop is not None and self.stop < 0)

    @property
    def text(self) -> str:
        """The selection as it is written, "@start:stop:step"."""
        start = "" if self.start is None else self.start
        stop = "" if self.stop is None else self.stop
        return f"@{start}:{stop}:{self.step}"

    def indices(self, n_frames: int | None) -> range:
        """Chosen indices; without `n_frames` an open end is a very large number."""
        if n_frames is None:
            stop = 2**62 if self.stop is None else self.stop
            return range(self.start or 0, stop, self.step)
        return range(*slice(self.start, self.stop, self.step).indices(n_frames))


def split_selection(text: str) -> tuple[str, FrameSelection]:
    """Path and selection of "path@selection"; an @ in the name of a folder is left alone.

    Raises:
        InputError: what follows the @ is no index or slice.

    """
    folder, separator, base = text.rpartition("/")
    if "@" not in base:
        return text, FrameSelection()
    base, _, chosen = base.rpartition("@")
    return folder + separator + base, _parse(chosen, text)


def _parse(chosen: str, text: str) -> FrameSelection:
    parts = chosen.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError as error:
        raise InputError(f"{text}: {chosen!r} after the @ is no index or slice; {_HELP}") from error
    if len(numbers) == 1 and numbers[0] is not None:
        first = numbers[0]
        return FrameSelection(first, first + 1 if first != -1 else None)
    if len(numbers) not in (2, 3):
        raise InputError(f"{text}: {chosen!r} after the @ is no index or slice; {_HELP}")
    step = 1 if len(numbers) == 2 or numbers[2] is None else numbers[2]
    if step < 1:
        raise InputError(f"{text}: step {step} after the @ must be positive; {_HELP}")
    return FrameSelection(numbers[0], numbers[1], step)
