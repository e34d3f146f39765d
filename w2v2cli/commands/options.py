"""The options that several commands share, and what they come to. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError

if TYPE_CHECKING:
    from lm.decoding import DecodingWeights
    from w2v2cli.data.locations import LmLocation, ModelLocation, OnProgress
    from w2v2cli.recognition.resolving import RecognitionOptions

SEARCH = "Search"
DEVICE = "Device"
RESCORE_NBEST = 100
LM_CACHE_GB = 2.0

Model = Annotated[str, typer.Option(help="A name (w2v2 model list), a folder or a file.")]
Lm = Annotated[
    str, typer.Option(help="none, 4gram, transformer, or a file: ARPA, KenLM's, a Transformer.")
]
Lexicon = Annotated[Path | None, typer.Option(help="Spellings, `word<TAB>w o r d |` a line.")]
Search = Annotated[
    str, typer.Option(help="auto, greedy, compiled, flashlight or batched.", rich_help_panel=SEARCH)
]
Beam = Annotated[
    int, typer.Option(help="Hypotheses kept after each frame.", rich_help_panel=SEARCH)
]
BeamThreshold = Annotated[
    float,
    typer.Option(help="Hypotheses this far below the best are dropped.", rich_help_panel=SEARCH),
]
BeamTokens = Annotated[
    int | None,
    typer.Option(
        help="Best symbols of a frame that are tried; all by default.", rich_help_panel=SEARCH
    ),
]
LmWeight = Annotated[
    float | None,
    typer.Option(
        help="Of the language model; as tuned, else 2, of a Transformer 0.87.",
        rich_help_panel=SEARCH,
    ),
]
WordScore = Annotated[
    float | None,
    typer.Option(help="Added for each word; as tuned, else -1.", rich_help_panel=SEARCH),
]
UnkScore = Annotated[
    float,
    typer.Option(help="Added for each word unknown to the language model.", rich_help_panel=SEARCH),
]
SilScore = Annotated[
    float, typer.Option(help="Added for each word boundary.", rich_help_panel=SEARCH)
]
Hotwords = Annotated[
    Path | None,
    typer.Option(
        help="Words to favour, `word weight` a line; those outside the lexicon join it.",
        rich_help_panel=SEARCH,
    ),
]
Rescore = Annotated[
    str | None,
    typer.Option(
        help="Scores the n-best again: transformer, or a file, of a Transformer or ARPA.",
        rich_help_panel=SEARCH,
    ),
]
RescoreNbest = Annotated[
    int, typer.Option(help="Hypotheses that --rescore scores again.", rich_help_panel=SEARCH)
]
RescoreLmWeight = Annotated[
    float | None,
    typer.Option(help="Of --rescore's model; as tuned, else 0.87.", rich_help_panel=SEARCH),
]
RescoreWordScore = Annotated[
    float | None,
    typer.Option(
        help="Added for each word by --rescore; as tuned, else -1.", rich_help_panel=SEARCH
    ),
]
RescoreFirstWeight = Annotated[
    float,
    typer.Option(help="Of the search's own model in --rescore's score.", rich_help_panel=SEARCH),
]
LmCacheGb = Annotated[
    float,
    typer.Option(
        help="Memory for a Transformer's keys and values, in 10^9 bytes.", rich_help_panel=DEVICE
    ),
]
Nbest = Annotated[
    int, typer.Option(help="Hypotheses kept in json and jsonl.", rich_help_panel=SEARCH)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=DEVICE)]
Precision = Annotated[
    str,
    typer.Option(help="auto, fp32, bf16 or fp16; auto is fp32 on a CPU.", rich_help_panel=DEVICE),
]
BatchSeconds = Annotated[
    float, typer.Option(help="Audio in a batch; 0 lets the device decide.", rich_help_panel=DEVICE)
]
Workers = Annotated[
    int, typer.Option(help="Search processes; 0 is one for each core.", rich_help_panel=DEVICE)
]

LM_WEIGHT: float | None = None  # not given: what `w2v2 tune-lm` found, else `STARTING`
WORD_SCORE: float | None = None
# Weights before tuning: the paper's (§4.4) for n-grams, and what it found for a Transformer (100 h, table 7).
STARTING = {"arpa": (2.0, -1.0), "kenlm": (2.0, -1.0), "transformer": (0.87, -1.0)}


def recognition_options(
    *,
    model: str,
    lm: str,
    lexicon: Path | None,
    search: str,
    beam: int,
    beam_threshold: float,
    beam_tokens: int | None,
    lm_weight: float | None,
    word_score: float | None,
    unk_score: float,
    sil_score: float,
    nbest: int,
    device: str,
    precision: str,
    batch_seconds: float,
    workers: int,
    hotwords: Path | None = None,
    rescore: str | None = None,
    rescore_nbest: int = RESCORE_NBEST,
    rescore_lm_weight: float | None = None,
    rescore_word_score: float | None = None,
    rescore_first_weight: float = 0.0,
    lm_cache_gb: float = LM_CACHE_GB,
) -> RecognitionOptions:
    """Check the options against each other and resolve the names, fetching what must be; UsageError for a wrong call."""
    from lm.decoding import BeamOptions, DecodingWeights
    from w2v2cli.data.locations import resolve_lm, resolve_model
    from w2v2cli.recognition.resolving import RecognitionOptions
    from w2v2cli.recognition.searching.rescoring import Rescoring
    from w2v2cli.recognition.tuning.kept import rescored

    if search not in ("auto", "greedy", "compiled", "flashlight", "batched"):
        raise UsageError(
            f"--search takes auto, greedy, compiled, flashlight or batched, got {search!r}."
        )
    if search == "greedy" and (lm != "none" or lexicon is not None):
        what = f"--lm {lm}" if lm != "none" else "--lexicon"
        raise UsageError(
            f"--search greedy looks at no language model or lexicon: leave it out, or {what}."
        )
    if search == "greedy" and nbest > 1:
        raise UsageError(f"--search greedy finds one hypothesis, --nbest asks for {nbest}.")
    if hotwords is not None and lm == "none" and lexicon is None:
        raise UsageError(
            "--hotwords needs words to be found among: name a language model (--lm) or a --lexicon."
        )
    if rescore is not None and lm == "none" and lexicon is None:
        raise UsageError(
            "--rescore needs hypotheses to score again: name a language model (--lm) for the search."
        )
    if rescore_nbest < 1:
        raise UsageError(f"--rescore-nbest must be at least 1, got {rescore_nbest}.")
    if not lm_cache_gb > 0:
        raise UsageError(f"--lm-cache-gb must be above 0, got {lm_cache_gb:g}.")
    if batch_seconds < 0:
        raise UsageError(f"--batch-seconds cannot be negative, got {batch_seconds:g}.")
    if workers < 0:
        raise UsageError(f"--workers cannot be negative, got {workers}.")
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise UsageError(f"--precision takes auto, fp32, bf16 or fp16, got {precision!r}.")
    favoured = {} if hotwords is None else _hotwords(hotwords)
    try:
        options = BeamOptions(beam, beam_tokens, beam_threshold, nbest)
    except ValueError as error:
        raise UsageError(str(error)) from None
    with fetching() as tell:
        location = resolve_model(model, tell)
        language_model = resolve_lm(lm, location, lexicon, tell)
        second = None if rescore is None else resolve_lm(rescore, location, None, tell)
    weights = DecodingWeights(
        *STARTING[language_model.kind], unk_score=unk_score, sil_score=sil_score
    )
    if search != "greedy":
        weights = _weights(
            weights, lm_weight, word_score, "--lm-weight and --word-score", location, language_model
        )
    again = None
    if second is not None:
        again = Rescoring(
            second,
            _weights(
                DecodingWeights(*STARTING[second.kind]), rescore_lm_weight, rescore_word_score,
                "--rescore-lm-weight and --rescore-word-score", location, second, rescored(language_model),
            ),
            rescore_first_weight,
            rescore_nbest,
        )  # fmt: skip
    return RecognitionOptions(
        model=location,
        lm=language_model,
        weights=weights,
        beam=options,
        search=search,  # type: ignore[arg-type] # one of them, as just seen
        hotwords=favoured,
        rescore=again,
        lm_cache_gb=lm_cache_gb,
        device=device,
        precision=precision,  # type: ignore[arg-type] # one of them, as just seen
        batch_seconds=batch_seconds,
        workers=workers,
    )


def _hotwords(path: Path) -> dict[str, float]:
    from lm.search.hotwords import HotwordsError, read_hotwords

    try:
        return read_hotwords(path)
    except HotwordsError as error:
        raise UsageError(str(error)) from None


def _weights(
    weights: DecodingWeights,
    lm_weight: float | None,
    word_score: float | None,
    options: str,
    model: ModelLocation,
    lm: LmLocation,
    search: str | None = None,
) -> DecodingWeights:
    """As given by `options`, what is not given from `weights`; where neither is, what `w2v2 tune-lm` found, said in a line.

    A silence score given stays.
    """
    if lm_weight is not None or word_score is not None:
        return replace(
            weights,
            lm_weight=weights.lm_weight if lm_weight is None else lm_weight,
            word_score=weights.word_score if word_score is None else word_score,
        )
    from w2v2cli.recognition.tuning.kept import BEAM, find_tuned

    tuned = find_tuned(model, lm, search or BEAM)
    if tuned is None:
        return weights
    found = tuned.weights
    say(
        f"Note: LM weight {found.lm_weight:g} and word score {found.word_score:g}, as tuned on {tuned.data} "
        f"({tuned.path}); {options} overrule them."
    )
    return replace(
        weights,
        lm_weight=found.lm_weight,
        word_score=found.word_score,
        sil_score=weights.sil_score or found.sil_score,
    )


class fetching:
    """Progress of downloads, shown from the first byte that arrives; a line for each file where there is no terminal."""

    def __enter__(self) -> OnProgress:
        self._bar = progress("", " MB")
        advance = self._bar.__enter__()
        begun: set[str] = set()

        def tell(file: str, done: int, total: int | None) -> None:
            if file not in begun:
                begun.add(file)
                say(f"Fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))
            advance(done / 1e6, total / 1e6 if total else None, file)

        return tell

    def __exit__(self, *details: object) -> None:
        self._bar.__exit__(None, None, None)
