"""TIMIT as the LDC distributes it: sentences with phones labelled by hand.

Names of files and folders may be in upper or lower case.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lm.text.phones import PHONES
from storage.folders import Walk
from w2v2cli.console import counted
from w2v2cli.data.utterance import CorpusError, Utterance, read_lines

# The core test set of TIMIT's documentation (TESTSET.DOC): two men and a woman of each of the
# eight dialect regions.
CORE_TEST = frozenset(
    "MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0 "
    "MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0".split()
)
# The other speakers of TEST that Kaldi's recipe (egs/timit/s5/conf/dev_spk.list), and papers
# since, use for development.
DEV = frozenset(
    "FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 FDMS0 "
    "FEDW0 MGJF0 MGLB0 MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 "
    "MDVC0 MERS0 FMAH0 FDRW0 MRCS0 MRJM4 FCAL1 MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 "
    "MTEB0 MJFC0 MRJR0 FMML0 MRWS1".split()
)
SPLITS = ("train", "dev", "test")
DIALECT = "SA"  # two sentences that every speaker read: they would be in training and in testing
# What a sentence's recording may be called, in upper case; a converted one goes first.
RECORDING_SUFFIXES = (".WAV.WAV", ".RIFF.WAV", ".FLAC", ".WAV", ".SPH")


def is_timit(folder: Path) -> bool:
    """Whether a folder holds a .PHN file, however deep."""
    return any(
        name.upper().endswith(".PHN") for _, names in Walk(folder).folders() for name in names
    )


def read_timit(folder: Path, split: str | None = None) -> Iterator[Utterance]:
    """Read all utterances below `folder`, or those of a split: train, dev or test.

    Ids are SPEAKER-SENTENCE; text and phones are filled in. The dialect sentences (SA1, SA2) are
    left out, as papers do. A split follows from the folder TRAIN or TEST and from the speaker.
    Raises CorpusError with the file and line of a .PHN that is wrong.
    """
    for phn, beside in _labelled(folder):
        sentence, speaker = phn.stem.upper(), phn.parent.name.upper()
        if sentence.startswith(DIALECT):
            continue
        if split is not None and not _in_split(phn.absolute(), speaker, split):
            continue
        names = (f"{sentence}{suffix}" for suffix in RECORDING_SUFFIXES)
        recording = next((beside[name] for name in names if name in beside), None)
        yield Utterance(
            f"{speaker}-{sentence}",
            recording or phn.with_suffix(".WAV"),
            _transcript(beside, sentence),
            speaker,
            phones=read_phones(phn),
        )


def find_timit(root: Path, split: str) -> list[Utterance] | None:
    """The utterances of a split in the TIMIT that lies below `root`; None where there is none.

    Raises CorpusError where recordings are missing.
    """
    for folder in _trees(root):
        below = {path.name.upper() for path in folder.iterdir()} if folder.is_dir() else set()
        if {"TRAIN", "TEST"} <= below and is_timit(folder):
            utterances = list(read_timit(folder, split))
            missing = [u.path for u in utterances if not u.path.is_file()]
            if missing:
                raise CorpusError(
                    f"{folder}: {counted(len(missing), 'recording', 'is', 'are')} missing, "
                    f"the first is {missing[0]}."
                )
            if utterances:
                return utterances
    return None


def _trees(root: Path) -> Iterator[Path]:
    """Folders where TRAIN and TEST may lie: `root`, and up to three levels of TIMIT, DATA below."""
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
    """Every .PHN with the files beside it, these by their names in upper case."""
    for root, names in Walk(folder).folders():
        beside = {name.upper(): root / name for name in names}
        yield from ((path, beside) for name, path in beside.items() if name.endswith(".PHN"))


def _in_split(path: Path, speaker: str, split: str) -> bool:
    in_train = "".join(path.parts[-4:-3]).upper() == "TRAIN"  # TRAIN/DR1/FCJF0/SA1.PHN
    if split == "train":
        return in_train
    return not in_train and speaker in (DEV if split == "dev" else CORE_TEST)


def read_phones(path: Path) -> tuple[str, ...]:
    """The phones of a .PHN, whose lines are `first last phone`, the first two in samples.

    Raises CorpusError for a malformed line and for a symbol that is not one of TIMIT's 61.
    """
    phones = []
    for number, line in enumerate(read_lines(path), 1):
        values = line.split()
        if len(values) != 3 or not (values[0].isdigit() and values[1].isdigit()):
            raise CorpusError(f"{path}, line {number} should be two samples and a phone: {line!r}.")
        if values[2] not in PHONES:
            raise CorpusError(
                f"{path}, line {number}: {values[2]!r} is not one of TIMIT's 61 phones."
            )
        phones.append(values[2])
    return tuple(phones)


def _transcript(beside: dict[str, Path], sentence: str) -> str | None:
    """The sentence in the .TXT, else the words of the .WRD, else None."""
    if (path := beside.get(f"{sentence}.TXT")) is not None:
        values = read_lines(path)[0].split(maxsplit=2)  # first and last sample, then the words
        if len(values) != 3 or not (values[0].isdigit() and values[1].isdigit()):
            raise CorpusError(f"{path} should be two samples and a sentence: {' '.join(values)!r}.")
        return values[2].strip()
    if (path := beside.get(f"{sentence}.WRD")) is not None:
        return " ".join(line.split()[-1] for line in read_lines(path))
    return None
