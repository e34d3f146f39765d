"""The program: its commands, and nothing that takes time to import."""

from __future__ import annotations

import codecs
import difflib
import io
import json
import os
import re
import sys
from typing import Annotated

import typer

from w2v2cli import __version__, own_packages  # noqa: F401 (before what imports the packages)
from w2v2cli.commands import cache, data, lm, model
from w2v2cli.commands.alignment.align import align
from w2v2cli.commands.alignment.inspect import inspect
from w2v2cli.commands.calls.every import Commands
from w2v2cli.commands.doctor import doctor
from w2v2cli.commands.evaluation.evaluate import evaluate
from w2v2cli.commands.evaluation.score import score
from w2v2cli.commands.features import features
from w2v2cli.commands.fetch import fetch
from w2v2cli.commands.plot import plot
from w2v2cli.commands.training.finetune import finetune
from w2v2cli.commands.training.pretrain import pretrain
from w2v2cli.commands.transcribe import transcribe
from w2v2cli.commands.tune import tune_lm
from w2v2cli.commands.variadic import variadic
from w2v2cli.console import complain
from w2v2cli.errors import INTERRUPTED, UserError, exits
from w2v2cli.help import refusal

# Typer brings its own Click or takes the installed one; this is the base class of a call's errors
# in both.
CallError = next(
    base
    for base in typer.BadParameter.__mro__
    if issubclass(base, Exception) and base.__name__ == "ClickException"
)

NUMBERED = "numbered"  # how stdout writes letters that its encoding lacks
EMPTY_OPTION = re.compile("--[a-z0-9-]+=")
NO_OPTION = re.compile(r"No such option:? '?(?P<name>-[^\s'.]+)'?")
NOT_A_NUMBER = re.compile(r"\bvalid (?P<kind>integer|number|float)\b")
TOO_SMALL = re.compile(r"(greater than or equal to|not in the range x>=) ?(?P<least>-?[\d.]+)")
NOT_A_CHOICE = re.compile(r"'(?P<value>[^']*)' is not one of (?P<allowed>'.*')")

app = Commands(
    name="w2v2",
    help="wav2vec 2.0: from recordings to words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        typer.echo(f"w2v2 {__version__}")
        raise typer.Exit


app.command()(transcribe)
app.command("eval")(evaluate)
app.command()(score)
app.command()(align)
app.command()(inspect)
app.command("tune-lm")(tune_lm)
app.command()(pretrain)
app.command(cls=variadic("--peak-lr"))(finetune)
app.command()(plot)
app.command()(features)
app.command()(fetch)
app.add_typer(model.app, name="model")
app.add_typer(lm.app, name="lm")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.command()(doctor)


def main() -> None:
    """Run the program. A wrong call is answered in one line on stderr, with exit code 2."""
    args = sys.argv[1:]
    _open_streams()
    _refuse_empty(args)
    try:
        with exits():  # help and completion write to pipes and disks too
            code = app(args=args, prog_name="w2v2", standalone_mode=False)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # All our processes have ended. Taking torch apart would take seconds, for nothing.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
    except CallError as error:
        message = _sentence(error, args)
        if message:
            complain(f"Error: {message}")
        sys.exit(2)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    sys.exit(code)


class _Closed(io.TextIOBase):
    """stdout that was closed before the program began."""

    def write(self, text: str) -> int:
        raise UserError("stdout is closed: there is no place for the result.")


def _numbered(error: UnicodeError) -> tuple[str, int]:
    """What stands for letters that an encoding lacks: as JSON writes them, `\\u0141`."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _open_streams() -> None:
    """Make streams usable that were closed, or that cannot encode every name and letter.

    A number that is free would go to the next file that is opened, and messages into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (to the end of the program)
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        # Names that are not UTF-8 are written as they are; what has no code is told by number.
        codecs.register_error(NUMBERED, _numbered)
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else NUMBERED)


def _refuse_empty(args: list[str]) -> None:
    """End a call with an empty argument, such as an unset variable of a shell.

    As a path it would be the current folder.
    """
    for place, arg in enumerate(args):
        if not arg or EMPTY_OPTION.fullmatch(arg):
            name = arg.rstrip("=") or (args[place - 1] if place else "")
            after = f" after {name}" if name else ""
            sys.stderr.write(f"Error: The argument{after} is empty.\n")
            sys.exit(2)


def _sentence(error: Exception, args: list[str]) -> str:
    """What was wrong with the call, and the value where Typer leaves it out."""
    message: str = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    if missing := NO_OPTION.match(message):
        name, known = missing["name"], getattr(error, "possibilities", None) or []
        near = difflib.get_close_matches(name, known, 1)
        return f"No such option: {name}." + (f" Did you mean {near[0]}?" if near else "")
    names = getattr(getattr(error, "param", None), "opts", [])
    if choice := NOT_A_CHOICE.search(message):
        allowed = re.findall(r"'([^']*)'", choice["allowed"])
        return refusal(names[-1] if names else "The argument", choice["value"], allowed)
    pairs = [arg.split("=", 1) for arg in args if "=" in arg] + [
        list(pair) for pair in zip(args, args[1:], strict=False)
    ]
    given = [value for name, value in pairs if name in names]
    if given and (number := NOT_A_NUMBER.search(message)):
        kind = "a whole number" if number["kind"] == "integer" else "a number"
        return f"{names[-1]} takes {kind}, got {_wrong(message, given[-1])!r}."
    if given and (least := TOO_SMALL.search(message)):
        return f"{names[-1]} must be at least {least['least'].rstrip('.')}, got {given[-1]}."
    if given and repr(given[-1]) not in message:
        message = f"{message.rstrip('.')}; got {given[-1]!r}"
    return message if not message or message[-1] in ".?!" else f"{message}."


def _wrong(message: str, given: str) -> str:
    """The value that a message quotes, which may be a later one of the option; else the first."""
    quoted = re.search(r": '([^']*)' is not a valid", message)
    return quoted[1] if quoted else given
