"""The program: its commands, and nothing that takes time to import."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from w2v2cli import __version__
from w2v2cli.commands import lm, model
from w2v2cli.commands.doctor import doctor
from w2v2cli.commands.evaluate import evaluate
from w2v2cli.commands.finetune import finetune
from w2v2cli.commands.transcribe import transcribe

# Typer brings a Click of its own or takes the installed one; either way this is the base of a call's errors.
CallError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    name="w2v2",
    help="wav2vec 2.0: from recordings to words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _program(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    if version:
        typer.echo(f"w2v2 {__version__}")
        raise typer.Exit


app.command()(transcribe)
app.command("eval")(evaluate)
app.command()(finetune)
app.add_typer(model.app, name="model")
app.add_typer(lm.app, name="lm")
app.command()(doctor)


def main() -> None:
    """Run the program; a call that cannot be understood is answered in one line with exit code 2."""
    try:
        code = app(args=lm.split_prune(sys.argv[1:]), standalone_mode=False)
    except CallError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if message:
            sys.stderr.write(f"Error: {message.rstrip('.?!')}{message[-1] if message[-1] in '?!' else '.'}\n")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(code)
