"""What was said in a recording, and the formats that it is written in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from lm.hypothesis import Hypothesis
from w2v2cli.console import printable

if TYPE_CHECKING:
    from lm.lattice import Lattice

Format = Literal["txt", "json", "jsonl", "srt", "vtt", "tsv", "lattice"]
Timestamps = Literal["word", "segment"]

CUE_CHARACTERS = 84  # two lines of 42, the usual limit of subtitles
LINE_CHARACTERS = 42
CUE_SECONDS = 7.0
ENDS_THERE = "The transcript ends there."  # after the sentence about a recording cut short
NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how Python holds such bytes of a file's name
WEBVTT = "WEBVTT\n"  # the first line of such a file; an empty one ends the head


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


def render(transcript: Transcript, form: Format, timestamps: Timestamps = "segment") -> str:
    """A transcript as the text of a file in `form`, with a line break at its end.

    txt: one line. json: an indented object. jsonl: an object on one line. srt, vtt: subtitles, a
    cue for each word or for each stretch that fits a screen. tsv: start, end (milliseconds) and
    text under a heading. `lm.slf` writes lattices.
    """
    writers: dict[str, Callable[[Transcript, Timestamps], str]] = {
        "txt": lambda t, _: t.text + "\n",
        "json": lambda t, _: json_text(as_json(t), indent=2),
        "jsonl": lambda t, _: json_text(as_json(t)),
        "srt": _srt,
        "vtt": _vtt,
        "tsv": _tsv,
    }
    return writers[form](transcript, timestamps)


class Stream:
    """Transcripts of several recordings on one stream, each rendered by `render`.

    txt and jsonl: a line for each recording, also for one that failed. json: one array. vtt and
    tsv: one heading. A stream of one recording is what `render` returns.
    """

    def __init__(self, form: Format, several: bool, names: bool = False) -> None:
        """names: begin each line of txt and tsv with the recording; note it in vtt."""
        self.form, self.several, self.names = form, several, names
        self._begun = False

    def transcript(self, recording: str, text: str) -> str:
        """What is written for a recording with the rendered text."""
        first, self._begun = not self._begun, True
        name = _on_one_line(recording)
        if self.form == "txt":
            return f"{name}\t{text}" if self.names else text
        if self.form == "tsv":
            heading, *rows = text.splitlines(keepends=True)
            if self.names:
                heading, rows = f"recording\t{heading}", [f"{name}\t{row}" for row in rows]
            return "".join([heading, *rows] if first else rows)
        if self.form == "vtt":
            noted = f"\nNOTE {name.replace('-->', '->')}\n" if self.names else ""
            head = WEBVTT if first else ""
            return f"{head}{noted}{text.removeprefix(WEBVTT)}"
        if self.form == "json" and self.several:
            return ("[\n" if first else ",\n") + text.rstrip("\n")
        return text if first or self.form != "srt" else f"\n{text}"

    def failure(self, recording: str, error: str) -> str:
        """What is written in the place of a recording that failed; nothing if it is alone."""
        if not self.several:
            return ""
        plain = json_text({"recording": recording, "error": error})
        if self.form in ("json", "jsonl"):
            return self.transcript(recording, plain)
        return self.transcript(recording, "\n") if self.form == "txt" else ""

    def end(self) -> str:
        """What is written after the last recording."""
        return "\n]\n" if self.form == "json" and self.several and self._begun else ""


def json_text(values: dict[str, Any], indent: int | None = None) -> str:
    """A JSON object and a line break; bytes of names that are not UTF-8 are escaped (\\udc..)."""
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    return NOT_UTF8.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _on_one_line(name: str) -> str:
    return printable(" ".join(name.split()) if any(c in name for c in "\t\r\n") else name)


def as_json(transcript: Transcript) -> dict[str, Any]:
    """A transcript as plain values, with the text of the whole and of each segment."""
    plain = asdict(
        replace(transcript, segments=tuple(replace(s, lattice=None) for s in transcript.segments))
    )
    for values in plain["segments"]:
        del values["lattice"]
    for segment, values in zip(transcript.segments, plain["segments"], strict=True):
        values["text"] = segment.text
    return {
        "recording": plain["recording"],
        "seconds": round(transcript.seconds, 3),
        "cut_short": transcript.cut_short,
        "text": transcript.text,
    } | {"segments": plain["segments"]}


@dataclass(frozen=True)
class Cue:
    """One entry of a subtitle file; times in seconds."""

    start: float
    end: float
    text: str


def cues(transcript: Transcript, timestamps: Timestamps) -> Iterator[Cue]:
    """A cue for each word, or for as many words of a segment as fit two lines and 7 seconds."""
    for segment in transcript.segments:
        pending: list[TimedWord] = []
        for word in segment.words:
            text = " ".join(w.text for w in (*pending, word))
            full = len(text) > CUE_CHARACTERS or (
                pending and word.end - pending[0].start > CUE_SECONDS
            )
            if pending and (full or timestamps == "word"):
                yield _cue(pending)
                pending = []
            pending.append(word)
        if pending:
            yield _cue(pending)


def _cue(words: Sequence[TimedWord]) -> Cue:
    return Cue(
        words[0].start, max(words[-1].end, words[0].start), " ".join(word.text for word in words)
    )


def _srt(transcript: Transcript, timestamps: Timestamps) -> str:
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_two_lines(cue.text)}\n"
        for number, cue in enumerate(cues(transcript, timestamps), 1)
    )
    return "\n".join(blocks)


def _vtt(transcript: Transcript, timestamps: Timestamps) -> str:
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(_two_lines(cue.text))}\n"
        for cue in cues(transcript, timestamps)
    ]
    return "\n".join([WEBVTT, *blocks])


def _tsv(transcript: Transcript, timestamps: Timestamps) -> str:
    rows = (
        f"{cue.start * 1000:.0f}\t{cue.end * 1000:.0f}\t{cue.text}\n"
        for cue in cues(transcript, timestamps)
    )
    return "".join(["start\tend\ttext\n", *rows])


def _clock(seconds: float, decimal: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{decimal}{rest % 1000:03}"


def _two_lines(text: str) -> str:
    """The text, broken at the space nearest its middle if it is too long for one line."""
    if len(text) <= LINE_CHARACTERS:
        return text
    spaces = [i for i, character in enumerate(text) if character == " "]
    if not spaces:
        return text
    middle = min(spaces, key=lambda i: abs(i - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
