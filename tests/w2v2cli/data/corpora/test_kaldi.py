"""Kaldi's data directories."""

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import read_part
from w2v2cli.data.corpora.readers import CorpusError, read_corpus
from w2v2cli.data.recordings import read_utterance

RATE = 16_000


@pytest.fixture
def recipe(tmp_path):
    """A recipe's folder whose `data/train` names files relative to the recipe."""
    noise = np.random.default_rng(0).integers(-9000, 9000, (2, 3 * RATE), dtype=np.int16)
    (tmp_path / "audio").mkdir()
    (tmp_path / "data" / "train").mkdir(parents=True)
    for name, samples in zip("ab", noise, strict=True):
        soundfile.write(tmp_path / "audio" / f"rec {name}.wav", samples, RATE)
    (tmp_path / "data" / "train" / "wav.scp").write_text(
        f"rec-a audio/rec a.wav\nrec-b   {tmp_path}/audio/rec b.wav \n"
    )
    return tmp_path


def write(recipe, **tables):
    for name, lines in tables.items():
        (recipe / "data" / "train" / name).write_text("".join(f"{line}\n" for line in lines))
    return recipe / "data" / "train"


def test_whole_recordings(recipe):
    folder = write(
        recipe,
        text=["rec-b\tzwei  Wörter, so?", "rec-a eins"],
        utt2spk=["rec-a ann", "rec-b bob"],
        spk2utt=["ann rec-a", "bob rec-b"],
    )
    found = read_corpus(folder)
    assert [(u.id, u.path.name, u.text, u.speaker, u.recorded) for u in found] == [
        ("rec-a", "rec a.wav", "eins", "ann", recipe / "audio" / "rec a.wav"),
        ("rec-b", "rec b.wav", "zwei  Wörter, so?", "bob", recipe / "audio" / "rec b.wav"),
    ]
    assert read_corpus(folder / "wav.scp") == found


def test_without_texts_and_speakers(recipe):
    assert [(u.text, u.speaker) for u in read_corpus(write(recipe))] == [(None, None)] * 2


def test_segments_are_cuts_of_their_recordings(recipe):
    folder = write(
        recipe,
        segments=["a1 rec-a 0.25 1.5", "a2 rec-a 1.5 3.2", "b1 rec-b 0 0.1", "b2 rec-b 2 -1"],
        text=["a1 one", "a2 two", "b1 three", "b2"],
    )
    found = {u.id: u for u in read_corpus(folder)}
    assert {name: u.text for name, u in found.items()} == {
        "a1": "one", "a2": "two", "b1": "three", "b2": ""
    }  # fmt: skip
    a, b = (soundfile.read(recipe / "audio" / f"rec {x}.wav", dtype="float32")[0] for x in "ab")
    # a2 ends 0.2 s after its recording, as a rounded time does
    for name, part in {
        "a1": a[4000:24_000], "a2": a[24_000:], "b1": b[:1600], "b2": b[32_000:]
    }.items():  # fmt: skip
        np.testing.assert_array_equal(read_utterance(found[name]), part)
    assert found["a2"].samples == 24_000 and found["a1"].seconds == 1.25


def test_a_segment_far_beyond_its_recording_is_not_shortened(recipe):
    folder = write(recipe, segments=["a rec-a 0 3.6", "b rec-b 0 1"])
    cut = read_corpus(folder)[0].recorded
    assert cut.samples == round(3.6 * RATE)
    with pytest.raises(Exception, match="has 48000 samples at 16 kHz; 0 to 57600"):
        read_part(cut.path, cut.start, cut.samples)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"wav.scp": ["x a.wav", "rec-c sph2pipe -f wav c.sph |"]},
            r"wav.scp, line 2: rec-c is a command \(sph2pipe -f wav c.sph \|\), which w2v2 does "
            "not run",
        ),
        ({"wav.scp": ["rec-c wavs.ark:1234"]}, "line 1: rec-c is a place in an archive"),
        ({"wav.scp": ["rec-c"]}, "wav.scp, line 1: rec-c has no file"),
        ({"wav.scp": ["", "c x.wav", "c x.wav"]}, "line 3: c stands in line 2 already"),
        ({"wav.scp": ["c x.wav", "d y.wav"]}, "2 of 2 recordings are missing, .*x.wav"),
        ({"segments": ["a rec-a 0 1", "b rec-c 0 1"]}, "line 2: the recording rec-c is not in wav"),
        ({"segments": ["a rec-a 0"]}, "segments, line 1 should be an id, a recording, a start"),
        ({"segments": ["a"]}, "segments, line 1 should be an id, a recording, a start"),
        ({"segments": ["a rec-a 0 nan"]}, "segments, line 1 should be an id, a recording"),
        ({"segments": ["a rec-a 2 1"]}, "line 1: a should end after it starts, got 2.0 to 1.0"),
        ({"segments": ["a rec-a -2 1"]}, "line 1: a should end after it starts"),
        ({"segments": ["a rec-a 0 1 B"]}, r"line 1: a takes one channel \(B\)"),
        ({"segments": ["a rec-a 0 1"]}, "1 of 2 recordings in wav.scp are not in it, .* rec-b"),
        ({"text": ["rec-a x"]}, "text: 1 of 2 utterances are not in it, the first is rec-b"),
        ({"text": ["rec-a x", "rec-b y", "c z"]}, "text: 1 of 3 lines name no utterance, .* c"),
        ({"utt2spk": ["rec-b x"]}, "utt2spk: 1 of 2 utterances are not in it, .* rec-a"),
    ],
)
def test_what_is_wrong(recipe, tables, message):
    with pytest.raises(CorpusError, match=message):
        read_corpus(write(recipe, **tables))


def test_the_splits_of_a_recipe_have_to_be_named(recipe):
    write(recipe)
    (recipe / "data" / "dev").mkdir()
    (recipe / "data" / "dev" / "wav.scp").write_text("x x.wav\n")
    with pytest.raises(CorpusError, match=r"data has lists in folders below: dev/wav.scp, train/"):
        read_corpus(recipe / "data")
