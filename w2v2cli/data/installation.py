"""What this machine has, what is missing, and the command that helps."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from w2v2cli.processes import bfloat16_instructions

FREE_GB = 5.0  # with less, a published model and the LibriSpeech 4-gram may not fit

# FFmpeg's names of the codecs that recordings come in, and ours.
CODECS = {
    "mp3": "MP3",
    "aac": "AAC",
    "opus": "Opus",
    "vorbis": "Vorbis",
    "wmav2": "WMA",
    "amrnb": "AMR",
    "ac3": "AC-3",
}

# Packages whose module has another name.
MODULES = {"flashlight-text": "flashlight.lib.text.decoder", "scikit-optimize": "skopt"}


@dataclass(frozen=True)
class Finding:
    """One check and its result."""

    what: str
    found: str
    fine: bool = True
    mend: str = ""
    """What to do about it; a command where there is one."""


def installation_findings() -> list[Finding]:
    """Check packages, devices, audio formats, shipped files and disk, in this order.

    What cannot be checked because a package is missing is left out.
    """
    findings = [*_packages(), _compiled_search()]
    broken = {finding.what for finding in findings if not finding.fine}
    if "torch" not in broken:
        findings += _devices()
    if not broken & {"soundfile", "av"}:
        findings.append(_audio_formats())
    return findings + _files()


def _packages() -> list[Finding]:
    from importlib.metadata import requires

    version, python = sys.version_info, sys.version.split()[0]
    good = (3, 10) <= version[:2] < (3, 14)
    findings = [
        Finding("python", python, good, "" if good else "make clean test PYTHON=python3.12")
    ]
    for requirement in requires("w2v2") or ():
        spec, _, marker = (part.strip() for part in requirement.partition(";"))
        name = re.split(r"[^\w-]", spec, maxsplit=1)[0]
        if "python_version < '3.13'" in marker.replace('"', "'") and version >= (3, 13):
            findings.append(
                Finding(name, "has no build for this Python; our own engines do not need it")
            )
        elif "extra ==" not in marker:
            findings.append(_package(name, spec))
    return findings


def _compiled_search() -> Finding:
    """The C++ search. Without a compiler pip leaves it out, and the other engines are used."""
    from lm.native.library import is_built, native

    if not is_built():
        return Finding(
            "compiled search",
            "not built; the other engines are used",
            True,
            "install a C++ compiler, then w2v2 again",
        )
    try:
        native()
    except OSError as error:
        return Finding("compiled search", f"cannot be loaded: {error}", False, "install w2v2 again")
    return Finding("compiled search", "built")


def _package(name: str, spec: str) -> Finding:
    """A package is fine if it can be imported: torch and torchaudio of two builds cannot."""
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    try:
        module = import_module(MODULES.get(name, name))
    except (ImportError, OSError) as error:
        try:
            found = f"{version(name)} cannot be imported: {str(error).splitlines()[0]}"
        except PackageNotFoundError:
            found = "missing"
        return Finding(
            name, found, False, f"{sys.executable} -m pip install --force-reinstall '{spec}'"
        )
    library = getattr(module, "__libsndfile_version__", None)
    return Finding(name, version(name) + (f", libsndfile {library}" if library else ""))


def _devices() -> list[Finding]:
    import torch

    findings = []
    flags = bfloat16_instructions()
    bf16 = (
        f"bf16 in hardware ({', '.join(flags)})" if flags else "bf16 in software, slower than fp32"
    )
    threads = torch.get_num_threads()
    counted = "1 thread" if threads == 1 else f"{threads} threads"
    findings.append(Finding("cpu", f"{counted}; fp32, {bf16}"))
    if not torch.cuda.is_available():
        findings.append(Finding("cuda", "no GPU that torch can use; everything runs on the CPU"))
    for index in range(torch.cuda.device_count()):
        name, (major, minor) = (
            torch.cuda.get_device_name(index),
            torch.cuda.get_device_capability(index),
        )
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        # torch emulates bf16 on older GPUs; from capability 8.0 (Ampere) on it is in hardware.
        halves = "fp32, fp16, bf16" if major >= 8 else "fp32, fp16"
        findings.append(
            Finding(
                f"cuda:{index}", f"{name}, {memory:.0f} GiB, capability {major}.{minor}; {halves}"
            )
        )
    return findings


def _audio_formats() -> Finding:
    """The formats that can be read: PCM and FLAC by libsndfile, all others by FFmpeg."""
    import av
    import soundfile

    lacking = {"WAV", "FLAC", "AIFF"} - set(soundfile.available_formats())
    lacking |= set(CODECS) - av.codecs_available
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    found = f"WAV, FLAC, AIFF; {', '.join(CODECS.values())} by libavcodec {version}"
    if lacking:
        found += f"; missing: {', '.join(sorted(lacking))}"
    mend = f"{sys.executable} -m pip install --upgrade soundfile av" if lacking else ""
    return Finding("audio formats", found, not lacking, mend)


def _files() -> list[Finding]:
    import shutil

    from storage.home import home
    from w2v2cli.data.locations import DEMO_LEXICON, DEMO_LM, DEMO_MODEL

    missing = [path.name for path in (DEMO_MODEL, DEMO_LM, DEMO_LEXICON) if not path.is_file()]
    shipped = f"missing: {', '.join(missing)}" if missing else "model, 4-gram and lexicon are here"
    restore = (
        f"git -C {DEMO_MODEL.parent} checkout -- . (or install w2v2 again from its clone)"
        if missing
        else ""
    )
    folder = home()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    mend = "" if free >= FREE_GB else "set W2V2_HOME to a disk with more room"
    return [
        Finding("shipped files", shipped, not missing, restore),
        Finding("W2V2_HOME", f"{folder}, {free:.0f} GB free", True, mend),
    ]
