"""Corpora packed into WebDataset shards: shuffled once, several shards at a time, and what is finished is not done again."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from w2v2cli.data.recordings import read_utterance
from w2v2cli.data.resampling import SAMPLE_RATE
from w2v2cli.data.scanning import Progress, end_with_parent, interrupts_held, length, scan
from w2v2cli.data.shards.index import ShardError, ShardIndex, Strings, Texts, index_path
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,60}")  # ids that are keys as they are
FLAC_BYTES = 1.1  # a sample of speech as 16-bit FLAC, about
REST = 2560  # bytes a recording takes besides: two headers, its .json, two paddings
WATCH = 0.2  # seconds between two looks at how far the processes are


@dataclass
class Sharded:
    """What was packed."""

    shards: int = 0
    skipped: int = 0
    """Shards that were finished before."""
    recordings: int = 0
    samples: int = 0
    failures: list[str] = field(default_factory=list)
    """Why recordings are missing, a sentence for each."""

    @property
    def hours(self) -> float:
        """Of audio."""
        return self.samples / SAMPLE_RATE / 3600


@dataclass(frozen=True)
class ShardPlan:
    """One shard to make."""

    path: Path
    utterances: tuple[Utterance, ...]
    """With `samples`."""
    keys: tuple[str, ...]
    of: int
    """How many shards there will be."""

    @property
    def digest(self) -> str:
        """Of all that will be said about its recordings."""
        content = hashlib.blake2b(f"{self.of}".encode(), digest_size=16)
        for key, utterance in zip(self.keys, self.utterances, strict=True):
            content.update(f"{key} {utterance.start} ".encode() + note(utterance) + b"\n")
        return content.hexdigest()


def note(utterance: Utterance) -> bytes:
    """What `KEY.json` holds."""
    row: dict[str, Any] = {"id": utterance.id, "samples": utterance.samples}
    optional = {"text": utterance.text, "speaker": utterance.speaker}
    row |= {name: value for name, value in optional.items() if value is not None}
    if utterance.phones is not None:
        row["phones"] = " ".join(utterance.phones)
    return json.dumps(row, ensure_ascii=False).encode()


def write_shards(
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    shard_bytes: float | None = None,
    shard_seconds: float | None = None,
    jobs: int = 1,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> Sharded:
    """Pack recordings into `folder`/shard-NNNNNN.tar, all of about one size: `shard_bytes`, or `shard_seconds` of audio.

    FLAC of 16 kHz, 16 bit and one channel goes in byte by byte, all else as such FLAC; everything is decoded once, to its
    end. The order is drawn from the seed, so that each shard holds many speakers. A second call of the same kind skips the
    shards that are finished. ShardError for a folder that holds shards of another call.
    """
    distinct = list({(u.id, u.path, u.start): u for u in utterances}.values())
    found = scan(distinct, jobs)
    measured = [
        replace(utterance, samples=length(utterance, facts))
        for utterance, facts in found.utterances
    ]
    result = Sharded(failures=[reason for _, reason in found.failures])
    parts = divide(measured, folder, shard_bytes, shard_seconds, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        finished = _finished(parts, folder)
    except OSError as error:
        raise ShardError(f"{error.filename or folder} cannot be used: {error.strerror}.") from None
    rest = [part for part in parts if part.path not in finished]
    done = sum(len(part.utterances) for part in parts if part.path in finished)
    _write_all(rest, jobs, lambda more: progress(done + more, len(measured)))
    for part in parts:
        index = finished.get(part.path) or ShardIndex.read(index_path(part.path))
        result.recordings += len(index.samples)
        result.samples += int(index.samples.sum())
        result.failures += index.failures
    result.shards, result.skipped = len(parts), len(finished)
    return result


def divide(
    utterances: Sequence[Utterance],
    folder: Path,
    shard_bytes: float | None,
    shard_seconds: float | None,
    seed: int,
) -> list[ShardPlan]:
    """Shuffle once, and cut into shards of the same size, none much larger than asked for."""
    if not utterances:
        return []
    order = list(range(len(utterances)))
    random.Random(f"shards {seed}").shuffle(order)
    samples = np.array([utterances[i].samples or 0 for i in order], float)
    if shard_seconds is not None:
        weights, limit = samples, shard_seconds * SAMPLE_RATE
    else:
        weights, limit = samples * FLAC_BYTES + REST, shard_bytes or 1e9
    ends = np.cumsum(np.maximum(weights, 1))
    count = max(int(np.ceil(ends[-1] / limit)), 1)
    which = np.minimum(
        ((ends - weights / 2) * count / ends[-1]).astype(int), count - 1
    )  # by the middle of each
    firsts = np.flatnonzero(
        np.diff(which, prepend=-1)
    ).tolist()  # a recording longer than a shard leaves numbers out
    names = Counter(utterance.id for utterance in utterances)
    parts = []
    for number, (first, end) in enumerate(zip(firsts, [*firsts[1:], len(order)], strict=True)):
        chosen = tuple(utterances[i] for i in order[first:end])
        keys = tuple(key_of(u, names[u.id] > 1) for u in chosen)
        parts.append(ShardPlan(folder / f"shard-{number:06}.tar", chosen, keys, len(firsts)))
    return parts


def key_of(utterance: Utterance, ambiguous: bool = False) -> str:
    """A name without dots, which webdataset cuts at: the id where it may stand as it is, else what is left and a hash."""
    if PLAIN.fullmatch(utterance.id) and not ambiguous:
        return utterance.id
    told = f"{utterance.id}\0{utterance.path if ambiguous else ''}\0{utterance.start if ambiguous else ''}"
    sign = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', utterance.id)[:60]}-{sign}"


def _finished(parts: Sequence[ShardPlan], folder: Path) -> dict[Path, ShardIndex]:
    """The shards that are there and whole; ShardError for one that no such call made."""
    planned = {part.path: part for part in parts}
    finished = {}
    for path in sorted(folder.glob("*.tar")):
        part = planned.get(path)
        index = ShardIndex.read(index_path(path)) if index_path(path).is_file() else None
        if part is None or index is None or index.made_from != part.digest:
            raise ShardError(
                f"{path} was not made from these recordings with these sizes and this seed: name another folder."
            )
        if index.bytes == path.stat().st_size:
            finished[path] = index
    return finished


def _write_all(parts: Sequence[ShardPlan], jobs: int, tell: Callable[[int], None]) -> None:
    """Make shards, `jobs` at a time; tell: is told how many recordings have been read."""
    if jobs == 1 or len(parts) <= 1:
        done = 0
        for part in parts:
            for _ in write_shard(part):
                done += 1
                tell(done)
        return
    # Forked processes would inherit the lock of a thread that draws the progress bar.
    context = multiprocessing.get_context("spawn")
    counts = context.RawArray(
        "q", len(parts) + 1
    )  # recordings read for each part, and last whether to stop
    pool = ProcessPoolExecutor(jobs, context, initializer=_share, initargs=(counts,))
    try:
        with interrupts_held():
            waiting = {pool.submit(_write, part, number) for number, part in enumerate(parts)}
        while waiting:
            ended, waiting = wait(waiting, WATCH, FIRST_COMPLETED)
            tell(sum(counts[:-1]))
            for future in ended:
                future.result()
    except BrokenProcessPool:
        raise UserError(
            "A process that wrote a shard was killed; is there enough memory? Fewer --jobs need less."
        ) from None
    finally:
        counts[len(parts)] = 1
        pool.shutdown(cancel_futures=True)


_shared: list[Any] = []  # in a process of the pool: the counts


def _share(counts: Any) -> None:
    _shared[:] = [counts]
    end_with_parent()


def _write(part: ShardPlan, number: int) -> None:
    [counts] = _shared
    for _ in write_shard(part):
        counts[number] += 1
        if counts[-1]:
            return


def write_shard(part: ShardPlan) -> Iterator[None]:
    """Make one shard beside its name, then its index, then rename it; yields after each recording."""
    rows: list[tuple[int, int, int, str]] = []  # byte, bytes, samples, member
    packed: list[Utterance] = []
    failures = []
    try:
        with _beside(part.path) as (file, beside):
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for key, utterance in zip(part.keys, part.utterances, strict=True):
                    try:
                        content = flac_of(utterance)
                    except UserError as error:
                        failures.append(str(error))
                    else:
                        place = tar.offset + tarfile.BLOCKSIZE
                        rows.append((place, len(content), utterance.samples or 0, f"{key}.flac"))
                        packed.append(utterance)
                        _add(tar, f"{key}.flac", content)
                        _add(tar, f"{key}.json", note(utterance))
                    yield
            file.flush()
            _index(rows, packed, file.tell(), part, failures).write(index_path(part.path))
            os.replace(beside, part.path)
    except OSError as error:
        raise ShardError(f"{part.path} cannot be written: {error.strerror}.") from None


def _index(
    rows: Sequence[tuple[int, int, int, str]],
    packed: Sequence[Utterance],
    size: int,
    part: ShardPlan,
    failures: list[str],
) -> ShardIndex:
    offsets, sizes, samples = (
        np.array([row[column] for row in rows], np.int64) for column in range(3)
    )
    members, ids, texts = (
        Strings.of(row[3] for row in rows),
        Strings.of(u.id for u in packed),
        [u.text for u in packed],
    )
    return ShardIndex(
        offsets, sizes, samples, members, ids, Texts.of(texts), size, part.digest, part.of, failures
    )


@contextmanager
def _beside(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """An empty file beside, gone afterwards; ShardError when another process writes it."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ShardError(f"Another process is writing {path}: wait for it to end.") from None
        file.truncate(0)  # what a killed process left
        file.seek(0)
        try:
            yield file, beside
        finally:
            beside.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """The same bytes for the same recording, whoever packs it and when."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def flac_of(utterance: Utterance) -> bytes:
    """A recording as FLAC of 16 kHz, 16 bit and one channel: its own bytes where it is. AudioError when it does not decode."""
    samples = read_utterance(utterance)
    if utterance.path.suffix.lower() == ".flac":
        about = soundfile.info(str(utterance.path))
        kind = (about.format, about.subtype, about.samplerate, about.channels, about.frames)
        if kind == ("FLAC", "PCM_16", SAMPLE_RATE, 1, len(samples)):
            return utterance.path.read_bytes()
    buffer = io.BytesIO()  # 16-bit sources come out as they were: soundfile scales floats by 32767, we by what divided them
    whole = np.rint(samples * 32768.0).clip(-32768, 32767).astype(np.int16)
    soundfile.write(buffer, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
