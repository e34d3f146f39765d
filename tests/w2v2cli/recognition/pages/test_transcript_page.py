"""A transcript as a page: the words with their times, the sound inside or beside it."""

import base64
import io
import json
import os
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from browsing.chromium import browser
from browsing.reading import EVIL, Reading
from calls import called

from w2v2cli.data.audio import STDIN, Channel, Waveform
from w2v2cli.data.locations import SHIPPED
from w2v2cli.recognition.pages import transcript as module
from w2v2cli.recognition.pages.transcript import Played, played, transcript_page
from w2v2cli.recognition.transcript import Segment, TimedWord, Transcript

WORDS = [  # text, start, end, confidence
    ("<i>one</i>", 0.1, 0.4, 0.95),
    ('"two"', 0.6, 0.8, 0.79),
    ("three\x1b[31m", 1.2, 1.5, 0.2),
    ("four", 2.0, 2.5, 0.5),
]
NAME = "a <b>'1'% #?.flac"


def transcript(path: object, **more: object) -> Transcript:
    words = [TimedWord(*word) for word in WORDS]
    lines = [Segment(0.0, 1.0, tuple(words[:2]), 0, 0, 0), Segment(1.0, 1.1, (), 0, 0, 0)]
    lines.append(Segment(1.1, 3.0, tuple(words[2:]), 0, 0, 0))
    return Transcript(str(path), 3.0, tuple(lines), **more)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "sounds" / NAME
    path.parent.mkdir()
    soundfile.write(path, 0.1 * np.sin(np.arange(48_000) / 20), 16_000)
    return path


def test_every_word_has_its_times_and_confidence(recording):
    page = transcript_page(transcript(recording), Played(None))
    words = [attrs for tag, attrs in Reading(page).tags if "data-start" in attrs]
    assert [
        (float(word["data-start"]), float(word["data-end"]), word["title"]) for word in words
    ] == [
        (start, end, f"{start:.2f} to {end:.2f} s, confidence {confidence:.2f}")
        for _, start, end, confidence in WORDS
    ]
    assert [word["class"] for word in words] == [
        "spoken",
        "spoken unsure",
        "spoken doubtful",
        "spoken unsure",
    ]
    text = "".join(Reading(page).text)
    assert '<i>one</i> "two"' in text and "three␛[31m four" in text
    assert "0:03 · 4 words · mean confidence 0.61" in text
    lines = page.count("line-of-words") - 2  # the style names it twice
    assert lines == 2  # empty segments have none


def test_one_word_is_one_and_an_hour_is_told():
    only = Segment(3661.0, 3662.0, (TimedWord("one", 3661.2, 3661.8, 0.5),), 0, 0, 0)
    text = "".join(Reading(transcript_page(Transcript("a", 7322.9, (only,)), Played(None))).text)
    assert "2:02:02 · 1 word · mean confidence 0.50" in text and "1:01:01" in text


@pytest.mark.parametrize("text", EVIL)
def test_names_and_sentences_are_only_text(text):
    page = transcript_page(transcript(text, cut_short=text), Played("x", text))
    plain = transcript_page(transcript("a", cut_short="a"), Played("x", "a"))
    assert [tag for tag, _ in Reading(page).tags] == [tag for tag, _ in Reading(plain).tags]
    assert text in "".join(Reading(page).text)


def test_a_short_recording_is_inside_and_a_long_one_beside_the_page(
    recording, tmp_path, monkeypatch
):
    folder = tmp_path / "pages" / "deep"
    inside = played(recording, 3.0, folder)
    assert inside.address.startswith("data:audio/flac;base64,") and inside.sentence == ""
    assert played(Channel(recording, 1), 3.0, folder) == inside
    monkeypatch.setattr(module, "LONGEST", 2.0)
    beside = played(recording, 3.0, folder)
    assert played(Channel(recording, 1), 3.0, folder) == beside
    assert unquote(beside.address) == f"../../sounds/{NAME}"
    assert f"it is played from ../../sounds/{NAME}, as seen from here" in beside.sentence
    assert os.path.samefile(folder.parents[1] / "sounds" / NAME, recording)


def test_what_cannot_be_played_is_told(recording, tmp_path):
    assert played(STDIN, 1.0, tmp_path).address is None
    assert "through a pipe" in played(STDIN, 1.0, tmp_path).sentence
    lost = played(tmp_path / "lost.wav", 1.0, tmp_path)
    assert lost.address is None and "lost.wav" in lost.sentence
    waveform = Waveform(np.zeros(16_000 * 301, np.int16), 16_000, "a waveform")
    assert "not a file" in played(waveform, 301.0, tmp_path).sentence
    page = transcript_page(transcript(recording), played(STDIN, 1.0, tmp_path))
    assert "<audio" not in page and "this page has no sound" in page


def test_silence_is_told():
    page = transcript_page(Transcript("a.wav", 1.0, ()), Played(None))
    assert "No words were heard." in page


def test_the_pages_in_a_browser(recording, tmp_path, monkeypatch):
    pages = tmp_path / "pages"
    pages.mkdir()
    said, sounds = transcript(recording), [played(recording, 3.0, pages)]
    monkeypatch.setattr(module, "LONGEST", 2.0)
    sounds.append(played(recording, 3.0, pages))
    sounds.append(Played("gone.flac"))
    files = [pages / f"{name}.html" for name in ("inside", "beside", "gone")]
    for file, sound in zip(files, sounds, strict=True):
        file.write_text(transcript_page(said, sound), encoding="utf-8")
    with browser(tmp_path) as window:
        window.look(360, 740)
        for file in files[:2]:
            window.open(file)
            window.wait_for("return document.querySelector('audio').duration > 2.9")
            assert window.run("return document.documentElement.scrollWidth <= innerWidth")
            keys(window)
        asked = {unquote(url) for url in window.requests()}
        assert asked == {unquote(file.as_uri()) for file in [*files[:2], recording]}
        assert window.complaints() == []
        window.open(files[2])
        window.wait_for("return !document.getElementById('silent').hidden")


def keys(window) -> None:
    """Go through the words by keys and by a click, and play."""
    window.run("document.getElementById('words').focus()")
    marked = "return document.querySelector('.spoken.now')?.textContent ?? null"
    right, left, down, home, end = "\ue014", "\ue012", "\ue015", "\ue011", "\ue010"
    for key, place in [(right, 0), (right, 1), (down, 2), (right, 3), (left, 2), (home, 0)]:
        window.press(key)
        window.wait_for(
            f"return document.querySelectorAll('.spoken')[{place}] === "
            "document.querySelector('.spoken.now')"
        )
    window.press(end)
    assert window.run(marked) == "four"
    playing = "return !document.querySelector('audio').paused"
    window.press(home)
    window.press(" ")
    window.wait_for(playing)
    window.press(" ")
    assert not window.run(playing)
    window.run("document.querySelectorAll('.spoken')[2].click()")
    window.wait_for(playing)
    assert window.run("return document.querySelector('audio').currentTime") >= 1.2
    window.wait_for(f"return {marked.removeprefix('return ')} === 'four'")


def test_the_command_writes_a_page_for_each_recording(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    clip = sorted((SHIPPED / "recordings").glob("*.flac"))[0]
    call = ("transcribe", clip, "--format", "html,json", "--output-dir", tmp_path / "out")
    done = called(*call)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "out" / f"{clip.stem}.json").read_text())
    page = Reading((tmp_path / "out" / f"{clip.stem}.html").read_text(encoding="utf-8"))
    words = [word for segment in said["segments"] for word in segment["words"]]
    told = [
        f"{word['start']:.2f} to {word['end']:.2f} s, confidence {word['confidence']:.2f}"
        for word in words
    ]
    assert [attrs["title"] for _, attrs in page.tags if "data-start" in attrs] == told
    [sound] = [attrs["src"] for tag, attrs in page.tags if tag == "audio"]
    head, _, held = sound.partition(",")
    assert head == "data:audio/flac;base64"
    played_back = soundfile.read(io.BytesIO(base64.b64decode(held)), dtype="int16")[0]
    np.testing.assert_array_equal(played_back, soundfile.read(clip, dtype="int16")[0])


def test_several_pages_do_not_go_onto_one_stream(tmp_path):
    done = called("transcribe", SHIPPED / "recordings", "--format", "html")
    assert (done.returncode, done.stdout) == (2, "")
    assert "recordings: name an --output-dir for them." in done.stderr
