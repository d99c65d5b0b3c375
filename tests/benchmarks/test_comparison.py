"""Tables of the comparison that judge its own conclusions."""

import pytest
from benchmarks.comparison_held import conclusion_table


def held(label: str, predicted: float, measured: float, factor: int = 2, split: str = "leak-proof") -> dict:
    return {"label": label, "split": split, "factor": factor, "predicted": predicted, "measured": measured}


@pytest.mark.parametrize(("measured", "above"), [(0.03, "0 %"), (0.06, "50 %")])
def test_choice_is_judged_by_what_was_measured(measured: float, above: str) -> None:
    rows = [held("a", 0.02, measured), held("b", 0.05, 0.04), held("b", 0.001, 0.001, factor=4),
            held("b", 0.001, 0.001, split="random")]  # fmt: skip
    table = conclusion_table({"set": {"note": "", "held": rows}}, {"set": {"scale": 1000.0, "shown": "meV"}})
    ((name, chosen, predicted, then, best, worse),) = table.rows
    assert (name, chosen, predicted, worse) == ("set", "a", "20.0 meV", above)
    assert then == f"{1000 * measured:.1f} meV"
    assert best == ("a: 30.0 meV" if measured < 0.04 else "b: 40.0 meV")
