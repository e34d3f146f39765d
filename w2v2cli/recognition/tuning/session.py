"""From names on a command line to a tuning at work: emissions from the cache, search processes, the study's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lm.decoding import BeamOptions, DecodingWeights
from models.importers.labels import quick_outputs
from storage.hashing import hash_of
from storage.home import home
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.errors import UserError
from w2v2cli.recognition.recognizer import open_search
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.searching.rescoring import Rescoring
from w2v2cli.recognition.tuning.emission_cache import (
    Emissions,
    compute_emissions,
    emissions_folder,
    keep_emissions,
    read_emissions,
)
from w2v2cli.recognition.tuning.fingerprints import content_hash, corpus_hash, model_hash
from w2v2cli.recognition.tuning.metric import Metric, References
from w2v2cli.recognition.tuning.study import Study
from w2v2cli.recognition.tuning.trials import NBEST, Outcome, Tuning, TuningOptions

DATABASE = "study.sqlite"


class Advance(Protocol):
    """Moves a progress bar to `done` of `total` under a label."""

    def __call__(self, done: float, total: float | None, label: str = "") -> None: ...


@dataclass(frozen=True)
class Finished:
    """A tuning that has ended."""

    outcome: Outcome
    folder: Path
    """Of its study."""


def tune_corpus(
    settings: RecognitionOptions,
    part: CorpusSplit,
    options: TuningOptions,
    metric: Metric = "wer",
    folder: Path | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    advance: Advance = lambda done, total, label="": None,
) -> Finished:
    """Tune, or go on with a study that was begun; `folder` keeps it, None has the store keep it. UserError in a sentence."""
    if settings.lm.path is None or settings.engine == "greedy":
        raise UserError("There is nothing to tune without a language model: name one by --lm.")
    lm = settings.lm.path
    references = References(part.utterances, metric)
    labels, metadata = _outputs(settings.model.path)
    nbest = 1 if options.exact else min(NBEST, settings.beam.width)
    settings = replace(settings, beam=replace(settings.beam, nbest=nbest))
    model, corpus = model_hash(settings.model.path), corpus_hash(part.utterances)
    with open_search(settings, labels, metadata, warn, keep=True) as pool:
        speech, computed_on = _emissions(settings, labels, part, model, corpus, advance)
        identity = {
            "model": model,
            "language model": model_hash(lm),
            "lexicon": content_hash(settings.lm.lexicon) if settings.lm.lexicon else None,
            "corpus": corpus,
            "set of transcripts": hash_of(*references.texts),
            "metric": metric,
            **_identity(options, settings.beam),
            "precision": computed_on,
            **(
                {} if settings.rescore is None else _second_pass(settings.rescore, settings.weights)
            ),
        }
        place = folder or home() / "studies" / hash_of(json.dumps(identity))[:16]
        with Study(place / DATABASE, identity) as study:
            pool.wait_until_ready()
            tuning = Tuning(
                options,
                references,
                speech,
                study,
                pool.submit,
                pool.workers,
                lambda trials, label: advance(trials, options.trials, f"Tuning {label}".strip()),
            )
            return Finished(tuning.run(), place)


def _identity(options: TuningOptions, beam: BeamOptions) -> dict[str, Any]:
    """What else two studies must have in common to be one."""
    return {
        "beam": beam.width,
        "beam threshold": beam.threshold,
        "number of beam tokens": beam.tokens,
        "LM weight's bounds": list(options.bounds.lm_weight),
        "word score's bounds": list(options.bounds.word_score),
        "silence score's bounds": list(options.bounds.sil_score)
        if options.bounds.sil_score
        else None,
        "seed": options.seed,
        "share of exact searches": 1.0 if options.exact else options.share,
    }


def _second_pass(how: Rescoring, first: DecodingWeights) -> dict[str, Any]:
    """What else two studies of a second pass must have in common."""
    assert how.lm.path is not None
    return {
        "second language model": model_hash(how.lm.path),
        "first pass's weights": [first.lm_weight, first.word_score, first.sil_score],
        "weight of the first pass's language model": how.first_pass_weight,
        "size of the n-best lists": how.nbest,
    }


def _outputs(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The model's labels, and the metadata that says what they are."""
    outputs = quick_outputs(path)
    if outputs is None:
        from models.importers.reader import read_model

        try:
            checkpoint = read_model(path)
        except ValueError as error:
            raise UserError(str(error)) from error
        if checkpoint.labels is None:
            raise UserError(
                f"{path} is only pretrained: it has no output layer to transcribe with (w2v2 finetune)."
            )
        outputs = checkpoint.labels, checkpoint.metadata
    return outputs


def _emissions(
    settings: RecognitionOptions,
    labels: tuple[str, ...],
    part: CorpusSplit,
    model: str,
    corpus: str,
    advance: Advance,
) -> tuple[Emissions, str]:
    """From the cache, or computed and kept there; and the device's kind and the precision they are of."""
    from w2v2cli.recognition.acoustic_model import AcousticModel
    from w2v2cli.recognition.devices import resolve_device, resolve_precision

    device = resolve_device(settings.device)
    precision = str(resolve_precision(settings.precision, device)).removeprefix("torch.")
    folder = emissions_folder(model, corpus, device.type, precision)
    kept = read_emissions(folder)
    if kept is None:
        from models.importers.reader import read_model

        try:
            network = AcousticModel.load(
                read_model(settings.model.path), settings.device, settings.precision
            )
        except ValueError as error:
            raise UserError(str(error)) from error
        total = len(part.utterances)
        found = compute_emissions(
            network,
            labels,
            part.utterances,
            settings.batch_seconds,
            lambda done: advance(done, total, "Acoustic model"),
        )
        kept = keep_emissions(folder, found, len(labels))
    return kept, f"{precision} on {device.type}"
