"""Whole comparisons on small data: curves, resuming, command, page, potentials."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from benchmarks.comparison_figures import budget_of, curve_of, descriptor_names, draw_set, label_of

from castile.cli.main import main
from castile.comparison import (
    Comparison,
    ComparisonData,
    ComparisonSettings,
    NamedDescriptor,
    compare,
    default_descriptors,
    named_descriptors,
    recommendation,
)
from castile.comparison.budget import budget
from castile.comparison.data import plan_splits
from castile.errors import InputError
from castile.properties import PropertyModel
from castile.properties.descriptor import StructureDescriptor
from castile.properties.distances import RadialDistributionVector
from castile.splits.splitters import similar_components
from properties.cases import crystals, density

SETTINGS = ComparisonSettings(3600.0, 0.2, 1000, n_seeds=2, max_labels=110)


def alike_and_not(n: int = 160) -> list[Atoms]:
    """Crystals, every second one a near-twin of the one before."""
    found: list[Atoms] = []
    for k, atoms in enumerate(crystals(n // 2)):
        twin = atoms.copy()
        twin.rattle(1e-4, seed=k)
        found += [atoms, twin]
    return found


@pytest.fixture(scope="module")
def data() -> ComparisonData:
    structures = alike_and_not()
    return ComparisonData(tuple(structures), density(structures), "density", "1/A^3", len(structures))


def descriptors() -> tuple[NamedDescriptor, ...]:
    return named_descriptors(["composition", "rdf=n_bins=20,cutoff=4,partial=false"])


@pytest.fixture(scope="module")
def found(data: ComparisonData) -> Comparison:
    return compare(data, descriptors(), SETTINGS)


def test_test_sets_do_not_leak(data: ComparisonData) -> None:
    plan = plan_splits(data, n_seeds=2, max_labels=110)
    labels, _ = similar_components(list(data.structures), "suggest")
    assert plan.splits == ("random", "leak-proof")
    for part in plan.parts:
        assert not set(part.pool) & set(part.test)
        shared = set(labels[part.pool]) & set(labels[part.test])
        assert bool(shared) == (part.split == "random")
    assert plan.sizes == (28, 55, 110)


@pytest.mark.parametrize(("n", "sizes"), [(60, (11, 22, 45)), (100, (20, 40, 80)), (160, (32, 64, 128))])
def test_few_structures_still_make_three_sizes(n: int, sizes: tuple[int, ...]) -> None:
    structures = crystals(n)
    data = ComparisonData(tuple(structures), density(structures), "density", "1/A^3", n)
    plan = plan_splits(data, n_seeds=1, max_labels=1600)
    random_only = plan.splits == ("random",)
    assert plan.sizes == sizes if random_only else sizes[-1] >= plan.sizes[-1] >= 40
    assert len(plan.sizes) >= 3
    assert min(plan.sizes) >= 10


def test_curves_costs_and_words(found: Comparison) -> None:
    composition, rdf = found.descriptors
    assert (
        rdf.by_split("leak-proof").measured("mae")[-1][1]
        < composition.by_split("leak-proof").measured("mae")[-1][1]
    )
    assert composition.cpu_s_per_structure < rdf.cpu_s_per_structure
    assert rdf.bytes_per_structure == 20 * 8
    assert found.ranking()[0][0].label == rdf.label
    text = " ".join(recommendation(found))
    assert f"Use {rdf.label}: " in text
    assert "CPU hours" in text
    numbers = found.numbers()
    json.dumps(numbers, allow_nan=False)
    assert numbers["composition_leak_proof_mae_at_110"] == pytest.approx(
        composition.by_split("leak-proof").measured("mae")[-1][1]
    )


def test_figures_of_the_docs_agree_with_the_result(found: Comparison, tmp_path: Path) -> None:
    numbers = found.numbers()
    names = descriptor_names(numbers)
    assert [label_of(name) for name in names] == ["composition", "rdf n bins 20 cutoff 4 partial false"]
    for name, result in zip(names, found.descriptors, strict=True):
        part = result.by_split("leak-proof")
        assert curve_of(numbers, name, "leak_proof") == part.measured("mae")
        own = part.budget
        assert own is not None
        shown = [budget_of(numbers, name, "leak_proof", n) for n in (1000, 10**9)]
        if own.labels is None or own.cpu_hours is None:
            assert shown == [None, None]
            continue
        assert shown[0] == own.cpu_hours.median
        exact = float(result.costs.total(own.labels.median, 10**9)) / 3600.0
        assert shown[1] == pytest.approx(exact, rel=0.3)  # drawn with the prediction by the largest model
    assert any(part.budget is not None and part.budget.reached for part in found.descriptors[1].splits)
    draw_set(numbers, 1.0, found.unit, tmp_path / "set.png")
    assert (tmp_path / "set.png").stat().st_size > 10_000


def test_ranges_of_errors_agree_with_a_scan(found: Comparison) -> None:
    for part in found.error_ranges():
        totals = {}
        for result in found.descriptors:
            own = budget(
                result.by_split(found.judged_by).curve,
                result.costs,
                part.low,
                found.n_candidates,
                found.most_labels,
            )
            if own.cpu_hours is not None:
                totals[result.label] = own.cpu_hours.median
        assert part.label == min(totals, key=lambda label: totals[label])


def test_pareto_front_is_not_beaten(found: Comparison) -> None:
    pairs = {
        r.label: (
            r.by_split(found.judged_by).measured("mae")[-1][1],
            float(r.costs.per_candidate(found.sizes[-1])),
        )
        for r in found.descriptors
    }
    for label, (error, cost) in pairs.items():
        beaten = any(e < error and c < cost for e, c in pairs.values())
        assert (label in found.pareto_front()) != beaten


class Counting(RadialDistributionVector):
    """Counts the structures it describes."""

    n_described = 0

    def _row(self, atoms: Atoms) -> np.ndarray:
        Counting.n_described += 1
        return super()._row(atoms)


def test_a_killed_comparison_goes_on(data: ComparisonData, tmp_path: Path) -> None:
    points = tmp_path / "points.jsonl"

    def stop(step: str, done: int, total: int | None) -> None:
        if step == "learning curves" and done == 5:
            raise KeyboardInterrupt

    def named() -> list[NamedDescriptor]:
        return [NamedDescriptor("counted", Counting(4.0, 10, partial=False))]

    with pytest.raises(KeyboardInterrupt):
        compare(data, named(), SETTINGS, points=points, progress=stop)
    kept = points.read_text()
    points.write_text(kept + '{"descriptor": "coun')  # killed in the middle of a line
    whole = compare(data, named(), SETTINGS, points=points)
    assert points.read_text().startswith(kept)
    fresh = compare(data, named(), SETTINGS)
    for mine, other in zip(whole.descriptors[0].splits, fresh.descriptors[0].splits, strict=True):
        assert [p.mae for p in mine.points] == [p.mae for p in other.points]
    before = points.read_text()
    Counting.n_described = 0
    compare(data, named(), SETTINGS, points=points)
    assert points.read_text() == before
    assert Counting.n_described < len(data)  # only a sample, for the cost


def test_points_of_other_data_are_refused(data: ComparisonData, tmp_path: Path) -> None:
    points = tmp_path / "points.jsonl"
    compare(data, descriptors()[:1], SETTINGS, points=points)
    other = ComparisonData(data.structures, data.targets + 1.0, "density", "", len(data))
    with pytest.raises(InputError, match="points of other data"):
        compare(other, descriptors()[:1], SETTINGS, points=points)
    (tmp_path / "notes.txt").write_text("keep me\n")
    with pytest.raises(InputError, match="holds no points of a comparison"):
        compare(data, descriptors()[:1], SETTINGS, points=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "keep me\n"


def test_default_descriptors_suit_the_data() -> None:
    kinds = {named.label: named.descriptor for named in default_descriptors(crystals(5))}
    assert {"composition", "rdf total", "rdf partial", "pair histogram", "sine", "angles"} <= set(kinds)
    assert sum(label.startswith("soap") for label in kinds) == 5
    molecules = [Atoms("OH2", [(0, 0, 0), (1, 0, 0), (0, 1, 0)])]
    assert "coulomb" in {named.label for named in default_descriptors(molecules)}
    assert all(isinstance(descriptor, StructureDescriptor) for descriptor in kinds.values())


def test_command_for_properties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    structures = alike_and_not(140)
    for atoms, value in zip(structures, density(structures), strict=True):
        atoms.info["rho"] = value
    write("data.xyz", structures, format="extxyz")
    arguments = [
        "compare", "data.xyz", "--target", "rho", "--label-cost", "20min", "--error", "0.2", "--seeds", "1",
        "--max-labels", "100", "--descriptor", "composition", "--descriptor", "rdf=n_bins=20,partial=false",
        "--json", "out.json", "--report", "page.html", "--save-model", "rho.castile",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code in (0, None)
    model = PropertyModel.load("rho.castile")
    assert (model.target, model.summary_.n_structures) == ("rho", 140)
    assert model.descriptor.get_params()["n_bins"] == 20
    out = capsys.readouterr().out
    assert "Use rdf=n_bins=20,partial=false" in out
    assert json.loads(Path("out.json").read_text())["label_cost_s"] == 1200.0
    page = Path("page.html").read_text()
    assert page.count("<svg") == 3
    assert Path("data-rho-100.compare.jsonl").exists()
    for wrong, message in (
        (["--target", "gap"], "no info key 'gap'"),
        (["--target", "rho", "--json", "data.xyz"], "would replace the data"),
        (["--target", "rho", "--label-cost", "soon"], "give for example 3600s"),
        (["--target", "rho", "--save-model", "nowhere/rho.castile"], "there is no folder"),
        (["--potential", "--save-model", "rho.castile"], "fit a potential with castile fit"),
        (["--potential", "--target", "rho"], "--target: not for --potential"),
        (["--target", "rho", "--descriptor", "soup"], "give one of composition"),
    ):
        with pytest.raises(SystemExit) as failed:
            main(["compare", "data.xyz", *wrong])
        assert failed.value.code == 1
        assert message in capsys.readouterr().err


def test_command_for_potentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    structures = []
    for k in range(24):
        atoms = bulk("Cu", cubic=True, a=3.5 + 0.01 * k)
        atoms.rattle(0.1, seed=k)
        atoms.calc = EMT()
        forces = None if k == 5 else atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=forces)
        structures.append(atoms)
    write("cu.xyz", structures, format="extxyz")
    with pytest.raises(SystemExit) as done:
        main(["compare", "cu.xyz", "--potential", "--quick", "--json", "p.json", "--report", "p.html"])
    assert done.value.code in (0, None)
    numbers = json.loads(Path("p.json").read_text())
    name = "pair_soap_n6_l4_300_sparse"
    assert 0 < numbers[f"{name}_force_rmse_ev_per_a"] < 1.0
    assert numbers[f"{name}_us_per_atom"] > 0
    out = capsys.readouterr().out
    assert "force RMSE" in out
    assert "1 of 24 structures have no forces (the first: cu.xyz[5])" in out
    front = str(numbers["pareto_front"]).split("; ")
    used = out.split("Use ")[1].split(":")[0]
    error = {v: numbers[f"{_key(v)}_force_rmse_ev_per_a"] for v in front}
    cost = {v: numbers[f"{_key(v)}_us_per_atom"] for v in front}
    assert error[used] <= 1.05 * min(error.values())
    assert all(cost[v] >= cost[used] for v in front if error[v] <= 1.05 * min(error.values()))
    assert "<svg" in Path("p.html").read_text()


def _key(variant: str) -> str:
    """A variant as it stands in the numbers."""
    return "_".join("".join(c if c.isalnum() else " " for c in variant.lower()).split())
