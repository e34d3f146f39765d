"""Corpora of any supported layout, read as lists of utterances."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from w2v2cli.data.audio import find_recordings
from w2v2cli.data.corpora import common_voice, kaldi, metadata, multilingual_librispeech
from w2v2cli.data.corpora.librilight import read_librilight
from w2v2cli.data.corpora.manifest import read_fairseq, read_jsonl
from w2v2cli.data.corpora.pairs import has_pairs, read_pairs
from w2v2cli.data.corpora.timit import read_timit
from w2v2cli.data.utterance import (
    CorpusError,
    Utterance,
    audio_beside,
    numbered_lines,
    read_lines,
    speaker_of,
)

__all__ = ["LIBRISPEECH_SPLITS", "CorpusError", "Utterance", "list_corpus", "read_corpus"]

LIBRISPEECH_SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TABLE = "transcripts.tsv"
# Names of lists that make a folder a corpus.
LISTS = (
    *common_voice.LISTS,
    *metadata.LISTS,
    multilingual_librispeech.LIST,
    kaldi.LIST,
)
SHOWN = 6  # lists that a refusal names
Reader = Callable[[Path], Iterator[Utterance]]


def read_corpus(path: Path) -> list[Utterance]:
    """The utterances of a corpus, in the corpus's order, each with a recording that exists.

    path: a folder or a file. Folders, in the order they are tried: one with `transcripts.tsv`
    (`id seconds text`); a tree with `*.trans.txt` (LibriSpeech, Libri-light's limited sets);
    TIMIT; Libri-light's unlabelled tree; one with a single list of LISTS in it (Common Voice,
    LJSpeech, AudioFolder, Multilingual LibriSpeech, Kaldi); recordings with `NAME.txt` beside
    them; any other recordings, without text. Files: one of these lists, a JSONL manifest, a
    `transcripts.tsv`, or a fairseq `.tsv` with `.wrd` or `.ltr` beside it. docs/data.md describes
    each. Raises CorpusError for what is missing or wrong, and for a folder with several lists.
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
    utterances = list(_utterances(path))
    if not utterances:
        raise CorpusError(f"{path} lists no utterance.")
    return utterances


def _utterances(path: Path) -> Iterator[Utterance]:
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise CorpusError(f"There is no corpus at {path}.")
    reader = _list_reader(path)
    if reader is not None:
        return reader(path)
    if path.suffix in (".jsonl", ".json"):
        return read_jsonl(path)
    if path.suffix == ".tsv":
        first = read_lines(path)[0]
        return _table_file(path) if first.split("\t")[:1] == ["id"] else read_fairseq(path)
    if path.suffix == ".csv":
        raise CorpusError(
            f"{path} is not a corpus: its first line should have a column {metadata.FILE}, or be "
            "ID|TEXT."
        )
    raise CorpusError(
        f"{path} is not a corpus: name a folder, a .jsonl, a .tsv, a .csv, a wav.scp or a "
        "transcripts.txt."
    )


def _list_reader(path: Path) -> Reader | None:
    """The reader for a file that is a list of another maker's layout, by its name and first line.

    None for our own manifests, for fairseq's, and for what is not a list.
    """
    if path.name == kaldi.LIST:
        return kaldi.read_kaldi
    if multilingual_librispeech.is_multilingual_librispeech(path):
        return multilingual_librispeech.read_multilingual_librispeech
    if path.suffix == ".tsv" and common_voice.is_common_voice(path):
        return common_voice.read_common_voice
    return metadata.metadata_reader(path) if path.suffix in (".csv", ".jsonl") else None


def _folder(folder: Path) -> Iterator[Utterance]:
    """The utterances of a folder, by the files that lie in it and below.

    The first file of a layout that is known by the names of its files decides, and ends the walk:
    Libri-light's sixty thousand hours are not walked twice.
    """
    if (folder / TABLE).is_file():
        return _table_file(folder / TABLE)
    lists: list[Path] = []
    paired = False
    for root, folders, names in os.walk(folder):
        folders.sort()
        if any(name.endswith(".trans.txt") for name in names):
            return _librispeech(folder)
        if any(name.upper().endswith(".PHN") for name in names):
            return read_timit(folder)
        if {f"{name[:-5]}.json" for name in names if name.endswith(".flac")} & set(names):
            return read_librilight(folder)
        lists += [Path(root, name) for name in LISTS if name in names]
        paired = paired or has_pairs(names)
    lists = [path for path in lists if _list_reader(path) is not None]
    if lists:
        return _listed(folder, lists)
    return read_pairs(folder) if paired else _unlabelled(folder)


def _listed(folder: Path, lists: list[Path]) -> Iterator[Utterance]:
    """The utterances of the one list in a folder; CorpusError where it is not the only one."""
    here = [path for path in lists if path.parent == folder]
    if len(here) == 1 and (reader := _list_reader(here[0])) is not None:
        return reader(here[0])
    found = [str(path.relative_to(folder)) for path in here or lists]
    if len(found) > SHOWN:
        found[SHOWN:] = [f"{len(found) - SHOWN} more"]
    what = "several lists" if here else "lists in folders below"
    raise CorpusError(
        f"{folder} has {what}: {', '.join(found)}. Name the list to read, "
        f"such as {(here or lists)[0]}."
    )


def _librispeech(folder: Path) -> Iterator[Utterance]:
    for listing in sorted(folder.rglob("*.trans.txt")):
        for number, line in numbered_lines(listing):
            name, _, text = line.partition(" ")
            if not text:
                raise CorpusError(f"{listing}, line {number} should be an id and a text: {line!r}.")
            yield Utterance(name, audio_beside(listing.parent, name), text, name.split("-")[0])


def _table_file(path: Path) -> Iterator[Utterance]:
    """Rows `id<TAB>seconds<TAB>text` below a line of headings, recordings beside the file."""
    for number, line in numbered_lines(path)[1:]:
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
            f"{TABLE}, no .PHN files (TIMIT), no {', '.join(LISTS)}, and no recordings."
        )
    for path in recordings:
        name = path.relative_to(folder).with_suffix("")
        # SPEAKER/BOOK/FILE, as Libri-light has it; speakers are numbers there
        reader = next((part for part in path.parts[-3:-2] if part.isdigit()), None)
        yield Utterance(name.as_posix(), path, None, speaker_of(path.stem) or reader)
