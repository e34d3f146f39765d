"""The training loop: batches in, updates out, validated, logged and restartable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.dataset import Batch, LabelledRecording, budget_samples, training_batches
from w2v2cli.training.checkpoints import Position, load_state, save_state
from w2v2cli.training.config import FinetuneConfig
from w2v2cli.training.objectives import ctc_objective

Validate = Callable[[nn.Module], dict[str, float]]  # returns at least "wer"
Report = Callable[[dict[str, Any]], None]


@dataclass
class Finetuning:
    """One CTC run over a model that it changes in place."""

    model: Wav2Vec2ForCTC
    blank: int
    config: FinetuneConfig
    recordings: list[LabelledRecording]
    folder: Path
    validate: Validate
    report: Report
    save_best: Callable[[], None]
    """Called when a validation gave the lowest WER so far."""
    position: Position = field(default_factory=Position)
    best: float = float("inf")

    def run(self) -> None:
        """Train until the schedule ends, from where `folder` says an earlier call stopped."""
        torch.manual_seed(self.config.seed)
        optimizer = self._optimizer()
        state = self.folder / "last.pt"
        if state.exists():
            self.position, self.best = load_state(state, self.model, optimizer)
        batches = self._batches()
        self.model.train()
        while self.position.update < self.config.schedule.updates:
            began = time.perf_counter()
            used = [next(batches) for _ in range(self.config.accumulate)]
            metrics = self._update(optimizer, used)
            self.position.update += 1
            seconds = sum(int(batch.lengths.sum()) for batch in used) / 16_000
            metrics["audio_seconds_per_second"] = seconds / (time.perf_counter() - began)
            ends = self.position.update == self.config.schedule.updates
            if ends or self.position.update % self.config.validate_every == 0:
                metrics |= self._validated()
                save_state(state, self.model, optimizer, self.position, self.best)
            self._log({"update": self.position.update, "epoch": self.position.epoch, **metrics})

    def _update(self, optimizer: torch.optim.Optimizer, batches: list[Batch]) -> dict[str, float]:
        rate = self.config.schedule.rate(self.position.update)
        for group in optimizer.param_groups:
            group["lr"] = rate
        self._freeze()
        optimizer.zero_grad()
        labels = sum(int(batch.label_lengths.sum()) for batch in batches)
        total = 0.0
        for batch in batches:
            loss, _ = ctc_objective(self.model, batch, self.blank, self.config.mask, self.config.precision)
            (loss / labels).backward()
            total += float(loss.detach())
        limit = self.config.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if torch.isfinite(norm):
            optimizer.step()
        return {"loss": total / labels, "learning_rate": rate, "gradient_norm": float(norm)}

    def _freeze(self) -> None:
        """Which parameters learn in this update."""
        head_only = self.position.update < self.config.head_only_updates
        self.model.wav2vec2.requires_grad_(not head_only)
        if self.config.freeze_feature_encoder:
            self.model.wav2vec2.feature_encoder.requires_grad_(False)

    def _optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=self.config.betas, eps=self.config.eps)

    def _batches(self) -> Iterator[Batch]:
        """Endless batches from the run's position, which moves along with them."""
        budget = budget_samples(self.config.batch_seconds)
        while True:
            epoch = training_batches(
                self.recordings,
                budget=budget,
                speeds=self.config.speeds,
                seed=self.config.seed,
                epoch=self.position.epoch,
                skip=self.position.batch,
            )
            for batch in epoch:
                self.position.batch += 1
                yield batch
            self.position.epoch += 1
            self.position.batch = 0

    def _validated(self) -> dict[str, float]:
        self.model.eval()
        scores = self.validate(self.model)
        self.model.train()
        if scores["wer"] < self.best:
            self.best = scores["wer"]
            self.save_best()
        return scores

    def _log(self, metrics: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        self.report(metrics)
