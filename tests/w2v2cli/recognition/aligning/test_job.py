"""Texts laid onto speech whose times are known."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import called

import w2v2
from w2v2cli import progress
from w2v2cli.data.audio import read_audio
from w2v2cli.data.locations import SHIPPED
from w2v2cli.data.synthesis.espeak import PROGRAM, speak

CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))
WORDS = (
    "the prisoners were allowed to receive their friends without interruption "
    "and the keeper never came near them until evening"
).split()
needs_espeak = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="needs espeak-ng, which makes speech with known times"
)


def trimmed(samples):
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def spoken(words, gap):
    """Words said one by one with `gap` seconds between: samples, and (start, end) of each."""
    parts, times, at = [np.zeros(4800, np.float32)], [], 4800
    for word in words:
        samples = trimmed(speak(word, "en-us+m3", 150))
        times.append((at / 16_000, (at + len(samples)) / 16_000))
        parts += [samples, np.zeros(int(gap * 16_000), np.float32)]
        at += len(parts[-2]) + len(parts[-1])
    return np.concatenate(parts), np.array(times)


@needs_espeak
@pytest.mark.parametrize(("gap", "copies"), [(0.12, 1), (0.4, 3)])
def test_borders_are_where_the_words_were_put(gap, copies):
    words = WORDS * copies  # three copies are longer than one window
    samples, times = spoken(words, gap)
    found = w2v2.align((samples, 16_000), " ".join(words), device="cpu")
    assert [word.text for word in found.words] == words
    errors = np.abs(np.array([(word.start, word.end) for word in found.words]) - times)
    assert np.median(errors, axis=0).max() < 0.04  # two frames
    assert errors.max() < 0.2
    assert min(word.confidence for word in found.words) > 0.01


@needs_espeak
def test_a_wrong_word_has_less_confidence_than_the_right_one():
    samples, _ = spoken(WORDS[:6], 0.2)
    right = w2v2.align((samples, 16_000), " ".join(WORDS[:6]), device="cpu")
    wrong = w2v2.align((samples, 16_000), "the prisoners were buzzing to receive", device="cpu")
    assert wrong.words[3].confidence < right.words[3].confidence / 4
    assert wrong.score < right.score


def test_a_word_without_letters_of_the_model_stands_between_its_neighbours():
    warned = []
    found = w2v2.align(CLIPS[0], "but the general 你好 revival", device="cpu", warn=warned.append)
    _, _, before, silent, after = found.words
    assert (silent.text, silent.confidence, silent.symbols) == ("你好", 0.0, ())
    assert (silent.start, silent.end) == (before.end, after.start)
    assert warned and "你" in warned[0]


def test_a_text_that_does_not_fit_is_refused_in_a_sentence():
    with pytest.raises(w2v2.UserError, match=r"too long for .*: its symbols need \d+ frames"):
        w2v2.align(CLIPS[0], "hello " * 200, device="cpu")


def test_a_recording_that_is_cut_short_is_refused(tmp_path):
    (tmp_path / "cut.flac").write_bytes(CLIPS[0].read_bytes()[:60_000])
    with pytest.raises(w2v2.UserError, match="cut.flac"):
        w2v2.align(tmp_path / "cut.flac", "but the general", device="cpu")


def test_the_command_prints_what_python_finds(tmp_path):
    text = "But the general revival\nof the old forms."
    (tmp_path / "text.txt").write_text(text)
    done = called("align", CLIPS[0], tmp_path / "text.txt", "--device", "cpu")
    found = w2v2.align(CLIPS[0], Path(tmp_path / "text.txt"), device="cpu")
    assert done.returncode == 0, done.stderr
    assert [line.split()[4] for line in done.stdout.splitlines()] == text.split()
    assert [float(line.split()[2]) for line in done.stdout.splitlines()] == [
        word.start for word in found.words
    ]
    grid = tmp_path / "out.TextGrid"
    assert called("align", CLIPS[0], tmp_path / "text.txt", "-o", grid).returncode == 0
    assert 'Object class = "TextGrid"' in grid.read_text()
    assert found.text == text
    assert found.seconds == pytest.approx(len(read_audio(CLIPS[0])) / 16_000, abs=1e-3)


def test_progress_is_told_of_both_parts_of_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_LINE", 0.0)
    (tmp_path / "text.txt").write_text("but the general revival of the old forms")
    done = called("align", CLIPS[0], tmp_path / "text.txt", "--device", "cpu")
    lines = [line.split(",")[0] for line in done.stderr.splitlines()]
    whole = f"0:{int(soundfile.info(CLIPS[0]).duration):02}"
    assert f"Hearing: {whole} of {whole} of audio" in lines
    assert lines[-1] == f"Aligning: {whole} of {whole} of audio"


def test_options_without_effect_are_told(tmp_path):
    (tmp_path / "text.txt").write_text("but the general revival")
    call = ("align", CLIPS[0], tmp_path / "text.txt", "--device", "cpu", "--unit", "symbol")
    done = called(*call, "--format", "json", "--max-lines", "1", "--max-duration", "2")
    assert done.returncode == 0 and done.stderr.splitlines() == [
        "Note: --unit has no effect in json, which has words and symbols.",
        "Note: --max-lines, --max-duration have no effect in json: they are for srt and vtt.",
    ]
    done = called(*call, "--format", "srt", "--max-lines", "1")
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-", "-"], "Stdin holds the recording or the text, not both"),
        ([CLIPS[0], "no.txt"], "There is no file no.txt with a text."),
        ([CLIPS[0], CLIPS[1]], "is no text in UTF-8: is it a recording?"),
        ([CLIPS[0], __file__, "-o", "out.doc"], "--output out.doc has no suffix of a format"),
        ([CLIPS[0], __file__, "-o", CLIPS[0]], "would overwrite"),
    ],
)
def test_wrong_calls_are_one_sentence(args, message):
    done = called("align", *args)
    assert done.returncode in (1, 2)
    assert message in done.stderr and done.stderr.count("\n") == 1
