"""Real files of every kind, whole and broken."""

import io
import os
import sys
import warnings

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from w2v2cli.data.audio import STDIN, AudioError, find_recordings, probe, read_audio, stream_audio


def speech_like(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 330 * time + 1)
    return np.stack([tone * (1 + 0.1 * c) for c in range(channels)], axis=1).astype(np.float32)


FORMATS = [
    ("a.wav", "PCM_U8", 0.01), ("a.wav", "PCM_16", 1e-4), ("a.wav", "PCM_24", 1e-6), ("a.wav", "PCM_32", 1e-6),
    ("a.wav", "FLOAT", 1e-6), ("a.wav", "ULAW", 0.02), ("a.flac", "PCM_16", 1e-4), ("a.flac", "PCM_24", 1e-6),
    ("a.aiff", "PCM_16", 1e-4), ("a.ogg", "VORBIS", 0.05), ("a.mp3", "MPEG_LAYER_III", 0.05),
]  # fmt: skip


@pytest.mark.parametrize(("name", "subtype", "tolerance"), FORMATS)
def test_formats_and_widths(tmp_path, name, subtype, tolerance):
    path, samples = tmp_path / name, speech_like(1.0, 16_000)
    soundfile.write(path, samples, 16_000, subtype=subtype)
    result = read_audio(path)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[2000:14_000], samples[2000:14_000, 0], atol=tolerance)
    assert probe(path).seconds == pytest.approx(1.0, abs=0.1)


def test_opus(tmp_path):
    path, samples = tmp_path / "a.opus", speech_like(1.0, 48_000)
    soundfile.write(path, samples, 48_000, format="OGG", subtype="OPUS")
    assert len(read_audio(path)) == pytest.approx(16_000, abs=500)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 384_000])
def test_every_rate_becomes_16_khz_and_a_stream_equals_the_whole(tmp_path, rate):
    path, samples = tmp_path / "a.wav", speech_like(2.0, rate)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    pieces = np.concatenate(list(stream_audio(path, chunk_seconds=0.13)))
    np.testing.assert_allclose(pieces, read_audio(path), atol=1e-5)
    assert len(pieces) == pytest.approx(32_000, abs=2)
    expected = speech_like(2.0, 16_000)[:, 0]
    np.testing.assert_allclose(pieces[500:31_500], expected[500:31_500], atol=5e-3)


def test_resampling_is_torchaudios(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 44_100 * 2).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    expected = torchaudio.functional.resample(torch.from_numpy(samples), 44_100, 16_000).numpy()
    np.testing.assert_allclose(np.concatenate(list(stream_audio(tmp_path / "a.wav", 0.2))), expected, atol=1e-5)


def test_channels_are_averaged(tmp_path):
    samples = speech_like(0.5, 16_000, channels=5)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), samples.mean(axis=1), atol=1e-6)


def test_silence_clipping_and_ten_milliseconds_are_recordings(tmp_path):
    for name, samples in (("silent", np.zeros(8000)), ("clipped", np.tile([1.0, -1.0], 4000)), ("short", np.zeros(160))):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000)
        assert len(read_audio(tmp_path / f"{name}.wav")) == len(samples)


def test_stdin(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    soundfile.write(buffer, speech_like(0.5, 16_000), 16_000, format="FLAC")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    assert len(read_audio(STDIN)) == 8000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(AudioError, match="Nothing came in on stdin"):
        read_audio(STDIN)


def write(path, content):
    path.write_bytes(content)
    return path


def wav_bytes(rate=16_000, samples=1600, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, speech_like(samples / 16_000, 16_000), rate, format="WAV", **options)
    return buffer.getvalue()


def broken(kind, tmp_path):
    if kind == "text":
        return write(tmp_path / "a.wav", b"not a recording at all\n" * 50)
    if kind == "empty":
        return write(tmp_path / "a.flac", b"")
    if kind == "no samples":
        return write(tmp_path / "a.wav", wav_bytes(samples=0))
    if kind == "1 Hz":
        return write(tmp_path / "a.wav", wav_bytes(rate=1))
    if kind == "no channels":
        data = bytearray(wav_bytes())
        data[22:24] = (0).to_bytes(2, "little")
        return write(tmp_path / "a.wav", bytes(data))
    if kind == "nan":
        soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.1]), 16_000, subtype="FLOAT")
        return tmp_path / "a.wav"
    if kind == "folder":
        (tmp_path / "sub").mkdir()
        return tmp_path / "sub"
    return tmp_path / "gone.wav"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "is no audio that can be read"),
        ("empty", "is an empty file"),
        ("no samples", "holds no samples"),
        ("1 Hz", "says it has 1 samples a second; 1000 to 768000 can be read"),
        ("no channels", "is no audio that can be read"),
        ("nan", "no numbers"),
        ("folder", "holds no recordings"),
        ("gone", "cannot be opened: No such file"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence_with_its_name(tmp_path, kind, message):
    path = broken(kind, tmp_path)
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith((".", "."))


def half_of(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 160_000), 16_000)
    whole = path.read_bytes()
    return write(path, whole[: len(whole) // 2])


def test_a_flac_cut_short_is_told_from_a_whole_one(tmp_path):
    with pytest.raises(AudioError, match=r"a\.flac (is cut short|breaks off)"):
        read_audio(half_of(tmp_path / "a.flac"))


def test_a_wav_whose_header_promises_more_is_read_as_far_as_it_goes(tmp_path):
    """Programs that write WAV into a pipe cannot know its length and promise anything."""
    assert len(read_audio(half_of(tmp_path / "a.wav"))) == pytest.approx(80_000, abs=50)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path):
    path = write(tmp_path / "a.wav", wav_bytes())
    path.chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        read_audio(path)


def test_finding_recordings(tmp_path):
    for name in ("b.flac", "a.WAV", "notes.txt", "sub/c.mp3", ".hidden.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [p.name for p in find_recordings([tmp_path])]
    assert names == ["a.WAV", "b.flac", "c.mp3"]
    assert [p.name for p in find_recordings([str(tmp_path / "*.flac"), tmp_path / "b.flac"])] == ["b.flac"]
    assert find_recordings([tmp_path / "gone.wav", "-"]) == [tmp_path / "gone.wav", STDIN]


def test_every_shared_recording_can_be_read(shared_data):
    files = find_recordings([shared_data / "misc", shared_data / "librispeech-clips", shared_data / "misc-librivox"])
    files += find_recordings([shared_data / "digits"])[:50]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in files:
            assert len(read_audio(path)) == pytest.approx(probe(path).seconds * 16_000, abs=2)
