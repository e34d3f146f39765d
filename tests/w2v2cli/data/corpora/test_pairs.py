"""Recordings with texts of the same name beside them."""

import numpy as np
import pytest
import soundfile

from w2v2cli.data.corpora.readers import CorpusError, read_corpus


def recording(path, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(1600), 16_000)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")


def test_nested_folders(tmp_path):
    recording(tmp_path / "ann" / "one.flac", "Привет, мир!\n")
    recording(tmp_path / "bob" / "one.wav", "two  words\r\nand a line\n\n")
    recording(tmp_path / "v1.2.WAV", "three")
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / ".hidden.txt").write_text("x")
    assert [(u.id, u.text, u.speaker) for u in read_corpus(tmp_path)] == [
        ("v1.2", "three", None),
        ("ann/one", "Привет, мир!", None),
        ("bob/one", "two  words and a line", None),
    ]


def test_what_is_wrong(tmp_path):
    recording(tmp_path / "a.flac", "a")
    for name in ("b", "c"):
        recording(tmp_path / "deep" / f"{name}.flac")
    with pytest.raises(CorpusError, match="2 of 3 recordings have no text of their name .*b.flac"):
        read_corpus(tmp_path)
    (tmp_path / "deep" / "b.txt").write_text("b")
    (tmp_path / "deep" / "c.txt").write_text("  \n")
    with pytest.raises(CorpusError, match="c.txt is empty"):
        read_corpus(tmp_path)
    (tmp_path / "deep" / "c.txt").write_text("c")
    assert len(read_corpus(tmp_path)) == 3
    (tmp_path / "deep" / "d.txt").write_text("d")
    with pytest.raises(CorpusError, match="1 of 4 texts have no recording of their name .*d.txt"):
        read_corpus(tmp_path)
    recording(tmp_path / "deep" / "d.flac")
    recording(tmp_path / "deep" / "d.wav")
    with pytest.raises(CorpusError, match=r"d.txt has two recordings: \['d.flac', 'd.wav'\]"):
        read_corpus(tmp_path)
