"""Why a campaign stopped, or could not begin, in words."""

import math
from collections.abc import Sequence

from castile.active.campaign_settings import CampaignSettings, StopSettings
from castile.active.ledger import OPEN, Calculation, State

FEWEST_LABELS = 2


def no_start(settings: CampaignSettings, asked: Sequence[Calculation]) -> str:
    """Say why the first labels ``asked`` for are too few for a model."""
    others = [c for c in asked if c.state is not State.ACCEPTED]
    if not others:
        return (
            f"a model needs {FEWEST_LABELS} labels to begin with, and [initial] and "
            f"stop.max_calculations = {settings.stop.max_calculations} allow only {len(asked)}; "
            f"raise the budget, or raise initial.n_rattled and delete {settings.directory}"
        )
    if any(c.state in OPEN for c in others):
        return (
            f"fewer than {FEWEST_LABELS} of the first structures have labels, and another program "
            f"computes some of them for the same store ({settings.store}); start again when it has"
        )
    return (
        f"fewer than {FEWEST_LABELS} of the first structures could be labelled, so there is no model to "
        f"begin with; the first is {others[0].state}: {others[0].reason}\ncorrect [oracle] or [initial], "
        f"and delete {settings.directory}"
    )


def failing(n_failures: int, last: Calculation) -> str:
    """Say that the oracle gave no label so many times in a row, and why the last one is none."""
    return (
        f"no label from {n_failures} calculations in a row (stop.max_failures); the last, number {last.id}, "
        f"is {last.state}: {last.reason}\nsee to the oracle and start again: it goes on"
    )


def success(stop: StopSettings, predicted: float | None, verified: float | None) -> str:
    """Say with which errors (eV/A) the target was met; None: not known."""
    errors = (
        [] if predicted is None else [f"{predicted:.4g} eV/A predicted on explored structures without labels"]
    )
    if verified is not None:
        errors.append(f"{verified:.4g} eV/A against verification labels")
    elif stop.n_verified:
        errors.append("not verified, because no calculation is left")
    return f"target met: force error {', '.join(errors)}; wanted {stop.force_error:g} eV/A"


def shortfall(stop: StopSettings, predicted: float, verified: float | None, n_fresh: int) -> str:
    """Say what is missing after the last cycle: errors in eV/A, and how many structures were explored."""
    wanted = f"wanted {stop.force_error:g} eV/A"
    if verified is not None:
        return f"force error {verified:.4g} eV/A against verification labels, {wanted}"
    if math.isnan(predicted):
        return f"no structure without a label was explored after the last label, {wanted}"
    if predicted > stop.force_error:
        return f"force error {predicted:.4g} eV/A predicted, {wanted}"
    if n_fresh < stop.min_fresh:
        few = f"on only {n_fresh} structures without labels (stop.min_fresh = {stop.min_fresh})"
        return f"force error {predicted:.4g} eV/A predicted, but {few}, {wanted}"
    return f"force error {predicted:.4g} eV/A predicted, but no label to verify it could be had, {wanted}"
