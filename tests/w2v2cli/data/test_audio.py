"""Real files of every kind, whole and broken."""

import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from w2v2cli.data.audio import STDIN, AudioError, find_recordings, probe, read_audio, stream_audio
from w2v2cli.data.resampling import resampled


def speech_like(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 330 * time + 1)
    return np.stack([tone * (1 + 0.1 * c) for c in range(channels)], axis=1).astype(np.float32)


FORMATS = [
    ("a.wav", "PCM_U8", 0.01),
    ("a.wav", "PCM_16", 1e-4),
    ("a.wav", "PCM_24", 1e-6),
    ("a.wav", "PCM_32", 1e-6),
    ("a.wav", "FLOAT", 1e-6),
    ("a.wav", "ULAW", 0.02),
    ("a.flac", "PCM_16", 1e-4),
    ("a.flac", "PCM_24", 1e-6),
    ("a.aiff", "PCM_16", 1e-4),
    ("a.ogg", "VORBIS", 0.05),
    ("a.mp3", "MPEG_LAYER_III", 0.05),
]


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
    np.testing.assert_allclose(
        np.concatenate(list(stream_audio(tmp_path / "a.wav", 0.2))), expected, atol=1e-5
    )


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 48_000, 96_000, 384_000])
def test_pieces_of_any_size_give_the_samples_of_the_whole(rate):
    rng = np.random.default_rng(rate)
    samples = rng.normal(0, 0.1, rate // 2 + 7).astype(np.float32)
    cuts = np.sort(rng.integers(0, len(samples), 40))
    cuts[5] = cuts[6]  # an empty piece
    result = np.concatenate(list(resampled(np.split(samples, cuts), rate)))
    expected = torchaudio.functional.resample(torch.from_numpy(samples), rate, 16_000).numpy()
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_16_khz_needs_no_torch(tmp_path):
    """Importing it would take longer than reading a file."""
    soundfile.write(tmp_path / "a.flac", speech_like(0.1, 16_000), 16_000)
    code = "import sys; from pathlib import Path; from w2v2cli.data.audio import read_audio"
    code += "; read_audio(Path(sys.argv[1]))"
    code += "; assert 'torch' not in sys.modules and 'torchaudio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.flac"], check=True)


def test_a_stream_needs_little_memory(tmp_path):
    """Two minutes of 48 kHz stereo are 46 MB of samples; pieces of a second need a few."""
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 48_000, 2, "PCM_16") as file:
        for _ in range(120):
            file.write(np.zeros((48_000, 2), np.int16))
    next(stream_audio(tmp_path / "a.wav", 1.0))  # what is loaded once is no matter
    tracemalloc.start()
    total = sum(len(piece) for piece in stream_audio(tmp_path / "a.wav", 1.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 120 * 16_000
    assert peak < 5e6


def test_channels_are_averaged(tmp_path):
    samples = speech_like(0.5, 16_000, channels=5)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), samples.mean(axis=1), atol=1e-6)


def test_silence_clipping_and_ten_milliseconds_are_recordings(tmp_path):
    clipped = np.tile([1.0, -1.0], 4000)
    for name, samples in (
        ("silent", np.zeros(8000)),
        ("clipped", clipped),
        ("short", np.zeros(160)),
    ):
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


def test_a_closed_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError, match="Nothing came in on stdin"):
        read_audio(STDIN)


def test_a_broken_stdin_is_called_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello" * 99)))
    with pytest.raises(
        AudioError, match=r"^stdin is not audio that can be read: Format not recognised\.$"
    ):
        read_audio(STDIN)


def test_stdin_that_does_not_fit_on_the_disk(monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
    monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda size: full)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello" * 99)))
    with pytest.raises(
        AudioError,
        match=r"stdin does not fit into .*: the disk is full; set TMPDIR to another folder\.",
    ):
        read_audio(STDIN)


def test_a_named_pipe(tmp_path):
    """As a shell's <(...) is one."""
    content, path = wav_bytes(), tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert len(read_audio(path)) == 1600
    writer.join()


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
    if kind == "infinite":
        samples = np.zeros(20_000)
        samples[8000] = -np.inf
        soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="DOUBLE")
        return tmp_path / "a.wav"
    if kind == "m4a":
        return write(tmp_path / "a.m4a", b"\0\0\0\x1cftypM4A " + bytes(500))
    if kind == "raw":
        return write(tmp_path / "a.raw", bytes(500))
    if kind == "link":
        (tmp_path / "a.wav").symlink_to("nowhere")
        return tmp_path / "a.wav"
    if kind == "parent":
        return write(tmp_path / "file", b"text") / "a.wav"
    if kind == "folder":
        (tmp_path / "sub").mkdir()
        return tmp_path / "sub"
    return tmp_path / "gone.wav"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "is not audio that can be read"),
        ("empty", "is an empty file"),
        ("no samples", "holds no samples"),
        ("1 Hz", "says it has 1 samples a second; 1000 to 768000 can be read"),
        ("no channels", "is not audio that can be read"),
        ("nan", r"NaN or infinite, the first at 0\.000 s"),
        ("infinite", r"NaN or infinite, the first at 0\.500 s"),
        ("m4a", "is not audio that can be read"),
        ("raw", "is not audio that can be read"),
        ("link", "cannot be opened: No such file"),
        ("parent", "cannot be opened: Not a directory"),
        ("folder", "holds no recordings"),
        ("gone", "cannot be opened: No such file"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence_with_its_name(tmp_path, kind, message):
    path = broken(kind, tmp_path)
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert re.search(r"(\.|\.flac)$", str(caught.value)) and "\n" not in str(caught.value)
    if kind != "nan" and kind != "infinite":  # a header says nothing of the samples
        with pytest.raises(AudioError, match=message):
            probe(path)


def half_of(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 160_000), 16_000)
    whole = path.read_bytes()
    return write(path, whole[: len(whole) // 2])


def test_a_flac_cut_short_is_told_from_a_whole_one_and_what_is_there_comes_first(tmp_path):
    got = []
    with pytest.raises(
        AudioError,
        match=r"a\.flac breaks off after 4\.[5-9] s of 10\.0 s: flac decoder lost sync\.$",
    ):
        for piece in stream_audio(half_of(tmp_path / "a.flac"), 1.0):
            got.append(piece)  # noqa: PERF402
    assert 4.5 < sum(map(len, got)) / 16_000 < 5.0


def test_a_flac_without_its_last_frames_is_cut_short(tmp_path):
    """Between two frames there is nothing to lose sync with."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(160_000), 16_000)
    data = bytearray(path.read_bytes())
    data[8 + 13] |= 0x01  # 2 ** 32 samples more
    with pytest.raises(
        AudioError,
        match=r"is cut short: it holds 10\.0 s of 268445\.5 s that its header promises\.",
    ):
        read_audio(write(path, bytes(data)))


def test_a_flac_from_a_pipe_does_not_know_its_length(tmp_path):
    path, samples = tmp_path / "a.flac", speech_like(3.0, 16_000)
    soundfile.write(path, samples, 16_000)
    data = bytearray(path.read_bytes())
    data[8 + 13] &= 0xF0  # 36 bits: the number of samples
    data[8 + 14 : 8 + 18] = bytes(4)
    write(path, bytes(data))
    assert probe(path).seconds == 3.0
    np.testing.assert_allclose(read_audio(path), samples[:, 0], atol=1e-4)


@pytest.mark.parametrize("placeholder", [b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"])
def test_a_wav_from_a_pipe_does_not_know_its_length(tmp_path, placeholder):
    data = bytearray(wav_bytes(samples=8000))
    start = data.index(b"data")
    data[4:8] = data[start + 4 : start + 8] = placeholder
    assert len(read_audio(write(tmp_path / "a.wav", bytes(data)))) == 8000


def test_a_wav_cut_short_is_told_from_a_whole_one_and_what_is_there_comes_first(tmp_path):
    got = []
    with pytest.raises(
        AudioError,
        match=r"a\.wav is cut short: it holds 5\.0 s of 10\.0 s that its header promises\.$",
    ):
        for piece in stream_audio(half_of(tmp_path / "a.wav"), 1.0):
            got.append(piece)  # noqa: PERF402
    assert sum(map(len, got)) == pytest.approx(80_000, abs=50)


@contextmanager
def nobody():
    """Root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_files_and_folders(tmp_path):
    write(tmp_path / "a.wav", wav_bytes()).chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "b").mkdir()
    with nobody():
        found = find_recordings([tmp_path / "b", tmp_path / "closed", tmp_path / "a.wav"])
        assert found == [tmp_path / "b", tmp_path / "closed", tmp_path / "a.wav"]
        for path in found[1:]:
            with pytest.raises(AudioError, match=f"^{path} cannot be opened: Permission denied"):
                read_audio(path)
    (tmp_path / "closed").chmod(0o700)


def test_a_closed_folder_among_open_ones_is_not_passed_over(monkeypatch):
    """With a folder of this process's own: pytest's are closed to nobody."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder / "a.wav", b"").chmod(0o644)
        (folder / "closed").mkdir(mode=0)
        with nobody():
            assert find_recordings([folder]) == [folder / "a.wav", folder / "closed"]
        (folder / "closed").chmod(0o700)


def test_finding_recordings(tmp_path):
    for name in ("b.flac", "a.WAV", "notes.txt", "sub/c.mp3", ".hidden.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [p.name for p in find_recordings([tmp_path])]
    assert names == ["a.WAV", "b.flac", "c.mp3"]
    assert [p.name for p in find_recordings([str(tmp_path / "*.flac"), tmp_path / "b.flac"])] == [
        "b.flac"
    ]
    assert find_recordings([tmp_path / "gone.wav", "-"]) == [tmp_path / "gone.wav", STDIN]
    # A pattern may match folders; what is named needs no suffix we know.
    assert [p.name for p in find_recordings([f"{tmp_path}/s*"])] == ["c.mp3"]
    assert [p.name for p in find_recordings([f"{tmp_path}/**/*.mp3", tmp_path / "notes.txt"])] == [
        "c.mp3",
        "notes.txt",
    ]
    assert find_recordings([f"{tmp_path}/*.xyz"]) == [tmp_path / "*.xyz"]
    (tmp_path / "[1].wav").touch()
    assert find_recordings([tmp_path / "[1].wav"]) == [tmp_path / "[1].wav"]


def test_every_shared_recording_can_be_read(shared_data):
    files = find_recordings(
        shared_data / name for name in ("misc", "librispeech-clips", "misc-librivox")
    )
    files += find_recordings([shared_data / "digits"])[:50]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in files:
            assert len(read_audio(path)) == pytest.approx(probe(path).seconds * 16_000, abs=2)
