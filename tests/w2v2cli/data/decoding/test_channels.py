"""Channels made one: averaged, but where they are of opposite phase and would cancel."""

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import AudioError, Waveform, find_recordings, read_audio, read_part
from w2v2cli.data.decoding.decoder import cancels

VOICE = np.sin(np.arange(32_000) * 0.1).astype(np.float32) * 0.5


def test_the_first_of_two_opposite_channels_is_heard_and_told_once(tmp_path, capsys):
    path = tmp_path / "opposite.wav"
    soundfile.write(path, np.stack([VOICE, -VOICE], 1), 16_000, subtype="FLOAT")
    assert np.array_equal(read_audio(path), VOICE)
    assert np.array_equal(read_part(path, 8_000, 4_000), VOICE[8_000:12_000])
    assert capsys.readouterr().err == (
        f"Warning: {path}: the channels are of opposite phase and cancel each other; "
        "the first one is taken.\n"
    )
    held = Waveform(np.stack([VOICE, -VOICE]), 16_000, "array")
    assert np.array_equal(held.mono(), VOICE)


@pytest.mark.parametrize(
    "other",
    [VOICE, 0 * VOICE, -0.5 * VOICE, np.roll(VOICE, 10)],
    ids=["same", "silent", "weaker", "late"],
)
def test_other_channels_are_averaged(tmp_path, capsys, other):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([VOICE, other], 1), 16_000, subtype="FLOAT")
    assert np.allclose(read_audio(path), (VOICE + other) / 2, atol=1e-7)
    assert capsys.readouterr().err == ""


def test_silence_cancels_nothing():
    noise = np.full((100, 1), 1e-5, np.float32)
    assert not cancels(np.hstack([noise, -noise])) and not cancels(np.zeros((0, 2), np.float32))


def test_absurd_samples_are_the_recordings_fault(tmp_path):
    path = tmp_path / "huge.wav"
    soundfile.write(path, np.full(1000, 1e38, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"huge\.wav holds samples of 1e\+38, which are no sound"):
        read_audio(path)


def test_nist_sphere_is_heard_in_folders(tmp_path):
    path = tmp_path / "a.sph"
    soundfile.write(path, VOICE, 16_000, format="NIST", subtype="PCM_16")
    assert find_recordings([tmp_path]) == [path]
    assert np.allclose(read_audio(path), VOICE, atol=1e-4)
