"""The training loop, the only one: batches in, updates out, validated, logged, and restartable at any moment.

What is random in an update is drawn from (seed, number of the micro-batch) or (seed, update), never from a generator that
lives on. So a run that is killed and started again, or spread over other ranks, draws the same numbers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from models.context_network import draw_kept
from w2v2cli.errors import UserError
from w2v2cli.training.checkpoints import Position, StateFolder
from w2v2cli.training.collectives import Ranks
from w2v2cli.training.config import RunConfig
from w2v2cli.training.metrics import MetricLog, Pace
from w2v2cli.training.optimization import DTYPES, build_optimizer, compile_blocks, peak_memory
from w2v2cli.training.signals import StopNotice, stop_notice
from w2v2cli.training.tasks.protocol import Draws, Prepared, Step, Stream, Task

PATIENCE = 10  # updates in a row that may be lost to losses or gradients that are not finite
SMALLEST_SCALE = (
    1e-4  # of the loss in float16 (R): below it, it is not the scale that makes gradients infinite
)
NAMED = 20  # utterances that an error lists before it only counts


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: bool
    """Whether the schedule came to its end; if not, a signal stopped it."""
    signal: str | None
    update: int
    best: float


@dataclass
class Loop:
    """One run over a network that it changes in place."""

    network: nn.Module
    task: Task
    config: RunConfig
    stream: Stream
    ranks: Ranks
    folder: Path
    report: Callable[[dict[str, Any], Pace], None]
    """Hears of every update, on the first rank."""
    warn: Callable[[str], None]
    tensorboard: bool = False

    def __post_init__(self) -> None:
        self.position = Position()
        self.best = float("inf")
        self.skipped = 0
        self._lost: list[tuple[str, ...]] = []  # utterances of the updates skipped in a row
        self._states = StateFolder(self.folder, self.config.keep)
        self._optimizer = build_optimizer(self.network, self.config)
        self._scaler = GradScaler(self.ranks.device.type, enabled=self.config.precision == "fp16")
        self._learning: set[str] = set()
        self._running: nn.Module = self.network
        self._warned: set[str] = set()

    def run(self) -> Outcome:
        """Train from where the folder says an earlier call stopped, until the schedule ends or a signal comes."""
        self._restore()
        if self.config.compile:
            compile_blocks(self.network)
        pace = Pace(self.position.update, self.config.schedule.updates)
        log = (
            MetricLog(self.folder, self.position.update, self.tensorboard)
            if self.ranks.first
            else nullcontext()
        )
        steps = self.stream.steps(self.position)
        with stop_notice() as notice, log:
            while self.position.update < self.config.schedule.updates:
                metrics, stop = self._update(next(steps), notice)
                if self._due(self.config.validate_every):
                    metrics |= self._validate()
                    self._save()
                elif stop or self._due(self.config.save_every):
                    self._save()
                pace.tick(self.position.update)
                self._tell(metrics, log, pace)
                if stop:
                    break
        finished = self.position.update >= self.config.schedule.updates
        return Outcome(finished, notice.name, self.position.update, self.best)

    def _due(self, every: int) -> bool:
        update = self.position.update
        return update % every == 0 or update == self.config.schedule.updates

    def _update(self, step: Step, notice: StopNotice) -> tuple[dict[str, float], bool]:
        """One update of the weights; whether any rank has been asked to stop."""
        update = self.position.update
        rate = self.config.schedule.rate(update)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._choose_learning(update)
        self._optimizer.zero_grad()
        draws = [self._draws(i) for i in range(len(step.batches))]
        prepared = [
            self.task.prepare(batch, draw, self.ranks.device)
            for batch, draw in zip(step.batches, draws, strict=True)
        ]
        amount = sum(batch.amount for batch in step.batches)
        mine = torch.tensor(
            [sum(p.count for p in prepared), float(bool(notice)), amount], dtype=torch.float64
        )
        count, stops, amount = self.ranks.total(mine.float()).tolist()
        sums = self._backward(prepared, draws, count)
        norm = self._step(sums["loss"])
        self._mind(step, norm, sums)
        self.position = replace(step.after, update=update + 1, amount=self.position.amount + amount)
        metrics = {
            **self.task.summary(sums, count, update),
            "learning_rate": rate,
            "gradient_norm": norm,
            "amount": amount,
            "skipped": float(self.skipped),
        }
        if self._scaler.is_enabled():
            metrics["loss_scale"] = self._scaler.get_scale()
        metrics["memory_gb"] = peak_memory(self.ranks.device) / 1e9
        for sentence in (s for batch in step.batches for s in batch.unreadable):
            self.warn(f"Left out: {sentence}")
        return metrics, stops > 0

    def _backward(
        self, prepared: list[Prepared], draws: list[Draws], count: float
    ) -> dict[str, float]:
        """Gradients of the loss over `count` from all micro-batches; the sums to be logged, over all ranks."""
        totals: dict[str, Tensor] = {}
        dtype = DTYPES[self.config.precision]
        for i, (part, draw) in enumerate(zip(prepared, draws, strict=True)):
            torch.manual_seed(self._seed("dropout", self._number(i)))
            with (
                self._gathering(last=i == len(prepared) - 1),
                torch.autocast(self.ranks.device.type, dtype, enabled=dtype != torch.float32),
            ):
                loss, sums = self.task.loss(self._running, part, draw)
            for name, value in {"loss": loss.detach(), **sums}.items():
                totals[name] = (
                    totals.get(name, torch.zeros((), device=value.device)) + value.detach().float()
                )
            # DDP takes the mean over ranks; what is wanted is the sum over ranks divided by their common count.
            with self._gathering(last=i == len(prepared) - 1):
                self._scaler.scale(loss * (self.ranks.world / count)).backward()
        summed = self.ranks.total(torch.stack(list(totals.values())))
        return dict(zip(totals, summed.tolist(), strict=True))

    def _gathering(self, last: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once an update, in the backward pass of its last micro-batch."""
        if last or not isinstance(self._running, DistributedDataParallel):
            return nullcontext()
        return self._running.no_sync()

    def _step(self, loss: float) -> float:
        """Let the weights learn unless the loss or a gradient is not finite; the norm of all gradients."""
        self._scaler.unscale_(self._optimizer)
        limit = self.config.clip_norm or float("inf")
        learning = [p for p in self.network.parameters() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(learning, limit))
        if abs(loss) < float("inf") and (self._scaler.is_enabled() or norm < float("inf")):
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return norm

    def _mind(self, step: Step, norm: float, sums: Mapping[str, float]) -> None:
        """Count updates that were skipped; UserError names their utterances after ten in a row."""
        finite = norm < float("inf") and all(abs(value) < float("inf") for value in sums.values())
        falling = (
            self._scaler.is_enabled() and self._scaler.get_scale() > SMALLEST_SCALE
        )  # as it should at first
        if finite or (falling and abs(sums["loss"]) < float("inf")):
            self._lost.clear()
            return
        self.skipped += 1
        self._lost.append(tuple(i for batch in step.batches for i in batch.suspects()))
        if self.ranks.first:
            self.warn(
                f"Update {self.position.update + 1} was skipped: its loss or gradient is not finite."
            )
        if len(self._lost) >= PATIENCE:
            found = self.ranks.everyone([name for names in self._lost for name in names])
            ids = list(dict.fromkeys(name for names in found for name in names))  # type: ignore[attr-defined]
            more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
            raise UserError(
                f"{PATIENCE} updates in a row were not finite, so the run stops. Their utterances: "
                f"{', '.join(ids[:NAMED])}{more}. Look at those, or lower --peak-lr."
            )

    def _choose_learning(self, update: int) -> None:
        """Switch parameters on and off where the task says so; DDP must be told anew."""
        learning = self.task.learning(self.network, update)
        if learning == self._learning:
            return
        self._learning = learning
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in learning)
            if name not in learning:
                parameter.grad = None
        if self.ranks.world > 1:
            device_ids = [self.ranks.device] if self.ranks.device.type == "cuda" else None
            # LayerDrop leaves whole blocks without a gradient, the same ones on every rank.
            self._running = DistributedDataParallel(
                self.network, device_ids=device_ids, find_unused_parameters=True
            )

    def _number(self, i: int) -> int:
        """The number of this rank's i-th micro-batch of the update, counted over the whole run and all ranks."""
        return (
            self.position.update * self.stream.per_update + i * self.ranks.world + self.ranks.rank
        )

    def _seed(self, *parts: object) -> int:
        text = "/".join(map(str, (self.config.seed, *parts)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def _draws(self, i: int) -> Draws:
        number, update = self._number(i), self.position.update
        blocks, layer_drop = self.task.blocks
        shared = torch.Generator().manual_seed(
            self._seed("blocks", update)
        )  # the same on every rank
        return Draws(
            update,
            torch.Generator().manual_seed(self._seed("host", number)),
            torch.Generator(self.ranks.device).manual_seed(self._seed("device", number)),
            draw_kept(blocks, layer_drop, shared) if layer_drop else None,
        )

    def _validate(self) -> dict[str, float]:
        self.network.eval()
        scores = self.task.validate(self.network, self.ranks)
        self.network.train()
        if scores[self.task.judged_by] < self.best:
            self.best = scores[self.task.judged_by]
            if self.ranks.first:
                self._keeping(
                    lambda: self.task.save_best(self.network, self.folder / "best.safetensors")
                )
        return scores

    def _save(self) -> None:
        if not self.ranks.first:
            return
        state = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "position": asdict(self.position),
            "best": self.best,
            "skipped": self.skipped,
            "per_update": self.stream.per_update,
            "world": self.ranks.world,
        }
        self._keeping(lambda: self._states.save(state, self.position.update))

    def _keeping(self, write: Callable[[], object]) -> None:
        """Write to disk; a full one is told and tried again next time, the run goes on."""
        try:
            write()
        except OSError as error:
            if self.position.update >= self.config.schedule.updates:
                raise
            self.warn(
                f"Update {self.position.update} could not be saved ({error.strerror}); what was saved before stays."
            )

    def _restore(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.ranks.first:
            self._states.tidy()
        self.ranks.wait()
        state = self._states.load(self.warn if self.ranks.first else lambda sentence: None)
        self.network.train()
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.position = Position(**state["position"])
        self.best, self.skipped = state["best"], state["skipped"]
        if self.ranks.first and state["per_update"] != self.stream.per_update:
            self.warn(
                f"This run went {state['per_update']} micro-batches an update and goes on with {self.stream.per_update}: the "
                "data left in the epoch comes in the same order, but other batches make an update, and the masks differ."
            )

    def _tell(
        self, metrics: dict[str, float], log: MetricLog | nullcontext[None], pace: Pace
    ) -> None:
        if not self.ranks.first:
            return
        per_second = pace.seconds_per_update
        amount = metrics.pop("amount")
        told = self.task.told(self.position.amount, amount / per_second if per_second else 0.0)
        line = {
            "update": self.position.update,
            "epoch": self.position.epoch,
            "time": time.time(),
            **metrics,
            **told,
        }
        if isinstance(log, MetricLog):
            log.write({k: v if abs(v) < float("inf") else None for k, v in line.items()})
        warning = self.task.watch(line)
        if warning is not None and warning[0] not in self._warned:
            self._warned.add(warning[0])
            self.warn(warning[1])
        self.report(line, pace)
