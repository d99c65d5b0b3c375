"""The benchmarks run, notice wrong answers, and write only what was measured into the documentation."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from benchmarks.isolation import ROOT, ChildFailed, run_isolated
from benchmarks.models import random_model
from benchmarks.records import Check, Record, Table, figure, print_record, read_record, write_record
from benchmarks.scaling import measure_size
from benchmarks.speed import measure_descriptors
from benchmarks.systems import smoke_systems, speed_systems
from rich.console import Console

import castile
from benchmarks import data, machine, pages, smoke, timing

RECORD = Record(
    "example",
    False,
    {"a_seconds": 1.25},
    (Check("a", 1.25, 2.0, "s"), Check("gain", 3.0, 4.0, "x", "at least")),
    (Table("Times", ("", "s"), (("a", "1.25"),)),),
    ("a note",),
    "python -m benchmarks example",
)


@pytest.fixture(scope="module")
def oracle():
    return smoke.load_oracle()


@pytest.mark.parametrize("system", smoke_systems(), ids=lambda system: system.key)
def test_fast_answers_agree_with_the_oracle(system, oracle) -> None:
    agreements = [*smoke.check_descriptor(system, oracle, 1), *smoke.check_potential(system, oracle, 1)]
    assert len(agreements) == 6
    assert all(agreement.holds for agreement in agreements), agreements


def test_smoke_notices_wrong_values(monkeypatch: pytest.MonkeyPatch) -> None:
    right = castile.SOAP.transform

    def wrong(self, *arguments):
        values = right(self, *arguments)
        values[-1, 0] *= 1.0 + 1e-8
        return values

    monkeypatch.setattr(castile.SOAP, "transform", wrong)
    with pytest.raises(smoke.Disagreement, match="Si: SOAP values differs from the oracle by"):
        smoke.smoke(1)


def test_nan_does_not_agree() -> None:
    assert not smoke.Agreement("x", float("nan"), 1.0).holds


def test_smoke_command_runs_and_saves_flat_numbers(tmp_path: Path) -> None:
    path = tmp_path / "smoke.json"
    command = [sys.executable, "-m", "benchmarks", "smoke", "--threads", "1", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "five-element alloy" in done.stdout
    record = read_record(path)
    assert record.command == "python -m benchmarks smoke --threads 1"
    assert record.numbers["si_values_castile_us_per_atom"] > 0
    assert record.numbers["si_forces_difference"] < smoke.GRADIENT_TOLERANCE
    assert record.versions["numpy"] == np.__version__


def test_child_has_pinned_threads_its_own_memory_and_names_its_failure() -> None:
    ballast = np.ones(60_000_000)
    small = run_isolated("benchmarks.isolation:peak_memory_bytes", {}, 1)
    assert 5e6 < small < ballast.nbytes
    assert run_isolated("os:getenv", {"key": "RAYON_NUM_THREADS"}, 3) == "3"
    with pytest.raises(ChildFailed, match=r"json:loads ended with status 1:(.|\n)*JSONDecodeError"):
        run_isolated("json:loads", {"s": "{"}, 1)


def test_size_of_a_call_is_measured() -> None:
    measured = measure_size([1, 1, 1], 1, 8)
    assert measured["us_per_atom"] > 0
    assert measured["peak_memory_bytes"] > 5e7


def test_descriptor_times_of_castile_are_always_there() -> None:
    measured = measure_descriptors(0, True, 1)
    assert measured["si_values_castile_us_per_atom"] > 0
    assert measured["si_gradients_castile_us_per_atom"] > 0
    peers = ("DScribe", "featomic", "quippy")
    absent = {name for name in peers if f"si_values_{name.lower()}_us_per_atom" not in measured}
    assert absent == {name for name in peers if f"left out: {name} is not installed" in measured["notes"]}


@pytest.mark.parametrize("quick", [False, True])
def test_systems_are_those_of_the_tables_and_no_perfect_crystals(quick: bool) -> None:
    systems = speed_systems(quick)
    assert [system.n_atoms for system in systems] == ([64, 64, 32, 32] if quick else [512, 512, 500, 500])
    assert [len(system.species) for system in systems] == [1, 2, 1, 5]
    for system in systems:
        first, second = system.copies
        assert np.ptp(first.get_all_distances(mic=True)[0]) > 0
        assert np.abs(first.positions - second.positions).min() > 0


def test_random_model_has_the_sizes_that_were_asked_for() -> None:
    system = smoke_systems()[1]
    model = random_model(system, 10, 2.0)
    assert model.terms[0].n_columns == 10
    assert model.terms[0].counts == (5, 5)


def test_calls_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    monkeypatch.setattr(timing, "WARMED", 0.0)
    order: list[str] = []
    timings = timing.time_interleaved({name: partial(order.append, name) for name in "ab"}, 4)
    assert "".join(order[-8:]) == "abababab"
    assert [len(timings[name].seconds) for name in "ab"] == [4, 4]


def test_short_calls_are_repeated_and_median_is_of_one_call() -> None:
    count = [0]

    def call() -> None:
        count[0] += 1
        sleep(0.001)

    measured = timing.time_interleaved({"a": call}, 3)["a"]
    assert count[0] > 3 * 0.1 * timing.WARMED / 0.001  # each round begins with uncounted ones
    assert 0.001 <= measured.median < 0.02


def test_slow_call_is_left_out_of_further_rounds() -> None:
    timings = timing.time_interleaved({"slow": lambda: sleep(0.02), "fast": lambda: None}, 5, budget=0.05)
    assert [len(timings[name].seconds) for name in ("slow", "fast")] == [3, 5]


def test_checks_say_reached_or_by_how_much_they_missed() -> None:
    assert [check.verdict for check in RECORD.checks] == ["reached", "missed by 25%"]
    assert not Check("nan", float("nan"), 1.0, "s").passed


def test_record_survives_its_file(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path / "new" / "record.json")
    assert read_record(tmp_path / "new" / "record.json") == RECORD


def test_printed_record_has_tables_checks_and_notes() -> None:
    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
    print_record(replace(RECORD, quick=True), console)
    text = console.export_text()
    console.file.close()
    for part in ("reduced size", "Times", "missed by 25%", "a note"):
        assert part in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.6, "1235"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.0123"), (0.0, "0")],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


def test_page_is_filled_between_its_markers_and_again() -> None:
    page = "# Title\n<!-- benchmark: example -->\nold 42\n<!-- end -->\nkept\n"
    filled = pages.fill_page(page, {"example": RECORD})
    assert "old 42" not in filled
    assert "| a | 1.25 |" in filled
    assert "missed by 25%" in filled
    assert "`python -m benchmarks example`" in filled
    assert filled.endswith("<!-- end -->\nkept\n")
    assert pages.fill_page(filled, {"example": RECORD}) == filled
    assert "No run is stored yet." in pages.fill_page(filled, {})


def test_quick_runs_do_not_enter_the_pages(tmp_path: Path) -> None:
    write_record(replace(RECORD, quick=True), tmp_path / "quick.json")
    with pytest.raises(ValueError, match=r"quick\.json is a run with --quick"):
        pages.read_results(tmp_path)


def test_pages_have_a_block_for_every_benchmark_and_no_other() -> None:
    from benchmarks.__main__ import COMMANDS

    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages.PAGES)
    blocks = {match["name"] for match in pages._BLOCK.finditer(text)}
    runs = {re.sub(r" --(\w+) \d+", r" \1", command).replace(" ", "-") for command in COMMANDS}
    assert blocks == runs | {pages.SUMMARY}
    assert set(pages._SUMMARIZED) == {name for name in runs if name.startswith("accuracy-")}


def test_summary_has_a_row_for_each_accuracy_run_that_is_stored(tmp_path: Path) -> None:
    errors = {"energy_rmse_mev_per_atom": 3.456, "force_rmse_ev_per_angstrom": 0.0987}
    numbers = {"n_structures": 214, "fit_seconds": 90.0} | {f"test/{k}": v for k, v in errors.items()}
    write_record(replace(RECORD, name="accuracy-si", numbers=numbers), tmp_path / "results" / "si.json")
    (tmp_path / "docs").mkdir()
    for name in pages.PAGES:
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    changed = pages.update_pages(tmp_path / "results", tmp_path)
    assert tmp_path / "README.md" in changed
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    block = text[text.index("<!-- benchmark: accuracy -->") : text.index("<!-- end -->")]
    assert "| silicon | 214 | 3.46 | 98.7 | 1.50 |" in block
    assert "molybdenum" not in block
    assert "No run is stored yet." in pages.accuracy_summary({})


def test_busy_machine_is_mentioned() -> None:
    assert machine.busy_note({"load_before": 0.1, "cores": 2}) == ()
    (note,) = machine.busy_note({"load_before": 3.25, "cores": 2})
    assert "load average 3.25 on 2 cores" in note


def test_machine_names_the_kernels_of_its_matrix_products() -> None:
    described = machine.describe_machine()
    assert "with kernels for" in described["blas"]
    assert described["cores"] >= 1


def test_missing_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "DATA", tmp_path)
    with pytest.raises(data.MissingData, match=r"mlearn/Si_training\.xyz\.gz"):
        data.data_files("mlearn/Si_training.xyz.gz")


def test_command_without_its_data_says_so(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    code = (
        "import sys, benchmarks.data as d, pathlib; d.DATA = pathlib.Path('nowhere'); "
        "sys.argv = ['benchmarks', 'accuracy', 'si', '--quick']; from benchmarks.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("skipped: needs real data that is not there: nowhere")
