"""LJSpeech's list and AudioFolder's."""

import csv
import json

import numpy as np
import pytest
import soundfile

from w2v2cli.data.corpora.readers import CorpusError, read_corpus


def recording(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(2205), 22_050)


def test_ljspeech(tmp_path):
    lines = [
        'LJ001-0001|"Printing," he said; in 1450|"Printing," he said; in fourteen fifty',
        "LJ001-0002|only this, no more",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    for name in ("LJ001-0001.wav", "LJ001-0002.flac"):
        recording(tmp_path / "wavs" / name)
    found = read_corpus(tmp_path)
    assert [(u.id, u.text, u.path.parent.name, u.path.suffix) for u in found] == [
        ("LJ001-0001", '"Printing," he said; in fourteen fifty', "wavs", ".wav"),
        ("LJ001-0002", "only this, no more", "wavs", ".flac"),
    ]
    assert read_corpus(tmp_path / "metadata.csv") == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no bar", r"metadata.csv, line 2 should be an id and one or two texts between \|"),
        ("a|b|c|d", "line 2 should be an id and one or two texts"),
        ("|b", "line 2 should be an id and one or two texts"),
        ("a|again", "line 2: a stands in line 1 already"),
        ("gone|text", "1 of 2 recordings are missing, the first is .*gone.flac"),
    ],
)
def test_ljspeech_that_is_wrong(tmp_path, line, message):
    recording(tmp_path / "wavs" / "a.wav")
    (tmp_path / "metadata.csv").write_text(f"a|one\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("column", ["transcription", "text"])
def test_audiofolder(tmp_path, suffix, column):
    rows = [
        ("x/a.wav", 'He said: "Hello, you"', "7"),
        ("y/a.wav", "two\nlines", "8"),
        ("y/b.wav", "", "8"),
        ("y/b.flac", "  kept ", "8"),
    ]
    for name, *_ in rows:
        recording(tmp_path / name)
    columns = ["file_name", column, "speaker_id"]
    with (tmp_path / f"metadata.{suffix}").open("w", newline="") as file:
        if suffix == "csv":
            csv.writer(file).writerows([columns, *rows])
        else:
            file.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
    found = read_corpus(tmp_path)
    assert [(u.path.relative_to(tmp_path).as_posix(), u.text, u.speaker) for u in found] == rows
    # two files of one name in two formats keep their suffixes
    assert [u.id for u in found] == ["x/a", "y/a", "y/b.wav", "y/b.flac"]


def test_audiofolder_without_texts(tmp_path):
    recording(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.wav,dog\n")
    assert [(u.id, u.text) for u in read_corpus(tmp_path)] == [("a", None)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", 'file_name,text\na.wav,"two\nlines"\nb.wav\n', "line 4 should have 2"),
        ("metadata.csv", 'file_name,text\na.wav,"open\n', "line 2 is not CSV"),
        ("metadata.csv", "file_name,text\n,x\n", "line 2 names no recording"),
        ("metadata.csv", "file_name,text\na.wav,x\n\na.wav,y\n", "line 4: a.wav stands in line 2"),
        ("metadata.csv", "file_name,text\nb.wav,x\n", "1 of 1 recordings are missing"),
        ("metadata.jsonl", '{"file_name": "a.wav"}\n[1]\n', "line 2 should be a JSON object"),
        ("metadata.jsonl", '{"file_name": "a.wav"}\n{\n', "line 2 is not JSON"),
        ("metadata.jsonl", '{"file_name": "a.wav", "text": 5}\n', "should be a string, got 5"),
        ("other.csv", "name;text\na.wav;x\n", "is not a corpus: its first line should have"),
    ],
)
def test_audiofolder_that_is_wrong(tmp_path, name, content, message):
    recording(tmp_path / "a.wav")
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path / name)


def test_splits_below_a_folder_have_to_be_named(tmp_path):
    for split in ("train", "test"):
        recording(tmp_path / split / "a.wav")
        (tmp_path / split / "metadata.csv").write_text("file_name,text\na.wav,x\n")
    with pytest.raises(
        CorpusError,
        match=r"has lists in folders below: test/metadata.csv, train/metadata.csv. Name the list",
    ):
        read_corpus(tmp_path)
    assert len(read_corpus(tmp_path / "train")) == 1
