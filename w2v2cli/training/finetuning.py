"""One fine-tuning run from names on a command line to a checkpoint on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lm.greedy import greedy_search
from lm.vocabulary import Vocabulary
from models.checkpoint import Checkpoint, save_checkpoint
from models.config import Wav2Vec2Config
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.batching import batches_by_length
from w2v2cli.data.corpora import Utterance
from w2v2cli.data.dataset import LabelledRecording, LeftOut, budget_samples, collate, read_labelled
from w2v2cli.errors import UserError
from w2v2cli.recognition.error_rate import align, total
from w2v2cli.training.config import FinetuneConfig
from w2v2cli.training.loop import Finetuning

VALIDATION_BATCH_SECONDS = 40.0


@dataclass(frozen=True)
class Start:
    """The weights a run begins with."""

    config: Wav2Vec2Config
    weights: dict[str, torch.Tensor] | None
    """None draws them at random; an output layer that does not fit the vocabulary is drawn anew."""


def regularised(config: Wav2Vec2Config, run: FinetuneConfig) -> Wav2Vec2Config:
    """The architecture with the dropouts and the LayerDrop of the run."""
    return replace(
        config,
        dropout=run.dropout,
        feature_dropout=run.dropout,
        attention_dropout=0.0,
        activation_dropout=run.activation_dropout,
        layer_drop=run.layer_drop,
    )


def build(start: Start, run: FinetuneConfig, vocabulary: Vocabulary) -> Wav2Vec2ForCTC:
    """The network a run begins with, its new weights drawn from the run's seed."""
    torch.manual_seed(run.seed)
    model = Wav2Vec2ForCTC(regularised(start.config, run), len(vocabulary.symbols))
    if start.weights is None:
        return model
    own = model.state_dict()
    weights = {name: start.weights[name] for name in own if name in start.weights}
    if weights.get("output.weight", own["output.weight"]).shape != own["output.weight"].shape:
        del weights["output.weight"], weights["output.bias"]
    missing = [name for name in own if name not in weights and not name.startswith("output.")]
    if missing:
        raise UserError(f"The checkpoint to start from lacks {len(missing)} weights, among them {missing[0]}.")
    model.load_state_dict(own | weights)
    return model


def finetune(
    start: Start,
    run: FinetuneConfig,
    vocabulary: Vocabulary,
    train: Sequence[Utterance],
    valid: Sequence[Utterance],
    folder: Path,
    *,
    device: torch.device,
    report: Callable[[dict[str, Any]], None],
    left_out: Callable[[LeftOut], None],
    metadata: dict[str, Any],
) -> Path:
    """Train, validate, keep the best; returns the best checkpoint, FOLDER/best.safetensors.

    Called again with the same folder it goes on where it was stopped. `left_out` hears of every utterance that
    cannot be trained on. Raises UserError when nothing is left to train or validate on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build(start, run, vocabulary).to(device)
    recordings, bad = read_labelled(train, vocabulary, model.config, fastest=max(run.speeds))
    held_out, worse = read_labelled(valid, vocabulary, model.config)
    for utterance in (*bad, *worse):
        left_out(utterance)
    if not recordings or not held_out:
        which = "train" if not recordings else "validate"
        raise UserError(f"No utterance is left to {which} on: all of them were left out for the reasons above.")
    best = folder / "best.safetensors"

    def save_best() -> None:
        weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        save_checkpoint(best, Checkpoint(start.config, weights, vocabulary.symbols, metadata))

    loop = Finetuning(
        model=model,
        blank=vocabulary.blank,
        config=run,
        recordings=recordings,
        folder=folder,
        validate=lambda network: greedy_error_rates(network, held_out, vocabulary, run.precision),
        report=report,
        save_best=save_best,
    )
    loop.run()
    return best


def greedy_error_rates(
    network: nn.Module, recordings: Sequence[LabelledRecording], vocabulary: Vocabulary, precision: str
) -> dict[str, float]:
    """Word and character error rate of the best path, as ratios."""
    device = next(network.parameters()).device
    lengths = [len(recording.waveform) for recording in recordings]
    references, hypotheses = [], []
    for indices in batches_by_length(lengths, budget_samples(VALIDATION_BATCH_SECONDS)):
        batch = collate([recordings[i] for i in indices])
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits, frames = network(batch.waveforms.to(device), batch.lengths.to(device))
        emissions: np.ndarray = logits.float().log_softmax(-1).cpu().numpy()
        for i, found in zip(indices, greedy_search(emissions, frames.tolist(), vocabulary), strict=True):
            references.append(recordings[i].utterance.text or "")
            hypotheses.append(found[0].text)
    aligned = [align(reference, hypothesis) for reference, hypothesis in zip(references, hypotheses, strict=True)]
    return {"wer": total(a.words for a in aligned).rate, "cer": total(a.characters for a in aligned).rate}
