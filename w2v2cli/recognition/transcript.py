"""What was said in a recording: words with times, in segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lm.hypothesis import Hypothesis

if TYPE_CHECKING:
    from lm.lattice import Lattice

ENDS_THERE = "The transcript ends there."  # after the sentence about a recording cut short


@dataclass(frozen=True)
class TimedWord:
    """A word, its times in seconds from the recording's start, its confidence in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Alternative:
    """Another hypothesis for a segment."""

    text: str
    acoustic_score: float
    lm_score: float
    score: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording that was searched as one utterance; times in seconds."""

    start: float
    end: float
    words: tuple[TimedWord, ...]
    acoustic_score: float
    """Log-probability of the path (natural log)."""
    lm_score: float
    """Unweighted score of the language model: log10 of an n-gram, natural log of a Transformer."""
    score: float
    """The weighted sum that the search maximised."""
    alternatives: tuple[Alternative, ...] = ()
    """The rest of the n-best list."""
    lattice: Lattice | None = None
    """All that the search kept, where it was asked for; its times are frames of the segment."""

    @property
    def text(self) -> str:
        """The words joined by spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """The mean of its words' confidences; 0 without words."""
        return sum(word.confidence for word in self.words) / max(len(self.words), 1)


@dataclass(frozen=True)
class Transcript:
    """The segments of a recording in order."""

    recording: str
    seconds: float
    segments: tuple[Segment, ...]
    cut_short: str | None = None
    """Why the recording ends early, where the transcript is only of what is there."""

    @property
    def text(self) -> str:
        """All words joined by spaces."""
        return " ".join(segment.text for segment in self.segments if segment.words)

    @property
    def words(self) -> tuple[TimedWord, ...]:
        """All words in order."""
        return tuple(word for segment in self.segments for word in segment.words)


def segment_from(
    hypotheses: Sequence[Hypothesis], *, start: float, frame_seconds: float, frames: int
) -> Segment:
    """The segment of an n-best list, best hypothesis first.

    start: time of its first frame, in seconds. frames: number of its frames.
    """
    best = hypotheses[0]
    words = tuple(
        TimedWord(
            word.text,
            round(start + word.start * frame_seconds, 3),
            round(start + word.end * frame_seconds, 3),
            round(word.confidence, 4),
        )
        for word in best.words
    )
    others = tuple(
        Alternative(h.text, h.acoustic_score, h.lm_score, h.score) for h in hypotheses[1:]
    )
    end = start + frames * frame_seconds
    scores = (best.acoustic_score, best.lm_score, best.score)
    return Segment(round(start, 3), round(end, 3), words, *scores, others, best.lattice)
