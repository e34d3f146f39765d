"""What a checkpoint makes of a part of a recording: emissions and the path found, or codes.

Shapes: S samples, T frames, V symbols, G codebooks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lm.search.greedy import greedy_search
from lm.text.vocabulary import Vocabulary
from models.checkpoint import Checkpoint, CheckpointError, check_weights
from models.config import SAMPLE_RATE
from models.pretraining import Wav2Vec2ForPretraining
from w2v2cli.data.audio import Source, name_of, stream
from w2v2cli.errors import UserError
from w2v2cli.recognition.acoustic_model import AcousticModel
from w2v2cli.recognition.aligning.alignment import sequence_of, timed
from w2v2cli.recognition.aligning.job import SymbolEmissions, laid
from w2v2cli.recognition.aligning.spelling import spelled_lines
from w2v2cli.recognition.devices import Precision
from w2v2cli.recognition.reader import CHUNK_SECONDS
from w2v2cli.recognition.recognizer import user_errors


@dataclass(frozen=True)
class Emissions:
    """What a model that recognises made of some samples."""

    log_probs: np.ndarray
    """(T, V) float32."""
    vocabulary: Vocabulary
    path: np.ndarray
    """(T,) the symbol of each frame on the path found."""
    words: tuple[tuple[str, float, float], ...]
    """Its words with their start and end, in seconds from the first sample."""


@dataclass(frozen=True)
class Look:
    """A part of a recording, and what a checkpoint makes of it."""

    name: str
    samples: np.ndarray
    """(S,) float32 at 16 kHz."""
    start: float
    """Second of the recording at which the part begins."""
    frame_seconds: float
    """From one frame to the next."""
    emissions: Emissions | None
    codes: np.ndarray | None
    """(T, G) the entry of each codebook; None where the checkpoint has no quantizer."""
    entries: int
    """Of each codebook."""

    @property
    def seconds(self) -> float:
        """Length of the part."""
        return len(self.samples) / SAMPLE_RATE


def look(
    checkpoint: Checkpoint,
    source: Source,
    *,
    start: float = 0.0,
    seconds: float = 20.0,
    text: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Look:
    """Look into a part of a recording with a checkpoint, fine-tuned or only pretrained.

    start, seconds: where the part begins, and its length at most.
    text: what is said in the part; the path is then that of the text, otherwise the best of all.

    Raises UserError for a recording without this part, for a text that does not fit, and for a
    checkpoint that cannot be used.
    """
    samples = _part(source, start, seconds)
    config = checkpoint.config
    if config.frame_lengths(len(samples)) < 1:
        raise UserError(f"{name_of(source)} from {start:g} s on is shorter than a frame.")
    emissions, codes = None, None
    if checkpoint.labels is not None:
        emissions = _emissions(checkpoint, samples, text, name_of(source), device, precision)
    elif text is not None:
        raise UserError("The model is only pretrained: it has no symbols to lay a text onto.")
    else:
        codes = _codes(checkpoint, samples)
    frame = config.stride / SAMPLE_RATE
    entries = config.codebook_entries
    return Look(name_of(source), samples, start, frame, emissions, codes, entries)


def _part(source: Source, start: float, seconds: float) -> np.ndarray:
    first, wanted = round(start * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    held, at = [np.zeros(0, np.float32)], 0
    for chunk in stream(source, CHUNK_SECONDS):
        held.append(chunk[max(first - at, 0) : max(first + wanted - at, 0)])
        at += len(chunk)
        if at >= first + wanted:
            break
    if at <= first:
        raise UserError(
            f"{name_of(source)} has {at / SAMPLE_RATE:.1f} s: nothing is there from {start:g} s on."
        )
    return np.concatenate(held)


def _emissions(
    checkpoint: Checkpoint,
    samples: np.ndarray,
    text: str | None,
    name: str,
    device: str,
    precision: Precision,
) -> Emissions:
    with user_errors():
        model = AcousticModel.load(checkpoint, device, precision)
        vocabulary = Vocabulary.from_metadata(checkpoint.labels or (), checkpoint.metadata)
        [log_probs] = model.log_probs([samples])
        frame, count = checkpoint.config.stride / SAMPLE_RATE, len(log_probs)
        if text is None:
            [[best]] = greedy_search(log_probs[None], [count], vocabulary)
            found = tuple((w.text, w.start * frame, w.end * frame) for w in best.words)
            return Emissions(log_probs, vocabulary, log_probs.argmax(1), found)
    lines = spelled_lines(text, vocabulary)
    symbols, begins = sequence_of(lines, vocabulary)
    everything = tuple(range(len(vocabulary.symbols)))
    heard = SymbolEmissions(log_probs, everything, len(samples) / SAMPLE_RATE, frame)
    path = laid(symbols, heard, vocabulary, name)
    chosen = np.where(path.places < 0, vocabulary.blank, np.array(symbols)[path.places])
    gains = log_probs[np.arange(count), chosen]
    spans = path.spans(len(symbols))
    aligned = timed(lines, begins, spans, gains, vocabulary, frame, heard.seconds)
    words = tuple((w.text, w.start, w.end) for line in aligned for w in line.words)
    return Emissions(log_probs, vocabulary, chosen, words)


def _codes(checkpoint: Checkpoint, samples: np.ndarray) -> np.ndarray | None:
    """(T, G) of a pretrained checkpoint, on the CPU in float32; None without a quantizer."""
    try:
        network = Wav2Vec2ForPretraining(checkpoint.config)
        check_weights(checkpoint.weights, network)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    network.load_state_dict(checkpoint.weights)
    with torch.inference_mode():
        codes = network.eval().codes(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    return None if codes is None else codes[0].numpy()
