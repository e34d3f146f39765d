"""Loading for training, from FLAC files and from shards, and how many workers a GPU needs.

    python -m benchmarks.loader [--data FOLDER] [--real-time 1180] [--seconds 5] [--workers 1 2]
    python -m benchmarks.loader --epochs 1 3 300 --workers 0 2 4

All readers read the same crops of the same plan, except webdataset, which reads whole recordings
and crops them afterwards, as its pipelines do. The files are in the system's cache: a disk or a
network must deliver the bandwidth that is printed. Hours per second and core are counted in
processor time, with several workers in wall-clock time.

With --epochs it measures instead how long training waits for a micro-batch when an epoch has that
many of them, once the workers have started.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.table import Table

from models.config import SAMPLE_RATE
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.dataset import Reading, TrainingSet, unlabelled
from w2v2cli.data.loading.loader import Epochs, read_ahead
from w2v2cli.data.recordings import FileRecordings, Recordings
from w2v2cli.data.shards.reader import ShardRecordings
from w2v2cli.data.shards.writer import write_shards
from w2v2cli.data.utterance import Utterance
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.stream import AudioStream

SHIPPED = Path(__file__).parents[1] / "w2v2cli" / "shipped" / "corpus" / "test-clean"
Way = Callable[[int], Iterator[int]]  # epoch -> the number of samples of each piece read


@dataclass(frozen=True)
class Speed:
    """Hours of audio read in a second of processor time (`core`) and of wall-clock time."""

    core: float
    clock: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=SHIPPED,
        help="a folder of recordings; default: the shipped ones",
    )
    parser.add_argument(
        "--real-time",
        type=float,
        default=1180,
        help="seconds of audio that one GPU trains on in a second",
    )
    parser.add_argument(
        "--seconds", type=float, default=5, help="how long each reader runs, three times"
    )
    parser.add_argument("--crop", type=int, default=250_000, help="longest crop, samples")
    parser.add_argument("--batch", type=int, default=1_400_000, help="micro-batch, samples")
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[1, 2], help="processes of the loader to try"
    )
    parser.add_argument(
        "--epochs", type=int, nargs="*", help="epochs of that many micro-batches of 20 s"
    )
    parser.add_argument(
        "--busy", type=float, default=0, help="seconds that the device takes for a micro-batch"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    utterances = read_corpus(args.data)
    if args.epochs:
        _print_epochs(utterances, args)
        return
    reading = Reading(args.batch, args.crop)
    with tempfile.TemporaryDirectory() as folder:
        packed = write_shards(utterances, Path(folder), shard_bytes=1e8)
        if packed.failures:
            parser.error(packed.failures[0])
        files, shards = FileRecordings(utterances), ShardRecordings(folder)
        table = Table(
            title=f"{len(utterances)} recordings, {packed.hours:.2f} h; "
            f"workers for a GPU at {args.real_time:g} x real time"
        )
        for heading in ("read by", "hours/s/core", "x real time", "workers a GPU"):
            table.add_column(heading, justify="left" if heading == "read by" else "right")
        for name, way in _ways(utterances, files, shards, reading):
            _add(table, name, way, args)
        for count in args.workers:
            for name, source in (("files", files), ("shards", shards)):
                way = partial(_through_loader, unlabelled(source, 1)[0], reading, count)
                _add(table, f"ours, {name}, {count} processes", way, args, count)
        Console().print(table)
        rate = sum(path.stat().st_size for path in shards.paths) / (packed.samples / SAMPLE_RATE)
        print(
            f"Shards hold {rate / 1e3:.1f} kB a second of audio: "
            f"{rate * args.real_time / 1e6:.1f} MB/s for each GPU. {os.cpu_count()} processors."
        )


def _print_epochs(utterances: list[Utterance], args: argparse.Namespace) -> None:
    """Print the wait for a micro-batch by the size of an epoch and the number of workers."""
    title = f"Wait for a micro-batch of 20 s, ms; the device is busy for {args.busy * 1e3:g} ms"
    table = Table(title=title)
    for heading in ("micro-batches an epoch", *(f"{n} workers" for n in args.workers)):
        table.add_column(heading, justify="right")
    for size in args.epochs:
        data = _epoch_of(size, utterances)
        waits = [_wait(data, workers, args) for workers in args.workers]
        table.add_row(str(size), *(f"{1e3 * wait:.1f}" for wait in waits))
    Console().print(table)


EPOCH_READING = Reading(20 * SAMPLE_RATE, seed=1)


def _epoch_of(size: int, utterances: list[Utterance]) -> TrainingSet:
    """Recordings, repeated if need be, whose epochs have about `size` micro-batches."""
    many = utterances * (1 + 40 * size // len(utterances))
    source = FileRecordings(many)
    longer = np.argsort(source.lengths, kind="stable")[len(many) // 4 :]
    seconds = np.cumsum(source.lengths[longer]) / SAMPLE_RATE
    count = int(np.searchsorted(seconds, 19 * size))
    return TrainingSet(source, np.sort(longer[: max(count, 1)]))


def _wait(data: TrainingSet, workers: int, args: argparse.Namespace) -> float:
    """Seconds that training waits for a micro-batch, in the mean, the first ones left out."""
    steps = AudioStream(data, EPOCH_READING, workers=workers).steps(Position())
    for _ in range(4 * workers + 1):  # those that the workers read ahead while they start
        next(steps)
    waited, count, began = 0.0, 0, time.perf_counter()
    while time.perf_counter() - began < args.seconds:
        before = time.perf_counter()
        next(steps)
        waited, count = waited + time.perf_counter() - before, count + 1
        time.sleep(args.busy)
    return waited / count


def _ways(
    utterances: list[Utterance], files: FileRecordings, shards: ShardRecordings, reading: Reading
) -> Iterator[tuple[str, Way | str]]:
    """Yield name and reader of each contender, or why it cannot take part."""
    yield "ours, FLAC files", partial(_micro_batches, files, reading)
    yield "ours, shards", partial(_micro_batches, shards, reading)
    yield (
        "soundfile, the same files",
        partial(_straightforward, utterances, files, reading, _by_soundfile),
    )
    try:
        _by_torchaudio(utterances[0].path, 0, 100)
        yield (
            "torchaudio.load, the same files",
            partial(_straightforward, utterances, files, reading, _by_torchaudio),
        )
    except (ImportError, RuntimeError) as error:
        yield "torchaudio.load, the same files", f"left out: {str(error).splitlines()[0][:60]}"
    try:
        import webdataset  # noqa: F401

        yield (
            "webdataset + soundfile, the same shards",
            partial(_by_webdataset, shards.paths, reading.crop),
        )
    except ImportError:
        yield "webdataset + soundfile, the same shards", "left out: pip install webdataset"


def _add(
    table: Table, name: str, way: Way | str, args: argparse.Namespace, workers: int = 0
) -> None:
    if isinstance(way, str):
        table.add_row(name, way)
        return
    runs = [measured(way, args.seconds) for _ in range(3)]
    hours = statistics.median(run.clock / workers if workers else run.core for run in runs)
    times = hours * 3600
    table.add_row(name, f"{hours:.3f}", f"{times:.0f}", str(ceil(args.real_time / times)))


def measured(way: Way, seconds: float) -> Speed:
    """Read epoch after epoch for `seconds`.

    The first piece does not count, because files are opened for it.
    """
    samples, epoch, pieces = 0, 0, way(0)
    next(pieces)
    began, clock = time.process_time(), time.perf_counter()
    while time.perf_counter() - clock < seconds:
        piece = next(pieces, None)
        if piece is None:
            epoch += 1
            pieces = way(epoch)
        else:
            samples += piece
    hours = samples / SAMPLE_RATE / 3600
    return Speed(hours / (time.process_time() - began), hours / (time.perf_counter() - clock))


def _micro_batches(source: Recordings, reading: Reading, epoch: int) -> Iterator[int]:
    batches = reading.epoch(unlabelled(source, 1)[0], epoch)
    yield from (int(batches[i].lengths.sum()) for i in range(len(batches)))


def _through_loader(data: TrainingSet, reading: Reading, workers: int, epoch: int) -> Iterator[int]:
    """Read so many micro-batches that the start of the processes does not matter."""
    epochs = Epochs(data, reading)
    places = ((epoch, i % epochs.size(epoch)) for i in range(100_000))
    yield from (int(batch.lengths.sum()) for batch in read_ahead(epochs, places, workers))


def _straightforward(
    utterances: list[Utterance],
    files: FileRecordings,
    reading: Reading,
    read: Callable[[Path, int, int], torch.Tensor],
    epoch: int,
) -> Iterator[int]:
    """Read each crop, pad and stack, in the simplest code that does it."""
    for batch in reading.epoch(unlabelled(files, 1)[0], epoch).plan:
        rows = zip(batch.indices, batch.starts, batch.samples, strict=True)
        waveforms = [read(utterances[i].path, start, samples) for i, start, samples in rows]
        torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
        yield sum(batch.samples)


def _by_soundfile(path: Path, start: int, samples: int) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(path, samples, start, dtype="float32")[0])


def _by_torchaudio(path: Path, start: int, samples: int) -> torch.Tensor:
    import torchaudio

    return torchaudio.load(path, frame_offset=start, num_frames=samples)[0][0]


def _by_webdataset(paths: list[Path], crop: int | None, epoch: int) -> Iterator[int]:
    """Decode and crop the samples of webdataset's stream as they come."""
    import webdataset

    draw = np.random.default_rng(epoch)
    for sample in webdataset.WebDataset([str(path) for path in paths], shardshuffle=False):
        waveform = soundfile.read(io.BytesIO(sample["flac"]), dtype="float32")[0]
        length = min(len(waveform), crop or len(waveform))
        start = int(draw.integers(0, len(waveform) - length + 1))
        yield len(torch.from_numpy(waveform[start : start + length].copy()))


if __name__ == "__main__":
    main()
