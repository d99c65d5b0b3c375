"""Files that a path, a path with a slice, or a glob names."""

import glob
import os
from pathlib import Path

from castile.errors import InputError
from castile.structures.selection_syntax import FrameSelection, split_selection


def find_files(text: str) -> list[tuple[Path, FrameSelection]]:
    """Files of a path, "path@slice" or glob; a file whose name contains @ or * is taken literally."""
    selection = FrameSelection()
    pattern = os.path.expanduser(text)
    if not os.path.exists(pattern):
        pattern, selection = split_selection(pattern)
    if os.path.exists(pattern):
        matches = [pattern]
    elif glob.has_magic(pattern):
        matches = sorted(path for path in glob_matches(pattern) if not os.path.isdir(path))
        if not matches:
            raise InputError(
                f"{text}: no file matches; check the folder ({os.path.abspath('.')}) and the pattern"
            )
    else:
        raise InputError(f"{text}: no such file in {os.path.abspath('.')}; check the path")
    return [(_checked(Path(match)), selection) for match in matches]


def glob_matches(pattern: str) -> list[str]:
    """Paths of a glob; a folder of exactly this name, brackets and all, is taken literally."""
    folder, name = os.path.split(pattern)
    return glob.glob(
        os.path.join(glob.escape(folder), name) if os.path.isdir(folder) else pattern, recursive=True
    )


def _checked(path: Path) -> Path:
    if path.is_dir() and not path.suffix:
        raise InputError(f"{path}: is a folder; name its files, for example {path}/*.xyz")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; write it again or leave it out")
    if path.suffix == ".castile":
        raise InputError(f"{path}: is a model, not structures; look at the order of the arguments (--help)")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read; change its permissions")
    return path
