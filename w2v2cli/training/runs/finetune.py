"""Fine-tuning as a job: names in, the best checkpoint of one run or of several out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lm.decoding import BeamOptions, DecodingWeights
from lm.text.vocabulary import ENGLISH, Vocabulary
from models.config import PRESETS
from models.importers.languages import languages_of
from models.importers.reader import read_model
from w2v2cli.console import counted
from w2v2cli.data.dataset import LeftOut, TrainingSet, budget_samples, labelled
from w2v2cli.data.hub import OnProgress
from w2v2cli.data.locations import ModelLocation, resolve_lm, resolve_model
from w2v2cli.data.recordings import Recordings
from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks, cores_of
from w2v2cli.recognition.devices import resolve_device
from w2v2cli.recognition.recognizer import open_search
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.searching.spec import Searches
from w2v2cli.training.architecture import designed, preset_of, refuse_pretraining_only
from w2v2cli.training.collectives import Collectives, joined
from w2v2cli.training.config import FinetuneConfig, changed
from w2v2cli.training.metrics import Progress
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.run_folder import (
    Callbacks,
    RunIdentity,
    holds_run,
    make_folder,
    settled,
    train,
)
from w2v2cli.training.runs.alphabet import alphabet_lines
from w2v2cli.training.runs.dry_run import DryRun, batch_description, dry_run
from w2v2cli.training.runs.identity import (
    language_model_part,
    recordings_part,
    start_part,
    vocabulary_part,
)
from w2v2cli.training.runs.result import RunResult, result_of
from w2v2cli.training.runs.selection import run_all
from w2v2cli.training.runs.sources import (
    Corpora,
    described,
    labelled_recordings,
    names_of,
    path_of,
    text_of,
)
from w2v2cli.training.runs.vocabulary import (
    keep_vocabulary,
    metadata_of,
    vocabulary_of,
)
from w2v2cli.training.stream import audio_stream
from w2v2cli.training.tasks.finetuning import (
    VALIDATION_BATCH_SECONDS,
    Finetuning,
    Start,
    build,
    regularised,
)
from w2v2cli.training.tasks.output_layer import rows_line


def finetune(
    corpora: Corpora = (),
    *,
    output: str | Path,
    model: str | Path = "demo-config",
    recipe: str = "demo",
    valid: str | Path | None = None,
    lm: str = "none",
    lexicon: str | Path | None = None,
    seeds: int = 1,
    peak_lr: float | Sequence[float] | None = None,
    shards: str | None = None,
    data: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    tensorboard: bool = False,
    wandb: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = warnings.warn,
    note: Callable[[str], None] = lambda sentence: None,
) -> RunResult:
    """Train a network to transcribe, by CTC (paper §3.3, §4.3).

    With several seeds or learning rates every combination is trained and the one with the lowest
    validation WER kept, as in the paper. For `corpora`, `shards`, `data`, `settings`, `device`, the
    callbacks and errors, and for stopping and torchrun, see `pretrain`.

    output: folder of the run. Its best checkpoint by validation WER is `best.safetensors`.
    model: checkpoint to start from, or `base-config`, `demo-config`, ... for random weights.
    recipe: a name in `recipes.FINETUNING`.
    valid: corpus to validate on; by default see `labelled_recordings`.
    lm, lexicon: language model to validate with (beam 50, weights 2 and -1, as the paper): a file,
        or `4gram` and `transformer`, which are LibriSpeech's where the transcripts are English.
    seeds: number of seeds to train from. peak_lr: peak learning rates in place of the recipe's.
    """
    rates: Sequence[float | None] = peak_lr if isinstance(peak_lr, Sequence) else [peak_lr]
    configs = [finetuning_config(recipe, settings or {}, rate) for rate in rates]
    names = names_of(corpora)
    if not names and not shards:
        raise UsageError("Name the corpora to train on, or shards.")
    place = resolve_device(device)
    runs = [replace(config, seed=config.seed + i) for config in configs for i in range(seeds)]
    if not runs:
        raise UsageError(f"--seeds must be at least 1, got {seeds}.")
    phones = runs[0].units == "phones"
    validation = _Validation(lm, path_of(lexicon))
    metadata = {"recipe": recipe, "corpora": [shards] if shards else names}
    callbacks = Callbacks(on_progress, warn, note, wandb)
    with joined(place) as collectives:
        sources = collectives.from_first(
            lambda: labelled_recordings(names, shards, text_of(valid), path_of(data), phones, note)
        )
        job = _Job(str(model), *sources, validation, metadata, tensorboard, text_of(valid))
        if len(runs) == 1:
            return job.run(runs[0], Path(output), collectives, callbacks)
        return run_all(job.run, runs, Path(output), collectives, callbacks)


def finetuning_dry_run(
    corpora: Corpora = (),
    *,
    model: str | Path = "demo-config",
    recipe: str = "demo",
    valid: str | Path | None = None,
    peak_lr: float | None = None,
    shards: str | None = None,
    data: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    speed: float | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> DryRun:
    """Describe what `finetune` would do; see there, and `dry_run` for `speed`."""
    config = finetuning_config(recipe, settings or {}, peak_lr)
    place = resolve_device(device)
    names = names_of(corpora)
    start = start_of(str(model), config)
    source = validated = learned = held_out = None
    if names or shards:
        phones, other = config.units == "phones", text_of(valid)
        source, validated = labelled_recordings(names, shards, other, path_of(data), phones, note)
        _refuse_none(source, [shards] if shards else names)
    symbols: int | Vocabulary = (
        config.pieces + 1
    )  # as many as word pieces will be, which need transcripts to learn
    if source is not None or config.units != "pieces":
        texts = source.texts if source is not None else ()
        vocabulary = vocabulary_of(config, texts, start=start.vocabulary)
        symbols = vocabulary
        if source is not None and validated is not None:
            (learned, left_out), (held_out, _) = _spelled(
                config, start, vocabulary, source, validated
            )
            if not len(learned):
                why = " ".join(described(left_out))
                raise UserError(f"No utterance is left to train on. {why}")
    with torch.device("cpu" if start.weights else "meta"):  # random weights need not be drawn
        network = build(start, config, symbols)
    model_config = regularised(start.config, config)
    return dry_run(config, network, model_config, learned, place, speed, held_out)


def finetuning_config(
    recipe: str, settings: Mapping[str, Any], peak_lr: float | None = None
) -> FinetuneConfig:
    """Return a recipe with some settings changed. Raises UsageError for names that do not exist."""
    if recipe not in FINETUNING:
        raise UsageError(f"--recipe takes {', '.join(FINETUNING)}; got {recipe!r}.")
    rate = {} if peak_lr is None else {"schedule.peak": peak_lr}
    return changed(FINETUNING[recipe](), {**rate, **settings})


def start_of(name: str, config: FinetuneConfig) -> Start:
    """Return what a run begins with, as `read_start`, its architecture changed as the run says.

    Raises UsageError for fields that a checkpoint fixes or that a fine-tuned network lacks.
    """
    refuse_pretraining_only(config.architecture)
    start = read_start(name, config.language)
    fixed_by = None if start.weights is None else name
    return replace(start, config=designed(start.config, config.architecture, fixed_by))


def read_start(name: str, language: str = "") -> Start:
    """Return the random weights of a preset (`base-config`), or a checkpoint.

    language: that of the transcripts. A model with an adapter for each language starts from its
    own, and one that lacks it from that of the main weights.

    Raises UserError for a checkpoint that cannot be read.
    """
    if (preset := preset_of(name)) is not None:
        return Start(PRESETS[preset](), None)
    try:
        location = resolve_model(name)
        known = languages_of(location.path) if location.path.is_dir() else []
        if language in known:
            location = resolve_model(name, language=language)
        checkpoint = read_model(location.path, location.language)
        vocabulary = None
        if checkpoint.labels is not None:
            vocabulary = Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata)
    except ValueError as error:
        raise UserError(str(error)) from error
    note = ""
    if known:
        own = checkpoint.metadata.get("language")
        note = f"{name} starts as it is for the language {own}"
        note += f": it has no adapter for {language}." if language not in (*known, "") else "."
    return Start(checkpoint.config, checkpoint.weights, vocabulary, note)


def _refuse_none(train: Recordings, corpora: Sequence[str]) -> None:
    if not train.ids:
        raise UserError(
            f"No utterance of {', '.join(corpora)} is left to train on: all are held out for "
            "validation. Name more corpora, or another one by --valid."
        )


def _spelled(
    config: FinetuneConfig,
    start: Start,
    vocabulary: Vocabulary,
    train: Recordings,
    valid: Recordings,
) -> tuple[tuple[TrainingSet, list[LeftOut]], tuple[TrainingSet, list[LeftOut]]]:
    """What a run trains on and validates on, each with what is left out."""
    spell, network = vocabulary.transcript_ids, start.config
    return (
        labelled(train, spell, network, max(config.speeds), longest(config)),
        labelled(valid, spell, network, longest=longest_validated(config)),
    )


def longest(config: FinetuneConfig) -> int:
    """Return the samples of the longest recording that fits a micro-batch at every speed."""
    return int(budget_samples(config.batch_seconds) * min(*config.speeds, 1.0))


def longest_validated(config: FinetuneConfig) -> int:
    """Return the samples of the longest recording that is validated on."""
    return budget_samples(max(config.batch_seconds, VALIDATION_BATCH_SECONDS))


@dataclass(frozen=True)
class _Validation:
    """The language model that validation searches with, `none` for the best path alone."""

    lm: str
    lexicon: Path | None

    @contextmanager
    def searches(
        self, model: str, vocabulary: Vocabulary, ranks: Ranks, callbacks: Callbacks
    ) -> Iterator[Searches | None]:
        """Open search processes with the paper's settings for validation (§4.3).

        The ranks of a machine divide its cores among them.
        """
        if self.lm == "none":
            yield None
            return
        # The alphabet of the run decides, not that of the model it starts from.
        demo = model in ("demo", "demo-config") and vocabulary.letters == ENGLISH
        location = ModelLocation(model, Path(model), "demo" if demo else None)
        fetch = _telling(callbacks.note if ranks.first else lambda sentence: None)
        options = RecognitionOptions(
            location,
            resolve_lm(self.lm, location, self.lexicon, fetch, vocabulary),
            DecodingWeights(2.0, -1.0),
            BeamOptions(50),
            device="cpu",  # the GPUs are busy with the training
            workers=cores_of(ranks),
        )
        warn = callbacks.warn if ranks.first else lambda sentence: None
        with open_search(options, vocabulary.symbols, vocabulary.metadata, warn) as pool:
            yield pool


def _telling(note: Callable[[str], None]) -> OnProgress:
    """Return a callback of downloads that names each file once."""
    begun: set[str] = set()

    def on_progress(file: str, done: int, total: int | None) -> None:
        if file not in begun:
            begun.add(file)
            note(f"Fetching {file}" + (f" ({total / 1e6:.1f} MB)." if total else "."))

    return on_progress


@dataclass(frozen=True)
class _Job:
    """What stays the same over all runs of a call."""

    model: str
    train: Recordings
    valid: Recordings
    validation: _Validation
    metadata: dict[str, Any]
    tensorboard: bool
    valid_name: str | None

    def run(
        self, config: FinetuneConfig, folder: Path, collectives: Collectives, callbacks: Callbacks
    ) -> RunResult:
        """Carry out one run in a folder."""
        _refuse_none(self.train, self.metadata["corpora"])
        start, vocabulary = self._beginning(config, folder, collectives)
        (learned, left_out), (held_out, also_left_out) = _spelled(
            config, start, vocabulary, self.train, self.valid
        )
        if collectives.first:
            for line in self._lines(start, vocabulary, [*left_out, *also_left_out]):
                callbacks.note(line)
            for line in _too_long(config, left_out):
                callbacks.note(line)
        self._refuse_nothing(learned, held_out)
        config = settled(config, folder, collectives, callbacks.note)
        if collectives.first:
            callbacks.note(
                f"Fine-tuning on {len(learned)} utterances, {learned.hours:.2f} h, "
                f"validating on {len(held_out)}."
            )
            callbacks.note(f"Batch: {batch_description(config, collectives.world, learned)}.")
            if 0 < config.schedule.updates <= config.head_only_updates:
                callbacks.warn(
                    "Only the output layer learns in this run: it has "
                    f"{config.schedule.updates} updates, and in the first "
                    f"{config.head_only_updates} the network keeps its weights. Change that by "
                    "--set head_only_updates=0, or another number."
                )
        metadata = {
            **self.metadata,
            **({"language": config.language} if config.language else {}),
            **metadata_of(vocabulary),
            "started_from": self.model,
            "seed": config.seed,
        }
        ranks = collectives.ranks
        with self.validation.searches(self.model, vocabulary, ranks, callbacks) as pool:
            task = Finetuning(config, start, vocabulary, held_out, pool, metadata)
            network = collectives.after_first(lambda: build(start, config, vocabulary))
            stream = audio_stream(config, learned, collectives)
            parts = collectives.from_first(lambda: self._parts(vocabulary))
            outcome = train(
                network,
                task,
                config,
                stream,
                folder,
                collectives,
                callbacks,
                self.tensorboard,
                parts,
                lambda: keep_vocabulary(vocabulary, folder),
            )
        return collectives.from_first(lambda: result_of(outcome, folder, task.judged_by))

    def _beginning(
        self, config: FinetuneConfig, folder: Path, collectives: Collectives
    ) -> tuple[Start, Vocabulary]:
        """Return what the run begins with; the weights only on the first rank, which reads them."""
        read: list[Start] = []

        def begin() -> tuple[Start, Vocabulary]:
            make_folder(folder)
            read.append(start_of(self.model, config))
            kept_in = folder if holds_run(folder) else None
            vocabulary = vocabulary_of(config, self.train.texts, kept_in, read[0].vocabulary)
            return replace(read[0], weights=None), vocabulary

        start, vocabulary = collectives.from_first(begin)
        return (read[0] if read else start), vocabulary

    def _parts(self, vocabulary: Vocabulary) -> RunIdentity:
        """What `run.json` keeps beside the settings."""
        names = " ".join(self.metadata["corpora"])
        lm, lexicon = self.validation.lm, self.validation.lexicon
        return {
            "corpora": recordings_part(names, self.train),
            "validation": recordings_part(self.valid_name or f"part of {names}", self.valid),
            "start": start_part(self.model),
            "vocabulary": vocabulary_part(vocabulary.symbols, metadata_of(vocabulary)),
            "language_model": language_model_part(lm, lexicon),
        }

    def _refuse_nothing(self, learned: TrainingSet, held_out: TrainingSet) -> None:
        """Raise UserError where no utterance is left to train or to validate on."""
        if not len(self.valid.ids):
            raise UserError(
                "No utterance is held out to validate on, since there are so few: name a corpus by "
                "--valid."
            )
        for what, kept in (("train", learned), ("validate", held_out)):
            if not len(kept):
                raise UserError(
                    f"No utterance is left to {what} on: all were left out for the reasons above."
                )

    def _lines(
        self, start: Start, vocabulary: Vocabulary, left_out: Sequence[LeftOut]
    ) -> Iterator[str]:
        """Yield lines about the alphabet, the output layer and what is not trained on."""
        if start.note:
            yield start.note
        yield from alphabet_lines(
            vocabulary,
            [*self.train.ids, *self.valid.ids],
            [*self.train.texts, *self.valid.texts],
        )
        if start.vocabulary is not None:
            line = rows_line(start.vocabulary, vocabulary, self.model)
            if line is not None:
                yield line
        yield from described(left_out)


def _too_long(config: FinetuneConfig, left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Yield a line that counts what is longer than a micro-batch, and says what would take it."""
    lengths = [each.too_long for each in left_out if each.too_long is not None]
    if lengths:
        needed = math.ceil(10 * max(lengths) / min(*config.speeds, 1.0)) / 10
        yield (
            f"{counted(len(lengths), 'recording', 'is', 'are')} longer than a batch, the longest "
            f"{max(lengths):.1f} s: "
            f"--batch-seconds {needed:g} takes all, or cut them (`start` and `samples` of a "
            "manifest)."
        )
