import json
import os

import pytest

from lm.hypothesis import Hypothesis, Word
from w2v2cli.errors import UserError
from w2v2cli.recognition.output import write_file
from w2v2cli.recognition.transcript import TimedWord, Transcript, cues, render, segment_from


def transcript(words: int = 3, gap: float = 0.5) -> Transcript:
    heard = tuple(
        Word(f"WORD{i}", int(i * gap * 50), int(i * gap * 50) + 20, 0.9) for i in range(words)
    )
    best = Hypothesis(heard, (), (), -1.0, -2.0, -5.0)
    other = Hypothesis(heard[:1], (), (), -2.0, -1.0, -6.0)
    segment = segment_from([best, other], start=10.0, frame_seconds=0.02, frames=100)
    return Transcript("a.wav", 12.0, (segment,))


def test_times_count_from_the_start_of_the_recording():
    [segment] = transcript().segments
    assert segment.words[1] == TimedWord("WORD1", 10.5, 10.9, 0.9)
    assert (segment.start, segment.end) == (10.0, 12.0)
    assert [a.text for a in segment.alternatives] == ["WORD0"]


def test_text_and_json():
    assert render(transcript(), "txt") == "WORD0 WORD1 WORD2\n"
    read = json.loads(render(transcript(), "json"))
    assert (
        read["text"] == "WORD0 WORD1 WORD2"
        and read["recording"] == "a.wav"
        and read["seconds"] == 12.0
    )
    assert read["segments"][0]["words"][0] == {
        "text": "WORD0",
        "start": 10.0,
        "end": 10.4,
        "confidence": 0.9,
    }
    assert render(transcript(), "jsonl").count("\n") == 1


def test_subtitles():
    assert render(transcript(2), "srt") == "1\n00:00:10,000 --> 00:00:10,900\nWORD0 WORD1\n"
    assert render(transcript(2), "srt", "word").startswith(
        "1\n00:00:10,000 --> 00:00:10,400\nWORD0\n\n2\n"
    )
    assert render(transcript(1), "vtt") == "WEBVTT\n\n00:00:10.000 --> 00:00:10.400\nWORD0\n"
    assert render(transcript(2), "tsv") == "start\tend\ttext\n10000\t10900\tWORD0 WORD1\n"


def test_cues_fit_a_screen():
    shown = list(cues(transcript(60), "segment"))
    assert len(shown) > 3
    assert all(len(cue.text) <= 84 and 0 <= cue.end - cue.start <= 7.5 for cue in shown)
    assert " ".join(cue.text for cue in shown) == transcript(60).text
    lines = render(transcript(60), "srt").split("\n")
    assert max(map(len, lines)) <= 50


def test_silence_is_an_empty_line_and_no_cue():
    empty = Transcript("a.wav", 1.0, ())
    assert render(empty, "txt") == "\n"
    assert (
        render(empty, "srt") == ""
        and render(empty, "vtt") == "WEBVTT\n"
        and render(empty, "tsv").count("\n") == 1
    )


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_file(tmp_path / "new" / "a.txt", "hello\n")
    assert (tmp_path / "new" / "a.txt").read_text() == "hello\n"
    assert os.listdir(tmp_path / "new") == ["a.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: "):
        write_file(tmp_path / "file" / "a.txt", "hello")
