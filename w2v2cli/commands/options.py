"""The options that several commands share, and what they come to. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError

if TYPE_CHECKING:
    from w2v2cli.data.store import Tell
    from w2v2cli.recognition.recognizer import RecognitionOptions

SEARCH = "Search"
DEVICE = "Device"

Model = Annotated[str, typer.Option(help="A name (w2v2 model list), a folder or a file.")]
Lm = Annotated[str, typer.Option(help="none, 4gram, or the path of an ARPA or KenLM file.")]
Lexicon = Annotated[Path | None, typer.Option(help="Spellings, `word<TAB>w o r d |` a line.")]
Search = Annotated[
    str, typer.Option(help="greedy or flashlight; auto: greedy without a language model.", rich_help_panel=SEARCH)
]
Beam = Annotated[int, typer.Option(help="Hypotheses kept after each frame.", rich_help_panel=SEARCH)]
BeamThreshold = Annotated[
    float, typer.Option(help="Hypotheses this far below the best are dropped.", rich_help_panel=SEARCH)
]
BeamTokens = Annotated[
    int | None, typer.Option(help="Best symbols of a frame that are tried; all by default.", rich_help_panel=SEARCH)
]
LmWeight = Annotated[float, typer.Option(help="Weight of the language model.", rich_help_panel=SEARCH)]
WordScore = Annotated[float, typer.Option(help="Added for each word.", rich_help_panel=SEARCH)]
UnkScore = Annotated[
    float, typer.Option(help="Added for each word unknown to the language model.", rich_help_panel=SEARCH)
]
SilScore = Annotated[float, typer.Option(help="Added for each word boundary.", rich_help_panel=SEARCH)]
Nbest = Annotated[int, typer.Option(help="Hypotheses kept in json and jsonl.", rich_help_panel=SEARCH)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=DEVICE)]
Precision = Annotated[
    str, typer.Option(help="auto, fp32, bf16 or fp16; auto is fp32 on a CPU.", rich_help_panel=DEVICE)
]
BatchSeconds = Annotated[
    float, typer.Option(help="Audio in a batch; 0 lets the device decide.", rich_help_panel=DEVICE)
]
Workers = Annotated[int, typer.Option(help="Search processes; 0 is one for each core.", rich_help_panel=DEVICE)]

LM_WEIGHT, WORD_SCORE = 2.0, -1.0  # the paper's before tuning (§4.4)


def recognition_options(
    *,
    model: str,
    lm: str,
    lexicon: Path | None,
    search: str,
    beam: int,
    beam_threshold: float,
    beam_tokens: int | None,
    lm_weight: float,
    word_score: float,
    unk_score: float,
    sil_score: float,
    nbest: int,
    device: str,
    precision: str,
    batch_seconds: float,
    workers: int,
) -> RecognitionOptions:
    """Check the options against each other and resolve the names, fetching what must be; UsageError for a wrong call."""
    from lm.hypothesis import BeamOptions, DecodingWeights
    from w2v2cli.data.store import resolve_lm, resolve_model
    from w2v2cli.recognition.recognizer import RecognitionOptions

    if search not in ("auto", "greedy", "flashlight"):
        raise UsageError(f"--search takes auto, greedy or flashlight, got {search!r}.")
    if search == "greedy" and (lm != "none" or lexicon is not None):
        what = f"--lm {lm}" if lm != "none" else "--lexicon"
        raise UsageError(f"--search greedy looks at no language model or lexicon: leave it out, or {what}.")
    if search == "greedy" and nbest > 1:
        raise UsageError(f"--search greedy finds one hypothesis, --nbest asks for {nbest}.")
    if batch_seconds < 0:
        raise UsageError(f"--batch-seconds cannot be negative, got {batch_seconds:g}.")
    if workers < 0:
        raise UsageError(f"--workers cannot be negative, got {workers}.")
    try:
        options = BeamOptions(beam, beam_tokens, beam_threshold, nbest)
    except ValueError as error:
        raise UsageError(str(error)) from None
    with fetching() as tell:
        location = resolve_model(model, tell)
        language_model = resolve_lm(lm, location, lexicon, tell)
    weights = DecodingWeights(lm_weight, word_score, unk_score, sil_score)
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise UsageError(f"--precision takes auto, fp32, bf16 or fp16, got {precision!r}.")
    return RecognitionOptions(
        location,
        language_model,
        weights,
        options,
        search,
        device,
        precision,  # type: ignore[arg-type] # one of them, as just seen
        batch_seconds,
        workers,
    )


class fetching:
    """Progress of downloads, shown from the first byte that arrives; a line for each file where there is no terminal."""

    def __enter__(self) -> Tell:
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
