"""The options that mean the same in every command: -q, -v and, where there are many, --config."""

from __future__ import annotations

import functools
import inspect
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand
from typer.models import ArgumentInfo, OptionInfo

from w2v2cli.commands.calls.once import taking_once
from w2v2cli.commands.calls.settings_file import take_settings
from w2v2cli.console import complain, telling
from w2v2cli.errors import UsageError, exits
from w2v2cli.processes import Ranks

PANEL = "Every command"  # a heading of --help
MANY = 5  # options; a command with more of its own takes them from a file, too

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only errors and results.", rich_help_panel=PANEL),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print also where the time went, and the traceback of an error.",
        rich_help_panel=PANEL,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Take options from a file, JSON or TOML, whose keys are their names. Those on the "
        "command line win.",
        metavar="FILE",
        is_eager=True,
        callback=take_settings,
        rich_help_panel=PANEL,
    ),
]


class Commands(typer.Typer):
    """An app whose commands all take these options."""

    def command(  # type: ignore[override]  # what Typer takes is its own, and grows
        self, name: str | None = None, **how: Any
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Register a command; see `typer.Typer.command`."""
        how["cls"] = taking_once(how.get("cls") or TyperCommand)
        register = super().command(name, **how)

        def decorate(command: Callable[..., None]) -> Callable[..., None]:
            register(_with_shared(command))
            return command

        return decorate


def _with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the shared options beside its own, and keeps to them."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    shared: dict[str, Any] = {"quiet": Quiet, "verbose": Verbose}
    if sum(map(_is_option, own)) > MANY:
        shared["config"] = Config

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        for name in set(shared) - {"quiet", "verbose"}:
            del given[name]  # it was read before the other options
        quiet, verbose = given.pop("quiet"), given.pop("verbose")
        with exits():
            if quiet and verbose:
                raise UsageError("--quiet and --verbose contradict each other: give one.")
        with telling(quiet, verbose), _timed(verbose):
            command(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in own] + [
        inspect.Parameter(
            name, keyword, default=None if name == "config" else False, annotation=annotation
        )
        for name, annotation in shared.items()
    ]
    signature = inspect.Signature(parameters)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapper.__wrapped__  # its signature is another
    return wrapper


def _is_option(parameter: inspect.Parameter) -> bool:
    kinds = {type(part) for part in get_args(parameter.annotation)}
    plain = parameter.default is not inspect.Parameter.empty and ArgumentInfo not in kinds
    return OptionInfo in kinds or plain


@contextmanager
def _timed(verbose: bool) -> Iterator[None]:
    """Tell at the end what the command took, on the first rank."""
    began = time.perf_counter()
    try:
        yield
    finally:
        if verbose and Ranks.from_environment().first:
            used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            cores = sum(each.ru_utime + each.ru_stime for each in used)
            unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
            complain(
                f"It took {time.perf_counter() - began:.1f} s, {cores:.1f} s of processor time, "
                f"and {used[0].ru_maxrss * unit / 1e6:.0f} MB of memory at most."
            )
