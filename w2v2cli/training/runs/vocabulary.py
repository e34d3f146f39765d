"""The symbols of a run's output layer: chosen once, kept in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lm.text.phones import phone_labels
from lm.text.pieces import train_pieces
from lm.text.vocabulary import Vocabulary
from models.importers.labels import STANDARD
from storage.whole import write_whole
from w2v2cli.errors import UserError
from w2v2cli.training.config import FinetuneConfig
from w2v2cli.training.run_folder import read_json

KEPT = "vocabulary.json"


def vocabulary_of(
    config: FinetuneConfig, texts: Iterable[str | None], folder: Path | None = None
) -> Vocabulary:
    """Return the published English characters, TIMIT's phones, or word pieces learned from `texts`.

    folder: the run's, whose own vocabulary is returned where it has one already. Raises UserError
    where pieces cannot be learned or the kept vocabulary is damaged.
    """
    path = None if folder is None else folder / KEPT
    try:
        if path is not None and path.is_file():
            kept = read_json(path, ["labels", "metadata"], "it is made again from the transcripts")
            return Vocabulary.from_metadata(kept["labels"], kept["metadata"])
        return _chosen(config, texts)
    except ValueError as error:
        raise UserError(str(error)) from error


def _chosen(config: FinetuneConfig, texts: Iterable[str | None]) -> Vocabulary:
    if config.units == "phones":
        labels = phone_labels(48 if config.phones == 48 else 39)
        return Vocabulary.from_labels(labels, units="phones")
    if config.units == "characters":
        return Vocabulary.from_labels(STANDARD, units="characters")
    model = train_pieces((text for text in texts if text), config.pieces)
    return Vocabulary.from_labels(model.labels(), units="pieces", piece_model=model)


def keep_vocabulary(vocabulary: Vocabulary, folder: Path) -> None:
    """Write a vocabulary into the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"labels": vocabulary.symbols, "metadata": vocabulary.metadata}
    write_whole(folder / KEPT, json.dumps(content, ensure_ascii=False) + "\n")
