"""Recordings by index: what a part holds is what the whole holds there."""

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import AudioError, read_audio, read_part
from w2v2cli.data.corpora.readers import Utterance
from w2v2cli.data.recordings import FileRecordings, Recordings, read_utterance

DRAW = np.random.default_rng(5)
KINDS = [
    ("a.flac", 16_000, 1),
    ("b.wav", 16_000, 2),
    ("c.wav", 8_000, 1),
    ("d.flac", 44_100, 2),
    ("e.mp3", 16_000, 1),
    ("f.ogg", 16_000, 1),
    ("g.mp3", 44_100, 1),
    ("h.flac", 11_025, 1),
    ("i.aiff", 16_000, 1),
    ("j.wav", 44_101, 1),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, rate, channels in KINDS:
        samples = DRAW.uniform(-0.5, 0.5, (round(rate * DRAW.uniform(0.8, 1.2)), channels))
        soundfile.write(folder / name, samples, rate)
    return [folder / name for name, _, _ in KINDS]


def utterances(files):
    return [Utterance(path.stem, path, path.stem.upper()) for path in files]


def test_lengths_are_those_of_reading(files):
    recordings: Recordings = FileRecordings(utterances(files))
    assert recordings.lengths.dtype == np.int64
    assert recordings.lengths.tolist() == [len(read_audio(path)) for path in files]
    assert list(recordings.ids) == [path.stem for path in files] and recordings.texts[0] == "A"
    assert recordings.shards is None


@pytest.mark.parametrize(
    "at", range(len(KINDS)), ids=[f"{name} {rate} Hz" for name, rate, _ in KINDS]
)
def test_a_part_is_what_the_whole_holds_there(files, at):
    recordings, whole = FileRecordings([utterances(files)[at]]), read_audio(files[at])
    np.testing.assert_allclose(recordings.read(0), whole, atol=1e-6)
    for _ in range(10):
        start, end = sorted(DRAW.integers(0, len(whole) + 1, 2))
        found = recordings.read(0, int(start), int(end - start))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, whole[start:end], atol=1e-6)
    np.testing.assert_allclose(recordings.read(0, 5000), whole[5000:], atol=1e-6)
    assert len(recordings.read(0, len(whole), 0)) == 0


def test_cuts_are_read_from_their_file(files):
    whole = read_audio(files[0])
    cut = Utterance("cut", files[0], None, samples=4000, start=1000)
    to_the_end = Utterance("rest", files[0], None, start=1000)
    recordings = FileRecordings([cut, to_the_end])
    assert recordings.lengths.tolist() == [4000, len(whole) - 1000]
    np.testing.assert_array_equal(recordings.read(0), whole[1000:5000])
    np.testing.assert_array_equal(recordings.read(0, 10, 20), whole[1010:1030])
    np.testing.assert_array_equal(recordings.read(1), whole[1000:])
    np.testing.assert_array_equal(read_utterance(to_the_end, 7), whole[1007:])


def test_only_the_part_is_decoded(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.flac", np.zeros(16_000 * 60), 16_000)
    read = []
    decode = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, *a, **k: read.append(1) or decode(self, *a, **k)
    )
    assert len(read_part(tmp_path / "long.flac", 16_000 * 50, 16_000)) == 16_000
    assert len(read) <= 5  # pieces of 4096 samples; the file has 235


@pytest.mark.parametrize(("start", "samples"), [(-1, 5), (0, -1), (10**6, None), (0, 10**6)])
def test_what_lies_outside_is_refused(files, start, samples):
    with pytest.raises(IndexError, match="a has .* samples, not"):
        FileRecordings([utterances(files)[0]]).read(0, start, samples)


def test_a_file_shorter_than_its_manifest_says(files):
    long = Utterance("long", files[0], None, samples=10**6)
    with pytest.raises(
        AudioError, match=r"a.flac has \d+ samples at 16 kHz; 500 to 1000000 were asked for"
    ):
        FileRecordings([long]).read(0, 500)
    with pytest.raises(AudioError, match="990000 to 990010 were asked for"):
        FileRecordings([long]).read(0, 990_000, 10)


def test_a_length_that_cannot_be_read(tmp_path):
    (tmp_path / "a.flac").write_bytes(b"nothing")
    with pytest.raises(AudioError, match="a.flac is not audio"):
        FileRecordings([Utterance("a", tmp_path / "a.flac", None)])
