"""Training a word Transformer as a job: texts in, a checkpoint out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lm.text.normalizers import Normalizer
from lm.text.reading import Reading, ReadReport
from lm.text.sentences import text_files
from lm.transformer.dictionary import Dictionary
from lm.transformer.token_shards import TokenShards, build_shards, count_words, sentence_blocks
from storage.home import home
from storage.whole import write_whole
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.devices import resolve_device
from w2v2cli.training.collectives import Collectives, joined
from w2v2cli.training.config import LmConfig, changed
from w2v2cli.training.metrics import Progress
from w2v2cli.training.recipes import LANGUAGE_MODELS
from w2v2cli.training.run_folder import Callbacks, holds_run, make_folder, settled, train
from w2v2cli.training.runs.dry_run import parameter_count
from w2v2cli.training.runs.result import RunResult, result_of
from w2v2cli.training.tasks.language_model import LanguageModelling, TextStream, build

DICTIONARY = "words.txt"  # in the folder of a run
RUNNING = Reading(Normalizer(), lines=None)  # English, each text as it looks


def train_language_model(
    texts: Sequence[Path],
    *,
    valid: Path,
    output: Path,
    recipe: str = "small",
    reading: Reading = RUNNING,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    tensorboard: bool = False,
    wandb: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = warnings.warn,
    note: Callable[[str], None] = lambda sentence: None,
) -> RunResult:
    """Train a word Transformer on text (paper §4.4).

    Stopped at any moment, the same call continues where it was. Under torchrun every process makes
    the same call, and they train together. Texts become numbers on disk once, in `$W2V2_HOME`.

    texts, valid: text files, or folders of .txt and .txt.gz; none may be in both.
    output: folder of the run. Its best checkpoint by validation perplexity is `best.safetensors`,
        its dictionary `words.txt`.
    recipe: a name in `recipes.LANGUAGE_MODELS`.
    reading: what a sentence of the texts is, and how it is spelled.
    settings: values in place of the recipe's by name, `{"schedule.updates": 1000}`; see `changed`.
    device: `auto`, `cpu`, `cuda` or `cuda:N`.
    on_progress: called after every update. warn, note: called with sentences; warnings become
        Python warnings by default, notes are dropped.

    Raises UsageError for a call that cannot be carried out, UserError for a run that fails.
    """
    if recipe not in LANGUAGE_MODELS:
        raise UsageError(f"--recipe takes {', '.join(LANGUAGE_MODELS)}; got {recipe!r}.")
    config = changed(LANGUAGE_MODELS[recipe](), settings or {})
    with _user_errors():
        files, held_out = list(text_files(texts)), list(text_files([valid]))
    common = [path for path in files if path.resolve() in {p.resolve() for p in held_out}]
    if common:
        raise UsageError(f"{common[0]} is both trained on and validated on: leave it out of one.")
    job = _Job(config, files, held_out, reading, recipe, output, tensorboard)
    return job.run(resolve_device(device), Callbacks(on_progress, warn, note, wandb))


@dataclass(frozen=True)
class _Job:
    config: LmConfig
    files: list[Path]
    held_out: list[Path]
    reading: Reading
    recipe: str
    folder: Path
    tensorboard: bool

    def run(self, device: torch.device, callbacks: Callbacks) -> RunResult:
        with joined(device) as ranks:
            note = callbacks.note if ranks.first else lambda sentence: None
            config = settled(self.config, self.folder, ranks, note)
            with _user_errors():
                dictionary = self._dictionary(ranks, note)
                shards = self._numbers(self.files, dictionary, ranks, note)
                other = self._numbers(self.held_out, dictionary, ranks, note)
                blocks = sentence_blocks(shards, config.block)
                tests = sentence_blocks(other, config.block)
            network = build(config, len(dictionary))
            unknown = other.unknown / max(other.tokens, 1)
            mean = shards.tokens / max(shards.sentences, 1) - 1  # without the end of the sentence
            note(
                f"Training on {shards.tokens} words in {shards.sentences} sentences of {mean:.1f} "
                f"words on average, {len(dictionary.words)} known; validating on {other.tokens}, "
                f"{unknown:.1%} of them unknown. The network has "
                f"{parameter_count(network) / 1e6:.1f} M parameters."
            )
            rows = max(config.batch_words // config.block, 1)
            names = [path.name for path in self.files]
            metadata = {
                "recipe": self.recipe,
                "texts": names,
                "seed": config.seed,
                "normalizer": self.reading.normalizer.metadata,
            }
            task = LanguageModelling(config, dictionary, shards, tests, other, rows, metadata)
            stream = TextStream(
                shards, blocks, rows, config.seed, ranks.rank, ranks.world, config.accumulate
            )
            parts = {
                "corpora": _part(self.files, shards),
                "validation": _part(self.held_out, other),
            }
            outcome = train(
                network,
                task,
                config,
                stream,
                self.folder,
                ranks,
                callbacks,
                self.tensorboard,
                parts,
            )
            return ranks.from_first(lambda: result_of(outcome, self.folder, task.judged_by))

    def _dictionary(self, ranks: Collectives, note: Callable[[str], None]) -> Dictionary:
        """The most frequent words, chosen by the first rank and kept in the folder of the run."""

        def made() -> Dictionary:
            path = self.folder / DICTIONARY
            if path.is_file() and holds_run(self.folder):
                return Dictionary(path.read_text(encoding="utf-8").split("\n"))
            report = ReadReport(self.reading)
            counts = count_words(
                self.files, _texts(), self.reading, report=report, on_progress=note
            )
            for line in report.lines():
                note(line)
            make_folder(self.folder)
            chosen = Dictionary.from_counts(counts, self.config.vocabulary)
            write_whole(path, "\n".join(chosen.symbols))
            return chosen

        return ranks.from_first(made)

    def _numbers(
        self,
        files: Sequence[Path],
        dictionary: Dictionary,
        ranks: Collectives,
        note: Callable[[str], None],
    ) -> TokenShards:
        """The words of texts as numbers on disk, made once on each machine."""
        return ranks.after_first_here(
            lambda: build_shards(files, dictionary, _texts(), self.reading, on_progress=note)
        )


def _texts() -> Path:
    """The folder where texts are kept as numbers. Raises UserError where there can be none."""
    folder = home() / "text"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Words of texts cannot be kept in {folder} ({error.strerror}): correct that, or name "
            "another folder in $W2V2_HOME."
        ) from None
    return folder


def _part(files: Sequence[Path], words: TokenShards) -> Mapping[str, str]:
    """Describe a text as `run.json` keeps it; the numbers of its words tell it from others."""
    what = f"{words.tokens} words in {words.sentences} sentences"
    names = " ".join(path.name for path in files)
    return {"name": names, "what": what, "digest": f"{what}, {words.unknown} unknown"}


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
