"""Selection from pools against dense Gaussian processes, and what all methods promise."""

import json
import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect
from ase.io import read, write

import castile
from castile.active.pool_features import structure_features
from castile.active.pool_prior import DEFAULT_AMPLITUDE, default_soap
from castile.active.pool_process import DEFAULT_NOISE
from castile.active.selection_file import write_selection
from castile.active.structure_selection import METHODS, PriorChoices, select_structures
from castile.errors import InputError
from castile.structures import StructureSource
from potentials.examples import alloy_set, copper_set, labelled
from potentials.test_dense_oracle import AMPLITUDE, ENERGY_NOISE, FORCE_NOISE, OPTIONS, ZETA, Functionals

PRIOR = PriorChoices(n_sparse=30, cutoff=4.0)


def clusters(n: int, seed: int = 11, spread: float = 0.25) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    grid = 2.5 * np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    return [labelled(Atoms("Cu8", grid + rng.uniform(-spread, spread, grid.shape))) for _ in range(n)]


def small_gap(n_sparse: int) -> castile.GAP:
    """The model of the dense oracle, with too few sparse points to be exact."""
    settings = {
        "soap": [{"radial_scaling": "none", "cutoff_function": "smooth"}],
        "jitter": 1e-12,
        "use_stress": False,
    }
    return castile.GAP(
        settings, **OPTIONS, zeta=ZETA, n_sparse=n_sparse, amplitude=AMPLITUDE, radial_basis="gto",
        pair=False, core=False, composition={"Cu": 0.0}, energy_noise=ENERGY_NOISE, force_noise=FORCE_NOISE,
        threads=1,
    )  # fmt: skip


def dense_covariance(structures: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of all energies and forces in units of their noise, and the structure of each."""
    soap = castile.SOAP(**OPTIONS, cutoff_function="smooth", species=["Cu"], threads=1)
    functionals = [Functionals(atoms, soap) for atoms in structures]
    K = np.block([[a.covariance(b) for b in functionals] for a in functionals])
    noise = np.concatenate(
        [np.append(ENERGY_NOISE * np.sqrt(len(a)), np.full(3 * len(a), FORCE_NOISE)) for a in structures]
    )
    owner = np.repeat(np.arange(len(structures)), [1 + 3 * len(a) for a in structures])
    return K / np.outer(noise, noise), owner


def information(K: np.ndarray, known: np.ndarray, rows: np.ndarray) -> float:
    """Of the labels ``rows`` about the process, given those that are known."""

    def entropy(labels: np.ndarray) -> float:
        return 0.5 * float(np.linalg.slogdet(np.eye(len(labels)) + K[np.ix_(labels, labels)])[1])

    return entropy(np.append(known, rows)) - entropy(known)


def own_variance(K: np.ndarray, known: np.ndarray, rows: np.ndarray) -> float:
    """By how much the mean variance of the labels ``rows`` falls when they are known, too."""

    def variance(labels: np.ndarray) -> float:
        explained = K[np.ix_(rows, labels)] @ np.linalg.solve(
            np.eye(len(labels)) + K[np.ix_(labels, labels)], K[np.ix_(labels, rows)]
        )
        return float(np.mean(np.diagonal(K)[rows] - np.diagonal(explained)))

    return variance(known) - variance(np.append(known, rows))


WORTHS = {"information": information, "variance": own_variance}


def dense_greedy(
    K: np.ndarray, owner: np.ndarray, known: list[int], n: int, method: str
) -> tuple[list[int], list[float]]:
    chosen, gains = list(known), []
    for _ in range(n):
        before = np.flatnonzero(np.isin(owner, chosen))
        worth = [
            -np.inf if i in chosen else WORTHS[method](K, before, np.flatnonzero(owner == i))
            for i in range(owner[-1] + 1)
        ]
        chosen.append(int(np.argmax(worth)))
        gains.append(max(worth))
    return chosen[len(known) :], gains


@pytest.mark.parametrize("method", WORTHS)
def test_choice_beside_training_data_is_that_of_the_exact_process(method: str) -> None:
    """Sparse points of the model and points of the pool span the kernel together: nothing is approximate."""
    train, pool = clusters(3), clusters(8, seed=5, spread=0.4)
    gap = small_gap(6).fit(train)
    K, owner = dense_covariance([*train, *pool])
    expected, gains = dense_greedy(K, owner, [0, 1, 2], 5, method)
    chosen = select_structures(
        pool, 5, model=gap, train=train, method=method, prior=PriorChoices(n_sparse=64),
        labels="energy+forces", threads=1,
    )  # fmt: skip
    assert (chosen.structures + 3).tolist() == expected
    np.testing.assert_allclose(chosen.values, gains, rtol=1e-4)


@pytest.mark.parametrize("method", WORTHS)
def test_choice_from_the_posterior_of_a_model_that_spans_the_kernel(method: str) -> None:
    train, pool = clusters(3), clusters(8, seed=5)
    gap = small_gap(24).fit(train)
    K, owner = dense_covariance([*train, *pool])
    expected, gains = dense_greedy(K, owner, [0, 1, 2], 4, method)
    chosen = select_structures(
        pool, 4, model=gap, method=method, prior=PriorChoices(n_sparse=0), labels="energy+forces", threads=1
    )
    assert (chosen.structures + 3).tolist() == expected
    np.testing.assert_allclose(chosen.values, gains, rtol=1e-3)


def test_crystals_without_forces_are_chosen_by_their_energies() -> None:
    """Every force of these crystals vanishes by symmetry, and all but two are the same."""
    pool = [bulk("Cu", a=a, cubic=True) for a in (3.6, 3.6001, 3.6002, 4.3, 3.6003, 3.2)]
    for method in ("variance", "information", "pool-variance"):
        chosen = select_structures(pool, 3, method=method, labels="energy+forces", prior=PRIOR)
        assert {3, 5} < set(chosen.structures.tolist()), method
        assert chosen.deviation_unit == ("eV" if method == "pool-variance" else "eV/A")


def test_what_sparse_points_cannot_express_still_counts() -> None:
    """The odd structure is unlike all sparse points: without points of the pool it looks harmless."""
    train = copper_set(6)
    gap = castile.GAP(n_sparse=8, n_max=4, l_max=3, cutoff=4.0, pair=False, core=False).fit(train)
    dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]])
    pool = [*copper_set(6), dimer]
    with_points, without = (
        select_structures(pool, 1, model=gap, labels="energy", prior=PriorChoices(n_sparse=n)).values[0]
        for n in (20, 0)
    )
    assert with_points > without
    chosen = select_structures(pool, 1, model=gap, labels="energy", prior=PriorChoices(n_sparse=20))
    assert chosen.structures.tolist() == [6]


def test_atoms_of_a_prior_are_the_pivots_of_the_kernel() -> None:
    pool = copper_set(4)
    choices = PriorChoices(n_sparse=16, zeta=3.0, cutoff=4.0)
    term, _ = default_soap(StructureSource(pool), choices)
    spectra = np.concatenate([structure_features(s, term, "atoms") for s in StructureSource(pool)])[:, :-1]
    K = DEFAULT_AMPLITUDE**2 * (spectra.astype(float) @ spectra.T.astype(float)) ** 3.0
    chosen = select_structures(pool, 6, what="atoms", prior=choices)
    assert chosen.atoms is not None
    found = (4 * chosen.structures + chosen.atoms).tolist()
    expected = found[:1]  # of equal variances at the start any is the largest
    for _ in range(5):
        A = K[np.ix_(expected, expected)] + DEFAULT_NOISE["energy"] ** 2 * np.eye(len(expected))
        rest = np.diagonal(K) - np.einsum("ij,ji->i", K[:, expected], np.linalg.solve(A, K[expected]))
        rest[expected] = -np.inf
        expected.append(int(np.argmax(rest)))
    assert found == expected


@pytest.mark.parametrize("what", ["structures", "atoms"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_deterministic_and_never_repeats(method: str, what: str) -> None:
    pool = [*alloy_set(6), bulk("Cu"), bulk("Au", cubic=True)]
    first, second = (
        select_structures(pool, 5, method=method, what=what, prior=PRIOR, seed=3) for _ in range(2)
    )
    assert len(first) == 5
    assert first.structures.tolist() == second.structures.tolist()
    atoms = np.zeros(5, dtype=int) if first.atoms is None else first.atoms
    assert len(set(zip(first.structures.tolist(), atoms.tolist(), strict=True))) == 5
    sizes = np.array([len(a) for a in pool])
    assert np.all(atoms < sizes[first.structures])
    assert first.n_pool_atoms == sizes.sum()
    assert (first.deviation_before is not None) == (method == "pool-variance")
    if first.deviation_before is not None:
        assert first.deviation_after < first.deviation_before


@pytest.mark.parametrize("method", METHODS)
def test_strata_get_their_share(method: str) -> None:
    pool = copper_set(9)
    for k, atoms in enumerate(pool):
        atoms.info["config_type"] = ("md", "md", "bulk")[k % 3]
    chosen = select_structures(pool, 6, method=method, stratify=True, prior=PRIOR)
    assert sorted(chosen.config_types) == ["bulk"] * 2 + ["md"] * 4


@pytest.mark.parametrize("method", ["variance", "farthest", "cur"])
def test_what_is_known_is_not_chosen_again(method: str) -> None:
    """The pool repeats the training structures, and has one that is new."""
    known = copper_set(4)
    pool = [*known, labelled(bulk("Cu", "fcc", a=4.3, cubic=True))]
    chosen = select_structures(pool, 1, method=method, train=known, prior=PRIOR)
    assert chosen.structures.tolist() == [4]


def test_labels_of_the_pool_do_not_matter() -> None:
    pool = copper_set(6)
    bare = [Atoms(a.symbols, a.positions, cell=a.cell, pbc=a.pbc) for a in pool]
    one, other = (select_structures(p, 4, prior=PRIOR).structures.tolist() for p in (pool, bare))
    assert one == other


def test_file_has_the_chosen_in_order_with_their_data(tmp_path) -> None:
    pool = copper_set(5)
    write(tmp_path / "pool.xyz", pool)
    source = StructureSource(tmp_path / "pool.xyz")
    chosen = select_structures(source, 3, prior=PRIOR)
    assert write_selection(tmp_path / "out.xyz", source, chosen) == 3
    found = read(tmp_path / "out.xyz", ":")
    for rank, (atoms, position) in enumerate(zip(found, chosen.structures, strict=True)):
        np.testing.assert_allclose(atoms.positions, pool[position].positions, atol=1e-7)
        assert atoms.get_potential_energy() == pytest.approx(pool[position].get_potential_energy())
        assert atoms.info["selection_rank"] == rank
    with pytest.raises(InputError, match="is also read"):
        write_selection(tmp_path / "pool.xyz", source, chosen)
    with pytest.raises(InputError, match="suffix"):
        write_selection(tmp_path / "out.nothing", source, chosen)
    picked = select_structures(source, 4, what="atoms", prior=PRIOR)
    write_selection(tmp_path / "atoms.xyz", source, picked)
    marked = [a.arrays["selection_rank"] for a in read(tmp_path / "atoms.xyz", ":")]
    assert sorted(np.concatenate(marked)[np.concatenate(marked) >= 0]) == [0, 1, 2, 3]
    assert json.dumps(picked.indices_dict())


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_a_database_keeps_what_is_known_of_the_chosen(suffix: str, tmp_path) -> None:
    pool = copper_set(5)
    for number, atoms in enumerate(pool):
        atoms.info |= {"config_type": f"kind {number % 2}", "CO": 1, "note": "new", "vector": [1, 2]}
    write(tmp_path / "pool.xyz", pool)
    source, out = StructureSource(tmp_path / "pool.xyz"), tmp_path / f"out.{suffix}"
    chosen = select_structures(source, 3, prior=PRIOR)
    for _ in range(2):  # what is there is replaced
        write_selection(out, source, chosen)
    for rank, (row, position) in enumerate(zip(connect(str(out)).select(), chosen.structures, strict=True)):
        assert row.key_value_pairs["selection_rank"] == rank
        assert row.key_value_pairs["config_type"] == f"kind {position % 2}"
        assert row.energy == pytest.approx(pool[position].get_potential_energy())
        assert set(row.data) >= {"CO", "vector"}
    assert [item.config_type for item in StructureSource(out)] == list(chosen.config_types)
    picked = select_structures(source, 4, what="atoms", prior=PRIOR)
    write_selection(out, source, picked)
    marked = np.concatenate([row.data["selection_rank"] for row in connect(str(out)).select()])
    assert sorted(marked[marked >= 0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["variance", "farthest"])
def test_memory_does_not_grow_with_the_pool(method: str, tmp_path) -> None:
    """A pool five times as large takes its rows and features from the disk, not from the memory."""
    write(tmp_path / "pool.xyz", copper_set(30))
    peaks = []
    select_structures(tmp_path / "pool.xyz", 2, method=method, prior=PRIOR, threads=1)  # compiles
    for pool in (f"{tmp_path / 'pool.xyz'}@:6", tmp_path / "pool.xyz"):
        source = StructureSource(pool)
        tracemalloc.start()
        select_structures(source, 2, method=method, prior=PRIOR, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 200_000


def test_lone_atoms_are_no_trouble() -> None:
    pool = [*copper_set(3), Atoms("Cu"), Atoms("Cu", cell=[9, 9, 9], pbc=True)]
    gap = castile.GAP(n_sparse=8, n_max=4, l_max=3, cutoff=4.0).fit(copper_set(4))
    for model in (gap, None):
        for method in ("variance", "pool-variance"):
            chosen = select_structures(pool, 5, model=model, method=method, prior=PriorChoices(n_sparse=8))
            assert sorted(chosen.structures) == [0, 1, 2, 3, 4]


def test_labels_of_extreme_precision_are_no_trouble() -> None:
    """Of two equal crystals the second is worth least, and what is known is worth no more."""
    train = copper_set(4)
    gap = castile.GAP(
        {"use_stress": False}, n_sparse=20, n_max=4, l_max=3, cutoff=4.0, pair=False, core=False,
        energy_noise=1e-6, force_noise=1e-6, amplitude=1e3,
    ).fit(train)  # fmt: skip
    pool = [*copper_set(8)[4:], *[labelled(bulk("Cu", a=3.9, cubic=True))] * 2]
    for method in ("variance", "information", "pool-variance"):
        alone, beside = (
            select_structures(pool, 6, model=gap, train=known, method=method, prior=PriorChoices(n_sparse=60))
            for known in (None, train)
        )
        for chosen in (alone, beside):
            assert chosen.values is not None
            assert np.all(chosen.values > 0.0), method
            assert chosen.structures[-1] in (4, 5), method
        assert beside.values[0] < alone.values[0]


def test_structures_without_any_label_are_worth_nothing() -> None:
    """A model of stress alone: a molecule has none."""
    train = copper_set(4)
    settings = {"use_energies": False, "use_forces": False}
    gap = castile.GAP(settings, n_sparse=8, n_max=4, l_max=3, cutoff=4.0, pair=False, core=False).fit(train)
    pool = [Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]), *copper_set(6)[4:]]
    for method in ("variance", "information"):
        chosen = select_structures(pool, 3, model=gap, method=method, prior=PriorChoices(n_sparse=8))
        assert chosen.structures[-1] == 0
        assert chosen.values[-1] == 0.0


def test_more_than_the_pool_has() -> None:
    assert sorted(select_structures(copper_set(3), 10, prior=PRIOR).structures) == [0, 1, 2]


def test_bad_input_is_named() -> None:
    pool, gap = copper_set(3), small_gap(6).fit(clusters(2))
    with pytest.raises(InputError, match="n = 0"):
        select_structures(pool, 0)
    with pytest.raises(InputError, match="method = 'best'"):
        select_structures(pool, 1, method="best")
    with pytest.raises(InputError, match=r"zeta = 3 and a model"):
        select_structures(pool, 1, model=gap, prior=PriorChoices(zeta=3.0))
    with pytest.raises(InputError, match=r"structure 3: holds Ag, which the model .* does not know; remove"):
        select_structures([*pool, Atoms("Ag")], 1, model=gap, method="farthest")
    with pytest.raises(InputError, match="holds Au"):
        select_structures([bulk("Au")], 1, model=gap)
    with pytest.raises(InputError, match="holds Au"):
        select_structures(pool, 1, train=[bulk("Au")], prior=PRIOR)
    with pytest.raises(InputError, match="holds Au"):
        select_structures(pool, 1, train=[bulk("Au")], prior=PRIOR, method="farthest")
    with pytest.raises(castile.errors.NotFittedError):
        select_structures(pool, 1, model=castile.GAP())
    with pytest.raises(InputError, match="is no folder"):
        select_structures(pool, 1, folder="nowhere")
