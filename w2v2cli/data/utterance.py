"""The unit of a corpus, an utterance, and the helpers that the readers of lists share."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from models.config import SAMPLE_RATE
from storage.folders import is_file
from w2v2cli.data.audio import SUFFIXES, AudioError, Cut, measure
from w2v2cli.errors import UserError

# Samples by which a list may overstate the end of a file: Kaldi's extract-segments cuts off half a
# second. Lists round their times.
OVERSHOOT = 8000
# Suffixes of formats whose length is known without decoding.
MEASURED = frozenset(".flac .wav .wave .rf64 .w64 .aiff .aif .aifc .au .caf .sph".split())
LONGEST = 1e9  # seconds; a larger value, infinity or NaN is a fault of the list
FIRST_LINE = 2**16  # bytes of a file that are read to recognise its layout


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker, or a cut of a longer recording."""

    id: str
    path: Path
    """The audio file."""
    text: str | None
    """Transcript as its corpus writes it; None where there is none."""
    speaker: str | None = None
    """Speaker's name; None where it is unknown."""
    seconds: float | None = None
    """Length as the corpus states it, perhaps rounded; None where it states none."""
    samples: int | None = None
    """Exact length at 16 kHz; None where it is known only after a look at the file."""
    start: int = 0
    """First sample of a cut in its file, at 16 kHz."""
    phones: tuple[str, ...] | None = None
    """Phones labelled by hand, in TIMIT's 61 symbols; None where there are none."""

    @property
    def recorded(self) -> Path | Cut:
        """The audio to transcribe: the whole file, or the cut that this utterance is."""
        if not self.start and self.samples is None:
            return self.path
        return Cut(self.path, self.start, self.samples)


class CorpusError(UserError):
    """A corpus that is missing, or not written as its kind prescribes."""


def read_lines(path: Path) -> list[str]:
    """The non-blank lines of a UTF-8 text.

    Raises CorpusError for a file that is missing, not UTF-8, or without such a line.
    """
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The non-blank lines of a UTF-8 text, each with its number in the file. See `read_lines`."""
    lines = enumerate(read_whole(path).split("\n"), 1)
    found = [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]
    if not found:
        raise CorpusError(f"{path} is empty.")
    return found


def read_whole(path: Path) -> str:
    """A UTF-8 text with its line ends as they are, without a byte order mark.

    Raises CorpusError for a file that is missing or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from None


def first_line(path: Path) -> str:
    """The first line of a text, to recognise its layout; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            line = file.readline(FIRST_LINE)
    except OSError:
        return ""
    return line.decode("utf-8-sig", errors="replace").rstrip("\r\n")


def refuse_repeat(seen: dict[str, int], name: str, path: Path, number: int) -> None:
    """Raise CorpusError where `name` stands in an earlier line of a list; else note its line."""
    first = seen.setdefault(name, number)
    if first != number:
        raise CorpusError(f"{path}, line {number}: {name} stands in line {first} already.")


def ids_of(names: Sequence[str]) -> list[str]:
    """Ids for recordings by their names in a corpus, such as `SPEAKER/a.flac`.

    An id is the name without its suffix; where two names would get the same id (`a.wav`, `a.mp3`),
    they keep their suffixes.
    """
    plain = [without_suffix(name) for name in names]
    counts = Counter(plain)
    return [name if counts[short] > 1 else short for name, short in zip(names, plain, strict=True)]


def told_apart(utterances: list[Utterance], unnamed: Sequence[int]) -> list[Utterance]:
    """The utterances, those renamed to which the name of their file alone gave the id.

    unnamed: indices of these utterances. Where an id is not theirs alone, they are called by their
    path below the folder that all of them share, without suffix; where several are cuts of one
    file, also by the cut's start and end in milliseconds: `SPEAKER/a_1250-3500`.
    """
    counts = Counter(utterance.id for utterance in utterances)
    clashing = [index for index in unnamed if counts[utterances[index].id] > 1]
    if not clashing:
        return utterances
    paths = {index: os.path.abspath(utterances[index].path) for index in clashing}
    top = os.path.commonpath([os.path.dirname(path) for path in paths.values()])
    files = sorted(set(paths.values()))
    ids = dict(
        zip(files, ids_of([Path(os.path.relpath(f, top)).as_posix() for f in files]), strict=True)
    )
    pieces = Counter(paths.values())
    found = list(utterances)
    for index, path in paths.items():
        utterance, name = utterances[index], ids[path]
        if pieces[path] > 1:
            name = f"{name}_{utterance.start * 1000 // SAMPLE_RATE}-"
            if utterance.samples is not None:
                end = utterance.start + utterance.samples
                name += str(end * 1000 // SAMPLE_RATE)
        found[index] = replace(utterance, id=name)
    return found


def without_suffix(name: str) -> str:
    """A recording's name without its suffix, where that is one of SUFFIXES, and without `./`."""
    path = PurePosixPath(name)
    return str(path.with_suffix("") if path.suffix.lower() in SUFFIXES else path)


def trimmed_to_files(utterances: Sequence[Utterance]) -> list[Utterance]:
    """The utterances, each cut that ends at most OVERSHOOT after its file shortened to that end.

    A cut that ends later stays as it is: reading it raises the error that says so. Only the headers
    of files in formats of MEASURED are read; cuts of other files stay as they are.
    """
    ends: dict[Path, int] = defaultdict(int)
    for utterance in utterances:
        if utterance.samples is not None and utterance.path.suffix.lower() in MEASURED:
            ends[utterance.path] = max(ends[utterance.path], utterance.start + utterance.samples)
    with ThreadPoolExecutor(8) as pool:  # libsndfile works outside the interpreter's lock
        lengths = dict(zip(ends, pool.map(_length, ends), strict=True))
    found = []
    for utterance in utterances:
        length = lengths.get(utterance.path)
        if length is not None and utterance.samples is not None:
            beyond = utterance.start + utterance.samples - length
            if 0 < beyond <= min(OVERSHOOT, utterance.samples - 1):
                left = utterance.samples - beyond
                utterance = replace(utterance, samples=left, seconds=left / SAMPLE_RATE)
        found.append(utterance)
    return found


def _length(path: Path) -> int | None:
    """Samples of a file at 16 kHz; None where it cannot be read."""
    try:
        return measure(path) if is_file(path) else None  # a named pipe would be used up
    except (AudioError, OSError):
        return None


def speaker_of(name: str) -> str | None:
    """The speaker in a LibriSpeech id (SPEAKER-CHAPTER-NUMBER); None for an id of another form."""
    parts = name.split("-")
    return parts[0] if len(parts) == 3 and parts[0].isdigit() else None


def audio_beside(folder: Path, name: str) -> Path:
    """The recording `name` with any known suffix, FLAC first, then WAV.

    Where there is none, the path of the FLAC, for an error message to name.
    """
    suffixes = (".flac", ".wav", *sorted(SUFFIXES - {".flac", ".wav"}))
    candidates = (folder / f"{name}{suffix}" for suffix in suffixes)
    return next((path for path in candidates if is_file(path)), folder / f"{name}.flac")
