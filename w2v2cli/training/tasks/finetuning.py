"""CTC fine-tuning as a task of the loop (paper §3.3, §4.3)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm.search.greedy import greedy_search
from lm.text.normalizers import Normalizer
from lm.text.scripts import is_unspaced
from lm.text.vocabulary import Vocabulary
from models.checkpoint import Checkpoint, save_checkpoint
from models.config import Wav2Vec2Config
from models.masking import DrawnMask, frames_valid
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.batching import batches_by_length
from w2v2cli.data.dataset import Batch, TrainingSet, budget_samples, collate
from w2v2cli.errors import UserError
from w2v2cli.recognition.devices import dtype_named
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, align, align_phones, total
from w2v2cli.training.architecture import REGULARISATION
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import FinetuneConfig
from w2v2cli.training.pace import Phase, audio_work
from w2v2cli.training.tasks.output_layer import continued, rows_by_label
from w2v2cli.training.tasks.protocol import Draws, Prepared

if TYPE_CHECKING:
    from w2v2cli.recognition.searching.spec import Searches

VALIDATION_BATCH_SECONDS = 40.0
TYPICAL_SECONDS = 12.0  # of an utterance, for the share of attention in the work
ADAPTER = re.compile(r"wav2vec2\.context_network\.blocks\.\d+\.adapter\.")
# A network that writes nothing: share of blank frames, and error rate, from which it is told.
SILENT, NOTHING = 0.99, 0.99


@dataclass(frozen=True)
class Start:
    """The architecture and the weights a run begins with."""

    config: Wav2Vec2Config
    weights: dict[str, Tensor] | None
    """None draws them at random. An output layer without labels is drawn anew."""
    vocabulary: Vocabulary | None = None
    """Symbols of the output layer in `weights`; its rows are kept by label."""
    note: str = ""
    """What to tell of it, if anything."""


def finetuning_phases(run: FinetuneConfig, model: Wav2Vec2Config) -> tuple[Phase, ...]:
    """Return the phase in which the output layer learns alone, if there is one, and the other."""
    encoder, context = audio_work(model, TYPICAL_SECONDS)
    all_learn = (1 if run.freeze_feature_encoder else 3) * encoder
    all_learn += (4 if run.recompute else 3) * (1 - run.layer_drop) * context
    alone = encoder + (1 - run.layer_drop) * context
    phases = (Phase(0, alone), Phase(run.head_only_updates, all_learn))
    return phases if run.head_only_updates else phases[1:]


def regularised(config: Wav2Vec2Config, run: FinetuneConfig) -> Wav2Vec2Config:
    """Return the architecture with the dropouts and the LayerDrop of the run."""
    own = replace(
        config,
        dropout=run.dropout,
        feature_dropout=run.dropout,
        attention_dropout=run.attention_dropout,
        activation_dropout=run.activation_dropout,
        final_dropout=run.dropout,
        layer_drop=run.layer_drop,
    )
    return replace(own, **dict(pair for pair in run.architecture if pair[0] in REGULARISATION))


def build(start: Start, run: FinetuneConfig, outputs: int | Vocabulary) -> Wav2Vec2ForCTC:
    """Return the network a run begins with; new weights are drawn from the run's seed.

    outputs: symbols of the output layer, or its size where they are not known yet. Raises UserError
    where weights are missing.
    """
    if run.adapters_only and not start.config.attention_adapter:
        raise UserError(
            "adapters_only trains the adapters of a network's blocks, and the model to start from "
            "has none: leave it out."
        )
    torch.manual_seed(run.seed)
    size = outputs if isinstance(outputs, int) else len(outputs.symbols)
    model = Wav2Vec2ForCTC(regularised(start.config, run), size)
    if start.weights is None:
        return model
    own = model.state_dict()
    weights = {name: start.weights[name] for name in own if name in start.weights}
    if "output.weight" in weights:
        rows: list[int | None] = [None] * size
        if start.vocabulary is not None and not isinstance(outputs, int):
            rows = rows_by_label(start.vocabulary, outputs)
        for name in ("output.weight", "output.bias"):
            weights[name] = continued(own[name], weights[name], rows)
    missing = [name for name in own if name not in weights and not name.startswith("output.")]
    if missing:
        raise UserError(
            f"The checkpoint to start from lacks {len(missing)} weights, among them {missing[0]}."
        )
    model.load_state_dict(own | weights)
    return model


@dataclass
class Finetuning:
    """The task of writing down what was said, by CTC. Implements `Task[Batch, DrawnMask]`."""

    run: FinetuneConfig
    start: Start
    vocabulary: Vocabulary
    held_out: TrainingSet
    """Recordings to validate on."""
    pool: Searches | None = None
    """Search processes with a language model for validation; None takes the best path only."""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Loss and error rate of the last validations.
        self._validated: deque[tuple[float, float]] = deque(maxlen=3)

    @property
    def judged_by(self) -> str:
        """Name the error rate, with the language model if there is one.

        It counts words, phones, or in alphabets of scripts without spaces characters.
        """
        if self.vocabulary.units == "phones":
            return "per"
        rate = "cer" if is_unspaced("".join(sorted(self.vocabulary.letters))) else "wer"
        return rate if self.pool is None else f"{rate}_lm"

    @property
    def phases(self) -> tuple[Phase, ...]:
        """See `Task`."""
        return finetuning_phases(self.run, self.start.config)

    @property
    def validation_work(self) -> float:
        """See `Task`; a search with a language model is not known before it has run."""
        return self.held_out.hours * 3600 * sum(audio_work(self.start.config, TYPICAL_SECONDS))

    @property
    def blocks(self) -> tuple[int, float]:
        """See `Task`."""
        return self.start.config.num_layers, self.run.layer_drop

    def prepare(
        self, batch: Batch, draws: Draws, device: torch.device
    ) -> Prepared[Batch, DrawnMask]:
        """Draw what is hidden, and move the batch to the device (see `Task`).

        Masks are drawn on the CPU, from the micro-batch's number: they are the same on any kind and
        any number of devices. Dropout comes from torch's own generator.
        """
        frames = self.start.config.encoded_lengths(batch.lengths)
        mask = DrawnMask.draw(frames, self.start.config.width, self.run.mask, draws.host)
        moved = replace(
            batch,
            waveforms=batch.waveforms.to(device, non_blocking=True),
            labels=batch.labels.to(device, non_blocking=True),
        )
        return Prepared(moved, int(batch.label_lengths.sum()), mask.to(device))

    def loss(
        self, network: nn.Module, prepared: Prepared[Batch, DrawnMask], draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        batch = prepared.batch
        logits, frames = network(batch.waveforms, batch.lengths, prepared.drawn, draws.kept_blocks)
        losses = ctc_losses(logits, frames, batch, self.vocabulary.blank)
        blanks, every = blank_frames(logits, frames, self.vocabulary.blank)
        unspelled = (losses == 0).sum()
        return losses.sum(), {"blanks": blanks, "frames": every, "unspelled": unspelled}

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """Return nats per label, and the share of frames whose likeliest label is blank.

        Utterances without a path are counted where there are any (see `Task`).
        """
        found = {"loss": sums["loss"] / count, "blanks": sums["blanks"] / sums["frames"]}
        return found | ({"unspelled": sums["unspelled"]} if sums["unspelled"] else {})

    def throughput(self, amount: float, per_second: float) -> dict[str, float]:
        """See `Task`."""
        return {"audio_hours": amount / 3600, "audio_seconds_per_second": per_second}

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """Return the output layer alone at first, then what the run trains (see `Task`)."""
        names = {name for name, _ in network.named_parameters()}
        head = {name for name in names if name.startswith("output.")}
        if update < self.run.head_only_updates:
            return head
        if self.run.adapters_only:
            return head | {name for name in names if ADAPTER.match(name)}
        if self.run.freeze_feature_encoder:
            return {name for name in names if not name.startswith("wav2vec2.feature_encoder.")}
        return names

    def leaves_out(self, learning: set[str]) -> bool:
        """See `Task`; the output layer alone gets all its gradients.

        No gradient goes through the choice of quantized inputs.
        """
        if all(name.startswith("output.") for name in learning):
            return False
        config = regularised(self.start.config, self.run)
        return config.layer_drop > 0 or config.has_idle_bias or config.quantized_inputs

    def validate(self, network: nn.Module, collectives: Collectives) -> dict[str, float]:
        """Return the loss, and error rates of the best path and of the search (see `Task`).

        The search is left out, and with it the rate that the run is judged by, while the
        Transformer does not learn yet, unless the run asks for it.
        """
        batches = batches_by_length(
            self.held_out.lengths.tolist(), budget_samples(VALIDATION_BATCH_SECONDS)
        )
        pool = self.pool if self._searches(network) else None
        found: dict[str, list[tuple[str, str]]] = {"": [], "_lm": []}  # (reference, hypothesis)
        searches = []
        sums = torch.zeros(4, dtype=torch.float64)
        for indices in batches[collectives.rank :: collectives.world]:
            batch = self._held_out_batch(indices)
            emissions, frames, parts = self._emissions(network, batch, collectives.device)
            sums += parts
            references = [
                self.held_out.source.texts[int(self.held_out.kept[i])] or "" for i in indices
            ]
            best = greedy_search(emissions, frames, self.vocabulary)
            found[""] += [(text, h[0].text) for text, h in zip(references, best, strict=True)]
            if pool is not None:
                searches += [
                    (text, pool.submit(row[:length].copy()))
                    for text, row, length in zip(references, emissions, frames, strict=True)
                ]
        found["_lm"] = [(text, search.result()[0].text) for text, search in searches]
        loss, labels, blanks, every = collectives.total(sums.float()).tolist()
        rates = (
            phone_error_rate(found[""], collectives)
            if self.vocabulary.units == "phones"
            else _error_rates(found, self.vocabulary.normalizer, collectives)
        )
        shares = {"valid_loss": loss / max(labels, 1), "valid_blanks": blanks / max(every, 1)}
        return shares | rates

    def _searches(self, network: nn.Module) -> bool:
        """Whether a validation uses the language model now."""
        only_head = self.run.head_only_updates >= self.run.schedule.updates
        learns = any(
            parameter.requires_grad
            for name, parameter in network.named_parameters()
            if not name.startswith("output.")
        )
        return self.run.search_while_frozen or only_head or learns

    def _held_out_batch(self, indices: list[int]) -> Batch:
        held_out = self.held_out
        assert held_out.labels is not None  # recordings to validate on have transcripts
        return collate(
            [torch.from_numpy(held_out.source.read(int(held_out.kept[i]))) for i in indices],
            [torch.as_tensor(held_out.labels[i], dtype=torch.long) for i in indices],
            [""] * len(indices),
        )

    def _emissions(
        self, network: nn.Module, batch: Batch, device: torch.device
    ) -> tuple[np.ndarray, list[int], Tensor]:
        """Return (B, T, V) float32 log-probabilities, the number of frames of each row, and sums.

        The sums are (4,) float64: nats of the CTC loss, labels, blank frames, frames.
        """
        dtype = dtype_named(self.run.precision)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        ):
            logits, frames = network(batch.waveforms.to(device), batch.lengths)
            moved = replace(batch, labels=batch.labels.to(device))
            loss = ctc_losses(logits, frames, moved, self.vocabulary.blank).sum()
            blanks, every = blank_frames(logits, frames, self.vocabulary.blank)
        labels = batch.label_lengths.sum()
        sums = torch.stack([part.double().cpu() for part in (loss, labels, blanks, every)])
        emissions: np.ndarray = logits.float().log_softmax(-1).cpu().numpy()
        return emissions, frames.tolist(), sums

    def save_best(self, network: nn.Module, path: Path) -> None:
        """See `Task`."""
        weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
        metadata = self.metadata | self.vocabulary.metadata
        save_checkpoint(
            path, Checkpoint(self.start.config, weights, self.vocabulary.symbols, metadata)
        )

    def watch(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """Warn of a run that writes nothing, of labels without room, of a loss that rises.

        See `Task`.
        """
        if metrics.get("valid_loss") is not None:
            told = self._watch_validation(metrics)
            if told is not None:
                return told
        if metrics.get("unspelled"):
            return "unspelled", (
                f"Update {metrics['update']:.0f} has {metrics['unspelled']:.0f} utterances with "
                "more labels than the network gives frames, so they teach nothing: leave them "
                "out, or play them slower (`speeds`)."
            )
        return None

    def _watch_validation(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """Warn of a run that writes nothing, and of a loss that rises."""
        rate = metrics.get(self.judged_by.removesuffix("_lm"))
        if rate is None:
            return None
        run = self.run
        began = max(run.head_only_updates, run.schedule.warmup * run.schedule.updates)
        if metrics["update"] > began and rate >= NOTHING and metrics["valid_blanks"] >= SILENT:
            return "silent", (
                f"The network writes nothing yet: {metrics['valid_blanks']:.1%} of the held-out "
                f"frames are blank, and the error rate is {rate:.0%}. Give it more updates; if it "
                "stays so, try another --peak-lr, and see whether the transcripts are those of the "
                "recordings."
            )
        self._validated.append((metrics["valid_loss"], rate))
        return self._overconfident()

    def _overconfident(self) -> tuple[str, str] | None:
        """Warn where the loss rose and the error rate fell twice in a row."""
        if len(self._validated) < 3:
            return None
        losses, rates = zip(*self._validated, strict=True)
        if not (losses[0] < losses[1] < losses[2] and rates[0] > rates[1] > rates[2]):
            return None
        return "overconfident", (
            f"Validation loss rises ({losses[0]:.3g} to {losses[2]:.3g}) while the error rate "
            f"falls ({rates[0]:.2%} to {rates[2]:.2%}): the network grows too sure of "
            "itself, as it does on little data. The best checkpoint is chosen by the error rate; "
            "wider masks (`mask`) or fewer updates may help a search with a language model."
        )


def ctc_losses(logits: Tensor, frames: Tensor, batch: Batch, blank: int) -> Tensor:
    """Return the CTC loss of each utterance of a batch, (B,), in nats (paper §3.3).

    logits: (B, T, V) in any precision; the loss is computed in float32. frames: (B,) valid frames.
    A transcript that no path spells counts as zero (R). The update divides the sum by the number of
    labels; R divides by that of utterances, which Adam makes all but the same.
    """
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # (B, T, V) -> (T, B, V)
    return F.ctc_loss(
        log_probs,
        batch.labels,
        frames,
        batch.label_lengths,
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )


def blank_frames(logits: Tensor, frames: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Count the frames whose likeliest label is blank, and all frames; scalars on the device.

    logits: (B, T, V). frames: (B,) valid frames.
    """
    valid = frames_valid(frames, logits.shape[1], logits.device)
    return ((logits.argmax(-1) == blank) & valid).sum(), valid.sum()


def phone_error_rate(found: list[tuple[str, str]], collectives: Collectives) -> dict[str, float]:
    """Return the phone error rate over all ranks, both sides folded to 39 phones.

    found: (reference, hypothesis) of each utterance of this rank.
    """
    counts = total(
        align_phones(reference.split(), hypothesis.split()).words for reference, hypothesis in found
    )
    errors, length = collectives.total(
        torch.tensor(_errors_and_length(counts), dtype=torch.float32)
    ).tolist()
    return {"per": errors / max(length, 1)}


def _error_rates(
    found: Mapping[str, list[tuple[str, str]]], spell: Normalizer, collectives: Collectives
) -> dict[str, float]:
    """Return word and character error rates over all ranks, for each search that was run."""
    rates: dict[str, float] = {}
    for suffix, pairs in found.items():
        aligned = [align(reference, hypothesis, spell) for reference, hypothesis in pairs]
        counts = (total(a.words for a in aligned), total(a.characters for a in aligned))
        mine = torch.tensor([_errors_and_length(c) for c in counts], dtype=torch.float32)
        summed = collectives.total(mine).tolist()
        for name, (errors, length) in zip(("wer", "cer"), summed, strict=True):
            if length:
                rates[name + suffix] = errors / length
    return rates


def _errors_and_length(counts: ErrorCounts) -> tuple[float, float]:
    return float(counts.errors), float(counts.reference)
