"""Datasets of Hugging Face: folders of `save_to_disk` (Arrow), and Parquet files as the hub has.

Recordings stay in their tables; see `w2v2cli.data.decoding.tables`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from storage.folders import is_file
from storage.json_text import parsed
from w2v2cli.data.corpora.metadata import SPEAKERS, TEXTS
from w2v2cli.data.decoding.tables import (
    BYTES,
    SUFFIXES,
    Table,
    TableError,
    cell_path,
    import_pyarrow,
    opened_table,
)
from w2v2cli.data.utterance import CorpusError, Utterance, ids_of, read_whole, speaker_of

STATE, INFO = "state.json", "dataset_info.json"  # of a dataset
SPLITS = "dataset_dict.json"  # of several
PARQUET = ".parquet"
# Names of columns whose texts are paths of recordings.
PATHS = ("audio", "audio_filepath", "audio_path", "path", "file", "file_name")
IDS = ("id", "utterance_id", "segment_id")
# SPLIT-00000-of-00007.parquet, perhaps with a hash, as the hub divides a split.
PART = re.compile(r"(?P<split>.+?)-\d{4,6}-of-\d{4,6}(-[0-9a-f]+)?\.parquet")
SHOWN = 8  # splits that a refusal lists
ADVICE = "`w2v2 data scan {path} {option} NAME -o list.jsonl` makes a list that names it"


@dataclass(frozen=True)
class Columns:
    """The columns that the user chose; None leaves the choice to their names."""

    audio: str | None = None
    text: str | None = None


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` made a folder."""
    return (folder / SPLITS).is_file() or all((folder / name).is_file() for name in (STATE, INFO))


def read_saved(folder: Path, columns: Columns = Columns()) -> Iterator[Utterance]:
    """Read a folder that `save_to_disk` made.

    Raises CorpusError for several splits, and as `read_tables`.
    """
    if (folder / SPLITS).is_file():
        splits = _json(folder / SPLITS).get("splits")
        if not isinstance(splits, list) or not splits:
            raise CorpusError(f"{folder / SPLITS} names no splits.")
        if len(splits) > 1:
            raise _several(folder, [folder / str(split) for split in splits])
        folder = folder / str(splits[0])
    state = _json(folder / STATE)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise CorpusError(
            f"{folder} selects rows of a table by their numbers, as old versions of datasets do: "
            "load it and save it again."
        )
    files = state.get("_data_files")
    names = [file.get("filename") for file in files if isinstance(file, dict)] if files else []
    if not names or not all(isinstance(name, str) for name in names):
        raise CorpusError(f"{folder / STATE} names no files of data.")
    return read_tables([folder / str(name) for name in names], folder, columns)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = parsed(read_whole(path))
    except ValueError as error:
        raise CorpusError(f"{path} is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise CorpusError(f"{path} should be a JSON object.")
    return content


def _several(folder: Path, splits: Sequence[Path]) -> CorpusError:
    names = [path.relative_to(folder).as_posix() for path in splits]
    return CorpusError(
        f"{folder} has several splits: {_listed(names, SHOWN)}. Name the one to read, such as "
        f"{splits[0]}."
    )


def parquet_splits(files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Parquet files by the split they belong to.

    A split is named by a path: `FOLDER/train` for FOLDER/train-00000-of-00002.parquet, the folder
    for files that have only numbers, else the file.
    """
    splits: dict[Path, list[Path]] = defaultdict(list)
    for file in sorted(files):
        part = PART.fullmatch(file.name)
        if part is not None:
            splits[file.parent / part["split"]].append(file)
        else:
            splits[file.parent if file.stem.isdecimal() else file].append(file)
    return dict(splits)


def split_files(path: Path) -> list[Path]:
    """The files of a split that is named as `parquet_splits` does; empty where there is none."""
    if not path.name or not path.parent.is_dir():
        return []
    files = [file for file in path.parent.iterdir() if file.suffix == PARQUET and file.is_file()]
    return parquet_splits(files).get(path, [])


def read_parquet(
    folder: Path, files: Sequence[Path], columns: Columns = Columns()
) -> Iterator[Utterance]:
    """Read the Parquet files of one split below a folder.

    Raises CorpusError for several splits, and as `read_tables`.
    """
    splits = parquet_splits(files)
    if len(splits) > 1:
        raise _several(folder, list(splits))
    return read_tables(sorted(files), folder, columns)


def read_tables(
    files: Sequence[Path], folder: Path, columns: Columns = Columns()
) -> Iterator[Utterance]:
    """Read the rows of Arrow or Parquet files that have the same columns.

    folder: relative paths of recordings begin here. The text is in a column of TEXTS, the speaker
    in one of SPEAKERS. Ids are those of a column of IDS or the names of the files inside, where
    each stands once, else the table's name and the row's number.

    Raises CorpusError for files that cannot be read, and where it is open which column has the
    recordings or the texts.
    """
    rows: list[tuple[Path, str | None]] = []
    found: dict[str, list[Any]] = defaultdict(list)
    try:
        for file in files:
            table = opened_table(file)
            chosen = _chosen(table, folder, columns)
            rows += _recordings(table, folder, chosen["audio"])
            for role, name in chosen.items():
                if role != "audio":
                    found[role] += [None] * table.rows if name is None else table.column(name)
    except TableError as error:
        raise CorpusError(str(error)) from None
    names = _ids(rows, found["id"])
    for name, (path, _), text, speaker in zip(
        names, rows, found["text"], found["speaker"], strict=True
    ):
        if text is not None and not isinstance(text, str):
            raise CorpusError(f"{path}: the text should be a string, got {str(text)[:40]!r}.")
        yield Utterance(name, path, text, speaker_of(name) if speaker is None else str(speaker))


def _chosen(table: Table, folder: Path, columns: Columns) -> dict[str, str | None]:
    """The columns of a table by what they hold. Raises CorpusError where that is open."""
    kinds = {field.name: field.type for field in table.schema}
    for name in (columns.audio, columns.text):
        if name is not None and name not in kinds:
            raise CorpusError(f"{table.path} has no column {name}; it has {_listed(kinds)}.")
    audio = columns.audio or _only(_audio_columns(table), kinds, "recordings", "audio", folder)
    if audio is None:
        raise CorpusError(
            f"{table.path} has no column of recordings among {_listed(kinds)}: one has bytes and "
            "path, or is named audio, path or file_name. "
            + ADVICE.format(path=folder, option="--audio-column")
            + "."
        )
    texts = [name for name in TEXTS if name in kinds and name != audio]
    text = columns.text or _only(texts, kinds, "texts", "text", folder)
    speaker = next((name for name in SPEAKERS if name in kinds), None)
    identity = next((name for name in IDS if name in kinds), None)
    return {"audio": audio, "text": text, "speaker": speaker, "id": identity}


def _only(
    names: Sequence[str], every: Collection[str], what: str, option: str, folder: Path
) -> str | None:
    if len(names) > 1:
        raise CorpusError(
            f"{folder} has several columns of {what}: {', '.join(names)} (all columns: "
            f"{_listed(every)}). {ADVICE.format(path=folder, option=f'--{option}-column')}."
        )
    return names[0] if names else None


def _listed(names: Collection[str], shown: int = 20) -> str:
    more = [f"{len(names) - shown} more"] if len(names) > shown else []
    return ", ".join([*list(names)[:shown], *more])


def _audio_columns(table: Table) -> list[str]:
    """The columns of recordings: by the dataset's own features, by their type, by their name."""
    types = import_pyarrow().types
    features = _features(table)
    marked = [field.name for field in table.schema if features.get(field.name) == "Audio"]
    if marked:
        return marked
    typed = [
        field.name
        for field in table.schema
        if types.is_struct(field.type)
        and {BYTES, "path"} <= {inside.name for inside in field.type}
        and features.get(field.name) in (None, "Audio")
    ]
    if typed:
        return typed
    texts = [field.name for field in table.schema if _is_text(field.type)]
    binary = [
        field.name
        for field in table.schema
        if types.is_binary(field.type) or types.is_large_binary(field.type)
    ]
    return binary or [name for name in PATHS if name in texts][:1]


def _is_text(kind: Any) -> bool:
    types = import_pyarrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _features(table: Table) -> dict[str, str]:
    """The kinds of columns that `datasets` notes in a schema; empty where there is no such note."""
    note = (table.schema.metadata or {}).get(b"huggingface")
    try:
        features = parsed(note or b"{}")["info"]["features"]
        return {name: str(kind.get("_type")) for name, kind in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _recordings(
    table: Table, folder: Path, column: str | None
) -> Iterator[tuple[Path, str | None]]:
    """The path of each row's recording, and its name where the table has one."""
    assert column is not None
    if "/" in column:
        raise CorpusError(f"{table.path}: a column of recordings may not have a / ({column}).")
    types, kind = import_pyarrow().types, table.schema.field(column).type
    if _is_text(kind):
        for row, name in enumerate(table.column(column)):
            if not name:
                raise CorpusError(f"{table.path}, row {row} names no recording ({column}).")
            yield folder / name, name
        return
    inside = {field.name for field in kind} if types.is_struct(kind) else set()
    if BYTES not in inside and not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise CorpusError(
            f"{table.path}: column {column} is {str(kind)[:60]}; recordings are files in bytes, or "
            "their paths."
        )
    names = table.column(column, "path") if "path" in inside else [None] * table.rows
    outside = {name: folder / name for name in set(names) if name}
    outside = {name: path for name, path in outside.items() if is_file(path)}
    for row, name in enumerate(names):
        # `save_to_disk` and the hub keep the bytes; without them the path is all there is.
        cell = cell_path(table.path, column, row)
        yield (outside[name] if name in outside and not _holds(table, column, row) else cell), name


def _holds(table: Table, column: str, row: int) -> bool:
    value = table.value(column, row)
    return bool(value.get(BYTES) if isinstance(value, dict) else value)


def _ids(rows: Sequence[tuple[Path, str | None]], given: Sequence[Any]) -> list[str]:
    named = [None if value is None else str(value) for value in given]
    if all(named) and len(set(named)) == len(named):
        return [str(name) for name in named]
    files = [name for _, name in rows if name]
    if len(files) == len(rows) == len(set(files)):
        short = [PurePosixPath(name).name for name in files]
        return ids_of(short if len(set(short)) == len(short) else [f.lstrip("/") for f in files])
    parts = [path.parts for path, _ in rows]
    return [f"{Path(part[-3]).stem}-{part[-1]}" if len(part) > 2 else part[-1] for part in parts]


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return path.suffix in SUFFIXES
