"""The recordings of a run: what is trained on, and what is held out to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.config import SAMPLE_RATE
from w2v2cli.data.corpora.catalogue import TRAINING_NAMES, find_training_corpus
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.dataset import LeftOut, TrainingSet, unlabelled
from w2v2cli.data.recordings import FileRecordings, Recordings, Selected
from w2v2cli.data.shards.reader import ShardRecordings
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UsageError, UserError

HELD_OUT = 0.01  # share of the recordings that pretraining holds out
HELD_OUT_LEAST, HELD_OUT_MOST = 8, 500  # recordings
NAMED = 5  # utterances left out that are named, one line each

Corpora = str | Path | Sequence[str | Path]


def names_of(corpora: Corpora) -> list[str]:
    """Return corpora given one by one or in a sequence as a list of names."""
    return [str(corpora)] if isinstance(corpora, str | Path) else [str(name) for name in corpora]


def path_of(value: str | Path | None) -> Path | None:
    """Return a path given as a text, or None."""
    return None if value is None else Path(value)


def text_of(value: str | Path | None) -> str | None:
    """Return a name or path as a text, or None."""
    return None if value is None else str(value)


def read_utterances(names: Sequence[str], data: Path | None) -> list[Utterance]:
    """Return the utterances of corpora: folders, manifests and known names.

    NAME@8 stands for eight times those of NAME. data: the folder that holds known corpora.
    """
    utterances: list[Utterance] = []
    for name in names:
        path, _, times = name.rpartition("@")
        count = 1
        if path and times.isdigit() and int(times) > 0 and not Path(name).exists():
            name, count = path, int(times)
        utterances += find_training_corpus(name, data) * count
    return utterances


def read_source(
    names: Sequence[str], shards: str | None, data: Path | None, phones: bool = False
) -> Recordings:
    """Return the recordings of corpora or of shards.

    phones: take each utterance's phones for its text. Raises UsageError for corpora and shards at
    once, and for phones of shards.
    """
    if shards is None:
        utterances = read_utterances(names, data)
        if phones:
            utterances = [
                replace(u, text=None if u.phones is None else " ".join(u.phones))
                for u in utterances
            ]
        return FileRecordings(utterances)
    if names:
        raise UsageError(f"--shards {shards} and {names[0]}: give either shards or corpora.")
    if phones:
        raise UsageError("Phones are read from corpora (timit-train), not from --shards.")
    return ShardRecordings(shards)


def labelled_recordings(
    names: Sequence[str],
    shards: str | None,
    valid: str | None,
    data: Path | None,
    phones: bool = False,
) -> tuple[Recordings, Recordings]:
    """Return the recordings that fine-tuning trains on and those it validates on.

    With `valid`, everything but the utterances of that corpus is trained on. Corpora known by name
    have splits of their own: LibriSpeech and Libri-light are validated on dev-other (paper §4.3),
    TIMIT on its dev speakers. Otherwise the utterances' ids decide, by `split_of`, and those of the
    test split are not used at all.
    """
    every = read_source(names, shards, data, phones)
    known = {name.rpartition("@")[0] or name for name in names}
    if valid is None and known and known <= set(TRAINING_NAMES):
        valid = "timit-dev" if all(name.startswith("timit") for name in known) else "dev-other"
    if valid is not None:
        held_out = read_source([valid], None, data, phones)
        ids = set(held_out.ids)
        return Selected(every, [i for i, name in enumerate(every.ids) if name not in ids]), held_out
    # A dict takes each utterance once, however often its corpus is read.
    dev = {name: i for i, name in enumerate(every.ids) if split_of(name) == "dev"}
    learned = [i for i, name in enumerate(every.ids) if split_of(name) == "train"]
    return Selected(every, learned), Selected(every, list(dev.values()))


def unlabelled_recordings(
    names: Sequence[str],
    shards: str | None,
    valid: str | None,
    data: Path | None,
    shortest_seconds: float,
) -> tuple[TrainingSet, TrainingSet, list[LeftOut]]:
    """Return the recordings that pretraining trains on, those it validates on, those left out.

    Recordings under `shortest_seconds` are left out. Without `valid` one recording in a hundred is
    held out, at least 8 and at most 500. Raises UserError where nothing would be left.
    """
    shortest = int(shortest_seconds * SAMPLE_RATE)
    every, left_out = unlabelled(read_source(names, shards, data), shortest)
    if valid is not None:
        return every, unlabelled(read_source([valid], None, data), shortest)[0], left_out
    # Which ones is decided by their number alone, so that a continued run holds out the same.
    order = np.random.default_rng(len(every)).permutation(len(every))
    count = min(max(int(len(every) * HELD_OUT), HELD_OUT_LEAST), HELD_OUT_MOST)
    if len(every) <= count:
        raise UserError(
            f"{len(every)} recordings are left to train on, but {count} are needed for validation "
            "alone: name more, or a validation corpus by --valid."
        )
    train = TrainingSet(every.source, every.kept[np.sort(order[count:])])
    return train, TrainingSet(every.source, every.kept[order[:count]]), left_out


def described(left_out: Sequence[LeftOut]) -> list[str]:
    """Return lines that name the first few utterances left out and count the others."""
    lines = [f"Left out: {utterance.id}: {utterance.reason}." for utterance in left_out[:NAMED]]
    if len(left_out) > NAMED:
        lines.append(f"Left out: {len(left_out) - NAMED} more.")
    return lines
