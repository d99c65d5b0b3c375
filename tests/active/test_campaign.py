"""Campaigns end as they should, whatever the explorer; ledger, models and status agree."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

import castile
from active.campaigns import DYNAMICS, write_campaign
from active.counting_oracles import executions
from castile.active.campaign import CampaignEvents, run_campaign, run_settings
from castile.active.campaign_files import CampaignFiles
from castile.active.campaign_settings import read_campaign
from castile.active.ledger import State
from castile.active.status import campaign_status
from castile.active.store import CalculationStore
from castile.cli.main import app
from castile.errors import InputError
from castile.report.campaign_report import write_campaign_report


def test_dynamics_learns_on_the_fly_until_the_target_is_met(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 0.002\nmin_fresh = 5\nn_verified = 5")
    seen = []
    outcome = run_campaign(path, CampaignEvents(observe=lambda name, o, total: seen.append(o)))
    assert outcome.target_met, outcome.reason
    assert outcome.reason.startswith("target met: force error")
    status = campaign_status(outcome.directory)
    assert status.state.verified_error <= 0.002
    assert (
        status.counts[State.ACCEPTED] == executions(tmp_path / "executions.log") == len(status.calculations)
    )
    assert len(status.versions[-1].ids) == len(status.calculations)
    calls = [o for o in seen if o.called]
    assert calls
    assert all(o.deviation > 0.008 for o in calls)  # threshold: 4 times the target
    md = [c for c in status.calculations if c.origin == "md"]
    assert {c.key.split("/", 1)[1] for c in md} == {
        f"md/cycle {o.cycle}/walker 0/step {o.step}" for o in calls
    }
    assert status.n_calls == len(calls)
    assert status.saved == 1 - len(calls) / (status.n_steps)
    model = castile.load(outcome.directory / "model.castile")
    hot = bulk("Cu", a=3.62, cubic=True)
    hot.rattle(0.08, seed=5)
    hot.calc = EMT()
    error = model.predict(hot).forces - hot.get_forces()
    assert np.sqrt(np.mean(error**2)) < 0.1
    done = executions(tmp_path / "executions.log")
    assert run_campaign(path).reason == outcome.reason  # it is at its end
    assert executions(tmp_path / "executions.log") == done


def test_the_budget_ends_a_campaign_and_more_budget_goes_on(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 1e-5\nmax_calculations = 12")
    outcome = run_campaign(path)
    assert (outcome.finished, outcome.target_met) == (True, False)
    assert outcome.reason == "budget spent: 12 calculations (stop.max_calculations)"
    assert executions(tmp_path / "executions.log") == 12
    path.write_text(path.read_text().replace("max_calculations = 12", "max_calculations = 15"))
    assert run_campaign(path).reason == "budget spent: 15 calculations (stop.max_calculations)"
    assert executions(tmp_path / "executions.log") == 15


def test_cycles_end_a_campaign_that_misses_its_target(tmp_path: Path) -> None:
    stop = "force_error = 1e-5\nmax_cycles = 2\nmax_calculations = 1000"
    path = write_campaign(tmp_path, stop=stop, head="threshold = 50.0")
    outcome = run_campaign(path)
    assert outcome.reason.startswith("all 2 cycles are done; force error")
    assert outcome.reason.endswith("eV/A predicted, wanted 1e-05 eV/A")
    status = campaign_status(outcome.directory)
    assert status.n_calls == 0
    assert {(o.cycle, o.walker) for way in status.ways for o in way.observations} == {(0, 0), (1, 0)}


def test_a_pool_is_labelled_where_the_model_knows_least(tmp_path: Path) -> None:
    pool = [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.55, 3.75, 12)]
    for seed, atoms in enumerate(pool):
        atoms.rattle(0.02 + 0.008 * seed, seed=seed)
    pool += [pool[-1].copy() for _ in range(6)]  # near-duplicates
    write(tmp_path / "pool.xyz", pool)
    explorers = '[[explore]]\nkind = "pool"\nstructures = ["pool.xyz"]'
    path = write_campaign(tmp_path, explorers, head="threshold = 0.3", extra="[batch]\nsize = 3")
    path.write_text(path.read_text() + '\n[initial]\nstructures = ["copper.xyz"]\n')
    status = campaign_status(run_campaign(path).directory)
    labelled = [c.key.split("/", 1)[1] for c in status.calculations if c.origin == "pool"]
    assert labelled
    numbers = [int(key.split()[1]) for key in labelled]
    assert len({min(number, 11) for number in numbers}) == len(numbers)  # of the duplicates one
    fits = [version for version in status.versions if version.number > 1]
    assert all(len(version.surprises) <= 3 for version in fits)


@pytest.mark.parametrize(
    ("explorers", "origin"),
    [
        ('[[explore]]\nkind = "relax"\nstructures = ["copper.xyz", "vacancy.xyz"]\nmax_steps = 15', "relax"),
        ('[[explore]]\nkind = "random"\nformula = "Cu4"\nn_structures = 2\nmax_steps = 8', "random"),
    ],
)
def test_relaxations_stop_and_go_on(explorers: str, origin: str, tmp_path: Path) -> None:
    path = write_campaign(
        tmp_path, explorers, head="threshold = 0.1", stop="force_error = 0.05\nmax_cycles = 1"
    )
    vacancy = bulk("Cu", a=3.7, cubic=True)
    del vacancy[0]
    vacancy.rattle(0.15, seed=1)
    write(tmp_path / "vacancy.xyz", vacancy)
    path.write_text(path.read_text() + '\n[initial]\nstructures = ["copper.xyz"]\nn_rattled = 3\n')
    status = campaign_status(run_campaign(path).directory)
    assert any(c.origin == origin for c in status.calculations)
    (way,) = status.ways
    called = [o for o in way.observations if o.called]
    assert len(called) == sum(c.origin == origin for c in status.calculations)
    again = [o for o in way.observations if (o.walker, o.step) == (called[0].walker, called[0].step)]
    assert len(again) == 2  # the relaxation went on where it had stopped, with the next model
    assert again[1].model == again[0].model + 1


@pytest.mark.parametrize(
    "changes",
    [
        'ensemble = "nve"',
        'ensemble = "npt"\npressure_gpa = 1.0',
        "final_temperature_k = 900\nn_walkers = 2",
    ],
)
def test_every_ensemble_explores(changes: str, tmp_path: Path) -> None:
    explorers = DYNAMICS.replace("n_steps = 150", "n_steps = 60") + changes
    path = write_campaign(tmp_path, explorers, head="threshold = 1.0")
    status = campaign_status(run_campaign(path).directory)
    seen = status.ways[0].observations
    assert {o.walker for o in seen} == ({0, 1} if "walkers" in changes else {0})
    assert max(o.step for o in seen) == 60
    late = np.mean([o.temperature_k for o in seen if o.step > 30])
    assert 100 < late < 2000


def test_lost_walkers_begin_again_and_end(tmp_path: Path) -> None:
    explorers = DYNAMICS.replace("n_steps = 150", "n_steps = 60").replace("= 2.0", "= 80.0")
    path = write_campaign(
        tmp_path, explorers, head="threshold = 1e3", stop="force_error = 0.01\nmax_cycles = 1"
    )
    outcome = run_campaign(path)
    assert outcome.finished
    status = campaign_status(outcome.directory)
    keys = ("step 0", "step 5", "step 10", "step 15")
    store = CalculationStore(tmp_path / "campaign" / "store.db")
    place = f"{status.state.identity}/md/cycle 0/walker 0"
    assert any(store.find(f"{place}/{sane}") for sane in keys)  # the last sane structure was asked for


def test_failures_are_entered_and_never_trained_on(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, oracle="FlakyEMT", extra="retries = 0")
    outcome = run_campaign(path)
    assert outcome.finished
    status = campaign_status(outcome.directory)
    n = executions(tmp_path / "executions.log")
    spoiled = {k for k in range(1, n + 1) if k % 3 == 0 or k % 10 == 0}
    assert n == len(status.calculations)
    assert {c.id for c in status.calculations if c.state is State.FAILED} == spoiled
    assert {c.id for c in status.calculations if c.state is State.ACCEPTED} == set(range(1, n + 1)) - spoiled
    assert not spoiled & set(status.versions[-1].ids)
    by_id = {c.id: c for c in status.calculations}
    assert "as every third time" in by_id[3].reason
    assert "the third execution ends badly" in by_id[3].reason
    assert "the force on atom 0 is [nan nan nan]" in by_id[10].reason


def test_given_labels_are_taken_without_the_oracle(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 0.05\nmax_calculations = 5")
    given = []
    for seed in range(6):
        atoms = bulk("Cu", a=3.62, cubic=True)
        atoms.rattle(0.06, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        given.append(atoms)
    write(tmp_path / "given.xyz", given)
    path.write_text(path.read_text() + '\n[initial]\ntraining = ["given.xyz"]\nn_rattled = 0\n')
    status = campaign_status(run_campaign(path).directory)
    assert sum(c.origin == "given" and c.state is State.ACCEPTED for c in status.calculations) == 6
    assert executions(tmp_path / "executions.log") == len(status.calculations) - 6
    assert set(range(1, 7)) < set(status.versions[-1].ids)


def test_an_oracle_that_never_works_is_an_error_with_its_reason(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, oracle="NoSuchEMT")
    with pytest.raises(InputError, match=r"fewer than 2 .* no attribute 'NoSuchEMT'"):
        run_campaign(path)


def test_an_oracle_that_works_no_more_does_not_spend_the_budget(tmp_path: Path) -> None:
    stop = "force_error = 1e-5\nmax_calculations = 40\nmax_failures = 4"
    path = write_campaign(tmp_path, oracle="ExhaustedEMT", stop=stop, extra="retries = 0")
    outcome = run_campaign(path)
    assert (outcome.finished, outcome.target_met) == (True, False)
    assert outcome.reason.startswith("no label from 4 calculations in a row (stop.max_failures); the last")
    assert "the licence has expired" in outcome.reason
    assert executions(tmp_path / "executions.log") == 13
    (tmp_path / "more").touch()
    assert run_campaign(path).reason == "budget spent: 40 calculations (stop.max_calculations)"
    status = campaign_status(outcome.directory)
    assert status.counts[State.FAILED] == 4
    assert status.counts[State.ACCEPTED] == 36


def test_an_oracle_that_never_works_is_told_before_all_first_structures_are_tried(tmp_path: Path) -> None:
    extra = "retries = 0\n[initial]\nn_rattled = 30"
    stop = "force_error = 0.01\nmax_failures = 3"
    path = write_campaign(tmp_path, oracle="UnconvergedEMT", extra=extra, stop=stop)
    with pytest.raises(InputError, match="the first is unconverged"):
        run_campaign(path)
    assert executions(tmp_path / "executions.log") == 3


def test_a_directory_belongs_to_one_process_and_one_campaign(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 5.0\nmin_fresh = 1\nn_verified = 0")
    settings = read_campaign(path)
    with CampaignFiles(settings.directory).work(), pytest.raises(InputError, match="another process works"):
        run_settings(settings)
    assert run_settings(settings).target_met
    path.write_text(path.read_text().replace("temperature_k = 600", "temperature_k = 700"))
    with pytest.raises(InputError, match="begun with other settings of 'explore'"):
        run_campaign(path)


def test_commands_show_how_it_stands(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 0.05\nmax_calculations = 8")
    run = CliRunner().invoke(app, ["learn", str(path), "--json", str(tmp_path / "learn.json")])
    assert run.exit_code == 0, run.output
    arguments = ["status", str(tmp_path / "campaign"), "--json", str(tmp_path / "status.json")]
    shown = CliRunner().invoke(app, [*arguments, "--report", str(tmp_path / "again.html")])
    assert shown.exit_code == 0, shown.output
    assert "Ledger" in shown.output
    assert "Learning curve" in shown.output
    numbers = json.loads((tmp_path / "status.json").read_text())
    assert numbers == json.loads((tmp_path / "learn.json").read_text())
    assert numbers["n_accepted"] == executions(tmp_path / "executions.log")
    assert numbers["finished"] is True
    report = (tmp_path / "campaign" / "report.html").read_text()
    assert report == (tmp_path / "again.html").read_text()
    assert "force deviation, threshold" in report
    assert CliRunner().invoke(app, ["status", str(tmp_path)]).exit_code == 1
    bad = CliRunner().invoke(app, ["learn", str(path), "--json", str(path)])
    assert bad.exit_code == 1
    assert "is also read" in bad.output


def test_report_of_a_campaign_that_has_only_begun(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    files = CampaignFiles(read_campaign(path).directory)
    files.begin(read_campaign(path).model_dump_json())
    status = campaign_status(files.directory)
    assert status.outlook.startswith("not running")
    assert "Nothing was explored yet" in write_campaign_report(tmp_path / "r.html", status).read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "force_error = 0.01",
            "force_errror = 0.01",
            "stop.force_error: is missing.*force_errror: unknown key",
        ),
        ("n_steps = 150", "n_steps = 0", "n_steps = 0"),
        ('kind = "md"', 'kind = "walk"', "explore.0"),
        ("n_max = 4", "n_max = 0", r"\[model\]: soap.0.n_max = 0"),
        ("copper.xyz", "silver.xyz", "silver.xyz: no such file"),
    ],
)
def test_bad_campaigns_are_one_clear_message(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        run_campaign(path)
