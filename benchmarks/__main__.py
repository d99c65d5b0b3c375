"""`python -m benchmarks NAME`: run one benchmark, print its tables, save them as JSON."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import accuracy as accuracy_runs
from benchmarks import calibration as calibration_runs
from benchmarks import fit_cost, pages
from benchmarks.audits import audits as run_audits
from benchmarks.barriers import barriers as run_barriers
from benchmarks.barriers_screening import barriers_screening as run_barriers_screening
from benchmarks.calibration_folds import calibration_folds
from benchmarks.calibration_sets import calibration_sets
from benchmarks.comparison import comparison as run_comparison
from benchmarks.data import MissingData
from benchmarks.isolation import ChildFailed
from benchmarks.learning import PARTS as LEARNING_PARTS
from benchmarks.learning import learning as run_learning
from benchmarks.machine import busy_note, describe_machine
from benchmarks.map_scale import map_scale as run_map_scale
from benchmarks.neb import run_neb
from benchmarks.nve import nve as run_nve
from benchmarks.peers import PeerMissing
from benchmarks.precision import precision as run_precision
from benchmarks.records import Record, print_record, write_record
from benchmarks.scaling import scaling as run_scaling
from benchmarks.screening import screening as run_screening
from benchmarks.screening_recall import screening_recall
from benchmarks.selection import selection as run_selection
from benchmarks.selection_record import draw as draw_selection
from benchmarks.smoke import Disagreement
from benchmarks.smoke import smoke as run_smoke
from benchmarks.speed import speed as run_speed
from benchmarks.split_scale import split_scale as run_split_scale
from benchmarks.startup import startup as run_startup
from benchmarks.stream import stream as run_stream
from castile.execution.threads import thread_count

app = typer.Typer(
    help="Benchmarks of Castile.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
accuracy_app = typer.Typer(help="Errors on published test sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(accuracy_app, name="accuracy")

Json = Annotated[Path | None, typer.Option("--json", help="Save the run here.", dir_okay=False)]
Quick = Annotated[bool, typer.Option("--quick", help="Reduced size, to see that it runs.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Default: all cores.", min=1)]
Model = Annotated[Path | None, typer.Option("--model", help="A .castile file instead of a fit.", exists=True)]
Save = Annotated[Path | None, typer.Option("--save-model", help="Keep the fitted model.", dir_okay=False)]

MACHINE = describe_machine()
Run = Callable[[bool, int, str | None], Record]

COMMANDS = (
    "speed", "precision", "startup", "scaling", "stream", "fit-ratio", "fit-memory",
    "accuracy si-published", "accuracy si", "accuracy mo", "accuracy rmd17 ethanol",
    "accuracy rmd17 aspirin", "accuracy alloys", "nve", "calibration si", "calibration mo",
    "calibration si --folds 5", "calibration mo --folds 5", "calibration sets",
    "uncertainty-cost", "selection", "split-scale", "map-scale", "audits", "barriers",
    "barriers-screening", "neb", "comparison", "screening", "screening-recall",
    *(f"learning {part}" for part in LEARNING_PARTS),
)  # fmt: skip


def _finish(record: Record, json: Path | None) -> None:
    print_record(record)
    if json is not None:
        write_record(record, json)


def _command() -> str:
    """The command as the pages show it: without the place of its output."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if not skip and word not in ("--json", "--save-model", "--model", "--figure"):
            words.append(word)
        skip = not skip and word in ("--json", "--save-model", "--model", "--figure")
    return f"python -m benchmarks {' '.join(words)}"


@accuracy_app.command("si-published")
def accuracy_si_published(
    json: Json = None, quick: Quick = False, threads: Threads = None, save_model: Save = None
) -> None:
    """Si with the hyper-parameters of the published GAP."""
    _accuracy(accuracy_runs.silicon_published, quick, threads, save_model, json)


@accuracy_app.command("si")
def accuracy_si(
    json: Json = None, quick: Quick = False, threads: Threads = None, save_model: Save = None
) -> None:
    """Si, no option given."""
    _accuracy(accuracy_runs.silicon, quick, threads, save_model, json)


@accuracy_app.command("mo")
def accuracy_mo(
    json: Json = None, quick: Quick = False, threads: Threads = None, save_model: Save = None
) -> None:
    """Mo, no option given."""
    _accuracy(accuracy_runs.molybdenum, quick, threads, save_model, json)


@accuracy_app.command("alloys")
def accuracy_alloys(
    json: Json = None, quick: Quick = False, threads: Threads = None, save_model: Save = None
) -> None:
    """Nb, Mo, Ta, W and three solid solutions in one model, no option given."""
    _accuracy(accuracy_runs.alloys, quick, threads, save_model, json)


@accuracy_app.command("rmd17")
def accuracy_rmd17(
    molecule: Annotated[str, typer.Argument(help="ethanol or aspirin")],
    json: Json = None,
    quick: Quick = False,
    threads: Threads = None,
    save_model: Save = None,
) -> None:
    """A molecule of rMD17, 1000 training structures, no option given."""
    if molecule not in accuracy_runs.MOLECULES:
        raise typer.BadParameter(f"{molecule!r}: give one of {', '.join(accuracy_runs.MOLECULES)}")
    save = None if save_model is None else str(save_model)
    _finish(_named(accuracy_runs.molecule(molecule, quick, thread_count(threads), save)), json)


def _accuracy(run: Run, quick: bool, threads: int | None, save: Path | None, json: Path | None) -> None:
    _finish(_named(run(quick, thread_count(threads), None if save is None else str(save))), json)


def _named(record: Record) -> Record:
    """Add what only the command knows: its name, and the machine as it was before the benchmark loaded it."""
    notes = (
        record.notes if record.name.startswith(("accuracy", "smoke")) else record.notes + busy_note(MACHINE)
    )
    return replace(record, command=_command(), machine=MACHINE, notes=notes)


@app.command("barriers")
def barriers(json: Json = None, quick: Quick = False) -> None:
    """Folds of 559 published migration barriers."""
    _finish(_named(run_barriers(quick)), json)


@app.command("barriers-screening")
def barriers_screening(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Ten thousand hops of generated crystals: in one process, by workers, killed and restarted."""
    _finish(_named(run_barriers_screening(quick, thread_count(threads))), json)


@app.command("nve")
def nve(json: Json = None, quick: Quick = False, threads: Threads = None, model: Model = None) -> None:
    """Energy drift of 216 silicon atoms over 10 ps."""
    _finish(_named(run_nve(quick, thread_count(threads), None if model is None else str(model))), json)


@app.command("selection")
def selection(
    json: Json = None,
    quick: Quick = False,
    threads: Threads = 1,
    figure: Annotated[Path | None, typer.Option(help="Draw the curves here.", dir_okay=False)] = None,
) -> None:
    """Labels that selection strategies need on silicon."""
    record = _named(run_selection(quick, thread_count(threads)))
    _finish(record, json)
    if figure is not None:
        draw_selection(record, figure)


@app.command("neb")
def neb(json: Json = None, quick: Quick = False) -> None:
    """Bands on a surrogate beside plain ones: barriers and calls of the oracle."""
    _finish(_named(run_neb(quick)), json)


@app.command("calibration")
def calibration(
    element: Annotated[str, typer.Argument(help="si, mo, or sets: parts of many data sets")],
    json: Json = None,
    quick: Quick = False,
    threads: Threads = None,
    model: Model = None,
    folds: Annotated[
        int | None, typer.Option(help="Hold every structure out, in so many folds.", min=2)
    ] = None,
) -> None:
    """Standard deviations of a default fit against the errors on its test set, or of many fits."""
    if element == "sets":
        _finish(_named(calibration_sets(quick, thread_count(threads))), json)
        return
    if element not in calibration_runs.ELEMENTS:
        raise typer.BadParameter(f"{element!r}: give one of {', '.join(calibration_runs.ELEMENTS)}")
    if folds is not None:
        _finish(_named(calibration_folds(element, folds, quick, thread_count(threads))), json)
        return
    path = None if model is None else str(model)
    _finish(_named(calibration_runs.calibration(element, quick, thread_count(threads), path)), json)


@app.command("uncertainty-cost")
def uncertainty_cost(json: Json = None, quick: Quick = False, model: Model = None) -> None:
    """Processor time of deviations over that of a plain prediction."""
    _finish(_named(calibration_runs.cost(quick, None if model is None else str(model))), json)


@app.command("speed")
def speed(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """SOAP and GAP beside the installed peers; one thread and two unless --threads is given."""
    _finish(_named(run_speed(quick, (1, 2) if threads is None else (threads,))), json)


@app.command("precision")
def precision(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Error and gain of prediction in single precision."""
    _finish(_named(run_precision(quick, thread_count(threads))), json)


@app.command("startup")
def startup(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Seconds to the first answer of a new process."""
    _finish(_named(run_startup(quick, thread_count(threads))), json)


@app.command("scaling")
def scaling(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Cost and memory from a thousand to a million atoms."""
    _finish(_named(run_scaling(quick, thread_count(threads))), json)


@app.command()
def stream(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Throughput and memory of predictions over 100,000 small structures."""
    _finish(_named(run_stream(quick, thread_count(threads))), json)


@app.command("fit-memory")
def fit_memory(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Memory of a fit with the number of structures."""
    _finish(_named(fit_cost.fit_memory(quick, thread_count(threads))), json)


@app.command("fit-ratio")
def fit_ratio(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """A fit beside QUIP's gap_fit."""
    _finish(_named(fit_cost.fit_ratio(quick, thread_count(threads))), json)


@app.command("learning")
def learning(
    part: Annotated[str, typer.Argument(help=", ".join(LEARNING_PARTS))],
    json: Json = None,
    quick: Quick = False,
) -> None:
    """Active learning: calls saved on the fly; campaigns that are killed or whose oracle fails."""
    if part not in LEARNING_PARTS:
        raise typer.BadParameter(f"{part!r}: give one of {', '.join(LEARNING_PARTS)}")
    _finish(_named(run_learning(part, quick)), json)


@app.command("smoke")
def smoke(json: Json = None, threads: Threads = None) -> None:
    """Tiny sizes, every answer against an oracle; for continuous integration."""
    _finish(_named(run_smoke(thread_count(threads))), json)


@app.command("split-scale")
def split_scale(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Exact splits of up to 100,000 structures or environments."""
    _finish(_named(run_split_scale(quick, thread_count(threads))), json)


@app.command("map-scale")
def map_scale(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Maps of up to 100,000 structures."""
    _finish(_named(run_map_scale(quick, thread_count(threads))), json)


@app.command("audits")
def audits(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Published splits audited, and the error of a random against a leak-proof split."""
    _finish(_named(run_audits(quick, thread_count(threads))), json)


@app.command("comparison")
def comparison(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Descriptors on four sets of properties, GAPs on silicon: curves, costs, budgets, and how they hold."""
    _finish(_named(run_comparison(quick, thread_count(threads))), json)


@app.command("screening")
def screening(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """100,000 candidates in one pass, and a screening that is killed and goes on."""
    _finish(_named(run_screening(quick, thread_count(threads))), json)


@app.command("screening-recall")
def recall(json: Json = None, quick: Quick = False, threads: Threads = None) -> None:
    """Labels that loops need to find the best 1 %: SOAP, distribution functions, chance."""
    _finish(_named(screening_recall(quick, thread_count(threads))), json)


@app.command("all")
def run_all(results: Annotated[Path, typer.Option(help="Folder of the JSON files.")] = pages.RESULTS) -> None:
    """Every benchmark at full size, each in its process; what fails is named at the end."""
    failed = []
    for command in COMMANDS:
        words = command.split()
        name = "-".join(word.strip("-") for word in words if not word.isdigit())
        path = results / f"{name}.json"
        print(f"==> {command}", flush=True)
        done = subprocess.run([sys.executable, "-m", "benchmarks", *words, "--json", str(path)], check=False)
        if done.returncode != 0:
            failed.append(command)
    if failed:
        raise SystemExit(f"did not finish: {', '.join(failed)}")


@app.command("docs")
def docs(results: Annotated[Path, typer.Option(help="Folder of the JSON files.")] = pages.RESULTS) -> None:
    """Write the saved runs into README.md, docs/performance.md and docs/accuracy.md."""
    for path in pages.update_pages(results):
        print(f"wrote {path}")


def main() -> None:
    """Run a command; what is missing or wrong is one line and a status."""
    try:
        app()
    except (MissingData, PeerMissing) as error:
        raise SystemExit(f"skipped: {error}") from None
    except (Disagreement, ChildFailed, ValueError) as error:
        raise SystemExit(f"failed: {error}") from None


if __name__ == "__main__":
    main()
