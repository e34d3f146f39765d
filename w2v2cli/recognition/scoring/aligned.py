"""A reference over its hypothesis, word under word, as broad as the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from w2v2cli.recognition.scoring.error_rate import Step

MARKS = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}
STYLES = {"substitute": "yellow", "delete": "red", "insert": "blue"}
HEADS = ("REF: ", "HYP: ", "     ")
SHORTEST = 20  # columns; a narrower terminal breaks the lines itself


def aligned_rows(steps: Sequence[Step], width: int, between: str = " ") -> Text:
    """REF, HYP and a line of S, D and I, in blocks that fit `width` columns.

    between: what stands between two words; nothing in scripts without spaces.
    Stars stand for the word that is missing on one side.
    """
    text = Text()
    for block in _blocks(steps, max(width, SHORTEST) - len(HEADS[0]), len(between)):
        rows = [Text(head, style="bold") for head in HEADS]
        for step in block:
            cells = _columns(step)
            style = STYLES.get(step.operation, "")
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell, style=f"not bold {style}".strip())
                row.append(between)
        for row in rows if any(step.operation != "equal" for step in block) else rows[:2]:
            row.rstrip()
            text.append_text(row).append("\n")
    return text


def _blocks(steps: Iterable[Step], width: int, between: int) -> Iterator[list[Step]]:
    """Steps in groups whose columns are at most `width` wide, at least one each."""
    block: list[Step] = []
    used = 0
    for step in steps:
        wide = cell_len(_columns(step)[0]) + between
        if block and used + wide > width:
            yield block
            block, used = [], 0
        block.append(step)
        used += wide
    if block:
        yield block


def _columns(step: Step) -> tuple[str, str, str]:
    """The three cells of a step, equally wide."""
    wide = max(cell_len(step.reference), cell_len(step.hypothesis), 1)
    texts = (step.reference or "*" * wide, step.hypothesis or "*" * wide, MARKS[step.operation])
    first, second, mark = (text + " " * (wide - cell_len(text)) for text in texts)
    return first, second, mark
