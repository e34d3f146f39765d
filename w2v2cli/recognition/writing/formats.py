"""The formats that transcripts are written in: a new one is a function here and a name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from w2v2cli.console import printable
from w2v2cli.recognition.transcript import Segment, Transcript
from w2v2cli.recognition.writing.subtitles import (
    LIMITS,
    WEBVTT,
    SubtitleLimits,
    Timestamps,
    srt,
    tsv,
    vtt,
)

Format = Literal["txt", "json", "jsonl", "srt", "vtt", "tsv", "html", "manifest", "lattice"]
FORMATS: tuple[Format, ...] = get_args(Format)
Channels = int | Literal["split"] | None
# What JSON writes by number: bytes of names that are not UTF-8, as Python holds them, and what
# rules a terminal.
BY_NUMBER = re.compile("[\ud800-\udfff\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Layout:
    """What a user can ask of the formats; each takes of it what concerns it."""

    timestamps: Timestamps = "segment"
    limits: SubtitleLimits = LIMITS
    min_confidence: float = 0.0
    """Segments whose words are less sure than this on average are not in a manifest."""


PLAIN = Layout()


@dataclass(frozen=True)
class Writing:
    """Where transcripts go and how they are written."""

    forms: tuple[Format, ...] = ("txt",)
    """Formats; several are for an output folder, the stream takes the first."""
    layout: Layout = PLAIN
    output_dir: Path | None = None
    """Folder that gets files for each recording; None writes to the stream."""
    skip_existing: bool = False
    """Leave out recordings whose transcript is in `output_dir`, made of them as they are now."""
    names: bool = False
    """Name the recording before its text on the stream, in txt, tsv and vtt."""
    channel: Channels = None
    """The channel that is heard, from 1 on; split: each apart; None: their average."""


def render(transcript: Transcript, form: Format, layout: Layout = PLAIN) -> str:
    """A transcript as the text of a file in `form`, with a line break at its end.

    txt: one line. json: an indented object. jsonl: an object on one line. srt, vtt: subtitles, a
    cue for each word or for each stretch that fits a screen. tsv: start, end (milliseconds) and
    text under a heading. manifest: a line of JSON for each segment, as training reads them.
    `pages.transcript` writes html, `lm.slf` lattices.
    """
    writers: dict[str, Callable[[Transcript, Layout], str]] = {
        "txt": lambda t, _: t.text + "\n",
        "json": lambda t, _: json_text(as_json(t), indent=2),
        "jsonl": lambda t, _: json_text(as_json(t)),
        "srt": lambda t, how: srt(t, how.timestamps, how.limits),
        "vtt": lambda t, how: vtt(t, how.timestamps, how.limits),
        "tsv": lambda t, how: tsv(t, how.timestamps),
        "manifest": _manifest,
    }
    return writers[form](transcript, layout)


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
    """A JSON object and a line break, with the characters of BY_NUMBER escaped (\\udc..)."""
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    return BY_NUMBER.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


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


def sure_segments(transcript: Transcript, least: float) -> list[Segment]:
    """The segments with words whose mean confidence is `least` or more."""
    return [s for s in transcript.segments if s.words and s.confidence >= least]


def _manifest(transcript: Transcript, layout: Layout) -> str:
    """Rows of a manifest that `finetune` reads, by the recording's absolute path."""
    return "".join(
        json_text(
            {
                "audio_filepath": os.path.abspath(transcript.recording),
                "offset": segment.start,
                "duration": round(segment.end - segment.start, 3),
                "text": segment.text,
                "confidence": round(segment.confidence, 4),
            }
        )
        for segment in sure_segments(transcript, layout.min_confidence)
    )
