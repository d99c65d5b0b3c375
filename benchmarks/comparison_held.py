"""Whether the choice of a descriptor from half of the labels holds with all of them."""

from collections.abc import Mapping
from typing import Any

from benchmarks.records import Table, figure


def conclusion_table(found: Mapping[str, Any], sets: Mapping[str, Any]) -> Table:
    """The descriptor whose error was predicted to be least at twice the labels, and the one measured there.

    Parameters
    ----------
    found : mapping
        By set, with "held" (see ``benchmarks.comparison.held_out``) and "note".
    sets : mapping
        By set, with "scale" and "shown" of its errors.
    """
    rows = []
    for name, run in found.items():
        split = "random" if run["note"] else "leak-proof"
        held = [h for h in run["held"] if h["factor"] == 2 and h["split"] == split]
        if not held:
            continue
        scale, unit = sets[name]["scale"], sets[name]["shown"]
        chosen = min(held, key=lambda h: h["predicted"])
        best = min(held, key=lambda h: h["measured"])
        above = 100.0 * (chosen["measured"] / best["measured"] - 1.0)
        predicted, measured, least = (
            f"{figure(scale * value)} {unit}".strip()
            for value in (chosen["predicted"], chosen["measured"], best["measured"])
        )
        rows.append(
            (name, chosen["label"], predicted, measured, f"{best['label']}: {least}", f"{above:.0f} %")
        )
    columns = ("", "predicted to be best", "predicted", "then measured", "best then", "above the best")
    return Table("The best descriptor at twice the labels, predicted and measured", columns, tuple(rows))
