"""Options of which some commands take several."""

import pytest
import typer

from w2v2cli.app import app, main
from w2v2cli.commands.calls.once import REPEATED


def options(group, context):
    """Each option of each command."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from options(command, context)
        else:
            yield from (each for each in command.params if each.param_type_name == "option")


def test_they_are_those_that_one_command_takes_several_times_and_another_once():
    group = typer.main.get_command(app)
    every = list(options(group, typer.Context(group)))
    several, once = (
        {name for each in every if each.nargs == 1 and each.multiple is many for name in each.opts}
        for many in (True, False)
    )
    assert several & once == set(REPEATED) and several > once & several


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            "finetune corpus -o run --lm a.arpa --lm b.arpa",
            "--lm was given 2 times, and w2v2 finetune takes one: choose.",
        ),
        ("finetune corpus --lm=4gram -o run --lm=none", "--lm was given 2 times, and w2v2 finet"),
        ("model convert a b --lm x --lm=x", "--lm was given 2 times, and w2v2 model convert"),
        ("pretrain c -o run --peak-lr 1 --peak-lr 2 --peak-lr 3", "--peak-lr was given 3 times"),
        ("eval --split dev-clean --split dev-other", "--split was given 2 times, and w2v2 eval"),
    ],
)
def test_a_second_one_is_refused(monkeypatch, capsys, call, sentence):
    monkeypatch.setattr("sys.argv", ["w2v2", *call.split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "call",
    [
        "transcribe missing.wav --lm a.arpa --lm b.arpa",
        "finetune missing -o run --peak-lr 1e-5 --peak-lr=2e-5",
        "finetune missing -o run --device cpu --device cpu",
        "eval --data missing --split all --lm none -- --lm",
    ],
)
def test_what_may_be_repeated_is_not(monkeypatch, capsys, tmp_path, call):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["w2v2", *call.split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code and "was given" not in capsys.readouterr().err
