"""Odd but reasonable campaigns: new elements, ions, small pools and budgets, moved folders."""

import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write

from active.campaigns import DYNAMICS, MODEL, write_campaign
from active.counting_oracles import executions
from castile.active.campaign import run_campaign
from castile.active.campaign_files import CampaignFiles
from castile.active.campaign_settings import read_campaign
from castile.active.initial import initial_candidates
from castile.active.ledger import State
from castile.active.oracle_settings import OracleSettings
from castile.active.presets import build_calculator
from castile.active.status import CampaignStatus, campaign_status
from castile.active.store import CalculationStore
from castile.errors import InputError
from castile.report.campaign_report import write_campaign_report

POOL = '[[explore]]\nkind = "pool"\nstructures = ["pool.xyz"]\n'


def rattled(symbol: str, number: int, amplitude: float = 0.06) -> list[Atoms]:
    structures = [bulk(symbol, cubic=True) for _ in range(number)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(amplitude, seed=seed)
    return structures


def run(path: Path) -> CampaignStatus:
    return campaign_status(run_campaign(path).directory)


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_elements_that_the_first_labels_lack_are_learned(tmp_path: Path) -> None:
    write(tmp_path / "pool.xyz", rattled("Cu", 6) + rattled("Ag", 6))
    stop = "force_error = 0.05\nmax_calculations = 20\nmin_fresh = 2\nn_verified = 2\nmax_cycles = 1"
    path = write_campaign(tmp_path, POOL, stop=stop, extra="[batch]\nsize = 3")
    add(path, '\n[initial]\nstructures = ["copper.xyz"]\n')
    status = run(path)
    assert status.state.stopped, status.outlook
    labelled = {int(c.key.split()[-1]) for c in status.calculations if c.origin == "pool"}
    assert labelled & set(range(6, 12))
    assert [version.kind for version in status.versions][:2] == ["fit", "fit"]
    assert status.versions[1].surprises == ()  # no prediction to compare the silver with
    write_campaign_report(tmp_path / "report.html", status)


@pytest.mark.parametrize(
    "explorer",
    ['kind = "md"\nn_steps = 20', 'kind = "relax"\nmax_steps = 5'],
)
def test_a_start_whose_element_cannot_be_computed_is_left_out(explorer: str, tmp_path: Path) -> None:
    write(tmp_path / "both.xyz", [bulk("Cu", cubic=True), bulk("Si", cubic=True)])
    explorers = f'[[explore]]\nstructures = ["both.xyz"]\n{explorer}\n'
    path = write_campaign(tmp_path, explorers, stop="force_error = 0.5\nmax_cycles = 1", extra="retries = 0")
    status = run(path)
    assert {seen.walker for way in status.ways for seen in way.observations} == {0}  # silicon has no EMT
    assert any(c.state is State.FAILED for c in status.calculations)


def test_ions_and_radicals_stay_what_they_are(tmp_path: Path) -> None:
    hydroxide = molecule("OH")
    hydroxide.set_initial_magnetic_moments([0.0, 0.0])
    hydroxide.set_initial_charges([-1.0, 0.0])
    oxygen = molecule("O2")
    write(tmp_path / "starts.xyz", [hydroxide])
    (tmp_path / "campaign.toml").write_text(
        f'[oracle]\ncalculator = "charge_oracle.Charges"\n[[explore]]\nkind = "md"\n'
        f'structures = ["starts.xyz"]\nn_steps = 30\n[stop]\nforce_error = 10.0\nmin_fresh = 3\n'
        f"n_verified = 3\n{MODEL}"
    )
    (tmp_path / "charge_oracle.py").write_text(
        "from ase.calculators.morse import MorsePotential\n\n\nclass Charges(MorsePotential):\n"
        '    """Energy tells the charge."""\n\n    def calculate(self, *arguments):\n'
        "        super().calculate(*arguments)\n"
        '        energy = self.results["energy"] + 1000.0 * self.atoms.get_initial_charges().sum()\n'
        '        self.results["energy"] = self.results["free_energy"] = energy\n'
    )
    assert oxygen.get_initial_magnetic_moments().sum() == 2.0
    status = run(tmp_path / "campaign.toml")
    assert {c.origin for c in status.calculations} >= {"initial", "verification"}
    for atoms in CalculationStore(tmp_path / "campaign" / "store.db").accepted():
        assert atoms.get_initial_charges().tolist() == [-1.0, 0.0]
        assert atoms.get_potential_energy() < -900.0


def test_the_first_labels_keep_to_the_budget(tmp_path: Path) -> None:
    write(tmp_path / "pool.xyz", rattled("Cu", 12))
    path = write_campaign(tmp_path, POOL, stop="force_error = 0.001\nmax_calculations = 7")
    status = run(path)
    assert status.state.stopped == "budget spent: 7 calculations (stop.max_calculations)"
    assert executions(tmp_path / "executions.log") == 7
    keys = {c.key.split("/", 1)[1] for c in status.calculations}
    assert keys == {f"initial/{k}" for k in range(7)}  # structures of the pool before rattled copies
    one = write_campaign(tmp_path / "one", stop="force_error = 0.001\nmax_calculations = 1")
    with pytest.raises(InputError, match=r"needs 2 labels .*stop.max_calculations = 1 allow only 1"):
        run_campaign(one)


@pytest.mark.parametrize(
    ("initial", "expected"), [("", 10), ("n_rattled = 1", 12), ("n_rattled = 4", 20), ("n_rattled = 0", 6)]
)
def test_copies_of_the_first_structures_leave_half_of_the_budget(
    initial: str, expected: int, tmp_path: Path
) -> None:
    """Six structures with four copies each would leave nothing to explore with."""
    write(tmp_path / "pool.xyz", rattled("Cu", 6))
    path = write_campaign(tmp_path, POOL, stop="force_error = 0.001\nmax_calculations = 20")
    add(path, f"\n[initial]\n{initial}\n")
    keys = [candidate.key for candidate in initial_candidates(read_campaign(path))]
    assert len(keys) == expected
    assert keys[:7] == [*(f"initial/{k}" for k in range(6)), "initial/0 rattled 0"][:expected]


def test_a_pool_is_a_stream_for_the_first_structures_too(tmp_path: Path) -> None:
    write(tmp_path / "pool.xyz", [bulk("Cu", cubic=True) * (2, 2, 2) for _ in range(300)])
    path = write_campaign(tmp_path, POOL.replace("pool.xyz", "pool.xyz@:60"))
    peaks = []
    for part in ("pool.xyz@:60", "pool.xyz"):
        path.write_text(path.read_text().replace("pool.xyz@:60", part))
        settings = read_campaign(path)
        initial_candidates(settings)
        tracemalloc.start()
        assert len(initial_candidates(settings)) == 30
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_what_was_labelled_is_not_fresh(tmp_path: Path) -> None:
    pool = rattled("Cu", 11)
    write(tmp_path / "pool.xyz", [*pool, *pool[:5]])
    stop = "force_error = 1.0\nmin_fresh = 5\nmax_cycles = 1"
    path = write_campaign(tmp_path, POOL, stop=stop)
    add(path, "\n[initial]\nn_rattled = 0\n")
    status = run(path)
    known = read(tmp_path / "pool.xyz", ":")
    first = [a.positions for a in CalculationStore(tmp_path / "campaign" / "store.db").accepted()]
    seen = {o.step for way in status.ways for o in way.observations}
    fresh = {k for k, a in enumerate(known) if not any(np.array_equal(a.positions, p) for p in first)}
    assert seen == fresh
    assert status.n_steps == len(fresh) < 5
    assert "on only" in status.state.stopped
    assert "structures without labels (stop.min_fresh = 5), wanted 1 eV/A" in status.state.stopped


def test_a_campaign_at_its_end_is_only_reported(tmp_path: Path) -> None:
    stop = "force_error = 0.004\nmax_cycles = 1\nmin_fresh = 3\nn_verified = 3\nmax_calculations = 100"
    path = write_campaign(tmp_path, stop=stop, head="threshold = 5.0")
    first = run(path)
    assert first.state.stopped.startswith("all 1 cycles are done")
    again = run(path)
    assert replace(again.state, seconds=0) == replace(first.state, seconds=0)
    assert len(again.versions) == len(first.versions)
    path.write_text(path.read_text().replace("max_cycles = 1", "max_cycles = 2"))
    assert run(path).state.cycle == 1


def test_a_verification_without_labels_meets_nothing(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "from pathlib import Path\n\nfrom ase.calculators.emt import EMT\n\n\nclass Licence(EMT):\n"
        '    """Runs five times."""\n\n    def calculate(self, *arguments):\n'
        f'        log = Path("{tmp_path}", "runs")\n'
        '        log.write_text((log.read_text() if log.exists() else "") + "x")\n'
        "        if len(log.read_text()) > 5:\n"
        '            raise RuntimeError("no licence")\n        super().calculate(*arguments)\n'
    )
    stop = "force_error = 5.0\nmin_fresh = 3\nn_verified = 3\nmax_cycles = 1"
    path = write_campaign(tmp_path, stop=stop, extra="retries = 0")
    text = path.read_text().replace("counting_oracles.CountingEMT", "failing.Licence")
    path.write_text(text[: text.index("options")] + text[text.index("python_path") :])
    status = run(path)
    assert not status.state.target_met
    assert "no label to verify it could be had" in status.state.stopped
    assert status.counts[State.FAILED] == 3


def test_what_another_campaign_of_the_store_computes_is_no_failure(tmp_path: Path) -> None:
    write(tmp_path / "pool.xyz", rattled("Cu", 2))
    path = write_campaign(
        tmp_path, POOL, head='store = "shared.db"', stop="force_error = 2.0\nmin_fresh = 1\nmax_cycles = 1"
    )
    add(path, "\n[initial]\nn_rattled = 0\n")
    settings = read_campaign(path)
    store = CalculationStore(settings.store)
    structures = [atoms.copy() for atoms in read(tmp_path / "pool.xyz", ":")]
    asked = [store.request(a, f"other {k}", task=settings.oracle.task) for k, a in enumerate(structures)]
    for calculation in asked:
        store.claim("the other", [calculation.id])
    with pytest.raises(InputError, match=r"another program computes .*shared.db.*start again"):
        run_campaign(path)
    for calculation, atoms in zip(asked, structures, strict=True):
        atoms.calc = EMT()
        atoms.get_forces()
        store.record(calculation.id, atoms)
        store.accept(calculation.id)
    assert run(path).counts[State.ACCEPTED] == 2
    assert executions(tmp_path / "executions.log") == 0


def test_hours_end_a_long_trajectory(tmp_path: Path) -> None:
    explorers = DYNAMICS.replace("n_steps = 150", "n_steps = 1000000")
    path = write_campaign(
        tmp_path, explorers, stop="force_error = 2.0\nmax_hours = 0.001", head="threshold = 1e3"
    )
    status = run(path)
    assert status.state.stopped == "budget spent: 0.001 hours (stop.max_hours)"
    assert status.state.seconds < 60


def test_training_files_of_one_name_are_all_taken(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 0.05\nmax_calculations = 1")
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        given = rattled("Cu", 6)[3 * number : 3 * number + 3]
        for atoms in given:
            atoms.calc = EMT()
            atoms.get_forces()
        write(tmp_path / folder / "given.xyz", given)
    add(path, '\n[initial]\ntraining = ["a/given.xyz", "b/given.xyz"]\nn_rattled = 0\n')
    assert sum(c.origin == "given" for c in run(path).calculations) == 6


def test_training_data_of_an_interrupted_start_are_not_computed(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, stop="force_error = 0.05\nmax_calculations = 1")
    given = rattled("Cu", 4)
    for atoms in given:
        atoms.calc = EMT()
        atoms.get_forces()
    write(tmp_path / "given.xyz", given)
    add(path, '\n[initial]\ntraining = ["given.xyz"]\nn_rattled = 0\n')
    settings = read_campaign(path)
    identity = CampaignFiles(settings.directory).begin(settings.model_dump_json()).identity
    store = CalculationStore(settings.store)
    states = (State.QUEUED, State.RUNNING, State.CONVERGED)
    for number, state in enumerate(states):  # as kills at three moments leave it
        key = f"{identity}/given/0 given.xyz {number}"
        asked = store.request(given[number], key, origin="given", task=settings.oracle.task)
        if state is not State.QUEUED:
            store.claim(identity, [asked.id])
        if state is State.CONVERGED:
            store.record(asked.id, given[number])
    status = run(path)
    assert sum(c.origin == "given" and c.state is State.ACCEPTED for c in status.calculations) == 4
    assert executions(tmp_path / "executions.log") == 1  # the start of the trajectory alone


def test_a_campaign_may_move(tmp_path: Path) -> None:
    path = write_campaign(tmp_path / "here", stop="force_error = 0.001\nmax_calculations = 8")
    before = run(path)
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = campaign_status(tmp_path / "there" / "campaign")
    assert moved.calculations == before.calculations
    toml = tmp_path / "there" / "campaign.toml"
    options = json.loads((tmp_path / "there" / "campaign" / "settings.json").read_text())["oracle"]["options"]
    toml.write_text(toml.read_text().replace("max_calculations = 8", "max_calculations = 10"))
    assert options["log"].startswith(str(tmp_path / "here"))
    (tmp_path / "here").mkdir()  # where the oracle of this test writes
    assert run(toml).counts[State.ACCEPTED] == 10


def test_commands_beside_the_campaign_are_found(tmp_path: Path) -> None:
    (tmp_path / "my label.py").write_text("")
    path = write_campaign(tmp_path)
    text = path.read_text()
    start, end = text.index("calculator ="), text.index("python_path")
    for command, words in (
        ("python './my label.py' ./input.xyz", f"python '{tmp_path}/my label.py' ./input.xyz"),
        ("python a.py < ./input.xyz", "python a.py < ./input.xyz"),
    ):
        path.write_text(f'{text[:start]}command = "{command}"\n{text[end:]}')
        assert read_campaign(path).oracle.command == words


def test_files_beside_the_campaign_that_a_command_would_not_find_are_named(tmp_path: Path) -> None:
    for name in ("label.py", "output.xyz", "python"):
        (tmp_path / name).write_text("")
    path = write_campaign(tmp_path)
    text = path.read_text()
    start, end = text.index("calculator ="), text.index("python_path")
    for command in ("python label.py input.xyz output.xyz", "other-code label.py"):
        path.write_text(f'{text[:start]}command = "{command}"\n{text[end:]}')
        with pytest.raises(InputError, match=r"label.py is a file beside the campaign.*write ./label.py"):
            read_campaign(path)
    path.write_text(f'{text[:start]}command = "python ./label.py input.xyz output.xyz"\n{text[end:]}')
    assert read_campaign(path).oracle.command == f"python {tmp_path}/label.py input.xyz output.xyz"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[explore]]", "[explore]", r"explore: give a list.*\[\[explore\]\]"),
        (MODEL, "", r"model = 3: give a table \[model\]"),
    ],
)
def test_tables_written_wrongly_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = write_campaign(tmp_path, head="model = 3" if new == "" else "")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        run_campaign(path)


def test_settings_may_change_until_something_was_asked_for(tmp_path: Path) -> None:
    """A first start that ends at a mistake does not bind the directory to the mistake."""
    search = '[[explore]]\nkind = "random"\nformula = "Xx2"\nn_structures = 1\nmax_steps = 3\n'
    path = write_campaign(tmp_path, search, stop="force_error = 1.0\nmax_calculations = 6\nmax_cycles = 1")
    with pytest.raises(InputError, match="formula 'Xx2'"):
        run_campaign(path)
    path.write_text(path.read_text().replace("Xx2", "Cu2"))
    add(path, '\n[initial]\ntraining = ["copper.xyz"]\n')
    with pytest.raises(InputError, match=r"initial\.training needs energies"):
        run_campaign(path)
    path.write_text("store = 'postgresql://nobody@127.0.0.1:1/none'\n" + path.read_text())
    with pytest.raises(InputError, match=r"postgresql|postgres\]"):
        run_campaign(path)
    path.write_text(path.read_text().split("\n", 1)[1].replace('training = ["copper.xyz"]', ""))
    assert run(path).counts[State.ACCEPTED] > 0
    path.write_text(path.read_text().replace("Cu2", "Cu4"))
    with pytest.raises(InputError, match="begun with other settings of 'explore'"):
        run_campaign(path)


def test_a_wrong_key_of_an_explorer_is_one_message(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, DYNAMICS.replace("n_steps", "n_stepz"))
    with pytest.raises(InputError, match=r"explore.0.md.n_stepz: unknown key; [^;]*$"):
        read_campaign(path)
    path = write_campaign(tmp_path, "explore = []")
    path.write_text("explore = []\n" + path.read_text().replace("explore = []", ""))
    with pytest.raises(InputError, match=r"explore = \[\]: .* at least 1 item"):
        read_campaign(path)


def test_misspelt_options_of_presets_are_not_left_out() -> None:
    with pytest.raises(InputError, match="oracle emt: there is no option 'asap_cutof'"):
        build_calculator(OracleSettings(preset="emt", options={"asap_cutof": True}), Atoms("Cu"))
    pytest.importorskip("tblite", reason="tblite is missing: pip install tblite")
    with pytest.raises(InputError, match=r"oracle tblite: there is no option 'methode' .*method"):
        build_calculator(OracleSettings(preset="tblite", options={"methode": "GFN1-xTB"}), Atoms("H"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('ensemble = "nve"\nfinal_temperature_k = 900', "final_temperature_k = 900 has no effect with nve"),
        ("pressure_gpa = 5.0", "pressure_gpa = 5 has no effect with langevin; leave it out, or use npt"),
    ],
)
def test_settings_without_effect_are_refused(settings: str, message: str, tmp_path: Path) -> None:
    path = write_campaign(tmp_path, DYNAMICS + settings)
    with pytest.raises(InputError, match=message):
        run_campaign(path)


def test_places_that_are_no_campaign(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    with pytest.raises(InputError, match=r"there is no campaign.*give its directory"):
        campaign_status(path)
    path.rename(tmp_path / "campaign")
    with pytest.raises(InputError, match="is a file, and the campaign needs a directory"):
        run_campaign(tmp_path / "campaign")
    cell = '[[explore]]\nkind = "relax"\ncell = true\nstructures = ["water.xyz"]\n'
    write(tmp_path / "water.xyz", molecule("H2O"))
    with pytest.raises(InputError, match="explorer 'relax', structure 0: cell = true: needs a crystal"):
        run_campaign(write_campaign(tmp_path / "b", cell.replace("water", "../water")))
