"""The paper's protocol: tune each language model on dev-other, then test it on the four splits.

Baevski et al. (2020), "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", appendix B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from w2v2cli.data.corpora.catalogue import find_splits
from w2v2cli.data.locations import NAMED_LMS
from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks
from w2v2cli.progress import AUDIO, Advance, ignored
from w2v2cli.recognition.evaluating import evaluate_corpora
from w2v2cli.recognition.options import TESTING, TUNING, DecodingOptions
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.scoring.results import Evaluation
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.session import (
    TUNED_ON,
    TuningResult,
    corpus_to_tune,
    tune_corpus,
    untuned,
)

if TYPE_CHECKING:
    from w2v2cli.data.hub import OnProgress


@dataclass(frozen=True)
class ProtocolRow:
    """One language model: how it was tuned, and the errors with it."""

    settings: RecognitionOptions
    """Settings of the test, with the tuned weights."""
    tuning: TuningResult | None
    """None for the row without a language model."""
    results: list[Evaluation]
    """One for each split, in the order of the paper's table."""


def language_models(lm: str) -> list[str]:
    """The rows of the table: the paper's models up to the one named; `none` and a file else."""
    owner = lm.rpartition("-")[0] if lm in NAMED_LMS else ""
    names = [f"{owner}-{name}" if owner else name for name in ("4gram", "transformer")]
    rows = ["none", *names]
    return rows[: rows.index(lm) + 1] if lm in rows else ["none", lm]


def protocol_settings(
    options: DecodingOptions,
    tuning: TuningOptions,
    on_fetch: OnProgress = lambda file, done, total: None,
) -> list[RecognitionOptions]:
    """The settings of each row, with the beams for tuning; files are fetched where needed.

    options: `lm` names the last row; the others take everything else from it.

    Raises UsageError for options that the protocol decides by itself, and under torchrun.
    """
    if Ranks.from_environment().several:
        raise UsageError("--protocol paper runs in one process: leave out torchrun.")
    decided = {
        "--rescore": options.rescore,
        "--lm-weight": options.lm_weight,
        "--word-score": options.word_score,
        "--beam": options.beam,
    }
    if len(options.lms) > 1:
        raise UsageError("--protocol paper takes one language model, and --lm names two.")
    for flag, value in decided.items():
        if value is not None:
            raise UsageError(f"--protocol paper decides on {flag} itself: leave it out.")
    rows = []
    for name in language_models(options.lms[0]):
        if name == "none":
            row = replace(options, lm=name, lexicon=None, unk_score=None, sil_score=None)
        else:
            row = untuned(replace(options, lm=name), tuning)
        rows.append(resolve(row, TUNING, on_fetch=on_fetch))
    return rows


def run_protocol(
    rows: Sequence[RecognitionOptions],
    data: Path | None = None,
    tuning: TuningOptions | None = None,
    *,
    note: Callable[[str], None] = lambda sentence: None,
    warn: Callable[[str], None] = lambda sentence: None,
    on_progress: Advance = ignored,
) -> list[ProtocolRow]:
    """Tune and test each of `rows` (see `protocol_settings`).

    data: folder of LibriSpeech; None looks for it as `w2v2 eval` does.
    note: called with a sentence at the start of each step.
    warn: called with a sentence about the lexicon or the language model.
    on_progress: see `tune_corpus`.

    Raises UserError when a split could not be evaluated completely.
    """
    done = []
    for settings in rows:
        tuned = None
        if settings.lm.path is not None:
            tuned = _tuned(settings, data, tuning or TuningOptions(), note, warn, on_progress)
            beam = replace(settings.beam, width=TESTING.of(settings.lm.kind))
            settings = replace(settings, beam=beam, weights=tuned.weights)
        note(f"Evaluating the four splits, LM {settings.lm.name}.")
        evaluated = evaluate_corpora(
            settings,
            find_splits("all", data),
            warn=warn,
            on_progress=lambda heard: on_progress(heard.seconds, heard.total, "Evaluating", AUDIO),
        )
        assert evaluated is not None  # this process is the only rank
        failed = sum(len(result.failures) for result in evaluated.evaluations)
        if evaluated.shortfall is not None or failed:
            raise UserError(
                evaluated.shortfall
                or f"{failed} utterances could not be transcribed: "
                "w2v2 eval --split all names them."
            )
        done.append(ProtocolRow(settings, tuned, evaluated.evaluations))
    return done


def _tuned(
    settings: RecognitionOptions,
    data: Path | None,
    options: TuningOptions,
    note: Callable[[str], None],
    warn: Callable[[str], None],
    on_progress: Advance,
) -> TuningResult:
    """What `w2v2 tune-lm` finds and keeps; a finished study is read, not searched again."""
    corpus = corpus_to_tune(TUNED_ON, data)
    note(
        f"Tuning on {corpus.name}, LM {settings.lm.name}, beam {settings.beam.width}, "
        f"{options.trials} trials."
    )
    return tune_corpus(settings, corpus, options, warn=warn, on_progress=on_progress)
