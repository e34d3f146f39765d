"""Containers and compressed files, written here by PyAV: heard to their end, or told why not."""

import io
import re
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import (
    STDIN,
    SUFFIXES,
    AudioError,
    find_recordings,
    measure,
    probe,
    read_audio,
    read_part,
    stream_audio,
)
from w2v2cli.data.decoding.container import ContainerDecoder
from w2v2cli.data.decoding.decoder import pieces
from w2v2cli.data.decoding.sound_file import SoundFileDecoder

RNG = np.random.default_rng(9)


def chirp(seconds, rate=16_000, channels=1):
    """A tone that rises: no part of it equals another."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 * time + 40 * time**2))
    return np.tile(tone.astype(np.float32), (channels, 1))


def encoded(samples, format, codec, rate=16_000, video=False, options=None, stream_options=None):
    """The bytes of a file: (C, S) samples, behind a video where one is wanted."""
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=format, options=options or {}) as container,
    ):
        pictures = container.add_stream("mpeg4", rate=10) if video else None
        if pictures is not None:
            pictures.width = pictures.height = 32
            pictures.pix_fmt = "yuv420p"
        if samples is not None:
            sound = container.add_stream(codec, rate=rate, options=stream_options or {})
            if codec == "wmav2":
                sound.bit_rate = 64_000
            sound.layout = "mono" if len(samples) == 1 else "stereo"
        if pictures is not None:
            for _ in range(10):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        if samples is not None:
            frame = av.AudioFrame.from_ndarray(samples, "fltp", sound.layout.name)
            frame.sample_rate = rate
            resampler = av.AudioResampler(sound.format.name, sound.layout.name, rate)
            fifo = av.AudioFifo()
            for part in resampler.resample(frame):
                fifo.write(part)
            while (part := fifo.read(sound.codec_context.frame_size or 1024, True)) is not None:
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
        container.close()
        return Path(file.name).read_bytes()


def alike(found, expected):
    """Whether two waveforms are the same up to what a codec loses and a delay it adds."""
    size = 1 << int(np.ceil(np.log2(len(found) + len(expected))))
    product = np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size))
    peak = np.abs(np.fft.irfft(product)).max()
    return peak / (np.linalg.norm(found) * np.linalg.norm(expected)) > 0.95


CONTAINERS = [
    ("a.m4a", "ipod", "aac", 16_000),
    ("a.m4b", "ipod", "aac", 44_100),
    ("a.mp4", "mp4", "aac", 48_000),
    ("a.mov", "mov", "aac", 16_000),
    ("a.mkv", "matroska", "aac", 16_000),
    ("a.mka", "matroska", "flac", 16_000),
    ("a.webm", "webm", "libopus", 48_000),
    ("a.aac", "adts", "aac", 16_000),
    ("a.wma", "asf", "wmav2", 44_100),
    ("a.ac3", "ac3", "ac3", 48_000),
    ("a.3gp", "3gp", "aac", 16_000),
    ("a.amr", "amr", "libopencore_amrnb", 8_000),
    ("a.mp3", "mp3", "libmp3lame", 16_000),
    ("a.opus", "ogg", "libopus", 48_000),
    ("a.oga", "ogg", "flac", 16_000),
]


@pytest.mark.parametrize(("name", "format", "codec", "rate"), CONTAINERS)
def test_every_container_is_heard_and_all_ways_of_reading_agree(
    tmp_path, name, format, codec, rate
):
    path = tmp_path / name
    path.write_bytes(encoded(chirp(2.5, rate), format, codec, rate))
    whole = read_audio(path)
    assert len(whole) == pytest.approx(40_000, abs=2500)  # codecs pad, at worst by 0.1 s
    assert alike(whole, chirp(2.5)[0])
    assert find_recordings([tmp_path]) == [path]
    assert measure(path) == len(whole)
    assert probe(path).seconds == pytest.approx(2.5, abs=0.3)
    assert (probe(path).sample_rate, probe(path).channels) == (rate, 1)
    np.testing.assert_allclose(np.concatenate([*stream_audio(path, 0.3)]), whole, atol=1e-5)
    np.testing.assert_array_equal(read_part(path, 9000, 8000), whole[9000:17_000])
    np.testing.assert_array_equal(read_part(path, 9000), whole[9000:])


def test_every_suffix_of_a_container_is_tried_here():
    tried = {name[1:] for name, *_ in CONTAINERS}
    assert tried <= SUFFIXES and len(tried) == len(CONTAINERS)


def test_the_sound_of_a_video_and_a_video_without_sound(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(encoded(chirp(1.5, channels=2), "mp4", "aac", video=True))
    assert alike(read_audio(path), chirp(1.5)[0])
    path.write_bytes(encoded(None, "mp4", None, video=True))
    for read in (read_audio, probe, measure):
        with pytest.raises(AudioError, match=r"film\.mp4 holds no sound: none of its streams is"):
            read(path)


def test_channels_are_averaged(tmp_path):
    samples = np.concatenate([chirp(1.0), chirp(1.0)[:, ::-1]])
    (tmp_path / "a.mka").write_bytes(encoded(samples, "matroska", "flac"))
    np.testing.assert_allclose(read_audio(tmp_path / "a.mka"), samples.mean(0), atol=1e-4)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        *(("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("FLAC", kind) for kind in ("PCM_16", "PCM_24")),
        ("AIFF", "PCM_16"),
        ("WAV", "ULAW"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_both_decoders_give_the_same_samples(format, subtype, channels):
    buffer = io.BytesIO()
    samples = RNG.uniform(-1, 1, (20_000, channels))
    soundfile.write(buffer, samples, 22_050, format=format, subtype=subtype)
    for decoder in (SoundFileDecoder, ContainerDecoder):
        buffer.seek(0)
        opened = decoder(buffer)
        assert (opened.rate, opened.channels) == (22_050, channels)
        found = np.concatenate(list(pieces(opened, "a")))
        opened.close()
        if decoder is SoundFileDecoder:
            expected = found
    # The mean over channels is summed in an order that the place in memory decides.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if channels == 1 else 2**-23)


def test_stdin(monkeypatch):
    content = encoded(chirp(1.0), "ipod", "aac")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert alike(read_audio(STDIN), chirp(1.0)[0])


def test_a_stream_needs_little_memory(tmp_path):
    """Two minutes at 48 kHz are 23 MB of samples."""
    path = tmp_path / "a.mka"
    path.write_bytes(encoded(np.zeros((1, 120 * 48_000), np.float32), "matroska", "flac", 48_000))
    next(stream_audio(path, 1.0))  # what is loaded once does not count
    tracemalloc.start()
    total = sum(len(piece) for piece in stream_audio(path, 1.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 120 * 16_000
    assert peak < 5e6


def test_pcm_and_flac_do_not_import_pyav(tmp_path):
    for name in ("a.wav", "a.flac", "a.aiff"):
        soundfile.write(tmp_path / name, chirp(0.1)[0], 16_000)
    code = "import sys; from pathlib import Path; from w2v2cli.data.audio import read_audio\n"
    code += "for path in sys.argv[1:]: read_audio(Path(path))\nassert 'av' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, *tmp_path.iterdir()], check=True)


# ---- to the end of the stream


def test_a_vbr_mp3_without_a_table_is_read_to_its_end(tmp_path):
    samples = np.concatenate([np.zeros((1, 32_000), np.float32), chirp(6)], axis=1)
    content = encoded(
        samples,
        "mp3",
        "libmp3lame",
        options={"write_xing": "0", "id3v2_version": "0"},
        stream_options={"flags": "+qscale", "global_quality": "118"},
    )
    assert b"Xing" not in content and b"Info" not in content
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert len(read_audio(path)) == measure(path) == pytest.approx(8 * 16_000, abs=2000)


def vorbis(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T, 16_000, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [("mp3", "libmp3lame", 16_000), ("ogg", "libopus", 48_000), ("ogg", None, 16_000)],
)
def test_joined_files_are_heard_as_one(tmp_path, format, codec, rate):
    parts = [chirp(2, rate), chirp(3, rate)[:, ::-1].copy()]
    path = tmp_path / "a.bin"
    made = [encoded(part, format, codec, rate) if codec else vorbis(part) for part in parts]
    path.write_bytes(b"".join(made))
    found = read_audio(path)
    assert len(found) == measure(path) == pytest.approx(5 * 16_000, abs=4000)
    assert alike(found[-40_000:], chirp(3)[0, ::-1][-40_000:])


def test_a_rate_that_changes_is_followed(tmp_path):
    parts = [encoded(chirp(2, rate), "mp3", "libmp3lame", rate) for rate in (16_000, 44_100)]
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(parts))
    found = read_audio(path)
    assert len(found) == pytest.approx(4 * 16_000, abs=3000)
    assert alike(found[-24_000:], chirp(2)[0, -24_000:])


# ---- less than the header promises


def pcm(format):
    buffer = io.BytesIO()
    soundfile.write(buffer, RNG.normal(0, 0.1, 64_000), 16_000, format=format, subtype="PCM_16")
    return buffer.getvalue()


def cuttable(kind):
    if kind in ("WAV", "AIFF", "AU", "W64", "NIST", "CAF", "RF64"):
        return pcm(kind)
    noise = RNG.normal(0, 0.1, (1, 64_000)).astype(np.float32)
    if kind == "m4a":
        return encoded(noise, "ipod", "aac", options={"movflags": "faststart"})
    codecs = {"mp3": "libmp3lame", "ogg": "libopus", "matroska": "aac"}
    return encoded(noise, kind, codecs[kind])


@pytest.mark.parametrize(
    "kind",
    ["WAV", "AIFF", "AU", "W64", "NIST", "CAF", "RF64", "m4a", "mp3", "ogg", "matroska"],
)
def test_a_file_cut_in_half_is_told_from_a_whole_one(tmp_path, kind):
    content = cuttable(kind)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    whole = read_audio(path)
    assert len(whole) == pytest.approx(64_000, abs=3000)
    path.write_bytes(content[: len(content) // 2 + 7])
    got = []
    with pytest.raises(AudioError, match=r"a\.bin (is cut short: it holds|breaks off after) [12]"):
        for piece in stream_audio(path, 0.1):
            got.append(piece)  # noqa: PERF402
    assert 15_000 < sum(map(len, got)) < 40_000  # a page of Ogg has a second
    with pytest.raises(AudioError):  # a length that training would take for the whole
        measure(path)
    assert len(read_part(path, 0, 12_000)) == 12_000  # what is there can be read


@pytest.mark.parametrize(
    ("kind", "mark", "at", "sizes"),
    [
        ("WAV", b"data", 4, [b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f", bytes(4)]),
        ("AU", b".snd", 8, [b"\xff\xff\xff\xff"]),
    ],
)
def test_a_length_left_open_is_not_a_promise(tmp_path, kind, mark, at, sizes):
    content = pcm(kind)
    place = content.index(mark) + at
    for size in sizes:
        path = tmp_path / "a.bin"
        path.write_bytes(content[:place] + size + content[place + 4 :])
        assert len(read_audio(path)) == 64_000


def test_a_flac_with_fewer_samples_than_its_header_counts_is_told(tmp_path):
    content = bytearray(pcm("FLAC"))
    assert int.from_bytes(content[22:26], "big") == 64_000
    content[22:26] = (65_024).to_bytes(4, "big")
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match="is cut short: it holds 4.0 s of 4.1 s"):
        read_audio(tmp_path / "a.flac")


def test_damage_inside_a_container_is_told(tmp_path):
    content = bytearray(encoded(chirp(4), "matroska", "flac"))
    for at in range(len(content) // 3, len(content) // 2, 40):
        content[at] ^= 0xFF
    path = tmp_path / "a.mka"
    path.write_bytes(bytes(content))
    with pytest.raises(AudioError, match=r"a\.mka (breaks off after|is cut short)"):
        read_audio(path)


def pages(content):
    """Where the pages of an Ogg file begin, and its end."""
    return [found.start() for found in re.finditer(rb"OggS\0", content)] + [len(content)]


def ogg(kind):
    noise = RNG.normal(0, 0.1, (1, 160_000)).astype(np.float32)
    if kind == "vorbis":
        return vorbis(noise)
    codec = "libopus" if kind == "opus" else kind
    rate = 48_000 if kind == "opus" else 16_000
    return encoded(noise, "ogg", codec, rate)


@pytest.mark.parametrize("kind", ["opus", "vorbis", "flac"])
def test_damaged_and_missing_pages_of_ogg_are_told(tmp_path, kind):
    content, path = ogg(kind), tmp_path / "a.ogg"
    starts = pages(content)
    assert len(starts) > 4
    begin, end, after = starts[-4:-1]
    path.write_bytes(content)
    whole = read_audio(path)
    spoilt = {
        f"no page begins at byte {begin}": (begin, b"oggs"),
        f"the page at byte {begin} is damaged": (begin + 6, bytes(8)),  # its time
        f"the page at byte {end} is damaged": (end + 28, b"\xff\0"),  # sizes of packets
    }
    for reason, (at, bytes_) in spoilt.items():
        path.write_bytes(content[:at] + bytes_ + content[at + len(bytes_) :])
        with pytest.raises(AudioError, match=rf"a\.ogg (breaks|is not|cannot) .*{reason}"):
            read_audio(path)
    path.write_bytes(content[:begin] + content[end:])
    with pytest.raises(AudioError, match=f"breaks off .*: pages are missing at byte {begin}"):
        read_audio(path)
    path.write_bytes(content + b"TAG" + bytes(125))  # as taggers of MP3 leave behind it
    assert np.array_equal(read_audio(path), whole)


def test_seeking_in_a_damaged_flac_is_refused_in_a_sentence(tmp_path):
    content = bytearray(pcm("FLAC"))
    content[len(content) // 4 : -len(content) // 4] = bytes(len(content) // 2)
    (tmp_path / "a.flac").write_bytes(bytes(content))
    for start in range(100, 60_000, 5000):
        try:
            found = read_part(tmp_path / "a.flac", start, 1000)
        except AudioError as error:
            assert "a.flac" in str(error)
        else:
            assert len(found) == 1000
    with pytest.raises(AudioError, match=r"cannot be read from 2\.0 s on|breaks off after 2\.0 s"):
        read_part(tmp_path / "a.flac", 32_000, 1000)


def test_libraries_print_nothing(tmp_path):
    """libmpg123 and FFmpeg write about damage to the terminal unless they are stopped."""
    content = cuttable("mp3")
    (tmp_path / "a.mp3").write_bytes(content[:5000] + bytes(range(256)) * 8 + content[5000:9000])
    (tmp_path / "b.mp3").write_bytes(b"\xff\xfb\x90\x00" + bytes(2000))
    (tmp_path / "c.aac").write_bytes(b"no sound at all\n" * 100)
    code = "import sys; from pathlib import Path; from w2v2cli.data.audio import *\n"
    code += "for path in sys.argv[1:]:\n try: read_audio(Path(path))\n except AudioError: pass"
    done = subprocess.run(
        [sys.executable, "-c", code, *tmp_path.iterdir()], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_playlist_opens_no_other_file(tmp_path):
    (tmp_path / "secret.ts").write_bytes(encoded(chirp(1), "mpegts", "aac"))
    lists = {
        "a.m4a": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "b.m4a": f"ffconcat version 1.0\nfile '{tmp_path}/secret.ts'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="is not audio that can be read"):
            read_audio(tmp_path / name)


@pytest.mark.parametrize("rate", [15_988, 15_999, 16_001, 16_012])
def test_rates_beside_16_khz(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", chirp(1)[0], rate)
    assert len(read_audio(tmp_path / "a.wav")) == measure(tmp_path / "a.wav") == 16_000


HEARD = {  # seconds; None where the part that is there is followed by an error
    "p_ffpipe_vbr.mp3": 6.7,
    "c_cat.mp3": 5.3,
    "c_chained.ogg": 5.2,
    "h_len_zero.wav": 2.6,
    "o_rate15999.wav": 2.6,
    "c.m4a": 2.6,
    "c_webm.webm": 2.6,
    "c_sph.sph": 2.6,
    "m_zeros_first.mp3": 6.7,
    "c_oggflac.oga": 2.6,
    "t_half.opus": None,
    "t_half.aiff": None,
    "t_half_xing.mp3": None,
    "h_truncated.wav": None,
}


@pytest.mark.parametrize(("name", "seconds"), HEARD.items())
def test_the_recorded_faults(shared_data, name, seconds):
    path = shared_data / "faults" / name
    if not path.is_file():
        pytest.skip("needs the collection of faults")
    if seconds is None:
        with pytest.raises(AudioError, match="cut short|breaks off"):
            read_audio(path)
    else:
        assert len(read_audio(path)) / 16_000 == pytest.approx(seconds, abs=0.1)
