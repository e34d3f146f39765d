import subprocess
from collections import Counter

import numpy as np
import pytest
import soundfile

from lm.text.normalization import normalize_text
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.synthesis import corpus
from w2v2cli.data.synthesis import espeak as engine
from w2v2cli.data.synthesis.corpus import pieces, plan, read_text, synthesize
from w2v2cli.data.synthesis.espeak import Espeak, SynthesisError, speak
from w2v2cli.errors import UsageError

TEXT = """It was in 1861, said Mr. Dubois, that 1,250 people left; nobody knew why! Did you?

"No," he said: the café's 2nd owner paid $5 for it. One. Two. Three."""


def test_what_is_spoken_is_what_the_transcript_says():
    found = pieces(TEXT)
    assert found[0] == (
        "it was in eighteen sixty one, said mister dubois, "
        "that one thousand two hundred fifty people left, nobody knew why!",
        "IT WAS IN EIGHTEEN SIXTY ONE SAID MISTER DUBOIS "
        "THAT ONE THOUSAND TWO HUNDRED FIFTY PEOPLE LEFT NOBODY KNEW WHY",
    )
    assert found[1] == ("did you?", "DID YOU")
    assert len(found) == 6 and all(normalize_text(spoken) == text for spoken, text in found)


def test_long_sentences_are_read_in_even_parts():
    words = [f"WORD{'ABCDEFGHIJ'[i % 10]}" for i in range(100)]
    parts = [text.split() for _, text in pieces(" ".join(words))]
    assert [len(part) for part in parts] == [25] * 4 and sum(parts, []) == words


def test_the_seed_decides(espeak):
    three, others = Espeak().voices(3, 5), Espeak().voices(3, 6)
    readings = plan(TEXT, three, 20, seed=5)
    assert readings == plan(TEXT, three, 20, seed=5)
    assert readings != plan(TEXT, three, 20, seed=6) and three != others
    assert len({r.id for r in readings}) == 20
    assert set(Counter(r.voice.speaker for r in readings).values()) == {6, 7}
    assert (
        max(Counter(r.text for r in readings).values()) == 4
    )  # six sentences: all are read before one is read again
    assert Counter(r.text for r in plan(TEXT, three, None, 5)) == Counter(
        text for _, text in pieces(TEXT)
    )
    assert len({r.tempo for r in readings if r.voice == readings[0].voice}) > 1


def test_voices_differ_and_more_of_them_begin_with_the_same(espeak):
    voices = Espeak().voices(200, 1)
    assert len(set(voices)) == len({v.speaker for v in voices}) == 200
    assert len({v.name for v in voices[:78]}) == 78
    assert Espeak().voices(7, 1) == voices[:7]
    assert not {v.speaker for v in voices} & {v.speaker for v in Espeak().voices(200, 2)}


def test_chapters_hold_a_hundred(espeak):
    readings = plan(TEXT, Espeak().voices(1, 0), 250, 0)
    assert [readings[i].id for i in (0, 99, 100, 249)] == [
        "1000-1-0000",
        "1000-1-0099",
        "1000-2-0000",
        "1000-3-0049",
    ]


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_a_corpus_is_made(espeak, tmp_path):
    seen = []
    readings = synthesize(
        Espeak(),
        TEXT,
        tmp_path / "a",
        3,
        8,
        seed=1,
        jobs=2,
        on_progress=lambda *at: seen.append(at),
    )
    assert seen == [(i, 8) for i in range(1, 9)]
    found = read_corpus(tmp_path / "a")
    assert {u.id: u.text for u in found} == {r.id: r.text for r in readings}
    assert len({u.speaker for u in found}) == 3
    for utterance in found:
        info = soundfile.info(utterance.path)
        assert (info.samplerate, info.subtype, info.format) == (16_000, "PCM_16", "FLAC")
        words = len(utterance.text.split())
        assert (
            0.15 * words < info.duration < 1.2 * words + 1
        )  # 130 to 190 words a minute and a pause at the end
        assert np.abs(soundfile.read(utterance.path)[0]).max() > 0.05
    synthesize(Espeak(), TEXT, tmp_path / "b", 3, 8, seed=1)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_second_call_does_the_rest(espeak, tmp_path, monkeypatch):
    synthesize(Espeak(), TEXT, tmp_path, 2, 4)
    whole = tree(tmp_path)
    gone = sorted(tmp_path.rglob("*.flac"))[1]
    gone.unlink()
    spoken = []
    monkeypatch.setattr(engine, "speak", lambda *a: spoken.append(a) or speak(*a))
    synthesize(Espeak(), TEXT, tmp_path, 2, 4)
    assert len(spoken) == 1 and tree(tmp_path) == whole
    with pytest.raises(SynthesisError, match="is not empty and was not made by the same call"):
        synthesize(Espeak(), TEXT, tmp_path, 2, 5)


def test_speech_is_what_the_program_writes(espeak, tmp_path):
    subprocess.run(
        [espeak, "-v", "en-us+f2", "-s", "150", "-w", tmp_path / "a.wav", "hello there"], check=True
    )
    expected, rate = soundfile.read(tmp_path / "a.wav")
    found = speak("hello there", "en-us+f2", 150)
    assert (
        len(found) == pytest.approx(len(expected) / rate * 16_000, abs=2)
        and found.dtype == np.float32
    )
    from torch import from_numpy
    from torchaudio.functional import resample

    np.testing.assert_allclose(
        found, resample(from_numpy(expected), rate, 16_000).numpy()[: len(found)], atol=1e-4
    )


def test_text_that_looks_like_an_option_is_text(espeak):
    assert len(speak("--version", "en-us", 170)) > 8_000


def test_what_espeak_says_is_passed_on(espeak):
    with pytest.raises(
        SynthesisError, match=r"espeak-ng cannot read 'hello' as xx-nobody: .*voice does not exist"
    ):
        speak("hello", "xx-nobody", 150)


def test_without_the_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthesisError, match="made by espeak-ng, which is not on the PATH"):
        synthesize(Espeak(), TEXT, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_transcripts_that_cannot_be_written(tmp_path, monkeypatch):
    def write(path, content):
        if path.name.endswith(".trans.txt"):
            raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(engine, "find_espeak", lambda: "espeak-ng")
    monkeypatch.setattr(engine, "speak", lambda *_: np.zeros(1600, np.float32))
    monkeypatch.setattr(corpus, "write_whole", write)
    with pytest.raises(SynthesisError, match=r"1000-1.trans.txt cannot be written: Read-only"):
        synthesize(Espeak(), TEXT, tmp_path, 1)


def test_texts_and_numbers_that_are_none(espeak, tmp_path):
    with pytest.raises(SynthesisError, match="holds no words"):
        plan("... !", Espeak().voices(1, 0), None, 0)
    with pytest.raises(UsageError, match="--voices takes 1 to 999, got 0"):
        synthesize(Espeak(), TEXT, tmp_path, 0)
    with pytest.raises(UsageError, match="--utterances must be at least 1, got 0"):
        synthesize(Espeak(), TEXT, tmp_path, 1, 0)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SynthesisError, match="a.txt is not a complete UTF-8 text"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "a.gz").write_bytes(b"plain")
    with pytest.raises(SynthesisError, match="a.gz cannot be read"):
        read_text(tmp_path / "a.gz")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SynthesisError, match="file cannot be used"):
        synthesize(Espeak(), TEXT, tmp_path / "file")
