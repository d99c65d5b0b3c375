"""The model file: exact round trip, atomic writing, and an error that says what is wrong with a file."""

import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from castile.errors import ModelFileError
from castile.formats import read_model_file, write_model_file
from castile.formats.model_file import SCHEMA_VERSION

HEADER = {
    "floats": [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, math.pi],
    "nested": {"none": None, "true": True, "text": 'å "quoted" \n', "integer": 2**60},
    "empty": {},
}


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "weights": rng.normal(size=(50, 7)),
        "single": rng.normal(size=(3, 4, 5)).astype(np.float32),
        "transposed": rng.normal(size=(4, 6)).T,
        "strided": np.arange(10)[::3],
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3)),
        "bytes": np.arange(5, dtype=np.uint8),
        "flags": np.array([True, False, True]),
        "big_endian": np.arange(3, dtype=">f8"),
        "special": np.array([np.nan, np.inf, -0.0]),
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.castile"
    write_model_file(path, HEADER, arrays())
    return path


def test_round_trip_is_exact(model: Path) -> None:
    content = read_model_file(model)
    assert json.dumps(content.header) == json.dumps(HEADER)
    assert content.schema_version == SCHEMA_VERSION
    assert content.arrays.keys() == arrays().keys()
    for name, expected in arrays().items():
        found = content.arrays[name]
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected)
        assert found.tobytes() == expected.astype(found.dtype).tobytes()


def test_same_content_same_hash(tmp_path: Path, model: Path) -> None:
    digest = write_model_file(tmp_path / "b.castile", HEADER, dict(reversed(arrays().items())))
    assert digest == read_model_file(model).sha256
    changed = arrays() | {"weights": arrays()["weights"].reshape(7, 50)}
    assert write_model_file(tmp_path / "c.castile", HEADER, changed) != digest


def test_no_arrays(tmp_path: Path) -> None:
    write_model_file(tmp_path / "a.castile", {"a": 1}, {})
    assert read_model_file(tmp_path / "a.castile").arrays == {}


def test_every_truncation_is_noticed(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    cut = tmp_path / "cut.castile"
    for size in (*range(9, len(whole), 97), len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(ModelFileError, match=r"cut\.castile: truncated"):
            read_model_file(cut)
    cut.write_bytes(whole + b"\x00")
    with pytest.raises(ModelFileError, match="was edited"):
        read_model_file(cut)


def test_every_changed_byte_is_noticed(model: Path, tmp_path: Path) -> None:
    whole = bytearray(model.read_bytes())
    edited = tmp_path / "edited.castile"
    for position in range(0, len(whole), 13):
        changed = whole.copy()
        changed[position] ^= 0x01
        edited.write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"edited\.castile: "):
            read_model_file(edited)


def rewrite(path: Path, metadata: dict[str, str], values: dict[str, np.ndarray] | None = None) -> None:
    """What a user who edits the file with the safetensors library does."""
    length = int.from_bytes(path.read_bytes()[:8], "little")
    old = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    save_file(load_file(path) | (values or {}), path, metadata=old | metadata)


def test_an_edited_array_header_or_version_is_said_to_be_edited(model: Path) -> None:
    whole = model.read_bytes()
    for metadata, values in (
        ({}, {"scalar": np.array(2.500001)}),
        ({}, {"extra": np.zeros(2)}),
        ({"castile_header": json.dumps(HEADER | {"empty": 1})}, {}),
        ({"castile_version": "0.0.0"}, {}),
    ):
        model.write_bytes(whole)
        rewrite(model, metadata, values)
        with pytest.raises(ModelFileError, match=r"edited or damaged.*repeat the fit"):
            read_model_file(model)


def test_a_newer_file_says_so(model: Path) -> None:
    rewrite(model, {"castile_schema": str(SCHEMA_VERSION + 1), "castile_version": "99.0"})
    with pytest.raises(ModelFileError, match=r"written by castile 99\.0 in file schema 2;.*upgrade"):
        read_model_file(model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abc", "not a Castile model"),
        (b"<GAP_params label='x'> an XML file of another program", "not a Castile model"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all", "header was edited or damaged"),
        (b"\x80\x04\x95" + bytes(100), "not a Castile model"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.castile"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_model_file(path)


def test_safetensors_of_others_and_missing_files(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors", metadata={"format": "np"})
    with pytest.raises(ModelFileError, match="but not a Castile model"):
        read_model_file(tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="no such file"):
        read_model_file(tmp_path / "nowhere.castile")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_model_file(tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": [1.0, float("nan")]}, r"header\['a'\]\[1\] is nan"),
        ({"a": {"b": float("inf")}}, r"header\['a'\]\['b'\] is inf"),
        ({"a": np.arange(3)}, r"header\['a'\] is a ndarray"),
        ({"a": np.int64(3)}, r"header\['a'\] is a int64"),
        ({1: 2}, "key 1"),
    ],
)
def test_headers_that_json_would_change_are_refused(tmp_path: Path, header: dict, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        write_model_file(tmp_path / "a.castile", header, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [np.array([None]), np.array(["text"]), np.zeros(2, dtype=complex)])
def test_arrays_of_other_types_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ModelFileError, match="array 'a' has type"):
        write_model_file(tmp_path / "a.castile", {}, {"a": array})


def test_failed_writing_leaves_the_old_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption just before the file is replaced, and one in the middle of writing."""
    before = model.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_model_file(model, {"new": 1}, {})
        assert model.read_bytes() == before
        assert list(model.parent.iterdir()) == [model]
    with pytest.raises(ModelFileError, match="folder"):
        write_model_file(model.parent / "missing" / "a.castile", {}, {})


def test_replacing_and_permissions(model: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(model.stat().st_mode) == 0o666 & ~mask
    model.chmod(0o640)
    write_model_file(model, {"new": 1}, {})
    assert read_model_file(model).header == {"new": 1}
    assert stat.S_IMODE(model.stat().st_mode) == 0o640
