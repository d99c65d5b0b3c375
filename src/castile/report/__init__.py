"""Self-contained HTML reports with figures."""

from castile.report.evaluation_report import write_evaluation_report
from castile.report.figures import Curve, Figure
from castile.report.page import Paragraph, Section, Tile, render_page, write_html_report
from castile.report.sections import (
    Comparison,
    accuracy_section,
    accuracy_tiles,
    comparison_table,
    elastic_section,
    energy_conservation_section,
    equation_of_state_section,
    table_section,
    timing_section,
)

__all__ = [
    "Comparison",
    "Curve",
    "Figure",
    "Paragraph",
    "Section",
    "Tile",
    "accuracy_section",
    "accuracy_tiles",
    "comparison_table",
    "elastic_section",
    "energy_conservation_section",
    "equation_of_state_section",
    "render_page",
    "table_section",
    "timing_section",
    "write_evaluation_report",
    "write_html_report",
]
