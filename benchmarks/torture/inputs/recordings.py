"""Recordings of six formats, damaged: each is read whole and measured, some go through commands.

A silent change is a length that is off by more than TOLERANCE seconds without a word, where the
damage lies behind the header, or where the end is missing of a format whose header promises a
length. Damage to the header itself cannot be told from another header, with one exception: a
recording that is there twice has to be heard twice, where its format can be joined. `measure`, by
which training plans, has to agree with what is read.
"""

from __future__ import annotations

import importlib
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, judged, sentence
from benchmarks.torture.inputs.damage import cut, flipped, lying, spoilt

RATE = 16_000
SECONDS = 4
TOLERANCE = 0.5  # seconds; encoders put silence before and after the sound
BY_COMMAND = 20  # of so many cases one is transcribed and one is scanned
COMMANDS = (
    "w2v2cli.app",
    "w2v2cli.data.scanning",
    "w2v2cli.recognition.transcribing",
    "w2v2cli.recognition.recognizer",
)
Draw = random.Random


@dataclass(frozen=True)
class Format:
    """A recording that is whole."""

    suffix: str
    whole: bytes
    header: int
    """Bytes before the sound."""
    promises: bool
    """Whether the header says how long the sound is."""
    joins: bool
    """Whether two files, one behind the other, are one of twice the length."""


def formats() -> list[Format]:
    """Noise in bursts, SECONDS long, in every format."""
    draw = np.random.default_rng(0)
    loudness = np.repeat(draw.uniform(0, 0.3, SECONDS * 10), RATE // 10)
    samples = (draw.standard_normal(SECONDS * RATE) * loudness).clip(-1, 1)

    def written(container: str, subtype: str | None = None) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format=container, subtype=subtype)
        return file.getvalue()

    wav, floats = written("WAV"), written("WAV", "FLOAT")
    return [
        Format(".wav", wav, 44, True, False),
        Format(".flac", written("FLAC"), 42, True, False),
        Format(".mp3", encoded(samples, "mp3", "libmp3lame"), 2000, True, True),
        Format(".opus", encoded(samples, "ogg", "libopus"), 200, False, True),
        Format(".m4a", encoded(samples, "mp4", "aac"), 100, True, False),
        Format(".aiff", written("AIFF"), 54, True, False),
        Format(".wav", floats, 80, True, False),
        Format(".ogg", written("OGG"), 5000, False, True),
        Format(".sph", written("NIST"), 1024, True, True),
    ]


def encoded(samples: np.ndarray, container: str, codec: str) -> bytes:
    """Samples (S,) compressed by FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, "mono", RATE, frame_size=stream.frame_size)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


def damaged(form: Format, others: list[Format], draw: Draw) -> tuple[bytes, float | None]:
    """A damaged file, and the seconds that a reader owes unless it says something; None: any."""
    whole, end = form.whole, form.header
    behind = float(SECONDS)  # damage behind the header
    kinds: list[Callable[[], tuple[bytes, float | None]]] = [
        lambda: (flipped(whole, draw, end), behind),
        lambda: (flipped(whole, draw, 0, end), None),
        lambda: (lying(whole, draw, end), None),
        lambda: (cut(whole, draw), behind if form.promises else None),
        lambda: (spoilt(whole, draw, end), None),
        lambda: (whole + whole, 2 * behind if form.joins else behind),
        lambda: (whole + draw.choice(others).whole, None),
        lambda: (draw.randbytes(draw.choice((1, 10, 1000))) + whole, None),
        lambda: (flipped(cut(whole, draw) or whole, draw), None),
        lambda: (bytes(draw.choice((0, 1, 44, 100))) + whole[: draw.choice((0, 12, 100))], None),
    ]
    return draw.choice(kinds)()


def open_recordings(folder: Path) -> Run:
    """Recordings to be damaged, and a small model for those that are transcribed."""
    known = formats()
    model = small_model(folder / "model.safetensors")
    for name in COMMANDS:  # imports take seconds, which are not the first case's
        importlib.import_module(name)

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("recordings", number)
        form = known[draw.choice((0, 1, 2, 3, 4, 5, 5 + number % 4))]
        content, owed = damaged(form, known, draw)
        path = place / f"recording{form.suffix}"
        path.write_bytes(content)
        if number % BY_COMMAND == 0:
            return transcribe(path, model)
        if number % BY_COMMAND == 1:
            return scan(place, place / "manifest.jsonl")
        return read(path, owed, draw)

    return run


def transcribe(path: Path, model: Path) -> Outcome:
    """Transcribe a recording by the command."""
    return commanded("transcribe", str(path), "--model", str(model), "--device", "cpu")


def scan(folder: Path, output: Path) -> Outcome:
    """List the recordings of a folder by the command."""
    return commanded("data", "scan", str(folder), "--output", str(output))


def read(path: Path, owed: float | None, draw: Draw) -> Outcome:
    """Read and measure a recording, and compare its length with what is owed.

    Also a part of it, to which the decoder may seek: it is that part of the whole.
    """
    from w2v2cli.data.audio import AudioError, measure, probe, read_audio, read_part

    start, samples = draw.randrange(SECONDS * RATE), draw.choice((1, 4000, RATE))
    part, refusal = None, ""
    try:
        part = read_part(path, start, samples)
    except AudioError as error:
        refusal = str(error)

    def call() -> Outcome:
        about = probe(path)
        whole = read_audio(path)
        seconds = len(whole) / RATE
        same = whole[start : start + samples]
        if part is not None and not (len(part) == samples and np.allclose(part, same, atol=1e-4)):
            return Outcome("changed", f"another part at {start} than in the whole, {about}")
        if part is None and len(same) == samples:  # it can be read from its beginning alone
            return sentence(refusal)
        measured = measure(path) / RATE
        if measured != seconds:
            return Outcome("changed", f"measured {measured} s, read {seconds} s")
        if owed is not None and abs(seconds - owed) > TOLERANCE:
            return Outcome("changed", f"{path.suffix}: {seconds} s instead of {owed} s, {about}")
        return Outcome("well")

    return judged(call, (AudioError,))


def small_model(path: Path) -> Path:
    """A network of no use but of the right shape, whose letters are those of English."""
    import torch

    from models.checkpoint import Checkpoint, save_checkpoint
    from models.config import Wav2Vec2Config
    from models.importers.labels import STANDARD
    from models.wav2vec2 import Wav2Vec2ForCTC

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        conv_layers=((8, 10, 5), (8, 8, 4), (8, 4, 4), (8, 4, 4)),
        width=16,
        ffn_width=16,
        num_layers=1,
        num_heads=2,
        position_kernel=4,
        position_groups=2,
    )
    network = Wav2Vec2ForCTC(config, len(STANDARD))
    save_checkpoint(path, Checkpoint(config, network.state_dict(), STANDARD))
    return path


KINDS = (Kind("recordings", 2000, open_recordings),)
