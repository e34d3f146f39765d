"""What was heard so far, as it is written: lines of text, JSON Lines, or a line that grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Protocol

from w2v2cli.console import printable
from w2v2cli.recognition.streaming.listening import Event
from w2v2cli.recognition.transcript import TimedWord
from w2v2cli.recognition.writing.formats import json_text

LINE_SECONDS = 10.0  # a line of text is as long as this at most
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
ANEW = "\r\x1b[K"  # write the line of the terminal anew

Write = Callable[[str], None]


class Showing(Protocol):
    """Writes events in their order."""

    def show(self, event: Event) -> None:
        """Write what an event changes."""


class Lines:
    """A line of text for each sentence, or for each ten seconds of one. Only what is final."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._words: list[TimedWord] = []

    def show(self, event: Event) -> None:
        """See `Showing`."""
        for word in event.final:
            if self._words and word.end - self._words[0].start > LINE_SECONDS:
                self._end()
            self._words.append(word)
        if event.sentence_ends:
            self._end()

    def _end(self) -> None:
        if self._words:
            self._write(f"{printable(_text(self._words))}\n")
        self._words = []


class JsonLines:
    """An object for each change: `final` words once, and what may follow them as it changes."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._partial = ""

    def show(self, event: Event) -> None:
        """See `Showing`."""
        if event.final or event.sentence_ends:
            self._line(event.final, final=True, sentence_ends=event.sentence_ends)
            self._partial = ""
        text = _text(event.partial)
        if text != self._partial and not event.sentence_ends:
            self._line(event.partial, final=False)
            self._partial = text

    def _line(self, words: Sequence[TimedWord], **facts: bool) -> None:
        times = {"start": words[0].start, "end": words[-1].end} if words else {}
        values = facts | times | {"text": _text(words), "words": [asdict(word) for word in words]}
        self._write(json_text(values))


class Growing:
    """On a terminal: a line that grows; what may still change is dim."""

    def __init__(self, write: Write, columns: Callable[[], int]) -> None:
        """columns: the width of the terminal, at any time."""
        self._write, self._columns = write, columns
        self._line: list[str] = []
        self._shown = ""

    def show(self, event: Event) -> None:
        """See `Showing`."""
        width = max(self._columns() - 1, 20)
        for word in event.final:
            text = printable(word.text)
            if self._line and len(" ".join([*self._line, text])) > width:
                self._end()
            self._line.append(text)
        if event.sentence_ends:
            self._end()
            return
        said, partial = " ".join(self._line), printable(_text(event.partial))
        rest = f" {partial}" if said and partial else partial
        rest = rest[: max(width - len(said), 0)]
        line = f"{ANEW}{said}{DIM}{rest}{PLAIN}" if rest else f"{ANEW}{said}"
        if line != self._shown:
            self._write(line)
            self._shown = line

    def _end(self) -> None:
        if self._line or self._shown:
            text = " ".join(self._line)
            self._write(f"{ANEW}{text}\n" if text else ANEW)
        self._line, self._shown = [], ""


def _text(words: Sequence[TimedWord]) -> str:
    return " ".join(word.text for word in words)
