"""Lists that name what no file can be called are answered as for any file that is missing."""

import json

import pytest

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
