"""Fits and predictions on workers: the same numbers for any number of them, and when one is killed."""

import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
from ase import Atoms

import castile
from castile.errors import InputError
from castile.execution.task_pool import SerialPool, TaskPool, open_task_pool
from castile.potentials import row_pieces
from castile.potentials.row_pieces import n_labels, split_pieces
from castile.structures import as_source
from potentials.examples import copper_set

OPTIONS = {"cutoff": 4.0, "n_sparse": 20, "n_max": 4, "l_max": 3, "seed": 1}


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Pieces of 80 rows and more, so that a small set has many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_pieces, "LEAST_ROWS", 80)
        yield


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    return copper_set(60)


@pytest.fixture(scope="module")
def serial(frames: list[Atoms]) -> castile.GAP:
    return castile.GAP(**OPTIONS).fit(frames)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[TaskPool]:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    with open_task_pool(2) as pool:
        yield pool


def assert_same_model(model: castile.GAP, reference: castile.GAP) -> None:
    """The bound is what is promised; on one machine the difference is zero."""
    for weights, expected in zip(model.model_.weights, reference.model_.weights, strict=True):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def process_number(delay: float) -> int:
    time.sleep(delay)
    return os.getpid()


def test_there_are_several_pieces(frames: list[Atoms], serial: castile.GAP) -> None:
    """Else the tests below would show nothing."""
    structures = list(as_source(frames))
    pieces = list(split_pieces(structures, serial.fit_report_.n_sparse))
    assert len(pieces) >= 6
    assert [s for piece in pieces for s in piece.structures] == structures
    assert pieces[0].name == f"structure 0 to structure {len(pieces[0].structures) - 1}"
    rows = [sum(n_labels(s) for s in piece.structures) for piece in pieces]
    assert min(rows[:-1]) >= row_pieces.ROWS_PER_COLUMN * serial.fit_report_.n_sparse


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_are_the_fit_in_one_piece(
    frames: list[Atoms], serial: castile.GAP, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle: rows reduced in the order of the structures, nothing merged; all noise given.

    Learning amplifies rounding, which the same pieces for all workers avoid and other pieces do not.
    """
    noise = {"energy_noise": 0.01, "force_noise": 0.05, "stress_noise": 0.01}
    given = OPTIONS | noise | {"amplitude": 1.0, "pair": False}
    pieces = castile.GAP(**given, threads=threads).fit(frames)
    monkeypatch.setattr(row_pieces, "LEAST_ROWS", 10**9)
    whole = castile.GAP(**given).fit(frames)
    for atoms in frames[:5]:
        assert pieces.predict(atoms).energy == pytest.approx(whole.predict(atoms).energy, abs=1e-7)
        np.testing.assert_allclose(pieces.predict(atoms).forces, whole.predict(atoms).forces, atol=1e-6)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_model_of_none(
    frames: list[Atoms], serial: castile.GAP, workers: int
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (group distributed)")
    assert_same_model(castile.GAP(**OPTIONS, workers=workers).fit(frames), serial)


def test_a_worker_that_is_killed_costs_its_piece_only(
    frames: list[Atoms], serial: castile.GAP, two_workers: TaskPool
) -> None:
    victims = set(two_workers.map(process_number, [0.05] * 8))
    assert len(victims) == 2
    killed: list[int] = []

    def kill_one(stage: str, fraction: float) -> None:
        if stage == "training rows" and fraction > 0.0 and not killed:
            killed.append(victims.pop())
            os.kill(killed[0], signal.SIGKILL)
            assert fraction < 0.5

    model = castile.GAP(**OPTIONS, workers=two_workers).fit(frames, progress=kill_one)
    assert killed
    assert_same_model(model, serial)
    assert killed[0] not in set(two_workers.map(process_number, [0.05] * 8))


def test_update_with_workers(frames: list[Atoms], two_workers: TaskPool) -> None:
    serial = castile.GAP(**OPTIONS).fit(frames[:20]).update(frames[20:])
    spread = castile.GAP(**OPTIONS, workers=two_workers).fit(frames[:20]).update(frames[20:])
    assert_same_model(spread, serial)


def test_a_bad_structure_is_named_from_afar(frames: list[Atoms], two_workers: TaskPool) -> None:
    unknown = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2]])
    unknown.info["energy"] = -1.0
    model = castile.GAP(**OPTIONS, workers=two_workers).fit(frames[:20])
    with pytest.raises(InputError, match="structure 0: holds Fe"):
        model.update([unknown], allow_missing=("forces", "stress"))


def test_predictions_on_workers(frames: list[Atoms], serial: castile.GAP, two_workers: TaskPool) -> None:
    large = frames[0].repeat((9, 9, 8))  # a batch by itself
    structures = [*frames, large, *frames]
    spread = castile.GAP(**OPTIONS, workers=two_workers)._take(serial.outcome_)
    for found, expected in zip(spread.predict_many(structures), serial.predict_many(structures), strict=True):
        assert found.energy == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-10)


@pytest.mark.parametrize("where", ["this process", "workers"])
def test_predictions_before_a_bad_structure_come(
    frames: list[Atoms], serial: castile.GAP, where: str, request: pytest.FixtureRequest
) -> None:
    pool = SerialPool() if where == "this process" else request.getfixturevalue("two_workers")
    model = castile.GAP(**OPTIONS, workers=pool)._take(serial.outcome_)
    predictions = model.predict_many([*frames[:3], Atoms("Fe"), *frames[3:6]])
    assert len([next(predictions) for _ in range(3)]) == 3
    with pytest.raises(InputError, match="structure 3: the model was not trained on Fe"):
        next(predictions)


@pytest.mark.parametrize("memory", ["1", 0, -1.0, True, float("nan")])
def test_memory_that_is_no_number(frames: list[Atoms], memory: object) -> None:
    with pytest.raises(InputError, match="positive number of gigabytes"):
        castile.GAP(**OPTIONS, memory=memory).fit(frames)  # type: ignore[arg-type]
