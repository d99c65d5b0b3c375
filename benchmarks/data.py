"""Where the real data sets are, and what to say when they are missing."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


class MissingData(Exception):
    """A data set that a benchmark needs is not there; the message names it."""


def data_files(*names: str) -> list[str]:
    """Absolute paths of files below the data folder.

    Raises:
        MissingData: naming every file that is missing.

    """
    paths = [DATA / name for name in names]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise MissingData(f"needs real data that is not there: {', '.join(missing)}")
    return [str(path) for path in paths]
