"""``castile barriers``: models of migration barriers, and screening of crystals with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from castile.cli.options import JsonFile

if TYPE_CHECKING:
    from castile.barriers import BarrierModel, MigrationPath
    from castile.barriers.crossval import CrossValidation, Folds
    from castile.barriers.features import PathFeatures
    from castile.barriers.scores import BarrierScores
    from castile.barriers.screening import ScreenedCrystal
    from castile.evaluation.tables import Table

app = typer.Typer(
    name="barriers", no_args_is_help=True, help="Migration barriers of ions: fit, predict, screen."
)

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATHS",
        help="Migration paths: extended XYZ with path_id and image, any file with the images of one path, "
        "folders of NEB results (VASP, Quantum ESPRESSO), folders of these, globs in quotes.",
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model of 'castile barriers fit' (.castile).")]
Threshold = Annotated[
    float, typer.Option(min=0.0, metavar="EV", help="Barrier below which an ion conducts well, eV.")
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an HTML report with figures.")]
Crystals = Annotated[
    list[str],
    typer.Argument(
        metavar="STRUCTURES", help="Crystals: CIF, POSCAR, any file of ASE, ASE databases, folders."
    ),
]
Mobile = Annotated[str, typer.Option(metavar="ELEMENT", help="The element that moves, such as Li.")]
ModelOption = Annotated[
    Path, typer.Option(metavar="MODEL", help="Model of 'castile barriers fit' (.castile).")
]
RankedTable = Annotated[
    Path, typer.Option("-o", "--output", metavar="TABLE", help="Ranked crystals (.csv or .parquet).")
]
HopTable = Annotated[
    Path | None, typer.Option(metavar="TABLE", help="Also write every hop (.csv or .parquet).")
]
Database = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an ASE database (.db).")]
Page = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write an HTML page with the paths drawn.")
]
Longest = Annotated[float, typer.Option(metavar="ANGSTROM", help="Longest hop, Å.")]
Interstitials = Annotated[bool, typer.Option(help="Also hops between voids.")]
MostHops = Annotated[int, typer.Option(min=1, help="Distinct hops per crystal at most, shortest first.")]
Tolerance = Annotated[float, typer.Option(metavar="ANGSTROM", help="Tolerance of the symmetry, Å.")]
ScreenWorkers = Annotated[
    str | None, typer.Option(metavar="N|ADDRESS|FILE", help="Processes, a Dask scheduler, or a batch system.")
]
Interpolation = Annotated[
    str, typer.Option(metavar="linear|idpp", help="Between an initial and a final structure alone.")
]
PathShape = Annotated[
    str,
    typer.Option(
        metavar="straight|images",
        help="Reduce every path to the line between its ends (as data sets have them), or use the images.",
    ),
]
Mixing = Annotated[
    str,
    typer.Option(
        metavar="fixed|learned",
        help="Whether the weights of the SOAP channels (properties of the elements) are learned.",
    ),
]
Coverage = Annotated[float, typer.Option(min=0.05, max=0.99, help="Probability of the intervals.")]


@app.command(no_args_is_help=True)
def fit(
    paths: Paths,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL", help="Model file to write.")],
    json: JsonFile = None,
    coverage: Coverage = 0.6827,
    robust: Annotated[bool, typer.Option(help="Labels that all others contradict lose weight.")] = True,
    path_shape: PathShape = "straight",
    mixing: Mixing = "fixed",
    threshold: Threshold = 0.5,
) -> None:
    """Learn barriers (key 'barrier', eV, or the energies of the images) from PATHS."""
    from castile.barriers import BarrierModel, save_barrier_model, score
    from castile.barriers.channel_mixing import checked_mixing
    from castile.cli.output import print_table, remark, write_json

    _refuse(paths, output, json)
    labelled = _labelled(paths)
    model = BarrierModel(
        coverage=coverage, robust=robust, straight=_is_straight(path_shape), mixing=checked_mixing(mixing)
    ).fit(labelled)
    save_barrier_model(model, output)
    scores = score(model.barriers_, model.leave_one_out(), threshold)
    print_table(_score_table([("leave-one-out", scores)], "Barriers (hyper-parameters from all paths)"))
    suspicious = model.suspicious_labels()
    if suspicious:
        print_table(_suspicious_table(model))
    remark(f"Model: {output} ({len(labelled)} paths)")
    if json is not None:
        numbers = scores.to_json_dict("loo_") | {"n_suspicious_labels": len(suspicious)}
        write_json(json, {"n_training_paths": len(labelled), **numbers})


@app.command(no_args_is_help=True)
def predict(
    model: Model,
    paths: Paths,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="TABLE", help="Table to write (.csv or .parquet).")
    ],
    json: JsonFile = None,
    threshold: Threshold = 0.5,
    interpolation: Interpolation = "linear",
    support: Annotated[int, typer.Option(min=0, help="Number of training paths named per prediction.")] = 3,
) -> None:
    """Predict barriers of PATHS; no labels are needed, and a broken path is a row with its error."""
    from castile.barriers import load_barrier_model, predict_stream, read_paths, write_predictions
    from castile.cli.output import counted, remark, write_json

    _refuse([*paths, str(model)], output, json)
    fitted = load_barrier_model(model)
    stream = predict_stream(
        fitted, read_paths(paths, interpolation=interpolation), threshold=threshold, n_support=support
    )
    with counted("predicting", None) as progress:
        count = write_predictions(output, stream, progress)
    remark(
        f"Table: {output} ({count.n_predicted} barriers, {count.n_extrapolated} unlike the training paths)"
    )
    if count.n_broken:
        remark(f"{count.n_broken} paths are broken and were skipped; the column 'error' says why")
    if json is not None:
        numbers = {
            "n_paths": count.n_predicted,
            "n_broken": count.n_broken,
            "n_extrapolated": count.n_extrapolated,
        }
        write_json(json, numbers)


@app.command(no_args_is_help=True)
def evaluate(
    model: Model, paths: Paths, json: JsonFile = None, report: Report = None, threshold: Threshold = 0.5
) -> None:
    """Errors of MODEL on PATHS with known barriers."""
    from castile.barriers import load_barrier_model, score
    from castile.barriers.scores import score_classes
    from castile.cli.output import print_table, remark, write_json

    _refuse([*paths, str(model)], json, report)
    fitted = load_barrier_model(model)
    labelled = _labelled(paths)
    prediction = fitted.predict_intervals(labelled)
    barriers = [float(path.barrier or 0.0) for path in labelled]
    scores = score(barriers, prediction, threshold)
    print_table(_score_table([("all", scores)], "Errors of barriers"))
    classes = score_classes([path.structure_class or "(none)" for path in labelled], barriers, prediction)
    if len(classes) > 1:
        print_table(_class_table(classes))
    if json is not None:
        write_json(json, scores.to_json_dict())
    if report is not None:
        from castile.report.barriers_report import write_barrier_report

        write_barrier_report(report, fitted, labelled, [("all", barriers, prediction, scores)])
        remark(f"Report: {report}")


@app.command(no_args_is_help=True)
def crossval(
    paths: Paths,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="Number of random partitions.")] = 1,
    seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    leak_proof: Annotated[
        bool,
        typer.Option(help="Also folds that share no host and no near-twin, and folds of unseen families."),
    ] = True,
    similarity: Annotated[
        float,
        typer.Option(
            min=0.5, max=1.0, help="Near-twins: paths more alike than this in elements and positions (SOAP)."
        ),
    ] = 0.99,
    family_similarity: Annotated[
        float,
        typer.Option(
            min=0.5, max=1.0, help="Families: paths more alike than this whatever their elements (SOAP)."
        ),
    ] = 0.999,
    json: JsonFile = None,
    report: Report = None,
    threshold: Threshold = 0.5,
    path_shape: PathShape = "straight",
    mixing: Mixing = "fixed",
) -> None:
    """Cross-validation on PATHS: random folds, leak-proof ones, and those of families of structures that the
    model has not seen; nothing of a fold is seen before.
    """
    from castile.barriers import BarrierModel
    from castile.barriers.channel_mixing import checked_mixing
    from castile.barriers.scores import score_classes
    from castile.cli.output import print_table, remark, write_json

    _refuse(paths, json, report)
    labelled = _labelled(paths)
    model = BarrierModel(straight=_is_straight(path_shape), mixing=checked_mixing(mixing))
    features = model.featurize(labelled)
    levels: dict[Folds, float | None] = {"random": None}
    if leak_proof:
        levels |= {"leak-proof": similarity, "families": family_similarity}
    results = _fold_runs(model, labelled, features, levels, range(seed, seed + seeds), folds, threshold)
    print_table(_score_table([(_fold_name(r), r.scores) for r in results], f"{folds} folds"))
    shown = next(r for r in results if r.kind == ("leak-proof" if leak_proof else "random"))
    classes = [path.structure_class or "(none)" for path in labelled]
    print_table(_class_table(score_classes(classes, shown.barriers, shown.prediction)))
    if json is not None:
        write_json(json, _crossval_numbers(results, folds))
    if report is not None:
        from castile.report.barriers_report import write_barrier_report

        fitted = model.fit_features(features, labelled)
        kinds = {r.kind: r for r in reversed(results)}
        parts = [(_FOLD_NAMES[r.kind], list(r.barriers), r.prediction, r.scores) for r in kinds.values()]
        write_barrier_report(report, fitted, labelled, parts)
        remark(f"Report: {report}")


def _fold_runs(
    model: BarrierModel,
    paths: list[MigrationPath],
    features: PathFeatures,
    levels: dict[Folds, float | None],
    seeds: range,
    n_folds: int,
    threshold: float,
) -> list[CrossValidation]:
    """Cross-validations of all kinds of folds (with their similarity) and seeds; families where they do."""
    from itertools import count

    from castile.barriers import cross_validate
    from castile.barriers.crossval import TooFewGroupsError
    from castile.cli.output import counted, remark

    results = []
    with counted("folds", len(levels) * len(seeds) * n_folds) as progress:
        finished = count(1)
        for kind, seed in ((kind, seed) for kind in levels for seed in seeds):
            try:
                run = cross_validate(
                    model, paths, features, folds=kind, similarity=levels[kind], n_folds=n_folds,
                    seed=seed, threshold=threshold, advance=lambda: progress(next(finished)),
                )  # fmt: skip
            except TooFewGroupsError as error:
                if kind != "families":
                    raise
                remark(f"left out: {error}")
                break
            results.append(run)
    return results


_FOLD_NAMES = {"random": "random", "leak-proof": "leak-proof", "families": "unseen families"}


def _fold_name(run: CrossValidation) -> str:
    """What a row of the table is called."""
    groups = "" if run.kind == "random" else f", {run.n_groups} groups"
    return f"{_FOLD_NAMES[run.kind]}, seed {run.seed}{groups}"


def _crossval_numbers(results: list[CrossValidation], folds: int) -> dict[str, float | int | None]:
    """Flat scores of the first partition of each kind, and means over all."""
    numbers: dict[str, float | int | None] = {"n_folds": folds}
    for kind in _FOLD_NAMES:
        runs = [run for run in results if run.kind == kind]
        prefix = kind.replace("-", "_")
        if kind != "random":
            numbers[f"{prefix}_n_groups"] = runs[0].n_groups if runs else None
        if runs:
            numbers |= runs[0].scores.to_json_dict(f"{prefix}_")
            numbers[f"{prefix}_barrier_mae_mean_over_seeds_ev"] = sum(r.scores.mae for r in runs) / len(runs)
            numbers[f"{prefix}_barrier_r2_mean_over_seeds"] = sum(r.scores.r2 or 0.0 for r in runs) / len(
                runs
            )
    return numbers


@app.command(no_args_is_help=True)
def screen(
    structures: Crystals,
    mobile: Mobile,
    model: ModelOption,
    output: RankedTable = Path("screening.csv"),
    hops: HopTable = None,
    database: Database = None,
    report: Page = None,
    json: JsonFile = None,
    longest: Longest = 5.0,
    interstitials: Interstitials = False,
    most_hops: MostHops = 100,
    tolerance: Tolerance = 0.01,
    workers: ScreenWorkers = None,
) -> None:
    """Rank crystals by the lowest barrier that lets ELEMENT run through them in 1, 2 and 3 dimensions.

    Finished crystals are kept in TABLE.journal.jsonl; the same command goes on where it was cut off.
    """
    from castile.barriers import load_barrier_model
    from castile.barriers.crystals import count_crystals, crystal_files, read_crystals
    from castile.barriers.screen_output import write_crystal_table, write_database, write_hop_table
    from castile.barriers.screening import ScreenSettings
    from castile.barriers.screening import screen as run_screening
    from castile.cli.output import counted, remark

    files = crystal_files(structures)
    _refuse([*map(str, files), str(model)], output, hops, database, report, json)
    settings = ScreenSettings(mobile, longest, interstitials, tolerance, most_hops)
    journal = output.with_name(f"{output.name}.journal.jsonl")
    n_crystals = count_crystals(files)
    with counted("screening", n_crystals) as progress:
        finished = iter(range(1, n_crystals + 2))
        results = run_screening(
            read_crystals(structures), load_barrier_model(model), settings, workers=workers, journal=journal,
            advance=lambda _: progress(next(finished, n_crystals)),
        )  # fmt: skip
    write_crystal_table(output, results)
    if hops is not None:
        write_hop_table(hops, results)
    if database is not None:
        write_database(database, results, settings)
    if report is not None:
        from castile.report.barriers_screening import write_screening_report

        write_screening_report(report, results, settings)
        remark(f"Report: {report}")
    _conclude(results, output, json)
    journal.unlink(missing_ok=True)


def _conclude(results: list[ScreenedCrystal], output: Path, json: Path | None) -> None:
    """Show the first crystals, name those that were skipped, and write the counts."""
    from castile.cli.output import print_table, remark, write_json
    from castile.report.barriers_tables import screening_table

    print_table(screening_table(results, 15))
    skipped = [result for result in results if result.error is not None]
    for result in skipped[:20]:
        remark(f"skipped: {result.error}")
    n_hops = sum(len(result.hops) for result in results)
    remark(f"Table: {output} ({len(results) - len(skipped)} crystals, {n_hops} hops, {len(skipped)} skipped)")
    if json is not None:
        numbers = {"n_crystals": len(results), "n_skipped": len(skipped), "n_hops": n_hops}
        write_json(json, numbers | {"n_extrapolated": sum(r.extrapolates for r in results)})


def _is_straight(path_shape: str) -> bool:
    from castile.errors import InputError

    if path_shape not in ("straight", "images"):
        raise InputError(f"--path-shape {path_shape}: give straight or images")
    return path_shape == "straight"


def _labelled(sources: list[str]) -> list[MigrationPath]:
    """Paths with barriers; broken and unlabelled ones are counted on stderr."""
    from castile.barriers import BrokenPath, read_paths
    from castile.cli.output import remark
    from castile.errors import InputError

    labelled, n_without = [], 0
    for path in read_paths(sources):
        if isinstance(path, BrokenPath):
            remark(f"skipped: path {path.path_id}: {path.error}")
        elif path.barrier is None:
            n_without += 1
        else:
            for warning in path.warnings:
                remark(f"path {path.path_id}: {warning}")
            labelled.append(path)
    if n_without:
        remark(f"{n_without} paths have no barrier and are left out")
    if not labelled:
        raise InputError("no path has a barrier: give it as key 'barrier' (eV), or images with energies")
    return labelled


def _refuse(read: list[str], *written: Path | None) -> None:
    """Refuse outputs that are also read, or that a later step could not write."""
    from castile.barriers.path_reading import source_files
    from castile.errors import InputError

    files = [file.resolve() for file in source_files(read)]
    for output in written:
        if output is None:
            continue
        if output.resolve() in files:
            raise InputError(
                f"{output}: is also read, and writing it would replace the data; name another file"
            )
        if not output.absolute().parent.is_dir():
            raise InputError(f"{output}: there is no folder {output.absolute().parent}; create it")


def _score_table(rows: list[tuple[str, BarrierScores]], title: str) -> Table:
    from castile.evaluation.tables import ABSENT, Table

    columns = (
        "", "paths", "MAE (eV)", "RMSE (eV)", "R2", "right side of threshold (%)",
        "inside interval (%)", "width (eV)",
    )  # fmt: skip
    cells = tuple(
        (
            name, str(s.n), f"{s.mae:.3f}", f"{s.rmse:.3f}", ABSENT if s.r2 is None else f"{s.r2:.3f}",
            f"{100 * s.accuracy:.1f}", f"{100 * s.coverage:.1f}", f"{s.interval_width:.3f}",
        )
        for name, s in rows
    )  # fmt: skip
    first = rows[0][1]
    note = f"Threshold {first.threshold:g} eV; intervals of {100 * first.expected_coverage:.0f} %."
    return Table(columns, cells, title=title, note=note)


def _class_table(classes: object) -> Table:
    from castile.report.barriers_tables import class_table

    return class_table(classes)  # type: ignore[arg-type]


def _suspicious_table(model: BarrierModel) -> Table:
    from castile.report.barriers_tables import suspicious_table

    return suspicious_table(model.suspicious_labels())


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(app)
