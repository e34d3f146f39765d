"""Files of texts to score: references and hypotheses, by the name of their utterance."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from storage.json_text import parsed
from w2v2cli.errors import UsageError, UserError

Side = Literal["reference", "hypothesis"]
# Keys of a JSON line: of `eval --output`, of `transcribe --format jsonl`, of manifests.
NAMES = ("id", "recording", "audio_filepath")
TEXTS: dict[Side, tuple[str, ...]] = {
    "reference": ("reference", "text"),
    "hypothesis": ("hypothesis", "pred_text", "text"),
}
TRN = re.compile(r"(?P<text>.*)\((?P<name>[^()\s]+)\)\s*")


@dataclass(frozen=True)
class Texts:
    """The texts of a file."""

    path: Path
    by_name: dict[str, str]
    """By utterance, in the order of the file."""
    numbered: bool = False
    """Whether the names are only the numbers of lines."""


def read_texts(path: Path, side: Side, corpus: str | None = None) -> Texts:
    """Read a file of JSON lines, trn, a table, or a text on each line.

    side: which field of a JSON line is taken. corpus: JSON lines that name another one as their
    `data` are left out; None takes all. trn ends each line with the utterance in parentheses.
    A table has tabs, and two columns (utterance, text) or a heading with `id` and `text`.
    LibriSpeech's `.trans.txt` begins each line with the utterance.

    Raises UsageError where there is no file, UserError for one that cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UserError(f"{path} cannot be read: {reason}.") from None
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise UserError(f"{path} holds no text.")
    if len(filled) > 1 and filled[0][1].strip() in ("{", "["):
        raise UserError(
            f"{path} is one value of JSON over several lines: give an object a line for each "
            "utterance, as eval --output and transcribe --format jsonl write them."
        )
    if path.suffix == ".jsonl" or filled[0][1].lstrip().startswith("{"):
        rows = [_json_row(path, number, line, side) for number, line in filled]
        kept = [row for row in rows if corpus is None or row[0] in (None, corpus)]
        return _named(path, ((name, text) for _, name, text in kept))
    trn = [TRN.fullmatch(line) for _, line in filled]
    if all(trn):
        return _named(path, ((m["name"], m["text"].strip()) for m in trn if m))
    if path.name.endswith(".trans.txt"):
        words = (line.split(maxsplit=1) for _, line in filled)
        return _named(path, ((name, "".join(rest)) for name, *rest in words))
    if all("\t" in line for _, line in filled):
        return _named(path, _table(path, [line for _, line in filled]))
    return Texts(path, {str(number): line for number, line in enumerate(lines, 1)}, numbered=True)


def _named(path: Path, rows: Iterable[tuple[str, str]]) -> Texts:
    texts: dict[str, str] = {}
    for name, text in rows:
        if name in texts:
            raise UserError(f"{path} names {name} twice: each utterance is scored once.")
        texts[name] = text
    return Texts(path, texts)


def _json_row(path: Path, number: int, line: str, side: Side) -> tuple[str | None, str, str]:
    """The corpus, where the line names one, the utterance and the text."""
    try:
        row = parsed(line)
    except ValueError:
        raise UserError(f"{path}, line {number} is not JSON.") from None
    name, text = _first(row, NAMES), _first(row, TEXTS[side])
    if name is None or text is None:
        wanted = f"{' or '.join(NAMES)}, and {' or '.join(TEXTS[side])}"
        if isinstance(row, dict) and "error" in row:
            raise UserError(f"{path}, line {number} has no text: {row['error']}")
        raise UserError(f"{path}, line {number} should be an object with {wanted}.")
    return _first(row, ("data",)), name, text


def _first(row: Any, keys: Sequence[str]) -> str | None:
    values = [row.get(key) for key in keys] if isinstance(row, dict) else []
    return next((value for value in values if isinstance(value, str)), None)


def _table(path: Path, lines: list[str]) -> Iterable[tuple[str, str]]:
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    heading = [cell.strip().lower() for cell in rows[0]]
    if "id" in heading and "text" in heading:
        name, text, rows = heading.index("id"), heading.index("text"), rows[1:]
    elif all(len(row) == 2 for row in rows):
        name, text = 0, 1
    else:
        raise UserError(f"{path} has tabs, but neither two columns nor a heading with id and text.")
    for number, row in enumerate(rows, 1):
        if len(row) <= max(name, text):
            raise UserError(f"{path}, row {number} has {len(row)} columns: {' '.join(row)[:60]!r}.")
        yield row[name], row[text]


def paired(reference: Texts, hypothesis: Texts) -> dict[str, str]:
    """The hypotheses by the names of the references.

    Lines without names pair in their order. Names that have nothing in common, of which one side's
    or both are paths, pair by their stems where each stem occurs once.

    Raises UserError where lines cannot be paired.
    """
    if reference.numbered != hypothesis.numbered:
        named, bare = (reference, hypothesis) if hypothesis.numbered else (hypothesis, reference)
        raise UserError(
            f"{named.path} names its utterances and {bare.path} does not: give both names, or none."
        )
    if reference.numbered:
        counts = len(reference.by_name), len(hypothesis.by_name)
        if counts[0] != counts[1]:
            raise UserError(
                f"{reference.path} has {counts[0]} lines and {hypothesis.path} {counts[1]}: "
                "without names the lines must pair."
            )
    if reference.by_name.keys() & hypothesis.by_name.keys():
        return hypothesis.by_name
    stems = {Path(name).stem: name for name in reference.by_name}
    found = {stems.get(Path(name).stem): text for name, text in hypothesis.by_name.items()}
    unique = len(stems) == len(reference.by_name) and len(found) == len(hypothesis.by_name)
    if not unique or not found.keys() & reference.by_name.keys():
        raise UserError(
            f"{reference.path} and {hypothesis.path} have no utterance in common: "
            f"{next(iter(reference.by_name))!r} and {next(iter(hypothesis.by_name))!r} come first."
        )
    return {name: text for name, text in found.items() if name is not None}
