"""Numbers are formatted with the digits that matter."""

import pytest

from castile.evaluation import evaluate
from castile.evaluation.tables import Table, config_type_table, error_table, format_number, worst_tables
from evaluation.emt_model import EMTModel, labelled_copper


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1234567, "1,234,567"), (5.0, "5.00"), (5.7419, "5.74"), (0.13812, "0.138"),
        (99.96, "100"),
        (-27.64, "-27.6"), (4575.0, "4,575"), (1e-7, "1.00e-07"), (0.05, "0.0500"), (None, "–"),
        (-0.48, "-0.480"),
    ],
)  # fmt: skip
def test_format(value: float | int | None, text: str) -> None:
    assert format_number(value) == text


def test_tables_are_rectangular_and_agree_with_the_evaluation() -> None:
    found = evaluate(EMTModel(shift=0.01), labelled_copper(6))
    for table in (error_table(found), config_type_table(found), *worst_tables(found)):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert error_table(found).rows[0][:4] == ("energy", "meV/atom", "6", "10.0")
    assert config_type_table(found).rows[-1][0] == "all"


def test_numeric_columns() -> None:
    table = Table(("a", "b", "c"), (("x", "1,000", "–"), ("2", "-3.5e-4", "1 %")))
    assert [table.is_numeric(column) for column in range(3)] == [False, True, True]
