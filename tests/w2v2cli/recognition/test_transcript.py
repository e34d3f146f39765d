import json
import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from lm.hypothesis import Hypothesis, Word
from w2v2cli.data.corpora.manifest import read_jsonl
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.transcript import TimedWord, Transcript, segment_from
from w2v2cli.recognition.writing.formats import Layout, Stream, render
from w2v2cli.recognition.writing.output import write_file
from w2v2cli.recognition.writing.subtitles import SubtitleLimits, balanced, cues


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
    assert render(transcript(2), "srt", Layout("word")).startswith(
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
    assert max(map(len, lines)) <= 42


@pytest.mark.parametrize("limits", [(42, 2, 7.0), (20, 1, 60.0), (12, 3, 2.0), (200, 1, 3.0)])
def test_cues_keep_the_limits_and_lose_no_word(limits):
    length, most, seconds = limits
    said = transcript(50)
    shown = list(cues(said, "segment", SubtitleLimits(*limits)))
    assert " ".join(cue.text for cue in shown) == said.text
    for cue in shown:
        assert len(cue.lines) <= most and max(map(len, cue.lines)) <= length
        assert cue.end - cue.start <= seconds + 1e-9
    for cue, after in zip(shown, shown[1:], strict=False):  # none could have taken one word more
        longer = [*cue.text.split(), after.text.split()[0]]
        lines = balanced(longer, length)
        late = after.start + 0.4 - cue.start
        assert len(lines) > most or max(map(len, lines)) > length or late > seconds


def test_lines_are_as_few_and_as_even_as_can_be():
    words = "a subtitle that fits two lines of this width".split()
    assert balanced(words, 42) == ["a subtitle that fits", "two lines of this width"]
    assert balanced(words, 60) == [" ".join(words)]
    assert balanced(["a", "extraordinarily", "b"], 5) == ["a", "extraordinarily", "b"]
    for width in range(3, 50):
        lines = balanced(words, width)
        assert " ".join(lines) == " ".join(words)
        assert all(len(line) <= width or " " not in line for line in lines)


@pytest.mark.parametrize("limits", [(0, 2, 7.0), (42, 0, 7.0), (42, 2, 0.0)])
def test_limits_that_leave_nothing_are_refused(limits):
    with pytest.raises(UsageError, match=r"^--max-"):
        SubtitleLimits(*limits)


def test_a_manifest_has_the_sure_segments_as_training_reads_them(tmp_path):
    sure, unsure = transcript(2).segments[0], transcript(1).segments[0]
    unsure = replace(unsure, words=(replace(unsure.words[0], confidence=0.4),), start=20.0)
    silent = replace(unsure, words=())
    said = Transcript(str(tmp_path / "a.wav"), 30.0, (sure, unsure, silent))
    soundfile.write(tmp_path / "a.wav", np.zeros(30 * 16_000), 16_000)
    assert render(said, "manifest").count("\n") == 2
    (tmp_path / "list.jsonl").write_text(render(said, "manifest", Layout(min_confidence=0.5)))
    [row] = read_jsonl(tmp_path / "list.jsonl")
    assert (row.text, row.path) == ("WORD0 WORD1", tmp_path / "a.wav")
    assert (row.start, row.samples) == (10 * 16_000, 2 * 16_000)


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


def streamed(form, names=False):
    """Two recordings and one that failed, on one stream."""
    stream = Stream(form, True, names)
    text = render(transcript(2), form)
    parts = [stream.transcript("a.wav", text), stream.failure("no.wav", "no.wav is empty.")]
    return "".join([*parts, stream.transcript("b\n.wav", text), stream.end()])


def test_several_recordings_on_a_stream_keep_pairing_with_files():
    said = "WORD0 WORD1"
    assert streamed("txt") == f"{said}\n\n{said}\n"
    assert streamed("txt", True) == f"a.wav\t{said}\nno.wav\t\nb .wav\t{said}\n"
    red = Stream("txt", True, True).transcript("\x1b[31m.wav", "said\n")
    assert red == "\\x1b[31m.wav\tsaid\n"  # a terminal is not coloured
    for rows in (
        json.loads(streamed("json")),
        [json.loads(line) for line in streamed("jsonl").splitlines()],
    ):
        assert [row.get("text") for row in rows] == [said, None, said]
        assert rows[1] == {"recording": "no.wav", "error": "no.wav is empty."}
    vtt = streamed("vtt", True)
    assert vtt.startswith("WEBVTT\n\nNOTE a.wav\n\n00:") and vtt.count("WEBVTT") == 1
    assert "\n\nNOTE b .wav\n\n00:" in vtt and streamed("vtt").count("WEBVTT") == 1
    tsv = streamed("tsv", True).splitlines()
    assert tsv[0] == "recording\tstart\tend\ttext" and streamed("tsv").count("start") == 1
    assert [row.split("\t")[0] for row in tsv[1:]] == ["a.wav", "b .wav"]
    assert "\n\n1\n00:" in streamed("srt")


@pytest.mark.parametrize("form", ["txt", "json", "jsonl", "srt", "vtt", "tsv"])
def test_one_recording_on_a_stream_is_as_in_a_file(form):
    text, stream = render(transcript(2), form), Stream(form, False)
    assert stream.failure("a.wav", "a.wav is empty.") == ""
    assert stream.transcript("a.wav", text) + stream.end() == text
