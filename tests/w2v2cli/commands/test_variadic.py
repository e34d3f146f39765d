"""Lists of numbers after one option name."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from w2v2cli.commands.variadic import variadic

app = typer.Typer()


@app.command(cls=variadic("-r", "--rate", "--count"))
def command(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    rate: Annotated[list[float] | None, typer.Option("-r", "--rate")] = None,
    count: Annotated[list[int] | None, typer.Option(min=0)] = None,
    word: Annotated[list[str] | None, typer.Option()] = None,
    size: Annotated[int, typer.Option()] = 0,
) -> None:
    typer.echo(repr((names, rate, count, word, size)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--rate 1e-5 2e-5 a", (["a"], [1e-5, 2e-5], None, None, 0)),
        ("a --rate 1e-5 --rate 2", (["a"], [1e-5, 2.0], None, None, 0)),
        ("--rate=1 2 --count 0 0 1 1 --size 3 7", (["7"], [1.0, 2.0], [0, 0, 1, 1], None, 3)),
        ("--word 1 2", (["2"], None, None, ["1"], 0)),
        ("--rate 1 -- 2", (["2"], [1.0], None, None, 0)),
        ("--rate -1 -2", (None, [-1.0, -2.0], None, None, 0)),
    ],
)
def test_a_list_of_numbers_ends_at_the_first_other_word(line, expected):
    result = CliRunner().invoke(app, line.split())
    assert result.output.strip() == repr(expected)


@pytest.mark.parametrize("line", ["--rate", "--rate two", "--count 1 2.5", "--count 1 -1"])
def test_wrong_values_are_refused_as_ever(line):
    assert CliRunner().invoke(app, line.split()).exit_code == 2
