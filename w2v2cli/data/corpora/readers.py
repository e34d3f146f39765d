"""Corpora of any supported layout, read as lists of utterances."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from w2v2cli.data.audio import find_recordings
from w2v2cli.data.corpora.librilight import read_librilight
from w2v2cli.data.corpora.manifest import read_fairseq, read_jsonl
from w2v2cli.data.corpora.timit import read_timit
from w2v2cli.data.utterance import CorpusError, Utterance, audio_beside, read_lines, speaker_of

__all__ = ["LIBRISPEECH_SPLITS", "CorpusError", "Utterance", "list_corpus", "read_corpus"]

LIBRISPEECH_SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TABLE = "transcripts.tsv"


def read_corpus(path: Path) -> list[Utterance]:
    """The utterances of a corpus, in the corpus's order, each with a recording that exists.

    path: a folder or a file. Folders, in the order they are tried: one with `transcripts.tsv`
    (`id seconds text`); a tree with `*.trans.txt` (LibriSpeech, Libri-light's limited sets);
    TIMIT; Libri-light's unlabelled tree; any other recordings, without text. Files: a JSONL
    manifest, a `transcripts.tsv`, or a fairseq `.tsv` with `.wrd` or `.ltr` beside it.
    docs/data.md describes each. Raises CorpusError for what is missing or wrong.
    """
    utterances = list_corpus(path)
    missing = [u.path for u in utterances if not u.path.is_file()]
    if missing:
        raise CorpusError(
            f"{path}: {len(missing)} of {len(utterances)} recordings are missing, "
            f"the first is {missing[0]}."
        )
    return utterances


def list_corpus(path: Path) -> list[Utterance]:
    """The utterances that a corpus lists, as `read_corpus`, whether their recordings exist or not.

    Raises CorpusError for a corpus that is malformed or empty.
    """
    utterances = list(_reader(path)(path))
    if not utterances:
        raise CorpusError(f"{path} lists no utterance.")
    return utterances


def _reader(path: Path) -> Callable[[Path], Iterator[Utterance]]:
    if path.is_dir():
        return _table if (path / TABLE).is_file() else _tree_reader(path)
    if not path.is_file():
        raise CorpusError(f"There is no corpus at {path}.")
    if path.suffix in (".jsonl", ".json"):
        return read_jsonl
    if path.suffix == ".tsv":
        return _table_file if read_lines(path)[0].split("\t")[:1] == ["id"] else read_fairseq
    raise CorpusError(f"{path} is not a corpus: name a folder, a .jsonl or a .tsv.")


def _tree_reader(folder: Path) -> Callable[[Path], Iterator[Utterance]]:
    """The reader for a tree, chosen by the first file that tells its kind.

    The walk ends there: Libri-light's sixty thousand hours are not walked twice.
    """
    for _, folders, names in os.walk(folder):
        folders.sort()
        if any(name.endswith(".trans.txt") for name in names):
            return _librispeech
        if any(name.upper().endswith(".PHN") for name in names):
            return read_timit
        if {f"{name[:-5]}.json" for name in names if name.endswith(".flac")} & set(names):
            return read_librilight
    return _unlabelled


def _librispeech(folder: Path) -> Iterator[Utterance]:
    for listing in sorted(folder.rglob("*.trans.txt")):
        for number, line in enumerate(read_lines(listing), 1):
            name, _, text = line.partition(" ")
            if not text:
                raise CorpusError(f"{listing}, line {number} should be an id and a text: {line!r}.")
            yield Utterance(name, audio_beside(listing.parent, name), text, name.split("-")[0])


def _table(folder: Path) -> Iterator[Utterance]:
    return _table_file(folder / TABLE)


def _table_file(path: Path) -> Iterator[Utterance]:
    """Rows `id<TAB>seconds<TAB>text` below a line of headings, recordings beside the file."""
    for number, line in enumerate(read_lines(path)[1:], 2):
        try:
            name, length, text = line.split("\t")
            seconds = float(length)
        except ValueError:
            raise CorpusError(
                f"{path}, line {number} should be id, seconds and text: {line!r}."
            ) from None
        yield Utterance(name, audio_beside(path.parent, name), text, speaker_of(name), seconds)


def _unlabelled(folder: Path) -> Iterator[Utterance]:
    """Every recording below a folder; ids are their paths from there, without the suffix."""
    recordings = [path for path in find_recordings([folder]) if path != folder]
    if not recordings:
        raise CorpusError(
            f"{folder} is not a corpus: it has neither *.trans.txt files (LibriSpeech) nor a "
            f"{TABLE}, no .PHN files (TIMIT) and no recordings."
        )
    for path in recordings:
        name = path.relative_to(folder).with_suffix("")
        # SPEAKER/BOOK/FILE, as Libri-light has it; speakers are numbers there
        reader = next((part for part in path.parts[-3:-2] if part.isdigit()), None)
        yield Utterance(name.as_posix(), path, None, speaker_of(path.stem) or reader)
