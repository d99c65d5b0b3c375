"""Learning curves of selection strategies: labels of the silicon training file bought one after the other."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from benchmarks.data import data_files
from benchmarks.isolation import run_isolated
from benchmarks.records import Record
from benchmarks.selection_record import GREEDY, N_START, STRATEGIES, WITHIN, record_of

N_SPARSE, N_SEEDS, N_BOUGHT, STEP = 800, 5, 44, 2
AT_ONCE = (10, 20, 30, 40)


@dataclass(frozen=True)
class LabelledRows:
    """A structure as rows over fixed sparse points, one array per kind of label, and its labels."""

    kind: str
    n_atoms: int
    labels: tuple[Any, ...]
    features: np.ndarray


@dataclass(frozen=True)
class Whitened:
    """A structure in whitened weights: labels in units of their noise, forces in eV/A."""

    block: np.ndarray
    targets: np.ndarray
    forces: np.ndarray
    force_targets: np.ndarray


def selection(quick: bool, threads: int) -> Record:
    """Labels that each strategy needs to come within 10 % of the error of the full pool."""
    train, test = data_files("mlearn/Si_training.xyz.gz", "mlearn/Si_test.xyz.gz")
    arguments = {
        "train": f"{train}@::6" if quick else train,
        "test": f"{test}@::3" if quick else test,
        "n_sparse": 60 if quick else N_SPARSE,
        "n_seeds": 2 if quick else N_SEEDS,
        "n_bought": 10 if quick else N_BOUGHT,
    }
    result = run_isolated("benchmarks.selection:learning_curves", arguments, threads)
    return record_of(result, quick)


def learning_curves(train: str, test: str, n_sparse: int, n_seeds: int, n_bought: int) -> dict[str, Any]:
    """Curves of all strategies and seeds."""
    started = time.process_time()
    builder, pool, held_out = load_rows(train, test, n_sparse)
    runs: list[dict[str, Any]] = []
    # errors of all strategies are those of fits with the noise and amplitudes that the whole pool teaches;
    # the strategies themselves know only what the start taught
    settled = learned_whitening(builder, pool)
    fitted, tested = [settled(s) for s in pool], [settled(s) for s in held_out]
    everything = curve(fitted, list(range(len(pool))), [len(pool)], tested)[0]
    for seed in range(n_seeds):
        order = np.random.default_rng(seed).permutation(len(pool))
        start, rest = order[:N_START].tolist(), order[N_START:].tolist()
        whiten = learned_whitening(builder, [pool[i] for i in start])
        whitened = [whiten(s) for s in pool]
        for strategy in STRATEGIES:
            began = time.process_time()
            n_wanted = n_bought if strategy in GREEDY else len(rest)
            bought = buy(strategy, pool, whitened, start, rest, n_wanted, seed)
            counts = list(range(N_START, N_START + len(bought) + 1, STEP))
            rmse = curve(fitted, start + bought, counts, tested)
            atoms = np.cumsum([pool[i].n_atoms for i in start + bought])
            below = np.flatnonzero(np.array(rmse) <= WITHIN * everything)
            runs.append(
                {
                    "strategy": strategy,
                    "seed": seed,
                    "labels": counts,
                    "atoms": [int(atoms[n - 1]) for n in counts],
                    "rmse": rmse,
                    "within": int(below[0]) if len(below) else None,
                    "bought_kinds": [pool[i].kind for i in bought[:20]],
                    "cpu_seconds": time.process_time() - began,
                }
            )
    at_once = {
        strategy: chosen_at_once(strategy, train, fitted, tested, [n for n in AT_ONCE if n < len(pool)])
        for strategy in STRATEGIES
    }
    return {
        "n_pool": len(pool),
        "n_columns": builder.n_columns,
        "full_rmse": everything,
        "at_once": at_once,
        "cpu_seconds": time.process_time() - started,
        "runs": runs,
    }


def chosen_at_once(
    strategy: str, train: str, fitted: list[Whitened], tested: list[Whitened], counts: list[int]
) -> dict[str, float]:
    """Force RMSE with so many structures chosen at once, without any label; random: mean of five orders."""
    from castile.active.structure_selection import select_structures

    if strategy == "random":
        orders = [np.random.default_rng(seed).permutation(len(fitted)).tolist() for seed in range(N_SEEDS)]
    else:
        orders = [select_structures(train, counts[-1], method=strategy).structures.tolist()]
    errors = np.mean([curve(fitted, order, counts, tested) for order in orders], axis=0)
    return {str(count): float(error) for count, error in zip(counts, errors, strict=True)}


def load_rows(train: str, test: str, n_sparse: int) -> tuple[Any, list[LabelledRows], list[LabelledRows]]:
    """Rows of all structures over sparse points of the pool's environments, for which no label is needed."""
    from castile.active.pool_features import structure_features
    from castile.potentials.composition import Composition
    from castile.potentials.defaults import resolve_settings
    from castile.potentials.fit import _build_terms
    from castile.potentials.settings import FitSettings, SoapSettings
    from castile.potentials.stages import Stages
    from castile.potentials.survey import take_survey
    from castile.potentials.term_builder import build_core
    from castile.potentials.training_rows import RowBuilder
    from castile.structures import StructureSource

    structures = list(StructureSource(train))
    survey = take_survey(structures)
    wanted = FitSettings(soap=(SoapSettings(n_sparse=n_sparse),))
    settings = resolve_settings(wanted, survey, 3 * survey.n_atoms).settings
    terms = _build_terms(structures, settings, survey, 1, Stages())
    nothing = Composition(dict.fromkeys(survey.elements, 0.0), "none")
    builder = RowBuilder(terms, nothing, build_core(settings.core, survey), settings)

    def rows(structure: Any) -> LabelledRows:
        mean = structure_features(structure, terms[-1], "structures")[0]
        return LabelledRows(structure.config_type, len(structure.atoms), tuple(builder(structure)), mean)

    return builder, [rows(s) for s in structures], [rows(s) for s in StructureSource(test)]


def learned_whitening(builder: Any, start: list[LabelledRows]) -> Any:
    """Noise, amplitudes and energy of the element from the labels of the start, as a whitening function."""
    from castile.potentials.learning import learn
    from castile.potentials.stages import Stages
    from castile.potentials.training_rows import FactorSet

    per_atom = float(np.mean([label.targets[0] / s.n_atoms for s in start for label in s.labels[:1]]))

    def shifted(s: LabelledRows) -> list[Any]:
        energy = s.labels[0]
        return [replace(energy, targets=energy.targets - per_atom * s.n_atoms), *s.labels[1:]]

    factors = FactorSet(builder.n_columns)
    for s in start:
        factors.add(shifted(s))
    posterior = learn(builder, factors.factors(), Stages()).posterior
    noise = dict(zip(posterior.kinds, posterior.sigmas, strict=True))

    def features(rows: np.ndarray) -> np.ndarray:
        result = np.empty_like(rows)
        for prior, amplitude in zip(posterior.priors, posterior.amplitudes, strict=True):
            half = solve_triangular(prior.lower, rows[:, prior.columns].T, lower=True)
            result[:, prior.columns] = amplitude * half.T
        return result

    def whiten(s: LabelledRows) -> Whitened:
        labels = {label.kind: label for label in shifted(s)}
        phi = {kind: features(label.rows) for kind, label in labels.items()}
        sigma = {kind: label.relative_sigmas * noise[kind] for kind, label in labels.items()}
        return Whitened(
            np.concatenate([phi[kind] / sigma[kind][:, None] for kind in labels]),
            np.concatenate([labels[kind].targets / sigma[kind] for kind in labels]),
            phi["forces"],
            labels["forces"].targets,
        )

    return whiten


def buy(
    strategy: str,
    pool: list[LabelledRows],
    whitened: list[Whitened],
    start: list[int],
    rest: list[int],
    n_wanted: int,
    seed: int,
) -> list[int]:
    """Structures in the order in which a strategy asks for their labels."""
    from castile.selection import farthest_points
    from castile.selection.criteria import Criterion, Information, OwnVariance, TargetCovariance
    from castile.selection.greedy import greedy_blocks
    from castile.selection.posterior_root import PosteriorRoot
    from castile.selection.row_blocks import BlockFile, compress_block

    if strategy == "random":
        return np.random.default_rng(1000 + seed).permutation(rest)[:n_wanted].tolist()
    if strategy == "farthest":
        features = np.array([s.features for s in pool])
        return farthest_points(features, n_wanted, initial=start).tolist()
    n_columns = whitened[0].block.shape[1]
    known = np.concatenate([np.eye(n_columns), *(whitened[i].block for i in start)])
    root = PosteriorRoot.given(np.linalg.qr(known, mode="r"))
    criterion: Criterion = Information() if strategy == "information" else OwnVariance()
    if strategy == "pool-variance":
        metric = sum(s.forces.T @ s.forces for s in whitened) / sum(len(s.forces) for s in whitened)
        criterion = TargetCovariance(root.matrix.T @ metric @ root.matrix)
    with BlockFile(n_columns) as blocks:
        for i in rest:
            blocks.append(compress_block(whitened[i].block, 1e-3))
        costs = [len(whitened[i].block) if strategy == "variance" else 1 for i in rest]
        choice = greedy_blocks(blocks, n_wanted, criterion=criterion, root=root, costs=costs)
    return [rest[i] for i in choice.indices]


def curve(
    whitened: list[Whitened], order: list[int], counts: list[int], tested: list[Whitened]
) -> list[float]:
    """Force RMSE (eV/A) on the test structures after the first n labels, for each n of ``counts``."""
    n_columns = whitened[0].block.shape[1]
    precision, overlap = np.eye(n_columns), np.zeros(n_columns)
    forces = np.concatenate([s.forces for s in tested])
    targets = np.concatenate([s.force_targets for s in tested])
    errors, done = [], 0
    for count in counts:
        for i in order[done:count]:
            precision += whitened[i].block.T @ whitened[i].block
            overlap += whitened[i].block.T @ whitened[i].targets
        done = count
        weights = cho_solve(cho_factor(precision, lower=True), overlap)
        errors.append(float(np.sqrt(np.mean((forces @ weights - targets) ** 2))))
    return errors
