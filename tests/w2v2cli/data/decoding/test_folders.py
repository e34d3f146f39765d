"""Folders: links are followed, what is hidden or no file is passed over and counted."""

import os

import pytest
from recordings import recording

from storage.folders import Walk
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.decoding.folders import find_recordings
from w2v2cli.errors import UsageError


def test_links_are_followed_once(tmp_path):
    recording(tmp_path / "elsewhere" / "a.wav")
    recording(tmp_path / "top" / "real" / "b.wav")
    os.symlink(tmp_path / "elsewhere", tmp_path / "top" / "linked")
    os.symlink(tmp_path / "top" / "real", tmp_path / "top" / "again")
    os.symlink(tmp_path / "top", tmp_path / "top" / "real" / "circle")
    os.symlink(tmp_path / "elsewhere" / "a.wav", tmp_path / "top" / "c.wav")
    found = [path.relative_to(tmp_path / "top") for path in find_recordings([tmp_path / "top"])]
    assert list(map(str, found)) == ["c.wav", "linked/a.wav", "real/b.wav"]
    os.symlink(tmp_path / "top", tmp_path / "all")
    assert len(find_recordings([tmp_path / "all"])) == 3


def test_a_pipe_in_a_folder_is_not_waited_on(tmp_path):
    recording(tmp_path / "a.wav")
    for name in ("b.wav", "c.txt", "x.trans.txt", "train.tsv", "metadata.csv"):
        os.mkfifo(tmp_path / name)
    assert find_recordings([tmp_path]) == [tmp_path / "a.wav"]
    assert find_recordings([f"{tmp_path}/*.wav"]) == [tmp_path / "a.wav"]
    assert find_recordings([tmp_path / "b.wav"]) == [tmp_path / "b.wav"]  # it is named
    assert [u.id for u in read_corpus(tmp_path)] == ["a"]


def test_what_is_passed_over_is_counted_in_a_line(tmp_path):
    for name in ("a.wav", ".hidden.wav", "b.txt", "c.txt", "d.pdf", "README", "sub/.git/e.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / "gone.wav", tmp_path / "link.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    lines = []
    assert find_recordings([tmp_path, tmp_path / "b.txt"], lines.append) == [
        tmp_path / "a.wav",
        tmp_path / "b.txt",
    ]
    assert lines == [
        f"{tmp_path}: files passed over: 4 of other kinds (.txt, no suffix, .pdf), 2 hidden, "
        "2 that are pipes, sockets or links to nothing."
    ]
    lines.clear()
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "a.wav").touch()
    assert find_recordings([tmp_path / "clean"], lines.append) and not lines


def test_a_corpus_of_bare_recordings_tells_what_it_passes_over(tmp_path):
    recording(tmp_path / "a.wav")
    (tmp_path / "notes.pdf").touch()
    lines = []
    assert [u.id for u in read_corpus(tmp_path, lines.append)] == ["a"]
    assert lines == [f"{tmp_path}: files passed over: 1 of other kinds (.pdf)."]


@pytest.mark.parametrize("layout", ["librispeech", "timit", "librilight"])
def test_what_macos_leaves_beside_files_does_not_refuse_a_corpus(tmp_path, layout):
    folder = tmp_path / "TRAIN" / "DR1" / "84"
    if layout == "librispeech":
        recording(folder / "84-1-0000.flac")
        (folder / "84-1.trans.txt").write_text("84-1-0000 WORDS\n")
        (folder / "._84-1.trans.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    elif layout == "timit":
        recording(folder / "SX1.WAV")
        (folder / "SX1.PHN").write_text("0 100 h#\n")
        (folder / "._SX1.PHN").write_bytes(b"\x00\x05\x16\x07\xff")
    else:
        recording(folder / "a.flac")
        (folder / "a.json").write_text('{"voice_activity": [[0, 0.1]]}')
        (folder / "._a.flac").write_bytes(b"\x00\x05\x16\x07\xff")
        (folder / "._a.json").write_bytes(b"\x00\x05\x16\x07\xff")
    assert len(read_corpus(tmp_path)) == 1


def test_corpora_are_found_through_links(tmp_path):
    folder = tmp_path / "disk" / "84"
    recording(folder / "84-1-0000.flac")
    (folder / "84-1.trans.txt").write_text("84-1-0000 WORDS\n")
    (tmp_path / "corpus").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "corpus" / "train")
    assert [u.text for u in read_corpus(tmp_path / "corpus")] == ["WORDS"]


def test_an_empty_name_is_refused(tmp_path, monkeypatch):
    recording(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="The name of a recording is empty"):
        find_recordings([""])


def test_folders_come_in_order_of_names(tmp_path):
    for name in ("b/x.wav", "a/y.wav", "a/c/z.wav", "d.wav"):
        recording(tmp_path / name)
    walked = [folder.relative_to(tmp_path).as_posix() for folder, _ in Walk(tmp_path).folders()]
    assert walked == [".", "a", "a/c", "b"]
