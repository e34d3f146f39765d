"""`w2v2 lm train`: the word Transformer of the decoding stack, trained on text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import report_end, training
from w2v2cli.commands.training_flags import BATCHES, TrainingFlags
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError

if TYPE_CHECKING:
    from lm.transformer.dictionary import Dictionary
    from lm.transformer.token_shards import TokenShards
    from w2v2cli.training.collectives import Collectives
    from w2v2cli.training.config import LmConfig

SHOWN = ("loss", "perplexity", "learning_rate", "gradient_norm", "words_per_second")
DICTIONARY = "words.txt"


@takes(TrainingFlags)
def train(
    flags: TrainingFlags,
    texts: Annotated[
        list[Path],
        typer.Argument(help="Texts, .txt or .txt.gz, or folders of them.", metavar="TEXT..."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder of the run; a run in it is continued."),
    ],
    valid: Annotated[Path, typer.Option(help="Held-out text; must not be among TEXT.")],
    recipe: Annotated[
        Literal["paper", "small", "demo", "tiny"],
        typer.Option(help="Size of the network and its schedule, by name."),
    ] = "small",
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize/--no-normalize",
            help="Split text into sentences and spell it as transcripts are; else each line is a "
            "sentence as it stands.",
        ),
    ] = True,
    peak_lr: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: the recipe's.")
    ] = None,
    batch_words: Annotated[
        int | None,
        typer.Option(
            help="Words per device and micro-batch. Default: the recipe's.",
            min=1,
            rich_help_panel=BATCHES,
        ),
    ] = None,
) -> None:
    """Train a word Transformer; the best by validation perplexity becomes OUTPUT/best.safetensors.

    Give that file to --lm. Text of any size is turned into numbers on disk once, in $W2V2_HOME. A
    run that is stopped at any moment, also by SIGTERM or SIGUSR1, is continued by the same call. On
    several GPUs: torchrun --nproc-per-node 8 --no-python w2v2 lm train ...
    """
    from w2v2cli.training.config import changed
    from w2v2cli.training.recipes import LANGUAGE_MODELS

    words = {} if batch_words is None else {"batch_words": batch_words}
    config = changed(LANGUAGE_MODELS[recipe](), words | flags.changes(peak_lr))
    _run(config, flags, texts, valid, output, recipe, normalize)


def _run(
    config: LmConfig,
    flags: TrainingFlags,
    texts: Sequence[Path],
    valid: Path,
    output: Path,
    recipe: str,
    normalize: bool,
) -> None:
    from lm.text.sentences import text_files
    from lm.transformer.token_shards import sentence_blocks
    from w2v2cli.recognition.devices import resolve_device
    from w2v2cli.training.collectives import joined
    from w2v2cli.training.run_folder import Callbacks
    from w2v2cli.training.run_folder import train as fit
    from w2v2cli.training.runs.dry_run import parameter_count
    from w2v2cli.training.runs.result import result_of
    from w2v2cli.training.tasks.language_model import LanguageModelling, TextStream, build

    with _sentences():
        files, held_out = list(text_files(texts)), list(text_files([valid]))
    common = [path for path in files if path.resolve() in {p.resolve() for p in held_out}]
    if common:
        raise UsageError(f"{common[0]} is both trained on and validated on: leave it out of one.")
    with joined(resolve_device(flags.device)) as ranks:
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
                f"Training on {shards.tokens} words in {shards.sentences} sentences, "
                f"{len(dictionary.words)} known; validating on {other.tokens}, {unknown:.1%} of "
                f"them unknown. The network has {parameter_count(network) / 1e6:.1f} M parameters."
            )
        stream = TextStream(
            shards, blocks, rows, config.seed, ranks.rank, ranks.world, config.accumulate
        )
        metadata = {"recipe": recipe, "texts": [path.name for path in files], "seed": config.seed}
        task = LanguageModelling(config, dictionary, shards, tests, other, rows, metadata)
        with training(flags.log_every, SHOWN) as report:
            callbacks = Callbacks(report.on_progress, report.warn, report.note)
            outcome = fit(
                network, task, config, stream, output, ranks, callbacks, flags.tensorboard
            )
        report_end(result_of(outcome, output, task.judged_by))


def _dictionary(
    config: LmConfig, files: Sequence[Path], output: Path, normalize: bool, ranks: Collectives
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
    files: Sequence[Path], dictionary: Dictionary, normalize: bool, ranks: Collectives
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
