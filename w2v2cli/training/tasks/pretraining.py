"""Self-supervised pretraining as a task of the loop (paper §3, §4.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint, check_weights, save_checkpoint
from models.config import PRESETS, SAMPLE_RATE, Wav2Vec2Config
from models.pretraining import (
    Losses,
    MaskedSteps,
    Prediction,
    Wav2Vec2ForPretraining,
    codebook_use,
    pretraining_losses,
)
from models.quantizer import GumbelQuantizer, gumbel_noise
from w2v2cli.data.dataset import Batch, MicroBatches
from w2v2cli.errors import UserError
from w2v2cli.recognition.devices import dtype_named
from w2v2cli.training.architecture import REGULARISATION, designed, refuse_finetuning_only
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import PretrainConfig
from w2v2cli.training.pace import Phase, audio_work
from w2v2cli.training.tasks.protocol import Draws, Prepared

COLLAPSED = 0.02  # share of the codebooks' entries in use, by their perplexity, that is too few
WATCHED = 200  # updates whose mean accuracy is compared with chance
# Updates after which accuracy must have left chance, or the warm-up where that is longer.
LEAVES_CHANCE = 1000


def network_config(run: PretrainConfig, start: Start | None = None) -> Wav2Vec2Config:
    """Return the architecture of a run: its preset with the switches of the ablations.

    start: checkpoint to go on from. It has its own shape, and the preset's regularisation.

    Raises UserError for a preset that does not exist, UsageError for settings that do not fit.
    """
    refuse_finetuning_only(run.architecture)
    if run.model not in PRESETS:
        raise UserError(f"There is no preset model={run.model}; there are {', '.join(PRESETS)}.")
    preset = PRESETS[run.model]()
    if start is not None:
        kept = {name: getattr(preset, name) for name in REGULARISATION}
        preset = replace(start.config, **kept)
    switched = replace(
        preset, quantized_inputs=run.quantized_inputs, quantized_targets=run.quantized_targets
    )
    return designed(switched, run.architecture, None if start is None else start.name)


def pretraining_phases(run: PretrainConfig, model: Wav2Vec2Config) -> tuple[Phase, ...]:
    """Return the one phase of a run: backward takes twice the work of the forward pass."""
    encoder, context = audio_work(model, run.crop_seconds)
    return (Phase(0, 3 * encoder + (4 if run.recompute else 3) * context),)


@dataclass(frozen=True)
class Start:
    """A pretrained checkpoint that a run goes on from."""

    name: str
    """What the user calls it."""
    config: Wav2Vec2Config
    weights: Mapping[str, Tensor] | None
    """None on ranks that get them from the first one."""


def build(run: PretrainConfig, start: Start | None = None) -> Wav2Vec2ForPretraining:
    """Return the network a run begins with, its weights drawn from the run's seed.

    start: checkpoint whose weights it gets instead. Raises UserError where they do not fit.
    """
    torch.manual_seed(run.seed)
    network = Wav2Vec2ForPretraining(network_config(run, start))
    if start is not None and start.weights is not None:
        try:
            check_weights(start.weights, network)
        except ValueError as error:
            raise UserError(str(error)) from error
        network.load_state_dict(start.weights)
        return network
    if run.centred_codebook:
        for module in network.modules():
            if isinstance(module, GumbelQuantizer):
                with torch.no_grad():
                    module.codebook.mul_(2).sub_(1)
    return network


@dataclass
class Pretraining:
    """The task of telling the latent behind a mask from distractors.

    Implements `Task[Batch, MaskedSteps]`.
    """

    run: PretrainConfig
    validation: MicroBatches
    metadata: dict[str, Any] = field(default_factory=dict)
    start: Start | None = None
    """Checkpoint that the run goes on from."""
    judged_by: str = "valid_contrastive"

    def __post_init__(self) -> None:
        self.config = network_config(self.run, self.start)
        self._accuracy: deque[float] = deque(maxlen=WATCHED)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """See `Task`."""
        return pretraining_phases(self.run, self.config)

    @property
    def validation_work(self) -> float:
        """See `Task`."""
        seconds = float(self.validation.plan.samples.sum()) / SAMPLE_RATE
        return seconds * sum(audio_work(self.config, self.run.crop_seconds))

    @property
    def blocks(self) -> tuple[int, float]:
        """See `Task`."""
        return self.config.num_layers, self.config.layer_drop

    def prepare(
        self, batch: Batch, draws: Draws, device: torch.device
    ) -> Prepared[Batch, MaskedSteps]:
        """Draw masks and distractors (see `Task`)."""
        frames = self.config.encoded_lengths(batch.lengths)
        steps = MaskedSteps.draw(frames, self.run.objective, draws.host)
        waveforms = batch.waveforms.to(device, non_blocking=True)
        return Prepared(replace(batch, waveforms=waveforms), len(steps), steps.to(device))

    def loss(
        self, network: nn.Module, prepared: Prepared[Batch, MaskedSteps], draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        batch, steps, objective = prepared.batch, prepared.drawn, self.run.objective
        shape = (self.config.codebooks, self.config.codebook_entries)
        noise = (
            gumbel_noise((len(steps.targets), *shape), draws.device)
            if self.config.quantized_targets and objective.gumbel_noise
            else None,
            gumbel_noise((steps.mask.numel(), *shape), draws.device)
            if self.config.quantized_inputs and objective.gumbel_noise
            else None,
        )
        prediction = network(
            batch.waveforms,
            batch.lengths,
            steps,
            temperature=self.run.temperature.at(draws.update),
            noise=noise,
            encoder_gradient=objective.encoder_gradient,
            target_gradient=objective.target_gradient,
            kept_blocks=draws.kept_blocks,
        )
        losses = pretraining_losses(prediction, steps, objective)
        return losses.total, self._sums(prediction, losses, len(steps))

    def _sums(self, prediction: Prediction, losses: Losses, count: int) -> dict[str, Tensor]:
        sums = {
            "contrastive": losses.contrast.loss,
            "diversity": losses.diversity * count,
            "penalty": losses.penalty * count,
            "accuracy": losses.contrast.correct,
        }
        for quantized in prediction.quantized[:1]:
            sums |= {name: value * count for name, value in codebook_use(quantized).items()}
        return {name: value.detach().float() for name, value in sums.items()}

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """Return means over the masked steps (see `Task`)."""
        return {
            **{name: value / count for name, value in sums.items()},
            "temperature": self.run.temperature.at(update),
            "masked_steps": count,
        }

    def throughput(self, amount: float, per_second: float) -> dict[str, float]:
        """See `Task`."""
        return {"audio_hours": amount / 3600, "audio_seconds_per_second": per_second}

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """Return all names (see `Task`)."""
        return {name for name, _ in network.named_parameters()}

    def leaves_out(self, learning: set[str]) -> bool:
        """See `Task`; two ablations leave out a bias, and the norm of detached targets."""
        config = self.config
        return (
            config.layer_drop > 0
            or config.has_idle_bias
            or (config.separate_encoders and not self.run.objective.target_gradient)
        )

    @torch.no_grad()
    def validate(self, network: nn.Module, collectives: Collectives) -> dict[str, float]:
        """Return the losses on held-out data (see `Task`).

        Codebook entries are the likeliest ones, without Gumbel noise; masks are the same each time.
        """
        totals: dict[str, Tensor] = {}
        device = collectives.device
        dtype = dtype_named(self.run.precision)
        for index in range(collectives.rank, len(self.validation), collectives.world):
            draws = Draws(0, torch.Generator().manual_seed(index), torch.Generator(device), None)
            prepared = self.prepare(self.validation[index], draws, device)
            steps = prepared.drawn
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                prediction = network(prepared.batch.waveforms, prepared.batch.lengths, steps)
            losses = pretraining_losses(prediction, steps, self.run.objective)
            sums = self._sums(prediction, losses, len(steps)) | {
                "count": torch.tensor(float(len(steps)))
            }
            for name, value in sums.items():
                totals[name] = totals.get(name, torch.zeros(())) + value.cpu()
        names = [
            "contrastive",
            "diversity",
            "penalty",
            "accuracy",
            "code_perplexity",
            "prob_perplexity",
            "count",
        ]
        summed = collectives.total(
            torch.stack([totals.get(name, torch.zeros(())) for name in names])
        ).tolist()
        count = summed.pop()
        return {f"valid_{name}": value / count for name, value in zip(names, summed, strict=False)}

    def save_best(self, network: nn.Module, path: Path) -> None:
        """See `Task`."""
        weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
        save_checkpoint(path, Checkpoint(self.config, weights, None, self.metadata))

    def watch(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """Warn of a collapsed codebook and of an accuracy that stays at chance (see `Task`)."""
        self._accuracy.append(metrics["accuracy"])
        entries = self.config.codebooks * self.config.codebook_entries
        least = max(COLLAPSED * entries, self.config.codebooks * 1.5)
        if self.config.quantized_targets and metrics["code_perplexity"] < least:
            return "collapse", (
                f"A codebook has collapsed: {metrics['code_perplexity']:.1f} of {entries} entries "
                "are in use. A higher objective.diversity_weight, a lower --peak-lr or a slower "
                "temperature may help."
            )
        objective = self.run.objective
        chance = 1 / (1 + objective.distractors + objective.batch_distractors)
        leaves_chance = max(LEAVES_CHANCE, self.run.schedule.warmup * self.run.schedule.updates)
        if len(self._accuracy) == WATCHED and metrics["update"] >= leaves_chance:
            mean = sum(self._accuracy) / WATCHED
            if mean < 2 * chance:
                return "chance", (
                    f"The true latent is told from its distractors in {mean:.2%} of cases, chance "
                    f"is {chance:.2%}: after so many updates something is wrong, most often the "
                    "learning rate."
                )
        return None
