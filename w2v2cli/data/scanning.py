"""Facts about every recording of a corpus, collected by several processes, and their manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from models.config import SAMPLE_RATE
from w2v2cli.data.audio import AudioError, measure, probe, read_audio
from w2v2cli.data.corpora.held_out import Split, divided
from w2v2cli.data.corpora.manifest import write_fairseq, write_jsonl
from w2v2cli.data.corpora.readers import Note, ignored, list_corpus
from w2v2cli.data.corpora.saved_dataset import Columns
from w2v2cli.data.decoding.tables import TableError, source_hash
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UsageError, UserError
from w2v2cli.workers import WorkerDied, Workers

MANIFESTS = (".jsonl", ".tsv")
FEW = 200  # recordings whose headers one process reads before others have started
CHUNK = 8  # recordings handed to a process at a time
AHEAD = 4  # of these that wait for each process
OnProgress = Callable[[float, float | None], None]  # done, in all


@dataclass(frozen=True)
class Facts:
    """What one recording holds."""

    samples: int
    """Length at 16 kHz."""
    sample_rate: int
    """Hz, of the file."""
    sha256: str | None
    """Hash of the file's bytes, in hexadecimal; None where it was not asked for."""


@dataclass
class Scan:
    """What a scan found, in the order of the utterances."""

    utterances: list[tuple[Utterance, Facts]] = field(default_factory=list)
    """Utterances that can be read."""
    failures: list[tuple[Utterance, str]] = field(default_factory=list)
    """Utterances that cannot be read, each with the sentence that says why."""

    @property
    def hours(self) -> float:
        """Hours of audio in the readable utterances; of a cut, only the cut counts."""
        return sum(length(u, f) for u, f in self.utterances) / SAMPLE_RATE / 3600

    @property
    def speakers(self) -> int:
        """Number of different speakers that are known by name."""
        return len({u.speaker for u, _ in self.utterances if u.speaker is not None})

    @property
    def duplicates(self) -> list[list[Path]]:
        """Groups of files with the same content, as far as they were hashed."""
        same: dict[str, dict[Path, None]] = defaultdict(dict)
        for utterance, facts in self.utterances:
            if facts.sha256 is not None:
                same[facts.sha256][utterance.path] = None
        return [list(paths) for paths in same.values() if len(paths) > 1]


def length(utterance: Utterance, facts: Facts) -> int:
    """Samples of an utterance at 16 kHz."""
    return utterance.samples if utterance.samples is not None else facts.samples - utterance.start


def scan_corpus(
    corpus: Path,
    output: Path,
    *,
    jobs: int = 1,
    hashed: bool = True,
    decoded: bool = False,
    on_progress: OnProgress = lambda done, total: None,
    note: Note = ignored,
    columns: Columns = Columns(),
) -> Scan:
    """Scan a corpus of any layout and write its manifest without what cannot be read.

    corpus: what `read_corpus` takes. output: a .jsonl, or a .tsv for fairseq.
    note: see `read_corpus`. columns: see `list_corpus`. The rest: see `scan`.

    Raises UsageError for an output of another kind, CorpusError for a corpus that is missing or
    malformed, UserError where the manifest cannot be written.
    """
    if output.suffix not in MANIFESTS:
        raise UsageError(f"{output} should end in .jsonl, or in .tsv for fairseq.")
    found = scan(list_corpus(corpus, note, columns), jobs, hashed, decoded, on_progress)
    write_manifest(found, output)
    return found


def split_corpus(
    corpus: Path,
    folder: Path,
    *,
    seed: int = 0,
    jobs: int = 1,
    on_progress: OnProgress = lambda done, total: None,
    note: Note = ignored,
) -> tuple[dict[Split, Scan], bool]:
    """Divide a corpus by `divided` and write `train.jsonl`, `dev.jsonl`, `test.jsonl` to `folder`.

    seed: decides which speakers are held out. jobs, on_progress: see `scan`; note: see
    `read_corpus`.

    Returns what each part holds, and whether speakers are kept whole. Recordings that cannot be
    read are the failures of `train`. Raises UserError where a part would be empty, and as
    `scan_corpus`.
    """
    found = scan(list_corpus(corpus, note), jobs, on_progress=on_progress)
    utterances = [utterance for utterance, _ in found.utterances]
    lengths = [length(utterance, facts) for utterance, facts in found.utterances]
    ids, speakers = [u.id for u in utterances], [u.speaker for u in utterances]
    division = divided(ids, speakers, lengths, seed=seed)
    parts: dict[Split, Scan] = {"train": Scan(failures=found.failures), "dev": Scan()}
    parts["test"] = Scan()
    for each, split in zip(found.utterances, division.splits, strict=True):
        parts[split].utterances.append(each)
    for split, part in parts.items():
        if not part.utterances:
            raise UserError(f"{corpus} has {len(ids)} recordings, too few for a {split} part.")
    for split, part in parts.items():
        write_manifest(part, folder / f"{split}.jsonl")
    return parts, division.by_speaker


def scan(
    utterances: Sequence[Utterance],
    jobs: int = 1,
    hashed: bool = False,
    decoded: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Scan:
    """Look at the recording of every utterance, each file once.

    jobs: processes at a time.
    hashed: also read every byte for the file's SHA-256.
    decoded: decode each file to its end, which finds damage that headers do not show.
    on_progress: called with the number of files looked at, and of all files.

    A file that cannot be read becomes a failure in the result. Raises UserError where a process
    was killed.
    """
    paths = list(dict.fromkeys(utterance.path for utterance in utterances))
    results: dict[Path, Facts | str] = {}
    for path, result in _looked_at(paths, jobs, hashed, decoded):
        results[path] = result
        on_progress(len(results), len(paths))
    found = Scan()
    for utterance in utterances:
        result = results[utterance.path]
        if isinstance(result, str):
            found.failures.append((utterance, result))
            continue
        samples = length(utterance, result)
        if samples < 0 or utterance.start + samples > result.samples:
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
    chunks = (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK))
    look = partial(_look_at_all, hashed=hashed, decoded=decoded)
    try:
        with Workers[list[Path], tuple[Path, Facts | str]](look, jobs) as workers:
            yield from workers.in_order(chunks, AHEAD)
    except WorkerDied:
        raise UserError(
            "A process that read recordings was killed; is there enough memory? "
            "--jobs 1 needs the least."
        ) from None


def _look_at_all(
    paths: list[Path], hashed: bool, decoded: bool
) -> Iterator[tuple[Path, Facts | str]]:
    for path in paths:
        yield path, look_at(path, hashed, decoded)


def look_at(path: Path, hashed: bool = False, decoded: bool = False) -> Facts | str:
    """What a recording holds, or the sentence that says why it cannot be read. See `scan`."""
    try:
        rate = probe(path).sample_rate
        samples = len(read_audio(path)) if decoded else measure(path)
        return Facts(samples, rate, source_hash(path) if hashed else None)
    except (AudioError, TableError) as error:
        return str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."


def manifest_rows(found: Scan, folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL manifest that will lie in `folder`; `read_jsonl` describes the keys.

    Files below `folder` are named relative to it, others by their absolute path.
    """
    for utterance, facts in found.utterances:
        samples = length(utterance, facts)
        row: dict[str, Any] = {
            "id": utterance.id,
            "audio_filepath": str(_from(folder, utterance.path)),
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
    """`path` relative to `folder` where it lies below it, else absolute."""
    path, folder = path.absolute(), folder.absolute()
    # The folder before a ".." may be a link: only the system knows where that leads.
    if ".." in (*path.parts, *folder.parts):
        path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def write_manifest(found: Scan, path: Path) -> None:
    """Write the readable utterances: as fairseq's `.tsv` (with `.wrd`, `.ltr`), else as JSONL.

    Raises UserError where the file cannot be written, and for utterances that a `.tsv` cannot
    hold.
    """
    if path.suffix == ".tsv":
        write_fairseq(whole_files(found), path)
    else:
        write_jsonl(manifest_rows(found, path.parent), path)


def whole_files(found: Scan) -> list[Utterance]:
    """The readable utterances with their lengths, as fairseq's manifests list them.

    Raises UserError for a cut and for a rate other than 16 kHz, which that format cannot express.
    """
    for utterance, facts in found.utterances:
        cut = utterance.start or length(utterance, facts) != facts.samples
        if cut or facts.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"A fairseq manifest lists whole files at {SAMPLE_RATE} Hz, which {utterance.id} "
                "is not: write a .jsonl."
            )
    return [replace(u, samples=f.samples) for u, f in found.utterances]
