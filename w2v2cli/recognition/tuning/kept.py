"""`tuned.json`: the weights that tuning found for a model, a language model and a kind of search.

The file lies beside the model; in $W2V2_HOME/tuned for the shipped model, and where that folder
cannot be written. An entry applies only to files with the same bytes as those it was made with:
model, language model and lexicon. For each metric there is one; the one kept last counts. Entries
of earlier versions say nothing of a lexicon and apply with any.
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
from storage.json_text import parsed
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.errors import UserError
from w2v2cli.recognition.tuning.fingerprints import content_hash, model_hash
from w2v2cli.recognition.writing.output import write_file

NAME = "tuned.json"
LEXICON, METRIC = "lexicon", "metric"  # fields of an entry
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


def find_tuned(
    model: ModelLocation, lm: LmLocation, search: str = BEAM, lexicon: Path | None = None
) -> Tuned | None:
    """The entry for this model, language model and kind of search; None where there is none.

    lexicon: the words that are searched for, where `lm` does not say.

    Raises UserError for a damaged file.
    """
    paths = [path for path in _places(model) if path.is_file()]
    if not paths or lm.path is None:
        return None
    key = _key(model, lm, search, lexicon)
    for path in paths:
        fitting = [entry for entry in _read(path) if _fits(entry, key)]
        # Of entries for this lexicon and old ones without any, the former; then the newest.
        for entry in sorted(fitting, key=lambda entry: LEXICON in entry)[-1:]:
            return _tuned(entry, path)
    return None


def keep_tuned(
    model: ModelLocation,
    lm: LmLocation,
    weights: DecodingWeights,
    details: dict[str, Any],
    search: str = BEAM,
    lexicon: Path | None = None,
) -> Path:
    """Write an entry in place of an earlier one for the same files, search and metric; its file.

    details: further values of the entry, such as the metric, the corpus and the error rate.
    lexicon: as in `find_tuned`.

    Raises UserError when neither file can be written.
    """
    if lm.path is None:
        raise UserError("Without a language model there are no weights to keep.")
    key = _key(model, lm, search, lexicon)
    path = next(
        path for path in _places(model) if path.is_relative_to(home()) or _is_writable(path)
    )
    others = [
        entry
        for entry in (_read(path) if path.is_file() else [])
        if not _fits(entry, key) or entry.get(METRIC) != details.get(METRIC)
    ]
    entry = {
        **key,
        "lm_weight": weights.lm_weight,
        "word_score": weights.word_score,
        "sil_score": weights.sil_score,
        **details,
    }
    _write(path, [*others, entry])
    return path


def forget_tuned(
    model: ModelLocation, lm: LmLocation, search: str = BEAM, lexicon: Path | None = None
) -> list[Tuned]:
    """Remove every entry that `find_tuned` could find, of any metric; the entries removed.

    Raises UserError for a file that is damaged or cannot be written.
    """
    if lm.path is None:
        return []
    key, forgotten = _key(model, lm, search, lexicon), []
    for path in _places(model):
        entries = _read(path) if path.is_file() else []
        fitting = [entry for entry in entries if _fits(entry, key)]
        if fitting:
            _write(path, [entry for entry in entries if entry not in fitting])
            forgotten += [_tuned(entry, path) for entry in fitting]
    return forgotten


def _tuned(entry: dict[str, Any], path: Path) -> Tuned:
    try:
        weights = DecodingWeights(
            float(entry["lm_weight"]),
            float(entry["word_score"]),
            sil_score=float(entry["sil_score"]),
        )
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None
    return Tuned(weights, str(entry.get("data")), path, entry)


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


def _key(
    model: ModelLocation, lm: LmLocation, search: str, lexicon: Path | None
) -> dict[str, str | None]:
    assert lm.path is not None
    words = lexicon or lm.listed
    return {
        "model": model_hash(model.path, model.language),
        "lm": model_hash(lm.path),
        "search": search,
        LEXICON: None if words is None else content_hash(words),
    }


def _fits(entry: dict[str, Any], key: dict[str, str | None]) -> bool:
    """Whether an entry has this key; one that says nothing of a lexicon has any."""
    return all(entry.get(name) == key[name] for name in key if name != LEXICON or name in entry)


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    write_file(path, json.dumps({"tuned": entries}, indent=2, ensure_ascii=False) + "\n")


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = parsed(path.read_text(encoding="utf-8"))["tuned"]
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
