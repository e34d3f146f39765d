"""`w2v2 finetune`: CTC training, from a pretrained checkpoint or from random weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import training as t
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from lm.text.vocabulary import Vocabulary
    from w2v2cli.data.recordings import Recordings
    from w2v2cli.recognition.searching.spec import Searches
    from w2v2cli.training.collectives import Ranks
    from w2v2cli.training.config import FinetuneConfig
    from w2v2cli.training.loop import Outcome
    from w2v2cli.training.tasks.finetuning import Start

SHOWN = ("loss", "learning_rate", "gradient_norm", "audio_seconds_per_second")


def finetune(
    corpora: Annotated[
        list[str] | None,
        typer.Argument(
            help="Corpora by name or path; CORPUS@8 is read eight times an epoch.",
            metavar="CORPUS...",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the run; an existing one is continued."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Checkpoint to start from, or base-config, demo-config, ... for random weights."
        ),
    ] = "demo-config",
    recipe: Annotated[
        str, typer.Option(help="base-10m, paper-large-100h, timit, demo, ...: see the README.")
    ] = "demo",
    valid: Annotated[
        str | None,
        typer.Option(
            help="Corpus to validate on; else the dev part of those trained on, by their ids."
        ),
    ] = None,
    lm: Annotated[
        str,
        typer.Option(
            help="Validate with this language model too (4gram or a path): beam 50, weights 2 and -1."
        ),
    ] = "none",
    lexicon: Annotated[Path | None, typer.Option(help="Its spellings.")] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="Runs from this many seeds, the best by validation is kept (paper: 3).", min=1
        ),
    ] = 1,
    peak_lr: Annotated[
        list[float] | None,
        typer.Option(help="In place of the recipe's; several are tried (paper: 2e-5 and 3e-5)."),
    ] = None,
    shards: t.Shards = None,
    data: t.Data = None,
    updates: t.Updates = None,
    seed: t.Seed = None,
    settings: t.Set = None,
    batch_seconds: t.BatchSeconds = None,
    total_batch_hours: t.TotalBatchHours = None,
    accumulate: t.Accumulate = None,
    loader_workers: t.LoaderWorkers = None,
    precision: t.Precision = None,
    device: t.Device = "auto",
    compiled: t.Compile = None,
    recompute: t.Recompute = None,
    log_every: t.LogEvery = 50,
    tensorboard: t.Tensorboard = False,
    dry_run: t.DryRun = False,
    speed: t.Speed = 1180.0,
) -> None:
    """Train a network to transcribe; the best by validation WER is OUTPUT/best.safetensors.

    Utterances whose id falls to dev or test (a fixed rule, see the README) are never trained on, but for corpora with
    splits of their own. Stopped at any moment (also by SIGTERM or SIGUSR1), the same call goes on where it was. On several
    GPUs: `torchrun --nproc-per-node 8 --no-python w2v2 finetune ...`.
    """
    with exits():
        from w2v2cli.training.config import Changes, changed
        from w2v2cli.training.recipes import FINETUNING

        if recipe not in FINETUNING:
            raise UsageError(f"--recipe takes {', '.join(FINETUNING)}; got {recipe!r}.")
        others = t.run_options(
            seed,
            batch_seconds,
            total_batch_hours,
            accumulate,
            loader_workers,
            precision,
            compiled,
            recompute,
        )
        rates: Sequence[float | None] = peak_lr or [None]
        configs = [
            changed(FINETUNING[recipe](), Changes(updates, rate, tuple(settings or ()), others))
            for rate in rates
        ]
        if dry_run:
            _plan(configs[0], corpora or [], shards, model, data, speed)
            return
        if not (corpora or shards) or output is None:
            raise UsageError(
                "Name the corpora to train on, and by -o the folder of the run (or --dry-run)."
            )
        runs = [replace(config, seed=config.seed + i) for config in configs for i in range(seeds)]
        job = _Job(
            corpora or [],
            shards,
            output,
            model,
            recipe,
            valid,
            lm,
            lexicon,
            data,
            device,
            log_every,
            tensorboard,
        )
        job.run(runs)


def _plan(
    config: FinetuneConfig,
    corpora: list[str],
    shards: str | None,
    model: str,
    data: Path | None,
    speed: float,
) -> None:
    import os

    from w2v2cli.data.dataset import labelled
    from w2v2cli.training.output_symbols import vocabulary_of
    from w2v2cli.training.tasks.finetuning import build, regularised

    start = read_start(model)
    train = None
    texts: Sequence[str | None] = ()
    if corpora or shards:
        source, _ = sources(corpora, shards, None, data, config.units == "phones")
        texts = source.texts
    symbols = config.pieces + 1
    if texts or config.units != "pieces":
        vocabulary = vocabulary_of(config, texts)
        symbols = len(vocabulary.symbols)
        if texts:
            train, _ = labelled(source, vocabulary.transcript_ids, start.config, max(config.speeds))
    network = build(start, config, symbols)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    t.print_plan(config, network, regularised(start.config, config), train, world, speed)


@dataclass(frozen=True)
class _Job:
    """A call of the command: what stays the same over all its runs."""

    corpora: list[str]
    shards: str | None
    output: Path
    model: str
    recipe: str
    valid: str | None
    lm: str
    lexicon: Path | None
    data: Path | None
    device: str
    log_every: int
    tensorboard: bool

    def run(self, configs: Sequence[FinetuneConfig]) -> None:
        """Carry out one run, or several and keep the best."""
        from w2v2cli.recognition.devices import resolve_device
        from w2v2cli.training.collectives import joined

        with joined(resolve_device(self.device)) as ranks:
            phones = configs[0].units == "phones"
            train, valid = sources(self.corpora, self.shards, self.valid, self.data, phones)
            outcomes: list[tuple[FinetuneConfig, Path, Outcome]] = []
            for config in configs:
                folder = self.output
                if len(configs) > 1:
                    folder = self.output / f"lr{config.schedule.peak:g}-seed{config.seed}"
                    if ranks.first:
                        say(f"Run {len(outcomes) + 1} of {len(configs)}: {folder.name}")
                outcome = self._run(config, folder, train, valid, ranks)
                outcomes.append((config, folder, outcome))
                t.tell_outcome(outcome, folder, ranks)
                if not outcome.finished:
                    return
            if len(configs) > 1 and ranks.first:
                _select(outcomes, self.output)

    def _run(
        self,
        config: FinetuneConfig,
        folder: Path,
        train: Recordings,
        valid: Recordings,
        ranks: Ranks,
    ) -> Outcome:
        from w2v2cli.data.dataset import labelled
        from w2v2cli.training.output_symbols import keep_vocabulary, vocabulary_of
        from w2v2cli.training.run_folder import stream_of
        from w2v2cli.training.run_folder import train as fit
        from w2v2cli.training.tasks.finetuning import Finetuning, build

        start = read_start(self.model)
        vocabulary = vocabulary_of(config, train.texts, folder)
        if ranks.first:
            keep_vocabulary(vocabulary, folder)
        learned, bad = labelled(train, vocabulary.transcript_ids, start.config, max(config.speeds))
        held_out, worse = labelled(valid, vocabulary.transcript_ids, start.config)
        t.tell_left_out([*bad, *worse], ranks)
        for what, kept in (("train", learned), ("validate", held_out)):
            if not len(kept):
                raise UserError(
                    f"No utterance is left to {what} on: all were left out for the reasons above."
                )
        if ranks.first:
            say(
                f"Fine-tuning on {len(learned)} utterances, {learned.hours:.2f} h, validating on {len(held_out)}."
            )
            say(f"Batch: {t.batch_described(config, ranks.world, learned)}.")
        metadata = {
            "recipe": self.recipe, "corpora": [self.shards] if self.shards else self.corpora,
            "started_from": self.model, "seed": config.seed,
        }  # fmt: skip
        with (
            searching(self.lm, self.lexicon, self.model, vocabulary) as pool,
            t.telling(ranks, self.log_every, config.schedule.updates, SHOWN) as telling,
        ):
            task = Finetuning(config, start, vocabulary, held_out, pool, metadata)
            network = build(start, config, len(vocabulary.symbols))
            stream = stream_of(config, learned, ranks)
            return fit(network, task, config, stream, folder, ranks, telling, self.tensorboard)


def _select(outcomes: Sequence[tuple[FinetuneConfig, Path, Outcome]], output: Path) -> None:
    """The paper's selection: the run with the lowest WER on the validation set is kept (§4.3)."""
    import shutil

    ranked = sorted(outcomes, key=lambda item: item[2].best)
    typer.echo("peak rate  seed  validation WER")
    for config, _, outcome in ranked:
        typer.echo(f"{config.schedule.peak:<9g}  {config.seed:<4}  {outcome.best:.2%}")
    shutil.copyfile(ranked[0][1] / "best.safetensors", output / "best.safetensors")
    say(f"The best of them is {output / 'best.safetensors'}.")


def sources(
    corpora: Sequence[str],
    shards: str | None,
    valid: str | None,
    data: Path | None,
    phones: bool = False,
) -> tuple[Recordings, Recordings]:
    """What is trained on and what is validated on.

    With `valid` named, all of the corpora but what is in it. Corpora known by name have splits of their own: LibriSpeech's
    and Libri-light's are validated on dev-other (paper §4.3), TIMIT's on its dev speakers. Else the ids decide, by `split_of`.
    """
    from w2v2cli.data.corpora.catalogue import TRAINING_NAMES
    from w2v2cli.data.corpora.held_out import split_of
    from w2v2cli.data.recordings import Selected

    every = t.read_source(corpora, shards, data, phones)
    names = {name.rpartition("@")[0] or name for name in corpora}
    if valid is None and names and names <= set(TRAINING_NAMES):
        valid = "timit-dev" if all(name.startswith("timit") for name in names) else "dev-other"
    if valid is not None:
        held_out = t.read_source([valid], None, data, phones)
        known = set(held_out.ids)
        return Selected(
            every, [i for i, name in enumerate(every.ids) if name not in known]
        ), held_out
    dev = {
        name: i for i, name in enumerate(every.ids) if split_of(name) == "dev"
    }  # each once, however often it is read
    learned = [i for i, name in enumerate(every.ids) if split_of(name) == "train"]
    return Selected(every, learned), Selected(every, list(dev.values()))


@contextmanager
def searching(
    lm: str, lexicon: Path | None, model: str, vocabulary: Vocabulary
) -> Iterator[Searches | None]:
    """Search processes with the paper's settings for validation (§4.3: beam 50, weights 2 and -1); None without `lm`."""
    if lm == "none":
        yield None
        return
    from lm.decoding import BeamOptions, DecodingWeights
    from w2v2cli.data.locations import resolve_lm, resolve_model
    from w2v2cli.recognition.recognizer import open_search
    from w2v2cli.recognition.resolving import RecognitionOptions

    location = resolve_model("demo" if model.endswith("-config") else model)
    # On the CPU: the GPUs are busy with the training.
    options = RecognitionOptions(
        location,
        resolve_lm(lm, location, lexicon),
        DecodingWeights(2.0, -1.0),
        BeamOptions(50),
        device="cpu",
    )
    with open_search(
        options, vocabulary.symbols, vocabulary.metadata, lambda told: say(f"Warning: {told}")
    ) as pool:
        yield pool


def read_start(name: str) -> Start:
    """Random weights of a preset (`base-config`), or a checkpoint. UserError for one that cannot be read."""
    from models.config import PRESETS
    from models.importers.reader import read_model
    from w2v2cli.data.locations import resolve_model
    from w2v2cli.training.tasks.finetuning import Start

    preset = name.removesuffix("-config")
    if name.endswith("-config") and preset in PRESETS:
        return Start(PRESETS[preset](), None)
    try:
        checkpoint = read_model(resolve_model(name).path)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Start(checkpoint.config, checkpoint.weights)
