"""The checks on what is held out find what they are for."""

from pathlib import Path

import numpy as np
import soundfile

from scripts.check_held_out import same_sentences, same_sounds, same_speakers, sentences_in_text
from scripts.demo_data import TESTS, part_of
from w2v2cli.data.utterance import Utterance

TEXT = "the old man went down to the sea and did not come back"


def utterance(name, text=TEXT, path="none.flac"):
    return Utterance(name, Path(path), text)


def test_a_recording_in_another_format_is_the_same(tmp_path):
    samples = np.random.default_rng(1).integers(-9000, 9000, 2000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 16_000)
    soundfile.write(tmp_path / "b.wav", samples, 16_000)
    soundfile.write(tmp_path / "c.wav", samples[::-1], 16_000)
    trained = [utterance("a", path=tmp_path / "a.flac")]
    held_out = [utterance(name, path=tmp_path / f"{name}.wav") for name in "bc"]
    assert same_sounds(trained, held_out) == ["b"]


def test_sentences_are_compared_as_they_are_spelled():
    held_out = [utterance("a", "Down to the sea, and back!"), utterance("b", "No, no.")]
    trained = [utterance("c", "DOWN TO THE SEA AND BACK"), utterance("d", "no no")]
    assert same_sentences(trained, held_out) == ["a"]  # two words are anybody's


def test_eight_words_in_a_row_are_found():
    words = TEXT.upper().split()
    found = sentences_in_text([["WHO", *words[2:10]], words[:7], words[5:]], [utterance("a")])
    assert found == [("a", " ".join(words[2:10])), ("a", " ".join(words[5:]))]


def test_a_stranger_who_is_trained_on_is_found():
    groups = {
        ("strangers", "train"): [utterance("7-1-0000"), utterance("19-1-0000")],
        ("strangers", "dev"): [utterance("8-1-0000")],
        ("own", "dev"): [utterance("19-1-0001")],
        ("librispeech-test-other", "test"): [utterance("7-2-0000"), utterance("9-2-0000")],
    }
    assert same_speakers(groups) == {"7"}


def test_parts_go_by_speaker_where_each_has_one_recording():
    strangers = [utterance(f"{n}-1-{i:04}") for n in range(100, 160) for i in range(3)]
    found = {u.id: part_of("librispeech-train", u) for u in strangers}
    assert set(found.values()) == {"train", "dev"}
    for number in range(100, 160):
        assert len({found[f"{number}-1-{i:04}"] for i in range(3)}) == 1
    own = {part_of("librispeech-train", utterance(f"19-1-{i:04}")) for i in range(60)}
    assert own == {"train", "dev", "test"}
    assert {part_of(corpus, utterance("1-1-0000")) for corpus in TESTS} == {"test"}
