"""What a journal keeps is complete, whatever ended the program that wrote it."""

from pathlib import Path

import pytest

from castile.execution.journal import Journal


def written(path: Path, key: str, records: list[object]) -> None:
    with Journal(path, key) as journal:
        for record in records:
            journal.add(record)


def test_records_come_back(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, "a", [{"x": 0.1 + 0.2}, [1, None, "é"]])
    assert list(Journal(path, "a").records()) == [{"x": 0.1 + 0.2}, [1, None, "é"]]
    written(path, "a", ["more"])
    assert len(list(Journal(path, "a").records())) == 3


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_was_cut_off_is_taken_away(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    written(path, "a", ["first", "second"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    kept = ["first"] if cut < len('"second"\n') + 1 else []
    assert list(Journal(path, "a").records()) == kept
    written(path, "a", ["first", "second"][len(kept) :])
    assert path.read_bytes() == whole


def test_another_key_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, "a", [1])
    assert not list(Journal(path, "b").records())
    written(path, "b", [2])
    assert list(Journal(path, "b").records()) == [2]


def test_without_a_path_nothing_is_kept() -> None:
    with Journal(None, "a") as journal:
        journal.add(1)
    assert not list(journal.records())
