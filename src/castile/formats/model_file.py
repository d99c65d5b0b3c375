"""The `.castile` file: a safetensors container with a JSON header, checked by a hash.

Layout: the arrays as safetensors tensors; in the container's metadata the header as JSON text, the schema
version, the version of the package that wrote it, and the SHA-256 of all of these and the arrays. Nothing is
executed on reading. safetensors itself is 8 bytes length of its JSON header, that header, the arrays.
"""

import hashlib
import json
import math
import os
import stat
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from castile.errors import ModelFileError

SCHEMA_VERSION = 1
_DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool")
_HEADER, _SCHEMA, _VERSION, _HASH = "castile_header", "castile_schema", "castile_version", "castile_sha256"
_MAX_CONTAINER_HEADER = 100_000_000  # bytes; safetensors refuses more


@dataclass(frozen=True)
class ModelFile:
    """Content of a model file.

    Attributes:
        header: JSON values.
        arrays: by name, with the type and shape they were written with.
        schema_version: of the layout of `header` and `arrays`.
        package_version: of the package that wrote the file.
        sha256: hash of everything above.

    """

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    schema_version: int
    package_version: str
    sha256: str


def write_model_file(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> str:
    """Write a model file in one step: the old file stays until the new one is complete.

    Args:
        path: file to write or replace; its folder must exist.
        header: JSON values with string keys; finite floats are kept to the last bit, tuples become lists.
        arrays: float64, float32, int64, int32, uint8 or bool of any shape.

    Returns:
        SHA-256 of the content.

    Raises:
        ModelFileError: a value that JSON cannot hold (NaN and infinity included), an array of another type,
            or a folder that does not exist or may not be written.

    """
    target = Path(path)
    _require_json(header, "header")
    text = json.dumps(header, allow_nan=False)
    stored = {name: _storable(name, array) for name, array in arrays.items()}
    package = version("castile")
    digest = _content_hash(text, SCHEMA_VERSION, package, stored)
    metadata = {_HEADER: text, _SCHEMA: str(SCHEMA_VERSION), _VERSION: package, _HASH: digest}
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.touch()
        mode = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        save_file(stored, temporary, metadata=metadata)
        os.chmod(temporary, mode)  # safetensors makes its files private
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"{target}: cannot be written ({error}); check that the folder {target.parent} exists, may be "
            "written and has space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Read and verify a model file.

    Raises:
        ModelFileError: the file is missing, truncated, not a model file, written by a newer version, or was
            changed after it was written; the message says which, and what to do.

    """
    source = Path(path)
    metadata = _container_metadata(source)
    if _HEADER not in metadata:
        raise ModelFileError(f"{source}: a safetensors file, but not a Castile model; name a .castile file")
    missing = [key for key in (_SCHEMA, _VERSION, _HASH) if key not in metadata]
    if missing or not metadata[_SCHEMA].isdecimal():
        raise ModelFileError(f"{source}: was edited, its version or hash is gone; {_RESTORE}")
    schema, package = int(metadata[_SCHEMA]), metadata[_VERSION]
    if schema > SCHEMA_VERSION:
        raise ModelFileError(
            f"{source}: written by castile {package} in file schema {schema}; this castile "
            f"{version('castile')} reads schemas up to {SCHEMA_VERSION}; upgrade: pip install -U castile"
        )
    try:
        arrays = load_file(source)
        header = json.loads(metadata[_HEADER])
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{source}: was edited or damaged ({error}); {_RESTORE}") from error
    digest = _content_hash(metadata[_HEADER], schema, package, arrays)
    if digest != metadata[_HASH]:
        raise ModelFileError(
            f"{source}: was edited or damaged after it was written: its content has SHA-256 {digest[:16]}..."
            f", the file says {metadata[_HASH][:16]}...; {_RESTORE}"
        )
    return ModelFile(header, arrays, schema, package, digest)


_RESTORE = "copy the original again or repeat the fit"


def _require_json(value: Any, where: str) -> None:
    """Refuse what JSON would change or cannot hold, naming the entry."""
    if value is None or isinstance(value, str | bool) or type(value) is int:
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ModelFileError(f"{where} is {value}, which JSON cannot hold; store None or leave it out")
        return
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise ModelFileError(f"{where} has the key {key!r}; keys of a header must be strings")
            _require_json(entry, f"{where}[{key!r}]")
        return
    if isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            _require_json(entry, f"{where}[{index}]")
        return
    raise ModelFileError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold; use float(), int() or .tolist(), "
        "or store it as an array"
    )


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Little-endian C-ordered array of an allowed type, of the same shape (0-d included)."""
    values = np.asarray(array)
    if values.dtype.name not in _DTYPES:
        raise ModelFileError(f"array {name!r} has type {values.dtype}; use one of {', '.join(_DTYPES)}")
    return np.asarray(values, dtype=values.dtype.newbyteorder("<"), order="C")


def _content_hash(header: str, schema: int, package: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over header, versions, and name, type, shape and bytes of every array in order of names."""
    digest = hashlib.sha256()
    described = [[name, arrays[name].dtype.name, list(arrays[name].shape)] for name in sorted(arrays)]
    for part in (header, str(schema), package, json.dumps(described)):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _container_metadata(path: Path) -> dict[str, str]:
    """Metadata of the container, after checking that the file is complete."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
            length = int.from_bytes(start[:8], "little")
            file.seek(8)
            text = file.read(length) if length <= _MAX_CONTAINER_HEADER else b""
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error}); check the path and its permissions"
        ) from error
    if size == 0:
        raise ModelFileError(f"{path}: the file is empty; {_RESTORE}")
    if len(start) < 9 or start[8:9] != b"{" or length > _MAX_CONTAINER_HEADER:
        raise ModelFileError(f"{path}: not a Castile model (no safetensors container); name a .castile file")
    if len(text) < length:
        raise ModelFileError(f"{path}: truncated, {size} of more than {8 + length} bytes; {_RESTORE}")
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelFileError(f"{path}: its header was edited or damaged ({error}); {_RESTORE}") from error
    if size < 8 + length + end:
        raise ModelFileError(f"{path}: truncated, {size} of {8 + length + end} bytes; {_RESTORE}")
    if size > 8 + length + end:
        raise ModelFileError(f"{path}: was edited, {size} bytes instead of {8 + length + end}; {_RESTORE}")
    return dict(metadata)
