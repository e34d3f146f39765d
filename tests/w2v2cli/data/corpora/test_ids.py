"""Ids are unique by path or refused; rows are neither swallowed nor accepted with wrong lengths."""

import json

import pytest
from recordings import recording

from w2v2cli.data.corpora.readers import CorpusError, read_corpus


def test_recordings_of_one_name_get_ids_by_path(tmp_path):
    for name in ("ann/one.wav", "bob/one.wav", "bob/two.wav", "bob/two.flac"):
        recording(tmp_path / name)
    assert [u.id for u in read_corpus(tmp_path)] == [
        "ann/one",
        "bob/one",
        "bob/two.flac",
        "bob/two.wav",
    ]


def test_fairseq_rows_of_one_name_get_ids_by_path(tmp_path):
    for name in ("ann/one.wav", "bob/one.wav", "bob/two.wav"):
        recording(tmp_path / name)
    rows = "ann/one.wav\t1600\nbob/one.wav\t1600\nbob/two.wav\t1600\n"
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\n{rows}")
    assert [u.id for u in read_corpus(tmp_path / "train.tsv")] == ["ann/one", "bob/one", "two"]


def test_librispeech_lines_of_one_name_get_ids_by_path(tmp_path):
    for reader in ("ann", "bob"):
        recording(tmp_path / reader / "0001.flac")
        (tmp_path / reader / "own.trans.txt").write_text(f"0001 {reader}\n")
    found = {u.id: (u.text, u.path.parent.name) for u in read_corpus(tmp_path)}
    assert found == {"ann/0001": ("ann", "ann"), "bob/0001": ("bob", "bob")}


def test_an_id_that_a_manifest_gives_twice_is_refused(tmp_path):
    for name in ("ann/one.wav", "bob/one.wav"):
        recording(tmp_path / name)
    rows = [{"id": "x", "audio": name} for name in ("ann/one.wav", "bob/one.wav")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CorpusError, match="the id x stands for two utterances, of .*ann/one.wav"):
        read_corpus(tmp_path / "m.jsonl")


def test_a_table_needs_no_headings(tmp_path):
    for name in ("a.wav", "b.wav"):
        recording(tmp_path / name)
    rows = "a\t0.1\tone\nb\t0.1\ttwo\n"
    for content in (rows, f"id\tseconds\ttext\n{rows}"):
        (tmp_path / "transcripts.tsv").write_text(content)
        for path in (tmp_path, tmp_path / "transcripts.tsv"):
            assert [(u.id, u.text) for u in read_corpus(path)] == [("a", "one"), ("b", "two")]


@pytest.mark.parametrize("length", ["nan", "-1", "inf", "1e12", "long"])
def test_lengths_that_are_none_are_refused(tmp_path, length):
    recording(tmp_path / "a.wav")
    (tmp_path / "transcripts.tsv").write_text(f"id\tseconds\ttext\na\t{length}\tone\n")
    with pytest.raises(CorpusError, match="line 2 should be id, seconds and text"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"audio": "a.wav", "duration": NaN}'),
        ("a.jsonl", '{"audio": "a.wav", "duration": -1}'),
        ("a.jsonl", '{"audio": "a.wav", "samples": 1' + "0" * 30 + "}"),
        ("a.tsv", "/\na.wav\t-1600\n"),
        ("a.tsv", "/\na.wav\t1" + "0" * 30 + "\n"),
        ("wav.scp", "a a.wav\n"),
    ],
)
def test_lengths_that_are_none_are_refused_in_lists(tmp_path, name, content):
    recording(tmp_path / "a.wav")
    (tmp_path / name).write_text(content)
    (tmp_path / "segments").write_text("x a 0 1" + "0" * 30 + "\n")
    with pytest.raises(CorpusError, match="should be|should end"):
        read_corpus(tmp_path / name)


def test_a_row_listed_twice_in_a_table_is_refused(tmp_path):
    recording(tmp_path / "a.wav")
    (tmp_path / "transcripts.tsv").write_text("a\t0.1\tone\na\t0.1\ttwo\n")
    with pytest.raises(CorpusError, match="line 2: a stands in line 1 already"):
        read_corpus(tmp_path)
