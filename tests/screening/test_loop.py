"""Loops: the top list becomes the true one, failures cost nothing else, and a kill changes nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import castile
from castile.active.oracle_settings import OracleSettings
from castile.errors import InputError
from castile.execution.task_pool import SerialPool
from castile.properties import PropertyModel, describe, make_descriptor
from castile.properties.learning import LearningSettings
from castile.screening.candidates import CandidateStream
from castile.screening.labellers import KnownLabels, Label, OracleLabels
from castile.screening.loop import LoopSettings, compare_with_truth, optimise
from castile.screening.objective import Objective
from castile.screening.proposers import (
    DescribedProposer,
    PotentialLearner,
    PropertyLearner,
    StreamProposer,
    improvement_over_list,
)
from castile.screening.targets import PotentialTarget
from evaluation.emt_model import labelled_copper
from screening.conftest import energy, random_alloys


@pytest.fixture(scope="module")
def alloys() -> list[Atoms]:
    return random_alloys(80, 7, 0.01)


@pytest.fixture(scope="module")
def truth(alloys: list[Atoms]) -> dict[int, float]:
    return {index: energy(atoms) for index, atoms in enumerate(alloys)}


def learner(structures: Sequence[Atoms], values: Sequence[float]) -> PropertyLearner:
    descriptor = make_descriptor("soap", {"cutoff": 5.0, "n_max": 6, "l_max": 3})
    model = PropertyModel(descriptor, kernel="dot", target="energy_per_atom", unit="eV/atom")
    return PropertyLearner(model, tuple(structures), tuple(values))


def proposer(alloys: list[Atoms]) -> StreamProposer:
    training = random_alloys(12, 9, 0.01)
    first = learner(training, [energy(atoms) for atoms in training])
    return StreamProposer(CandidateStream(alloys), first, Objective("improvement"), most_similar=1.0)


def test_the_top_list_becomes_the_true_one(alloys: list[Atoms], truth: dict[int, float]) -> None:
    settings = LoopSettings(budget=75, batch=5, top=5, patience=2)
    result = optimise(proposer(alloys), KnownLabels(truth), settings)
    assert result.reason == "stable"
    best = sorted(truth, key=lambda index: truth[index])[:5]
    assert [one.index for one in result.top] == best
    assert all(one.labelled for one in result.top)
    history = compare_with_truth(result, truth, Objective("improvement"), share=5 / 80)
    assert history[-1].recall == 1.0
    assert history[-1].regret == pytest.approx(0.0)
    assert history[-1].best_regret == pytest.approx(0.0)
    assert [one.n_labels for one in history] == [5 * k for k in range(len(history))]
    assert len(result.labels) <= 60
    assert len({label.index for label in result.labels}) == len(result.labels)


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_loop_that_was_cut_off_goes_on(
    alloys: list[Atoms], truth: dict[int, float], tmp_path: Path
) -> None:
    settings = LoopSettings(budget=15, batch=5, top=4, patience=9)
    whole = optimise(proposer(alloys), KnownLabels(truth), settings, journal=tmp_path / "whole")
    assert whole.reason == "budget"

    def stop(each: object) -> None:
        if stop.left == 0:  # type: ignore[attr-defined]
            raise Killed
        stop.left -= 1  # type: ignore[attr-defined]

    stop.left = 2  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        optimise(proposer(alloys), KnownLabels(truth), settings, journal=tmp_path / "cut", advance=stop)
    seen = []
    again = optimise(
        proposer(alloys), KnownLabels(truth), settings, journal=tmp_path / "cut", advance=seen.append
    )
    assert len(seen) == len(whole.rounds) - 2
    assert again.rounds == whole.rounds
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    with pytest.raises(InputError, match="another loop"):
        optimise(
            proposer(alloys), KnownLabels(truth), LoopSettings(budget=15, batch=6), journal=tmp_path / "cut"
        )
    more = optimise(proposer(alloys), KnownLabels(truth), LoopSettings(20, 5, 4, 9), journal=tmp_path / "cut")
    assert more.labels[:15] == whole.labels
    assert len(more.labels) == 20


def test_an_oracle_labels_winners_and_failures_cost_nothing_else(
    alloys: list[Atoms], truth: dict[int, float], tmp_path: Path
) -> None:
    few = [*alloys[:10]]
    few[3] = few[3].copy()
    few[3].positions[0] += 0.9  # its forces are absurd, so the label is rejected
    source = OracleLabels(tmp_path, OracleSettings(preset="emt", max_force=5.0), SerialPool())
    settings = LoopSettings(budget=20, batch=4, top=3, patience=2)
    result = optimise(proposer(few), source, settings)
    values = {label.index: label.value for label in result.labels}
    for index, value in values.items():
        if index != 3:
            assert value == pytest.approx(truth[index], abs=1e-9)
    assert values.get(3) is None
    best = sorted((index for index in range(10) if index != 3), key=lambda index: truth[index])[:3]
    assert [one.index for one in result.top] == best


def test_a_potential_learns_from_the_calculations_of_its_winners(tmp_path: Path) -> None:
    def load() -> castile.GAP:
        return castile.GAP(n_sparse=15, n_max=4, l_max=3, cutoff=4.5, seed=0).fit(
            labelled_copper(8, noise=0.01)
        )

    pool = [bulk("Cu", "fcc", a=a) for a in (3.45, 3.53, 3.6, 3.68, 3.75)]
    pool += [bulk("Cu", "bcc", a=a) for a in (2.75, 2.8, 2.85, 2.9, 2.95)]
    begin = PotentialLearner(PotentialTarget(load()), load)
    made = StreamProposer(CandidateStream(pool), begin, Objective("bound"), most_similar=1.0)
    source = OracleLabels(tmp_path, OracleSettings(preset="emt", contact_fraction=0.0), SerialPool())
    result = optimise(made, source, LoopSettings(budget=6, batch=3, top=2, patience=1))
    truth = sorted(range(10), key=lambda index: energy(pool[index]))
    assert result.top[0].index == truth[0]
    assert result.top[0].labelled
    assert result.top[0].value == pytest.approx(energy(pool[truth[0]]))


def test_described_candidates_are_proposed_by_their_improvement(
    alloys: list[Atoms], truth: dict[int, float]
) -> None:
    descriptor = make_descriptor("soap", {"cutoff": 4.0, "n_max": 4, "l_max": 2}).fit(alloys)
    inputs = describe(descriptor, alloys)
    first = [Label(k, "", alloys[k], truth[k]) for k in range(12)]
    objective = Objective("improvement")
    made = DescribedProposer(inputs, alloys, objective, LearningSettings(("dot",), "all"))
    proposal = made.propose(first, 6, 4)
    scores = [one.row.scores[0] for one in proposal.batch]
    assert scores == sorted(scores, reverse=True)
    assert not {one.row.index for one in proposal.batch} & set(range(12))
    limit = improvement_over_list(objective, [label.value for label in first], 4).best  # type: ignore[misc]
    assert limit == sorted(truth[k] for k in range(12))[3]
    row = proposal.batch[0].row
    (expected,) = Objective("improvement", best=limit).scores([row.mean], [row.std])
    assert row.scores[0] == pytest.approx(expected)


def test_improvement_over_a_list() -> None:
    objective = improvement_over_list(Objective("improvement", "maximise"), [3.0, 1.0, 2.0, 5.0], 2)
    assert objective.best == 3.0
    assert improvement_over_list(Objective("improvement"), [3.0, 1.0], 5).best == 3.0
    assert improvement_over_list(Objective("mean"), [], 5) == Objective("mean")
    with pytest.raises(InputError, match="first label"):
        improvement_over_list(Objective("improvement"), [], 2)


def test_recall_and_regret_by_hand() -> None:
    from castile.screening.loop import ListedCandidate, LoopResult, Round

    truth = {k: float(k) for k in range(10)}
    top = (ListedCandidate(1, "", 1.0, 0.0, True), ListedCandidate(4, "", 2.2, 0.3, False))
    labels = tuple(Label(k, "", Atoms(), truth[k]) for k in (1, 7))
    result = LoopResult((Round(2, 1.0, top, 2),), labels, "budget")
    (found,) = compare_with_truth(result, truth, Objective("improvement"), share=0.2, known=(0,))
    assert found.recall == 1.0
    assert found.regret == pytest.approx(2.5 - 0.5)
    assert found.best_regret == 0.0
    (other,) = compare_with_truth(result, truth, Objective("improvement", "maximise"), share=0.2)
    assert other.recall == 0.0
    assert other.best_regret == 2.0
    np.testing.assert_allclose(other.regret, 8.5 - 2.5)
