"""`tuned.json`: the weights that tuning found for a model, a language model and a kind of search.

The file lies beside the model; in $W2V2_HOME/tuned for the shipped model, and where that folder
cannot be written. An entry applies only to files with the same bytes as those it was made with.
Weights that a user gives by hand always win: who reads an entry fills in only what is missing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.decoding import DecodingWeights
from storage.home import home
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.errors import UserError
from w2v2cli.recognition.output import write_file
from w2v2cli.recognition.tuning.fingerprints import model_hash

NAME = "tuned.json"
BEAM = "beam"  # the kind of search that has a single pass, with the language model in it


@dataclass(frozen=True)
class Tuned:
    """An entry of `tuned.json`."""

    weights: DecodingWeights
    data: str
    """Name of the corpus that the weights were tuned on."""
    path: Path
    """The file that holds the entry."""
    details: dict[str, Any]
    """The whole entry."""


def rescored(first: LmLocation) -> str:
    """The kind of search with a second pass over n-best lists that `first` helped to find."""
    return f"rescoring of {'no language model' if first.path is None else model_hash(first.path)}"


def find_tuned(model: ModelLocation, lm: LmLocation, search: str = BEAM) -> Tuned | None:
    """The entry for this model, language model and kind of search; None where there is none.

    Raises UserError for a damaged file.
    """
    paths = [path for path in _places(model) if path.is_file()]
    if not paths or lm.path is None:
        return None
    key = _key(model, lm, search)
    for path in paths:
        for entry in _read(path):
            if {name: entry.get(name) for name in key} == key:
                try:
                    weights = DecodingWeights(
                        float(entry["lm_weight"]),
                        float(entry["word_score"]),
                        sil_score=float(entry["sil_score"]),
                    )
                except (KeyError, TypeError, ValueError):
                    raise _damaged(path) from None
                return Tuned(weights, str(entry.get("data")), path, entry)
    return None


def keep_tuned(
    model: ModelLocation,
    lm: LmLocation,
    weights: DecodingWeights,
    details: dict[str, Any],
    search: str = BEAM,
) -> Path:
    """Write an entry in place of an earlier one for the same model, LM and search; its file.

    details: further values of the entry, such as the corpus and the error rate.

    Raises UserError when neither file can be written.
    """
    if lm.path is None:
        raise UserError("Without a language model there are no weights to keep.")
    key = _key(model, lm, search)
    path = next(
        path for path in _places(model) if path.is_relative_to(home()) or _is_writable(path)
    )
    others = (
        [e for e in _read(path) if {name: e.get(name) for name in key} != key]
        if path.is_file()
        else []
    )
    entry = {
        **key,
        "lm_weight": weights.lm_weight,
        "word_score": weights.word_score,
        "sil_score": weights.sil_score,
        **details,
    }
    write_file(path, json.dumps({"tuned": [*others, entry]}, indent=2, ensure_ascii=False) + "\n")
    return path


def _places(model: ModelLocation) -> list[Path]:
    """The files that may hold an entry; the first that can be written takes a new one."""
    tuned = home() / "tuned"
    if model.commit is not None:  # the hub's cache is shared with others; any revision's entries
        return [tuned / f"{model.name.partition('@')[0].replace('/', '--')}.json"]
    store = tuned / f"{Path(model.name).stem or 'model'}.json"
    if model.family == "demo":
        return [store]
    folder = model.path if model.path.is_dir() else model.path.parent
    return [folder / NAME, store]


def _is_writable(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _key(model: ModelLocation, lm: LmLocation, search: str) -> dict[str, str | None]:
    assert lm.path is not None
    return {
        "model": model_hash(model.path, model.language),
        "lm": model_hash(lm.path),
        "search": search,
    }


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["tuned"]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _damaged(path)
    return entries


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} is damaged: delete it and tune again (w2v2 tune-lm), "
        "or give --lm-weight and --word-score."
    )
