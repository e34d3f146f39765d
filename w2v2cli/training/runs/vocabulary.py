"""The symbols of a run's output layer: chosen once, kept in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lm.text.normalizers import CASES, Case, Normalizer, NormalizerName
from lm.text.phones import phone_labels
from lm.text.pieces import train_pieces
from lm.text.vocabulary import ENGLISH, Vocabulary
from models.importers.labels import STANDARD
from storage.whole import write_whole
from w2v2cli.errors import UserError
from w2v2cli.training.config import FinetuneConfig
from w2v2cli.training.run_folder import read_json
from w2v2cli.training.runs.alphabet import (
    is_english,
    labels_for,
    read_alphabet,
    without_numerals,
)

KEPT = "vocabulary.json"


def vocabulary_of(
    config: FinetuneConfig,
    texts: Iterable[str | None],
    folder: Path | None = None,
    start: Vocabulary | None = None,
) -> Vocabulary:
    """Return the characters that the configuration names, TIMIT's phones, or word pieces.

    texts: the transcripts, from which characters and pieces are learned.
    folder: the run's, whose own vocabulary is returned where it has one already.
    start: symbols of the checkpoint to start from.

    Raises UserError where pieces cannot be learned, the alphabet cannot be read, or the kept
    vocabulary is damaged.
    """
    path = None if folder is None else folder / KEPT
    try:
        if path is not None and path.is_file():
            kept = read_json(path, ["labels", "metadata"], "it is made again from the transcripts")
            return Vocabulary.from_metadata(kept["labels"], kept["metadata"])
        return _chosen(config, [text for text in texts if text], start)
    except ValueError as error:
        raise UserError(str(error)) from error


def _chosen(config: FinetuneConfig, texts: Sequence[str], start: Vocabulary | None) -> Vocabulary:
    if config.units == "phones":
        labels = phone_labels(48 if config.phones == 48 else 39)
        return Vocabulary.from_labels(labels, units="phones")
    if config.units == "pieces":
        normalizer = _of_texts(config, texts)
        spoken = texts if normalizer.name == "english" else without_numerals(texts, normalizer)
        model = train_pieces(spoken, config.pieces, normalizer)
        labels = model.labels()
        return Vocabulary.from_labels(
            labels, units="pieces", piece_model=model, normalizer=normalizer
        )
    if config.alphabet == "auto":
        normalizer = _of_texts(config, texts)
        labels = labels_for(texts, normalizer)
        return Vocabulary.from_labels(labels, units="characters", normalizer=normalizer)
    vocabulary = _named(config, start)
    return replace(vocabulary, normalizer=_of_alphabet(config, vocabulary))


def _named(config: FinetuneConfig, start: Vocabulary | None) -> Vocabulary:
    """Return an alphabet that is not taken from the transcripts."""
    if config.alphabet == "english":
        return Vocabulary.from_labels(STANDARD, units="characters")
    if config.alphabet != "checkpoint":
        labels = read_alphabet(Path(config.alphabet))
        return Vocabulary.from_labels(labels, units="characters")
    if start is None:
        raise UserError(
            "--alphabet checkpoint: the model to start from has no labels. Take auto, english or a "
            "file."
        )
    if start.units != "characters":
        raise UserError("--alphabet checkpoint: the labels of the checkpoint are not characters.")
    return start


def _of_texts(config: FinetuneConfig, texts: Sequence[str]) -> Normalizer:
    """Return the normaliser asked for; `auto` looks at the letters of the transcripts."""
    name: NormalizerName | None = None if config.normalizer == "auto" else config.normalizer
    english = is_english(texts)
    if name is None:
        name = "english" if english and config.case in ("auto", "upper") else "basic"
    case: Case = CASES[name]
    if config.case != "auto":
        case = config.case
    elif name == "basic" and english:
        case = "upper"  # that of the published symbols
    return Normalizer(name, case, config.language)


def _of_alphabet(config: FinetuneConfig, vocabulary: Vocabulary) -> Normalizer:
    """Return the normaliser asked for; `auto` looks at the letters of the alphabet."""
    letters = vocabulary.letters
    small = any(letter != letter.upper() for letter in letters)
    large = any(letter != letter.lower() for letter in letters)
    case: Case = "keep" if small and large else "upper" if large else "lower"
    name: NormalizerName = "english" if letters <= ENGLISH else "basic"
    if config.normalizer != "auto":
        name = config.normalizer
    elif config.case not in ("auto", "upper"):
        name = "basic"
    if name == "english":
        case = "upper"
    return Normalizer(name, case if config.case == "auto" else config.case, config.language)


def keep_vocabulary(vocabulary: Vocabulary, folder: Path) -> None:
    """Write a vocabulary into the run's folder."""
    content = {"labels": vocabulary.symbols, "metadata": metadata_of(vocabulary)}
    write_whole(folder / KEPT, json.dumps(content, ensure_ascii=False) + "\n")


def metadata_of(vocabulary: Vocabulary) -> dict[str, object]:
    """Return a vocabulary's metadata, the normaliser named in any case."""
    if vocabulary.units == "phones":
        return vocabulary.metadata
    return {**vocabulary.metadata, "normalizer": vocabulary.normalizer.metadata}
