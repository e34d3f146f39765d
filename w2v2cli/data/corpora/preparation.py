"""Preparing corpora: archives are fetched, checked and unpacked, then each split is listed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.hashing import file_hash
from storage.home import home
from w2v2cli.data.archives import is_archive, unpack, was_unpacked
from w2v2cli.data.corpora.catalogue import TIMIT_NAMES, TRAINING_SPLITS, UNLABELLED, find_in_folders
from w2v2cli.data.corpora.librilight import LIMITED
from w2v2cli.data.corpora.readers import LIBRISPEECH_SPLITS
from w2v2cli.data.downloads import Wanted, fetch, offline
from w2v2cli.data.scanning import Scan, scan, write_manifest
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UsageError, UserError
from w2v2cli.help import refusal
from w2v2cli.progress import FILES, MEGABYTES, Advance, ignored

LIBRISPEECH = "https://www.openslr.org/resources/12"
LIBRILIGHT = "https://dl.fbaipublicfiles.com/librilight/data"
LIMITED_ARCHIVE = "librispeech_finetuning.tgz"
# Hashes of the published archives, from torchaudio's datasets; Libri-light's large ones have none.
SHA256 = {
    "dev-clean.tar.gz": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other.tar.gz": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean.tar.gz": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other.tar.gz": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100.tar.gz": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360.tar.gz": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500.tar.gz": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    LIMITED_ARCHIVE: "5d1efdc777b548194d7e09ba89126e2188026df9fd57aa57eb14408d2b2342af",
}
PUBLISHED_COUNTS = {  # utterances
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
    "train-clean-100": 28539,
    "train-clean-360": 104014,
    "train-other-500": 148688,
    "timit-train": 3696,
    "timit-dev": 400,
    "timit-test": 192,
}
SPLITS = {
    "librispeech": (*TRAINING_SPLITS, *LIBRISPEECH_SPLITS),
    "librilight": (*LIMITED, *UNLABELLED),
    "timit": TIMIT_NAMES,
}


@dataclass(frozen=True)
class Prepared:
    """A split that has been listed."""

    name: str
    manifest: Path
    """The JSONL that was written."""
    found: Scan
    """What its recordings hold."""

    @property
    def note(self) -> str | None:
        """A sentence where its number of utterances is not the published one; else None."""
        here, published = len(self.found.utterances), PUBLISHED_COUNTS.get(self.name)
        if published is None or here == published:
            return None
        return f"{self.name} has {here} utterances here, the published one {published}."


def published_archive(corpus: str, split: str) -> str | None:
    """The address of the archive that holds a split; None for a corpus that is not public.

    $W2V2_LIBRISPEECH and $W2V2_LIBRILIGHT name mirrors.
    """
    if corpus == "librispeech":
        return f"{_root('W2V2_LIBRISPEECH', LIBRISPEECH)}/{split}.tar.gz"
    if corpus == "librilight":
        name = LIMITED_ARCHIVE if split in LIMITED else f"{split.removeprefix('librilight-')}.tar"
        return f"{_root('W2V2_LIBRILIGHT', LIBRILIGHT)}/{name}"
    return None


def _root(variable: str, default: str) -> str:
    return (os.environ.get(variable) or default).rstrip("/")


def check_call(corpus: str, sources: Sequence[str], splits: Sequence[str]) -> None:
    """Raise UsageError for a corpus, split or source that does not exist, and for no source."""
    if corpus not in SPLITS:
        raise UsageError(refusal("corpus", corpus, list(SPLITS)))
    for split in splits:
        if split not in SPLITS[corpus]:
            raise UsageError(refusal(f"--split of {corpus}", split, SPLITS[corpus]))
    for source in sources:
        if not _is_url(source) and not Path(source).exists():
            raise UsageError(
                f"There is nothing at {source}: name a folder, an archive or an address."
            )
        if (_is_url(source) or Path(source).is_file()) and not is_archive(_file_name(source)):
            raise UsageError(
                f"{source} does not look like an archive: its name should end in .tar.gz, .tgz, "
                ".tar or .zip."
            )
    if not sources and corpus == "timit":
        raise UsageError(
            "Name the folder, the archives or the addresses of timit: it is licensed and cannot "
            "be fetched."
        )
    if not sources and not splits:
        raise UsageError(
            f"Name the folder, the archives or the addresses of {corpus}, or by --split what to "
            "fetch."
        )


def prepare(
    corpus: str,
    sources: Sequence[str],
    splits: Sequence[str] = (),
    output: Path | None = None,
    *,
    jobs: int = 1,
    hashed: bool = True,
    on_progress: Advance = ignored,
    inform: Callable[[str], None] = lambda sentence: None,
) -> tuple[Path, list[Prepared]]:
    """Unpack a corpus, fetching it first if asked, and list its splits.

    corpus: a key of SPLITS.
    sources: its folder, archives or their addresses; none for splits that are to be fetched.
    splits: names in SPLITS[corpus]; none prepares all that are there.
    output: folder to unpack in; None: the one source where that is a folder, else $W2V2_HOME/data.
    jobs, hashed: see `scan`.
    on_progress: called with megabytes or files done, how many in all, a label and the unit.
    inform: called with a sentence for each archive that was unpacked.

    Returns the folder and a `Prepared` for each split, whose manifest is
    `FOLDER/manifests/SPLIT.jsonl`. Raises UsageError for a call that makes no sense, UserError
    where something cannot be fetched, unpacked, found or written.
    """
    check_call(corpus, sources, splits)
    folders = source_folders(sources)
    if output is None:
        output = folders[0] if len(sources) == len(folders) == 1 else home() / "data"
    for sentence in unpack_sources(corpus, sources, splits, output, on_progress):
        inform(sentence)
    roots = list(dict.fromkeys([output, *folders]))
    return output, list(write_manifests(corpus, roots, splits, output, jobs, hashed, on_progress))


def unpack_sources(
    corpus: str,
    sources: Sequence[str],
    splits: Sequence[str],
    output: Path,
    on_progress: Advance = ignored,
) -> Iterator[str]:
    """Fetch and unpack into `output`; yield a sentence for each archive that was unpacked.

    See `_archives` for the choice of archives. An archive that was fetched, unpacked and deleted
    is not fetched again. Raises UserError where one cannot be fetched or unpacked.
    """
    archives, published = _archives(corpus, sources, splits, output)
    for name, source in archives.items():
        path = Path(source)
        if _is_url(source):
            path = output / "archives" / name
            if was_unpacked(name, output) and not path.is_file():
                continue
            sha256 = SHA256.get(name) if source in published else None
            _fetch(source, path, sha256, on_progress)
        if unpack(path, output, _megabytes(on_progress, f"Unpacking {name}")):
            yield f"{name} was unpacked into {output}."
            if name in SHA256 and file_hash(path) != SHA256[name]:
                yield f"{path} is not the published file of that name: its SHA-256 differs."


def _archives(
    corpus: str, sources: Sequence[str], splits: Sequence[str], output: Path
) -> tuple[dict[str, str], set[str]]:
    """The archives to unpack, path or address by file name, and which addresses are published ones.

    These are: sources that are archives; archives in source folders that have the published name
    of a split (of any split where none is named); and the published archives of the splits that
    are in neither and not unpacked yet.
    """
    archives: dict[str, str] = {}
    folders = source_folders(sources)
    for source in sources:
        if Path(source) in folders:
            archives |= {
                name: str(Path(source, name))
                for name in _published_names(corpus, splits)
                if Path(source, name).is_file()
            }
        else:
            archives[_file_name(source)] = source
    published = set()
    for split in splits:
        address = published_archive(corpus, split)
        here = any(find_in_folders(root, split) is not None for root in [output, *folders])
        if address is not None and not here and _file_name(address) not in archives:
            archives[_file_name(address)] = address
            published.add(address)
    return archives, published


def _published_names(corpus: str, splits: Sequence[str]) -> list[str]:
    """File names of the archives of the splits; of all splits where none is named."""
    addresses = (published_archive(corpus, split) for split in splits or SPLITS[corpus])
    return list(dict.fromkeys(_file_name(address) for address in addresses if address is not None))


def _fetch(url: str, path: Path, sha256: str | None, on_progress: Advance) -> None:
    if offline() and not path.is_file():
        raise UserError(f"The network is off: fetch {url} and put it at {path}.")
    fetch(Wanted(url, path, sha256=sha256), _megabytes(on_progress, f"Fetching {path.name}"))


def _megabytes(on_progress: Advance, what: str) -> Callable[[int, int | None], None]:
    return lambda done, total: on_progress(done / 1e6, total and total / 1e6, what, MEGABYTES)


def write_manifests(
    corpus: str,
    roots: Sequence[Path],
    splits: Sequence[str],
    output: Path,
    jobs: int = 1,
    hashed: bool = True,
    on_progress: Advance = ignored,
) -> Iterator[Prepared]:
    """Scan and write `OUTPUT/manifests/SPLIT.jsonl` for the splits named, or all below `roots`.

    A split below several roots is taken from the first.

    Raises UserError where a split that was named is missing, or where there is none at all.
    """
    missing = []
    for name in splits or SPLITS[corpus]:
        utterances = _first(roots, name)
        if utterances is None:
            missing.append(name)
            continue
        counted = _labelled(on_progress, f"Scanning {name}")
        found = scan(utterances, jobs, hashed, on_progress=counted)
        manifest = output / "manifests" / f"{name}.jsonl"
        write_manifest(found, manifest)
        yield Prepared(name, manifest, found)
    if missing and (splits or len(missing) == len(SPLITS[corpus])):
        raise UserError(f"{', '.join(missing)}: not below {', '.join(map(str, roots))}.")


def _labelled(on_progress: Advance, what: str) -> Callable[[float, float | None], None]:
    return lambda done, total: on_progress(done, total, what, FILES)


def _first(roots: Sequence[Path], name: str) -> list[Utterance] | None:
    found = (find_in_folders(root, name) for root in roots)
    return next((utterances for utterances in found if utterances is not None), None)


def source_folders(sources: Sequence[str]) -> list[Path]:
    """The sources that are folders."""
    return [Path(source) for source in sources if not _is_url(source) and Path(source).is_dir()]


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _file_name(source: str) -> str:
    path = unquote(urlsplit(source).path) if _is_url(source) else source
    return path.rstrip("/").rpartition("/")[2]
