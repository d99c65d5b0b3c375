"""The report is one well-formed, self-contained, escaped file."""

import re
from html.parser import HTMLParser

import pytest

from castile.evaluation.tables import Table
from castile.report import Paragraph, Section, Tile, table_section, timing_section, write_html_report
from castile.report.page import render_page

VOID = {"meta", "br", "img", "hr", "link", "input"}
NASTY = '<script>alert("x")</script> & "quotes"'


class BalancedTags(HTMLParser):
    """Raises where a tag is closed that was not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(text: str) -> BalancedTags:
    parser = BalancedTags()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def nasty_page() -> str:
    table = Table((NASTY, "n"), ((NASTY, "1"),), title=NASTY, note=NASTY)
    sections = [
        Section(NASTY, (Paragraph(NASTY), table), lead=NASTY),
        timing_section([(NASTY, 1.5), ("fit", 2.0)]),
    ]
    tiles = [Tile("1", NASTY, NASTY, NASTY, True), Tile("2", "", "b", "", False)]
    return render_page(sections, title=NASTY, subtitle=NASTY, tiles=tiles, footer=NASTY)


def test_every_text_is_escaped() -> None:
    parser = parsed(nasty_page())
    assert "script" not in parser.tags
    assert sum(text.count("<script>") for text in parser.texts) >= 10


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = nasty_page()
    links = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "@import" not in text
    assert all(url.startswith(("#", "data:")) for url in re.findall(r"url\(([^)]*)\)", text))


def test_navigation_reaches_every_section() -> None:
    text = nasty_page()
    for anchor in re.findall(r'<a href="#([^"]*)"', text):
        assert text.count(f'id="{anchor}"') == 1


def test_numeric_columns_are_marked() -> None:
    section = table_section("T", ("name", "value"), [("a", "1,234"), ("b", "–"), ("c", "-3.2e-5")])
    page = render_page([section], title="t")
    assert '<th class="number">value</th>' in page
    assert "<th>name</th>" in page


def test_the_file_appears_complete_or_not_at_all(tmp_path) -> None:
    path = write_html_report(tmp_path / "r.html", [], title="one")
    assert "<h1>one</h1>" in path.read_text(encoding="utf-8")
    with pytest.raises(AttributeError):
        write_html_report(tmp_path / "r.html", [None], title="two")  # type: ignore[list-item]
    assert "<h1>one</h1>" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]
