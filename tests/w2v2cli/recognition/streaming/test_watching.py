"""Folders that are watched: what is complete is transcribed, once, until Ctrl-C."""

import os
import shutil
import signal

import pytest
from calls import called

from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UserError
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.streaming import watching
from w2v2cli.recognition.streaming.watching import SETTLED, Arrivals, Watched, watch_folders
from w2v2cli.recognition.writing.formats import Writing

CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))


def test_a_recording_is_complete_when_it_has_not_changed_for_a_while(tmp_path):
    arrivals, path = Arrivals([str(tmp_path)]), tmp_path / "a.wav"
    assert arrivals.complete(0.0) == {}  # the folder is empty, which is no error
    path.write_bytes(b"1")
    assert arrivals.complete(10.0) == {}
    path.write_bytes(b"12")
    assert arrivals.complete(10.0 + SETTLED) == {}
    assert arrivals.complete(9.0 + 2 * SETTLED) == {}
    assert list(arrivals.complete(10.0 + 2 * SETTLED)) == [path]
    assert arrivals.complete(100.0) == {}  # it is taken
    path.write_bytes(b"123")
    assert arrivals.complete(200.0) == {}
    assert list(arrivals.complete(300.0)) == [path]


class Days:
    """A clock that goes on whenever the job sleeps, with something that happens at each sleep."""

    def __init__(self, *happenings):
        self.now, self.happenings = 0.0, list(happenings)

    def sleep(self, seconds):
        self.now += SETTLED
        if not self.happenings:
            raise KeyboardInterrupt
        if (happening := self.happenings.pop(0)) is not None:
            happening()


def watched(folder, out, *happenings, forms=("txt",)):
    days, done, said = Days(*happenings), Watched(), []
    with pytest.raises(KeyboardInterrupt):
        watch_folders(
            resolve(DecodingOptions(device="cpu", workers=1)),
            [str(folder)],
            Writing(forms, output_dir=out),
            done,
            note=said.append,
            sleep=days.sleep,
            clock=lambda: days.now,
        )
    return done, said


def test_recordings_are_transcribed_as_they_come_and_a_restart_does_nothing_twice(tmp_path):
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    handler = signal.getsignal(signal.SIGTERM)
    done, said = watched(
        inbox,
        out,
        None,
        lambda: shutil.copy(CLIPS[0], inbox / "a.flac"),
        lambda: (inbox / "broken.wav").write_bytes(b"RIFF"),
        None,
        lambda: shutil.copy(CLIPS[1], inbox / "b.flac"),
        None,
        None,
        forms=("txt", "srt"),
    )
    assert {path.name for path in out.iterdir()} == {"a.txt", "a.srt", "b.txt", "b.srt"}
    assert done.transcribed == 2 and "broken.wav" in done.failed[0]
    assert said[1:] == [
        f"{inbox}/a.flac: a.txt, a.srt",
        done.failed[0],
        f"{inbox}/b.flac: b.txt, b.srt",
    ]
    assert signal.getsignal(signal.SIGTERM) == handler
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (inbox / "broken.wav").unlink()
    again, _ = watched(inbox, out, None, None, None, forms=("txt", "srt"))
    assert (again.transcribed, again.failed) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_sigterm_ends_a_watch_as_ctrl_c_does(tmp_path):
    done, said = watched(tmp_path, tmp_path / "out", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert done == Watched() and said == [f"Watching {tmp_path}: Ctrl-C ends it."]


@pytest.mark.parametrize(("failed", "code"), [([], 0), (["a.wav is empty."], 1)])
def test_the_command_ends_well_unless_something_failed(tmp_path, monkeypatch, failed, code):
    def stopped(options, folders, how, done, **_):
        done.transcribed, done.failed = 3, failed
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "watch_folders", stopped)
    ended = called("transcribe", tmp_path, "--watch", "--output-dir", tmp_path / "out")
    assert ended.returncode == code
    assert "Stopped: 3 recordings were transcribed." in ended.stderr


def test_a_full_folder_ends_it_with_a_sentence(tmp_path):
    (tmp_path / "out").write_text("a file")
    shutil.copy(CLIPS[0], tmp_path / "a.flac")
    days = Days(None, None, None)
    with pytest.raises(UserError, match="cannot be written"):
        watch_folders(
            resolve(DecodingOptions(device="cpu", workers=1)),
            [str(tmp_path)],
            Writing(output_dir=tmp_path / "out"),
            Watched(),
            sleep=days.sleep,
            clock=lambda: days.now,
        )
