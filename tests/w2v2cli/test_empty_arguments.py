"""An empty argument, as an unset variable of a shell leaves it, is not the current folder."""

import pytest

from w2v2cli import app


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["transcribe", ""], "The argument after transcribe is empty."),
        (["eval", "--data", ""], "The argument after --data is empty."),
        (["data", "scan", "x", "--output="], "The argument after --output is empty."),
    ],
)
def test_empty_arguments_are_refused(monkeypatch, capsys, args, sentence):
    monkeypatch.setattr("sys.argv", ["w2v2", *args])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 2 and capsys.readouterr().err == f"Error: {sentence}\n"
