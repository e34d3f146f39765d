"""-o, -q, -v and --config mean the same in every command."""

import sys

import pytest
import typer
from calls import called
from recordings import recording
from typer.testing import CliRunner

from w2v2cli.app import app
from w2v2cli.commands.calls.every import MANY, Commands
from w2v2cli.console import complain, detail, is_quiet, is_verbose, say
from w2v2cli.errors import UserError, exits
from w2v2cli.progress import ignored, progress

SHARED = {"quiet": ["--quiet", "-q"], "verbose": ["--verbose", "-v"], "config": ["--config"]}


def walked(command, name=""):
    """Every command of the program, by its words."""
    if not hasattr(command, "commands"):
        return {name: command}
    return {
        key: value
        for word, inner in command.commands.items()
        for key, value in walked(inner, f"{name} {word}".strip()).items()
    }


COMMANDS = walked(typer.main.get_command(app))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_them_once_and_nothing_else_takes_their_letters(name):
    options = {p.name: p for p in COMMANDS[name].params if p.param_type_name == "option"}
    own = [p for key, p in options.items() if key not in SHARED]
    found = {key: options[key].opts for key in SHARED if key in options}
    assert found == {k: v for k, v in SHARED.items() if k != "config" or len(own) > MANY}
    for parameter in own:
        short = [word for word in parameter.opts if not word.startswith("--")]
        assert not {"-q", "-v"} & set(short)
        # -o is where a command writes, and what is called --output has the letter.
        assert ("-o" in short) == ("--output" in parameter.opts)


def test_there_are_commands_to_walk():
    assert len(COMMANDS) > 25 and {"transcribe", "lm build", "data scan"} <= COMMANDS.keys()


program = Commands()


@program.command()
def work(fail: bool = False) -> None:
    with exits():
        say("a note")
        complain("an error")
        detail("a timing")
        typer.echo("a result")
        with progress("Working") as advance:
            shown = advance is not ignored
        assert (is_quiet(), shown) == ("-q" in sys.argv, "-q" not in sys.argv)
        if fail:
            try:
                int("x")
            except ValueError:
                raise UserError("It cannot be.") from None


@program.command()
def other() -> None:
    """Two commands make an app whose commands are called by name."""


def run(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", list(args))
    done = CliRunner().invoke(program, ["work", *args])
    assert not is_quiet() and not is_verbose()
    return done.exit_code, done.stdout, done.stderr


def test_quiet_leaves_errors_and_results(monkeypatch):
    assert run(monkeypatch) == (0, "a result\n", "a note\nan error\n")
    assert run(monkeypatch, "-q") == (0, "a result\n", "an error\n")
    code, _, said = run(monkeypatch, "-q", "--fail")
    assert (code, said) == (1, "an error\nError: It cannot be.\n")


def test_verbose_adds_timings_and_the_whole_traceback(monkeypatch):
    code, out, said = run(monkeypatch, "-v")
    assert (code, out) == (0, "a result\n")
    assert said.startswith("a note\nan error\na timing\nIt took 0.") and "MB of memory" in said
    code, _, said = run(monkeypatch, "-v", "--fail")
    assert code == 1 and "Error: It cannot be.\nIt took" in said
    assert "Traceback" in said and "ValueError: invalid literal" in said


def test_both_are_refused(monkeypatch):
    code, _, said = run(monkeypatch, "-q", "-v")
    assert code == 2
    assert said == "Error: --quiet and --verbose contradict each other: give one.\n"


def test_a_real_command_keeps_quiet(tmp_path):
    recording(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_text("no sound")
    call = "data", "scan", tmp_path, "-o", tmp_path / "m.jsonl"
    loud, quiet = called(*call), called(*call, "-q")
    assert loud.returncode == quiet.returncode == 1
    reason, _, error = loud.stderr.splitlines()
    assert quiet.stderr.splitlines() == [reason, error] and "b.wav" in reason
