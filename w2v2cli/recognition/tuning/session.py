"""Tuning the decoding weights of a model and a language model on a corpus."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.decoding import DecodingWeights
from storage.hashing import hash_of
from storage.home import home
from w2v2cli.data.corpora.catalogue import CorpusSplit, find_splits
from w2v2cli.data.locations import LmLocation
from w2v2cli.errors import UsageError, UserError
from w2v2cli.progress import AUDIO, TRIALS, Advance, ignored
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.recognizer import load_acoustic_model, model_outputs, open_search
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
from w2v2cli.recognition.tuning.gain import Gain, edges, measure_gain
from w2v2cli.recognition.tuning.kept import (
    BEAM,
    Tuned,
    find_tuned,
    forget_tuned,
    keep_tuned,
    rescored,
)
from w2v2cli.recognition.tuning.metric import Metric, References
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.study import Study
from w2v2cli.recognition.tuning.trials import NBEST, Outcome, Tuning

if TYPE_CHECKING:
    from lm.text.vocabulary import Vocabulary
    from w2v2cli.recognition.searching.spec import Searches

DATABASE = "study.sqlite"
TUNED_ON = "dev-other"  # the paper's choice (§4.4)


@dataclass(frozen=True)
class TuningResult:
    """The weights that tuning found, and how it found them."""

    settings: RecognitionOptions
    """Model, language model and search that were tuned."""
    corpus: CorpusSplit
    metric: Metric
    outcome: Outcome
    study: Path
    """Folder of the study; the same call reads it instead of searching again."""
    kept: Path | None = None
    """The file that `transcribe` and `eval` read the weights from; None where they were not kept.

    See `tuning.kept`.
    """
    gain: Gain | None = None
    """How these weights compare with those before tuning."""
    notes: tuple[str, ...] = ()
    """Sentences about where the optimum lies."""

    @property
    def weights(self) -> DecodingWeights:
        """The weights with the lowest error rate."""
        return self.outcome.weights

    @property
    def rate(self) -> float:
        """The error rate with these weights, a ratio."""
        return self.outcome.best.rate

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of `rate`, by the bootstrap over utterances."""
        return self.outcome.interval

    @property
    def refusal(self) -> str | None:
        """Why the weights are not to be kept, as a sentence; None where nothing is against it."""
        if self.corpus.is_miniature:
            return (
                f"These weights are not kept: {len(self.corpus.utterances)} recordings that ship "
                "with w2v2 tell nothing of other speech."
            )
        if self.gain is None or self.gain.is_certain:
            return None
        before, (low, high) = self.gain, self.gain.interval
        return (
            f"These weights are not kept: that they are better than LM weight "
            f"{before.weights.lm_weight:g} and word score {before.weights.word_score:g} "
            f"({self.metric.upper()} {before.rate * 100:.2f}%), which count without tuning, may be "
            f"chance (gain, 95%: {low * 100:.2f} to {high * 100:.2f} points)."
        )

    @property
    def details(self) -> dict[str, Any]:
        """Plain values about the tuning, for `tuned.json` and for reports; rates are ratios."""
        outcome = self.outcome
        return {
            "metric": self.metric,
            "rate": self.rate,
            "interval_95": list(self.interval),
            "utterances": outcome.utterances,
            "trials": len(outcome.trials),
            "exact": sum(trial.kind == "exact" for trial in outcome.trials),
            "searched": outcome.cost,
            "share": round(outcome.share, 4),
            "data": self.corpus.name,
            "note": self.corpus.note,
            "beam": self.settings.beam.width,
            **({} if self.gain is None else _before(self.gain)),
        }


def _before(gain: Gain) -> dict[str, Any]:
    return {
        "untuned": {
            "lm_weight": gain.weights.lm_weight,
            "word_score": gain.weights.word_score,
            "rate": gain.rate,
        },
        "gain_interval_95": list(gain.interval),
    }


def untuned(options: DecodingOptions, tuning: TuningOptions) -> DecodingOptions:
    """The options to resolve before `tune_corpus`: earlier tuning of these weights is not read.

    With `rescore` the weights of the second pass are tuned, and the first pass keeps its own.

    Raises UsageError where there is nothing to tune.
    """
    if options.lm == "none" or options.search == "greedy":
        what = "--lm none" if options.lm == "none" else "--search greedy"
        raise UsageError(f"{what} leaves nothing to tune: name a language model and a beam search.")
    if len(options.lms) > 1:
        raise UsageError(
            "The weights of one language model are tuned, and --lm names two: tune with the first, "
            "then try weights of the second by `w2v2 eval`."
        )
    if options.rescore_over == "lattice":
        raise UsageError(
            "Weights of --rescore are tuned over lists, and count over lattices too: leave out "
            "--rescore-over lattice."
        )
    if options.rescore is None:
        return replace(options, lm_weight=0.0, word_score=0.0, sil_score=0.0)
    if tuning.sil_score is not None:
        raise UsageError("--sil-score belongs to the first pass: with --rescore it is not tuned.")
    return replace(options, rescore_lm_weight=0.0, rescore_word_score=0.0)


def corpus_to_tune(split: str | None = None, data: Path | None = None) -> CorpusSplit:
    """The corpus in `data`, or a split of LibriSpeech, dev-other by default.

    Raises UsageError for more than one split, UserError for a corpus that cannot be read.
    """
    corpora = find_splits(split or (None if data else TUNED_ON), data)
    if len(corpora) > 1:
        raise UsageError(
            f"--split {split} names {len(corpora)} splits: tune on one, {TUNED_ON} in the paper."
        )
    return corpora[0]


def tune_corpus(
    settings: RecognitionOptions,
    corpus: CorpusSplit,
    options: TuningOptions | None = None,
    *,
    metric: Metric | None = None,
    study: Path | None = None,
    keep: bool = True,
    warn: Callable[[str], None] = lambda sentence: None,
    on_progress: Advance = ignored,
) -> TuningResult:
    """Find the weights with the fewest errors on a corpus, and keep them for later transcription.

    Weights are kept where they are better than those before tuning by more than chance, and never
    from the miniature that ships: `TuningResult.refusal` says why not.

    settings: resolved from `untuned` options. With `rescore` every trial is exact.
    metric: wer, cer or per; None takes cer for scripts without spaces, else wer.
    study: folder of the trials; None takes one in $W2V2_HOME/studies named after the settings.
        A study that was begun is continued; several processes may work on one at once.
    keep: store the weights where `transcribe` and `eval` find them (see `tuning.kept`).
    warn: called with a sentence about the lexicon or the language model.
    on_progress: called with seconds of audio or trials done, their total, what is being done, and
        in what it is measured.

    Raises UsageError and UserError.
    """
    if settings.lm.path is None or settings.engine == "greedy":
        raise UserError("There is nothing to tune without a language model: name one with --lm.")
    options = options or TuningOptions()
    if settings.rescore is not None:
        options = replace(options, exact=True)
    outputs = model_outputs(settings.model)
    vocabulary = settings.search_spec(outputs.labels, outputs.metadata).vocabulary
    references = References(corpus.utterances, metric, vocabulary.normalizer)
    nbest = 1 if options.exact else min(NBEST, settings.beam.width)
    searching = replace(settings, beam=replace(settings.beam, nbest=nbest))
    with open_search(searching, outputs.labels, outputs.metadata, warn, keep=True) as pool:
        outcome, gain, folder = _studied(
            settings, corpus, options, references, study, pool, on_progress
        )
    notes = tuple(edges(outcome.best.point, options.bounds))
    result = TuningResult(
        settings, corpus, references.metric, outcome, folder, gain=gain, notes=notes
    )
    return replace(result, kept=_keep(result)) if keep and result.refusal is None else result


def _studied(
    settings: RecognitionOptions,
    corpus: CorpusSplit,
    options: TuningOptions,
    references: References,
    study: Path | None,
    pool: Searches,
    on_progress: Advance,
) -> tuple[Outcome, Gain, Path]:
    """The best weights, what they gain over those before tuning, and the study's folder."""
    hashes = (
        model_hash(settings.model.path, settings.model.language),
        corpus_hash(corpus.utterances),
    )
    speech, precision = _emissions(settings, pool.vocabulary, corpus, hashes, on_progress)
    identity = _identity(settings, options, references, hashes, precision)
    folder = study or home() / "studies" / hash_of(json.dumps(identity))[:16]
    with Study(folder / DATABASE, identity) as record:
        pool.wait_until_ready()
        tuning = Tuning(
            options,
            references,
            speech,
            record,
            pool.submit_each,
            pool.workers,
            pool.at_once,
            lambda done, best: on_progress(
                done, options.trials, f"Tuning, {best}" if best else "Tuning", TRIALS
            ),
        )
        outcome = tuning.run()
        best, count = outcome.weights, tuning.errors_with
        gain = measure_gain(settings, best, references.lengths, count, folder, options.seed)
    return outcome, gain, folder


def forget(settings: RecognitionOptions) -> list[Tuned]:
    """Remove the weights that were kept for this model, language model and kind of search.

    settings: resolved from `untuned` options. Returns what was removed. Raises UserError.
    """
    return forget_tuned(settings.model, *_tuned_for(settings))


def earlier(settings: RecognitionOptions) -> Tuned | None:
    """The weights that are kept for this model, language model and kind of search."""
    return find_tuned(settings.model, *_tuned_for(settings))


def _tuned_for(settings: RecognitionOptions) -> tuple[LmLocation, str, Path | None]:
    """The language model whose weights are tuned, the kind of search, and its lexicon."""
    first = settings.lm
    if settings.rescore is None:
        return first, BEAM, first.listed
    return settings.rescore.lm, rescored(first), first.listed


def _keep(result: TuningResult) -> Path:
    lm, search, lexicon = _tuned_for(result.settings)
    return keep_tuned(result.settings.model, lm, result.weights, result.details, search, lexicon)


def _identity(
    settings: RecognitionOptions,
    options: TuningOptions,
    references: References,
    hashes: tuple[str, str],
    precision: str,
) -> dict[str, Any]:
    """The settings that two studies must share to be one.

    Their names stand in messages, and together they name the study's folder: an old study is only
    found again while none of them changes.
    """
    lm, beam = settings.lm, settings.beam
    assert lm.path is not None
    return {
        "model": hashes[0],
        "language model": model_hash(lm.path),
        "lexicon": content_hash(words) if (words := lm.listed) else None,
        "corpus": hashes[1],
        "set of transcripts": hash_of(*references.texts),
        "metric": references.metric,
        "beam": beam.width,
        "beam threshold": beam.threshold,
        "number of beam tokens": beam.tokens,
        "LM weight's bounds": list(options.lm_weight),
        "word score's bounds": list(options.word_score),
        "silence score's bounds": list(options.sil_score) if options.sil_score else None,
        "seed": options.seed,
        "share of exact searches": 1.0 if options.exact else options.share,
        "precision": precision,
        **({} if settings.lm_precision == "auto" else {"LM's precision": settings.lm_precision}),
        # Studies of before there was a choice were by history, and are still found by it.
        **({} if beam.recombine == "history" else {"hypotheses merged by": beam.recombine}),
        **({} if beam.lm_context is None else {"words of history": beam.lm_context}),
        **({} if beam.skip_blank is None else {"blank from": beam.skip_blank}),
        **({"fewest errors at": beam.mbr_scale} if beam.mbr else {}),
        **({} if settings.rescore is None else _second_pass(settings.rescore, settings.weights)),
    }


def _second_pass(how: Rescoring, first: DecodingWeights) -> dict[str, Any]:
    """The further settings that two studies of a second pass must share."""
    assert how.lm.path is not None
    return {
        "second language model": model_hash(how.lm.path),
        "first pass's weights": [first.lm_weight, first.word_score, first.sil_score],
        "weight of the first pass's language model": how.first_pass_weight,
        "size of the n-best lists": how.nbest,
    }


def _emissions(
    settings: RecognitionOptions,
    vocabulary: Vocabulary,
    corpus: CorpusSplit,
    hashes: tuple[str, str],
    on_progress: Advance,
) -> tuple[Emissions, str]:
    """The corpus's emissions, from the cache or computed and kept there; "float32 on cpu"."""
    from w2v2cli.recognition.devices import resolve_device, resolve_precision

    device = resolve_device(settings.device)
    precision = str(resolve_precision(settings.precision, device)).removeprefix("torch.")
    folder = emissions_folder(*hashes, device.type, precision)
    kept = read_emissions(folder)
    if kept is None:
        computed = compute_emissions(
            load_acoustic_model(settings),
            vocabulary,
            corpus.utterances,
            settings.batch_seconds,
            lambda heard: on_progress(heard.seconds, heard.total, "Acoustic model", AUDIO),
        )
        kept = keep_emissions(folder, computed, len(vocabulary.symbols))
    return kept, f"{precision} on {device.type}"
