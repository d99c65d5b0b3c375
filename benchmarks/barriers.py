"""`python -m benchmarks barriers`: folds of the published migration barriers, and the speed of prediction."""

import time

import numpy as np

from benchmarks.data import data_files
from benchmarks.records import Check, Record, Table
from castile.barriers import BarrierModel, cross_validate, read_paths
from castile.barriers.crossval import CrossValidation
from castile.barriers.path_reading import BrokenPath

SEEDS = (0, 1, 2)
QUICK_PATHS = 60
SAME = 0.9999  # similarity of paths that differ by hardly more than their elements


def barriers(quick: bool) -> Record:
    """Random and leak-proof folds, coverage, classification; ten folds, three seeds."""
    read = list(read_paths(data_files("barriers/train.xyz.gz")[0]))
    paths = [path for path in read if not isinstance(path, BrokenPath)][: QUICK_PATHS if quick else None]
    model = BarrierModel(n_steps=8 if quick else 30)
    model.featurize(paths[:2])
    started = time.process_time()
    features = model.featurize(paths)
    featurized = time.process_time() - started
    started = time.process_time()
    fitted = BarrierModel(n_steps=model.n_steps).fit_features(features, paths)
    fit_seconds = time.process_time() - started
    started = time.process_time()
    fitted.predict_features(features)
    predicted = time.process_time() - started
    seeds = SEEDS[:1] if quick else SEEDS
    random = [cross_validate(model, paths, features, seed=seed) for seed in seeds]
    proof = cross_validate(model, paths, features, folds="leak-proof")
    hosts = cross_validate(model, paths, features, folds="leak-proof", similarity=SAME)
    mixing = BarrierModel(n_steps=model.n_steps, mixing="learned")
    learned = [
        cross_validate(mixing, paths, features),
        cross_validate(mixing, paths, features, folds="leak-proof"),
    ]
    numbers: dict[str, float | int | None] = {"n_paths": len(paths), "n_leak_proof_groups": proof.n_groups}
    warnings = [" ".join(model.prepare(path).warnings) for path in paths]
    numbers["n_other_images"] = sum("another image" in text for text in warnings)
    numbers["n_emptied_ends"] = sum("left out" in text for text in warnings)
    numbers |= random[0].scores.to_json_dict("random_") | proof.scores.to_json_dict("leak_proof_")
    mae = float(np.mean([run.scores.mae for run in random]))
    r2 = float(np.mean([run.scores.r2 or 0.0 for run in random]))
    covered = float(np.mean([run.scores.coverage for run in random]))
    numbers |= {
        "random_mean_barrier_mae_ev": mae,
        "random_mean_barrier_r2": r2,
        "random_mean_coverage": covered,
    }
    low = np.array([run.barriers < 7.0 for run in random[:1]])[0]
    spread = float(np.square(random[0].barriers[low] - random[0].barriers[low].mean()).sum())
    errors = (random[0].prediction.barrier - random[0].barriers)[low]
    numbers["random_barrier_r2_without_labels_above_7_ev"] = 1.0 - float(errors @ errors) / spread
    numbers["fit_cpu_seconds"] = fit_seconds + featurized
    numbers["prediction_cpu_ms_per_path"] = 1000.0 * (featurized + predicted) / len(paths)
    numbers |= hosts.scores.to_json_dict("leak_proof_same_")
    numbers |= learned[0].scores.to_json_dict("learned_mixing_random_")
    numbers |= learned[1].scores.to_json_dict("learned_mixing_leak_proof_")
    numbers["random_median_barrier_mae_ev"] = _of_medians(random[0])
    numbers["leak_proof_median_barrier_mae_ev"] = _of_medians(proof)
    checks = (
        Check("random folds, MAE", mae, 0.235, "eV"),
        Check("random folds, R2", r2, 0.72, "", "at least"),
        Check("leak-proof folds, MAE, similarity 0.999", proof.scores.mae, 0.265, "eV"),
        Check("leak-proof folds, MAE, similarity 0.9999", hosts.scores.mae, 0.265, "eV"),
        Check("random folds, coverage", 100 * covered, 63.0, "%", "at least"),
        Check("random folds, coverage", 100 * covered, 73.0, "%"),
        Check(
            "leak-proof folds, coverage, similarity 0.999", 100 * proof.scores.coverage, 63.0, "%", "at least"
        ),
        Check("leak-proof folds, coverage, similarity 0.999", 100 * proof.scores.coverage, 73.0, "%"),
    )
    notes = (
        "Two labels above 7 eV make a quarter of the spread of all barriers; without them R2 of random "
        f"folds is {numbers['random_barrier_r2_without_labels_above_7_ev']:.3f} (first seed).",
        "Leak-proof folds keep together all paths through hosts of one composition (without the moving "
        f"element), and paths with more similar SOAP vectors: {proof.n_groups} and {hosts.n_groups} groups.",
        f"Medians instead of means miss by {numbers['random_median_barrier_mae_ev']:.3f} eV in random folds "
        f"(first seed) and by {numbers['leak_proof_median_barrier_mae_ev']:.3f} eV in leak-proof ones.",
        f"{numbers['n_other_images']} paths were led to another image of their final site, and "
        f"{numbers['n_emptied_ends']} had an end site emptied, before anything was learned.",
        f"Fit with features {numbers['fit_cpu_seconds']:.0f} s, prediction "
        f"{numbers['prediction_cpu_ms_per_path']:.0f} ms per path of processor time.",
    )
    return Record("barriers", quick, numbers, checks, (_table(random, proof, hosts, learned),), notes)


def _of_medians(run: CrossValidation) -> float:
    """Mean absolute error of the medians, eV."""
    return float(np.abs(run.prediction.median - run.barriers).mean())


def _table(
    random: list[CrossValidation],
    proof: CrossValidation,
    hosts: CrossValidation,
    learned: list[CrossValidation],
) -> Table:
    """A row for each partition."""
    named = [(f"random, seed {run.seed}", run) for run in random]
    named += [("leak-proof: hosts, similarity 0.999", proof), ("leak-proof: hosts, similarity 0.9999", hosts)]
    named += [
        ("random, seed 0, learned mixing", learned[0]),
        ("leak-proof, 0.999, learned mixing", learned[1]),
    ]
    rows = tuple(
        (
            name, f"{run.scores.mae:.3f}", f"{run.scores.rmse:.3f}",
            f"{run.scores.r2 or 0.0:.3f}", f"{100 * run.scores.accuracy:.1f}",
            f"{100 * run.scores.coverage:.1f}",
        )
        for name, run in named
    )  # fmt: skip
    columns = (
        "folds",
        "MAE (eV)",
        "RMSE (eV)",
        "R2",
        "right side of 0.5 eV (%)",
        "inside 68 % intervals (%)",
    )
    return Table("Migration barriers", columns, rows)
