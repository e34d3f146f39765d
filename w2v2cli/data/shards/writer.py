"""Packing corpora into WebDataset shards: shuffled once, resumable, several shards at a time."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import random
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from models.config import SAMPLE_RATE
from storage.json_text import written
from w2v2cli.data.corpora.catalogue import find_training_corpus
from w2v2cli.data.loading.flat import Strings, Texts
from w2v2cli.data.recordings import read_utterance
from w2v2cli.data.scanning import OnProgress, length, scan
from w2v2cli.data.shards.index import ShardError, ShardIndex, index_path
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.workers import WorkerDied, Workers

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,60}")  # ids that serve as keys unchanged
SHARD_BYTES = 1e9  # of a shard, where no size is asked for
FLAC_BYTES = 1.1  # of a sample of speech as 16-bit FLAC, roughly
OVERHEAD = 2560  # bytes of a recording besides: two headers, its .json, two paddings
STOPPING = 30.0  # seconds that a process has to end its recording, when all are stopped


@dataclass
class Sharded:
    """What a call of `write_shards` left in its folder."""

    shards: int = 0
    skipped: int = 0
    """Shards among them that were finished before."""
    recordings: int = 0
    samples: int = 0
    """Length of all recordings at 16 kHz."""
    failures: list[str] = field(default_factory=list)
    """A sentence for each recording that is missing because it could not be read."""

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return self.samples / SAMPLE_RATE / 3600


@dataclass(frozen=True)
class ShardPlan:
    """One shard to make."""

    path: Path
    utterances: tuple[Utterance, ...]
    """Its recordings in order, all with `samples`."""
    keys: tuple[str, ...]
    """The key of each in the tar."""
    set_size: int
    """Number of shards in the set."""

    @property
    def digest(self) -> str:
        """Hash of the order, lengths and descriptions of its recordings."""
        content = hashlib.blake2b(f"{self.set_size}".encode(), digest_size=16)
        for key, utterance in zip(self.keys, self.utterances, strict=True):
            content.update(f"{key} {utterance.start} ".encode() + description(utterance) + b"\n")
        return content.hexdigest()


def description(utterance: Utterance) -> bytes:
    """The content of `KEY.json`."""
    row: dict[str, Any] = {"id": utterance.id, "samples": utterance.samples}
    optional = {"text": utterance.text, "speaker": utterance.speaker}
    row |= {name: value for name, value in optional.items() if value is not None}
    if utterance.phones is not None:
        row["phones"] = " ".join(utterance.phones)
    return written(row).encode()


def shard_corpora(
    names: Sequence[str],
    folder: Path,
    *,
    data: Path | None = None,
    shard_bytes: float | None = None,
    shard_seconds: float | None = None,
    jobs: int = 1,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> Sharded:
    """Pack corpora, by name or path, into `folder`. See `find_training_corpus`, `write_shards`."""
    return write_shards(
        [utterance for name in names for utterance in find_training_corpus(name, data)],
        folder,
        shard_bytes=shard_bytes,
        shard_seconds=shard_seconds,
        jobs=jobs,
        seed=seed,
        on_progress=on_progress,
    )


def write_shards(
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    shard_bytes: float | None = None,
    shard_seconds: float | None = None,
    jobs: int = 1,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> Sharded:
    """Pack recordings into `folder`/shard-NNNNNN.tar, each with its index beside it.

    shard_bytes, shard_seconds: rough size of a shard, in bytes or in seconds of audio; give at
    most one. Default: SHARD_BYTES.
    jobs: processes at a time.
    seed: decides the order of the recordings, so that each shard holds many speakers.
    on_progress: called with the number of recordings packed, and of all.

    FLAC at 16 kHz with 16 bits and one channel is copied byte by byte; all else becomes such FLAC.
    Everything is decoded once to its end; what cannot be read is left out. The same call goes on
    where an earlier one was interrupted.

    Raises ShardError for a folder with shards of another call or one that cannot be written to.
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
    _write_all(rest, jobs, lambda more: on_progress(done + more, len(measured)))
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
    """Shuffle once and cut into shards of about equal size, none much larger than asked for."""
    if not utterances:
        return []
    order = list(range(len(utterances)))
    random.Random(f"shards {seed}").shuffle(order)
    samples = np.array([utterances[i].samples or 0 for i in order], float)
    if shard_seconds is not None:
        weights, limit = samples, shard_seconds * SAMPLE_RATE
    else:
        weights, limit = samples * FLAC_BYTES + OVERHEAD, shard_bytes or SHARD_BYTES
    ends = np.cumsum(np.maximum(weights, 1))  # (N,)
    count = max(int(np.ceil(ends[-1] / limit)), 1)
    # Each recording goes to the shard in which its middle falls: (N,) shard numbers, ascending.
    which = np.minimum(((ends - weights / 2) * count / ends[-1]).astype(int), count - 1)
    # A recording longer than a shard skips numbers, so shards are counted by their first ones.
    firsts = np.flatnonzero(np.diff(which, prepend=-1)).tolist()
    names = Counter(utterance.id for utterance in utterances)
    parts = []
    for number, (first, end) in enumerate(zip(firsts, [*firsts[1:], len(order)], strict=True)):
        chosen = tuple(utterances[i] for i in order[first:end])
        keys = tuple(key_of(u, names[u.id] > 1) for u in chosen)
        parts.append(ShardPlan(folder / f"shard-{number:06}.tar", chosen, keys, len(firsts)))
    return parts


def key_of(utterance: Utterance, ambiguous: bool = False) -> str:
    """The key of a recording in its tar, without dots, at which webdataset splits names.

    The id where it is plain and not `ambiguous` (shared by several utterances); else its plain
    characters and a hash, then also of path and start.
    """
    if PLAIN.fullmatch(utterance.id) and not ambiguous:
        return utterance.id
    place = f"{utterance.path}\0{utterance.start}" if ambiguous else "\0"
    digest = hashlib.blake2b(
        f"{utterance.id}\0{place}".encode(errors="surrogateescape"), digest_size=8
    ).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', utterance.id)[:60]}-{digest}"


def _finished(parts: Sequence[ShardPlan], folder: Path) -> dict[Path, ShardIndex]:
    """The planned shards that are complete; ShardError for a shard that another call made."""
    planned = {part.path: part for part in parts}
    finished = {}
    for path in sorted(folder.glob("*.tar")):
        part = planned.get(path)
        index = ShardIndex.read(index_path(path)) if index_path(path).is_file() else None
        if part is None or index is None or index.made_from != part.digest:
            raise ShardError(
                f"{path} was not made from these recordings with these sizes and this seed: "
                "name another folder."
            )
        if index.bytes == path.stat().st_size:
            finished[path] = index
    return finished


def _write_all(parts: Sequence[ShardPlan], jobs: int, on_count: Callable[[int], None]) -> None:
    """Make shards, `jobs` at a time; on_count: called with the number of recordings done."""
    if jobs == 1 or len(parts) <= 1:
        done = 0
        for part in parts:
            for _ in write_shard(part):
                done += 1
                on_count(done)
        return
    try:
        with Workers[ShardPlan, None](write_shard, jobs, patience=STOPPING) as workers:
            for done, _ in enumerate(workers.as_they_come(parts), start=1):
                on_count(done)
    except WorkerDied:
        raise UserError(
            "A process that wrote a shard was killed; is there enough memory? "
            "Fewer --jobs need less."
        ) from None


def write_shard(part: ShardPlan) -> Iterator[None]:
    """Make one shard; yields after each recording. Raises ShardError.

    Its index is written before the tar gets its name: a tar without an index would pass for a
    foreign shard.
    """
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
                        _add(tar, f"{key}.json", description(utterance))
                    yield
            file.flush()
            os.fsync(file.fileno())
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
    return ShardIndex(
        offsets,
        sizes,
        samples,
        members=Strings.of(row[3] for row in rows),
        ids=Strings.of(u.id for u in packed),
        texts=Texts.of([u.text for u in packed]),
        bytes=size,
        made_from=part.digest,
        set_size=part.set_size,
        failures=failures,
        speakers=Texts.of([u.speaker for u in packed]),
    )


@contextmanager
def _beside(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """An empty, locked file beside `path`, removed afterwards.

    Its name is fixed, unlike that of `whole_file`, so that two processes cannot write one shard:
    ShardError where another holds the lock.
    """
    beside = path.with_name(f".{path.name}.part")
    with beside.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ShardError(f"Another process is writing {path}: wait for it to end.") from None
        file.truncate(0)  # a killed process may have left something
        file.seek(0)
        try:
            yield file, beside
        finally:
            beside.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member without time or owner: equal recordings give equal bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def flac_of(utterance: Utterance) -> bytes:
    """A recording as FLAC at 16 kHz with 16 bits and one channel.

    A file that is such FLAC is returned byte by byte. Raises AudioError where it does not decode.
    """
    samples = read_utterance(utterance)
    if utterance.path.suffix.lower() == ".flac":
        about = soundfile.info(str(utterance.path))
        kind = (about.format, about.subtype, about.samplerate, about.channels, about.frames)
        if kind == ("FLAC", "PCM_16", SAMPLE_RATE, 1, len(samples)):
            return utterance.path.read_bytes()
    # Decoding divided 16-bit samples by 32768, so this restores them; soundfile would multiply
    # floats by 32767.
    whole = np.rint(samples * 32768.0).clip(-32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
