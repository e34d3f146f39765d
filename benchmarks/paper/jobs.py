"""What a cell of the experiment does: a call of `w2v2`, or of this package, and its figures.

Each job is the arguments of one call; `run` makes it, `command` is the same call for a shell.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import w2v2
from benchmarks.paper.codes import count_codes
from benchmarks.paper.data import parts
from benchmarks.paper.scales import LanguageModel, Scale, Training
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.results import Evaluation
from w2v2cli.training.metrics import read_log
from w2v2cli.training.runs.result import RunResult

BEST = "best.safetensors"


class Stopped(Exception):
    """A signal stopped a run, which has saved; the same call continues it."""


@dataclass(frozen=True)
class Place:
    """Where things are."""

    output: Path
    data: Path
    scale: Scale
    device: str = "auto"
    workers: int = 0
    """Processes of a search; 0: one for each core."""
    note: Callable[[str], None] = lambda sentence: None
    signals: list[str] = field(default_factory=list)
    """Those that came while a run was in its last update, so that it was not stopped by them."""
    budget: float = 1.0
    """Times as many updates as the scale has by default."""

    def corpus(self, name: str) -> str:
        """A corpus as `pretrain` and `finetune` take it."""
        return str(self.output / "data" / f"{name}.jsonl") if self.scale.own_data else name

    def tested(self, name: str) -> dict[str, Any]:
        """A corpus as `evaluate` and `tune` take it."""
        if self.scale.own_data:
            return {"data": self.corpus(name)}
        if name.startswith("timit"):
            return {"data": str(self.data / "manifests" / f"{name}.jsonl")}
        return {"split": name, "data": str(self.data)}

    @property
    def root(self) -> dict[str, Any]:
        """The folder that corpora are looked for in by name, as the calls of training take it."""
        return {} if self.scale.own_data else {"data": str(self.data)}

    def run(self, cell: str) -> Path:
        """The folder of a cell's run."""
        return self.output / "runs" / cell

    def checkpoint(self, cell: str) -> Path:
        """The best checkpoint of a cell's run."""
        return self.run(cell) / BEST


class Job(Protocol):
    """What a cell does."""

    kind: str

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """Do it, and return its figures. Raises UserError, and `Stopped` after a signal."""
        ...

    def command(self, place: Place, cell: str) -> list[str]:
        """The same call as words of a shell."""
        ...

    def seconds(self, scale: Scale) -> float:
        """Estimated seconds of one process."""
        ...


@dataclass(frozen=True)
class Data:
    """The manifests of a scale."""

    kind = "data"

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """See `Job`."""
        found = parts(place.data, place.scale)
        found.write(place.output / "data")
        return found.figures()

    def command(self, place: Place, cell: str) -> list[str]:
        """See `Job`."""
        return _own(place, cell)

    def seconds(self, scale: Scale) -> float:
        """See `Job`."""
        return scale.rates.start


@dataclass(frozen=True)
class Pretrain:
    """A pretraining, from random weights."""

    training: Training
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    """In place of the training's."""
    kind = "pretraining"

    def call(self, place: Place, cell: str) -> dict[str, Any]:
        """The arguments of `w2v2.pretrain`."""
        scale = place.scale
        return {
            "corpora": [place.corpus(name) for name in scale.unlabelled],
            "output": str(place.run(cell)),
            "recipe": self.recipe or self.training.recipe,
            "valid": place.corpus(scale.dev),
            **place.root,
            "settings": {**scale.network, **self.training.changes(8), **self.settings},
        }

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """See `Job`."""
        call = self.call(place, cell)
        result = w2v2.pretrain(**call, device=place.device, warn=place.note)
        _refuse_unfinished(result, place)
        rows = read_log(result.folder)
        curve = [(row["update"], row["valid_accuracy"]) for row in rows if "valid_accuracy" in row]
        names = ("valid_contrastive", "valid_accuracy", "valid_code_perplexity")
        best = {name: result.metrics.get(name) for name in names}
        return {**best, "update": result.metrics.get("update"), "curve": curve}

    def command(self, place: Place, cell: str) -> list[str]:
        """See `Job`."""
        return _training("pretrain", self.call(place, cell))

    def seconds(self, scale: Scale) -> float:
        """See `Job`."""
        return scale.rates.start + self.training.seconds / scale.rates.pretraining


@dataclass(frozen=True)
class Finetune:
    """A fine-tuning."""

    training: Training
    corpus: str
    valid: str
    start: str | None
    """The cell that it begins with; None: random weights."""
    seed: int
    kind = "fine-tuning"

    def call(self, place: Place, cell: str) -> dict[str, Any]:
        """The arguments of `w2v2.finetune`."""
        scale, settings = place.scale, {**self.training.changes(), "seed": self.seed}
        phones = settings.get("units") == "phones" or self.training.recipe.startswith("timit")
        if self.start is None:
            settings = {**scale.network, **settings, **scale.from_random}
        return {
            "corpora": [place.corpus(self.corpus)],
            "output": str(place.run(cell)),
            "model": scale.random if self.start is None else str(place.checkpoint(self.start)),
            "recipe": self.training.recipe,
            "valid": place.corpus(self.valid),
            "lm": "none" if phones else scale.valid_lm,
            **place.root,
            "settings": settings,
        }

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """See `Job`."""
        call = self.call(place, cell)
        result = w2v2.finetune(**call, device=place.device, warn=place.note)
        _refuse_unfinished(result, place)
        return {"metrics": dict(result.metrics)}

    def command(self, place: Place, cell: str) -> list[str]:
        """See `Job`."""
        return _training("finetune", self.call(place, cell))

    def seconds(self, scale: Scale) -> float:
        """See `Job`."""
        return scale.rates.start + self.training.seconds / scale.rates.finetuning


@dataclass(frozen=True)
class Evaluate:
    """The errors of a fine-tuned network with one language model, on test corpora."""

    model: str
    """The cell that trained it."""
    corpora: Mapping[str, str]
    """By what tables call them."""
    lm: LanguageModel
    tuned: str | None = None
    """The cell that tuned the weights; None: the paper's before tuning."""
    kind = "evaluation"

    def call(self, place: Place, corpus: str) -> dict[str, Any]:
        """The arguments of `w2v2.evaluate` for one corpus."""
        options = dict(self.lm.options)
        if self.tuned is not None:
            del options["lm_weight"], options["word_score"]
        model = str(place.checkpoint(self.model))
        return {**place.tested(corpus), "model": model, "lm": self.lm.lm, **options}

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """See `Job`."""
        weights = {} if self.tuned is None else _weights(place, self.tuned)
        figures = {}
        for name, corpus in self.corpora.items():
            call = {**self.call(place, corpus), **weights}
            kept = place.run(cell) / f"{name}.jsonl"
            kept.parent.mkdir(parents=True, exist_ok=True)
            [found] = w2v2.evaluate(
                **call,
                device=place.device,
                workers=place.workers,
                output=kept,
                skip_existing=True,
                warn=place.note,
            )
            figures[name] = errors_of(found)
        return figures

    def command(self, place: Place, cell: str) -> list[str]:
        """See `Job`."""
        words: list[str] = []
        for corpus in self.corpora.values():
            words += [*(["&&"] if words else []), "w2v2", "eval"]
            words += _options(self.call(place, corpus))
            if self.tuned is not None:
                found = read_figures(place.output, self.tuned) or {}
                words += ["--lm-weight", str(found.get("lm_weight", "TUNED"))]
                words += ["--word-score", str(found.get("word_score", "TUNED"))]
        return words

    def seconds(self, scale: Scale) -> float:
        """See `Job`."""
        audio = 60 * scale.test_minutes * len(self.corpora)
        rate = scale.rates.search[self.lm.name.split(",")[0]]
        beam, usual = self.lm.options.get("beam", 1), scale.ngram.options.get("beam", 1)
        slower = max(beam / usual, 1.0) if self.lm.name.startswith("4-gram") else 1.0
        return scale.rates.start + audio * slower / rate


@dataclass(frozen=True)
class Tune:
    """The weights of the 4-gram with the fewest errors on the dev corpus."""

    model: str
    corpus: str
    seed: int
    kind = "tuning"

    def call(self, place: Place) -> dict[str, Any]:
        """The arguments of `w2v2.tune`."""
        lm = place.scale.ngram
        return {
            **place.tested(self.corpus),
            "model": str(place.checkpoint(self.model)),
            "lm": lm.lm,
            "beam": min(lm.options["beam"], 500),
            **{name: lm.options[name] for name in ("lexicon",) if name in lm.options},
            "trials": place.scale.trials,
            "seed": self.seed,
        }

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """See `Job`."""
        study = place.run(cell)
        study.parent.mkdir(parents=True, exist_ok=True)
        found = w2v2.tune(
            **self.call(place),
            study=study,
            keep=False,
            device=place.device,
            workers=place.workers,
            warn=place.note,
        )
        before = {} if found.gain is None else {"before": found.gain.rate}
        return {
            "lm_weight": found.weights.lm_weight,
            "word_score": found.weights.word_score,
            "rate": found.rate,
            **before,
            "trials": [[*trial.point, trial.rate] for trial in found.outcome.trials],
        }

    def command(self, place: Place, cell: str) -> list[str]:
        """See `Job`."""
        return ["w2v2", "tune-lm", *_options(self.call(place)), "--study", str(place.run(cell))]

    def seconds(self, scale: Scale) -> float:
        """See `Job`."""
        audio = 60 * scale.test_minutes
        return scale.rates.start + audio * scale.trials / 4 / scale.rates.search["4-gram"]


@dataclass(frozen=True)
class Codes:
    """Which codeword fires on which phone (the paper's appendix D)."""

    pretrained: str
    """The cell whose quantizer is looked at."""
    aligner: str
    """The cell of a network that writes phones, by which these are laid onto the frames."""
    corpus: str
    kind = "codes"

    def run(self, place: Place, cell: str) -> dict[str, Any]:
        """See `Job`."""
        return asdict(
            count_codes(
                place.checkpoint(self.pretrained),
                place.checkpoint(self.aligner),
                Path(place.tested(self.corpus)["data"]),
                place.device,
            )
        )

    def command(self, place: Place, cell: str) -> list[str]:
        """See `Job`."""
        return _own(place, cell)

    def seconds(self, scale: Scale) -> float:
        """See `Job`."""
        return scale.rates.start + 60 * scale.phones.minutes / scale.rates.search["none"]


def errors_of(found: Evaluation) -> dict[str, Any]:
    """Errors and length of each utterance, in words (or phones) and characters.

    Raises UserError where a recording could not be transcribed: the figures would be of others.
    """
    if found.failures:
        first = found.failures[0]
        raise UserError(
            f"{len(found.failures)} recordings could not be transcribed: {first.id}: {first.error}."
        )
    alignments = [scored.alignment for scored in found.utterances]
    return {
        "ids": [scored.id for scored in found.utterances],
        "errors": [a.words.errors for a in alignments],
        "words": [a.words.reference for a in alignments],
        "character_errors": [a.characters.errors for a in alignments],
        "characters": [a.characters.reference for a in alignments],
        "seconds": found.audio_seconds,
    }


def _weights(place: Place, tuning: str) -> dict[str, float]:
    """The weights that the cell of a tuning found."""
    figures = read_figures(place.output, tuning)
    if figures is None:
        raise UserError(f"The cell {tuning} has no figures.")
    return {name: figures[name] for name in ("lm_weight", "word_score")}


def figures_file(output: Path, cell: str) -> Path:
    """The file of a cell's figures."""
    return output / "cells" / f"{cell}.json"


def read_figures(output: Path, cell: str) -> dict[str, Any] | None:
    """The figures of a cell that is done; None for another. Raises UserError for a damaged file."""
    path = figures_file(output, cell)
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["figures"]
        return figures
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: delete it, and the cell is done again.") from None


def _refuse_unfinished(result: RunResult, place: Place) -> None:
    if not result.finished:
        raise Stopped(result.stopped_by or "")
    if result.stopped_by is not None:
        place.signals.append(result.stopped_by)


def _own(place: Place, cell: str) -> list[str]:
    """A call of this package for one cell."""
    words = ["python", "-m", "benchmarks.paper", "--scale", place.scale.name]
    return [*words, "--data", str(place.data), "-o", str(place.output), "--only", cell]


def _training(command: str, call: Mapping[str, Any]) -> list[str]:
    settings = call["settings"]
    options = {n: v for n, v in call.items() if n not in ("corpora", "settings", "output")}
    words = ["w2v2", command, *call["corpora"], "-o", call["output"], *_options(options)]
    return words + [word for n, v in settings.items() for word in ("--set", f"{n}={v}")]


def _options(call: Mapping[str, Any]) -> list[str]:
    return [word for n, v in call.items() for word in (f"--{n.replace('_', '-')}", str(v))]


def shell_lines(words: list[str]) -> str:
    """Words as lines that a shell reads, one for each call."""
    calls = " ".join("\n" if word == "&&" else shlex.quote(word) for word in words)
    return calls.replace(" \n ", "\n")
