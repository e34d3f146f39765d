"""The recordings of a run: what is trained on, and what is held out to validate on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.config import SAMPLE_RATE
from w2v2cli.data.corpora.catalogue import TRAINING_NAMES, find_training_corpus
from w2v2cli.data.corpora.held_out import divided
from w2v2cli.data.corpora.readers import Note, ignored
from w2v2cli.data.dataset import LeftOut, TrainingSet, unlabelled
from w2v2cli.data.recordings import FileRecordings, Recordings, Selected
from w2v2cli.data.shards.reader import ShardRecordings
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UsageError, UserError

HELD_OUT = 0.01  # share of the recordings that pretraining holds out
HELD_OUT_LEAST, HELD_OUT_MOST = 8, 500  # recordings
MOST_HOURS = 5.0  # that fine-tuning holds out by speaker: each validation reads them all
NAMED = 5  # utterances left out that are named, one line each

Stretches = dict[str, dict[str, list[tuple[int, int]]]]
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


def validated_on(valid: str) -> list[str]:
    """Return the names in a --valid: one, or several with + between them (dev-clean+dev-other)."""
    return [valid] if Path(valid).exists() else valid.split("+")


def read_utterances(
    names: Sequence[str], data: Path | None, note: Note = ignored
) -> list[Utterance]:
    """Return the utterances of corpora: folders, manifests and known names.

    NAME@8 stands for eight times those of NAME. data: the folder that holds known corpora.
    """
    utterances: list[Utterance] = []
    for name in names:
        path, _, times = name.rpartition("@")
        count = 1
        if path and times.isdigit() and int(times) > 0 and not Path(name).exists():
            name, count = path, int(times)
        utterances += find_training_corpus(name, data, note) * count
    return utterances


def read_source(
    names: Sequence[str],
    shards: str | None,
    data: Path | None,
    phones: bool = False,
    note: Note = ignored,
) -> Recordings:
    """Return the recordings of corpora or of shards.

    phones: take each utterance's phones for its text. Raises UsageError for corpora and shards at
    once, and for phones of shards.
    """
    if shards is None:
        utterances = read_utterances(names, data, note)
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
    note: Note = ignored,
) -> tuple[Recordings, Recordings]:
    """Return the recordings that fine-tuning trains on and those it validates on.

    With `valid`, everything but the recordings of that corpus is trained on. Corpora known by name
    have splits of their own: LibriSpeech and Libri-light are validated on dev-other (paper §4.3),
    TIMIT on its dev speakers. Otherwise speakers are held out, or utterances by their ids, as
    `divided` says; all others are trained on. note: called with a sentence about that. Either part
    may be empty.
    """
    every = read_source(names, shards, data, phones, note)
    known = {name.rpartition("@")[0] or name for name in names}
    if valid is None and known and known <= set(TRAINING_NAMES):
        valid = "timit-dev" if all(name.startswith("timit") for name in known) else "dev-other"
    if valid is not None:
        held_out = read_source(validated_on(valid), None, data, phones, note)
        return _without(every, held_out, valid, note), held_out
    most = MOST_HOURS * 3600 * SAMPLE_RATE
    found = divided(every.ids, every.speakers, every.lengths.tolist(), ["dev"], most=most)
    learned = [i for i, split in enumerate(found.splits) if split == "train"]
    # A dict takes each recording once, however often its corpus is read.
    dev = {_key(every, i): i for i, split in enumerate(found.splits) if split == "dev"}
    validated = Selected(every, list(dev.values()))
    if dev:  # else the run says that nothing is left to validate on
        note(_held_out_line(every, validated, None if found.by_speaker else "by their ids"))
    return Selected(every, learned), validated


def _held_out_line(every: Recordings, validated: Recordings, otherwise: str | None) -> str:
    """The sentence on what is held out to validate on, and why.

    otherwise: how it was chosen where not by speakers.
    """
    hours = float(validated.lengths.sum()) / SAMPLE_RATE / 3600
    speakers = {speaker for speaker in every.speakers if speaker is not None}
    other = "--valid CORPUS names others"
    if otherwise is None:
        own = len(set(validated.speakers))
        return (
            f"Held out for validation: {own} of {len(speakers)} speakers, {hours:.2f} h, "
            f"{len(validated.ids)} utterances; {other}."
        )
    why = "not every speaker is known"
    if None not in every.speakers:
        why = f"{len(speakers)} speakers are too few or too unequal to hold some out"
    return (
        f"Held out for validation: {len(validated.ids)} utterances, {hours:.2f} h, {otherwise}, "
        f"since {why}: voices of the training may be among them; {other}."
    )


def _key(recordings: Recordings, index: int) -> tuple[object, ...]:
    """What tells a recording from others of the same id."""
    if isinstance(recordings, FileRecordings):
        return (recordings.paths[index], *_stretch(recordings, index))
    return (recordings.ids[index], int(recordings.lengths[index]))


def _without(every: Recordings, held_out: Recordings, valid: str, note: Note) -> Recordings:
    """Return the recordings that are not among those held out.

    The same are cuts of a file that share most of their audio, and recordings of the same id, text
    and length to the sample. An id alone does not make them the same: other speakers may have it.
    """
    by_id = {name: index for index, name in enumerate(held_out.ids)}
    files = _stretches(held_out)
    kept, others = [], 0
    for index, name in enumerate(every.ids):
        twin = by_id.get(name)
        if twin is not None and (
            every.lengths[index] == held_out.lengths[twin]
            and every.texts[index] == held_out.texts[twin]
        ):
            continue
        if _heard(every, index, files):
            continue
        others += twin is not None
        kept.append(index)
    if others:
        note(
            f"{others} utterances have the id of one in {valid}, but another text or length: they "
            "are trained on."
        )
    return Selected(every, kept)


def _stretches(recordings: Recordings) -> Stretches:
    """First and last sample of recordings, by name and path of their files; none for shards."""
    found: Stretches = defaultdict(lambda: defaultdict(list))
    if isinstance(recordings, FileRecordings):
        for index, path in enumerate(recordings.paths):
            stretches = found[os.path.basename(path)][os.path.realpath(path)]
            stretches.append(_stretch(recordings, index))
    return found


def _stretch(recordings: FileRecordings, index: int) -> tuple[int, int]:
    """First sample of a recording in its file, and its end."""
    start = int(recordings.starts[index])
    return start, start + int(recordings.lengths[index])


def _heard(recordings: Recordings, index: int, files: Stretches) -> bool:
    """Whether most of a recording, or of a stretch of its file, is the same audio."""
    if not isinstance(recordings, FileRecordings):
        return False
    path = recordings.paths[index]
    if os.path.basename(path) not in files:
        return False
    first, last = _stretch(recordings, index)
    return any(
        2 * (min(last, end) - max(first, start)) > min(last - first, end - start)
        for start, end in files[os.path.basename(path)].get(os.path.realpath(path), ())
    )


def unlabelled_recordings(
    names: Sequence[str],
    shards: str | None,
    valid: str | None,
    data: Path | None,
    shortest_seconds: float,
    note: Note = ignored,
) -> tuple[TrainingSet, TrainingSet, list[LeftOut]]:
    """Return the recordings that pretraining trains on, those it validates on, those left out.

    Recordings under `shortest_seconds` are left out. With `valid`, everything but the recordings of
    that corpus is trained on; without it one recording in a hundred is held out, at least 8 and at
    most 500: those of whole speakers, as `divided` chooses them, else any. Raises UserError where
    nothing would be left.
    """
    shortest = int(shortest_seconds * SAMPLE_RATE)
    source = read_source(names, shards, data, note=note)
    if valid is not None:
        other = read_source(validated_on(valid), None, data)
        every, left_out = unlabelled(_without(source, other, valid, note), shortest)
        if not len(every):
            raise UserError(
                f"No recording is left to train on: all are in {valid} (--valid) or shorter than "
                f"{shortest_seconds:g} s."
            )
        held_out, _ = unlabelled(other, shortest)
        if not len(held_out):
            raise UserError(
                f"No recording is left to validate on: all of {valid} (--valid) are shorter than "
                f"{shortest_seconds:g} s."
            )
        return every, held_out, left_out
    every, left_out = unlabelled(source, shortest)
    train, held_out = _divided_unlabelled(every, note)
    return train, held_out, left_out


def _divided_unlabelled(every: TrainingSet, note: Note) -> tuple[TrainingSet, TrainingSet]:
    """Divide recordings without transcripts; each one held out is so however often it is read."""
    source, once = every.source, _once(every)
    count = min(max(int(len(once) * HELD_OUT), HELD_OUT_LEAST), HELD_OUT_MOST)
    if len(once) <= count:
        raise UserError(
            f"{len(once)} recordings are left to train on, but {count} are needed for validation "
            "alone: name more, or a validation corpus by --valid."
        )
    chosen, otherwise = _by_speakers(source, once, count), None
    if chosen is None:
        # Decided by their number alone, so that a continued run holds out the same.
        order = np.random.default_rng(len(once)).permutation(len(once))
        chosen, otherwise = once[order[:count]], "by chance"
    note(_held_out_line(source, Selected(source, chosen.tolist()), otherwise))
    held = {_key(source, int(i)) for i in chosen}
    names = {source.ids[i] for i in chosen}
    # A key is long to make, so that it is asked for only where the id is one of those.
    learned = [i for i in every.kept if source.ids[i] not in names or _key(source, i) not in held]
    return TrainingSet(source, np.array(learned)), TrainingSet(source, chosen)


def _once(every: TrainingSet) -> np.ndarray:
    """The indices of a set, each recording once however often its corpus is read."""
    if len({every.source.ids[i] for i in every.kept}) == len(every):
        return every.kept
    found: dict[tuple[object, ...], int] = {}
    for index in every.kept:
        found.setdefault(_key(every.source, int(index)), int(index))
    return np.array(list(found.values()))


def _by_speakers(source: Recordings, indices: np.ndarray, count: int) -> np.ndarray | None:
    """About `count` of some recordings, all of their speakers; None where no choice is fair."""
    speakers = [source.speakers[i] for i in indices]
    if None in speakers:
        return None
    ids = [source.ids[i] for i in indices]
    found = divided(ids, speakers, [1.0] * len(ids), ["dev"], most=count)
    if not found.by_speaker:
        return None
    return indices[[split == "dev" for split in found.splits]]


def described(left_out: Sequence[LeftOut]) -> list[str]:
    """Return lines that name the first few utterances left out and count the others."""
    lines = [f"Left out: {utterance.id}: {utterance.reason}." for utterance in left_out[:NAMED]]
    if len(left_out) > NAMED:
        lines.append(f"Left out: {len(left_out) - NAMED} more.")
    return lines
