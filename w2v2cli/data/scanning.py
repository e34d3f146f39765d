"""What is in every recording of a folder, found out by several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from w2v2cli.data.audio import AudioError, measure, probe, read_audio
from w2v2cli.data.corpora.manifest import write_jsonl
from w2v2cli.data.downloads import file_sha256
from w2v2cli.data.resampling import SAMPLE_RATE
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

FEW = 200  # recordings that one process looks at before others have started
CHUNK = 8  # recordings handed over at a time: what Ctrl-C waits for
Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class Facts:
    """What one recording holds."""

    samples: int
    """At 16 kHz."""
    sample_rate: int
    """Hz, of the file."""
    sha256: str | None


@dataclass
class Scan:
    """What was found in many."""

    utterances: list[tuple[Utterance, Facts]] = field(default_factory=list)
    failures: list[tuple[Utterance, str]] = field(default_factory=list)
    """Those that cannot be read, and why."""

    @property
    def hours(self) -> float:
        """Of speech, the cuts of a long recording as they are."""
        return sum(length(u, f) for u, f in self.utterances) / SAMPLE_RATE / 3600

    @property
    def speakers(self) -> int:
        """How many are known."""
        return len({u.speaker for u, _ in self.utterances if u.speaker is not None})

    @property
    def duplicates(self) -> list[list[Path]]:
        """Files of the same content, where they were hashed."""
        same: dict[str, dict[Path, None]] = defaultdict(dict)
        for utterance, facts in self.utterances:
            if facts.sha256 is not None:
                same[facts.sha256][utterance.path] = None
        return [list(paths) for paths in same.values() if len(paths) > 1]


def length(utterance: Utterance, facts: Facts) -> int:
    """Samples of an utterance at 16 kHz."""
    return utterance.samples if utterance.samples is not None else facts.samples - utterance.start


def scan(
    utterances: Sequence[Utterance],
    jobs: int = 1,
    hashed: bool = False,
    decoded: bool = False,
    progress: Progress = lambda done, total: None,
) -> Scan:
    """Look at the recording of every utterance, each file once; the result is in the utterances' order.

    hashed: read every byte for its SHA-256. decoded: decode each to its end, which finds the damage that no header tells.
    """
    paths = list(dict.fromkeys(utterance.path for utterance in utterances))
    results: dict[Path, Facts | str] = {}
    for path, result in _looked_at(paths, jobs, hashed, decoded):
        results[path] = result
        progress(len(results), len(paths))
    found = Scan()
    for utterance in utterances:
        result = results[utterance.path]
        if isinstance(result, str):
            found.failures.append((utterance, result))
        elif (
            utterance.start + length(utterance, result) > result.samples
            or length(utterance, result) < 0
        ):
            found.failures.append((utterance, f"{utterance.path} ends before {utterance.id} does."))
        else:
            found.utterances.append((utterance, result))
    return found


def _looked_at(
    paths: list[Path], jobs: int, hashed: bool, decoded: bool
) -> Iterator[tuple[Path, Facts | str]]:
    if jobs == 1 or (len(paths) <= FEW and not (hashed or decoded)):
        for path in paths:
            yield path, look_at(path, hashed, decoded)
        return
    # Forked processes would inherit the lock of a thread that draws the progress bar.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent)
    try:
        chunks = (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK))
        with interrupts_held():
            waiting: list[Future[list[tuple[Path, Facts | str]]]] = [
                pool.submit(_look_at_all, chunk, hashed, decoded)
                for chunk in islice(chunks, 4 * jobs)
            ]
        while waiting:
            yield from waiting.pop(0).result()
            waiting += [
                pool.submit(_look_at_all, chunk, hashed, decoded) for chunk in islice(chunks, 1)
            ]
    except BrokenProcessPool:
        raise UserError(
            "A process that looked at recordings was killed; is there enough memory? --jobs 1 takes the least."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """In a process of a pool: end when the parent does. Killed, it would leave its processes waiting for work for ever."""
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, not even as they start; we see one that came when this ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _look_at_all(paths: list[Path], hashed: bool, decoded: bool) -> list[tuple[Path, Facts | str]]:
    return [(path, look_at(path, hashed, decoded)) for path in paths]


def look_at(path: Path, hashed: bool = False, decoded: bool = False) -> Facts | str:
    """What a recording holds, or the sentence that says why it cannot be read."""
    try:
        rate = probe(path).sample_rate
        samples = len(read_audio(path)) if decoded else measure(path)
        return Facts(samples, rate, file_sha256(path) if hashed else None)
    except AudioError as error:
        return str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."


def manifest_rows(found: Scan, beside: Path) -> Iterator[dict[str, Any]]:
    """The lines of a manifest for the folder `beside`: files below it by their way from there, others absolute."""
    for utterance, facts in found.utterances:
        samples = length(utterance, facts)
        row: dict[str, Any] = {
            "id": utterance.id,
            "audio_filepath": str(_from(beside, utterance.path)),
            "samples": samples,
            "duration": round(samples / SAMPLE_RATE, 4),
            "sample_rate": facts.sample_rate,
        }
        if utterance.start:
            row["start"] = utterance.start
        optional = {"speaker": utterance.speaker, "sha256": facts.sha256, "text": utterance.text}
        row |= {key: value for key, value in optional.items() if value is not None}
        if utterance.phones is not None:
            row["phones"] = " ".join(utterance.phones)
        yield row


def _from(folder: Path, path: Path) -> Path:
    """The way to a file from a folder that it lies below, else its absolute path."""
    path, folder = path.absolute(), folder.absolute()
    if ".." in (
        *path.parts,
        *folder.parts,
    ):  # a link may stand before it: only the system knows what it leads to
        path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def write_manifest(found: Scan, path: Path) -> None:
    """Write our JSONL: what could be read, in its order."""
    write_jsonl(manifest_rows(found, path.parent), path)


def whole_files(found: Scan) -> list[Utterance]:
    """The utterances with their lengths, as a manifest of fairseq's lists them.

    UserError for a cut of a longer file and for another rate than 16 kHz, which that format cannot say.
    """
    for utterance, facts in found.utterances:
        if (
            utterance.start
            or length(utterance, facts) != facts.samples
            or facts.sample_rate != SAMPLE_RATE
        ):
            raise UserError(
                f"fairseq's manifests list whole files at {SAMPLE_RATE} Hz, and {utterance.id} is none: write a .jsonl."
            )
    return [replace(u, samples=f.samples) for u, f in found.utterances]
