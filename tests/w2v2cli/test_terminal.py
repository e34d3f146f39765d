"""Words of a stranger's model on a terminal: they neither colour nor clear it."""

import json

import numpy as np
import pytest
import soundfile
from rich.table import Table

from benchmarks.torture.cases import CONTROL, command
from benchmarks.torture.processes.names import hearing
from w2v2cli.console import stdout_console
from w2v2cli.recognition.streaming.listening import Event
from w2v2cli.recognition.streaming.showing import Growing, JsonLines, Lines
from w2v2cli.recognition.transcript import TimedWord

HOSTILE = "\x1b[2Ja\x9bm\u202eb"
SHOWN = r"\x1b[2Ja\x9bm\u202eb"


@pytest.fixture
def noise(tmp_path):
    """A second of it, in a folder of its own."""
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "corpus" / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal(8000) * 0.1, 16000)
    return path


def test_what_a_network_hears_rules_no_terminal(tmp_path, noise):
    use = ("--model", str(hearing(HOSTILE, tmp_path)), "--device", "cpu")
    for form in ("txt", "srt", "jsonl"):
        code, out, _ = command("transcribe", str(noise), "--format", form, *use)
        assert code == 0 and not CONTROL.search(out)
        assert form == "jsonl" or SHOWN in out
    assert json.loads(out)["text"] == HOSTILE
    command("transcribe", str(noise), "--output-dir", str(tmp_path / "out"), *use)
    assert (tmp_path / "out" / "noise.txt").read_text() == f"{HOSTILE}\n"
    noise.with_suffix(".txt").write_text("A\n")
    for more in (("--worst", "1"), ("--json",)):
        code, out, err = command("eval", "--data", str(noise.parent), "--lm", "none", *use, *more)
        assert code == 0 and not CONTROL.search(out + err), err


@pytest.mark.parametrize("showing", [Lines, JsonLines, lambda write: Growing(write, lambda: 80)])
def test_words_that_arrive_rule_no_terminal(showing):
    written = []
    word = TimedWord(HOSTILE, 0.0, 1.0, 1.0)
    shown = showing(written.append)
    shown.show(Event((), (word,), sentence_ends=False))
    shown.show(Event((word,), (), sentence_ends=True))
    assert "\x1b[2J" not in "".join(written) and "\x9b" not in "".join(written)
    assert r"\x1b[2J" in "".join(written) or r"\u001b[2J" in "".join(written)


def test_names_in_tables_rule_no_terminal_and_are_no_markup(capsys):
    table = Table(title="[/b]")
    table.add_column(HOSTILE)
    table.add_row("[bold red]x")
    console = stdout_console()
    console.print(table)
    console.print(f"* {HOSTILE}")
    out = capsys.readouterr().out
    assert not CONTROL.search(out) and SHOWN in out and out.count(r"\x1b[2Ja") == 2
    assert "[/b]" in out and "[bold red]x" in out
