"""The unit of a corpus, an utterance, and the helpers that the readers of lists share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from w2v2cli.data.audio import SUFFIXES, Cut
from w2v2cli.errors import UserError


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
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from None
    if not lines:
        raise CorpusError(f"{path} is empty.")
    return lines


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
    return next((path for path in candidates if path.is_file()), folder / f"{name}.flac")
