"""Models by name, transcription, alignment, evaluation and tuning, as Python calls them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.text.normalizers import NormalizerName
from w2v2cli.commands.reporting import fetching
from w2v2cli.data.corpora.catalogue import CorpusSplit, find_splits
from w2v2cli.errors import UserError
from w2v2cli.recognition.aligning.alignment import Alignment
from w2v2cli.recognition.aligning.job import align_recording
from w2v2cli.recognition.aligning.spelling import read_text
from w2v2cli.recognition.evaluating import evaluate_corpora
from w2v2cli.recognition.options import TESTING, TRANSCRIBING, TUNING, Beams, DecodingOptions
from w2v2cli.recognition.pages.reporting import write_report
from w2v2cli.recognition.recognizer import Audio, Recognizer, recorded
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.scoring.comparing import Beside, compared
from w2v2cli.recognition.scoring.results import Evaluation

if TYPE_CHECKING:
    from torch import nn

    from w2v2cli.data.decoding.hearing import AudioProgress
    from w2v2cli.recognition.tuning.metric import Metric
    from w2v2cli.recognition.tuning.session import TuningResult

Name = str | PathLike[str]
log = logging.getLogger("w2v2")


def load(
    model: Name = "demo", *, warn: Callable[[str], None] | None = None, **options: Any
) -> Recognizer:
    """Open a model, and a language model and a search with it, ready to transcribe.

    model: a name (`w2v2 model list`), a folder or a checkpoint file; fetched where needed.
    options: fields of `DecodingOptions`: lm, lexicon, beam, lm_weight, hotwords, device, ...
    warn: called with a sentence about lexicon or language model; Python warnings by default.

    The search runs in processes of its own, which end with the result's `close` or context and
    with this process. Raises UsageError for options that are wrong in themselves or together,
    UserError for files that cannot be used.
    """
    settings = _resolved(_options(model, options), TRANSCRIBING)
    return Recognizer(settings, warn or _warn)


def evaluate(
    data: Name | None = None,
    *,
    split: str | None = None,
    model: Name = "demo",
    lm: str | Sequence[str] = "4gram",
    output: Name | None = None,
    skip_existing: bool = False,
    normalizer: NormalizerName | None = None,
    report: Name | None = None,
    compare: Name | None = None,
    warn: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> list[Evaluation]:
    """The errors of a model on a corpus: WER, CER, by speaker, utterance by utterance.

    data: a corpus, or with `split` the folder that LibriSpeech was unpacked in.
    split: dev-clean, dev-other, test-clean, test-other, or all (four evaluations).
    output: .jsonl file that gets reference, hypothesis and errors of each utterance.
    skip_existing: leave out utterances that `output` has already.
    normalizer: how texts are spelled before they are compared: english, basic or none. By default
        as the model was trained.
    report: .html file that gets a page with everything in it, see docs/reports.md.
    compare: file of another system's transcripts, which the report sets beside these.
    options: further fields of `DecodingOptions`. The beam is the paper's for tests by default.
    on_progress: called with utterances done and their total.

    An utterance that cannot be transcribed is in `failures` and not counted. Raises UsageError and
    UserError.
    """
    settings = _resolved(_options(model, {"lm": lm, **options}), TESTING)
    corpora = find_splits(split, _path(data))
    beside = None if compare is None else _beside(Path(compare), corpora)
    done = evaluate_corpora(
        settings,
        corpora,
        output=_path(output),
        skip_existing=skip_existing,
        normalizer=normalizer,
        warn=warn or _warn,
        on_progress=_each(on_progress),
    )
    if done is None:
        return []  # another rank has the result
    if done.shortfall is not None:
        raise UserError(done.shortfall)
    if report is not None:
        found = compared(done.evaluations, beside, settings.model.title, seed=0)
        reported = (Path(report), done.evaluations, corpora, settings)
        write_report(*reported, normalizer=normalizer, compared=found)
    return done.evaluations


def align(
    audio: Audio,
    text: Name,
    *,
    model: Name = "demo",
    warn: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Alignment:
    """Find when each word of a text is spoken in a recording of any length (forced alignment).

    audio: a path, or (samples, rate): see `Recognizer.transcribe`.
    text: a str is the text itself; a `Path` is a file that holds it, in UTF-8.
    options: language, device, precision and batch_seconds of `DecodingOptions`.
    warn: called with a sentence about letters that the model does not have; Python warnings by
    default.
    on_progress: called with the seconds that were heard and those of the recording.

    Raises UsageError, and UserError where the recording cannot be read, the text cannot be written
    by the model, or is longer than the recording.
    """
    settings = _resolved(_options(model, options), TRANSCRIBING)
    words = text if isinstance(text, str) else read_text(Path(text))
    return align_recording(
        settings, recorded(audio), words, warn=warn or _warn, on_progress=on_progress
    )


def tune(
    data: Name | None = None,
    *,
    split: str | None = None,
    model: Name = "demo",
    lm: str = "4gram",
    trials: int = 128,
    lm_weight: tuple[float, float] = (0.0, 5.0),
    word_score: tuple[float, float] = (-5.0, 5.0),
    sil_score: tuple[float, float] | None = None,
    metric: Metric | None = None,
    exact: bool = False,
    seed: int = 0,
    study: Name | None = None,
    keep: bool = True,
    warn: Callable[[str], None] | None = None,
    on_progress: Callable[..., None] = lambda done, total, label="": None,
    **options: Any,
) -> TuningResult:
    """Find the LM weight and word score with the fewest errors on a corpus (paper §4.4).

    data, split: as in `evaluate`; LibriSpeech's dev-other by default.
    lm_weight, word_score, sil_score: lowest and highest value to try; the silence score stays 0
    by default.
    exact: search every trial in full instead of predicting most of them.
    study: folder of the trials; the same call continues what an earlier one began.
    keep: store the weights, so that `load`, `evaluate` and the commands use them from then on.

    Raises UsageError and UserError.
    """
    from w2v2cli.recognition.tuning.options import TuningOptions
    from w2v2cli.recognition.tuning.session import corpus_to_tune, tune_corpus, untuned

    how = TuningOptions(trials, lm_weight, word_score, sil_score, exact, seed)
    asked = untuned(_options(model, {"lm": lm, **options}), how)
    return tune_corpus(
        _resolved(asked, TUNING),
        corpus_to_tune(split, _path(data)),
        how,
        metric=metric,
        study=_path(study),
        keep=keep,
        warn=warn or _warn,
        on_progress=lambda done, total, label="", unit=None: on_progress(done, total, label),
    )


def load_checkpoint(model: Name, language: str | None = None) -> nn.Module:
    """The network of a checkpoint as a plain torch module, in eval mode, float32, on the CPU.

    `models.wav2vec2.Wav2Vec2ForCTC` for a model that recognises (its output symbols are
    `load(model).labels`), `models.pretraining.Wav2Vec2ForPretraining` for one that is only
    pretrained. Both take (B, S) waveforms at 16 kHz and (B,) lengths in samples.
    language: one of a model with an adapter for each (MMS).

    Raises UserError.
    """
    from models.checkpoint import build_ctc, check_weights
    from models.importers.reader import read_model
    from models.pretraining import Wav2Vec2ForPretraining
    from w2v2cli.data.locations import resolve_model

    with fetching() as on_fetch:
        path = resolve_model(fspath(model), on_fetch, language).path
    try:
        checkpoint = read_model(path, language)
        if checkpoint.labels is not None:
            return build_ctc(checkpoint)
        pretrained = Wav2Vec2ForPretraining(checkpoint.config)
        check_weights(checkpoint.weights, pretrained)
    except ValueError as error:
        raise UserError(str(error)) from error
    pretrained.load_state_dict(checkpoint.weights)
    return pretrained.eval()


def _options(model: Name, options: dict[str, Any]) -> DecodingOptions:
    names = [item.name for item in fields(DecodingOptions)]
    for name in options:
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"There is no option {name!r}{hint}")
    paths = {
        name: Path(options[name])
        for name in ("lexicon", "hotwords")
        if isinstance(options.get(name), str)
    }
    return DecodingOptions(**{"model": fspath(model), **options, **paths})


def _resolved(options: DecodingOptions, beams: Beams) -> RecognitionOptions:
    with fetching() as on_fetch:
        return resolve(options, beams, note=log.info, on_fetch=on_fetch)


def _each(on_progress: Callable[[int, int], None]) -> Callable[[AudioProgress], None]:
    """What is called as audio is heard, and calls `on_progress` once a recording."""
    counted = 0

    def heard_more(heard: AudioProgress) -> None:
        nonlocal counted
        if heard.recordings > counted:
            counted = heard.recordings
            on_progress(counted, heard.of)

    return heard_more


def _beside(path: Path, corpora: Sequence[CorpusSplit]) -> Beside:
    return Beside.read(path, {part.name: [u.id for u in part.utterances] for part in corpora})


def _path(value: Name | None) -> Path | None:
    return None if value is None else Path(value)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=4)
