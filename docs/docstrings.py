"""Griffe extension: turns the reST of the docstrings (equations, roles) into what the site renders."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(\w+):`~?([^`]+)`")
_DIRECTIVE = re.compile(r"^(?P<indent> *)\.\. math::[ ]*(?P<first>.*)$")


def to_markdown(text: str) -> str:
    r"""Return a docstring with ``.. math::`` as \[...\], ``:math:`` as \(...\), other roles as code."""
    lines, out = text.splitlines(), []
    position = 0
    while position < len(lines):
        match = _DIRECTIVE.match(lines[position])
        if match is None:
            out.append(lines[position])
            position += 1
            continue
        indent, body = match["indent"], [match["first"]]
        position += 1
        while position < len(lines) and (_deeper(lines[position], indent) or not any(body)):
            body.append(lines[position].strip())
            position += 1
        equation = " ".join(part for part in body if part)
        out += [f"{indent}\\[ {equation} \\]", ""]
    return _ROLE.sub(_role, re.sub(r"``([^`]+)``", r"`\1`", "\n".join(out)))


def _deeper(line: str, indent: str) -> bool:
    return line.startswith(indent + " ") and bool(line.strip())


def _role(match: re.Match[str]) -> str:
    return f"\\({match[2]}\\)" if match[1] == "math" else f"`{match[2]}`"


class Docstrings(griffe.Extension):
    """Applies :func:`to_markdown` to every docstring."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
