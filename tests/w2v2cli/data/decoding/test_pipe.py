"""Sound from pipes: every layout of WAV, cut anywhere, and other formats as they come."""

import io

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import AudioError, read_audio
from w2v2cli.data.decoding.pipe import live_sound


class Pipe:
    """A pipe that gives a few bytes at a time and cannot seek."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most = io.BytesIO(data), most

    def read1(self, count: int) -> bytes:
        return self._data.read(min(count, self._most))


def heard(data: bytes, most: int = 7, **options) -> np.ndarray:
    return np.concatenate([np.zeros(0), *live_sound(Pipe(data, most), "stdin", **options)])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("container", "channels"), [("WAV", 1), ("WAVEX", 2)])
def test_wav_of_every_layout_is_what_the_file_holds(subtype, container, channels, tmp_path):
    path = tmp_path / "sound.wav"
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, (500, channels))
    soundfile.write(path, sound, 16_000, subtype=subtype, format=container)
    np.testing.assert_allclose(heard(path.read_bytes()), read_audio(path), atol=1e-6)


def test_the_length_in_a_header_that_was_written_into_a_pipe_is_not_believed(tmp_path):
    soundfile.write(tmp_path / "sound.wav", np.linspace(-0.5, 0.5, 400), 16_000)
    data = bytearray((tmp_path / "sound.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\x00\x00\x00\x80"
    assert len(heard(bytes(data))) == 400


def test_other_rates_are_resampled(tmp_path):
    sound = np.sin(np.arange(8000) / 10)
    soundfile.write(tmp_path / "sound.wav", sound, 8000)
    data = (tmp_path / "sound.wav").read_bytes()
    expected = read_audio(tmp_path / "sound.wav")
    np.testing.assert_allclose(heard(data, 1000), expected, atol=1e-6)
    bare = (sound * 32767).astype("<i2").tobytes()
    np.testing.assert_allclose(heard(bare, 999, pcm_rate=8000), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_compressed_sound_is_decoded_as_it_comes(kind, tmp_path):
    path = tmp_path / f"sound.{kind.lower()}"
    soundfile.write(path, np.sin(np.arange(32_000) / 10) * 0.5, 16_000, format=kind)
    expected = read_audio(path)
    found = heard(path.read_bytes(), 4096)[: len(expected)]  # MP3 is padded at its end
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "Nothing came in on stdin."),
        (b"RIFF\0\0\0\0WAVE", "begins like a WAV file, but holds no sound."),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd", "does not say how samples are kept."),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x06\0\x01\0\x80\x3e\0\0\0\0\0\0\x01\0\x08\0",
            "is WAV of format 6 with 8 bits, 1 channels and 16000 samples a second",
        ),
        (b"no sound at all, only words. " * 100, "send WAV, or bare samples with --pcm RATE."),
    ],
)
def test_what_is_no_sound_is_told(data, sentence):
    with pytest.raises(AudioError, match=sentence):
        heard(data)


def test_samples_that_are_not_numbers_are_told(tmp_path):
    sound = np.zeros(100, np.float32)
    sound[50] = np.nan
    soundfile.write(tmp_path / "sound.wav", sound, 16_000, subtype="FLOAT")
    with pytest.raises(
        AudioError, match=r"samples that are NaN or infinite, the first at 0\.003 s"
    ):
        heard((tmp_path / "sound.wav").read_bytes())


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("kind", ["WAV", "AIFF"])  # read here, and by FFmpeg
def test_samples_that_are_no_sound_are_told(kind, subtype, tmp_path):
    path = tmp_path / "huge.bin"
    sound = np.zeros(4000)
    sound[3000] = 1e38
    soundfile.write(path, sound, 16_000, subtype=subtype, format=kind)
    with pytest.raises(AudioError, match=r"stdin holds samples of 1e\+38, which are no sound"):
        heard(path.read_bytes(), 4096)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_header_where_bare_samples_were_promised_is_told(kind, tmp_path):
    soundfile.write(tmp_path / "sound", np.zeros(4000), 16_000, format=kind)
    with pytest.raises(AudioError, match=f"(?i)stdin begins as {kind} does, .* leave out --pcm"):
        heard((tmp_path / "sound").read_bytes(), pcm_rate=16_000)


def test_bare_samples_that_never_came_are_told():
    with pytest.raises(AudioError, match="Nothing came in on stdin."):
        heard(b"", pcm_rate=16_000)


def test_a_few_bare_samples_are_kept():
    bare = np.array([1, -2, 3], "<i2")
    np.testing.assert_array_equal(heard(bare.tobytes(), 1, pcm_rate=16_000), bare / 32768)


def told_of(data: bytes, **options) -> list[str]:
    told: list[str] = []
    heard(data, 1000, tell=told.append, **options)
    return told


def test_a_file_that_is_cut_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(32_000), 16_000)
    data = (tmp_path / "a.wav").read_bytes()
    assert told_of(data) == []
    assert told_of(data[:32_045]) == ["stdin is cut short: 1.00 s of 2.00 s came."]


def test_bytes_of_half_a_sample_are_told():
    bare = np.zeros(100, "<i2").tobytes()
    assert told_of(bare, pcm_rate=16_000) == []
    assert told_of(bare + b"x", pcm_rate=16_000) == [
        "stdin ends inside a sample: its last 1 byte is left out."
    ]


LIST = b"LIST\x0c\0\0\0INFOISFT\0\0\0\0"


@pytest.mark.parametrize("tail", [b"", LIST, b"id3 \x05\0\0\0ID3\4\0\0" + LIST, b"LIST\0\0"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("count", [998, 999])  # an odd number of bytes is filled up
def test_chunks_after_the_sound_are_no_sound(tail, channels, count, tmp_path):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, (count, channels))
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="PCM_24")
    data = (tmp_path / "a.wav").read_bytes() + tail
    np.testing.assert_allclose(heard(data), read_audio(tmp_path / "a.wav"), atol=1e-6)
    assert told_of(data) == []


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_sound_of_unknown_length_lasts_until_the_end(size, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 400), 16_000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size
    assert len(heard(bytes(data) + LIST)) == 400 + len(LIST) // 2


def test_a_long_wav_states_its_length_elsewhere(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 400), 16_000, format="RF64")
    data = (tmp_path / "a.wav").read_bytes()
    assert data[:4] == b"RF64"
    assert len(heard(data + LIST)) == 400
    assert told_of(data[:-400]) == ["stdin is cut short: 0.01 s of 0.03 s came."]


def test_what_goes_on_after_the_sound_of_the_header_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(400), 16_000)
    data = (tmp_path / "a.wav").read_bytes()
    for more in (data, b"\x01\x02" * 400):
        assert len(heard(data + more)) == 400
        assert told_of(data + more) == [
            "stdin goes on after the 0.03 s of sound that its header states: the rest is left out."
        ]


@pytest.mark.parametrize("cut", [0.5, 0.52, 0.55, 0.9])
def test_a_flac_that_is_cut_inside_a_frame_is_heard_up_to_there(cut, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    soundfile.write(tmp_path / "a.flac", noise, 16_000)
    data, whole = (tmp_path / "a.flac").read_bytes(), read_audio(tmp_path / "a.flac")
    data = data[: int(len(data) * cut)]
    found = heard(data, 4096)
    assert len(found) >= 16_000
    np.testing.assert_allclose(found, whole[: len(found)], atol=1e-4)
    [told] = told_of(data)
    assert told.startswith(f"stdin breaks off after {len(found) / 16_000:.1f} s: 0.3 s cannot be")
