"""``castile screen``: the best of many candidates by a model, and the loop with an oracle."""

from __future__ import annotations

import typer

from castile.cli import screen_options as options
from castile.cli.options import JsonFile, Workers
from castile.cli.screen_loop import LoopOptions
from castile.cli.screen_run import ScreenFiles, Wish, run_screen
from castile.cli.screen_settings import FilterOptions, ObjectiveOptions, TargetOptions


def screen(
    candidates: options.Candidates,
    model: options.ModelPath,
    output: options.Output,
    target: options.TargetName = None,
    top: options.Top = 100,
    goal: options.Goal = "minimise",
    objective: options.Kind = options.ObjectiveName.mean,
    kappa: options.Kappa = 2.0,
    best: options.Best = None,
    below: options.Below = None,
    above: options.Above = None,
    most_similar: options.Diversity = 0.9999,
    pool: options.PoolSize = None,
    only: options.Elements = None,
    required: options.Required = None,
    excluded: options.Excluded = None,
    formula: options.Formulas = None,
    pattern: options.Patterns = None,
    min_atoms: options.MinAtoms = None,
    max_atoms: options.MaxAtoms = None,
    min_volume: options.MinVolume = None,
    max_volume: options.MaxVolume = None,
    known: options.Known = None,
    max_known_similarity: options.MostKnown = None,
    reference: options.Reference = None,
    relax: options.Relax = 0,
    relax_cell: options.RelaxCell = False,
    grade_limit: options.GradeLimit = None,
    all_candidates: options.TablePath = None,
    database: options.Database = None,
    report: options.Report = None,
    map_page: options.MapPage = None,
    journal: options.JournalPath = None,
    json: JsonFile = None,
    workers: Workers = None,
    oracle: options.Oracle = None,
    truth: options.Truth = None,
    training: options.Training = None,
    training_key: options.TrainingKey = None,
    budget: options.Budget = 200,
    batch: options.BatchSize = 10,
    patience: options.Patience = 3,
) -> None:
    """Find the best of CANDIDATES by MODEL, in one pass of flat memory; killed, the same command goes on.

    What is broken is reported and skipped. With --oracle or --truth the winners are labelled and learned
    from, round after round.
    """
    learned, atoms, volume = tuple(training or ()), (min_atoms, max_atoms), (min_volume, max_volume)
    run_screen(
        candidates,
        Wish(top, most_similar, pool),
        ObjectiveOptions(objective, goal, kappa, best, below, above),
        FilterOptions(only, required, excluded, formula, pattern, atoms, volume, known, max_known_similarity),
        TargetOptions(model, target, reference, relax, relax_cell, grade_limit, learned),
        LoopOptions(oracle, truth, learned, training_key, budget, batch, patience),
        ScreenFiles(output, all_candidates, database, report, map_page, json, journal),
        workers,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(no_args_is_help=True)(screen)
