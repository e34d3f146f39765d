"""The language model in a model's folder, as transformers' `Wav2Vec2ProcessorWithLM` writes it.

pyctcdecode keeps three files: an n-gram model of KenLM (ARPA or binary), the words of its beam
search, and the weights. Its score of a hypothesis is

    acoustic + sum over words of (alpha · ln 10 · log10 p + beta)

and of a word that is not listed alpha · ln 10 · (log10 p(<unk>) + unk_score_offset) + beta, so its
weights are ours in other units: see `CarriedLm.weights`.
"""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.decoding import DecodingWeights
from lm.language_model import LanguageModelError
from lm.ngram.kenlm import is_arpa
from storage.json_text import parsed
from storage.whole import whole_file, write_whole

ATTRIBUTES, UNIGRAMS = "attrs.json", "unigrams.txt"
SUFFIXES = (".arpa", ".bin", ".binary", ".klm", ".gz")  # of n-gram models beside other files

# pyctcdecode's values where a file lacks one.
DEFAULTS = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0}


@dataclass(frozen=True)
class CarriedLm:
    """The files and the weights of such a folder."""

    path: Path
    """An ARPA file or a binary of KenLM."""
    unigrams: Path | None
    """The words that can be recognised, one a line; None where none are listed."""
    alpha: float
    """Weight of the natural log-probability."""
    beta: float
    """Score of each word, in natural logarithms."""
    unk_score_offset: float
    """Added to the log10 of a word that is not listed."""
    score_boundary: bool
    """Whether the begin and the end of a sentence are scored."""

    @property
    def weights(self) -> DecodingWeights:
        """Our weights for the same score; our n-grams are scored in log10. Raises ValueError."""
        lm_weight = self.alpha * math.log(10)
        unk_score = self.beta + lm_weight * self.unk_score_offset
        return DecodingWeights(lm_weight, self.beta, unk_score)


def is_whole(folder: Path) -> bool:
    """Whether a folder has the three files."""
    return all((folder / name).is_file() for name in (ATTRIBUTES, UNIGRAMS)) and bool(
        _ngrams(folder)
    )


def read_carried(folder: Path) -> CarriedLm:
    """Read the folder `language_model` of a model. Raises LanguageModelError, OSError."""
    models = _ngrams(folder)
    if len(models) != 1:
        found = ", ".join(path.name for path in models) or "none"
        raise LanguageModelError(
            f"{folder} needs one n-gram model beside {ATTRIBUTES} and {UNIGRAMS}, found {found}."
        )
    values: dict[str, Any] = {**DEFAULTS, "score_boundary": True}
    values |= _attributes(folder / ATTRIBUTES)
    for name in DEFAULTS:
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LanguageModelError(
                f"{folder / ATTRIBUTES} sets {name} to {value!r}, which is not a number."
            )
    words = folder / UNIGRAMS
    return CarriedLm(
        models[0],
        words if words.is_file() and words.stat().st_size else None,
        alpha=float(values["alpha"]),
        beta=float(values["beta"]),
        unk_score_offset=float(values["unk_score_offset"]),
        score_boundary=bool(values["score_boundary"]),
    )


def read_words(path: Path) -> list[str]:
    """The words of a file with one on each line. Raises LanguageModelError, OSError."""
    try:
        return path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError as error:
        raise LanguageModelError(f"{path} is not UTF-8: {error}.") from None


def _ngrams(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        return []
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in (ATTRIBUTES, UNIGRAMS) and path.name[0] not in "._"
    ]
    named = [path for path in found if path.suffix in SUFFIXES]
    return named or found


def _attributes(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = parsed(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LanguageModelError(f"{path} is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise LanguageModelError(f"{path} is not a JSON object.")
    return values


def write_carried(
    folder: Path, ngrams: Path, words: Sequence[str], weights: DecodingWeights
) -> None:
    """Write a new folder `language_model`, as pyctcdecode reads it.

    ngrams: an ARPA file, gzip by name, or a binary of KenLM. words: those that can be recognised.
    Where the weights forbid unknown words, pyctcdecode's own offset for them is written.

    Raises LanguageModelError for a folder with other files in it, OSError.
    """
    arpa = is_arpa(ngrams)
    name = ngrams.name.removesuffix(".gz").rpartition(".")[0] or ngrams.name
    model = folder / f"{name}{'.arpa' if arpa else '.binary'}"
    others = [path.name for path in _ngrams(folder) if path != model]
    if others:
        raise LanguageModelError(f"{folder} holds {others[0]} already: name another folder.")
    alpha = weights.lm_weight / math.log(10)
    offset = DEFAULTS["unk_score_offset"]
    if math.isfinite(weights.unk_score) and weights.lm_weight > 0:
        offset = (weights.unk_score - weights.word_score) / weights.lm_weight
    attributes = {
        "alpha": alpha,
        "beta": weights.word_score,
        "unk_score_offset": offset,
        "score_boundary": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(model) as beside, beside.open("wb") as target:
        opened = gzip.open(ngrams) if ngrams.name.endswith(".gz") else ngrams.open("rb")
        with opened as source:
            shutil.copyfileobj(source, target)
    write_whole(folder / UNIGRAMS, "".join(f"{word}\n" for word in sorted(words)))
    write_whole(folder / ATTRIBUTES, json.dumps(attributes) + "\n")
