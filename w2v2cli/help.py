"""The help text of a setting, kept beside its type and its default.

A frozen dataclass of settings annotates each field with a `Help`; `commands.flags.takes` makes an
option of it, `docs/python.md` a row of a table. Nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Help:
    """What a person reads about one setting."""

    text: str
    panel: str | None = None
    """Heading under which `--help` lists it; None for the general one."""
    metavar: str | None = None
    """Placeholder of the value; None for the type's own."""
    flag: str | None = None
    """Name of the option where it is not the field's: `--json` for `as_json`."""
    repeated: type | None = None
    """The type of one value of an option that may be given several times. The settings get a value
    that was given once as it is, several as a tuple."""


def refusal(flag: str, value: object, allowed: Sequence[str]) -> str:
    """The sentence for a value that is not among the choices of an option, with the nearest one."""
    near = difflib.get_close_matches(str(value), allowed, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    others = f"{', '.join(allowed[:-1])} or " if len(allowed) > 1 else ""
    return f"{flag} takes {others}{allowed[-1]}, got {value!r}.{hint}"


def one_line_paragraphs(text: str) -> str:
    """Docstring text with each paragraph on one line, as a terminal of any width wants it.

    Indented lines, which are examples, stay as they are.
    """
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.split("\n")
        if any(line.startswith("  ") for line in lines):
            paragraphs.append(paragraph)
        else:
            paragraphs.append(" ".join(line.strip() for line in lines))
    return "\n\n".join(paragraphs)
