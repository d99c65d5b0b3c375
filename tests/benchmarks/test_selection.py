"""The benchmark of selection strategies on small made-up numbers."""

import numpy as np
import pytest
from benchmarks.selection import LabelledRows, Whitened, buy, curve
from benchmarks.selection_record import (
    N_START,
    STRATEGIES,
    labels_needed,
    record_of,
    whole_curve_needs,
)


def run(strategy, seed, within):
    labels = [10, 12, 14]
    return {
        "strategy": strategy, "seed": seed, "labels": labels, "atoms": [64 * n for n in labels],
        "rmse": [0.3, 0.2, 0.1], "within": within, "bought_kinds": ["md", "bulk"], "cpu_seconds": 1.0,
    }  # fmt: skip


def test_record_counts_labels_and_says_what_was_not_reached():
    runs = [
        run(strategy, seed, 2 if strategy == "random" else 1) for strategy in STRATEGIES for seed in (0, 1)
    ]
    runs[-1]["within"] = None
    result = {"n_pool": 40, "n_columns": 9, "full_rmse": 0.1, "cpu_seconds": 60.0, "runs": runs}
    result["at_once"] = {strategy: {"10": 0.3, "20": 0.12} for strategy in STRATEGIES}
    record = record_of(result, True)
    assert record.numbers["random/labels_needed"] == 14
    assert record.numbers["variance/labels_needed"] == 12
    rows = {row[0]: row for row in record.tables[0].rows}
    assert rows["random"][1] == "14"
    assert rows["random"][3] == "14.0"
    assert rows["pool-variance"][3] == "> 13.0"
    assert rows["variance"][6] == f"{(12 - N_START) / (14 - N_START):.2f}"
    assert {check.label.split(":")[0] for check in record.checks} == {"variance", "pool-variance"}
    assert labels_needed(run("random", 0, None), "atoms") == 64 * 14
    assert record.tables[1].rows[0] == ("random", "3.00", "1.20")
    assert record.numbers["farthest/rmse_of_20_at_once"] == 0.12


def test_the_mean_curve_must_stay_within_the_margin():
    runs = [run("random", seed, 1) for seed in (0, 1)]
    runs[0]["rmse"], runs[1]["rmse"] = [0.3, 0.10, 0.12], [0.3, 0.11, 0.09]
    assert whole_curve_needs(runs, "random", 0.1) == 12
    runs[0]["rmse"] = [0.10, 0.2, 0.1]
    runs[1]["rmse"] = [0.10, 0.2, 0.1]
    assert whole_curve_needs(runs, "random", 0.1) == 14
    runs[0]["rmse"] = [0.10, 0.2, 0.3]
    assert whole_curve_needs(runs, "random", 0.1) == 14  # the end of the curve


def made_up(n, seed=0):
    rng = np.random.default_rng(seed)
    weights, pool, whitened = rng.standard_normal(6), [], []
    for k in range(n):
        forces = rng.standard_normal((9, 6)) * np.geomspace(2.0, 0.1, 6)
        targets = forces @ weights
        pool.append(LabelledRows(("md", "bulk")[k % 2], 3, (), rng.standard_normal(4)))
        whitened.append(Whitened(forces / 0.1, targets / 0.1, forces, targets))
    return pool, whitened


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_buy_what_is_left(strategy):
    pool, whitened = made_up(20)
    bought = buy(strategy, pool, whitened, [3, 7], [k for k in range(20) if k not in (3, 7)], 6, 0)
    assert len(set(bought)) == 6
    assert not {3, 7} & set(bought)


def test_curve_is_the_regularized_fit():
    _, whitened = made_up(8)
    order = [4, 2, 0, 1]
    errors = curve(whitened, order, [1, 3], whitened[5:])
    A = np.concatenate([whitened[i].block for i in order[:3]])
    y = np.concatenate([whitened[i].targets for i in order[:3]])
    weights = np.linalg.lstsq(np.vstack([A, np.eye(6)]), np.append(y, np.zeros(6)), rcond=None)[0]
    left = np.concatenate([s.forces @ weights - s.force_targets for s in whitened[5:]])
    assert errors[1] == pytest.approx(np.sqrt(np.mean(left**2)), rel=1e-8)
    assert errors[1] < errors[0]
