"""Fields of a dataclass become options of a command."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from w2v2cli.app import main
from w2v2cli.commands.flags import takes
from w2v2cli.commands.training.finetune_options import FinetuneFlags
from w2v2cli.errors import UsageError
from w2v2cli.help import Help, one_line_paragraphs, refusal


@dataclass(frozen=True)
class Settings:
    size: Annotated[int, Help("Number of things.", "Panel")] = 3
    colour: Annotated[Literal["red", "green"], Help("Colour of things.")] = "red"
    note: Annotated[str | None, Help("Text.", flag="--remark")] = None

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UsageError(f"--size cannot be negative, got {self.size}.")


def program():
    app = typer.Typer()
    seen = []

    @app.command()
    @takes(Settings, without=["note"], colour="green", help={"size": "How many."})
    def make(settings: Settings, name: Annotated[str, typer.Argument(help="A name.")]) -> None:
        """Make things.

        A sentence that is
        broken over lines.
        """
        seen.append((settings, name))

    return app, seen


def test_options_reach_the_command_as_one_value():
    app, seen = program()
    assert CliRunner().invoke(app, ["x"]).exit_code == 0
    assert CliRunner().invoke(app, ["y", "--size", "5", "--colour", "red"]).exit_code == 0
    assert seen == [(Settings(3, "green"), "x"), (Settings(5, "red"), "y")]


def test_help_shows_choices_texts_and_defaults_of_the_command():
    app, _ = program()
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"}).stdout
    assert "red|green" in shown and "[default: green]" in shown
    assert "How many." in shown and "Number of things." not in shown
    assert "--note" not in shown and "--remark" not in shown
    assert "A sentence that is broken over lines." in shown


def test_what_the_settings_refuse_is_a_sentence_and_exit_code_2():
    app, seen = program()
    result = CliRunner().invoke(app, ["x", "--size", "-1"])
    assert result.exit_code == 2 and seen == []
    assert "Error: --size cannot be negative, got -1." in result.stderr


def test_a_refusal_names_the_choices_and_the_nearest():
    assert refusal("--colour", "gren", ["red", "green"]) == (
        "--colour takes red or green, got 'gren'. Did you mean green?"
    )
    assert refusal("--protocol", "x", ["paper"]) == "--protocol takes paper, got 'x'."


def test_examples_keep_their_lines():
    text = "One\ntwo.\n\nExamples:\n\n  a b\n  c d"
    assert one_line_paragraphs(text) == "One two.\n\nExamples:\n\n  a b\n  c d"


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_resume_begins_no_run(command, tmp_path, capsys, monkeypatch):
    there = ["w2v2", command, "corpus", "--resume", "-o", str(tmp_path / "typo")]
    monkeypatch.setattr("sys.argv", there)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and list(tmp_path.iterdir()) == []
    assert "--resume finds no run to continue in" in " ".join(capsys.readouterr().err.split())


def test_resume_finds_the_runs_of_a_selection(tmp_path):
    (tmp_path / "lr2e-05-seed1").mkdir()
    (tmp_path / "lr2e-05-seed1" / "state-00000004-0.pt").touch()
    FinetuneFlags(resume=True).check_resume(tmp_path)
    FinetuneFlags().check_resume(tmp_path / "new")


def test_only_the_first_rank_looks_for_a_run_to_resume(tmp_path, monkeypatch):
    """The others need no folder in common with it."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    FinetuneFlags(resume=True).check_resume(tmp_path)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="--resume finds no run"):
        FinetuneFlags(resume=True).check_resume(tmp_path)
