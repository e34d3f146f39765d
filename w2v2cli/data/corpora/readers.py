"""Corpora of any supported layout, read as lists of utterances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from storage.folders import Walk
from w2v2cli.data.corpora import common_voice, kaldi, metadata, multilingual_librispeech
from w2v2cli.data.corpora import saved_dataset as saved
from w2v2cli.data.corpora.librilight import read_librilight
from w2v2cli.data.corpora.manifest import read_fairseq, read_jsonl
from w2v2cli.data.corpora.pairs import has_pairs, read_pairs
from w2v2cli.data.corpora.saved_dataset import Columns
from w2v2cli.data.corpora.timit import read_timit
from w2v2cli.data.decoding.folders import find_recordings
from w2v2cli.data.decoding.tables import there
from w2v2cli.data.utterance import (
    LONGEST,
    CorpusError,
    Utterance,
    audio_beside,
    ids_of,
    numbered_lines,
    read_lines,
    refuse_repeat,
    speaker_of,
    told_apart,
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
Note = Callable[[str], None]


def ignored(sentence: str) -> None:
    """Drop a sentence: the default of `note`."""


def read_corpus(path: Path, note: Note = ignored) -> list[Utterance]:
    """The utterances of a corpus, in the corpus's order, each with a recording that exists.

    path: a folder or a file. Folders, in the order they are tried: one with `transcripts.tsv`
    (`id seconds text`); a tree with `*.trans.txt` (LibriSpeech, Libri-light's limited sets);
    TIMIT; Libri-light's unlabelled tree; one with a single list of LISTS in it (Common Voice,
    LJSpeech, AudioFolder, Multilingual LibriSpeech, Kaldi); Parquet files; recordings with
    `NAME.txt` beside them; any other recordings, without text. Before all of them goes a folder
    that `save_to_disk` of Hugging Face's datasets made. Files: one of these lists, a JSONL
    manifest, a `transcripts.tsv`, a table (.parquet, .arrow), or a fairseq `.tsv` with `.wrd` or
    `.ltr` beside it. docs/data.md describes each.
    note: called with a sentence that counts the files passed over in a folder without a list.

    Raises CorpusError for what is missing or wrong, for a folder with several lists, and for an id
    that two utterances have.
    """
    utterances = list_corpus(path, note)
    missing = [u.path for u in utterances if not there(u.path)]
    if missing:
        raise CorpusError(
            f"{path}: {len(missing)} of {len(utterances)} recordings are missing, "
            f"the first is {missing[0]}."
        )
    return utterances


def list_corpus(path: Path, note: Note = ignored, columns: Columns = Columns()) -> list[Utterance]:
    """The utterances that a corpus lists, as `read_corpus`, whether their recordings exist or not.

    columns: of a dataset of Hugging Face, those that hold recordings and texts.

    Raises CorpusError for a corpus that is malformed or empty.
    """
    utterances = list(_utterances(path, note, columns))
    if not utterances:
        raise CorpusError(f"{path} lists no utterance.")
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        first = seen.setdefault(utterance.id, utterance)
        if first is not utterance:
            raise CorpusError(
                f"{path}: the id {utterance.id} stands for two utterances, of {first.path} and of "
                f"{utterance.path}: give each an id of its own."
            )
    return utterances


def _utterances(path: Path, note: Note, columns: Columns) -> Iterator[Utterance]:
    if multilingual_librispeech.is_limited(path):
        return multilingual_librispeech.read_limited(path)
    if path.is_dir():
        return _folder(path, note, columns)
    if not path.is_file() and (files := saved.split_files(path)):
        return saved.read_tables(files, path.parent, columns)
    if path.is_file() and saved.is_table(path):
        return saved.read_tables([path], path.parent, columns)
    _refuse_columns(path, columns)
    if not path.is_file():
        raise CorpusError(f"There is no corpus at {path}.")
    reader = _list_reader(path)
    if reader is not None:
        return reader(path)
    if path.suffix in (".jsonl", ".json"):
        return read_jsonl(path)
    if path.suffix == ".tsv":
        table = path.name == TABLE or read_lines(path)[0].split("\t")[:1] == ["id"]
        return _table_file(path) if table else read_fairseq(path)
    if path.suffix == ".csv":
        raise CorpusError(
            f"{path} is not a corpus: its first line should have a column {metadata.FILE}, or be "
            "ID|TEXT."
        )
    raise CorpusError(
        f"{path} is not a corpus: name a folder, a .jsonl, a .tsv, a .csv, a .parquet, a wav.scp "
        "or a transcripts.txt."
    )


def _refuse_columns(path: Path, columns: Columns) -> None:
    if columns != Columns():
        raise CorpusError(f"{path} is no dataset of Hugging Face: it has no columns to choose.")


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


def _folder(folder: Path, note: Note, columns: Columns) -> Iterator[Utterance]:
    """The utterances of a folder, by the files that lie in it and below.

    The first file of a layout that is known by the names of its files decides, and ends the walk:
    Libri-light's sixty thousand hours are not walked twice.
    """
    if saved.is_saved(folder):
        return saved.read_saved(folder, columns)
    if (folder / TABLE).is_file():
        return _table_file(folder / TABLE)
    lists: list[Path] = []
    tables: list[Path] = []
    paired = False
    for root, names in Walk(folder).folders():
        if any(name.endswith(".trans.txt") for name in names):
            return _librispeech(folder)
        if any(name.upper().endswith(".PHN") for name in names):
            return read_timit(folder)
        if {f"{name[:-5]}.json" for name in names if name.endswith(".flac")} & set(names):
            return read_librilight(folder)
        lists += [root / name for name in LISTS if name in names]
        tables += [root / name for name in names if name.endswith(saved.PARQUET)]
        paired = paired or has_pairs(names)
    lists = [path for path in lists if _list_reader(path) is not None]
    if lists:
        return _listed(folder, lists)
    if tables:
        return saved.read_parquet(folder, tables, columns)
    _refuse_columns(folder, columns)
    return read_pairs(folder) if paired else _unlabelled(folder, note)


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
    found = []
    for listing in _listings(folder):
        for number, line in numbered_lines(listing):
            name, _, text = line.partition(" ")
            if not text:
                raise CorpusError(f"{listing}, line {number} should be an id and a text: {line!r}.")
            speaker = name.split("-")[0]
            found.append(Utterance(name, audio_beside(listing.parent, name), text, speaker))
    yield from told_apart(found, range(len(found)))


def _listings(folder: Path) -> list[Path]:
    return sorted(
        root / name
        for root, names in Walk(folder).folders()
        for name in names
        if name.endswith(".trans.txt")
    )


def _table_file(path: Path) -> Iterator[Utterance]:
    """Rows `id<TAB>seconds<TAB>text`, perhaps below a line of headings; recordings lie beside."""
    seen: dict[str, int] = {}
    for place, (number, line) in enumerate(numbered_lines(path)):
        name, *values = line.split("\t")
        if not place and name == "id":
            continue
        seconds = _seconds(values[0]) if len(values) == 2 else None
        if seconds is None or not name:
            raise CorpusError(f"{path}, line {number} should be id, seconds and text: {line!r}.")
        text = values[1]
        refuse_repeat(seen, name, path, number)
        yield Utterance(name, audio_beside(path.parent, name), text, speaker_of(name), seconds)


def _seconds(text: str) -> float | None:
    """A length; None for what is none: a word, NaN, a negative or endless one."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < LONGEST else None


def _unlabelled(folder: Path, note: Note) -> Iterator[Utterance]:
    """Every recording below a folder; ids are their paths from there, without the suffix."""
    recordings = [path for path in find_recordings([folder], note) if path != folder]
    if not recordings:
        raise CorpusError(
            f"{folder} is not a corpus: it has neither *.trans.txt files (LibriSpeech) nor a "
            f"{TABLE}, no .PHN files (TIMIT), no {', '.join(LISTS)}, and no recordings."
        )
    names = ids_of([path.relative_to(folder).as_posix() for path in recordings])
    for name, path in zip(names, recordings, strict=True):
        # SPEAKER/BOOK/FILE, as Libri-light has it; speakers are numbers there
        reader = next((part for part in path.parts[-3:-2] if part.isdigit()), None)
        yield Utterance(name, path, None, speaker_of(path.stem) or reader)
