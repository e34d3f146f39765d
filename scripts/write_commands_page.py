"""Write docs/commands.md from the Typer app: every command with its usage, help and options.

python -m scripts.write_commands_page
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from w2v2cli.app import app

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
COLUMNS = 100
SHARED = ("quiet", "verbose", "config")  # `commands.calls.every` has them once
EXAMPLE = re.compile(r"(?:w2v2 |torchrun |ffmpeg )\S")  # how a paragraph that is a call begins


def typer_minor() -> str:
    """The minor version of Typer, which words usage lines and types in its own way."""
    return ".".join(typer.__version__.split(".")[:2])


def render() -> str:
    """The page as it should be for the app as it is."""
    parts = [
        "# Commands",
        "Written by `python -m scripts.write_commands_page` from the program itself "
        f"(Typer {typer_minor()}); a test compares the two. "
        "`w2v2 COMMAND --help` prints the same.",
    ]
    program: Any = typer.main.get_command(app)
    commands = list(_leaves("w2v2", program))
    parts += _shared(dict(commands))
    parts.append("\n".join(f"- [{name}](#{name.replace(' ', '-')})" for name, _ in commands))
    for name, command in commands:
        parts += _section(name, command)
    return "\n\n".join(_wrapped(part) for part in parts) + "\n"


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that runs, with the words that call it."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from _leaves(f"{name} {word}", inner)


def _shared(commands: dict[str, Any]) -> Iterator[str]:
    """What is the same in every command."""
    command = commands["w2v2 transcribe"]  # one of those that take all of it
    context = command.context_class(command, info_name="w2v2 transcribe")
    some = [name for name, each in commands.items() if _takes(each, "config")]
    yield "Every command takes these, and `-o` is the file or the folder of what it makes:"
    lines = [
        f"- `{record[0]}`: {_escaped(record[1])}"
        for parameter in command.params
        if parameter.name in SHARED and (record := parameter.get_help_record(context))
    ]
    yield "\n".join(lines)
    yield f"`--config` is for commands with many options: {', '.join(some)}."


def _takes(command: Any, name: str) -> bool:
    return any(parameter.name == name for parameter in command.params)


def _section(name: str, command: Any) -> Iterator[str]:
    """The heading, usage, help and parameters of one command."""
    context = command.context_class(command, info_name=name)
    yield f"## {name}"
    yield textwrap.indent(command.get_usage(context).removeprefix("Usage: "), "    ")
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        lines = [line.strip() for line in paragraph.splitlines()]
        if EXAMPLE.match(lines[0]):
            yield textwrap.indent("\n".join(lines), "    ")
        else:
            yield _escaped(" ".join(lines))
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        if parameter.name in SHARED:
            continue
        argument = parameter.param_type_name == "argument"
        panel = parameter.rich_help_panel or ("Arguments" if argument else "Options")
        panels.setdefault(panel, []).append(f"- `{record[0]}`: {_escaped(record[1])}")
    for panel, lines in panels.items():
        yield f"**{panel}**"
        yield "\n".join(lines)


def _escaped(text: str) -> str:
    """Text without characters that Markdown takes for its own, outside of `code`."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([*_<])", r"\\\1", piece) for piece in pieces[::2]]
    return re.sub(r"  +", " ", "`".join(pieces))


def _wrapped(part: str) -> str:
    """A part of the page within the columns; code stays as it is."""
    if part.startswith(("    ", "#")):
        return part
    return "\n".join(
        textwrap.fill(
            line,
            COLUMNS,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in part.splitlines()
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
