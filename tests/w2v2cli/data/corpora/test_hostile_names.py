"""Lists that name what no file can be called are answered as for any file that is missing."""

import json
import os

import pytest
from calls import called
from recordings import recording

from w2v2cli.data.corpora.readers import CorpusError, read_corpus

LONG = "a" * 5000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", json.dumps({"audio_filepath": f"{LONG}.wav"})),
        ("a.jsonl", json.dumps({"audio_filepath": f"{LONG}.wav", "offset": 1, "duration": 1})),
        ("a.jsonl", json.dumps({"audio_filepath": "a\0.wav"})),
        ("a.jsonl", json.dumps({"audio_filepath": f"t.parquet/audio/{'9' * 5000}"})),
        ("metadata.csv", f"{LONG}|TEXT\n"),
        ("train.tsv", f"path\tsentence\n{LONG}\tTEXT\n"),
        ("wav.scp", f"a {LONG}.wav\n"),
        ("transcripts.tsv", f"{LONG}\t1\tTEXT\n"),
        ("a.tsv", f"/\n{LONG}.wav\t16000\n"),
    ],
)
def test_a_name_of_thousands_of_letters(name, text, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"")
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match="1 of 1 recordings are missing"):
        read_corpus(tmp_path / name)


def test_a_heading_that_is_no_csv(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name\rtext\na.wav,A\n")
    with pytest.raises(CorpusError):
        read_corpus(tmp_path / "metadata.csv")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("audio_filepath", ["a.wav"]),
        ("audio", {"path": "a.wav"}),
        ("id", {"a": 1}),
        ("id", True),
        ("id", ""),
        ("speaker", ["x"]),
        ("phones", ["hh"]),
    ],
)
def test_lists_and_objects_are_no_names(key, value, tmp_path):
    recording(tmp_path / "a.wav")
    row = {"path": "a.wav"} | {key: value}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(CorpusError, match=f"a.jsonl, line 1: {key} should be a "):
        read_corpus(tmp_path / "a.jsonl")


def test_a_name_that_is_not_utf8_goes_through_every_list(tmp_path):
    folder, name = tmp_path / "corpus", os.fsdecode(b"a\xff")
    for number in range(30):
        recording(folder / "a.wav").rename(folder / f"{name}{number:02}.wav")
    scanned, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    assert called("data", "scan", folder, "--output", scanned).returncode == 0
    assert called("data", "scan", scanned, "--output", again).returncode == 0
    assert scanned.read_text(encoding="utf-8") == again.read_text(encoding="utf-8")
    assert read_corpus(again)[0].path == folder / f"{name}00.wav"
    for command, output in (("split", tmp_path / "split"), ("shard", tmp_path / "shards")):
        assert called("data", command, again, "--output", output).returncode == 0, command
    result = called("data", "scan", folder, "--output", tmp_path / "a.tsv")
    assert result.returncode == 1
    assert "A fairseq manifest cannot hold the name 'a\\udcff00.wav" in result.stderr
