"""Names of transcripts, and the record of which recordings they were made from."""

import os
from pathlib import Path

import pytest

from w2v2cli.data.audio import STDIN, recordings_by_place
from w2v2cli.recognition.writing.provenance import OutputFolder


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def recording(name: str, content: str = "sound") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def transcribe(*inputs: str | Path, skip: bool = True, fail: tuple[Path, ...] = ()) -> list[str]:
    """A call without a network: the names written; each file holds its recording's path."""
    outputs = OutputFolder(Path("out"), "txt")
    names = outputs.names(recordings_by_place(inputs))
    todo = {s: n for s, n in names.items() if not (skip and outputs.is_done(s, n))}
    assert outputs.claim(todo) is None
    written = {source: name for source, name in todo.items() if source not in fail}
    for name in written.values():
        (Path("out") / name).parent.mkdir(parents=True, exist_ok=True)
    for source, name in written.items():
        (Path("out") / name).write_bytes(os.fsencode(source))
    outputs.finish(written)
    return list(written.values())


def test_the_tree_of_a_folder_is_mirrored():
    for name in ("in/a.wav", "in/sub/a.wav", "in/sub/b.wav"):
        recording(name)
    assert transcribe("in") == ["a.txt", "sub/a.txt", "sub/b.txt"]


def test_a_suffix_and_then_folders_tell_recordings_of_one_name_apart():
    for name in ("x/a.wav", "x/a.mp3", "y/b.wav", "z/b.wav"):
        recording(name)
    assert transcribe("x") == ["a.mp3.txt", "a.wav.txt"]
    assert transcribe("y", "z") == ["y/b.txt", "z/b.txt"]


def test_a_transcript_stays_that_of_one_recording_whatever_else_is_transcribed():
    x, y = recording("x/a.wav"), recording("y/a.wav")
    assert transcribe(x) == ["a.txt"]
    [other] = transcribe(y)
    assert other != "a.txt" and Path("out/a.txt").read_text() == "x/a.wav"
    assert transcribe(y, x) == [] and transcribe(x, y) == []
    assert transcribe("y", "x", skip=False) == [other, "a.txt"]


def test_a_changed_recording_is_done_again_and_the_old_transcript_counts_no_more():
    path = recording("x/a.wav")
    assert transcribe(path) == ["a.txt"] and transcribe(path) == []
    path.write_text("other sound")
    assert transcribe(path, fail=(path,)) == []
    assert transcribe(path) == ["a.txt"]  # the failed call left the transcript of the old sound
    assert transcribe(path) == []
    os.utime(path, (1, 1))
    assert transcribe(path) == ["a.txt"]


def test_the_name_of_a_recording_that_is_gone_is_free():
    x, y = recording("x/a.wav"), recording("y/a.wav")
    transcribe(x)
    x.unlink()
    assert transcribe(y) == ["a.txt"] and Path("out/a.txt").read_text() == "y/a.wav"


def test_transcripts_without_a_record_count_by_their_names_and_are_told(tmp_path):
    path = recording("x/a.wav")
    recording("out/a.txt", "from another machine")
    outputs = OutputFolder(Path("out"), "txt")
    assert outputs.line() is None
    assert outputs.is_done(path, outputs.names({path: Path("a.wav")})[path])
    assert outputs.line() == (
        "out: 1 of the existing transcripts are taken to be those of the recordings of their "
        "names: there is no record of what they were made from."
    )


def test_stdin_is_never_done():
    assert transcribe(STDIN) == ["stdin.txt"] and transcribe(STDIN) == ["stdin.txt"]


def test_long_names_fit_and_stay_apart(tmp_path):
    one, two = recording("x/" + "a" * 250 + "1.wav"), recording("x/" + "a" * 250 + "2.wav")
    names = transcribe("x")
    assert len(set(names)) == 2 and all(len(os.fsencode(name)) <= 255 for name in names)
    assert [Path("out", name).read_text() for name in names] == [str(one), str(two)]


def test_names_that_are_not_utf8_are_kept():
    path = recording(os.fsdecode(b"x/caf\xe9.wav"))
    assert transcribe(path) == [os.fsdecode(b"caf\xe9.txt")] and transcribe(path) == []


def test_a_damaged_record_and_one_that_cannot_be_written_are_told(tmp_path):
    path = recording("x/a.wav")
    transcribe(path)
    [record] = Path("home/outputs").iterdir()
    record.write_text('{"transcripts": [1]}')
    outputs = OutputFolder(Path("out"), "txt")
    assert outputs.is_done(path, "a.txt") and outputs.unrecorded == 1
    record.unlink()
    record.mkdir()
    assert "cannot be written" in outputs.claim({path: "a.txt"})
