"""What a corpus is made of, and how its lists are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from w2v2cli.data.audio import SUFFIXES, Cut
from w2v2cli.errors import UserError


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker, or a cut of a longer one."""

    id: str
    path: Path
    text: str | None
    """None where nobody wrote it down."""
    speaker: str | None = None
    seconds: float | None = None
    samples: int | None = None
    """How long it is at 16 kHz, where that is known exactly."""
    start: int = 0
    """The first sample of a cut in its file, at 16 kHz."""
    phones: tuple[str, ...] | None = None
    """What was labelled by hand: TIMIT's 61 symbols."""

    @property
    def recorded(self) -> Path | Cut:
        """What is transcribed: the file, or what of it is known to be the utterance."""
        if not self.start and self.samples is None:
            return self.path
        return Cut(self.path, self.start, self.samples)


class CorpusError(UserError):
    """A corpus that is not there, or not as its kind is written."""


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text that say something; CorpusError where there are none."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is no UTF-8 text.") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from None
    if not lines:
        raise CorpusError(f"{path} is empty.")
    return lines


def speaker_of(name: str) -> str | None:
    """The speaker in a LibriSpeech id (SPEAKER-CHAPTER-NUMBER)."""
    parts = name.split("-")
    return parts[0] if len(parts) == 3 and parts[0].isdigit() else None


def audio_beside(folder: Path, name: str) -> Path:
    """The recording of that name, FLAC first; the FLAC's path when there is none, for the error to name."""
    candidates = (
        folder / f"{name}{suffix}"
        for suffix in (".flac", ".wav", *sorted(SUFFIXES - {".flac", ".wav"}))
    )
    return next((path for path in candidates if path.is_file()), folder / f"{name}.flac")
