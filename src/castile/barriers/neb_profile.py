"""From the last band to a result: true values at the climbing image, and the profile between the images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from castile.active.ledger import State
from castile.barriers.neb_oracle import PathOracle
from castile.barriers.neb_result import NebResult, Profile
from castile.barriers.neb_search import POINT, SearchOutcome, largest_force
from castile.barriers.neb_surrogates import PathSurrogate

Float64Array = NDArray[np.float64]

PER_SEGMENT = 8
NEAR_PATH = 0.5
"""A, norm over all atoms."""


def make_result(
    outcome: SearchOutcome, surrogate: PathSurrogate, oracle: PathOracle, path_id: str
) -> NebResult:
    """Return the result of a search.

    Parameters
    ----------
    outcome : SearchOutcome
    surrogate : PathSurrogate
        That of the last band.
    oracle : PathOracle
        For the counts of calculations.
    path_id : str
    """
    band = outcome.band
    energies = band.energies.copy()
    places = [image.positions for image in band.images]
    if outcome.climbing is not None:
        energies[band.top] = outcome.climbing.get_potential_energy()
        places[band.top] = outcome.climbing.positions
    highest = float(energies[band.top]) if band.has_saddle else float(max(energies[0], energies[-1]))
    images = _images(outcome, surrogate, places, energies, highest, path_id)
    slopes = band.inner_slope_deviations
    path, ends = oracle.under(POINT), (*oracle.under("end "), *oracle.under("relax "))
    return NebResult(
        images=tuple(images),
        converged=outcome.converged,
        reason=outcome.reason,
        barrier=highest - float(energies[0]),
        reverse_barrier=highest - float(energies[-1]),
        barrier_std=float(band.deviations[band.top].energy) if band.has_saddle else 0.0,
        climbing_image=band.top if band.has_saddle else None,
        climbing_force=None if outcome.climbing is None else largest_force(outcome.climbing),
        largest_deviation=float(band.inner_deviations.max()),
        largest_slope_deviation=float(slopes.max()),
        n_oracle_calls=len(path),
        n_end_calls=len({c.id for c in ends}),
        n_failed_calls=sum(c.state is not State.ACCEPTED for c in (*path, *ends)),
        profile=_profile(places, energies, outcome, surrogate),
    )


def _images(
    outcome: SearchOutcome,
    surrogate: PathSurrogate,
    places: list[Float64Array],
    energies: Float64Array,
    highest: float,
    path_id: str,
) -> list[Atoms]:
    """Images with energies, forces and the keys of a path; without convergence the barrier is NaN."""
    band, labelled = outcome.band, outcome.labelled
    moved = np.linalg.norm(places[-1] - places[0], axis=1)
    images = []
    for index, (image, place) in enumerate(zip(band.images, places, strict=True)):
        frame = image.copy()
        frame.set_positions(place, apply_constraint=False)
        frame.info = {
            "path_id": path_id,
            "image": index,
            "n_images": len(places),
            "mobile_index": int(np.argmax(moved)),
            "barrier": highest - float(energies[0]) if outcome.converged else float("nan"),
            "system": str(image.symbols),
            "energy_std": band.deviations[index].energy,
            "source": "surrogate",
        }
        known = {0: labelled[0], len(places) - 1: labelled[1]}
        if outcome.climbing is not None:
            known[band.top] = outcome.climbing
        if index in known:
            frame.info |= {"energy_std": 0.0, "source": "oracle"}
            forces = known[index].get_forces(apply_constraint=False)
        else:
            forces = surrogate.predict(place)[1]
        frame.calc = SinglePointCalculator(frame, energy=float(energies[index]), forces=forces)
        images.append(frame)
    return images


def _profile(
    places: list[Float64Array],
    energies: Float64Array,
    outcome: SearchOutcome,
    surrogate: PathSurrogate,
) -> Profile:
    """Energies and deviations along the spline through the images."""
    steps = [np.linalg.norm(b - a) for a, b in pairwise(places)]
    nodes = np.concatenate([[0.0], np.cumsum(steps)])
    path = CubicSpline(nodes, np.array(places))
    fine = np.unique(np.concatenate([np.linspace(a, b, PER_SEGMENT + 1) for a, b in pairwise(nodes)]))
    between = [path(s) for s in fine]
    predicted = np.array([surrogate.predict(place)[0] for place in between])
    deviations = outcome.scale * np.array([surrogate.energy_deviation(place) for place in between])
    coordinates, found = [], []
    for atoms in outcome.labelled:
        distances = [float(np.linalg.norm(atoms.positions - place)) for place in between]
        nearest = int(np.argmin(distances))
        if distances[nearest] < NEAR_PATH:
            coordinates.append(fine[nearest])
            found.append(atoms.get_potential_energy() - energies[0])
    return Profile(
        fine,
        predicted - energies[0],
        deviations,
        nodes,
        energies - energies[0],
        np.array(coordinates),
        np.array(found),
    )
