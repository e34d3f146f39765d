"""Options that take several numbers after one name: `--peak-lr 2e-5 3e-5`, `--prune 0 0 1 1`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand


def variadic(*options: str) -> type[TyperCommand]:
    """A command class whose `options`, lists of numbers, take several values after one name.

    Click knows only options with one value, given again for the next: `--peak-lr 2e-5 3e-5` is
    read as `--peak-lr 2e-5 --peak-lr 3e-5`. The first word that is not a number ends the list,
    so a positional argument that is a number must stand before the option or after `--`. Use it
    as `app.command(cls=variadic("--peak-lr"))(function)`.
    """

    class VariadicCommand(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, repeated(args, options))

    return VariadicCommand


def repeated(args: Sequence[str], names: Collection[str]) -> list[str]:
    """Repeat each option of `names` before every further number that follows its first value."""
    spread: list[str] = []
    option = ""  # whose list the next number continues
    first = False  # whether the next word is the value of `option`, whatever it is
    for at, word in enumerate(args):
        name, separator, _ = word.partition("=")
        if first:
            first = False
        elif word == "--":
            return [*spread, *args[at:]]
        elif option and _is_number(word):
            spread.append(option)
        else:
            option = name if name in names else ""
            first = bool(option) and not separator
        spread.append(word)
    return spread


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
