"""The Python blocks of README.md and docs/ run, page by page, in a fresh folder."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<ticks>`{3,})(?P<info>[^`\n]*)$")


@dataclass(frozen=True)
class Block:
    """Code of one fenced block and the line of the page on which it starts."""

    code: str
    line: int


def runnable_blocks(text: str) -> list[Block]:
    """Blocks fenced as ``python``; ``python no-run`` and other languages are left out."""
    blocks = []
    opened = None
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened = (len(fence["ticks"]), fence["info"].split(), number, [])
        elif fence and not fence["info"].strip() and len(fence["ticks"]) >= opened[0]:
            words = opened[1]
            if words[:1] == ["python"] and "no-run" not in words:
                blocks.append(Block(textwrap.dedent("\n".join(opened[3])), opened[2] + 1))
            opened = None
        else:
            opened[3].append(line)
    if opened is not None:
        raise ValueError(f"the block that starts on line {opened[2]} is never closed")
    return blocks


def run_page(text: str, name: str) -> dict:
    """Run all blocks in one namespace; line numbers in tracebacks are those of the page."""
    namespace = {"__name__": "__main__"}
    for block in runnable_blocks(text):
        exec(compile("\n" * (block.line - 1) + block.code, name, "exec"), namespace)
    return namespace


PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.exists()]
RUNNABLE = [page for page in PAGES if runnable_blocks(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_of_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    namespace = run_page(page.read_text(encoding="utf-8"), str(page))
    assert len(namespace) > 1


EXAMPLE = """
```python
a = 1
```
```python no-run
a = 0 / 0
```
```bash
exit 1
```
!!! note
    ```python
    b = a + 1
    ```
"""


def test_blocks_share_a_namespace_and_others_are_left_out() -> None:
    assert [block.line for block in runnable_blocks(EXAMPLE)] == [3, 13]
    assert run_page(EXAMPLE, "example")["b"] == 2


def test_error_in_a_block_is_raised_with_the_line_of_the_page() -> None:
    with pytest.raises(NameError) as caught:
        run_page("text\n\n```python\nx = 1\ny = nothing\n```\n", "example")
    assert caught.traceback[-1].lineno + 1 == 5


def test_block_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1 is never closed"):
        runnable_blocks("```python\na = 1\n")
