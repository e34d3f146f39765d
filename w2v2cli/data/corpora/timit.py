"""TIMIT as it is sold: sentences with the phones that were labelled by hand, in upper- or lower-case names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lm.text.phones import PHONES
from w2v2cli.data.utterance import CorpusError, Utterance, read_lines

# Two men and a woman of each of the eight dialect regions: the core test set of TIMIT's documentation (TESTSET.DOC).
CORE_TEST = frozenset(
    "MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 "
    "MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0".split()
)
# Of the other speakers of TEST those that Kaldi's recipe (egs/timit/s5/conf/dev_spk.list) and papers since develop on.
DEV = frozenset(
    "FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 FDMS0 FEDW0 MGJF0 MGLB0 "
    "MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 MDVC0 MERS0 FMAH0 FDRW0 MRCS0 MRJM4 "
    "FCAL1 MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 MTEB0 MJFC0 MRJR0 FMML0 MRWS1".split()
)
SPLITS = ("train", "dev", "test")
SAME_FOR_ALL = "SA"  # the two dialect sentences that every speaker read: left out, or testing sentences would be trained on


def is_timit(folder: Path) -> bool:
    """Whether a folder holds .PHN files of TIMIT, however deep."""
    return any(name.upper().endswith(".PHN") for _, _, names in os.walk(folder) for name in names)


def read_timit(
    folder: Path, split: str | None = None, with_sa: bool = False
) -> Iterator[Utterance]:
    """Utterances called SPEAKER-SENTENCE, with text and phones; all below `folder`, or those of train, dev or test.

    The splits are told apart by the folder TRAIN or TEST above and by the speaker. CorpusError names the file and line of
    what is wrong with a .PHN, and what an utterance lacks.
    """
    for phn, beside in _labelled(folder):
        sentence, speaker = phn.stem.upper(), phn.parent.name.upper()
        if sentence.startswith(SAME_FOR_ALL) and not with_sa:
            continue
        if split is not None and not _is_of(phn.absolute(), speaker, split):
            continue
        recording = next(
            (beside[key] for key in _recordings(sentence) if key in beside), phn.with_suffix(".WAV")
        )
        text = _text(beside[f"{sentence}.TXT"]) if f"{sentence}.TXT" in beside else None
        if text is None and f"{sentence}.WRD" in beside:
            text = " ".join(line.split()[-1] for line in read_lines(beside[f"{sentence}.WRD"]))
        yield Utterance(f"{speaker}-{sentence}", recording, text, speaker, phones=read_phones(phn))


def find_timit(root: Path, split: str) -> list[Utterance] | None:
    """The utterances of train, dev or test in the TIMIT that lies below `root`; None where there is none.

    CorpusError when recordings of it are missing.
    """
    for folder in _trees(root):
        below = {path.name.upper() for path in folder.iterdir()} if folder.is_dir() else set()
        if {"TRAIN", "TEST"} <= below and is_timit(folder):
            utterances = list(read_timit(folder, split))
            missing = [u.path for u in utterances if not u.path.is_file()]
            if missing:
                raise CorpusError(
                    f"{folder}: {len(missing)} recordings are missing, {missing[0]} first."
                )
            if utterances:
                return utterances
    return None


def _trees(root: Path) -> Iterator[Path]:
    """Folders where TRAIN and TEST may lie: `root`, and up to three folders called TIMIT (or data) into it."""
    level = [root]
    for _ in range(4):
        yield from level
        level = [
            path
            for folder in level
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.name.upper() in ("TIMIT", "DATA", "LDC93S1") and path.is_dir()
        ]


def _labelled(folder: Path) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Every .PHN with the files beside it, by their names in upper case."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        beside = {name.upper(): Path(root, name) for name in sorted(names)}
        yield from ((path, beside) for name, path in beside.items() if name.endswith(".PHN"))


def _recordings(sentence: str) -> Iterator[str]:
    """What a sentence's recording may be called, in upper case; one that was converted goes first."""
    yield from (
        f"{sentence}{suffix}" for suffix in (".WAV.WAV", ".RIFF.WAV", ".FLAC", ".WAV", ".SPH")
    )


def _is_of(path: Path, speaker: str, split: str) -> bool:
    trained_on = "".join(path.parts[-4:-3]).upper() == "TRAIN"  # TRAIN/DR1/FCJF0/SA1.PHN
    if split == "train":
        return trained_on
    return not trained_on and speaker in (DEV if split == "dev" else CORE_TEST)


def read_phones(path: Path) -> tuple[str, ...]:
    """The phones of a .PHN (`first last phone` a line, in samples); CorpusError for one outside the 61."""
    phones = []
    for number, line in enumerate(read_lines(path), 1):
        values = line.split()
        if len(values) != 3 or not (values[0].isdigit() and values[1].isdigit()):
            raise CorpusError(f"{path}, line {number} should be two samples and a phone: {line!r}.")
        if values[2] not in PHONES:
            raise CorpusError(f"{path}, line {number}: {values[2]!r} is none of TIMIT's 61 phones.")
        phones.append(values[2])
    return tuple(phones)


def _text(path: Path) -> str:
    """The sentence of a .TXT: `first last words`, in samples."""
    values = read_lines(path)[0].split(maxsplit=2)
    if len(values) != 3 or not (values[0].isdigit() and values[1].isdigit()):
        raise CorpusError(f"{path} should be two samples and a sentence: {' '.join(values)!r}.")
    return values[2].strip()
