"""Recordings inside Parquet and Arrow files, as Hugging Face's `datasets` writes them.

Such a recording has a path, as if its table were a folder: `train.parquet/audio/17` is the value in
column `audio` of row 17, counted from 0.
"""

from __future__ import annotations

import bisect
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from storage.folders import is_file
from storage.hashing import bytes_hash, file_hash
from w2v2cli.errors import UserError

SUFFIXES = frozenset([".parquet", ".arrow"])
OPEN = 16  # tables kept open at a time
GROUPS = 4  # row groups of Parquet kept decoded at a time: a hundred recordings each, as a rule
DIGITS = 18  # of the number of a row, at most
BYTES = "bytes"  # field of a recording's value that holds the file's content


class TableError(UserError):
    """A table that cannot be read, or a row that holds no recording."""


@dataclass(frozen=True)
class Cell:
    """The place of a recording in a table."""

    table: Path
    column: str
    row: int


def cell_path(table: Path, column: str, row: int) -> Path:
    """The path that stands for a recording in a table."""
    return table / column / str(row)


def cell_of(path: Path) -> Cell | None:
    """The place that a path stands for; None for a path that is not in a table."""
    table = path.parent.parent
    number = path.name
    if table.suffix not in SUFFIXES or not number.isdecimal() or len(number) > DIGITS:
        return None
    if not is_file(table):
        return None
    return Cell(table, path.parent.name, int(number))


def there(path: Path) -> bool:
    """Whether a path is a file, or stands for a row of a table that is a file."""
    return is_file(path) or cell_of(path) is not None


def source_hash(path: Path) -> str:
    """SHA-256 of a recording's bytes, of a file or in a table. Raises OSError and TableError."""
    cell = cell_of(path)
    return file_hash(path) if cell is None else bytes_hash(read_cell(cell))


def read_cell(cell: Cell) -> bytes:
    """The bytes of a recording in a table. Raises TableError with the table, column and row."""
    where = f"{cell.table}, column {cell.column}, row {cell.row}"
    table = opened_table(cell.table)
    if not cell.row < table.rows:
        raise TableError(f"{where}: the table has {table.rows} rows.")
    value = table.value(cell.column, cell.row)
    content = value.get(BYTES) if isinstance(value, dict) else value
    if not isinstance(content, bytes) or not content:
        raise TableError(f"{where} holds no recording.")
    return content


def opened_table(path: Path) -> Table:
    """A table, opened. Raises TableError for a file that is none."""
    try:
        about = path.stat()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}.") from None
    return _opened(path, os.getpid(), about.st_mtime_ns, about.st_size)


@lru_cache(OPEN)
def _opened(path: Path, process: int, time: int, size: int) -> Table:
    arrow = import_pyarrow()
    try:
        table = _Parquet(path) if path.suffix == ".parquet" else _Arrow(path)
        _check_names(table.schema)
        return table
    except (arrow.ArrowException, OSError, ValueError) as error:
        kind = path.suffix.removeprefix(".").capitalize()
        raise TableError(f"{path} is no {kind} file that can be read: {_reason(error)}.") from None


def _check_names(fields: Any) -> None:
    """Raise UnicodeDecodeError where the name of a column, or of a field in it, is no UTF-8."""
    for each in fields:
        str(each.name)  # decoded when it is asked for
        _check_names(each.type.field(i) for i in range(each.type.num_fields))


def import_pyarrow() -> ModuleType:
    """Import pyarrow. Raises TableError where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise TableError(
            "Parquet and Arrow files need pyarrow: pip install 'w2v2[datasets]'."
        ) from None
    module: ModuleType = pyarrow
    return module


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")[:200]


class Table:
    """A table on disk: its schema, whole small columns, and single values of large ones."""

    rows: int
    schema: Any
    """pyarrow's schema."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def column(self, name: str, field: str | None = None) -> list[Any]:
        """All values of a column, or of a field inside it. Raises TableError."""
        arrow = import_pyarrow()
        try:
            values = self._column(name, field)
            if len(values) != self.rows:
                raise ValueError(f"it has {len(values)} values in {self.rows} rows")
            return values
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise self._damaged(name, error) from None

    def value(self, name: str, row: int) -> Any:
        """One value, as Python's own types; of a recording only its bytes. Raises TableError."""
        arrow = import_pyarrow()
        try:
            return self._value(name, row)
        except KeyError:
            raise TableError(f"{self.path} has no column {name}.") from None
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, error: Exception) -> TableError:
        return TableError(f"{self.path}, column {name} cannot be read: {_reason(error)}.")

    def _column(self, name: str, field: str | None) -> list[Any]:
        raise NotImplementedError

    def _value(self, name: str, row: int) -> Any:
        raise NotImplementedError


class _Arrow(Table):
    """A stream of record batches or an Arrow file, mapped into memory: nothing is copied."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        arrow = import_pyarrow()
        mapped = arrow.memory_map(str(path))
        try:
            self._table = arrow.ipc.open_stream(mapped).read_all()
        except arrow.ArrowInvalid:  # not a stream: a file with a footer
            self._table = arrow.ipc.open_file(arrow.memory_map(str(path))).read_all()
        # Damaged offsets would lead out of the file; only they and texts are read for this.
        self._table.validate(full=True)
        self.rows, self.schema = self._table.num_rows, self._table.schema

    def _column(self, name: str, field: str | None) -> list[Any]:
        values = self._table.column(name)
        if field is None:
            found: list[Any] = values.to_pylist()
            return found
        import pyarrow.compute

        inside: list[Any] = pyarrow.compute.struct_field(values, field).to_pylist()
        return inside

    def _value(self, name: str, row: int) -> Any:
        return self._table.column(name)[row].as_py()


class _Parquet(Table):
    """A Parquet file; its row groups are decoded one at a time, the last few are kept."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import pyarrow.parquet

        self._file = pyarrow.parquet.ParquetFile(path, memory_map=True)
        about = self._file.metadata
        self.rows, self.schema = about.num_rows, self._file.schema_arrow
        self._ends = []
        end = 0
        for group in range(about.num_row_groups):
            end += about.row_group(group).num_rows
            self._ends.append(end)
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[int, str], Any] = OrderedDict()

    def _column(self, name: str, field: str | None) -> list[Any]:
        wanted = name if field is None else f"{name}.{field}"
        values = self._file.read(columns=[wanted]).column(name).to_pylist()
        if field is None:
            return list(values)
        return [None if value is None else value[field] for value in values]

    def _value(self, name: str, row: int) -> Any:
        group = bisect.bisect_right(self._ends, row)
        first = self._ends[group - 1] if group else 0
        with self._lock:  # several threads measure recordings: one decodes, the others wait
            values = self._groups.pop((group, name), None)
            if values is None:
                values = self._read_group(group, name)
            self._groups[group, name] = values
            if len(self._groups) > GROUPS:
                self._groups.popitem(last=False)
        return values[row - first].as_py()

    def _read_group(self, group: int, name: str) -> Any:
        kind = self.schema.field(name).type
        inside = [kind.field(i).name for i in range(kind.num_fields)]
        wanted = f"{name}.{BYTES}" if BYTES in inside else name
        return self._file.read_row_group(group, columns=[wanted]).column(name)
