"""Alignments as files of other programs: CTM, Praat's TextGrid, subtitles and JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from w2v2cli.recognition.aligning.alignment import AlignedSymbol, AlignedWord, Alignment
from w2v2cli.recognition.transcript import Segment, TimedWord, Transcript
from w2v2cli.recognition.writing.formats import json_text
from w2v2cli.recognition.writing.subtitles import LIMITS, SubtitleLimits, Timestamps, srt, vtt

AlignmentFormat = Literal["json", "ctm", "textgrid", "srt", "vtt"]
Unit = Literal["word", "symbol"]
FORMATS: tuple[AlignmentFormat, ...] = get_args(AlignmentFormat)


def rendered(
    alignment: Alignment,
    form: AlignmentFormat,
    unit: Unit = "word",
    limits: SubtitleLimits = LIMITS,
) -> str:
    """An alignment as the text of a file.

    json: an object with segments (the lines of the text), their words and symbols. ctm: a line for
    each word. textgrid: Praat's, with a tier of words and one of symbols. srt, vtt: subtitles, the
    lines of the text divided where they are too long for a screen.
    unit: what ctm, srt and vtt list; json and textgrid have both.
    """
    writers: dict[str, Callable[[Alignment, Unit], str]] = {
        "json": lambda a, _: json_text(as_json(a), indent=2),
        "ctm": _ctm,
        "textgrid": lambda a, _: _textgrid(a),
        "srt": lambda a, u: srt(as_transcript(a, u), _cues(u), limits),
        "vtt": lambda a, u: vtt(as_transcript(a, u), _cues(u), limits),
    }
    return writers[form](alignment, unit)


def as_json(alignment: Alignment) -> dict[str, Any]:
    """An alignment as plain values, in the shape of a transcript's."""
    return {
        "recording": alignment.recording,
        "seconds": alignment.seconds,
        "score": round(alignment.score, 3),
        "text": alignment.text,
        "segments": [
            {"start": line.start, "end": line.end, "text": line.text} | asdict(line)
            for line in alignment.lines
        ],
    }


def as_transcript(alignment: Alignment, unit: Unit = "word") -> Transcript:
    """An alignment as the transcript that it would be, a segment for each line of the text."""
    segments = [
        Segment(
            line.start,
            line.end,
            tuple(
                TimedWord(part.text, part.start, part.end, part.confidence)
                for part in _parts(line.words, unit)
            ),
            acoustic_score=0.0,
            lm_score=0.0,
            score=0.0,
        )
        for line in alignment.lines
    ]
    return Transcript(alignment.recording, alignment.seconds, tuple(segments))


def _cues(unit: Unit) -> Timestamps:
    return "word" if unit == "symbol" else "segment"  # a cue for each symbol


def _parts(words: Sequence[AlignedWord], unit: Unit) -> Sequence[AlignedWord | AlignedSymbol]:
    if unit == "word":
        return words
    return [symbol for word in words for symbol in word.symbols]


def _ctm(alignment: Alignment, unit: Unit) -> str:
    """NIST's CTM: recording, channel, begin, duration, word and confidence.

    Its columns are parted by spaces, so that a space inside of one becomes an underscore.
    """
    stem = Path(alignment.recording).stem
    name = _one_column(os.fsencode(stem).decode(errors="replace"))  # names need not be UTF-8
    return "".join(
        f"{name} 1 {part.start:.3f} {part.end - part.start:.3f} {_one_column(part.text)} "
        f"{part.confidence:.4f}\n"
        for part in _parts(alignment.words, unit)
    )


def _one_column(text: str) -> str:
    return "_".join(text.split()) or "_"


def _textgrid(alignment: Alignment) -> str:
    """Praat's long text format; a tier is intervals from 0 to the end, those of silence empty."""
    end = max([alignment.seconds, *(word.end for word in alignment.words)])
    tiers = [
        _tier("words", 1, alignment.words, end),
        _tier("symbols", 2, _parts(alignment.words, "symbol"), end),
    ]
    head = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end:.3f}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    return "\n".join([*head, *tiers]) + "\n"


def _tier(name: str, number: int, parts: Sequence[AlignedWord | AlignedSymbol], end: float) -> str:
    intervals: list[tuple[float, float, str]] = []
    at = 0.0
    for part in parts:
        if part.end <= part.start:  # Praat has no interval of no length
            _label_beside(intervals, part.text)
            continue
        if part.start > at:
            intervals.append((at, part.start, ""))
        intervals.append((max(part.start, at), part.end, part.text))
        at = part.end
    if end > at:
        intervals.append((at, end, ""))
    lines = [
        f"    item [{number}]:",
        '        class = "IntervalTier"',
        f'        name = "{name}"',
        "        xmin = 0",
        f"        xmax = {end:.3f}",
        f"        intervals: size = {len(intervals)}",
    ]
    for place, (first, last, text) in enumerate(intervals, 1):
        label = text.replace('"', '""')
        lines += [
            f"        intervals [{place}]:",
            f"            xmin = {first:.3f}",
            f"            xmax = {last:.3f}",
            f'            text = "{label}"',
        ]
    return "\n".join(lines)


def _label_beside(intervals: list[tuple[float, float, str]], text: str) -> None:
    """Add a word without an interval of its own to the label of the one before it."""
    if intervals:
        first, last, label = intervals[-1]
        intervals[-1] = (first, last, f"{label} {text}".strip())
