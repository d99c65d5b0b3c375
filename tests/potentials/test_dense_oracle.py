"""A GAP whose sparse points span the kernel's whole feature space is an exact Gaussian process."""

import numpy as np
import pytest
from ase import Atoms

import castile
from castile.regression import fit_exact
from potentials.examples import labelled

ZETA, AMPLITUDE = 2.0, 0.7
ENERGY_NOISE, FORCE_NOISE = 0.02, 0.05
OPTIONS = {"cutoff": 4.0, "n_max": 2, "l_max": 1, "sigma": 0.6, "cutoff_width": 1.0}


def clusters(n: int) -> list[Atoms]:
    rng = np.random.default_rng(11)
    grid = 2.5 * np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    return [labelled(Atoms("Cu8", grid + rng.uniform(-0.25, 0.25, grid.shape))) for _ in range(n)]


class Functionals:
    """Energy and forces of a structure as linear functionals of f(p): sums of f and of its gradients."""

    def __init__(self, atoms: Atoms, soap: castile.SOAP) -> None:
        self.spectra = soap.transform(atoms)
        self.changes = soap.derivatives(atoms).dense(len(atoms))  # (centre, atom, axis, feature)

    def covariance(self, other: "Functionals") -> np.ndarray:
        """K between (E, F_11, F_12, ...) of two structures, straight from k = (p . q)^zeta."""
        p, q, u, v = self.spectra, other.spectra, self.changes, other.changes
        n_first, n_second = 3 * u.shape[1], 3 * v.shape[1]
        dots = p @ q.T
        first = ZETA * dots ** (ZETA - 1.0)
        second = ZETA * (ZETA - 1.0) * dots ** (ZETA - 2.0)
        uq, pv = np.einsum("iaxf,jf->ijax", u, q), np.einsum("if,jbyf->ijby", p, v)
        K = np.empty((1 + n_first, 1 + n_second))
        K[0, 0] = np.sum(dots**ZETA)
        K[1:, 0] = -np.einsum("ij,ijax->ax", first, uq).ravel()
        K[0, 1:] = -np.einsum("ij,ijby->by", first, pv).ravel()
        both = np.einsum("ij,ijax,ijby->axby", second, uq, pv)
        both += np.einsum("ij,iaxf,jbyf->axby", first, u, v)
        K[1:, 1:] = both.reshape(n_first, n_second)
        return AMPLITUDE**2 * K


@pytest.mark.parametrize("with_forces", [False, True])
def test_sparse_gap_is_the_exact_process(with_forces: bool) -> None:
    *train, test = clusters(5)
    mean = float(np.mean([a.get_potential_energy() / len(a) for a in train]))
    soap_term = {"radial_scaling": "none", "cutoff_function": "smooth"}
    settings = {"soap": [soap_term], "jitter": 1e-12, "use_forces": with_forces, "use_stress": False}
    gap = castile.GAP(
        settings, **OPTIONS, zeta=ZETA, n_sparse=32, amplitude=AMPLITUDE, radial_basis="gto", pair=False,
        core=False, composition={"Cu": mean}, energy_noise=ENERGY_NOISE, force_noise=FORCE_NOISE, threads=1,
    ).fit(train)  # fmt: skip
    assert len(gap.model_.weights[0]) == 32
    soap = castile.SOAP(**OPTIONS, cutoff_function="smooth", species=["Cu"], threads=1)
    functionals = [Functionals(atoms, soap) for atoms in train]
    targets, noises, keep = [], [], []
    for atoms in train:
        n = len(atoms)
        targets.append(np.append(atoms.get_potential_energy() - n * mean, atoms.get_forces().ravel()))
        noises.append(np.append(ENERGY_NOISE**2 * n, np.full(3 * n, FORCE_NOISE**2)))
        keep.append(np.append(True, np.full(3 * n, with_forces)))
    used = np.concatenate(keep)
    K = np.block([[a.covariance(b) for b in functionals] for a in functionals])
    exact = fit_exact(K[np.ix_(used, used)], np.concatenate(targets)[used], np.concatenate(noises)[used])
    K_star = np.hstack([Functionals(test, soap).covariance(b) for b in functionals])[:, used]
    expected = exact.mean(K_star)
    predicted = gap.predict(test)
    assert predicted.energy - len(test) * mean == pytest.approx(expected[0], abs=1e-5)
    np.testing.assert_allclose(predicted.forces.ravel(), expected[1:], atol=1e-5)
    assert gap.fit_report_.log_evidence == pytest.approx(exact.log_evidence, rel=1e-6)
