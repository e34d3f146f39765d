"""Subtitles: stretches of a transcript that fit a screen and can be read in their time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from w2v2cli.errors import UsageError
from w2v2cli.help import Help
from w2v2cli.recognition.transcript import TimedWord, Transcript

Timestamps = Literal["word", "segment"]
WEBVTT = "WEBVTT\n"  # the first line of such a file; an empty one ends the head
SUBTITLES = "Subtitles"  # a heading of --help


@dataclass(frozen=True)
class SubtitleLimits:
    """How much a subtitle shows, and for how long. Raises UsageError for less than nothing."""

    max_line_length: Annotated[
        int,
        Help("In srt and vtt: characters of a line; a longer word has its own.", SUBTITLES),
    ] = 42
    max_lines: Annotated[int, Help("In srt and vtt: lines of a subtitle, at most.", SUBTITLES)] = 2
    max_duration: Annotated[
        float,
        Help("In srt and vtt: seconds that a subtitle of several words takes, at most.", SUBTITLES),
    ] = 7.0

    def __post_init__(self) -> None:
        for name in ("max_line_length", "max_lines"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
        if not self.max_duration > 0:
            raise UsageError(f"--max-duration must be above 0, got {self.max_duration:g}.")

    @property
    def given(self) -> list[str]:
        """The options whose values are not the defaults."""
        return [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]


LIMITS = SubtitleLimits()


@dataclass(frozen=True)
class Cue:
    """One entry of a subtitle file; times in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Its text in one line."""
        return " ".join(self.lines)


def cues(
    transcript: Transcript, timestamps: Timestamps = "segment", limits: SubtitleLimits = LIMITS
) -> Iterator[Cue]:
    """A cue for each word, or for as many words of a segment as the limits allow."""
    for segment in transcript.segments:
        pending: list[TimedWord] = []
        for word in segment.words:
            if pending and (timestamps == "word" or not _fit([*pending, word], limits)):
                yield _cue(pending, limits)
                pending = []
            pending.append(word)
        if pending:
            yield _cue(pending, limits)


def _fit(words: Sequence[TimedWord], limits: SubtitleLimits) -> bool:
    if words[-1].end - words[0].start > limits.max_duration:
        return False
    lines = _filled([word.text for word in words], limits.max_line_length)
    return len(lines) <= limits.max_lines and max(map(len, lines)) <= limits.max_line_length


def _cue(words: Sequence[TimedWord], limits: SubtitleLimits) -> Cue:
    lines = balanced([word.text for word in words], limits.max_line_length)
    return Cue(words[0].start, max(words[-1].end, words[0].start), tuple(lines))


def balanced(words: Sequence[str], width: int) -> list[str]:
    """Words in as few lines of `width` characters as they need, the longest as short as can be.

    >>> balanced("as few lines as they need".split(), 20)
    ['as few lines', 'as they need']
    """
    fewest = len(_filled(words, width))
    shortest = max(map(len, words))
    return next(
        lines
        for narrow in range(min(shortest, width), width + 1)
        if len(lines := _filled(words, narrow)) <= fewest
    )


def _filled(words: Sequence[str], width: int) -> list[str]:
    """Words in lines, each filled before the next begins; a word that is too long has its own."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def srt(transcript: Transcript, timestamps: Timestamps, limits: SubtitleLimits) -> str:
    """A transcript as SubRip's subtitles."""
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_shown(cue)}\n"
        for number, cue in enumerate(cues(transcript, timestamps, limits), 1)
    )
    return "\n".join(blocks)


def vtt(transcript: Transcript, timestamps: Timestamps, limits: SubtitleLimits) -> str:
    """A transcript as WebVTT."""
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(_shown(cue))}\n"
        for cue in cues(transcript, timestamps, limits)
    ]
    return "\n".join([WEBVTT, *blocks])


def tsv(transcript: Transcript, timestamps: Timestamps) -> str:
    """Start, end (milliseconds) and text under a heading; stretches as subtitles have them."""
    rows = (
        f"{cue.start * 1000:.0f}\t{cue.end * 1000:.0f}\t{cue.text}\n"
        for cue in cues(transcript, timestamps)
    )
    return "".join(["start\tend\ttext\n", *rows])


def _shown(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _clock(seconds: float, decimal: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{decimal}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
