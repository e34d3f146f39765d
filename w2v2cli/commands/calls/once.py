"""Options of which some commands take several: the others refuse a second one.

Click lets the last of several values win, as most programs do. Who has written `--lm a --lm b` for
`w2v2 transcribe`, which searches with both, would miss the first one elsewhere without a word.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

REPEATED = ("--lm", "--peak-lr", "--split")


def taking_once(command: type[TyperCommand]) -> type[TyperCommand]:
    """The command class, with a sentence for one of `REPEATED` that a command takes once."""

    class Once(command):  # type: ignore[misc,valid-type]
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if any(args.count(name) > 1 for name in REPEATED) or any("=" in arg for arg in args):
                _refuse_second(self, ctx, args)
            rest: list[str] = super().parse_args(ctx, args)
            return rest

    return Once


def _refuse_second(command: TyperCommand, ctx: Any, args: list[str]) -> None:
    if ctx.resilient_parsing:  # completion of a line that is still being written
        return
    _, _, given = command.make_parser(ctx).parse_args(args=list(args))
    for name in REPEATED:
        count = sum(name in option.opts and not option.multiple for option in given)
        if count > 1:
            ctx.fail(f"{name} was given {count} times, and {ctx.command_path} takes one: choose.")
