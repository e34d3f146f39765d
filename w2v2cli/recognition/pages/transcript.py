"""A transcript as one page: its words over the recording (`w2v2 transcribe --format html`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from w2v2cli import __version__
from w2v2cli.console import counted
from w2v2cli.data.audio import STDIN, AudioError, Recorded, stream
from w2v2cli.progress import AUDIO
from w2v2cli.recognition.pages.markup import page, shown
from w2v2cli.recognition.pages.sound import sound_uri
from w2v2cli.recognition.transcript import ENDS_THERE, Segment, TimedWord, Transcript

LONGEST = 300.0  # seconds of a recording that a page holds; a longer one is played from its file
UNSURE, DOUBTFUL = 0.8, 0.5  # confidences below which a word is marked
LEGEND = (
    '<p class="legend">Click on a word to hear it. With the keyboard: space plays and pauses, the '
    "left and right arrow keys go from word to word, up and down from line to line. Words are "
    f'marked by their confidence: <span class="unsure">below {UNSURE:g}</span>, '
    f'<span class="doubtful">below {DOUBTFUL:g}</span>.</p>'
)


@dataclass(frozen=True)
class Played:
    """Where the sound of a page comes from."""

    address: str | None
    """A data URI, or an address relative to the page; None: there is no sound."""
    sentence: str = ""
    """What the reader should know about it."""


def played(recorded: Recorded, seconds: float, folder: Path) -> Played:
    """The sound for the page of a recording.

    seconds: its length. folder: where the page will be; a longer recording than LONGEST stays
    outside and is played from its file, by its path from there.
    """
    if recorded == STDIN:
        return Played(None, "The recording came through a pipe: this page has no sound.")
    if seconds <= LONGEST:
        try:
            pieces = stream(recorded, 60.0, on_cut_short=lambda sentence: None)
            samples = np.concatenate([np.zeros(0, np.float32), *pieces])
        except AudioError as error:
            return Played(None, f"This page has no sound: {error}")
        return Played(sound_uri(samples))
    path = recorded if isinstance(recorded, Path) else getattr(recorded, "path", None)
    if not isinstance(path, Path) or not path.is_file():
        return Played(
            None,
            f"This page has no sound: the recording is longer than {LONGEST / 60:g} minutes and "
            "not a file.",
        )
    near = os.path.relpath(path, folder)
    sentence = (
        f"The recording is longer than {LONGEST / 60:g} minutes and stays outside this page: it is "
        f"played from {near}, as seen from here, and is silent where that is not found."
    )
    return Played(quote(os.fsencode(near)), sentence)


def transcript_page(transcript: Transcript, sound: Played) -> str:
    """The whole page."""
    words = transcript.words
    facts = [AUDIO.amount(transcript.seconds), counted(len(words), "word")]
    if words:
        mean = sum(word.confidence for word in words) / len(words)
        facts.append(f"mean confidence {mean:.2f}")
    notes = [sound.sentence] if sound.sentence else []
    if transcript.cut_short is not None:
        notes.append(f"{transcript.cut_short} {ENDS_THERE}")
    lines = "".join(_line(segment) for segment in transcript.segments if segment.words)
    name = shown(Path(transcript.recording).name)
    body = (
        f"<header><h1><bdi>{name}</bdi></h1><p>{shown(' · '.join(facts))}</p>"
        f"{''.join(f'<p>{shown(note)}</p>' for note in notes)}</header>"
        f"{_player(transcript, sound)}<main>{LEGEND if words else ''}"
        f'<div id="words" tabindex="0" role="group" aria-label="The words of the recording">'
        f"{lines or '<p>No words were heard.</p>'}</div></main>"
        f"<footer><p>Made by w2v2 {__version__}.</p></footer>"
    )
    media = "data:" if (sound.address or "data:").startswith("data:") else "'self' file:"
    return page(f"Transcript of {transcript.recording}", body, "transcript.js", media)


def _player(transcript: Transcript, sound: Played) -> str:
    if sound.address is None:
        return ""
    label = shown(f"Recording {transcript.recording}")
    return (
        f'<div class="player"><audio controls preload="metadata" aria-label="{label}" '
        f'src="{shown(sound.address)}"></audio>'
        '<p id="silent" hidden>The recording was not found, or this browser cannot play its '
        "format.</p></div>"
    )


def _line(segment: Segment) -> str:
    start = segment.words[0].start
    words = " ".join(map(_word, segment.words))
    return (
        f'<p class="line-of-words"><span class="time">{AUDIO.amount(start)}</span> '
        f'<span dir="auto">{words}</span></p>'
    )


def _word(word: TimedWord) -> str:
    mark = " doubtful" if word.confidence < DOUBTFUL else ""
    if not mark and word.confidence < UNSURE:
        mark = " unsure"
    told = f"{word.start:.2f} to {word.end:.2f} s, confidence {word.confidence:.2f}"
    return (
        f'<span class="spoken{mark}" title="{told}" data-start="{word.start:g}" '
        f'data-end="{word.end:g}">{shown(word.text)}</span>'
    )
