"""One self-contained HTML file from sections of text, tables and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path

from castile.evaluation.tables import Table
from castile.formats import write_text_file
from castile.report.figures import Figure
from castile.report.stylesheet import STYLESHEET


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Tile:
    """A number to see first: value, unit, what it is, a remark, and whether it passed a check (if any)."""

    value: str
    unit: str
    label: str
    remark: str = ""
    passed: bool | None = None


Block = Paragraph | Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading; neighbouring small figures or tables share a row."""

    title: str
    blocks: tuple[Block, ...]
    lead: str = ""
    anchor: str = field(default="")

    @property
    def identifier(self) -> str:
        """Anchor of the section within the page."""
        return self.anchor or "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def write_html_report(
    path: str | os.PathLike[str],
    sections: Sequence[Section],
    *,
    title: str,
    subtitle: str = "",
    tiles: Sequence[Tile] = (),
    footer: str = "",
) -> Path:
    """Write the report; the file appears complete or not at all.

    Every text is escaped. The page loads nothing from anywhere: style and figures are inside.

    Returns:
        The path written.

    """
    target = Path(path)
    text = render_page(sections, title=title, subtitle=subtitle, tiles=tiles, footer=footer)
    write_text_file(target, text)
    return target


def render_page(
    sections: Sequence[Section],
    *,
    title: str,
    subtitle: str = "",
    tiles: Sequence[Tile] = (),
    footer: str = "",
) -> str:
    """Return the text of the page."""
    links = "".join(f'<a href="#{escape(s.identifier)}">{escape(s.title)}</a>' for s in sections)
    body = "".join(_section(section) for section in sections)
    subtitle_line = f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLESHEET}</style>\n</head>\n<body>\n"
        f'<header><div class="inner"><p class="brand">Castile</p><h1>{escape(title)}</h1>{subtitle_line}'
        f"{_tiles(tiles)}</div></header>\n"
        f'<nav><div class="inner">{links}</div></nav>\n<main class="inner">{body}</main>\n'
        f'<footer class="inner">{escape(footer)}</footer>\n</body>\n</html>\n'
    )


def _tiles(tiles: Sequence[Tile]) -> str:
    if not tiles:
        return ""
    marks = {
        True: '<span class="mark good">passed</span>',
        False: '<span class="mark bad">failed</span>',
        None: "",
    }
    cells = "".join(
        f'<div class="tile"><div class="value">{escape(tile.value)} '
        f'<span class="unit">{escape(tile.unit)}</span></div>'
        f'<div class="label">{escape(tile.label)} {marks[tile.passed]}</div>'
        f'<div class="remark">{escape(tile.remark)}</div></div>'
        for tile in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _section(section: Section) -> str:
    parts = [f'<section id="{escape(section.identifier)}"><h2>{escape(section.title)}</h2>']
    if section.lead:
        parts.append(f'<p class="lead">{escape(section.lead)}</p>')
    for kind, blocks in groupby(section.blocks, _sharing):
        inner = "".join(map(_block, blocks))
        parts.append(f'<div class="{kind}">{inner}</div>' if kind else inner)
    parts.append("</section>\n")
    return "".join(parts)


def _sharing(block: Block) -> str:
    """Class of the row that a block shares with its neighbours; empty for a block of full width."""
    if isinstance(block, Figure) and not block.wide:
        return "figures"
    if isinstance(block, Table) and block.narrow:
        return "tables"
    return ""


def _block(block: Block) -> str:
    if isinstance(block, Figure):
        return _figure(block)
    if isinstance(block, Table):
        return f"<div>{_table(block)}</div>"
    return f"<p>{escape(block.text)}</p>"


def _figure(figure: Figure) -> str:
    kind = ' class="wide"' if figure.wide else ""
    drawing = figure.svg.replace("<svg", f'<svg role="img" aria-label="{escape(figure.caption)}"', 1)
    return f"<figure{kind}>{drawing}<figcaption>{escape(figure.caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    kinds = [' class="number"' if table.is_numeric(column) else "" for column in range(len(table.columns))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, table.columns, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(c)}</td>" for kind, c in zip(kinds, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'{title}<div class="scroll">{grid}</div>{note}'
