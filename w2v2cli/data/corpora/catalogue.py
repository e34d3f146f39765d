"""Corpora by name: which names there are, where each is looked for, and what stands in for it."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from storage.home import home
from w2v2cli.data.corpora.librilight import LIMITED, limited_folders
from w2v2cli.data.corpora.readers import (
    LIBRISPEECH_SPLITS,
    CorpusError,
    Note,
    Utterance,
    ignored,
    read_corpus,
)
from w2v2cli.data.corpora.timit import SPLITS, find_timit
from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UsageError
from w2v2cli.help import refusal

MINIATURE = SHIPPED / "corpus"
TRAINING_SPLITS = ("train-clean-100", "train-clean-360", "train-other-500")
# Libri-light's archives: 577, 5 193 and 51 934 hours.
UNLABELLED = ("librilight-small", "librilight-medium", "librilight-large")
JOINED = {  # name: the corpora it consists of
    "train-960": TRAINING_SPLITS,
    "librilight-600": UNLABELLED[:1],
    "librilight-6k": UNLABELLED[:2],
    "librilight-60k": UNLABELLED,
}
LIBRISPEECH_NAMES = (*TRAINING_SPLITS, "train-960", *LIBRISPEECH_SPLITS)
TIMIT_NAMES = tuple(f"timit-{split}" for split in SPLITS)
TRAINING_NAMES = (
    *LIBRISPEECH_NAMES,
    *LIMITED,
    *UNLABELLED,
    *(name for name in JOINED if name != "train-960"),
    *TIMIT_NAMES,
)
# Folders that archives put above their splits.
TOP_FOLDERS = ("", "LibriSpeech", "data/LibriSpeech", "librilight", "LibriLight")


@dataclass(frozen=True)
class CorpusSplit:
    """A corpus, or one split of it, to evaluate or tune on."""

    name: str
    """Name of the split, or the path of a corpus of the user's own."""
    utterances: tuple[Utterance, ...]
    """The utterances in the corpus's order."""
    note: str | None = None
    """Sentence to print beside its figures, where they are not what the name promises."""

    @property
    def is_miniature(self) -> bool:
        """Whether these are recordings that ship with w2v2, which tell nothing of other speech."""
        shipped = SHIPPED.resolve()
        return any(one.path.resolve().is_relative_to(shipped) for one in self.utterances)


def find_splits(split: str | None, data: Path | None) -> list[CorpusSplit]:
    """The corpora that `--split` and `--data` name.

    split: one of LibriSpeech's four, `all` for these four, or None: then `data` is a corpus.
    data: folder below which a split is looked for; None: below $W2V2_DATA, $W2V2_HOME/data and
    the current folder. Where none of these has it, the shipped miniature is returned with a note.

    Raises UsageError for a name that is not a split, CorpusError for a corpus that is missing or
    malformed.
    """
    if split is None:
        if data is None:
            raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
        return [CorpusSplit(str(data), tuple(read_corpus(data)))]
    if split not in (*LIBRISPEECH_SPLITS, "all"):
        raise UsageError(refusal("--split", split, (*LIBRISPEECH_SPLITS, "all")))
    names = LIBRISPEECH_SPLITS if split == "all" else (split,)
    return [_find(name, data) for name in names]


def _find(split: str, data: Path | None) -> CorpusSplit:
    for root in data_roots(data):
        folder = _below(root, split)
        if folder is not None:
            return CorpusSplit(split, tuple(read_corpus(folder)))
    if data is not None:
        raise CorpusError(
            f"{data} has no {split}: give the folder in which LibriSpeech's archives were "
            "unpacked, or leave out --split."
        )
    utterances = tuple(read_corpus(MINIATURE / split))
    note = (
        f"LibriSpeech's {split} is not here; these are the {len(utterances)} recordings of that "
        f"name that ship with w2v2, not LibriSpeech. For the real one unpack {split}.tar.gz and "
        "give its folder by --data or $W2V2_DATA."
    )
    return CorpusSplit(split, utterances, note)


def data_roots(data: Path | None) -> list[Path]:
    """The folders below which corpora are looked for, in order.

    `data` alone where it is given; else $W2V2_DATA, $W2V2_HOME/data and the current folder.
    """
    if data is not None:
        return [data]
    named = os.environ.get("W2V2_DATA")
    return [*([Path(named)] if named else []), home() / "data", Path()]


def find_training_corpus(
    name: str, data: Path | None = None, note: Note = ignored
) -> list[Utterance]:
    """The utterances of a corpus by path, or by one of TRAINING_NAMES; a known name goes first.

    A name is looked for below `data_roots(data)`: first as a manifest `manifests/NAME.jsonl`
    (`w2v2 data prepare` writes it, with lengths), then in the corpus's own folders. note: see
    `read_corpus`.

    Raises CorpusError where no folder has it, UsageError for what is neither a name nor a path.
    """
    if not name:
        raise UsageError("The name of a corpus is empty: name one, or a folder.")
    if name not in TRAINING_NAMES:
        path = Path(name).expanduser()
        if not path.exists() and not path.suffix and len(path.parts) == 1:
            raise UsageError(f"There is no corpus {name!r}; {_nearest(name)}")
        return read_corpus(path, note)
    roots = data_roots(data)
    for root in roots:
        found = _named(root, name)
        if found is not None:
            return found
    raise CorpusError(
        f"{name} is not below {', '.join(map(str, roots))}: give the folder that holds it by "
        f"--data or $W2V2_DATA; w2v2 data prepare {_corpus_of(name)} unpacks it."
    )


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), TRAINING_NAMES, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(TRAINING_NAMES)}, or a path."


def _corpus_of(name: str) -> str:
    """The corpus of a name, as `w2v2 data prepare` calls it."""
    if name in TIMIT_NAMES:
        return "timit"
    return "librispeech" if name in LIBRISPEECH_NAMES else "librilight"


def _named(root: Path, name: str) -> list[Utterance] | None:
    """A corpus of TRAINING_NAMES below `root`; None where it, or a part of it, is not there."""
    manifest = root / "manifests" / f"{name}.jsonl"
    if manifest.is_file():
        return read_corpus(manifest)
    if name in JOINED:
        parts = [_named(root, part) for part in JOINED[name]]
        return None if None in parts else [utterance for part in parts for utterance in part or ()]
    return find_in_folders(root, name)


def find_in_folders(root: Path, name: str) -> list[Utterance] | None:
    """A corpus of TRAINING_NAMES that is not in JOINED, read from its own folders below `root`.

    None where these are not there. Raises CorpusError where they are incomplete or malformed.
    """
    if name in TIMIT_NAMES:
        return find_timit(root, name.removeprefix("timit-"))
    if name in LIMITED:
        folders = limited_folders(root, name)
        return None if folders is None else [u for folder in folders for u in read_corpus(folder)]
    folder = _below(root, name.removeprefix("librilight-"))
    return None if folder is None else read_corpus(folder)


def _below(root: Path, split: str) -> Path | None:
    """A split's folder: `root` itself, or below it, with or without the archives' top folder."""
    candidates = [root / folder / split for folder in TOP_FOLDERS]
    if root.name == split:
        candidates.insert(0, root)
    return next((path for path in candidates if path.is_dir()), None)
