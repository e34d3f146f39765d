"""Where corpora are that go by a name, and what stands in for LibriSpeech's splits on a machine that has none."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from storage.home import home
from w2v2cli.data.corpora.librilight import LIMITED, limited_folders
from w2v2cli.data.corpora.readers import LIBRISPEECH_SPLITS, CorpusError, Utterance, read_corpus
from w2v2cli.data.corpora.timit import SPLITS, find_timit
from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UsageError

MINIATURE = SHIPPED / "corpus"
TRAINING_SPLITS = ("train-clean-100", "train-clean-360", "train-other-500")
UNLABELLED = (
    "librilight-small",
    "librilight-medium",
    "librilight-large",
)  # 577, 5 193 and 51 934 hours, as archived
JOINED = {
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
    *[n for n in JOINED if n != "train-960"],
    *TIMIT_NAMES,
)


@dataclass(frozen=True)
class CorpusSplit:
    """A corpus, or one split of it, to be evaluated."""

    name: str
    utterances: tuple[Utterance, ...]
    note: str | None = None
    """What a reader of the figures must know."""


def find_splits(split: str | None, data: Path | None) -> list[CorpusSplit]:
    """The corpora that `--split` and `--data` name; CorpusError or UsageError where there are none.

    A split is looked for below `data`, else below $W2V2_DATA, the store and the current folder, and where none has it the
    shipped miniature serves, with a note that says so. Without a split `data` is a corpus itself.
    """
    if split is None:
        if data is None:
            raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
        return [CorpusSplit(str(data), tuple(read_corpus(data)))]
    if split not in (*LIBRISPEECH_SPLITS, "all"):
        raise UsageError(f"--split takes {', '.join(LIBRISPEECH_SPLITS)} or all, got {split!r}.")
    names = LIBRISPEECH_SPLITS if split == "all" else (split,)
    return [_find(name, data) for name in names]


def _find(split: str, data: Path | None) -> CorpusSplit:
    if data is not None:
        folder = _below(data, split)
        if folder is None:
            raise CorpusError(
                f"{data} has no {split}: give the folder that LibriSpeech's archives were unpacked in, or leave out --split."
            )
        return CorpusSplit(split, tuple(read_corpus(folder)))
    for root in data_roots(None):
        folder = _below(root, split)
        if folder is not None:
            return CorpusSplit(split, tuple(read_corpus(folder)))
    utterances = tuple(read_corpus(MINIATURE / split))
    note = (
        f"LibriSpeech's {split} is not here; these are the {len(utterances)} recordings of that name that ship with w2v2, "
        f"not LibriSpeech. For the real one unpack {split}.tar.gz and give its folder by --data or $W2V2_DATA."
    )
    return CorpusSplit(split, utterances, note)


def data_roots(data: Path | None) -> list[Path]:
    """Where corpora are looked for: below `data`, else below $W2V2_DATA, the store and the current folder."""
    if data is not None:
        return [data]
    roots = [Path(value) for value in (os.environ.get("W2V2_DATA"),) if value]
    return [*roots, home() / "data", Path()]


def find_training_corpus(name: str, data: Path | None = None) -> list[Utterance]:
    """The utterances of a corpus by path or by one of TRAINING_NAMES; a known name goes before a path.

    A name is looked for below `data`, else below $W2V2_DATA, the store and the current folder: first a manifest
    `manifests/NAME.jsonl` (`w2v2 data prepare` writes it, with lengths), then the corpus's own folders. CorpusError where
    nothing has it, UsageError for what is neither name nor path.
    """
    if name not in TRAINING_NAMES:
        path = Path(name).expanduser()
        if not path.exists() and not path.suffix and len(path.parts) == 1:
            near = difflib.get_close_matches(name.lower(), TRAINING_NAMES, n=3, cutoff=0.5)
            ending = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"there are {', '.join(TRAINING_NAMES)}, or a path."
            )
            raise UsageError(f"There is no corpus {name!r}; {ending}")
        return read_corpus(path)
    roots = data_roots(data)
    for root in roots:
        found = _named(root, name)
        if found is not None:
            return found
    places = ", ".join(str(root) for root in roots)
    kind = (
        "timit"
        if name in TIMIT_NAMES
        else "librispeech"
        if name in LIBRISPEECH_NAMES
        else "librilight"
    )
    raise CorpusError(
        f"{name} is not below {places}: give the folder that holds it by --data or $W2V2_DATA; "
        f"w2v2 data prepare {kind} unpacks it."
    )


def _named(root: Path, name: str) -> list[Utterance] | None:
    """A corpus of TRAINING_NAMES below `root`; None where it is not there, or not all of it."""
    manifest = root / "manifests" / f"{name}.jsonl"
    if manifest.is_file():
        return read_corpus(manifest)
    if name in JOINED:
        parts = [_named(root, part) for part in JOINED[name]]
        return None if None in parts else [utterance for part in parts for utterance in part or ()]
    return find_in_folders(root, name)


def find_in_folders(root: Path, name: str) -> list[Utterance] | None:
    """A corpus of TRAINING_NAMES that is none of JOINED, as its own folders below `root` hold it; None where they are not."""
    if name in TIMIT_NAMES:
        return find_timit(root, name.removeprefix("timit-"))
    if name in LIMITED:
        folders = limited_folders(root, name)
        return None if folders is None else [u for folder in folders for u in read_corpus(folder)]
    folder = _below(root, name.removeprefix("librilight-"))
    return None if folder is None else read_corpus(folder)


def _below(root: Path, split: str) -> Path | None:
    """A split's folder below `root`, with or without the archives' own top folder."""
    above = ("", "LibriSpeech", "data/LibriSpeech", "librilight", "LibriLight")
    candidates = tuple(root / folder / split for folder in above)
    if root.name == split:
        candidates = (root, *candidates)
    return next((path for path in candidates if path.is_dir()), None)
