"""Text files that appear complete or not at all."""

import os
import uuid
from pathlib import Path


def write_text_file(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) in one step: an old file stays until the new one is complete.

    Raises
    ------
    OSError
        If the folder does not exist, is full, or may not be written.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
