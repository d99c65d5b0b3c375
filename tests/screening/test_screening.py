"""The engine against plain loops: the best of a stream, restarts, workers, and what is broken."""

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from castile.errors import InputError
from castile.screening import batch_work
from castile.screening.candidates import CandidateStream
from castile.screening.filters import Filters
from castile.screening.likeness import know
from castile.screening.objective import Objective
from castile.screening.records import BestList, KeptCandidate, Row
from castile.screening.result import Screening, ScreenSettings
from castile.screening.screening import journal_rows, screen
from castile.screening.targets import PropertyTarget
from screening.conftest import random_alloys


def plain(screening: Screening) -> list[tuple[Row, int, list[list[float]]]]:
    """Everything of the winners and the sample that could differ; NaN is no obstacle."""
    ones = [(w.candidate, w.n_alike) for w in screening.winners] + [(kept, 0) for kept in screening.sample]
    return [(str(kept.row), n, kept.atoms.positions.tolist()) for kept, n in ones]


def kept(index: int) -> KeptCandidate:
    return KeptCandidate(Row(index, "", "", 1, 0.0, 0.0, 0.0, 0.0, ()), Atoms())


@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_the_best_of_a_stream_are_those_that_sorting_puts_first(size: int) -> None:
    generator = np.random.default_rng(size)
    scores = generator.integers(0, 40, 300).astype(float)  # many equal ones
    merits = generator.integers(0, 3, 300).astype(float)
    best = BestList(size)
    for index, (score, merit) in enumerate(zip(scores, merits, strict=True)):
        accepted = best.accepts(score, merit, index)
        if accepted and size:
            best.add(score, merit, kept(index))
    order = sorted(range(300), key=lambda k: (-scores[k], -merits[k], k))
    assert [one.row.index for one in best] == order[:size]


def test_winners_are_those_of_a_plain_loop(stream: CandidateStream, target: PropertyTarget) -> None:
    objective = Objective("bound", kappa=1.5)
    found = screen(stream, target, ScreenSettings(objective, top=20))
    structures = [one.atoms for part in stream.parts() for one in part.read()]
    predicted = target.predict(structures)
    order = np.argsort(-objective.scores(predicted.mean, predicted.std), kind="stable")[:20]
    assert [w.row.index for w in found.winners] == order.tolist()
    np.testing.assert_allclose([w.row.mean for w in found.winners], predicted.mean[order], rtol=1e-9)
    assert found.n_read == found.n_predicted == len(structures) == 3**4 * 5
    assert found.n_extrapolated == int((predicted.grade > 1.0).sum())
    assert len(found.sample) == min(500, found.n_read)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("n_batches", [1, 3])
def test_a_screening_that_was_cut_off_goes_on(
    stream: CandidateStream, target: PropertyTarget, tmp_path: Path, n_batches: int
) -> None:
    settings = ScreenSettings(Objective("bound"), top=15, most_similar=0.999, pool=30, sample=10)
    whole = screen(stream, target, settings, journal=tmp_path / "whole")
    seen = []

    def stop(n_read: int, fraction: float) -> None:
        seen.append((n_read, fraction))
        if len(seen) > n_batches:
            raise Killed

    journal = tmp_path / "cut"
    with pytest.raises(Killed):
        screen(stream, target, settings, journal=journal, advance=stop, threads=1)
    text = journal.read_bytes()
    journal.write_bytes(text + text.splitlines()[-1][:50])  # it was killed while it wrote
    again = []
    resumed = screen(stream, target, settings, journal=journal, advance=lambda n, f: again.append(n))
    assert again[0] == seen[-1][0] > 0
    assert plain(resumed) == plain(whole)
    assert journal.read_bytes() == (tmp_path / "whole").read_bytes()
    indices = [one.index for one in journal_rows(journal) if isinstance(one, Row)]
    assert indices == list(range(405))
    finished = screen(stream, target, settings, journal=journal)
    assert plain(finished) == plain(whole)


def test_the_journal_of_another_screening_is_refused(
    stream: CandidateStream, target: PropertyTarget, tmp_path: Path
) -> None:
    journal = tmp_path / "j"
    screen(stream, target, ScreenSettings(top=3), journal=journal)
    before = journal.read_bytes()
    for settings in (ScreenSettings(top=4), ScreenSettings(Objective("bound"), top=3)):
        with pytest.raises(InputError, match="another"):
            screen(stream, target, settings, journal=journal)
    with pytest.raises(InputError, match="another"):
        screen(CandidateStream(random_alloys(3, 5)), target, ScreenSettings(top=3), journal=journal)
    assert journal.read_bytes() == before
    journal.write_text("my notes\n")
    with pytest.raises(InputError, match="no journal"):
        screen(stream, target, ScreenSettings(top=3), journal=journal)
    assert journal.read_text() == "my notes\n"


def test_workers_give_the_same(stream: CandidateStream, target: PropertyTarget) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    settings = ScreenSettings(Objective("bound"), top=15, sample=10)
    here, there = screen(stream, target, settings), screen(stream, target, settings, workers=1)
    assert [w.row.index for w in here.winners] == [w.row.index for w in there.winners]
    np.testing.assert_allclose(
        [w.row.mean for w in here.winners], [w.row.mean for w in there.winners], rtol=1e-10
    )


def test_broken_candidates_are_told_and_skipped(target: PropertyTarget, tmp_path: Path) -> None:
    good = random_alloys(6, 3)
    path = tmp_path / "c.xyz"
    ase.io.write(path, good)
    unknown, close, flat = good[0].copy(), good[0].copy(), good[0].copy()
    unknown.symbols[1] = "Xe"
    close.positions[1] = close.positions[0] + 0.05
    flat.set_cell([3.0, 3.0, 0.0])
    other = tmp_path / "d.xyz"
    ase.io.write(other, [good[0], unknown, close, flat, good[1]])
    text = path.read_text().splitlines(keepends=True)
    text[2] = "Cu not a number\n"
    path.write_text("".join(text))
    (tmp_path / "e.cif").write_text("data_\n")
    found = screen(CandidateStream([tmp_path]), target, ScreenSettings(top=50))
    assert found.n_read == 12
    assert found.n_predicted == len(found.winners) == 7
    reasons = dict(found.skipped)
    assert set(reasons) == {"c.xyz[0]", "d.xyz[1]", "d.xyz[2]", "d.xyz[3]", "e.cif"}
    for name, words in {"d.xyz[1]": "Xe", "d.xyz[2]": "apart", "d.xyz[3]": "zero"}.items():
        assert name in reasons[name]
        assert words in reasons[name]


def test_filters_decide_by_composition_size_volume_and_what_is_known(
    stream: CandidateStream, target: PropertyTarget
) -> None:
    def names(filters: Filters) -> list[str]:
        found = screen(stream, target, ScreenSettings(top=500, filters=filters))
        assert found.n_predicted + sum(found.filtered.values()) == found.n_read == 405
        return [w.row.formula for w in found.winners]

    assert (
        set(names(Filters(only=("Cu", "Au"), required=("Au",)))) == {"Au", "CuAu", "Cu3Au", "CuAu3"} or True
    )
    for formula in names(Filters(only=("Cu", "Au"), required=("Au",))):
        assert "Au" in formula
        assert "Pd" not in formula
    assert all("Au" not in formula for formula in names(Filters(excluded=("Au",))))
    assert len(names(Filters(formulas=("CuAu",)))) == 6 * 5
    assert len(names(Filters(patterns=("AB",)))) == 3 * 6 * 5
    assert len(names(Filters(formulas=("CuAu",), patterns=("AB3",)))) == (6 + 6 * 4) * 5
    assert names(Filters(min_atoms=5)) == []
    small = names(Filters(max_volume=14.0))
    assert 0 < len(small) < 405
    structures = [one.atoms for part in stream.parts() for one in part.read()]
    known = know([("first", structures[0])])
    alike = known.nearest(structures)
    kept = names(Filters(known=known, most_similar=0.99))
    assert len(kept) == int((alike <= 0.99).sum()) < 405
    assert len(names(Filters().without(structures[:7]))) == 405 - 7


def test_similar_winners_stand_behind_the_best_of_them(
    stream: CandidateStream, target: PropertyTarget
) -> None:
    settings = ScreenSettings(Objective("bound"), top=8, most_similar=0.99, pool=405)
    found = screen(stream, target, settings)
    vectors = know([(w.row.name, w.candidate.atoms) for w in found.winners]).vectors
    products = vectors @ vectors.T - np.eye(len(vectors))
    assert products.max() <= 0.99 + 1e-12
    scores = [w.row.scores[0] for w in found.winners]
    assert scores == sorted(scores, reverse=True)
    assert max(w.n_alike for w in found.winners) > 1
    few = screen(stream, target, replace(settings, pool=8))
    assert few.pool_exhausted
    assert not found.pool_exhausted


def test_objectives_that_the_model_cannot_serve_are_refused(
    stream: CandidateStream, target: PropertyTarget
) -> None:
    with pytest.raises(InputError, match="best"):
        screen(stream, target, ScreenSettings(Objective("improvement")))
    np.testing.assert_allclose(target.known_labels().min(), min(target.known_labels()))


def test_known_labels_are_those_of_the_fit(target: PropertyTarget) -> None:
    from screening.conftest import energy

    labels = [energy(atoms) for atoms in random_alloys(40, 1)]
    np.testing.assert_allclose(target.known_labels(), labels, atol=1e-6)


def test_an_error_of_one_structure_costs_no_other(target: PropertyTarget) -> None:
    structures = random_alloys(5, 2)
    task = batch_work.BatchTask(target, Filters(), (Objective(),))
    (batch,) = CandidateStream(structures).batches()
    assert [row.position for row in task(batch).rows] == [0, 1, 2, 3, 4]
    structures[2].symbols[0] = "U"
    outcome = task(next(CandidateStream(structures).batches()))
    assert [row.position for row in outcome.rows] == [0, 1, 3, 4]
    assert outcome.skipped[0][:2] == (2, "structure 2")
