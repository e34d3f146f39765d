"""Where the splits of LibriSpeech are, and what stands in for them on a machine that has none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from w2v2cli.data.corpora import LIBRISPEECH_SPLITS, CorpusError, Utterance, read_corpus
from w2v2cli.data.store import SHIPPED, home
from w2v2cli.errors import UsageError

MINIATURE = SHIPPED / "corpus"


@dataclass(frozen=True)
class Part:
    """A corpus, or one split of it, to be evaluated."""

    name: str
    utterances: tuple[Utterance, ...]
    note: str | None = None
    """What a reader of the figures must know."""


def find_splits(split: str | None, data: Path | None) -> list[Part]:
    """The corpora that `--split` and `--data` name; CorpusError or UsageError where there are none.

    A split is looked for below `data`, else below $W2V2_DATA, the store and the current folder, and where none has it the
    shipped miniature serves, with a note that says so. Without a split `data` is a corpus itself.
    """
    if split is None:
        if data is None:
            raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
        return [Part(str(data), tuple(read_corpus(data)))]
    if split not in (*LIBRISPEECH_SPLITS, "all"):
        raise UsageError(f"--split takes {', '.join(LIBRISPEECH_SPLITS)} or all, got {split!r}.")
    names = LIBRISPEECH_SPLITS if split == "all" else (split,)
    return [_find(name, data) for name in names]


def _find(split: str, data: Path | None) -> Part:
    if data is not None:
        folder = _below(data, split)
        if folder is None:
            raise CorpusError(
                f"{data} has no {split}: give the folder that LibriSpeech's archives were unpacked in, or leave out --split."
            )
        return Part(split, tuple(read_corpus(folder)))
    roots = [Path(value) for value in (os.environ.get("W2V2_DATA"),) if value]
    for root in (*roots, home() / "data", Path()):
        folder = _below(root, split)
        if folder is not None:
            return Part(split, tuple(read_corpus(folder)))
    utterances = tuple(read_corpus(MINIATURE / split))
    note = (
        f"LibriSpeech's {split} is not here; these are the {len(utterances)} recordings of that name that ship with w2v2, "
        f"not LibriSpeech. For the real one unpack {split}.tar.gz and give its folder by --data or $W2V2_DATA."
    )
    return Part(split, utterances, note)


def _below(root: Path, split: str) -> Path | None:
    """A split's folder below `root`, with or without the archives' own top folder."""
    candidates: tuple[Path, ...] = (root / split, root / "LibriSpeech" / split, root / "data" / "LibriSpeech" / split)
    if root.name == split:
        candidates = (root, *candidates)
    return next((path for path in candidates if path.is_dir()), None)
