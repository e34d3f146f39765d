"""`w2v2 lm train`: the word Transformer of the decoding stack, trained on text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import training as t
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from lm.transformer.dictionary import Dictionary
    from lm.transformer.token_shards import TokenShards
    from w2v2cli.training.collectives import Ranks
    from w2v2cli.training.config import LmConfig

SHOWN = ("loss", "perplexity", "learning_rate", "gradient_norm", "words_per_second")
DICTIONARY = "words.txt"


def train(
    texts: Annotated[
        list[Path],
        typer.Argument(help="Texts, .txt or .txt.gz, or folders of them.", metavar="TEXT..."),
    ],
    output: t.Output,
    valid: Annotated[Path, typer.Option(help="Text to validate on; none of those trained on.")],
    recipe: Annotated[str, typer.Option(help="paper, small, demo or tiny.")] = "small",
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize/--no-normalize",
            help="Split and spell as transcripts are; else a line is a sentence.",
        ),
    ] = True,
    updates: t.Updates = None,
    peak_lr: t.PeakLr = None,
    seed: t.Seed = None,
    settings: t.Set = None,
    batch_words: Annotated[
        int | None,
        typer.Option(help="Words on one device at a time.", min=1, rich_help_panel=t.BATCHES),
    ] = None,
    accumulate: t.Accumulate = None,
    precision: t.Precision = None,
    device: t.Device = "auto",
    compiled: t.Compile = None,
    log_every: t.LogEvery = 50,
    tensorboard: t.Tensorboard = False,
) -> None:
    """Train a word Transformer; the best by validation perplexity is OUTPUT/best.safetensors, which --lm takes.

    Text of any size becomes numbers on disk once (in the store). Stopped at any moment (also by SIGTERM or SIGUSR1), the same
    call goes on where it was. On several GPUs: `torchrun --nproc-per-node 8 --no-python w2v2 lm train ...`.
    """
    with exits():
        from w2v2cli.training.config import Changes, changed
        from w2v2cli.training.recipes import LANGUAGE_MODELS

        if recipe not in LANGUAGE_MODELS:
            raise UsageError(f"--recipe takes {', '.join(LANGUAGE_MODELS)}; got {recipe!r}.")
        if precision not in (None, "fp32", "bf16", "fp16"):
            raise UsageError(f"--precision takes fp32, bf16 or fp16, got {precision!r}.")
        others = {
            "seed": seed, "batch_words": batch_words, "accumulate": accumulate, "precision": precision, "compile": compiled,
        }  # fmt: skip
        config = changed(
            LANGUAGE_MODELS[recipe](), Changes(updates, peak_lr, tuple(settings or ()), others)
        )
        _run(config, texts, valid, output, recipe, normalize, device, log_every, tensorboard)


def _run(
    config: LmConfig,
    texts: Sequence[Path],
    valid: Path,
    output: Path,
    recipe: str,
    normalize: bool,
    device: str,
    log_every: int,
    tensorboard: bool,
) -> None:
    from lm.text.sentences import text_files
    from lm.transformer.token_shards import sentence_blocks
    from w2v2cli.recognition.devices import resolve_device
    from w2v2cli.training.collectives import joined
    from w2v2cli.training.run_folder import train as fit
    from w2v2cli.training.tasks.language_model import LanguageModelling, TextStream, build

    with _sentences():
        files, held_out = list(text_files(texts)), list(text_files([valid]))
    common = [path for path in files if path.resolve() in {p.resolve() for p in held_out}]
    if common:
        raise UsageError(f"{common[0]} is both trained on and validated on: leave it out of one.")
    with joined(resolve_device(device)) as ranks:
        with _sentences():
            dictionary = _dictionary(config, files, output, normalize, ranks)
            shards, other = (
                _numbers(part, dictionary, normalize, ranks) for part in (files, held_out)
            )
            blocks = sentence_blocks(shards, config.block)
            tests = sentence_blocks(other, config.block)
        rows = max(config.batch_words // config.block, 1)
        network = build(config, len(dictionary))
        if ranks.first:
            unknown = other.unknown / max(other.tokens, 1)
            say(
                f"Training on {shards.tokens} words in {shards.sentences} sentences, {len(dictionary.words)} known; validating on "
                f"{other.tokens}, {unknown:.1%} of them unknown. {t.network_described(network)}"
            )
        stream = TextStream(
            shards, blocks, rows, config.seed, ranks.rank, ranks.world, config.accumulate
        )
        metadata = {"recipe": recipe, "texts": [path.name for path in files], "seed": config.seed}
        task = LanguageModelling(config, dictionary, shards, tests, other, rows, metadata)
        with t.telling(ranks, log_every, config.schedule.updates, SHOWN) as telling:
            outcome = fit(network, task, config, stream, output, ranks, telling, tensorboard)
        t.tell_outcome(outcome, output, ranks)


def _dictionary(
    config: LmConfig, files: Sequence[Path], output: Path, normalize: bool, ranks: Ranks
) -> Dictionary:
    """The most frequent words, chosen by the first rank and kept in the run's folder."""
    from lm.transformer.dictionary import Dictionary
    from lm.transformer.token_shards import count_words
    from storage.home import home

    path = output / DICTIONARY
    if ranks.first and not path.is_file():
        counts = count_words(files, home() / "text", normalize=normalize, on_progress=say)
        output.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.part")
        beside.write_text(
            "\n".join(Dictionary.from_counts(counts, config.vocabulary).symbols), encoding="utf-8"
        )
        beside.replace(path)
    ranks.wait()
    return Dictionary(path.read_text(encoding="utf-8").split("\n"))


def _numbers(
    files: Sequence[Path], dictionary: Dictionary, normalize: bool, ranks: Ranks
) -> TokenShards:
    """The words of texts as numbers on disk; the first rank makes them, the others read what it made."""
    from lm.transformer.token_shards import build_shards
    from storage.home import home

    if not ranks.first:
        ranks.wait()
    made = build_shards(
        files,
        dictionary,
        home() / "text",
        normalize=normalize,
        on_progress=say if ranks.first else lambda _: None,
    )
    if ranks.first:
        ranks.wait()
    return made


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
