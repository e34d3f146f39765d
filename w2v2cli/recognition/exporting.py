"""A model written for transformers, with a language model on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lm.ngram.carried import ATTRIBUTES, write_carried
from lm.text.vocabulary import Vocabulary
from models.checkpoint import Checkpoint
from models.importers.huggingface_writing import (
    decoder_alphabet,
    refuse_others,
    write_huggingface,
)
from storage.whole import write_whole
from w2v2cli.data.hub import LANGUAGE_MODEL
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.errors import UsageError
from w2v2cli.recognition.resolving import Weighing
from w2v2cli.recognition.searching.build import read_lexicon

ALPHABET = "alphabet.json"


def export(
    model: ModelLocation,
    checkpoint: Checkpoint,
    folder: Path,
    lm: LmLocation | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Write a folder of transformers; with `lm` also the files of `Wav2Vec2ProcessorWithLM`.

    The weights are those that a search would take: tuned, the language model's own, or the paper's.
    note: called with a sentence about them.

    Raises UsageError for a language model that pyctcdecode cannot use, ValueError for a checkpoint
    that cannot be written and for a folder with files of another model, OSError.
    """
    refuse_others(checkpoint, folder, with_language_model=lm is not None)
    if lm is not None and lm.path is not None:
        if lm.kind == "transformer" or checkpoint.labels is None:
            raise UsageError(
                f"--lm {lm.name}: transformers' Wav2Vec2ProcessorWithLM takes an ARPA file or a "
                "KenLM binary, with a fine-tuned model."
            )
        labels = decoder_alphabet(checkpoint)
        vocabulary = Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata)
        changed_in = f"{folder / LANGUAGE_MODEL / ATTRIBUTES} keeps them, in pyctcdecode's units"
        weights = Weighing(model, lm, changed_in=changed_in).weights(None, note)
        spelled = read_lexicon(vocabulary, lm.lexicon, lm.words, lm.path).spellings
        write_carried(folder / LANGUAGE_MODEL, lm.path, list(spelled), weights)
        alphabet = {"labels": labels, "is_bpe": False}
        write_whole(folder / ALPHABET, json.dumps(alphabet, ensure_ascii=False) + "\n")
    write_huggingface(checkpoint, folder, with_language_model=lm is not None)
