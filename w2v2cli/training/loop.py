"""The training loop, the only one: batches in, updates out, validated, logged, restartable.

Everything random in an update is drawn from (seed, number of the micro-batch) or (seed, update),
never from a generator that lives on (`updates/drawing.py`). So a run that is killed and started
again, or spread over other ranks, draws the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from models.masking import sent
from w2v2cli.data.locations import BEST
from w2v2cli.errors import UserError, ran_out_of_memory
from w2v2cli.recognition.devices import dtype_named
from w2v2cli.training.checkpoints import Position, StateFolder, StateWriter
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import AudioRunConfig, RunConfig
from w2v2cli.training.metrics import MetricLog, Progress
from w2v2cli.training.optimization import build_optimizer, compile_blocks, peak_memory
from w2v2cli.training.pace import Pace
from w2v2cli.training.signals import StopNotice, stop_notice
from w2v2cli.training.tasks.protocol import BatchT, DrawnT, Step, Stream, Task
from w2v2cli.training.updates.drawing import Drawing, Drawn
from w2v2cli.training.updates.sharing import sharing

PATIENCE = 10  # updates in a row that may be skipped because something is not finite
# Smallest loss scale of float16 (R); below it, the scale is not what makes gradients infinite.
SMALLEST_SCALE = 1e-4
NAMED = 20  # utterances that an error or a note lists before it only counts
MANY = 0.01  # share of unreadable recordings that is worth a warning


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: bool
    """Whether the run came to its end, that of its schedule or of its patience; otherwise a signal
    stopped it."""
    signal: str | None
    update: int
    best: float
    """Lowest value of the metric the task is judged by; infinity before the first validation."""


@dataclass(frozen=True)
class Queued(Generic[BatchT]):
    """An update whose work the device has been given; what came of it is still to be read."""

    step: Step[BatchT]
    after: Position
    """Position after it, but for the amount of data."""
    rate: float
    waited: float
    """Seconds that the loop waited for its batches."""
    sums: tuple[str, ...]
    """Names of the sums that follow the fixed numbers."""
    read: Callable[[], list[float]]
    """Wait for the device, and return the numbers of `Loop._update`."""


@dataclass
class Loop(Generic[BatchT, DrawnT]):
    """One run of a network, which it changes in place."""

    network: nn.Module
    task: Task[BatchT, DrawnT]
    config: RunConfig
    stream: Stream[BatchT]
    collectives: Collectives
    folder: Path
    on_progress: Callable[[Progress], None]
    """Called after every update, on the first rank."""
    warn: Callable[[str], None]
    note: Callable[[str], None]
    tensorboard: bool = False
    lag: bool | None = None
    """Whether an update is read, logged and reported only once the next one is queued, so that the
    device never waits for it; None: on a GPU. Validations and saved states wait for all of it."""
    ahead: bool | None = None
    """Whether a thread reads and draws each update while the one before runs; None: on a GPU. A CPU
    has no core to spare for it."""

    def __post_init__(self) -> None:
        on_gpu = self.collectives.device.type == "cuda"
        self.lag = on_gpu if self.lag is None else self.lag
        self.ahead = on_gpu if self.ahead is None else self.ahead
        self.position = Position()
        self.best = math.inf
        self.skipped = 0
        self._waited = 0  # validations since the best one
        self._lost: list[tuple[str, ...]] = []  # utterances of the updates skipped in a row
        self._states = StateFolder(self.folder, self.config.keep)
        self._writer = StateWriter(self._states)
        self._sharing = sharing(self.network, self.config, self.collectives)
        self._optimizer = build_optimizer(self.network, self.config)
        fp16 = self.config.precision == "fp16"
        self._scaler = GradScaler(self.collectives.device.type, enabled=fp16)
        self._learning: set[str] = set()
        self._warned: set[str] = set()
        self._unreadable: dict[str, None] = {}  # a sentence for each recording left out

    def run(self) -> Outcome:
        """Train from the state in the folder until the schedule ends or a signal comes."""
        with stop_notice() as notice:
            self._restore()
            if self.config.compile:
                compile_blocks(self.network)
            try:
                self._train(notice)
            finally:
                self._finish_state()
                self._count_unreadable()
            stopped_by = self._stopped_by(notice)
        finished = self._over or self.position.update >= self.config.schedule.updates
        return Outcome(finished, stopped_by, self.position.update, self.best)

    @property
    def _over(self) -> bool:
        """Whether the run's patience is at its end."""
        return 0 < self.config.patience <= self._waited

    def _train(self, notice: StopNotice) -> None:
        updates = self.config.schedule.updates
        pace = Pace(
            self.position.update,
            updates,
            validate_every=self.config.validate_every,
            save_every=self.config.save_every,
            phases=self.task.phases,
            validation=self.task.validation_work,
        )
        log = self.collectives.after_first(self._log)
        before: Queued[BatchT] | None = None  # not read yet
        with (
            log,
            closing(self.stream.steps(self.position)) as steps,
            closing(
                self.drawing.updates(
                    steps, self.position.update, self._memory_errors, ahead=bool(self.ahead)
                )
            ) as drawing,
        ):
            while self.position.update < updates and not self._over:
                drawn = next(drawing)
                with self._memory_errors(drawn.step):
                    queued = self._update(drawn, notice)
                stop = before is not None and self._settle(before, log, pace)
                before = queued
                if not self.lag or stop or self._pauses:
                    stop = self._settle(queued, log, pace, stop)
                    before = None
                if stop:
                    break
        if self._over and self.collectives.first and self.position.update < updates:
            self.note(
                f"Stopped early, after update {self.position.update}: {self._waited} validations "
                f"in a row brought no better {self.task.judged_by} than {self.best:.4g}."
            )

    def _log(self) -> MetricLog | nullcontext[None]:
        if not self.collectives.first:
            return nullcontext()
        return MetricLog(self.folder, self.position.update, self.tensorboard)

    def _validate_if_due(self, metrics: dict[str, float], pace: Pace) -> None:
        """Validate where it is time, and add what is found to `metrics`."""
        if self._due(self.config.validate_every):
            with self._memory_errors(None):
                metrics |= self._validate()
            pace.validated()

    def _save_if_due(self, stop: bool, pace: Pace) -> None:
        """Save where it is time, after each validation, and before the run stops."""
        if stop or self._pauses:
            self._save()
            pace.saved()
        elif self._writer.ready:
            self._finish_state()

    @property
    def _pauses(self) -> bool:
        """Whether a validation or a state is due, which need all updates to be read."""
        return self._due(self.config.validate_every) or self._due(self.config.save_every)

    def _settle(
        self,
        queued: Queued[BatchT],
        log: MetricLog | nullcontext[None],
        pace: Pace,
        stop: bool = False,
    ) -> bool:
        """Read and report an update; validate and save if it is the last one queued.

        The log has an update before a state does: a killed run then lacks no line, and lines after
        its state are dropped. Returns whether to stop: as `stop`, or if a rank was asked to when
        the update began.
        """
        metrics, asked = self._read(queued)
        stop = stop or asked
        pace.updated(queued.after.update, metrics["amount"])
        last = queued.after.update == self.position.update
        if last:
            self._validate_if_due(metrics, pace)
        self._report(queued.after, metrics, log, pace)
        if last:
            self._save_if_due(stop, pace)
        return stop

    @contextmanager
    def _memory_errors(self, step: Step[BatchT] | None) -> Iterator[None]:
        """Raise UserError for memory that ran out in an update, or in a validation without one."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            work = "a validation"
            if step is not None:
                largest = max(step.batches, key=lambda batch: batch.amount)
                work = f"an update whose largest micro-batch has {largest.described}"
            raise UserError(
                f"Memory ran out on {self.collectives.device} after update {self.position.update}, "
                f"in {work}. {self._memory_advice()}"
            ) from None

    def _memory_advice(self) -> str:
        if not isinstance(self.config, AudioRunConfig):
            return "Lower --batch-words, or take a smaller model."
        recompute = "" if self.config.recompute else ", give --recompute"
        return (
            f"Lower --batch-seconds (it was {self.config.batch_seconds:g}; an update accumulates "
            f"more of them){recompute}, or leave out the longest recordings."
        )

    def _stopped_by(self, notice: StopNotice) -> str | None:
        """Name what stopped the run, whichever rank it came to."""
        names = self.collectives.everyone(notice.name)
        return next((str(name) for name in names if name is not None), None)

    def _due(self, every: int) -> bool:
        update = self.position.update
        return update % every == 0 or update == self.config.schedule.updates

    @property
    def drawing(self) -> Drawing[BatchT, DrawnT]:
        """What draws masks, distractors and the like for each update."""
        return Drawing(self.task, self.config.seed, self.collectives, self.stream.per_update)

    def _update(self, drawn: Drawn[BatchT, DrawnT], notice: StopNotice) -> Queued[BatchT]:
        """Queue one update of the weights. Nothing in here waits for a GPU.

        What will be read: the common count, ranks asked to stop, amount of data, gradient norm and
        loss scale, then the sums.
        """
        update, prepared = self.position.update, drawn.prepared
        rate = self.config.schedule.rate(update)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._choose_learning(update)
        self._optimizer.zero_grad()
        # All ranks need the common count before the backward pass, since the loss is a mean over
        # it; a signal on any rank must stop all of them after the same update.
        amount = sum(batch.amount for batch in drawn.step.batches)
        mine = torch.tensor([sum(p.count for p in prepared), float(bool(notice)), amount])
        common = self.collectives.total_later(sent(mine, self.collectives.device))
        sums = self._backward(drawn, common)
        norm = self._step(sums["loss"])
        scale = self._scaler.scale(torch.ones_like(norm))
        values = torch.cat([common(), torch.stack([norm, scale, *sums.values()])])
        after = replace(drawn.step.after, update=update + 1, amount=self.position.amount)
        self.position = after
        read = self.collectives.fetched(values)
        return Queued(drawn.step, after, rate, drawn.waited, tuple(sums), read)

    def _read(self, queued: Queued[BatchT]) -> tuple[dict[str, float], bool]:
        """Wait for an update; return its metrics, and whether any rank was asked to stop."""
        count, stops, amount, norm, scale, *values = queued.read()
        sums = dict(zip(queued.sums, values, strict=True))
        self._count_if_skipped(queued, norm, scale, sums)
        self.position = replace(self.position, amount=self.position.amount + amount)
        metrics = {
            **self.task.summary(sums, count, queued.after.update - 1),
            "learning_rate": queued.rate,
            "gradient_norm": norm,
            "amount": amount,
            "skipped": float(self.skipped),
        }
        if self._scaler.is_enabled():
            metrics["loss_scale"] = scale
        metrics["memory_gb"] = peak_memory(self.collectives.device) / 1e9
        metrics["loader_wait"] = queued.waited
        for batch in queued.step.batches:
            self._tell_unreadable(batch.unreadable)
        return metrics, stops > 0

    def _tell_unreadable(self, sentences: Sequence[str]) -> None:
        """Name each recording that cannot be read once, and say when they are many."""
        for sentence in sentences:
            if sentence in self._unreadable:
                continue
            self._unreadable[sentence] = None
            if len(self._unreadable) <= NAMED:
                self.note(f"Left out: {sentence}")
            share = len(self._unreadable) / self.stream.recordings
            if share >= MANY and "unreadable" not in self._warned:
                self._warned.add("unreadable")
                self.warn(
                    f"{share:.1%} of the recordings cannot be read so far: "
                    "`w2v2 data scan CORPUS --decode` finds them all."
                )

    def _count_unreadable(self) -> None:
        """Say at the end how many recordings could not be read."""
        if count := len(self._unreadable):
            many = "1 recording that" if count == 1 else f"{count} recordings that"
            self.note(f"Left out: {many} could not be read.")

    def _backward(
        self, drawn: Drawn[BatchT, DrawnT], common: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Add the gradients of loss / count from all micro-batches; return sums over all ranks.

        common: returns the count over all ranks, as the first of its numbers on the device.
        """
        totals: dict[str, Tensor] = {}
        dtype = dtype_named(self.config.precision)
        drawing, last = self.drawing, len(drawn.prepared) - 1
        for i, (part, draw) in enumerate(zip(drawn.prepared, drawn.draws, strict=True)):
            # Dropout comes from torch's own generator.
            torch.manual_seed(drawing.seeded("dropout", drawing.number(draw.update, i)))
            with (
                self._sharing.exchanging(last=i == last),
                torch.autocast(self.collectives.device.type, dtype, enabled=dtype != torch.float32),
            ):
                loss, sums = self.task.loss(self._sharing.running, part, draw)
            for name, value in {"loss": loss.detach(), **sums}.items():
                totals[name] = (
                    totals.get(name, torch.zeros((), device=value.device)) + value.detach().float()
                )
            # Ranks take the mean of gradients; wanted is their sum divided by the count.
            share = self.collectives.world / common()[0]
            with self._sharing.exchanging(last=i == last):
                self._scaler.scale(loss * share).backward()
        summed = self.collectives.total(torch.stack(list(totals.values())))
        return dict(zip(totals, summed.unbind(), strict=True))

    def _step(self, loss: Tensor) -> Tensor:
        """Step the optimizer unless the loss or a gradient is not finite; return the norm.

        The device decides. The optimizer's kernels take the decision as a tensor, which GradScaler
        has them for; its own `step` knows nothing of the loss.
        """
        self._scaler.unscale_(self._optimizer)
        limit = self.config.clip_norm or math.inf
        learning = [p for p in self.network.parameters() if p.grad is not None]
        norm = self._sharing.whole_norm(nn.utils.clip_grad_norm_(learning, limit))
        skip = ~(loss.isfinite() & norm.isfinite())
        self._optimizer.grad_scale = None  # type: ignore[attr-defined]
        self._optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        self._optimizer.step()
        # It saw infinite gradients when it unscaled them, and lowers its scale.
        self._scaler.update()
        return norm

    def _count_if_skipped(
        self, queued: Queued[BatchT], norm: float, scale: float, sums: Mapping[str, float]
    ) -> None:
        """Count and report an update that `_step` skipped.

        Raises UserError with the names of the utterances after ten in a row. Norm and sums are the
        same on every rank, so all ranks decide alike and meet in `everyone`.
        """
        finite = norm < math.inf and all(abs(value) < math.inf for value in sums.values())
        # float16 begins with a scale that is too large and halves it at every overflow: infinite
        # gradients of a finite loss are part of that search until the scale is very small.
        searching = self._scaler.is_enabled() and scale > SMALLEST_SCALE
        if finite or (searching and abs(sums["loss"]) < math.inf):
            self._lost.clear()
            return
        self.skipped += 1
        # Names of this rank's suspects only: they are gathered if the run has to stop.
        self._lost.append(tuple(i for batch in queued.step.batches for i in batch.suspects()))
        if self.collectives.first:
            self.warn(
                f"Update {queued.after.update} was skipped: its loss or gradient is not finite."
            )
        if len(self._lost) >= PATIENCE:
            raise UserError(self._lost_described())

    def _lost_described(self) -> str:
        mine = tuple(name for names in self._lost for name in names)
        found = self.collectives.everyone(mine)
        ids = list(dict.fromkeys(name for names in found for name in names))  # type: ignore[attr-defined]
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        return (
            f"{PATIENCE} updates in a row were not finite, so the run stops. Their utterances: "
            f"{', '.join(ids[:NAMED])}{more}. Look at those, or lower --peak-lr."
        )

    def _choose_learning(self, update: int) -> None:
        """Switch parameters on and off as the task says."""
        learning = self.task.learning(self.network, update)
        if learning == self._learning:
            return
        self._learning = learning
        if update and learning != self.task.learning(self.network, update - 1):
            self._waited = 0  # what begins to learn is given time
        self._sharing.learn(learning, self.task.leaves_out(learning))

    def _validate(self) -> dict[str, float]:
        network = self._sharing.whole().eval()
        scores = self.task.validate(network, self.collectives)
        network.train()
        score = scores.get(self.task.judged_by, math.inf)
        self._waited += self.task.judged_by in scores
        if score < self.best:
            self.best, self._waited = score, 0
            if self.collectives.first:
                best = self.folder / BEST
                self._write(lambda: self.task.save_best(network, best), self.position.update)
        return scores

    def _save(self) -> None:
        """Begin to write the state, which goes on while the run does; one at a time."""
        shared = self._sharing.state(self._optimizer)
        if not self.collectives.first:
            return
        self._finish_state()
        state = {
            **shared,
            "scaler": self._scaler.state_dict(),
            "position": asdict(self.position),
            "best": self.best,
            "skipped": self.skipped,
            "waited": self._waited,
            "per_update": self.stream.per_update,
            "micro_batch": self.stream.micro_batch,
            "world": self.collectives.world,
        }
        self._writer.begin(state, self.position.update)

    def _finish_state(self) -> None:
        """Wait for the state that is being written, if there is one."""
        self._write(self._writer.finish, self._writer.update)

    def _write(self, write: Callable[[], object], update: int) -> None:
        """Write to disk; a full one is reported and tried again next time, and the run goes on."""
        try:
            write()
        except OSError as error:
            if update >= self.config.schedule.updates:
                raise  # there is no next time
            self.warn(
                f"Update {update} could not be saved ({error.strerror}); "
                "what was saved before stays."
            )

    def _restore(self) -> None:
        """Continue from the state that the first rank chooses; the others get it from there."""
        state = self.collectives.state_from_first(self._newest)
        self.network.train()
        if state is None:
            begin = self.collectives.state_from_first(self.network.state_dict)
        else:
            begin = state["network"]
        self.network.load_state_dict(begin)
        self._optimizer = self._sharing.begin(lambda: build_optimizer(self.network, self.config))
        if state is None:
            return
        self._sharing.load_moments(self._optimizer, state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.position = Position(**state["position"])
        self.best, self.skipped = state["best"], state["skipped"]
        self._waited = state.get("waited", 0)
        if self.collectives.first:
            update, updates = self.position.update, self.config.schedule.updates
            self.note(
                f"Continuing the run in {self.folder} after update {update} of {updates}."
                if update < updates
                else f"The run in {self.folder} has had all of its {updates} updates."
            )
        sentence = self._other_batches(state)
        if self.collectives.first and sentence is not None:
            self.warn(sentence)

    def _other_batches(self, state: Mapping[str, Any]) -> str | None:
        """The sentence on batches that are not those a state was made with, if they are not."""
        now = self.stream
        if state.get("micro_batch", now.micro_batch) != now.micro_batch:
            return (
                "This run goes on with micro-batches of another size: they divide the epoch anew, "
                "so it may have some data twice and some not, and the masks differ."
            )
        if state["per_update"] != now.per_update:
            return (
                f"This run went {state['per_update']} micro-batches an update and goes on with "
                f"{now.per_update}: the data left in the epoch comes in the same order, but other "
                "batches make an update, and the masks differ."
            )
        return None

    def _newest(self) -> dict[str, Any] | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._states.tidy()
        return self._states.load(self.warn)

    def _report(
        self,
        at: Position,
        metrics: dict[str, float],
        log: MetricLog | nullcontext[None],
        pace: Pace,
    ) -> None:
        """Log an update, check it for warnings, and call `on_progress`; on the first rank only."""
        if not self.collectives.first:
            return
        seconds = pace.seconds_per_update
        amount = metrics.pop("amount")
        line = {
            "update": at.update,
            "epoch": at.epoch,
            "time": time.time(),
            **metrics,
            **self.task.throughput(self.position.amount, amount / seconds if seconds else 0.0),
        }
        if isinstance(log, MetricLog):
            log.write({k: v if abs(v) < math.inf else None for k, v in line.items()})
        warning = self.task.watch(line)
        if warning is not None and warning[0] not in self._warned:
            self._warned.add(warning[0])
            self.warn(warning[1])
        self.on_progress(Progress(at.update, pace.updates, line, pace.seconds_left))
