"""One run from its folder to its end: settings compared, folder locked, the loop run.

A run's folder holds `run.json` (its settings), `log.jsonl`, `state-UPDATE-HASH.pt` (what it
continues from), `best.safetensors` (the best checkpoint) and, after fine-tuning,
`vocabulary.json`. It counts from its first update: what a call that failed before it has left
decides nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from models.context_network import ContextNetwork
from storage.json_text import parsed
from storage.whole import write_whole
from w2v2cli.data.locations import BEST
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.devices import DTYPES, Precision, chosen_precision
from w2v2cli.training.checkpoints import StateFolder
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import Config, RunConfig, flattened
from w2v2cli.training.loop import Loop, Outcome
from w2v2cli.training.metrics import LOG, Progress, weights_and_biases
from w2v2cli.training.optimization import exact_float32, keep_freed_memory
from w2v2cli.training.tasks.protocol import BatchT, DrawnT, Stream, Task

SETTINGS = "run.json"
PARTS = "parts"  # of the settings: what the run trains on and begins with
# How a sentence names a part of a run.
KINDS = {
    "corpora": "trained on",
    "validation": "validated on",
    "start": "begun from",
    "vocabulary": "whose symbols were",
    "language_model": "validated with the language model",
}
# What flock says on file systems without locks.
UNLOCKABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
RunIdentity = Mapping[str, Mapping[str, str]]  # what `runs.identity` describes, by part
UNCOMPARED = "the same call then continues the run, without comparing settings"
# A continued run may change these: they say how it runs, not what it computes.
FREE = {
    "accumulate",
    "batch_seconds",
    "batch_words",
    "compile",
    "keep",
    "loader_workers",
    "parallel",
    "patience",
    "recompute",
    "save_every",
    "search_while_frozen",
    "total_batch_hours",
    "validate_every",
}
# Settings that older runs did not write down, with the values they had.
LATER: dict[str, object] = {
    "alphabet": "auto",
    "normalizer": "auto",
    "case": "auto",
    "language": "",
    "adapters_only": False,
    "architecture": [],
    "gradient_exchange": "fp32",
    "augment": {"room": 0.0, "noise": 0.0, "telephone": 0.0, "gain": 0.0},
}
LATER_INSIDE: dict[str, dict[str, object]] = {
    "schedule": {"decay": "linear"},
    "objective": {
        "batch_distractors": 0,
        "distractors_anywhere": False,
        "edge_steps": 0,
        "gumbel_noise": True,
        "target_gradient": True,
    },
    "mask": {"time_lengths": "fixed", "time_spread": 0.0, "time_overlap": True},
}


def _ignored(_: object) -> None:
    pass


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Callbacks:
    """What a run calls while it lasts; each does nothing by default."""

    on_progress: Callable[[Progress], None] = _ignored
    """Called after every update, on the first rank."""
    warn: Callable[[str], None] = _ignored
    """Called with a sentence about something the user should look at."""
    note: Callable[[str], None] = _ignored
    """Called with a sentence about the data, the batches or the order of runs."""
    wandb: bool = False
    """Whether the metrics of each update also go to Weights & Biases."""

    @contextmanager
    def tracking(
        self, folder: Path, config: RunConfig, first: bool
    ) -> Iterator[Callable[[Progress], None]]:
        """Return what is called after an update; `first`: whether this process reports."""
        if not (self.wandb and first):
            yield self.on_progress
            return
        with weights_and_biases(folder, asdict(config)) as log:

            def on_progress(progress: Progress) -> None:
                log(progress.metrics)
                self.on_progress(progress)

            yield on_progress


def train(
    network: nn.Module,
    task: Task[BatchT, DrawnT],
    config: RunConfig,
    stream: Stream[BatchT],
    folder: Path,
    collectives: Collectives,
    callbacks: Callbacks,
    tensorboard: bool = False,
    parts: RunIdentity | None = None,
    keep: Callable[[], None] = _nothing,
) -> Outcome:
    """Train in `folder`, continuing the run it holds.

    parts: what the run trains on and begins with. Only the first rank looks into the folder.
    keep: writes what the folder keeps beside the settings, once it is locked and they agree.

    Raises UsageError when it holds a run with other settings or parts, UserError when another
    process trains in it or its files are damaged.
    """

    def check() -> None:
        sentence = check_settings(folder, config, parts)
        if sentence is not None:
            callbacks.warn(sentence)
        keep()

    with ExitStack() as held:
        collectives.from_first(lambda: held.enter_context(locked(folder, callbacks.warn)))
        collectives.from_first(check)
        for module in network.modules():
            if isinstance(module, ContextNetwork):
                module.recompute = config.recompute
        if collectives.device.type == "cuda":
            exact_float32()
        else:
            keep_freed_memory()
        on_progress = collectives.after_first(
            lambda: held.enter_context(callbacks.tracking(folder, config, collectives.first))
        )
        loop = Loop(
            network=network.to(collectives.device),
            task=task,
            config=config,
            stream=stream,
            collectives=collectives,
            folder=folder,
            on_progress=on_progress,
            warn=callbacks.warn,
            note=callbacks.note,
            tensorboard=tensorboard,
        )
        return loop.run()


def make_folder(folder: Path) -> None:
    """Make the folder of a run. Raises UserError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be the folder of a run ({error.strerror}): name another by -o."
        ) from None


def settled(
    config: Config, folder: Path, collectives: Collectives, note: Callable[[str], None]
) -> Config:
    """Return a configuration in which `auto` has become a precision, and note which.

    A run keeps the precision that it began with; a new one takes `chosen_precision`'s for the
    device of the first rank, on all ranks. Raises UserError where the settings are damaged.
    """

    def chosen() -> tuple[Precision, str]:
        before = (_kept_settings(folder) or {}).get("precision")
        if before in DTYPES:
            return cast(Precision, before), " (auto; this run began with it)"
        found = chosen_precision(collectives.device)
        return found, f" (auto, on {collectives.device})"

    precision, reason = config.precision, ""
    if config.precision == "auto":
        precision, reason = collectives.from_first(chosen)
    if collectives.first:
        note(f"Precision: {precision}{reason}.")
    return replace(config, precision=precision)


def holds_run(folder: Path) -> bool:
    """Whether a run in a folder has had an update, so that what the folder holds belongs to it."""
    log = folder / LOG
    if (folder / BEST).exists() or (log.exists() and log.stat().st_size > 0):
        return True
    return bool(StateFolder(folder).found())


def _kept_settings(folder: Path) -> dict[str, Any] | None:
    """Return what a run wrote into `run.json`. Raises UserError for a damaged file."""
    path = folder / SETTINGS
    if not path.exists() or not holds_run(folder):
        return None
    return read_json(path, ["kind"], UNCOMPARED)


def check_settings(folder: Path, config: RunConfig, parts: RunIdentity | None = None) -> str | None:
    """Compare a configuration and the parts of a run with those the folder's first call kept there.

    They are kept where no run has had an update yet. A run may be given more updates than it had:
    then a sentence that says so is returned. Raises UsageError where a setting or part that changes
    results differs, UserError where the file is damaged.
    """
    path = folder / SETTINGS
    settings = json.loads(json.dumps({"kind": type(config).__name__, **asdict(config)}))
    kept = {**settings, PARTS: dict(parts or {})}
    found = _kept_settings(folder)
    if found is None:
        write_whole(path, json.dumps(kept, indent=2) + "\n")
        return None
    before = _with_later({**LATER, **found})
    kept[PARTS] = {**kept[PARTS], **before.get(PARTS, {})}
    updates = before.get("schedule", {}).get("updates", math.inf)
    extended = settings["schedule"]["updates"] > updates
    if extended:
        before["schedule"]["updates"] = settings["schedule"]["updates"]
    was, now = dict(flattened(before)), dict(flattened(settings))
    other = [name for name in now if name not in FREE and now[name] != was.get(name)]
    if other:
        shown = [f"{name} was {was.get(name)} and is {now[name]}" for name in other[:3]]
        if len(other) > 3:
            shown.append(f"and {len(other) - 3} more")
        raise UsageError(
            f"{folder} holds a run with other settings: {'; '.join(shown)}. "
            "Name another folder by -o."
        )
    for name, part in (parts or {}).items():
        _refuse_other(folder, name, kept[PARTS][name], part)
    if extended or kept[PARTS] != before.get(PARTS):
        same = {name: before.get(name, value) for name, value in settings.items()}
        write_whole(path, json.dumps({**same, PARTS: kept[PARTS]}, indent=2) + "\n")
    if not extended:
        return None
    return (
        f"This run was made for {updates} updates and goes on to {settings['schedule']['updates']}:"
        " from here on its learning rate is that of the longer schedule."
    )


def _refuse_other(
    folder: Path, name: str, before: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Raise UsageError where a part of a run has another content."""
    if before["digest"] == now["digest"] and (now["digest"] or before["name"] == now["name"]):
        return
    shown = [f"{p['name']} ({p['what']})" if p["what"] else p["name"] for p in (before, now)]
    changed = "; its content has changed" if shown[0] == shown[1] else ""
    raise UsageError(
        f"{folder} holds a run {KINDS.get(name, f'whose {name} was')} {shown[0]}, and this call "
        f"names {shown[1]}{changed}. Name another folder by -o."
    )


def _with_later(settings: dict[str, Any]) -> dict[str, Any]:
    """Add, inside of settings, those that older runs did not write down."""
    return {
        name: {**LATER_INSIDE.get(name, {}), **_with_later(value)}
        if isinstance(value, dict)
        else value
        for name, value in settings.items()
    }


def read_json(path: Path, keys: Collection[str], consequence: str) -> dict[str, Any]:
    """Return the JSON object in a file of a run, which has at least `keys`.

    Raises UserError for a damaged file; it says that deleting it has `consequence`.
    """
    try:
        content = parsed(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise UserError(f"{path} is empty or damaged. Delete it: {consequence}.")
    return content


@contextmanager
def locked(folder: Path, warn: Callable[[str], None] = _ignored) -> Iterator[None]:
    """Make a folder and hold its lock, which ends with the process however that ends.

    Some file systems of clusters have no locks: then a sentence asks the user to take care. Raises
    UserError where another process holds it.
    """
    make_folder(folder)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another process is training in {folder}: wait for it, or name another folder."
            ) from None
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                raise
            warn(
                f"The file system of {folder} has no locks ({error.strerror}): see to it that no "
                "other process trains there."
            )
        yield
