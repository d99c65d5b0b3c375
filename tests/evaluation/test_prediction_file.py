"""Predictions in files: what is written, what is kept, what an interruption leaves."""

from collections.abc import Iterator

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from castile.errors import InputError
from castile.evaluation import evaluate, write_predictions
from castile.execution.task_pool import TaskPool, open_task_pool
from castile.structures import StructureSource
from evaluation.emt_model import EMTModel, labelled_copper


@pytest.mark.parametrize("name", ["out.xyz", "out.extxyz", "out.traj", "out.json", "out.xyz.gz"])
def test_predictions_come_back_and_labels_are_kept(tmp_path, name: str) -> None:
    frames = labelled_copper(3)
    assert write_predictions(EMTModel(shift=0.01), frames, tmp_path / name) == 3
    images = read(tmp_path / name, ":")
    assert len(images) == 3
    for atoms, original in zip(images, frames, strict=True):
        exact = EMTModel(shift=0.01).predict(original)
        assert atoms.get_potential_energy() == pytest.approx(exact.energy, abs=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), exact.forces, atol=1e-7)
        np.testing.assert_allclose(atoms.get_stress(), exact.stress, atol=1e-7)
        np.testing.assert_allclose(atoms.calc.results["energies"], exact.energies, atol=1e-7)
    if name != "out.json":
        assert images[1].info["reference_energy"] == pytest.approx(frames[1].get_potential_energy(), abs=1e-7)
        kept = {**images[1].arrays, **images[1].info}["reference_forces"]
        np.testing.assert_allclose(kept, frames[1].get_forces(), atol=1e-7)
        assert images[1].info["config_type"] == "strained"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_structures_without_cell_or_labels(tmp_path) -> None:
    dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])
    write_predictions(EMTModel(), [dimer], tmp_path / "out.xyz")
    atoms = read(tmp_path / "out.xyz")
    assert "stress" not in atoms.calc.results
    assert not any(key.startswith("reference") for key in atoms.info)


def test_a_bad_structure_keeps_what_was_written_and_the_old_file(tmp_path) -> None:
    target = tmp_path / "out.xyz"
    target.write_text("older result")
    frames = [*labelled_copper(2), Atoms("Si", cell=[5, 5, 5], pbc=True)]
    with pytest.raises(InputError, match="structure 2") as caught:
        write_predictions(EMTModel(), frames, target)
    assert "2 structures" in caught.value.__notes__[0]
    assert target.read_text() == "older result"
    assert len(read(tmp_path / "out.partial.xyz", ":")) == 2


def test_an_interruption_keeps_what_was_written(tmp_path) -> None:
    def interrupt(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(EMTModel(), labelled_copper(4), tmp_path / "out.traj", progress=interrupt)
    assert len(read(tmp_path / "out.partial.traj", ":")) == 2


def test_a_failure_at_the_first_structure_leaves_nothing(tmp_path) -> None:
    with pytest.raises(InputError, match="structure 0"):
        write_predictions(EMTModel(), Atoms("Si", cell=[5, 5, 5], pbc=True), tmp_path / "out.xyz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.nonsense", "format"), ("missing/out.xyz", "folder"), ("POSCAR", "one structure")],
)
def test_files_that_cannot_be_written(tmp_path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_predictions(EMTModel(), labelled_copper(2), tmp_path / name)


@pytest.mark.parametrize("name", ["data.xyz", "link.xyz", "data.partial.xyz"])
def test_the_data_are_never_replaced_by_their_predictions(tmp_path, name: str) -> None:
    data, partial = tmp_path / "data.xyz", tmp_path / "data.partial.xyz"
    for path in (data, partial):
        write(path, labelled_copper(3))
    (tmp_path / "link.xyz").symlink_to(data)
    before = data.read_bytes()
    read_from, written = (partial, data) if name == "data.partial.xyz" else (data, tmp_path / name)
    with pytest.raises(InputError, match="is also read"):
        write_predictions(EMTModel(), f"{read_from}@::2", written)
    assert data.read_bytes() == before == partial.read_bytes()


@pytest.fixture(scope="module")
def workers() -> Iterator[TaskPool]:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    with open_task_pool(2) as pool:
        yield pool


@pytest.mark.parametrize("name", ["out.xyz", "out.xyz.gz", "out.traj"])
def test_workers_write_what_this_process_writes(tmp_path, workers: TaskPool, name: str) -> None:
    write(tmp_path / "data.xyz", labelled_copper(150))
    seen: list[int] = []
    alone, spread = tmp_path / f"alone-{name}", tmp_path / f"spread-{name}"
    write_predictions(EMTModel(), tmp_path / "data.xyz", alone)
    count = write_predictions(
        EMTModel(), tmp_path / "data.xyz", spread, workers=workers, progress=seen.append
    )
    assert count == 150
    assert seen == list(range(1, 151))
    if name == "out.xyz":
        assert spread.read_text() == alone.read_text()
    for found, expected in zip(read(spread, ":"), read(alone, ":"), strict=True):
        np.testing.assert_array_equal(found.positions, expected.positions)
        np.testing.assert_array_equal(found.get_forces(), expected.get_forces())


@pytest.mark.parametrize("where", ["here", "workers"])
def test_labels_that_are_no_numbers_are_left_out_and_told(
    tmp_path, request: pytest.FixtureRequest, where: str
) -> None:
    frames = labelled_copper(5)
    frames[1].calc.results["energy"] = np.nan
    frames[3].calc.results["forces"] = np.full((len(frames[3]), 3), np.nan)
    write(tmp_path / "data.xyz", frames)
    with pytest.raises(InputError, match=r"data.xyz\[1\]: energy"):
        evaluate(EMTModel(), tmp_path / "data.xyz")
    pool = request.getfixturevalue("workers") if where == "workers" else None
    told: list[str] = []
    count = write_predictions(
        EMTModel(), tmp_path / "data.xyz", tmp_path / "out.xyz", workers=pool, left_out=told.append
    )
    assert count == 5
    assert ["data.xyz[1]: energy 'energy'" in told[0], "data.xyz[3]: forces" in told[1]] == [True, True]
    assert len(told) == 2
    images = read(tmp_path / "out.xyz", ":")
    assert ["reference_energy" in atoms.info for atoms in images] == [True, False, True, True, True]
    assert ["reference_forces" in atoms.arrays for atoms in images] == [True, True, True, False, True]
    for atoms, original in zip(images, frames, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(EMTModel().predict(original).energy, abs=1e-7)


@pytest.mark.parametrize("fault", ["an element", "a frame"])
def test_what_workers_did_before_a_bad_structure_is_kept(tmp_path, workers: TaskPool, fault: str) -> None:
    frames = labelled_copper(100)
    if fault == "an element":
        frames[70].symbols[0] = "Fe"
    write(tmp_path / "data.xyz", frames)
    if fault == "a frame":
        text = (tmp_path / "data.xyz").read_text()
        head = f"{frames[70].positions[0, 0]:.8f}"
        assert text.count(head) == 1
        (tmp_path / "data.xyz").write_text(text.replace(head, "somewhere"))
    with pytest.raises(InputError, match=r"data.xyz\[70\]: ") as raised:
        write_predictions(EMTModel(), tmp_path / "data.xyz", tmp_path / "out.xyz", workers=workers)
    assert "The 70 structures before are kept" in raised.value.__notes__[0]
    assert len(read(tmp_path / "out.partial.xyz", ":")) == 70


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
def test_the_number_of_structures_is_estimated_while_they_stream(tmp_path, suffix: str) -> None:
    path = tmp_path / f"data.xyz{suffix}"
    write(path, labelled_copper(400))
    source = StructureSource([path, path])
    estimates = [source.expected_length() for _ in source]
    assert estimates[-1] == pytest.approx(800, rel=0.1)
    if not suffix:
        assert estimates[200] == pytest.approx(800, rel=0.1)
    assert source.expected_length() == 800
    assert StructureSource(f"{path}@::4").expected_length() == 100
