"""Closed streams, streams that cannot encode everything, and outputs that are inputs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from calls import called

from w2v2cli.data.locations import SHIPPED

CLIP = sorted((SHIPPED / "recordings").glob("*.flac"))[0]
LATIN = os.fsdecode(b"caf\xe9.flac")  # a name that is not UTF-8


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f"exec {sys.executable} -m w2v2cli {line}"
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_a_closed_stdout_is_a_sentence():
    closed = shell("--version >&-")
    assert (closed.returncode, closed.stderr) == (
        1, b"Error: stdout is closed: there is no place for the result.\n"
    )  # fmt: skip


def test_a_closed_stderr_changes_nothing():
    assert shell("transcribe gone.wav 2>&-").returncode == 1
    assert b"w2v2" in shell("--help 2>&-").stdout


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", b"caf\xe9.flac\t"), ("cp1252", b"caf\\udce9.flac\t")],
)
def test_names_that_a_stream_cannot_encode_are_written(tmp_path, encoding, shown):
    shutil.copy(CLIP, tmp_path / LATIN)
    said = shell(f"transcribe --names {tmp_path}", PYTHONIOENCODING=f"{encoding}:strict")
    assert said.returncode == 0 and shown in said.stdout


def test_names_that_are_not_utf8_come_back_from_json(tmp_path):
    shutil.copy(CLIP, tmp_path / LATIN)
    for form in ("json", "jsonl"):
        out = tmp_path / form
        assert called("transcribe", tmp_path / LATIN, "--format", form, "--output-dir", out)
        [path] = out.iterdir()
        assert json.loads(path.read_text("utf-8"))["recording"] == str(tmp_path / LATIN)


@pytest.mark.parametrize("name", ["Łódź", "日本", "\N{GRINNING FACE}"])
def test_json_stays_json_where_the_terminal_lacks_letters(tmp_path, name):
    shutil.copy(CLIP, tmp_path / f"{name}.flac")
    said = shell(f"transcribe {tmp_path} --format jsonl", PYTHONIOENCODING="cp1252")
    assert said.returncode == 0
    assert json.loads(said.stdout.decode("cp1252"))["recording"] == f"{tmp_path}/{name}.flac"


def test_outputs_that_are_inputs_are_refused_and_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, rows = Path("t.txt"), Path("m.jsonl")
    text.write_text("one two")
    rows.write_text('{"audio": "a.wav"}\n')
    for call, sentence in {
        "lm build t.txt -o t.txt": "--output t.txt would overwrite t.txt, which this call reads",
        "lm build t.txt -o a.arpa --lexicon t.txt": "--lexicon t.txt would overwrite t.txt",
        "lm build t.txt -o a --lexicon a": "--lexicon and --output name one file, a",
        "eval --data m.jsonl --output ./m.jsonl": "--output m.jsonl would overwrite m.jsonl",
        "data scan m.jsonl -o m.jsonl": "--output m.jsonl would overwrite m.jsonl",
    }.items():
        result = called(*call.split())
        assert result.returncode == 2 and result.stderr.startswith(f"Error: {sentence}"), call
    assert text.read_text() == "one two" and rows.read_text() == '{"audio": "a.wav"}\n'
    assert not Path("a").exists()
