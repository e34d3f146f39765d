"""States of the network for other programs: of a block, frame by frame or their mean.

Shapes: S samples, T frames, D width.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from models.checkpoint import Checkpoint, CheckpointError, build_network
from models.config import SAMPLE_RATE
from models.inference import prepare_for_inference
from models.wav2vec2 import Wav2Vec2
from w2v2cli.data.audio import AudioError, Recorded, recordings_by_place, stream
from w2v2cli.data.decoding.hearing import AudioProgress, Hearing
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.devices import Precision, resolve_device, resolve_feature_precision
from w2v2cli.recognition.reader import CHUNK_SECONDS
from w2v2cli.recognition.segments import windows
from w2v2cli.recognition.writing.output import write_file
from w2v2cli.recognition.writing.provenance import OutputFolder

Format = Literal["npy", "safetensors"]


@dataclass(frozen=True)
class FeatureModel:
    """A network that is ready to run, and the block whose states are wanted."""

    network: Wav2Vec2
    layer: int
    device: torch.device

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        layer: int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> FeatureModel:
        """Put a checkpoint, pretrained or fine-tuned, on a device.

        layer: see `Wav2Vec2.hidden`; None takes the last. Raises UsageError for one that the
        network does not have, UserError for weights that do not fit.
        """
        blocks = checkpoint.config.num_layers
        if layer is not None and not 0 <= layer <= blocks:
            raise UsageError(f"--layer is 0 to {blocks} for this model, got {layer}.")
        place = resolve_device(device)
        try:
            network = build_network(checkpoint)
        except CheckpointError as error:
            raise UserError(str(error)) from error
        dtype = resolve_feature_precision(precision, place)
        ready = prepare_for_inference(network, place, dtype)
        return cls(ready, blocks if layer is None else layer, place)

    def states(
        self,
        recorded: Recorded,
        on_cut_short: Callable[[str], None] | None = None,
        on_heard: Callable[[float], None] = lambda seconds: None,
    ) -> np.ndarray:
        """(T, D) float32 of a recording of any length; (0, D) where it is shorter than a frame.

        A long one is read in overlapping windows, as for transcription.
        on_cut_short: see `stream`. on_heard: called with the seconds done so far.

        Raises AudioError.
        """
        config = self.network.config
        found = [np.zeros((0, config.width), np.float32)]
        for window in windows(stream(recorded, CHUNK_SECONDS, on_cut_short), config):
            samples = window.samples
            if config.frame_lengths(len(samples)) < 1:
                continue
            batch = torch.from_numpy(samples)[None].to(self.device)
            with torch.inference_mode():
                states, _ = self.network.hidden(batch, torch.tensor([len(samples)]), self.layer)
            found.append(states[0, window.keep_from : window.keep_to].float().cpu().numpy())
            on_heard(sum(map(len, found)) * config.stride / SAMPLE_RATE)
        return np.concatenate(found)


def write_features(
    model: FeatureModel,
    inputs: Sequence[str],
    folder: Path,
    form: Format,
    *,
    mean: bool = False,
    skip_existing: bool = False,
    note: Callable[[str], None] = lambda sentence: None,
    on_progress: Callable[[AudioProgress], None] = lambda heard: None,
) -> list[str]:
    """Write a file for each recording; returns a sentence for each that could not be read.

    A recording that is cut short gives the states of what is there, and a warning to `note`.
    mean: (D,), the mean over frames, in place of (T, D).
    skip_existing: leave out recordings whose file is there, made of them as they are now.

    Raises UserError where a file cannot be written.
    """
    places = recordings_by_place(inputs, note)
    outputs = OutputFolder(folder, form)
    names = outputs.names(places)
    wanted = [s for s in places if not (skip_existing and outputs.is_done(s, names[s]))]
    for line in (outputs.line(), outputs.claim({source: names[source] for source in wanted})):
        if line is not None:
            note(line)
    hearing = Hearing(dict(enumerate(wanted)), on_progress)
    failed: list[str] = []
    written = {}
    try:
        for number, found in hearing.over(_found(model, wanted, hearing, note)):
            source = wanted[number]
            if isinstance(found, AudioError):
                failed.append(str(found))
            elif mean and not len(found):
                failed.append(f"{source} is shorter than a frame: it has no mean.")
            else:
                write_file(folder / names[source], _encoded(found.mean(0) if mean else found, form))
                written[source] = names[source]
    finally:
        if written:
            outputs.finish(written)
    return failed


def _found(
    model: FeatureModel, wanted: Sequence[Path], hearing: Hearing, note: Callable[[str], None]
) -> Iterator[tuple[int, np.ndarray | AudioError]]:
    """The states of each recording, or why there are none."""
    hearing.begin()

    def cut_short(sentence: str) -> None:
        note(f"Warning: {sentence} The states end there.")

    for number, source in enumerate(wanted):
        try:
            yield number, model.states(source, cut_short, partial(hearing.hears, number))
        except AudioError as error:
            yield number, error


def _encoded(states: np.ndarray, form: Format) -> bytes:
    if form == "safetensors":
        from safetensors.numpy import save

        return save({"features": np.ascontiguousarray(states)})
    buffer = io.BytesIO()
    np.save(buffer, states)
    return buffer.getvalue()
