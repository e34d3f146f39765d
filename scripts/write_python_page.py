"""Write the table of options in docs/python.md from the dataclass that holds them.

python -m scripts.write_python_page
"""

from __future__ import annotations

import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from w2v2cli.help import Help
from w2v2cli.recognition.options import DecodingOptions

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BEGIN = "<!-- options: begin (python -m scripts.write_python_page) -->\n"
END = "<!-- options: end -->\n"
WIDTH = 98


def option_list() -> str:
    """One item for each option: its name, its default, its help."""
    hints = get_type_hints(DecodingOptions, include_extras=True)
    items = []
    for field in fields(DecodingOptions):
        kind, about = get_args(hints[field.name])
        assert isinstance(about, Help)
        text = f"- `{field.name}={_shown(field.default)}`: {about.text}{_choices(kind)}"
        items.append(textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join(items) + "\n"


def _shown(value: Any) -> str:
    return "-inf" if value == -float("inf") else repr(value)


def _choices(kind: Any) -> str:
    values = [value for value in get_args(kind) if isinstance(value, str)]
    return f" One of {', '.join(values)}." if values else ""


def page(text: str) -> str:
    """The page with its list of options brought up to date."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{option_list()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
