"""The job of `align`: a recording and its text in, the times of its words out.

Memory holds the emissions of the symbols that the text uses (an hour of English takes 20 MB), and
what `lm.search.forced` keeps of its trellis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lm.search.forced import ForcedPath, forced_path, frames_needed
from lm.text.vocabulary import Vocabulary
from models.config import SAMPLE_RATE
from w2v2cli.data.audio import STDIN, AudioError, Recorded, name_of, probe
from w2v2cli.errors import UserError
from w2v2cli.recognition.aligning.alignment import Alignment, sequence_of, timed
from w2v2cli.recognition.aligning.spelling import spelled_lines, told_missing
from w2v2cli.recognition.recognizer import load_acoustic_model, model_outputs, user_errors
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.segments import Segment

if TYPE_CHECKING:
    from w2v2cli.recognition.acoustic_model import AcousticModel

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class SymbolEmissions:
    """The emissions of a recording, of some symbols."""

    frames: np.ndarray
    """(T, C) float32 log-probabilities."""
    columns: tuple[int, ...]
    """The symbol of each column, in ascending order."""
    seconds: float
    """Length of the recording."""
    frame_seconds: float
    """From one frame to the next."""

    def column(self, symbols: Collection[int] | np.ndarray) -> np.ndarray:
        """The column of each of some symbols."""
        return np.searchsorted(self.columns, np.asarray(symbols, np.int64))


def align_recording(
    options: RecognitionOptions,
    recording: Recorded,
    text: str,
    *,
    warn: Callable[[str], None] = lambda sentence: None,
    on_progress: OnProgress = lambda done, total: None,
    on_laid: OnProgress = lambda done, total: None,
) -> Alignment:
    """Find when each word of `text` is spoken in a recording of any length.

    options: the model and its device; there is no search, so nothing else counts.
    warn: called with a sentence about letters that the model does not have.
    on_progress: called with the seconds that the network has heard, and the seconds of all.
    on_laid: called after that with the seconds that the text is being laid onto, and those of all.

    Raises UserError for a recording that cannot be read to its end, a text that the model cannot
    write, and one that has more symbols than the recording has frames.
    """
    outputs = model_outputs(options.model)
    with user_errors():
        vocabulary = Vocabulary.from_metadata(outputs.labels, outputs.metadata)
    lines = spelled_lines(text, vocabulary)
    if (sentence := told_missing(lines)) is not None:
        warn(sentence)
    symbols, begins = sequence_of(lines, vocabulary)
    model = load_acoustic_model(options, outputs.checkpoint)
    used = {vocabulary.blank, *symbols}
    heard = hear(model, vocabulary, recording, used, options.batch_seconds, on_progress)
    name = name_of(recording) if isinstance(recording, Path) else str(recording)
    path = laid(symbols, heard, vocabulary, name, on_laid)
    chosen = np.where(path.places < 0, vocabulary.blank, np.array(symbols)[path.places])
    gains = heard.frames[np.arange(len(chosen)), heard.column(chosen)]
    spans = path.spans(len(symbols))
    found = timed(lines, begins, spans, gains, vocabulary, heard.frame_seconds, heard.seconds)
    return Alignment(name, round(heard.seconds, 3), found, path.score)


def hear(
    model: AcousticModel,
    vocabulary: Vocabulary,
    recording: Recorded,
    symbols: Collection[int],
    batch_seconds: float = 0.0,
    on_progress: OnProgress = lambda done, total: None,
) -> SymbolEmissions:
    """The emissions of `symbols` in a recording of any length, by windows.

    batch_seconds: see `AcousticStage`. Raises UserError for a recording that cannot be read to its
    end, and for emissions that are not numbers.
    """
    from w2v2cli.recognition.pipeline import AcousticStage

    stage = AcousticStage(model, vocabulary, batch_seconds)
    columns = tuple(sorted(symbols))
    parts = [np.zeros((0, len(columns)), np.float32)]
    total = _whole_seconds(recording)

    def take(segment: Segment) -> None:
        parts.append(segment.emission[:, columns])
        done = (segment.start + len(segment.emission)) * stage.seconds_per_frame
        on_progress(int(done), max(total, int(done)))

    [(read, _)] = stage.run([recording], lambda: take)
    if read.error or read.cut_short:
        raise UserError(read.error or read.cut_short)
    frames = np.concatenate(parts)
    if np.isnan(frames).any():
        raise UserError("The acoustic model's output is not a number: its weights are damaged.")
    return SymbolEmissions(frames, columns, read.samples / SAMPLE_RATE, stage.seconds_per_frame)


def laid(
    symbols: list[int],
    heard: SymbolEmissions,
    vocabulary: Vocabulary,
    name: str,
    on_progress: OnProgress = lambda done, total: None,
) -> ForcedPath:
    """The best path that writes `symbols`. name: of the recording. Raises UserError.

    on_progress: called with the seconds that the first pass has seen, and those of all.
    """
    bounded = vocabulary.word_boundary is not None
    needed = frames_needed(symbols[1:-1] if bounded else symbols)
    if needed > len(heard.frames):
        raise UserError(
            f"The text is too long for {name}: its symbols need {needed} frames at least, and "
            f"{heard.seconds:.1f} s of sound have {len(heard.frames)}. Is it another recording's?"
        )
    columns = heard.column(symbols).tolist()
    [blank] = heard.column([vocabulary.blank]).tolist()

    def seen(frames: int) -> None:
        on_progress(int(frames * heard.frame_seconds), int(heard.seconds))

    path = forced_path(heard.frames, columns, blank, open_ends=bounded, on_progress=seen)
    if path is None:
        raise UserError(f"The model gives {name} no way to say the text: all have probability 0.")
    return path


def _whole_seconds(recording: Recorded) -> int:
    """The length that a file's header tells; 0 where only reading it would."""
    if not isinstance(recording, Path) or recording == STDIN or not recording.is_file():
        return 0
    try:
        return int(probe(recording).seconds)
    except AudioError:  # reading it raises the error that says so
        return 0
