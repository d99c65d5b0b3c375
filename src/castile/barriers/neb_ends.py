"""The two ends of a band: they must be the same atoms in the same cell, and the first path between them."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from ase.mep import NEB
from numpy.typing import NDArray

from castile.errors import InputError
from castile.structures import validate_structure

CELL_TOLERANCE = 1e-4
SMALLEST_MOVE = 0.05
"""A: ends that differ less are the same structure."""
FARTHEST_FIXED = 0.02


def prepare_ends(initial: Atoms, final: Atoms) -> tuple[Atoms, Atoms]:
    """Return both ends: the final one at its nearest periodic images, constrained as the initial one.

    A molecule without periodicity and constraints is turned and moved onto the initial one.

    Raises
    ------
    InputError
        When atoms, their order, the cell or the fixed atoms differ, or nothing moves; it says what.
    """
    for atoms, name in ((initial, "INITIAL"), (final, "FINAL")):
        validate_structure(atoms, name, smallest_distance=0.2)
    _require_same_atoms(initial, final)
    _require_same_cell(initial, final)
    first, last = initial.copy(), final.copy()
    first.info, last.info = {}, {}
    if not first.pbc.any() and not first.constraints:
        minimize_rotation_and_translation(first, last)
    last.set_constraint()
    moves, lengths = find_mic(last.positions - first.positions, first.cell, first.pbc)
    fixed = np.setdiff1d(np.arange(len(first)), free_atoms(first))
    for atom in fixed:
        if lengths[atom] > FARTHEST_FIXED:
            raise InputError(
                f"atom {atom} ({first.symbols[atom]}) is fixed but {lengths[atom]:.3f} A from INITIAL to "
                "FINAL; fix atoms at equal positions"
            )
    moves[fixed] = 0.0
    last.positions = first.positions + moves
    last.set_constraint(first.constraints)
    if np.linalg.norm(moves, axis=1).max() < SMALLEST_MOVE:
        raise InputError(f"INITIAL and FINAL are the same structure: no atom moves by {SMALLEST_MOVE} A")
    return first, last


def _require_same_atoms(initial: Atoms, final: Atoms) -> None:
    if len(initial) != len(final):
        raise InputError(
            f"INITIAL has {len(initial)} atoms ({initial.symbols}) and FINAL {len(final)} ({final.symbols}); "
            "both ends must be the same atoms"
        )
    differ = np.flatnonzero(initial.numbers != final.numbers)
    if len(differ):
        atom = int(differ[0])
        elements = f"{initial.symbols[atom]} in INITIAL and {final.symbols[atom]} in FINAL"
        same = sorted(initial.numbers) == sorted(final.numbers)
        remedy = (
            "the elements are the same in another order: write both in one order"
            if same
            else "the elements differ"
        )
        raise InputError(f"atom {atom} is {elements}; {remedy}")


def _require_same_cell(initial: Atoms, final: Atoms) -> None:
    if (initial.pbc != final.pbc).any():
        raise InputError(f"pbc is {initial.pbc.tolist()} in INITIAL and {final.pbc.tolist()} in FINAL")
    for vector in range(3):
        difference = float(np.abs(initial.cell[vector] - final.cell[vector]).max())
        if initial.pbc[vector] and difference > CELL_TOLERANCE:
            raise InputError(
                f"cell vector {vector} is {np.round(initial.cell[vector], 4).tolist()} in INITIAL and "
                f"{np.round(final.cell[vector], 4).tolist()} in FINAL; a band has "
                "one cell: relax the ends in it"
            )


def free_atoms(atoms: Atoms) -> NDArray[np.int64]:
    """Return the indices of the atoms that no FixAtoms holds.

    Raises
    ------
    InputError
        When all are fixed.
    """
    held: set[int] = set()
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            held.update(int(index) for index in constraint.get_indices())
    free = np.array([index for index in range(len(atoms)) if index not in held], dtype=np.int64)
    if not len(free):
        raise InputError("every atom of INITIAL is fixed; free those that move")
    return free


def first_path(initial: Atoms, final: Atoms, n_images: int, interpolation: str) -> list[Atoms]:
    """Return both ends and the images between them by linear or image-dependent pair-potential interpolation.

    Source: Smidstrup, Pedersen, Stokbro, Jonsson, J. Chem. Phys. 140, 214106 (2014).
    """
    images = [initial.copy(), *(initial.copy() for _ in range(n_images)), final.copy()]
    for fraction, image in zip(np.linspace(0.0, 1.0, n_images + 2), images, strict=True):
        image.positions = (1.0 - fraction) * initial.positions + fraction * final.positions
    if interpolation == "idpp":
        linear = [image.positions.copy() for image in images]
        with warnings.catch_warnings():  # pairs that meet half-way divide by zero
            warnings.simplefilter("ignore", RuntimeWarning)
            NEB(images, method="improvedtangent").interpolate("idpp", mic=bool(initial.pbc.any()))
        for image, place in zip(images, linear, strict=True):
            if not np.isfinite(image.positions).all():
                image.positions = place
            image.calc = None
        images[-1].positions = final.positions
    return images


def unwrapped(images: list[Atoms]) -> list[Atoms]:
    """Return the images with every atom next to its place in the image before (no jumps through the cell)."""
    for before, image in pairwise(images):
        moves, _ = find_mic(image.positions - before.positions, image.cell, image.pbc)
        image.set_positions(before.positions + moves, apply_constraint=False)
    return images
